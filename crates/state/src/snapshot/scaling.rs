//! Launch templates, Auto Scaling groups, and the capacity providers of groups.

use super::{ClusterRow, Snapshot};
use model::{
    AutoScalingGroup, AutoScalingProvider, CapacityProvider, ContainerInstance, LaunchTemplate, Machine, Scope,
};
use std::sync::Arc;

impl Snapshot {
    /// A launch template.
    pub fn launch_template(&self, scope: &Scope, id: &str) -> Option<&Arc<LaunchTemplate>> {
        self.scope(scope)?.launch_templates.get(id)
    }

    /// The scope's launch templates by id.
    pub fn launch_templates<'a>(&'a self, scope: &Scope) -> impl Iterator<Item = &'a Arc<LaunchTemplate>> + use<'a> {
        self.scope(scope).into_iter().flat_map(|s| s.launch_templates.values())
    }

    /// An Auto Scaling group.
    pub fn scaling_group(&self, scope: &Scope, name: &str) -> Option<&Arc<AutoScalingGroup>> {
        self.scope(scope)?.scaling_groups.get(name)
    }

    /// The scope's Auto Scaling groups by name.
    pub fn scaling_groups<'a>(&'a self, scope: &Scope) -> impl Iterator<Item = &'a Arc<AutoScalingGroup>> + use<'a> {
        self.scope(scope).into_iter().flat_map(|s| s.scaling_groups.values())
    }

    /// Every Auto Scaling group of every scope.
    pub fn all_scaling_groups(&self) -> impl Iterator<Item = &Arc<AutoScalingGroup>> {
        self.scopes.values().flat_map(|s| s.scaling_groups.values())
    }

    /// The machines of a group that are not on their way out, by id.
    pub fn members<'a>(&'a self, scope: &Scope, group: &'a str) -> impl Iterator<Item = &'a Arc<Machine>> {
        self.machines(scope, None).filter(move |m| m.membership().is_some_and(|member| member.name == group))
    }

    /// The capacity provider of that name that is an Auto Scaling group's, deleted ones too.
    pub fn capacity_provider(&self, scope: &Scope, name: &str) -> Option<&Arc<AutoScalingProvider>> {
        self.scope(scope)?.capacity_providers.get(name)
    }

    /// The scope's capacity providers of Auto Scaling groups by name, deleted ones too.
    pub fn capacity_providers<'a>(
        &'a self,
        scope: &Scope,
    ) -> impl Iterator<Item = &'a Arc<AutoScalingProvider>> + use<'a> {
        self.scope(scope).into_iter().flat_map(|s| s.capacity_providers.values())
    }

    /// The capacity provider of a group. No group has two.
    pub fn provider_of_group(&self, scope: &Scope, group: &str) -> Option<&Arc<AutoScalingProvider>> {
        self.capacity_providers(scope).find(|provider| !provider.deleted && provider.group == group)
    }

    /// The capacity provider whose room an instance is: that of its machine's group, if its cluster has it.
    pub fn provider_of(&self, instance: &ContainerInstance) -> Option<CapacityProvider> {
        let scope = &instance.arn.cluster.scope;
        let machine = self.machine(scope, instance.ec2_instance_id.as_deref()?)?;
        let provider = self.provider_of_group(scope, &machine.group.as_ref()?.name)?.provider();
        let cluster: &ClusterRow = self.cluster(&instance.arn.cluster)?;
        cluster.cluster.capacity_providers.contains(&provider).then_some(provider)
    }

    pub(crate) fn put_launch_template(&mut self, template: Arc<LaunchTemplate>) {
        self.scope_mut(&template.scope).launch_templates.insert(template.id.clone(), template);
    }

    pub(crate) fn remove_launch_template(&mut self, scope: &Scope, id: &str) {
        self.scope_mut(scope).launch_templates.remove(id);
    }

    pub(crate) fn put_scaling_group(&mut self, group: Arc<AutoScalingGroup>) {
        self.scope_mut(&group.scope).scaling_groups.insert(group.name.clone(), group);
    }

    pub(crate) fn remove_scaling_group(&mut self, scope: &Scope, name: &str) {
        self.scope_mut(scope).scaling_groups.remove(name);
    }

    pub(crate) fn put_capacity_provider(&mut self, provider: Arc<AutoScalingProvider>) {
        self.scope_mut(&provider.scope).capacity_providers.insert(provider.name.clone(), provider);
    }
}
