//! A task's elastic network interface: where its tasks may get one, and the one that a task has.
//!
//! The task's own record says all of it; the interface that EC2's API shows is derived from there, so that starting a task
//! and giving it an address are one decision, and so are its end and the address's return.

use crate::{
    Task, TaskArn,
    network::{Interface, InterfaceId, Network, SecurityGroupId, SubnetId, VpcId},
};
use serde::{Deserialize, Serialize};
use std::{net::Ipv4Addr, sync::Arc};

/// Subnets of one `awsvpcConfiguration`. Source: `AwsVpcConfiguration$subnets`.
pub const MAX_SUBNETS: usize = 16;
/// Security groups of one `awsvpcConfiguration`. Source: `AwsVpcConfiguration$securityGroups`.
pub const MAX_GROUPS: usize = 5;
/// How long a released address is given to nobody: longer than names and connections that still mean its last holder live.
pub const REST_MILLIS: i64 = 30_000;

/// Where tasks get their interfaces: `awsvpcConfiguration`, checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsvpcConfiguration {
    /// All of one VPC, as given.
    pub subnets: Vec<SubnetId>,
    /// As given; without any, the VPC's default one holds.
    #[serde(default)]
    pub security_groups: Vec<SecurityGroupId>,
    /// Whether each gets a public address of the server's pool.
    #[serde(default)]
    pub assign_public_ip: bool,
}

/// A task's interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The attachment's id, a UUID.
    pub id: Arc<str>,
    /// The interface.
    pub interface: InterfaceId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its address, nobody else's in the VPC as long as the task lives, and for a while after.
    pub address: Ipv4Addr,
    /// Its MAC address.
    pub mac: Arc<str>,
    /// Its security groups.
    pub groups: Vec<SecurityGroupId>,
    /// Its public address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_ip: Option<Ipv4Addr>,
    /// How far it has come.
    pub state: AttachmentState,
    /// Its node could not say that it is gone: the address rests as long as the task is remembered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

/// How far an attachment has come. It only moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachmentState {
    /// The address is the task's; its instance has yet to make the interface.
    Precreated,
    /// The instance has made it.
    Attached,
    /// The containers have ended; the instance is taking it away.
    Detaching,
    /// Gone.
    Deleted,
}

impl AttachmentState {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Precreated => "PRECREATED",
            Self::Attached => "ATTACHED",
            Self::Detaching => "DETACHING",
            Self::Deleted => "DELETED",
        }
    }
}

impl Attachment {
    /// Its private DNS name. AWS: us-east-1 has a domain of its own.
    pub fn private_dns_name(&self, region: &str) -> String {
        private_dns_name(self.address, region)
    }

    /// The interface that it is, as long as its task lives.
    pub fn as_interface(&self, task: &Task) -> Interface {
        let scope = task.arn.cluster.scope.clone();
        let arn = format!("arn:aws:ecs:{}:{}:attachment/{}", scope.region, scope.account, self.id);
        Interface {
            scope,
            id: self.interface.clone(),
            vpc: self.vpc.clone(),
            subnet: self.subnet.clone(),
            addresses: vec![self.address],
            mac: self.mac.to_string(),
            groups: self.groups.clone(),
            description: arn,
            source_dest_check: true,
            nat_gateway: None,
            task: Some(task.arn.clone()),
            creation: crate::Creation { token: None, request_sha256: "".into() },
            tags: task.tags.clone(),
        }
    }
}

/// The private DNS name that EC2 gives an address.
pub fn private_dns_name(address: Ipv4Addr, region: &str) -> String {
    let [a, b, c, d] = address.octets();
    format!("ip-{a}-{b}-{c}-{d}.{}", private_domain(region))
}

/// The domain of those names.
pub(crate) fn private_domain(region: &str) -> String {
    if region == "us-east-1" { "ec2.internal".to_owned() } else { format!("{region}.compute.internal") }
}

/// Why an interface cannot be what a task says, looked at by whoever applies it.
pub fn obstacle(network: &Network, task: &TaskArn, attachment: &Attachment) -> Option<String> {
    let Some(subnet) = network.subnet(&attachment.subnet) else {
        return Some(format!("subnet {} of task {task} does not exist", attachment.subnet));
    };
    if subnet.vpc != attachment.vpc || !crate::network::cidr::is_usable(subnet.cidr, attachment.address) {
        return Some(format!("address {} of task {task} is not one of {}", attachment.address, attachment.subnet));
    }
    let known = |id: &&SecurityGroupId| network.security_group(id).is_some_and(|group| group.vpc == attachment.vpc);
    let missing = attachment.groups.iter().find(|id| !known(id));
    missing.map(|id| format!("security group {id} of task {task} does not exist in {}", attachment.vpc))
}
