//! Security groups: what they are called, which rules they have, and when they can go.

use super::{
    Allowed, DEFAULT_GROUP, Direction, Edit, Key, Network, Refusal, Rule, RuleId, SecurityGroup, SecurityGroupId,
    VpcId, rule::Peer, vpc::all_out,
};
use crate::Tags;
use std::sync::Arc;

/// Security groups of one region. Source: "Amazon VPC quotas".
pub(super) const MAX_GROUPS: usize = 2_500;
/// Rules of one group in one direction, for each of IPv4 and IPv6 by themselves; one that names a group counts for both.
/// Source: "Amazon VPC quotas".
pub(super) const MAX_RULES: usize = 60;
/// Characters of a name or a description. Source: the model's documentation.
const MAX_TEXT: usize = 255;

/// Which rule is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// The one of that id.
    Id(RuleId),
    /// The one that allows this.
    Allowed(Allowed),
}

impl Named {
    fn is(&self, rule: &Rule) -> bool {
        match self {
            Self::Id(id) => rule.id == *id,
            Self::Allowed(allowed) => rule.allowed == *allowed,
        }
    }

    fn missing(&self) -> Refusal {
        match self {
            Self::Id(id) => id.missing(),
            Self::Allowed(_) => Refusal::RuleMissing,
        }
    }
}

/// Checks what a client calls a group, or says of it. Source: the model's documentation, which gives the characters.
fn check_text(parameter: &'static str, text: &str) -> Result<(), Refusal> {
    let fits = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
    if text.is_empty() {
        return Err(Refusal::Missing(parameter));
    }
    if text.chars().count() > MAX_TEXT || !text.chars().all(fits) {
        let text = format!(
            "Value ({text}) for parameter {parameter} is invalid. It has up to {MAX_TEXT} characters: a-z, A-Z, 0-9, \
             spaces, and ._-:/()#,@[]+=&;{{}}!$*"
        );
        return Err(Refusal::Value(text));
    }
    Ok(())
}

/// Checks what a client says of a rule.
pub(super) fn check_rule_description(text: &str) -> Result<(), Refusal> {
    if text.is_empty() { Ok(()) } else { check_text("Description", text) }
}

impl Network {
    /// A VPC's group of that name.
    pub fn group_named(&self, vpc: &VpcId, name: &str) -> Result<&Arc<SecurityGroup>, Refusal> {
        let found = self.security_groups().find(|group| group.vpc == *vpc && group.name == name);
        found.ok_or_else(|| Refusal::GroupNameMissing(name.to_owned(), vpc.clone()))
    }

    /// A rule and its group.
    pub fn rule(&self, id: &RuleId) -> Result<(&Arc<SecurityGroup>, &Rule), Refusal> {
        let mut all = self.security_groups().flat_map(|group| group.rules.iter().map(move |rule| (group, rule)));
        all.find(|(_, rule)| rule.id == *id).ok_or_else(|| id.missing())
    }

    fn check_rules(&self, group: &SecurityGroup) -> Result<(), Refusal> {
        for (at, rule) in group.rules.iter().enumerate() {
            if let Some(peer) = rule.allowed.peer.group()
                && self.find_security_group(peer)?.vpc != group.vpc
            {
                return Err(Refusal::GroupsApart);
            }
            if group.rules[..at].iter().any(|other| other.allowed == rule.allowed) {
                return Err(Refusal::RuleExists(rule.allowed.to_string()));
            }
        }
        for direction in [Direction::Ingress, Direction::Egress] {
            let peers = || group.rules.iter().filter(|r| r.allowed.direction == direction).map(|r| &r.allowed.peer);
            let v4 = peers().filter(|peer| !matches!(peer, Peer::V6(_))).count();
            let v6 = peers().filter(|peer| !matches!(peer, Peer::V4(_))).count();
            if v4.max(v6) > MAX_RULES {
                let what = "rules per security group";
                return Err(Refusal::Limit { code: "RulesPerSecurityGroupLimitExceeded", what });
            }
        }
        Ok(())
    }
}

impl Edit<'_> {
    /// Makes a group that lets all out and nothing in.
    pub fn create_security_group(
        &mut self,
        vpc: &VpcId,
        name: &str,
        description: &str,
        tags: Tags,
    ) -> Result<Arc<SecurityGroup>, Refusal> {
        self.network.find_vpc(vpc)?;
        // AWS: a name begins and ends with no space, and is otherwise as it was sent.
        let name = name.trim();
        check_text("GroupName", name)?;
        check_text("GroupDescription", description)?;
        if name.eq_ignore_ascii_case(DEFAULT_GROUP) {
            return Err(Refusal::Value(format!("Cannot use reserved security group name: {name}")));
        }
        if name.starts_with(SecurityGroupId::PREFIX) {
            let text =
                format!("Value ({name}) for parameter GroupName is invalid. Group names may not be in the format sg-*");
            return Err(Refusal::Value(text));
        }
        if self.network.group_named(vpc, name).is_ok() {
            return Err(Refusal::GroupExists(name.to_owned(), vpc.clone()));
        }
        if self.network.security_groups().count() >= MAX_GROUPS {
            return Err(Refusal::Limit { code: "SecurityGroupLimitExceeded", what: "security groups" });
        }
        let id = SecurityGroupId::of(self.number());
        let out = all_out(RuleId::of(self.number()));
        self.put(SecurityGroup {
            scope: self.scope.clone(),
            id: id.clone(),
            vpc: vpc.clone(),
            name: name.to_owned(),
            description: description.to_owned(),
            rules: vec![out],
            tags,
        });
        self.network.find_security_group(&id).cloned()
    }

    /// Removes a group that no interface is in and no other group names.
    pub fn delete_security_group(&mut self, id: &SecurityGroupId) -> Result<(), Refusal> {
        let network = &self.network;
        if network.find_security_group(id)?.name == DEFAULT_GROUP {
            return Err(Refusal::DefaultGroup(id.clone()));
        }
        let others = network.security_groups().filter(|group| group.id != *id);
        let named = others.flat_map(|group| &group.rules).any(|rule| rule.allowed.peer.group() == Some(id));
        if named || network.interfaces().any(|interface| interface.groups.contains(id)) {
            return Err(Refusal::GroupInUse(id.clone()));
        }
        self.remove(Key::SecurityGroup(id.clone()));
        Ok(())
    }

    /// Adds rules, all or none.
    pub fn authorize(
        &mut self,
        id: &SecurityGroupId,
        rules: Vec<(Allowed, Option<String>)>,
        tags: &Tags,
    ) -> Result<Vec<Rule>, Refusal> {
        let mut group = SecurityGroup::clone(self.network.find_security_group(id)?);
        let mut added = Vec::with_capacity(rules.len());
        for (allowed, description) in rules {
            check_rule_description(description.as_deref().unwrap_or_default())?;
            added.push(Rule { id: RuleId::of(self.number()), allowed, description, tags: tags.clone() });
        }
        group.rules.extend(added.iter().cloned());
        self.network.check_rules(&group)?;
        self.put(group);
        Ok(added)
    }

    /// Removes rules of one direction, all or none.
    pub fn revoke(
        &mut self,
        id: &SecurityGroupId,
        direction: Direction,
        rules: &[Named],
    ) -> Result<Vec<Rule>, Refusal> {
        let mut group = SecurityGroup::clone(self.network.find_security_group(id)?);
        let mut removed = Vec::with_capacity(rules.len());
        for named in rules {
            let at = group.rules.iter().position(|rule| named.is(rule) && rule.allowed.direction == direction);
            removed.push(group.rules.remove(at.ok_or_else(|| named.missing())?));
        }
        self.put(group);
        Ok(removed)
    }

    /// Says something else of rules, all or none; `None` says nothing of one.
    pub fn describe_rules(
        &mut self,
        id: &SecurityGroupId,
        direction: Direction,
        rules: Vec<(Named, Option<String>)>,
    ) -> Result<(), Refusal> {
        let mut group = SecurityGroup::clone(self.network.find_security_group(id)?);
        for (named, description) in rules {
            check_rule_description(description.as_deref().unwrap_or_default())?;
            let mut of_direction = group.rules.iter_mut().filter(|rule| rule.allowed.direction == direction);
            let rule = of_direction.find(|rule| named.is(rule)).ok_or_else(|| named.missing())?;
            rule.description = description;
        }
        self.put(group);
        Ok(())
    }

    /// Has rules allow something else, all or none. A rule keeps its id, its tags and its direction.
    pub fn modify_rules(
        &mut self,
        id: &SecurityGroupId,
        rules: Vec<(RuleId, super::Traffic, Peer, Option<String>)>,
    ) -> Result<(), Refusal> {
        let mut group = SecurityGroup::clone(self.network.find_security_group(id)?);
        for (rule, traffic, peer, description) in rules {
            check_rule_description(description.as_deref().unwrap_or_default())?;
            let known = group.rules.iter_mut().find(|known| known.id == rule).ok_or_else(|| rule.missing())?;
            known.allowed = Allowed { direction: known.allowed.direction, traffic, peer };
            known.description = description;
        }
        self.network.check_rules(&group)?;
        self.put(group);
        Ok(())
    }
}
