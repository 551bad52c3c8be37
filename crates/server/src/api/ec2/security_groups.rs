//! Security groups. Their rules are in [`super::rules`].

use super::{
    filter,
    network::{self, required},
    rules, tags,
};
use crate::{
    api::{
        ApiError,
        honoured::{Row, row},
    },
    context::{Caller, Context},
};
use model::network::{Allowed, Direction, Network, Peer, Refusal, SecurityGroup, SecurityGroupId, VpcId};
use shapes::ec2 as aws;

pub(crate) const HONOURED: &[Row] = &[
    row("CreateSecurityGroup", &["Description", "DryRun", "GroupName", "TagSpecifications.*", "VpcId"]),
    row("DeleteSecurityGroup", &["DryRun", "GroupId", "GroupName"]),
    row("DescribeSecurityGroups", &["DryRun", "Filters.*", "GroupIds", "GroupNames", "MaxResults", "NextToken"]),
];

const FILTERS: &[&str] = &[
    "description",
    "egress.ip-permission.cidr",
    "egress.ip-permission.from-port",
    "egress.ip-permission.group-id",
    "egress.ip-permission.ipv6-cidr",
    "egress.ip-permission.protocol",
    "egress.ip-permission.to-port",
    "group-id",
    "group-name",
    "ip-permission.cidr",
    "ip-permission.from-port",
    "ip-permission.group-id",
    "ip-permission.ipv6-cidr",
    "ip-permission.protocol",
    "ip-permission.to-port",
    "owner-id",
    "tag-key",
    "tag:*",
    "vpc-id",
];

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateSecurityGroupRequest,
) -> Result<aws::CreateSecurityGroupResult, ApiError> {
    let vpc = request.vpc_id.filter(|id| !id.is_empty()).map(VpcId::parse).transpose()?;
    let name = required("groupName", request.group_name)?;
    let description = required("groupDescription", request.description)?;
    let tags = tags::specified(request.tag_specifications, "security-group")?;
    let decide = |edit: &mut model::network::Edit<'_>| {
        let vpc = match &vpc {
            Some(vpc) => vpc.clone(),
            None => edit.network().default_vpc().ok_or(Refusal::NoDefaultVpc)?.id.clone(),
        };
        edit.create_security_group(&vpc, &name, &description, tags.clone())
    };
    let (group, _) = network::change(ctx, caller, decide).await?;
    Ok(aws::CreateSecurityGroupResult {
        group_id: Some(group.id.to_string()),
        security_group_arn: Some(network::arn(caller, "security-group", group.id.as_str())),
        tags: tags::render(&group.tags),
    })
}

/// The group that a request names by its id, or, in the default VPC, by its name.
pub(super) fn named(
    all: &Network,
    id: Option<&SecurityGroupId>,
    name: Option<&str>,
) -> Result<SecurityGroupId, Refusal> {
    match (id, name.filter(|name| !name.is_empty())) {
        (Some(id), _) => Ok(id.clone()),
        (None, Some(name)) => {
            let vpc = &all.default_vpc().ok_or(Refusal::NoDefaultVpc)?.id;
            Ok(all.group_named(vpc, name)?.id.clone())
        }
        (None, None) => Err(Refusal::Missing("groupId")),
    }
}

/// A group's id, where one is given.
pub(super) fn id(text: Option<String>) -> Result<Option<SecurityGroupId>, ApiError> {
    Ok(text.filter(|text| !text.is_empty()).map(SecurityGroupId::parse).transpose()?)
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteSecurityGroupRequest,
) -> Result<aws::DeleteSecurityGroupResult, ApiError> {
    let asked = id(request.group_id)?;
    let name = request.group_name;
    let decide = |edit: &mut model::network::Edit<'_>| {
        let id = named(edit.network(), asked.as_ref(), name.as_deref())?;
        edit.delete_security_group(&id).map(|()| id)
    };
    let (id, _) = network::change(ctx, caller, decide).await?;
    Ok(aws::DeleteSecurityGroupResult { group_id: Some(id.to_string()), r#return: Some(true) })
}

pub(super) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeSecurityGroupsRequest,
) -> Result<aws::DescribeSecurityGroupsResult, ApiError> {
    let all = network::now(ctx, caller);
    let ids = request.group_ids.as_deref();
    let mut asked =
        network::chosen(ids, SecurityGroupId::parse, |id| all.find_security_group(id), all.security_groups())?;
    let names = request.group_names.as_deref().unwrap_or_default();
    if !names.is_empty() {
        // AWS: names are those of the default VPC.
        let default = all.default_vpc().ok_or(Refusal::NoDefaultVpc)?;
        let by_name = names.iter().map(|name| all.group_named(&default.id, name));
        let by_name = by_name.collect::<Result<Vec<_>, _>>()?;
        asked.retain(|group| by_name.iter().any(|named| named.id == group.id));
    }
    let kept = filter::select(asked, request.filters.as_deref(), FILTERS, |group, name| values(group, name))?;
    let token = request.next_token.as_deref();
    let (shown, next_token) =
        network::page("DescribeSecurityGroups", caller, request.max_results, token, kept, |g| g.id.to_string())?;
    let security_groups = Some(shown.into_iter().map(|group| render(caller, &all, group)).collect());
    Ok(aws::DescribeSecurityGroupsResult { security_groups, next_token })
}

fn values(group: &SecurityGroup, name: &str) -> Vec<String> {
    match name {
        "vpc-id" => return vec![group.vpc.to_string()],
        "group-id" => return vec![group.id.to_string()],
        "group-name" => return vec![group.name.clone()],
        "description" => return vec![group.description.clone()],
        "owner-id" => return vec![group.scope.account.to_string()],
        _ => {}
    }
    let (direction, what) = match name.strip_prefix("egress.") {
        Some(rest) => (Direction::Egress, rest),
        None => (Direction::Ingress, name),
    };
    let Some(what) = what.strip_prefix("ip-permission.") else { return filter::of_tags(&group.tags, name) };
    let allowed = group.rules.iter().map(|rule| &rule.allowed).filter(|allowed| allowed.direction == direction);
    allowed.filter_map(|allowed| part(allowed, what)).collect()
}

/// What a filter of rules looks at.
fn part(allowed: &Allowed, what: &str) -> Option<String> {
    match (what, &allowed.peer) {
        ("cidr", Peer::V4(net)) => Some(net.to_string()),
        ("ipv6-cidr", Peer::V6(net)) => Some(net.to_string()),
        ("group-id", Peer::Group(id)) => Some(id.to_string()),
        ("protocol", _) => Some(allowed.traffic.protocol()),
        ("from-port", _) => allowed.traffic.range().map(|(from, _)| from.to_string()),
        ("to-port", _) => allowed.traffic.range().map(|(_, to)| to.to_string()),
        (_, _) => None,
    }
}

fn render(caller: &Caller, all: &Network, group: &SecurityGroup) -> aws::SecurityGroup {
    aws::SecurityGroup {
        group_id: Some(group.id.to_string()),
        group_name: Some(group.name.clone()),
        description: Some(group.description.clone()),
        ip_permissions: Some(rules::permissions(all, group, Direction::Ingress)),
        ip_permissions_egress: Some(rules::permissions(all, group, Direction::Egress)),
        owner_id: Some(group.scope.account.to_string()),
        security_group_arn: Some(network::arn(caller, "security-group", group.id.as_str())),
        tags: tags::render(&group.tags),
        vpc_id: Some(group.vpc.to_string()),
    }
}
