//! Launch templates, Auto Scaling groups and their capacity providers.
//!
//! One commit makes a group's machines, ties them to the group and counts its version up. So a server that is killed in between
//! has either done all of it or nothing, and of two decisions about the same group only one comes through.

use super::{Applied, machines::may_follow};
use crate::{
    command::{Outcome, Rejected, ScalingChange},
    draft::Draft,
};
use model::{
    AutoScalingGroup, AutoScalingProvider, ClusterStatus, ContainerInstance, GroupMember, InstanceStatus,
    LaunchTemplate, LaunchTemplateVersion, Machine, MachineState, ManagedScaling, Scope, Timestamp,
    launch_template::MAX_VERSIONS,
};
use std::sync::Arc;

impl Draft<'_> {
    pub(super) fn create_launch_template(&mut self, template: LaunchTemplate) -> Applied {
        let is_taken = self
            .next
            .launch_templates(&template.scope)
            .any(|known| known.name == template.name || known.id == template.id);
        if is_taken {
            return Err(Rejected::LaunchTemplateExists(template.name));
        }
        Ok(Outcome::LaunchTemplate(self.put_launch_template(template)))
    }

    pub(super) fn add_launch_template_version(
        &mut self,
        scope: &Scope,
        id: &str,
        version: LaunchTemplateVersion,
    ) -> Applied {
        let known = self.known_template(scope, id)?;
        let is_made = |one: &LaunchTemplateVersion| one.client_token == version.client_token;
        if version.client_token.is_some() && known.versions.iter().any(is_made) {
            return Ok(Outcome::LaunchTemplate(known.clone()));
        }
        let mut template = LaunchTemplate::clone(known);
        if template.versions.len() >= MAX_VERSIONS {
            return Err(Rejected::TooManyVersions(id.to_owned()));
        }
        let number = template.latest_version() + 1;
        template.versions.push(LaunchTemplateVersion { number, ..version });
        Ok(Outcome::LaunchTemplate(self.put_launch_template(template)))
    }

    pub(super) fn delete_launch_template(&mut self, scope: &Scope, id: &str) -> Applied {
        let template = self.known_template(scope, id)?.clone();
        self.remove_launch_template(scope, id);
        Ok(Outcome::LaunchTemplate(template))
    }

    pub(super) fn known_template(&self, scope: &Scope, id: &str) -> Result<&Arc<LaunchTemplate>, Rejected> {
        self.next.launch_template(scope, id).ok_or_else(|| Rejected::LaunchTemplateNotFound(id.to_owned()))
    }

    pub(super) fn change_scaling_group(&mut self, change: ScalingChange) -> Applied {
        let ScalingChange { scope, name, on, group, start, members, drain, idle, terminate, reason, at } = change;
        let known = self.next.scaling_group(&scope, &name).map(|known| known.version);
        match (known, on) {
            (Some(_), None) => return Err(Rejected::ScalingGroupExists(name)),
            (None, Some(_)) => return Err(Rejected::ScalingGroupNotFound(name)),
            (Some(known), Some(on)) if known != on => return Err(Rejected::ScalingGroupChanged(name)),
            (Some(_), Some(_)) | (None, None) => {}
        }
        let is_its = |member: Option<&GroupMember>| member.is_some_and(|member| member.name == name);
        if start.iter().any(|m| m.scope != scope || !is_its(m.group.as_deref())) {
            return Err(Rejected::MachinesDiffer);
        }
        self.check_new_machines(&start)?;
        for id in members.iter().map(|(id, _)| id).chain(&terminate) {
            let machine = self.next.machine(&scope, id).ok_or_else(|| Rejected::MachineNotFound(id.clone()))?;
            if !is_its(machine.group.as_deref()) {
                return Err(Rejected::ScalingGroupChanged(name));
            }
        }
        drain.iter().try_for_each(|arn| self.known_instance(arn).map(drop))?;
        if idle.iter().any(|instance| self.next.has_tasks_beside_daemons(instance)) {
            return Err(Rejected::ScalingGroupChanged(name));
        }

        match group {
            Some(group) => drop(self.put_scaling_group(AutoScalingGroup { version: known.unwrap_or(0) + 1, ..group })),
            None => self.remove_scaling_group(&scope, &name),
        }
        for machine in start {
            self.put_machine(machine);
        }
        for (id, member) in members {
            self.change_machine(&scope, &id, |machine| machine.group = Some(Box::new(member)));
        }
        for arn in drain {
            self.drain_instance(&arn);
        }
        for id in terminate {
            self.terminate_machine(&scope, &id, reason.clone(), at);
        }
        Ok(Outcome::Done)
    }

    fn change_machine(&mut self, scope: &Scope, id: &str, change: impl FnOnce(&mut Machine)) {
        let Some(known) = self.next.machine(scope, id) else { return };
        let mut machine = Machine::clone(known);
        change(&mut machine);
        self.put_machine(machine);
    }

    fn terminate_machine(&mut self, scope: &Scope, id: &str, reason: Option<String>, at: Timestamp) {
        let goes = self.next.machine(scope, id).is_some_and(|m| may_follow(m.state, MachineState::ShuttingDown));
        if goes {
            self.change_machine(scope, id, |machine| {
                machine.enter(MachineState::ShuttingDown, at);
                machine.state_reason = reason;
            });
        }
    }

    fn drain_instance(&mut self, arn: &model::ContainerInstanceArn) {
        let Some(row) = self.next.instance(arn) else { return };
        match row.instance.status {
            InstanceStatus::Active => {
                let version = row.instance.version + 1;
                let instance = ContainerInstance::clone(&row.instance);
                self.put_instance(ContainerInstance { status: InstanceStatus::Draining, version, ..instance });
            }
            InstanceStatus::Draining | InstanceStatus::Inactive => {}
        }
    }

    pub(super) fn create_capacity_provider(&mut self, provider: AutoScalingProvider) -> Applied {
        let known = self.next.capacity_provider(&provider.scope, &provider.name);
        if known.is_some_and(|known| !known.deleted) {
            return Err(Rejected::CapacityProviderExists(provider.name));
        }
        self.next
            .scaling_group(&provider.scope, &provider.group)
            .ok_or_else(|| Rejected::ScalingGroupNotFound(provider.group.clone()))?;
        if self.next.provider_of_group(&provider.scope, &provider.group).is_some() {
            return Err(Rejected::ScalingGroupTaken(provider.group));
        }
        Ok(Outcome::CapacityProvider(self.put_capacity_provider(provider)))
    }

    pub(super) fn update_capacity_provider(
        &mut self,
        scope: &Scope,
        name: &Arc<str>,
        managed_scaling: Option<ManagedScaling>,
        protects_tasks: Option<bool>,
        drains: Option<bool>,
    ) -> Applied {
        let mut provider = AutoScalingProvider::clone(self.active_provider(scope, name)?);
        provider.managed_scaling = managed_scaling.unwrap_or(provider.managed_scaling);
        provider.protects_tasks = protects_tasks.unwrap_or(provider.protects_tasks);
        provider.drains = drains.unwrap_or(provider.drains);
        provider.updated = true;
        Ok(Outcome::CapacityProvider(self.put_capacity_provider(provider)))
    }

    pub(super) fn delete_capacity_provider(&mut self, scope: &Scope, name: &Arc<str>) -> Applied {
        let provider = self.active_provider(scope, name)?;
        let named = provider.provider();
        let has = |cluster: &model::Cluster| {
            cluster.status == ClusterStatus::Active && cluster.capacity_providers.contains(&named)
        };
        let holder = self.next.clusters(scope, None).find(|row| has(&row.cluster)).map(|row| row.cluster.arn.clone());
        if let Some(cluster) = holder {
            return Err(Rejected::CapacityProviderAssociated { cluster, provider: name.clone() });
        }
        let deleted = AutoScalingProvider { deleted: true, ..AutoScalingProvider::clone(provider) };
        Ok(Outcome::CapacityProvider(self.put_capacity_provider(deleted)))
    }

    /// The capacity provider, if it was not deleted.
    pub(super) fn active_provider(
        &self,
        scope: &Scope,
        name: &Arc<str>,
    ) -> Result<&Arc<AutoScalingProvider>, Rejected> {
        let known = self.next.capacity_provider(scope, name).filter(|known| !known.deleted);
        known.ok_or_else(|| Rejected::CapacityProviderNotFound(name.clone()))
    }
}
