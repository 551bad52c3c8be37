//! Applying commands: look again at what was decided on, then change the draft.
//!
//! The same commands in the same order give the same state, on every machine. Each function refuses before it changes
//! anything, so a refused command leaves no trace and the group's other commands are unharmed.

mod activations;
mod clusters;
mod definitions;
mod discovery;
mod iam;
mod instances;
mod machines;
mod network;
mod scaling;
mod services;
mod settings;
mod tags;
mod tasks;
mod vault;

use crate::{
    command::{Command, Outcome, Rejected},
    draft::Draft,
};

type Applied = Result<Outcome, Rejected>;

impl Draft<'_> {
    /// Applies one command; refused, it has changed nothing.
    pub(crate) fn apply(&mut self, command: Command) -> Applied {
        match command {
            Command::CreateCluster(cluster) => self.create_cluster(cluster),
            Command::UpdateCluster { arn, settings, connect_namespace, exec_logging } => {
                self.update_cluster(&arn, settings, connect_namespace, exec_logging)
            }
            Command::PutClusterCapacityProviders { arn, providers, default_strategy } => {
                self.put_capacity_providers(&arn, providers, default_strategy)
            }
            Command::DeleteCluster { arn } => self.delete_cluster(&arn),

            Command::RegisterTaskDefinition { scope, spec, tags, registered_by, at } => {
                self.register_task_definition(scope, spec, tags, registered_by, at)
            }
            Command::DeregisterTaskDefinition { arn, at } => self.deregister_task_definition(&arn, at),
            Command::DeleteTaskDefinition { arn, at } => self.delete_task_definition(&arn, at),
            Command::ForgetTaskDefinition { arn } => self.forget_task_definition(&arn),

            Command::RegisterContainerInstance { instance } => self.register_instance(instance),
            Command::SetAgentConnected { arn, connected, at } => self.set_agent_connected(&arn, connected, at),
            Command::SetInstanceStatus { arn, status } => self.set_instance_status(&arn, status),
            Command::DeregisterContainerInstance { arn, force, at } => self.deregister_instance(&arn, force, at),
            Command::ForgetContainerInstances { arns } => self.forget_instances(&arns),
            Command::PutAttributes { attributes } => self.put_attributes(attributes),
            Command::DeleteAttributes { attributes } => self.delete_attributes(&attributes),

            Command::StartTasks { tasks, token } => self.start_tasks(tasks, token),
            Command::PlaceTasks { tasks } => self.place_tasks(tasks),
            Command::StopTask { arn, why, at } => self.stop_task(&arn, why, at),
            Command::ReclaimSpot { tasks, why, at } => Ok(self.reclaim_spot(&tasks, &why, at)),
            Command::Observe { instance, seen, at } => self.observe(&instance, &seen, at),
            Command::EndTasks { tasks, why, at } => self.end_tasks(&tasks, &why, at),
            Command::ProtectTasks { tasks, until } => Ok(self.protect_tasks(&tasks, until)),
            Command::ChangeService(change) => self.change_service(*change),
            Command::ForgetServices { arns } => Ok(self.forget_services(&arns)),
            Command::ForgetTasks { tasks } => self.forget_tasks(&tasks),
            Command::ForgetTokens { scope, before } => self.forget_tokens(&scope, before),

            Command::TagResource { resource, tags } => self.tag_resource(resource, &tags),
            Command::UntagResource { resource, keys } => self.untag_resource(resource, &keys),

            Command::PutAccountSetting { scope, setting } => self.put_account_setting(scope, setting),
            Command::DeleteAccountSetting { scope, name, principal } => {
                self.delete_account_setting(&scope, name, principal)
            }

            Command::RunMachines { machines } => self.run_machines(machines),
            Command::SetMachineState { scope, id, state, reason, at } => {
                self.set_machine_state(&scope, &id, state, reason, at)
            }
            Command::ForgetMachines { scope, ids } => self.forget_machines(&scope, &ids),

            Command::CreateLaunchTemplate(template) => self.create_launch_template(template),
            Command::AddLaunchTemplateVersion { scope, id, version } => {
                self.add_launch_template_version(&scope, &id, version)
            }
            Command::DeleteLaunchTemplate { scope, id } => self.delete_launch_template(&scope, &id),
            Command::ChangeScalingGroup(change) => self.change_scaling_group(*change),
            Command::CreateCapacityProvider(provider) => self.create_capacity_provider(provider),
            Command::UpdateCapacityProvider { scope, name, managed_scaling, protects_tasks, drains } => {
                self.update_capacity_provider(&scope, &name, managed_scaling, protects_tasks, drains)
            }
            Command::DeleteCapacityProvider { scope, name } => self.delete_capacity_provider(&scope, &name),

            Command::ChangeNetwork(change) => self.change_network(*change),
            Command::ChangeDiscovery(change) => self.change_discovery(*change),
            Command::ChangeVault(change) => self.change_vault(*change),
            Command::ChangeIam(change) => self.change_iam(*change),

            Command::CreateActivation(activation) => self.create_activation(activation),
            Command::RegisterWithActivation { scope, id, key_sha256, cluster, container_instance, at } => {
                let wanted = model::Registration { key_sha256, cluster, container_instance };
                self.register_with_activation(&scope, &id, wanted, at)
            }
            Command::DeleteActivation { scope, id } => self.delete_activation(&scope, &id),
        }
    }
}
