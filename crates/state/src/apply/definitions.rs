//! Task definitions. Revisions count up within a family, and the count outlives the revisions.

use super::Applied;
use crate::{
    command::{Outcome, Rejected},
    draft::Draft,
};
use model::{Scope, Tags, TaskDefinition, TaskDefinitionArn, TaskDefinitionSpec, TaskDefinitionStatus, Timestamp};
use std::sync::Arc;

impl Draft<'_> {
    pub(super) fn register_task_definition(
        &mut self,
        scope: Scope,
        spec: Arc<TaskDefinitionSpec>,
        tags: Tags,
        registered_by: String,
        at: Timestamp,
    ) -> Applied {
        let family = self.next.scope(&scope).and_then(|s| s.families.get(&spec.family));
        let revision = family.map_or(0, |f| f.last_revision).checked_add(1).ok_or(Rejected::NoRevisionsLeft)?;
        self.put_family(&scope, &spec.family, revision);
        Ok(Outcome::TaskDefinition(self.put_definition(TaskDefinition {
            arn: TaskDefinitionArn { scope, family: spec.family.clone(), revision },
            spec,
            status: TaskDefinitionStatus::Active,
            registered_at: at,
            registered_by,
            deregistered_at: None,
            delete_requested_at: None,
            tags,
        })))
    }

    pub(super) fn deregister_task_definition(&mut self, arn: &TaskDefinitionArn, at: Timestamp) -> Applied {
        let known = self.definition(arn)?;
        match known.status {
            TaskDefinitionStatus::Active => {
                let mut definition = TaskDefinition::clone(known);
                definition.status = TaskDefinitionStatus::Inactive;
                definition.deregistered_at = Some(at);
                Ok(Outcome::TaskDefinition(self.put_definition(definition)))
            }
            TaskDefinitionStatus::Inactive => Ok(Outcome::TaskDefinition(known.clone())),
            TaskDefinitionStatus::DeleteInProgress => Err(Rejected::TaskDefinitionNotActive(arn.clone())),
        }
    }

    pub(super) fn delete_task_definition(&mut self, arn: &TaskDefinitionArn, at: Timestamp) -> Applied {
        let known = self.definition(arn)?;
        match known.status {
            TaskDefinitionStatus::Active => Err(Rejected::TaskDefinitionStillActive(arn.clone())),
            TaskDefinitionStatus::Inactive => {
                let mut definition = TaskDefinition::clone(known);
                definition.status = TaskDefinitionStatus::DeleteInProgress;
                definition.delete_requested_at = Some(at);
                Ok(Outcome::TaskDefinition(self.put_definition(definition)))
            }
            TaskDefinitionStatus::DeleteInProgress => Ok(Outcome::TaskDefinition(known.clone())),
        }
    }

    pub(super) fn forget_task_definition(&mut self, arn: &TaskDefinitionArn) -> Applied {
        match self.definition(arn)?.status {
            TaskDefinitionStatus::Active | TaskDefinitionStatus::Inactive => {
                return Err(Rejected::TaskDefinitionNotDeleting(arn.clone()));
            }
            TaskDefinitionStatus::DeleteInProgress => {}
        }
        if self.next.definition_row(arn).is_some_and(|row| row.live_tasks > 0 || row.services > 0) {
            return Err(Rejected::TaskDefinitionInUse(arn.clone()));
        }
        self.remove_definition(arn);
        Ok(Outcome::Done)
    }

    pub(super) fn definition(&self, arn: &TaskDefinitionArn) -> Result<&Arc<TaskDefinition>, Rejected> {
        self.next.task_definition(arn).ok_or_else(|| Rejected::TaskDefinitionNotFound(arn.clone()))
    }
}
