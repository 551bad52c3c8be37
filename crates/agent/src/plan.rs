//! A task with everything that follows from its assignment worked out once: containers with overrides laid over, ids,
//! labels, where output goes. Pure.

use crate::task::{ContainerState, Endpoint, Pulled, TaskState};
use link::Assignment;
use model::{ContainerDefinition, LogDriver, NetworkMode, TaskDefinitionSpec};
use std::{collections::BTreeMap, sync::Arc};

/// Label of every container: the container instance it belongs to. The agent's own containers are found by it.
pub const INSTANCE_LABEL: &str = "longshore.instance";
/// Label of every container: its task's id.
pub const TASK_LABEL: &str = "longshore.task";
/// Characters of a container's name in its runtime id, which may have 76 in all.
const NAME_IN_ID: usize = 40;

/// A task to run.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskPlan {
    /// What the server asked for.
    pub assignment: Assignment,
    /// The definition it names.
    pub definition: Arc<TaskDefinitionSpec>,
    /// Its containers with the overrides laid over.
    pub containers: Vec<ContainerDefinition>,
    /// The runtime's ids, in the same order.
    pub ids: Vec<Arc<str>>,
}

/// One container of a task, with what is known of it when something is to be done to it.
#[derive(Debug, Clone)]
pub struct Job {
    /// The task.
    pub task: Arc<TaskPlan>,
    /// Its position.
    pub at: usize,
    /// What its image said.
    pub pulled: Option<Pulled>,
    /// Its place in the network.
    pub endpoint: Option<Endpoint>,
}

/// Where a container's output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTarget {
    /// Group.
    pub group: String,
    /// Stream.
    pub stream: String,
    /// Make the group if it is missing.
    pub create_group: bool,
    /// Region, if another than the instance's may be meant.
    pub region: Option<String>,
    /// The container's runtime id.
    pub producer: String,
}

impl TaskPlan {
    /// Works it out.
    pub fn new(assignment: Assignment, definition: Arc<TaskDefinitionSpec>) -> Self {
        let containers = definition.containers_with(&assignment.overrides);
        let ids = containers.iter().map(|c| runtime_id(&assignment, &c.name)).collect();
        Self { assignment, definition, containers, ids }
    }

    /// The state of the task before anything was done.
    pub fn fresh(&self) -> TaskState {
        let container = |at: usize| (&self.containers[at], self.ids[at].clone(), self.log_target(at).is_some());
        TaskState::new((0..self.containers.len()).map(container))
    }

    /// The task's id.
    pub fn id(&self) -> &str {
        self.assignment.task.id.as_str()
    }

    /// The network mode that holds.
    pub fn mode(&self) -> NetworkMode {
        self.definition.effective_network_mode()
    }

    /// What is to be done to one container.
    pub fn job(self: &Arc<Self>, at: usize, state: &ContainerState) -> Job {
        Job { task: self.clone(), at, pulled: state.pulled.clone(), endpoint: state.endpoint.clone() }
    }

    /// Where the output of a container goes, if it goes to the server.
    pub fn log_target(&self, at: usize) -> Option<LogTarget> {
        let container = &self.containers[at];
        let log = container.log_configuration.as_ref()?;
        match log.driver {
            LogDriver::JsonFile => return None,
            LogDriver::Awslogs => {}
        }
        let producer = self.ids[at].to_string();
        let stream = match log.options.get("awslogs-stream-prefix") {
            Some(prefix) => format!("{prefix}/{}/{}", container.name, self.id()),
            None => producer.clone(),
        };
        Some(LogTarget {
            group: log.options.get("awslogs-group")?.clone(),
            stream,
            create_group: log.options.get("awslogs-create-group").is_some_and(|v| v == "true"),
            region: log.options.get("awslogs-region").cloned(),
            producer,
        })
    }
}

impl Job {
    /// The container's definition.
    pub fn container(&self) -> &ContainerDefinition {
        &self.task.containers[self.at]
    }

    /// The runtime's id.
    pub fn id(&self) -> &str {
        &self.task.ids[self.at]
    }

    /// The labels ECS puts on containers, ours, and the definition's. Source: agent, `engine/docker_task_engine.go`.
    pub fn labels(&self, instance: &str) -> BTreeMap<String, String> {
        let assignment = &self.task.assignment;
        let mut labels = self.container().docker_labels.clone();
        labels.extend(
            [
                ("com.amazonaws.ecs.cluster", assignment.task.cluster.name.to_string()),
                ("com.amazonaws.ecs.container-name", self.container().name.clone()),
                ("com.amazonaws.ecs.task-arn", assignment.task.to_string()),
                ("com.amazonaws.ecs.task-definition-family", assignment.definition.family.to_string()),
                ("com.amazonaws.ecs.task-definition-version", assignment.definition.revision.to_string()),
                (INSTANCE_LABEL, instance.to_owned()),
                (TASK_LABEL, self.task.id().to_owned()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        labels
    }
}

/// Unique and always the same for one container of one task, so that a repeated create finds its predecessor. Its end is
/// that of the container's ARN, so that the two can be matched by eye.
fn runtime_id(assignment: &Assignment, name: &str) -> Arc<str> {
    let task = &assignment.task.id.as_str()[..8];
    let hex: String = match assignment.container_ids.get(name) {
        Some(id) => id.chars().filter(char::is_ascii_hexdigit).take(20).collect(),
        None => assignment.task.id.as_str()[8..28].to_owned(),
    };
    let name: String = name.chars().take(NAME_IN_ID).collect();
    format!("{task}-{name}-{hex}").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use model::LogConfiguration;

    #[test]
    fn ids_are_stable_distinct_and_fit() {
        let long = "n".repeat(255);
        let (assignment, definition) = testing::assignment(1, &["web", "db", &long]);
        let plan = TaskPlan::new(assignment.clone(), definition.clone());
        assert_eq!(plan.ids, TaskPlan::new(assignment, definition).ids);
        assert!(plan.ids.iter().all(|id| id.len() <= 76), "{:?}", plan.ids);
        assert_ne!(plan.ids[0], plan.ids[1]);
        let (other, definition) = testing::assignment(2, &["web"]);
        assert_ne!(plan.ids[0], TaskPlan::new(other, definition).ids[0]);
    }

    #[test]
    fn streams_are_named_as_awslogs_names_them() {
        let check = |options: &[(&str, &str)], want: &str| {
            let (assignment, definition) = testing::assignment(1, &["web"]);
            let mut definition = (*definition).clone();
            let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            definition.containers[0].log_configuration = Some(LogConfiguration { driver: LogDriver::Awslogs, options });
            let plan = TaskPlan::new(assignment, Arc::new(definition));
            let target = plan.log_target(0).unwrap();
            assert_eq!(target.stream, want.replace("TASK", plan.id()).replace("ID", &plan.ids[0]));
            assert!(plan.fresh().containers[0].logs_open);
        };
        check(&[("awslogs-group", "g"), ("awslogs-stream-prefix", "app")], "app/web/TASK");
        check(&[("awslogs-group", "g")], "ID");
    }
}
