//! Rules of security groups: authorized and revoked as permissions, the old form, in which one permission holds many rules, and by
//! the ids of single rules.

use super::{
    filter, invalid,
    network::{self, required},
    security_groups::{id, named},
    tags,
};
use crate::{
    api::{
        ApiError,
        honoured::{Row, row},
    },
    context::{Caller, Context},
};
use model::network::{
    Allowed, Direction, Edit, Named, Network, Peer, Refusal, Rule, RuleId, SecurityGroup, SecurityGroupId, Traffic,
};
use shapes::ec2 as aws;

pub(crate) const HONOURED: &[Row] = &[
    row(
        "AuthorizeSecurityGroupIngress",
        &[
            "CidrIp",
            "DryRun",
            "FromPort",
            "GroupId",
            "GroupName",
            "IpPermissions.*",
            "IpProtocol",
            "TagSpecifications.*",
            "ToPort",
        ],
    ),
    row("AuthorizeSecurityGroupEgress", &["DryRun", "GroupId", "IpPermissions.*", "TagSpecifications.*"]),
    row(
        "RevokeSecurityGroupIngress",
        &[
            "CidrIp",
            "DryRun",
            "FromPort",
            "GroupId",
            "GroupName",
            "IpPermissions.*",
            "IpProtocol",
            "SecurityGroupRuleIds",
            "ToPort",
        ],
    ),
    row("RevokeSecurityGroupEgress", &["DryRun", "GroupId", "IpPermissions.*", "SecurityGroupRuleIds"]),
    row("DescribeSecurityGroupRules", &["DryRun", "Filters.*", "MaxResults", "NextToken", "SecurityGroupRuleIds"]),
    row(
        "ModifySecurityGroupRules",
        &[
            "DryRun",
            "GroupId",
            "SecurityGroupRules.SecurityGroupRule.CidrIpv4",
            "SecurityGroupRules.SecurityGroupRule.CidrIpv6",
            "SecurityGroupRules.SecurityGroupRule.Description",
            "SecurityGroupRules.SecurityGroupRule.FromPort",
            "SecurityGroupRules.SecurityGroupRule.IpProtocol",
            "SecurityGroupRules.SecurityGroupRule.ReferencedGroupId",
            "SecurityGroupRules.SecurityGroupRule.ToPort",
            "SecurityGroupRules.SecurityGroupRuleId",
        ],
    ),
    row(
        "UpdateSecurityGroupRuleDescriptionsIngress",
        &["DryRun", "GroupId", "GroupName", "IpPermissions.*", "SecurityGroupRuleDescriptions.*"],
    ),
    row(
        "UpdateSecurityGroupRuleDescriptionsEgress",
        &["DryRun", "GroupId", "GroupName", "IpPermissions.*", "SecurityGroupRuleDescriptions.*"],
    ),
];

/// Which group is meant, and which of its rules are, in either form.
pub(super) struct Asked {
    direction: Direction,
    id: Option<SecurityGroupId>,
    name: Option<String>,
    permissions: Vec<aws::IpPermission>,
    rules: Vec<RuleId>,
    tags: Option<Vec<aws::TagSpecification>>,
}

impl Asked {
    fn new(
        direction: Direction,
        group: Option<String>,
        permissions: Option<Vec<aws::IpPermission>>,
    ) -> Result<Self, ApiError> {
        let permissions = permissions.unwrap_or_default();
        Ok(Self { direction, id: id(group)?, name: None, permissions, rules: Vec::new(), tags: None })
    }

    /// The oldest form, which says one rule in the request itself.
    fn or_one(mut self, protocol: Option<String>, from: Option<i32>, to: Option<i32>, cidr: Option<String>) -> Self {
        if let Some(cidr) = cidr.filter(|cidr| !cidr.is_empty()) {
            self.permissions.push(aws::IpPermission {
                ip_protocol: protocol,
                from_port: from,
                to_port: to,
                ip_ranges: Some(vec![aws::IpRange { cidr_ip: Some(cidr), description: None }]),
                ..aws::IpPermission::default()
            });
        }
        self
    }

    fn with_rules(self, rules: Option<Vec<String>>) -> Result<Self, ApiError> {
        let rules = rules.unwrap_or_default().into_iter().map(RuleId::parse).collect::<Result<Vec<_>, _>>()?;
        if !rules.is_empty() && !self.permissions.is_empty() {
            let text = "The parameters ipPermissions and securityGroupRuleIds cannot be used together.";
            return Err(ApiError::new("InvalidParameterCombination", text));
        }
        Ok(Self { rules, ..self })
    }

    /// The rules that the permissions hold.
    fn allowed(&self, all: &Network, group: &SecurityGroupId) -> Result<Vec<(Allowed, Option<String>)>, Refusal> {
        let group = all.find_security_group(group)?;
        let mut found = Vec::new();
        for permission in &self.permissions {
            found.extend(read(all, group, self.direction, permission)?);
        }
        Ok(found)
    }

    fn authorize(&self, edit: &mut Edit<'_>, tags: &model::Tags) -> Result<(SecurityGroupId, Vec<Rule>), Refusal> {
        let group = named(edit.network(), self.id.as_ref(), self.name.as_deref())?;
        let rules = self.allowed(edit.network(), &group)?;
        if rules.is_empty() {
            return Err(Refusal::Missing("ipPermissions"));
        }
        Ok((group.clone(), edit.authorize(&group, rules, tags)?))
    }

    fn revoke(&self, edit: &mut Edit<'_>) -> Result<(SecurityGroupId, Vec<Rule>), Refusal> {
        let group = named(edit.network(), self.id.as_ref(), self.name.as_deref())?;
        let allowed = self.allowed(edit.network(), &group)?.into_iter().map(|(allowed, _)| Named::Allowed(allowed));
        let rules: Vec<Named> = self.rules.iter().cloned().map(Named::Id).chain(allowed).collect();
        if rules.is_empty() {
            return Err(Refusal::Missing("ipPermissions"));
        }
        Ok((group.clone(), edit.revoke(&group, self.direction, &rules)?))
    }
}

/// One permission's rules: one for each of its peers.
fn read(
    all: &Network,
    group: &SecurityGroup,
    direction: Direction,
    permission: &aws::IpPermission,
) -> Result<Vec<(Allowed, Option<String>)>, Refusal> {
    let protocol = permission.ip_protocol.as_deref().unwrap_or_default();
    let traffic = Traffic::parse(protocol, permission.from_port, permission.to_port)?;
    if permission.prefix_list_ids.as_ref().is_some_and(|lists| !lists.is_empty()) {
        return Err(Refusal::Id {
            code: "UnsupportedOperation",
            text: "Longshore does not honour PrefixListIds yet; remove it or see docs/coverage.md.".to_owned(),
        });
    }
    let mut peers: Vec<(Peer, Option<String>)> = Vec::new();
    for range in permission.ip_ranges.iter().flatten() {
        peers.push((Peer::v4(range.cidr_ip.as_deref().unwrap_or_default())?, range.description.clone()));
    }
    for range in permission.ipv6_ranges.iter().flatten() {
        peers.push((Peer::v6(range.cidr_ipv6.as_deref().unwrap_or_default())?, range.description.clone()));
    }
    for pair in permission.user_id_group_pairs.iter().flatten() {
        peers.push((Peer::Group(peer(all, group, pair)?), pair.description.clone()));
    }
    let rule = |(peer, description): (Peer, Option<String>)| {
        (Allowed { direction, traffic, peer }, description.filter(|text| !text.is_empty()))
    };
    Ok(peers.into_iter().map(rule).collect())
}

/// The group that a permission names, by its id or, in the same VPC, by its name.
fn peer(all: &Network, group: &SecurityGroup, pair: &aws::UserIdGroupPair) -> Result<SecurityGroupId, Refusal> {
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let own = group.scope.account.to_string();
    if set(&pair.user_id).is_some_and(|account| account != own) || set(&pair.vpc_peering_connection_id).is_some() {
        return Err(Refusal::GroupsApart);
    }
    match (set(&pair.group_id), set(&pair.group_name)) {
        (Some(id), _) => SecurityGroupId::parse(id),
        (None, Some(name)) => Ok(all.group_named(&group.vpc, &name)?.id.clone()),
        (None, None) => Err(Refusal::Missing("groupId")),
    }
}

async fn authorize(ctx: &Context, caller: &Caller, mut asked: Asked) -> Result<Vec<aws::SecurityGroupRule>, ApiError> {
    let tags = tags::specified(asked.tags.take(), "security-group-rule")?;
    let ((group, rules), all) = network::change(ctx, caller, |edit| asked.authorize(edit, &tags)).await?;
    let group = all.find_security_group(&group)?;
    Ok(rules.iter().map(|rule| render(caller, &all, group, rule)).collect())
}

pub(super) async fn authorize_ingress(
    ctx: &Context,
    caller: &Caller,
    request: aws::AuthorizeSecurityGroupIngressRequest,
) -> Result<aws::AuthorizeSecurityGroupIngressResult, ApiError> {
    let asked = Asked::new(Direction::Ingress, request.group_id, request.ip_permissions)?;
    let asked = asked.or_one(request.ip_protocol, request.from_port, request.to_port, request.cidr_ip);
    let asked = Asked { name: request.group_name, tags: request.tag_specifications, ..asked };
    let rules = authorize(ctx, caller, asked).await?;
    Ok(aws::AuthorizeSecurityGroupIngressResult { r#return: Some(true), security_group_rules: Some(rules) })
}

pub(super) async fn authorize_egress(
    ctx: &Context,
    caller: &Caller,
    request: aws::AuthorizeSecurityGroupEgressRequest,
) -> Result<aws::AuthorizeSecurityGroupEgressResult, ApiError> {
    let asked = Asked::new(Direction::Egress, request.group_id, request.ip_permissions)?;
    let rules = authorize(ctx, caller, Asked { tags: request.tag_specifications, ..asked }).await?;
    Ok(aws::AuthorizeSecurityGroupEgressResult { r#return: Some(true), security_group_rules: Some(rules) })
}

async fn revoke(ctx: &Context, caller: &Caller, asked: Asked) -> Result<Vec<aws::RevokedSecurityGroupRule>, ApiError> {
    let ((group, rules), _) = network::change(ctx, caller, |edit| asked.revoke(edit)).await?;
    let revoked = |rule: Rule| {
        let (cidr_ipv4, cidr_ipv6, referenced) = peers(&rule.allowed.peer);
        let (from, to) = rule.allowed.traffic.range().unwrap_or((-1, -1));
        aws::RevokedSecurityGroupRule {
            security_group_rule_id: Some(rule.id.to_string()),
            group_id: Some(group.to_string()),
            is_egress: Some(rule.allowed.direction == Direction::Egress),
            ip_protocol: Some(rule.allowed.traffic.protocol()),
            from_port: Some(from),
            to_port: Some(to),
            cidr_ipv4,
            cidr_ipv6,
            referenced_group_id: referenced,
            description: rule.description,
            prefix_list_id: None,
        }
    };
    Ok(rules.into_iter().map(revoked).collect())
}

pub(super) async fn revoke_ingress(
    ctx: &Context,
    caller: &Caller,
    request: aws::RevokeSecurityGroupIngressRequest,
) -> Result<aws::RevokeSecurityGroupIngressResult, ApiError> {
    let asked = Asked::new(Direction::Ingress, request.group_id, request.ip_permissions)?;
    let asked = asked.or_one(request.ip_protocol, request.from_port, request.to_port, request.cidr_ip);
    let asked = Asked { name: request.group_name, ..asked }.with_rules(request.security_group_rule_ids)?;
    let rules = Some(revoke(ctx, caller, asked).await?);
    Ok(aws::RevokeSecurityGroupIngressResult {
        r#return: Some(true),
        revoked_security_group_rules: rules,
        unknown_ip_permissions: None,
    })
}

pub(super) async fn revoke_egress(
    ctx: &Context,
    caller: &Caller,
    request: aws::RevokeSecurityGroupEgressRequest,
) -> Result<aws::RevokeSecurityGroupEgressResult, ApiError> {
    let asked = Asked::new(Direction::Egress, request.group_id, request.ip_permissions)?;
    let rules = Some(revoke(ctx, caller, asked.with_rules(request.security_group_rule_ids)?).await?);
    Ok(aws::RevokeSecurityGroupEgressResult {
        r#return: Some(true),
        revoked_security_group_rules: rules,
        unknown_ip_permissions: None,
    })
}

const FILTERS: &[&str] = &["group-id", "security-group-rule-id", "tag-key", "tag:*"];

pub(super) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeSecurityGroupRulesRequest,
) -> Result<aws::DescribeSecurityGroupRulesResult, ApiError> {
    let all = network::now(ctx, caller);
    let named = request.security_group_rule_ids.as_deref().unwrap_or_default();
    let asked: Vec<_> = if named.is_empty() {
        all.security_groups().flat_map(|group| group.rules.iter().map(move |rule| (group, rule))).collect()
    } else {
        let ids = named.iter().map(|id| RuleId::parse(id.as_str())).collect::<Result<Vec<_>, _>>()?;
        ids.iter().map(|id| all.rule(id)).collect::<Result<Vec<_>, _>>()?
    };
    let kept = filter::select(asked, request.filters.as_deref(), FILTERS, |(group, rule), name| match name {
        "group-id" => vec![group.id.to_string()],
        "security-group-rule-id" => vec![rule.id.to_string()],
        tag => filter::of_tags(&rule.tags, tag),
    })?;
    let token = request.next_token.as_deref();
    let id = |(_, rule): &(_, &Rule)| rule.id.to_string();
    let (shown, next_token) =
        network::page("DescribeSecurityGroupRules", caller, request.max_results, token, kept, id)?;
    let rules = shown.into_iter().map(|(group, rule)| render(caller, &all, group, rule));
    Ok(aws::DescribeSecurityGroupRulesResult { security_group_rules: Some(rules.collect()), next_token })
}

/// What a rule shall allow from now on.
type Modified = (RuleId, Traffic, Peer, Option<String>);

pub(super) async fn modify(
    ctx: &Context,
    caller: &Caller,
    request: aws::ModifySecurityGroupRulesRequest,
) -> Result<aws::ModifySecurityGroupRulesResult, ApiError> {
    let group = SecurityGroupId::parse(required("groupId", request.group_id)?)?;
    let read = |update: aws::SecurityGroupRuleUpdate| -> Result<Modified, ApiError> {
        let id = RuleId::parse(required("securityGroupRuleId", update.security_group_rule_id)?)?;
        let rule = update.security_group_rule.unwrap_or_default();
        let protocol = required("ipProtocol", rule.ip_protocol)?;
        let set = |text: Option<String>| text.filter(|text| !text.is_empty());
        let peer = match (set(rule.cidr_ipv4), set(rule.cidr_ipv6), set(rule.referenced_group_id)) {
            (Some(net), None, None) => Peer::v4(&net)?,
            (None, Some(net), None) => Peer::v6(&net)?,
            (None, None, Some(id)) => Peer::Group(SecurityGroupId::parse(id)?),
            (_, _, _) => return Err(invalid("A rule has exactly one of cidrIpv4, cidrIpv6 and referencedGroupId.")),
        };
        Ok((id, Traffic::parse(&protocol, rule.from_port, rule.to_port)?, peer, set(rule.description)))
    };
    let updates = request.security_group_rules.unwrap_or_default();
    let rules = updates.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    network::change(ctx, caller, |edit| edit.modify_rules(&group, rules.clone())).await?;
    Ok(aws::ModifySecurityGroupRulesResult { r#return: Some(true) })
}

pub(super) async fn update_ingress_descriptions(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdateSecurityGroupRuleDescriptionsIngressRequest,
) -> Result<aws::UpdateSecurityGroupRuleDescriptionsIngressResult, ApiError> {
    let asked = Asked::new(Direction::Ingress, request.group_id, request.ip_permissions)?;
    let asked = Asked { name: request.group_name, ..asked };
    update_descriptions(ctx, caller, asked, request.security_group_rule_descriptions).await?;
    Ok(aws::UpdateSecurityGroupRuleDescriptionsIngressResult { r#return: Some(true) })
}

pub(super) async fn update_egress_descriptions(
    ctx: &Context,
    caller: &Caller,
    request: aws::UpdateSecurityGroupRuleDescriptionsEgressRequest,
) -> Result<aws::UpdateSecurityGroupRuleDescriptionsEgressResult, ApiError> {
    let asked = Asked::new(Direction::Egress, request.group_id, request.ip_permissions)?;
    let asked = Asked { name: request.group_name, ..asked };
    update_descriptions(ctx, caller, asked, request.security_group_rule_descriptions).await?;
    Ok(aws::UpdateSecurityGroupRuleDescriptionsEgressResult { r#return: Some(true) })
}

async fn update_descriptions(
    ctx: &Context,
    caller: &Caller,
    asked: Asked,
    rules: Option<Vec<aws::SecurityGroupRuleDescription>>,
) -> Result<(), ApiError> {
    let read = |rule: aws::SecurityGroupRuleDescription| -> Result<(Named, Option<String>), ApiError> {
        let id = RuleId::parse(required("securityGroupRuleId", rule.security_group_rule_id)?)?;
        Ok((Named::Id(id), rule.description.filter(|text| !text.is_empty())))
    };
    let by_id = rules.unwrap_or_default().into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    if by_id.is_empty() == asked.permissions.is_empty() {
        let text = "Specify either ipPermissions or securityGroupRuleDescriptions.";
        return Err(ApiError::new("InvalidParameterCombination", text));
    }
    let decide = |edit: &mut Edit<'_>| {
        let group = named(edit.network(), asked.id.as_ref(), asked.name.as_deref())?;
        let allowed = asked.allowed(edit.network(), &group)?.into_iter();
        let rules = by_id.iter().cloned().chain(allowed.map(|(allowed, text)| (Named::Allowed(allowed), text)));
        edit.describe_rules(&group, asked.direction, rules.collect())
    };
    network::change(ctx, caller, decide).await?;
    Ok(())
}

fn peers(peer: &Peer) -> (Option<String>, Option<String>, Option<String>) {
    match peer {
        Peer::V4(net) => (Some(net.to_string()), None, None),
        Peer::V6(net) => (None, Some(net.to_string()), None),
        Peer::Group(id) => (None, None, Some(id.to_string())),
    }
}

fn render(caller: &Caller, all: &Network, group: &SecurityGroup, rule: &Rule) -> aws::SecurityGroupRule {
    let (cidr_ipv4, cidr_ipv6, referenced) = peers(&rule.allowed.peer);
    // AWS: where there are no ports, -1 stands for all of them.
    let (from, to) = rule.allowed.traffic.range().unwrap_or((-1, -1));
    let referenced = rule.allowed.peer.group().zip(referenced).map(|(id, text)| aws::ReferencedSecurityGroup {
        group_id: Some(text),
        user_id: Some(group.scope.account.to_string()),
        vpc_id: all.security_group(id).map(|peer| peer.vpc.to_string()),
        ..aws::ReferencedSecurityGroup::default()
    });
    aws::SecurityGroupRule {
        security_group_rule_id: Some(rule.id.to_string()),
        security_group_rule_arn: Some(network::arn(caller, "security-group-rule", rule.id.as_str())),
        group_id: Some(group.id.to_string()),
        group_owner_id: Some(group.scope.account.to_string()),
        is_egress: Some(rule.allowed.direction == Direction::Egress),
        ip_protocol: Some(rule.allowed.traffic.protocol()),
        from_port: Some(from),
        to_port: Some(to),
        cidr_ipv4,
        cidr_ipv6,
        referenced_group_info: referenced,
        description: rule.description.clone(),
        tags: tags::render(&rule.tags),
        prefix_list_id: None,
    }
}

/// A group's rules of one direction as permissions: those for the same packets together.
pub(super) fn permissions(all: &Network, group: &SecurityGroup, direction: Direction) -> Vec<aws::IpPermission> {
    let mut found: Vec<(Traffic, aws::IpPermission)> = Vec::new();
    for rule in group.rules.iter().filter(|rule| rule.allowed.direction == direction) {
        let traffic = rule.allowed.traffic;
        let at = found.iter().position(|(known, _)| *known == traffic).unwrap_or_else(|| {
            found.push((traffic, empty(traffic)));
            found.len() - 1
        });
        let permission = &mut found[at].1;
        let description = rule.description.clone();
        match &rule.allowed.peer {
            Peer::V4(net) => {
                let range = aws::IpRange { cidr_ip: Some(net.to_string()), description };
                permission.ip_ranges.get_or_insert_default().push(range);
            }
            Peer::V6(net) => {
                let range = aws::Ipv6Range { cidr_ipv6: Some(net.to_string()), description };
                permission.ipv6_ranges.get_or_insert_default().push(range);
            }
            Peer::Group(id) => {
                let known = all.security_group(id);
                let pair = aws::UserIdGroupPair {
                    group_id: Some(id.to_string()),
                    user_id: known.map(|peer| peer.scope.account.to_string()),
                    description,
                    ..aws::UserIdGroupPair::default()
                };
                permission.user_id_group_pairs.get_or_insert_default().push(pair);
            }
        }
    }
    found.into_iter().map(|(_, permission)| permission).collect()
}

fn empty(traffic: Traffic) -> aws::IpPermission {
    let (from_port, to_port) = traffic.range().unzip();
    aws::IpPermission {
        ip_protocol: Some(traffic.protocol()),
        from_port,
        to_port,
        ip_ranges: Some(Vec::new()),
        ipv6_ranges: Some(Vec::new()),
        prefix_list_ids: Some(Vec::new()),
        user_id_group_pairs: Some(Vec::new()),
    }
}
