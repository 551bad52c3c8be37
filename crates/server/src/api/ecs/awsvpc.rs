//! `awsvpcConfiguration`: read and checked against the network, and made into the interface of each task that is placed.
//!
//! The interface is part of the task's record and of the commit that starts it: apply looks again whether the address is
//! still nobody's, and whoever placed the task decides anew if it is not.

use crate::{
    api::{ApiError, ec2},
    context::{Caller, Context},
};
use model::{
    Attachment, AttachmentState, AwsvpcConfiguration, LaunchType, NetworkMode, Scope, Task, TaskDefinitionSpec,
    attachment,
    network::{InterfaceId, Network, Refusal, SecurityGroupId, Subnet, SubnetId},
};
use shapes::ecs as aws;
use state::Snapshot;
use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

/// Reads what a request says of the network, and has the network be stored, so that tasks can stand on it. What it says must
/// fit the task definition's mode, which may be another by the time a service uses it: [`fits`] looks again.
pub(crate) async fn parse(
    ctx: &Context,
    caller: &Caller,
    given: Option<aws::NetworkConfiguration>,
) -> Result<Option<Arc<AwsvpcConfiguration>>, ApiError> {
    let Some(given) = given.and_then(|given| given.awsvpc_configuration) else { return Ok(None) };
    let subnets = ids(given.subnets, SubnetId::parse, |id, error| subnet_error(id, &error))?;
    let security_groups = ids(given.security_groups, SecurityGroupId::parse, |id, error| group_error(id, &error))?;
    if subnets.is_empty() {
        return Err(ApiError::invalid("subnets can not be empty."));
    }
    for (count, most, what) in [
        (subnets.len(), attachment::MAX_SUBNETS, "subnets"),
        (security_groups.len(), attachment::MAX_GROUPS, "securityGroups"),
    ] {
        if count > most {
            return Err(ApiError::invalid(format!("{what} can have at most {most} items.")));
        }
    }
    let ((), network) = ec2::change_network(ctx, caller, |edit| {
        edit.adopt();
        Ok(())
    })
    .await?;
    let mut vpcs = BTreeSet::new();
    for id in &subnets {
        let subnet = network.find_subnet(id).map_err(|error| subnet_error(id.as_str(), &error))?;
        vpcs.insert(subnet.vpc.clone());
    }
    if vpcs.len() > 1 {
        return Err(ApiError::invalid("All subnets must be in the same VPC."));
    }
    for id in &security_groups {
        let group = network.find_security_group(id).map_err(|error| group_error(id.as_str(), &error))?;
        if !vpcs.contains(&group.vpc) {
            let text = format!("Security group {id} does not appear to belong to the same VPC as the input subnets.");
            return Err(ApiError::invalid(text));
        }
    }
    let assign_public_ip = given.assign_public_ip.as_deref() == Some("ENABLED");
    Ok(Some(Arc::new(AwsvpcConfiguration { subnets, security_groups, assign_public_ip })))
}

fn ids<T>(
    given: Option<Vec<String>>,
    parse: impl Fn(String) -> Result<T, Refusal>,
    refuse: impl Fn(&str, Refusal) -> ApiError,
) -> Result<Vec<T>, ApiError> {
    let given = given.unwrap_or_default().into_iter();
    given.map(|id| parse(id.clone()).map_err(|error| refuse(&id, error))).collect()
}

fn subnet_error(id: &str, error: &Refusal) -> ApiError {
    let text = format!("Error retrieving subnet information for [{id}]: {error} (ErrorCode: {})", error.code());
    ApiError::invalid(text)
}

fn group_error(id: &str, error: &Refusal) -> ApiError {
    let text = format!("Error retrieving security group information for [{id}]: {error} (ErrorCode: {})", error.code());
    ApiError::invalid(text)
}

/// Tasks of mode `awsvpc`, and no others, say where their interfaces are. Source of both texts: observed.
pub(crate) fn fits(given: Option<&Arc<AwsvpcConfiguration>>, definition: &TaskDefinitionSpec) -> Result<(), ApiError> {
    match (definition.effective_network_mode(), given) {
        (NetworkMode::Awsvpc, None) => {
            Err(ApiError::invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified."))
        }
        (NetworkMode::Bridge | NetworkMode::Host | NetworkMode::None, Some(_)) => Err(ApiError::invalid(
            "Network Configuration is not valid for the given networkMode of this task definition.",
        )),
        (NetworkMode::Awsvpc, Some(_)) | (NetworkMode::Bridge | NetworkMode::Host | NetworkMode::None, None) => Ok(()),
    }
}

/// A task's own public address is for tasks of Fargate. AWS: one on an instance has its way out through a NAT gateway.
pub(crate) fn public_address_fits(
    given: Option<&Arc<AwsvpcConfiguration>>,
    launch: LaunchType,
) -> Result<(), ApiError> {
    match launch {
        LaunchType::Ec2 | LaunchType::External if given.is_some_and(|given| given.assign_public_ip) => {
            Err(ApiError::invalid("Assign public IP is not supported for this launch type."))
        }
        LaunchType::Ec2 | LaunchType::External | LaunchType::Fargate => Ok(()),
    }
}

/// As the configuration was given.
pub(crate) fn render(network: &AwsvpcConfiguration) -> aws::NetworkConfiguration {
    let text = |ids: &[SecurityGroupId]| ids.iter().map(ToString::to_string).collect();
    aws::NetworkConfiguration {
        awsvpc_configuration: Some(aws::AwsVpcConfiguration {
            subnets: Some(network.subnets.iter().map(ToString::to_string).collect()),
            security_groups: Some(text(&network.security_groups)),
            assign_public_ip: Some(if network.assign_public_ip { "ENABLED" } else { "DISABLED" }.to_owned()),
        }),
    }
}

/// The zones in which tasks of the configuration can be; none stands for all.
pub(crate) fn zones(snapshot: &Snapshot, scope: &Scope, given: Option<&Arc<AwsvpcConfiguration>>) -> Vec<Arc<str>> {
    let (Some(given), Some(network)) = (given, snapshot.network(scope)) else { return Vec::new() };
    let zones: BTreeSet<Arc<str>> =
        given.subnets.iter().filter_map(|id| network.subnet(id)).map(|s| s.availability_zone.as_str().into()).collect();
    // Of subnets that were all deleted since, none is anywhere.
    if zones.is_empty() { vec!["".into()] } else { zones.into_iter().collect() }
}

/// Gives the tasks of one decision their interfaces.
pub(crate) struct Interfaces<'a> {
    ctx: &'a Context,
    snapshot: &'a Snapshot,
    scope: &'a Scope,
    given: Option<&'a AwsvpcConfiguration>,
    /// What this decision has given away already.
    given_away: BTreeSet<Ipv4Addr>,
}

impl<'a> Interfaces<'a> {
    /// For tasks of that configuration, or of none.
    pub(crate) fn new(
        ctx: &'a Context,
        snapshot: &'a Snapshot,
        scope: &'a Scope,
        given: Option<&'a AwsvpcConfiguration>,
    ) -> Self {
        Self { ctx, snapshot, scope, given, given_away: BTreeSet::new() }
    }

    /// Gives the task one in a subnet of its zone, or tells why it gets none, in the words that EC2's refusal is shown with.
    pub(crate) fn attach(&mut self, task: &mut Task) -> Result<(), String> {
        let Some(given) = self.given else { return Ok(()) };
        let Some(network) = self.snapshot.network(self.scope) else {
            return Err(failed(given, given.subnets.first(), "InvalidSubnetID.NotFound"));
        };
        let zone = task.availability_zone.as_deref();
        let there = given.subnets.iter().filter_map(|id| network.subnet(id));
        let mut subnets: Vec<_> = there.filter(|s| Some(s.availability_zone.as_str()) == zone).collect();
        let (seed, at) = (self.ctx.effects.random(), task.times.created);
        // Subnets of one zone take turns by chance; one that is full is passed over.
        let turn = usize::try_from(seed % 16).unwrap_or(0) % subnets.len().max(1);
        subnets.rotate_left(turn);
        let from = u32::try_from(seed >> 32).unwrap_or(0);
        let found = subnets.iter().find_map(|subnet| Some((*subnet, self.address(network, subnet, from, at)?)));
        let Some((subnet, address)) = found else {
            let subnet = subnets.first().map(|subnet| &subnet.id).or(given.subnets.first());
            return Err(failed(given, subnet, "InsufficientFreeAddressesInSubnet"));
        };
        let public_ip = match given.assign_public_ip.then(|| self.public_address()) {
            None => None,
            Some(Some(address)) => Some(address),
            Some(None) => return Err(failed(given, Some(&subnet.id), "AddressLimitExceeded")),
        };
        self.given_away.insert(address);
        self.given_away.extend(public_ip);
        let mut groups = given.security_groups.clone();
        if groups.is_empty() {
            groups.extend(network.default_group(&subnet.vpc).map(|group| group.id.clone()));
        }
        let interface = InterfaceId::of(u128::from_be_bytes(self.ctx.effects.bytes::<16>()));
        task.attachment = Some(Box::new(Attachment {
            id: self.ctx.effects.uuid().into(),
            mac: model::network::mac(&interface).into(),
            interface,
            vpc: subnet.vpc.clone(),
            subnet: subnet.id.clone(),
            address,
            groups,
            public_ip,
            state: AttachmentState::Precreated,
            lost: false,
        }));
        Ok(())
    }

    fn address(&self, network: &Network, subnet: &Subnet, from: u32, at: model::Timestamp) -> Option<Ipv4Addr> {
        let machine = |address| self.snapshot.machine_at(address).is_some_and(|m| m.subnet_id == subnet.id.as_str());
        network.free_address(subnet, from, at, &|address| self.given_away.contains(&address) || machine(address))
    }

    fn public_address(&self) -> Option<Ipv4Addr> {
        let taken = |address| self.given_away.contains(&address) || self.snapshot.public_holder(address).is_some();
        self.ctx.config.public_pool.hosts().find(|address| !taken(*address))
    }
}

/// AWS: what a task is stopped with that gets no interface.
fn failed(given: &AwsvpcConfiguration, subnet: Option<&SubnetId>, code: &str) -> String {
    let public = if given.assign_public_ip { "enabled" } else { "disabled" };
    let subnet = subnet.map_or("", |id| id.as_str());
    format!(
        "Unexpected EC2 error while attempting to Create Network Interface with public IP assignment {public} in subnet \
         '{subnet}': {code}"
    )
}
