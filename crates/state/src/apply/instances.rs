//! Container instances and their attributes.

use super::Applied;
use crate::{
    command::{Outcome, Rejected},
    draft::Draft,
    snapshot::InstanceRow,
};
use model::{
    Attribute, ContainerInstance, ContainerInstanceArn, InstanceStatus, Stop, StopCode, Task, Timestamp,
    attribute::{MAX_CUSTOM_ATTRIBUTES, is_reserved},
};
use std::{collections::BTreeMap, sync::Arc};

impl Draft<'_> {
    pub(super) fn register_instance(&mut self, mut instance: ContainerInstance) -> Applied {
        self.active_cluster(&instance.arn.cluster)?;
        if let Some(row) = self.next.instance(&instance.arn) {
            let known = &row.instance;
            match known.status {
                InstanceStatus::Inactive => return Err(Rejected::InstanceInactive(instance.arn)),
                InstanceStatus::Active | InstanceStatus::Draining => {}
            }
            // Which machine it is decides whose role it has and whose usage it is.
            match (&known.ec2_instance_id, &instance.ec2_instance_id) {
                (Some(known), Some(now)) if known != now => return Err(Rejected::OtherMachine(instance.arn)),
                (Some(known), None) => instance.ec2_instance_id = Some(known.clone()),
                (Some(_) | None, _) => {}
            }
            instance.status = known.status;
            instance.version = known.version + 1;
            instance.registered_at = known.registered_at;
            instance.reclaimed_at = known.reclaimed_at;
            instance.tags = known.tags.clone();
            for (name, value) in known.attributes.iter().filter(|(name, _)| !is_reserved(name)) {
                instance.attributes.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        Ok(Outcome::ContainerInstance(self.put_instance(instance)))
    }

    pub(super) fn set_agent_connected(
        &mut self,
        arn: &ContainerInstanceArn,
        connected: bool,
        at: Timestamp,
    ) -> Applied {
        let row = self.known_instance(arn)?;
        if row.instance.agent_connected == connected {
            return Ok(Outcome::ContainerInstance(row.instance.clone()));
        }
        if connected && !row.is_registered() {
            return Err(Rejected::InstanceInactive(arn.clone()));
        }
        let mut instance = ContainerInstance::clone(&row.instance);
        instance.agent_connected = connected;
        instance.agent_changed_at = at;
        Ok(self.changed(instance))
    }

    pub(super) fn set_instance_status(&mut self, arn: &ContainerInstanceArn, status: InstanceStatus) -> Applied {
        match status {
            InstanceStatus::Inactive => return Err(Rejected::InstanceStatusNotSettable),
            InstanceStatus::Active | InstanceStatus::Draining => {}
        }
        let known = &self.registered_instance(arn)?.instance;
        if known.status == status {
            return Ok(Outcome::ContainerInstance(known.clone()));
        }
        let instance = ContainerInstance { status, ..ContainerInstance::clone(known) };
        Ok(self.changed(instance))
    }

    pub(super) fn deregister_instance(&mut self, arn: &ContainerInstanceArn, force: bool, at: Timestamp) -> Applied {
        let row = self.registered_instance(arn)?.clone();
        if row.live > 0 && !force {
            return Err(Rejected::InstanceHasTasks(arn.clone()));
        }
        let live: Vec<Arc<Task>> = self.next.live_tasks_on(arn).cloned().collect();
        for task in live {
            let reason = "Container instance deregistration forced by user".into();
            self.end_task(&task, &Stop { code: StopCode::UserInitiated, reason }, at);
        }
        let mut instance = ContainerInstance::clone(&row.instance);
        instance.status = InstanceStatus::Inactive;
        instance.agent_connected = false;
        // Also when its agent was away already: what is INACTIVE is kept for a while from this moment on.
        instance.agent_changed_at = at;
        Ok(self.changed(instance))
    }

    pub(super) fn forget_instances(&mut self, arns: &[ContainerInstanceArn]) -> Applied {
        for arn in arns {
            if self.next.instance(arn).is_some_and(|row| !row.is_registered() && row.live == 0) {
                self.remove_instance(arn);
            }
        }
        Ok(Outcome::Done)
    }

    pub(super) fn put_attributes(&mut self, attributes: Vec<(ContainerInstanceArn, Attribute)>) -> Applied {
        let mut changed = BTreeMap::new();
        for (arn, attribute) in attributes {
            let instance = self.changing(&mut changed, &arn, &attribute.name)?;
            instance.attributes.insert(attribute.name, attribute.value);
            if instance.attributes.keys().filter(|name| !is_reserved(name)).count() > MAX_CUSTOM_ATTRIBUTES {
                return Err(Rejected::TooManyAttributes(arn));
            }
        }
        Ok(self.all_changed(changed))
    }

    pub(super) fn delete_attributes(&mut self, attributes: &[(ContainerInstanceArn, Attribute)]) -> Applied {
        let mut changed = BTreeMap::new();
        for (arn, attribute) in attributes {
            let instance = self.changing(&mut changed, arn, &attribute.name)?;
            if attribute.value.is_none() || instance.attributes.get(&attribute.name) == Some(&attribute.value) {
                instance.attributes.remove(&attribute.name);
            }
        }
        Ok(self.all_changed(changed))
    }

    /// The copy in which an instance's custom attribute is changed; one copy for all of a command's attributes.
    fn changing<'c>(
        &self,
        changed: &'c mut BTreeMap<ContainerInstanceArn, ContainerInstance>,
        arn: &ContainerInstanceArn,
        name: &str,
    ) -> Result<&'c mut ContainerInstance, Rejected> {
        if is_reserved(name) {
            return Err(Rejected::AttributeReserved(name.to_owned()));
        }
        let known = &self.registered_instance(arn)?.instance;
        Ok(changed.entry(arn.clone()).or_insert_with(|| ContainerInstance::clone(known)))
    }

    fn all_changed(&mut self, changed: BTreeMap<ContainerInstanceArn, ContainerInstance>) -> Outcome {
        for (arn, instance) in changed {
            if self.next.instance(&arn).is_some_and(|row| row.instance.attributes != instance.attributes) {
                self.changed(instance);
            }
        }
        Outcome::Done
    }

    fn changed(&mut self, mut instance: ContainerInstance) -> Outcome {
        instance.version += 1;
        Outcome::ContainerInstance(self.put_instance(instance))
    }

    pub(super) fn known_instance(&self, arn: &ContainerInstanceArn) -> Result<&Arc<InstanceRow>, Rejected> {
        self.next.instance(arn).ok_or_else(|| Rejected::InstanceNotFound(arn.clone()))
    }

    /// The instance, if it is not INACTIVE.
    pub(super) fn registered_instance(&self, arn: &ContainerInstanceArn) -> Result<&Arc<InstanceRow>, Rejected> {
        let row = self.known_instance(arn)?;
        if row.is_registered() { Ok(row) } else { Err(Rejected::InstanceInactive(arn.clone())) }
    }
}
