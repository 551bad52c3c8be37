//! Tags, on every resource that carries them. AWS counts no version for a change of tags.

use super::Applied;
use crate::{
    command::{Outcome, Rejected, Resource},
    draft::Draft,
};
use model::{
    AutoScalingProvider, Cluster, ContainerInstance, LaunchTemplate, Machine, Service, Tags, Task, TaskDefinition,
};

impl Draft<'_> {
    pub(super) fn tag_resource(&mut self, resource: Resource, more: &Tags) -> Applied {
        self.change_tags(resource, |tags| tags.merge(more).map_err(Rejected::Tags))
    }

    pub(super) fn untag_resource(&mut self, resource: Resource, keys: &[String]) -> Applied {
        self.change_tags(resource, |tags| {
            tags.0.retain(|key, _| !keys.contains(key));
            Ok(())
        })
    }

    fn change_tags(&mut self, resource: Resource, change: impl FnOnce(&mut Tags) -> Result<(), Rejected>) -> Applied {
        match resource {
            Resource::Cluster(arn) => {
                let mut cluster = Cluster::clone(&self.active_cluster(&arn)?.cluster);
                change(&mut cluster.tags)?;
                self.put_cluster(cluster);
            }
            Resource::TaskDefinition(arn) => {
                let mut definition = TaskDefinition::clone(self.definition(&arn)?);
                change(&mut definition.tags)?;
                self.put_definition(definition);
            }
            Resource::ContainerInstance(arn) => {
                let mut instance = ContainerInstance::clone(&self.registered_instance(&arn)?.instance);
                change(&mut instance.tags)?;
                self.put_instance(instance);
            }
            Resource::Service(arn) => {
                let known = self.next.service(&arn).filter(|row| row.service.is_active());
                let known = known.ok_or_else(|| Rejected::ServiceNotFound(arn.clone()))?;
                let mut service = Service::clone(&known.service);
                change(&mut service.tags)?;
                service.version += 1;
                self.put_service(service);
            }
            Resource::Machine { scope, id } => {
                let known = self.next.machine(&scope, &id).ok_or(Rejected::MachineNotFound(id))?;
                let mut machine = Machine::clone(known);
                change(&mut machine.tags)?;
                self.put_machine(machine);
            }
            Resource::LaunchTemplate { scope, id } => {
                let mut template = LaunchTemplate::clone(self.known_template(&scope, &id)?);
                change(&mut template.tags)?;
                self.put_launch_template(template);
            }
            Resource::CapacityProvider { scope, name } => {
                let mut provider = AutoScalingProvider::clone(self.active_provider(&scope, &name)?);
                change(&mut provider.tags)?;
                self.put_capacity_provider(provider);
            }
            Resource::Task(arn) => {
                let known = self.next.task(&arn).ok_or_else(|| Rejected::TaskNotFound(arn.clone()))?;
                let mut task = Task::clone(known);
                change(&mut task.tags)?;
                self.put_task(task);
            }
        }
        Ok(Outcome::Done)
    }
}
