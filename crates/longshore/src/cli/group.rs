//! The security group that `up --cidr --port` makes: for tasks that have an interface of their own, since what is published on
//! an instance is filtered by nothing. It is known by a tag on it, as instances are by theirs.

use super::{client, config::Settings, say};
use anyhow::{Context, Result, bail};
use clap::Args;
use ipnet::Ipv4Net;
use shapes::ec2;

/// The tag that says whose `up` made the group.
const STACK_TAG: &str = "longshore:stack";
/// AWS: what the original's template opens unless told otherwise.
const PORT: u16 = 80;

#[derive(Debug, Clone, Args)]
pub(super) struct GroupArgs {
    /// Addresses from which tasks can be reached that are in the group which is then made; everybody's if only --port is given.
    #[arg(long, conflicts_with = "security_group")]
    cidr: Option<Ipv4Net>,
    /// The port of those tasks that can be reached; 80 if only --cidr is given.
    #[arg(long, conflicts_with = "security_group", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
}

/// What a group lets in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    cidr: Ipv4Net,
    port: u16,
}

impl GroupArgs {
    /// The flags that were given.
    pub(super) fn given(&self) -> impl Iterator<Item = &'static str> {
        let given = [("--cidr", self.cidr.is_some()), ("--port", self.port.is_some())];
        given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag)
    }

    /// Instances publish ports that no group filters, so one that promises it would be a hole.
    pub(super) fn refuse_for_instances(&self) -> Result<()> {
        match self.given().next() {
            Some(flag) => bail!(
                "{flag} cannot be honoured for instances: no security group filters the ports that are published on them, so \
                 each is open to whoever reaches the instance. With --launch-type FARGATE the group is made for tasks of \
                 network mode awsvpc, for which it holds. Leave it out"
            ),
            None => Ok(()),
        }
    }

    /// What the group shall let in, if one shall be made.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        self.given().next()?;
        Some(Wanted { cidr: self.cidr.unwrap_or_default().trunc(), port: self.port.unwrap_or(PORT) })
    }
}

impl Wanted {
    fn permission(self) -> ec2::IpPermission {
        let range = ec2::IpRange { cidr_ip: Some(self.cidr.to_string()), description: None };
        ec2::IpPermission {
            ip_protocol: Some("tcp".to_owned()),
            from_port: Some(self.port.into()),
            to_port: Some(self.port.into()),
            ip_ranges: Some(vec![range]),
            ..Default::default()
        }
    }

    fn is(self, rule: &ec2::SecurityGroupRule) -> bool {
        let port = Some(i32::from(self.port));
        rule.ip_protocol.as_deref() == Some("tcp")
            && (rule.from_port, rule.to_port) == (port, port)
            && rule.cidr_ipv4.as_deref() == Some(self.cidr.to_string().as_str())
    }
}

/// The group of this stack, made if it is not there, and with exactly this rule for what comes in. Another rule, which an
/// earlier `up` or somebody since has given it, is replaced only if that is forced.
pub(super) async fn ensure(settings: &Settings, vpc: &str, wanted: Wanted, force: bool) -> Result<String> {
    let client = &settings.client;
    let known = of_stack(settings).await?.into_iter().find(|group| group.vpc_id.as_deref() == Some(vpc));
    let Some(id) = known.and_then(|group| group.group_id) else {
        let id = create(settings, vpc).await?;
        authorize(settings, &id, wanted).await?;
        return Ok(id);
    };
    let filter = ec2::Filter { name: Some("group-id".to_owned()), values: Some(vec![id.clone()]) };
    let request = ec2::DescribeSecurityGroupRulesRequest { filters: Some(vec![filter]), ..Default::default() };
    let rules = client.call(&request).await?.security_group_rules.unwrap_or_default();
    let ingress = rules.iter().filter(|rule| rule.is_egress == Some(false));
    let (same, others): (Vec<_>, Vec<_>) = ingress.partition(|rule| wanted.is(rule));
    if !others.is_empty() {
        if !force {
            bail!(
                "The group {id} of an earlier `up` lets in something else. Please specify '--force' to replace its rules"
            );
        }
        let others = others.into_iter().filter_map(|rule| rule.security_group_rule_id.clone()).collect();
        let request = ec2::RevokeSecurityGroupIngressRequest {
            group_id: Some(id.clone()),
            security_group_rule_ids: Some(others),
            ..Default::default()
        };
        client.call(&request).await?;
    }
    if same.is_empty() {
        authorize(settings, &id, wanted).await?;
    }
    Ok(id)
}

async fn create(settings: &Settings, vpc: &str) -> Result<String> {
    let tag = ec2::Tag { key: Some(STACK_TAG.to_owned()), value: Some(settings.stack.clone()) };
    let tags = ec2::TagSpecification { resource_type: Some("security-group".to_owned()), tags: Some(vec![tag]) };
    let request = ec2::CreateSecurityGroupRequest {
        // The name of the resource in the original's template, behind its stack's.
        group_name: Some(format!("{}-EcsSecurityGroup", settings.stack)),
        description: Some(format!("Tasks of the cluster {}", settings.cluster)),
        vpc_id: Some(vpc.to_owned()),
        tag_specifications: Some(vec![tags]),
        ..Default::default()
    };
    settings.client.call(&request).await?.group_id.context("CreateSecurityGroup answered without an id")
}

async fn authorize(settings: &Settings, id: &str, wanted: Wanted) -> Result<()> {
    let request = ec2::AuthorizeSecurityGroupIngressRequest {
        group_id: Some(id.to_owned()),
        ip_permissions: Some(vec![wanted.permission()]),
        ..Default::default()
    };
    settings.client.call(&request).await?;
    Ok(())
}

async fn of_stack(settings: &Settings) -> Result<Vec<ec2::SecurityGroup>> {
    let filter = ec2::Filter { name: Some(format!("tag:{STACK_TAG}")), values: Some(vec![settings.stack.clone()]) };
    let request = ec2::DescribeSecurityGroupsRequest { filters: Some(vec![filter]), ..Default::default() };
    // One per VPC in which `up` was called: a page is enough.
    Ok(settings.client.call(&request).await?.security_groups.unwrap_or_default())
}

/// Removes what [`ensure`] made. A group that something else is in, or names, stays, and that is said.
pub(super) async fn remove(settings: &Settings) -> Result<()> {
    for id in of_stack(settings).await?.into_iter().filter_map(|group| group.group_id) {
        let request = ec2::DeleteSecurityGroupRequest { group_id: Some(id.clone()), ..Default::default() };
        match settings.client.call(&request).await {
            Ok(_) => {}
            Err(error) if client::code(&error) == Some("DependencyViolation") => {
                say::warn("The security group is still in use and stays", &[("group", &id)]);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
