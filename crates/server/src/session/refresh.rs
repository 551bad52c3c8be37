//! When an agent has to ask anew for what its tasks have as files. Agents are told that it may have changed, and no value; what they
//! may know is judged when they ask. Pure.

use crate::api::secretsmanager;
use model::{
    ContainerInstanceArn, Scope, TaskArn, TaskDefinitionSpec,
    secret_files::CAPABILITY,
    vault::{Parameter, Secret, SecretReference, Vault, names_in, selected},
};
use state::Snapshot;
use std::{collections::HashMap, sync::Arc};

/// What the tasks of an instance have as files, as it was when its agent last heard of it in its session.
#[derive(Default)]
pub(super) struct Shown {
    tasks: HashMap<TaskArn, Vec<Source>>,
    /// Whether the agent has been told of what it had before this session.
    begun: bool,
}

/// A secret or a parameter as it is stored. Whatever changes makes another one of it, also one that is made anew by an old name.
#[derive(Clone)]
enum Source {
    Secret(Arc<Secret>),
    Parameter(Arc<Parameter>),
    Nothing,
}

impl Source {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Secret(one), Self::Secret(two)) => Arc::ptr_eq(one, two),
            (Self::Parameter(one), Self::Parameter(two)) => Arc::ptr_eq(one, two),
            (Self::Nothing, Self::Nothing) => true,
            (Self::Secret(_) | Self::Parameter(_) | Self::Nothing, _) => false,
        }
    }

    fn of(snapshot: &Snapshot, scope: &Scope, from: &str) -> Self {
        match SecretReference::parse(from) {
            Ok(SecretReference::Parameter { scope: other, name }) => {
                let place = other.as_ref().unwrap_or(scope);
                let found = snapshot.vault(place).and_then(|vault| parameter(vault, place, &name));
                found.map_or(Self::Nothing, Self::Parameter)
            }
            Ok(SecretReference::Secret { scope: place, arn, .. }) => {
                let found = snapshot.vault(&place).and_then(|vault| secretsmanager::find(vault, &place, &arn).ok());
                found.map_or(Self::Nothing, |secret| Self::Secret(secret.clone()))
            }
            Err(_) => Self::Nothing,
        }
    }
}

fn parameter(vault: &Vault, place: &Scope, name: &str) -> Option<Arc<Parameter>> {
    names_in(place, selected(name).0).into_iter().find_map(|name| vault.parameter(&name).cloned())
}

fn sources(snapshot: &Snapshot, scope: &Scope, spec: &TaskDefinitionSpec) -> Vec<Source> {
    let containers = spec.containers.iter().filter(|container| container.secret_files().is_some());
    containers.flat_map(|c| &c.secrets).map(|secret| Source::of(snapshot, scope, &secret.value_from)).collect()
}

impl Shown {
    /// Whether anything that is shown can change.
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The tasks to ask for now. Of those that ran before the session everything may have changed since; of a new one nothing, since
    /// its agent asks for all of it after it has heard of the task.
    pub(super) fn news(&mut self, snapshot: &Snapshot, instance: &ContainerInstanceArn) -> Vec<TaskArn> {
        let knows = snapshot.instance(instance).is_some_and(|row| row.instance.attributes.contains_key(CAPABILITY));
        let first = !std::mem::replace(&mut self.begun, true);
        let (mut now, mut changed) = (HashMap::new(), Vec::new());
        for task in snapshot.live_tasks_on(instance).filter(|_| knows) {
            let definition = snapshot.task_definition(&task.definition);
            let Some(definition) = definition.filter(|definition| definition.spec.has_secret_files()) else { continue };
            let sources = sources(snapshot, &task.arn.cluster.scope, &definition.spec);
            let same = |then: &Vec<Source>| then.iter().zip(&sources).all(|(then, now)| then.is(now));
            if self.tasks.get(&task.arn).map_or(first, |then| !same(then)) {
                changed.push(task.arn.clone());
            }
            now.insert(task.arn.clone(), sources);
        }
        self.tasks = now;
        changed
    }
}
