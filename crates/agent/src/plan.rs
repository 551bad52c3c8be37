//! A task with everything that follows from its assignment worked out once: containers with overrides laid over, ids,
//! labels, where output goes. Pure.

use crate::{
    introspection::rfc3339,
    logs::Dispatch,
    task::{ContainerState, Endpoint, Provisioning, Pulled, TaskState},
};
use link::Assignment;
use model::{ContainerDefinition, GpuId, LaunchType, Link, LogDriver, NetworkMode, TaskDefinitionSpec, vault::Plain};
use regex::bytes::Regex;
use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Duration};
use telemetry::driver::{self, Identity};

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
    /// Which of its runs.
    pub run: u32,
    /// What its image said.
    pub pulled: Option<Pulled>,
    /// Its place in the network.
    pub endpoint: Option<Endpoint>,
    /// Where its links lead, as far as that is known.
    pub links: Vec<Linked>,
    /// The address of the task's log router, if its output goes there and that has one of its own.
    pub router: Option<Ipv4Addr>,
}

/// What the node knows that log drivers are told.
#[derive(Debug, Default)]
pub struct LogKit {
    /// Options whose values are secrets.
    pub secret_options: Vec<(String, Plain)>,
    /// The way to the task's log router.
    pub router: Option<driver::Router>,
    /// The instance's host name.
    pub hostname: String,
}

/// A container that another one has a link to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// Its position.
    pub at: usize,
    /// What the other one calls it.
    pub alias: String,
    /// Its address.
    pub address: Ipv4Addr,
}

/// What becomes of a container's output.
#[derive(Debug, Clone)]
pub enum Output {
    /// It is shipped to the server.
    Shipped(LogTarget),
    /// It is sent elsewhere by this driver.
    Sent(LogDriver),
    /// It stays in its file, of which about the newest so many bytes are kept.
    Kept(u64),
    /// The options of its log driver cannot be honoured, so the container cannot start. A server that lets them in is newer.
    Unusable(String),
}

/// Where a container's output goes, and how.
#[derive(Debug, Clone)]
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
    /// Matches the first line of an event; without it each line is one.
    pub start: Option<Regex>,
    /// How long an event of several lines waits for more.
    pub flush_after: Duration,
    /// Bytes that may wait for the server; beyond them the oldest is dropped.
    pub backlog: u64,
}

impl TaskPlan {
    /// Works it out.
    pub fn new(assignment: Assignment, definition: Arc<TaskDefinitionSpec>) -> Self {
        let mut containers = definition.containers_with(&assignment.overrides);
        for container in &mut containers {
            let pinned = assignment.image_digests.get(container.name.as_str());
            // An image that cannot be pinned cannot be pulled either, which is told when that is tried.
            if let Some(Ok(pinned)) = pinned.map(|digest| runtime::image::pinned(&container.image, digest)) {
                container.image = pinned;
            }
        }
        let ids = containers.iter().map(|c| runtime_id(&assignment, &c.name)).collect();
        Self { assignment, definition, containers, ids }
    }

    /// The state of the task before anything was done.
    pub fn fresh(&self) -> TaskState {
        let ships = |at: usize| matches!(self.output(at), Output::Shipped(_) | Output::Sent(_));
        let container = |at: usize| (&self.containers[at], self.ids[at].clone(), ships(at));
        let mut state = TaskState::new(self.assignment.interface.is_some(), (0..self.containers.len()).map(container));
        if let Some(router) = self.router() {
            for (container, definition) in state.containers.iter_mut().zip(&self.containers) {
                container.routed_by = definition.is_routed().then_some(router);
            }
        }
        TaskState { provision: self.needs_provision().then_some(Provisioning::Waiting), ..state }
    }

    /// Whether the server has to be asked before its containers can be made: for what they are given, and whether its roles may
    /// do what they have to.
    pub fn needs_provision(&self) -> bool {
        let logs =
            |c: &ContainerDefinition| c.log_configuration.as_ref().is_some_and(|l| l.driver == LogDriver::Awslogs);
        self.containers.iter().any(ContainerDefinition::needs_provision)
            || self.task_role().is_some()
            || self.definition.efs_volumes().next().is_some()
            || self.is_on_fargate() && self.containers.iter().any(logs)
    }

    /// The role whose credentials its containers have, as it was named.
    pub fn task_role(&self) -> Option<&str> {
        self.assignment.overrides.task_role_arn.as_deref().or(self.definition.task_role_arn.as_deref())
    }

    /// Whether it runs on Fargate. Where that was not said, only such a task has a disk of its own size.
    fn is_on_fargate(&self) -> bool {
        match self.assignment.launch_type {
            Some(launch_type) => launch_type == LaunchType::Fargate,
            None => self.assignment.ephemeral_storage_gib.is_some(),
        }
    }

    /// The position of its log router.
    pub fn router(&self) -> Option<usize> {
        self.definition.router()
    }

    /// What a driver that sends the output of a container elsewhere is told, with what only the node knows.
    ///
    /// # Errors
    /// What of its options cannot be honoured.
    pub fn dispatch(&self, at: usize, state: &ContainerState, kit: LogKit) -> Result<Dispatch, String> {
        let container = &self.containers[at];
        let log = container.log_configuration.as_ref().ok_or("it has no log driver")?;
        let mut options = log.options.clone();
        options.extend(kit.secret_options.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())));
        let routed = log.driver == LogDriver::Awsfirelens;
        let read = driver::Outward::parse(log.driver, &options, self.assignment.log_mode, kit.router);
        // What is wrong with a secret is said without it.
        let options = read.map_err(|error| masked(error.to_string(), &kit.secret_options))?;
        let words = container.entry_point.iter().chain(&container.command).flatten();
        let identity = Identity {
            id: self.ids[at].to_string(),
            name: self.ids[at].to_string(),
            image: container.image.clone(),
            image_id: state.pulled.as_ref().map(|pulled| pulled.image_id.to_string()).unwrap_or_default(),
            command: words.cloned().collect::<Vec<_>>().join(" "),
            hostname: kit.hostname,
            labels: self.labels(at),
            env: container.environment.clone(),
            created: state.created.map(rfc3339).unwrap_or_default(),
        };
        // AWS: how the original agent calls it; the router's output sections match its beginning.
        let tag = routed.then(|| format!("{}-firelens-{}", container.name, self.id()));
        // A receiver may be whatever the instance reaches, and on Fargate that is nobody's to look into.
        Ok(Dispatch { options, identity, tag, quotes: !self.is_on_fargate() })
    }

    /// Bytes of a container's output that may wait for who is to have it, as far as options that are no secrets say it.
    pub fn backlog(&self, at: usize) -> u64 {
        let log = self.containers[at].log_configuration.as_ref();
        log.map_or(driver::LOCAL_BYTES, |log| driver::backlog(log.driver, &log.options, self.assignment.log_mode))
    }

    /// The labels ECS puts on a container, and the definition's. Source: agent, `engine/docker_task_engine.go`.
    fn labels(&self, at: usize) -> BTreeMap<String, String> {
        let assignment = &self.assignment;
        let mut labels = self.containers[at].docker_labels.clone();
        labels.extend(
            [
                ("com.amazonaws.ecs.cluster", assignment.task.cluster.name.to_string()),
                ("com.amazonaws.ecs.container-name", self.containers[at].name.clone()),
                ("com.amazonaws.ecs.task-arn", assignment.task.to_string()),
                ("com.amazonaws.ecs.task-definition-family", assignment.definition.family.to_string()),
                ("com.amazonaws.ecs.task-definition-version", assignment.definition.revision.to_string()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        labels
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
        let (pulled, endpoint) = (state.pulled.clone(), state.endpoint.clone());
        Job { task: self.clone(), at, run: state.run(), pulled, endpoint, links: Vec::new(), router: None }
    }

    /// The same, with what is known of the containers that it has links to.
    pub fn job_in(self: &Arc<Self>, at: usize, state: &TaskState) -> Job {
        let linked = |text: &String| {
            let link = Link::parse(text)?;
            let at = self.containers.iter().position(|c| c.name == link.container)?;
            let address = state.containers[at].endpoint.as_ref()?.address?;
            Some(Linked { at, alias: link.alias.to_owned(), address })
        };
        let links = self.containers[at].links.iter().filter_map(linked).collect();
        let router =
            state.containers[at].routed_by.and_then(|router| state.containers[router].endpoint.as_ref()?.address);
        Job { links, router, ..self.job(at, &state.containers[at]) }
    }

    /// What becomes of the output of a container.
    pub fn output(&self, at: usize) -> Output {
        let container = &self.containers[at];
        let Some(log) = &container.log_configuration else { return Output::Kept(driver::LOCAL_BYTES) };
        let parsed = match log.driver {
            // What their options ask for is only known with the secret ones.
            LogDriver::Syslog
            | LogDriver::Fluentd
            | LogDriver::Gelf
            | LogDriver::Splunk
            | LogDriver::Journald
            | LogDriver::Awsfirelens => return Output::Sent(log.driver),
            LogDriver::JsonFile => driver::JsonFile::parse(&log.options).map(|options| Output::Kept(options.keep)),
            LogDriver::Awslogs => driver::Awslogs::parse(&log.options, self.assignment.log_mode)
                .map(|options| Output::Shipped(self.log_target(at, options))),
        };
        parsed.unwrap_or_else(|error| Output::Unusable(error.to_string()))
    }

    fn log_target(&self, at: usize, options: driver::Awslogs) -> LogTarget {
        let producer = self.ids[at].to_string();
        let stream = match options.stream_prefix {
            Some(prefix) => format!("{prefix}/{}/{}", self.containers[at].name, self.id()),
            None => producer.clone(),
        };
        LogTarget {
            group: options.group,
            stream,
            create_group: options.create_group,
            region: options.region,
            producer,
            start: options.start,
            flush_after: options.flush_after,
            backlog: options.backlog,
        }
    }
}

impl Job {
    /// The GPUs that are its own.
    pub fn gpus(&self) -> &[GpuId] {
        self.task.assignment.gpus.get(self.container().name.as_str()).map_or(&[], Vec::as_slice)
    }

    /// The container's definition.
    pub fn container(&self) -> &ContainerDefinition {
        &self.task.containers[self.at]
    }

    /// The network mode that holds for it.
    pub fn mode(&self) -> NetworkMode {
        self.container().network_mode(self.task.mode())
    }

    /// The runtime's id.
    pub fn id(&self) -> &str {
        &self.task.ids[self.at]
    }

    /// The labels ECS puts on containers, the definition's, and ours.
    pub fn labels(&self, instance: &str) -> BTreeMap<String, String> {
        let mut labels = self.task.labels(self.at);
        let ours = [(INSTANCE_LABEL, instance), (TASK_LABEL, self.task.id())];
        labels.extend(ours.map(|(key, value)| (key.to_owned(), value.to_owned())));
        labels
    }
}

/// A text without secrets. The longest goes first: a shorter one may be a part of it.
fn masked(text: String, secrets: &[(String, Plain)]) -> String {
    let mut values: Vec<_> =
        secrets.iter().map(|(_, value)| value.reveal()).filter(|value| !value.is_empty()).collect();
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    values.into_iter().fold(text, |text, value| text.replace(value, "***"))
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
    fn no_part_of_a_secret_is_told() {
        let secrets = ["", "pass", "password1"].map(|value| (String::new(), Plain::from(value.to_owned())));
        assert_eq!(masked("password1 is not pass".to_owned(), &secrets), "*** is not ***");
    }

    #[test]
    fn a_task_is_of_fargate_where_that_is_said() {
        let check = |launch_type, disk, want: bool| {
            let (assignment, definition) = testing::assignment(1, &["web"]);
            let assignment = Assignment { launch_type, ephemeral_storage_gib: disk, ..assignment };
            let mut definition = (*definition).clone();
            definition.containers[0].log_configuration = Some(LogConfiguration {
                driver: LogDriver::Awslogs,
                options: BTreeMap::new(),
                secret_options: Vec::new(),
            });
            let plan = TaskPlan::new(assignment, Arc::new(definition));
            // There its execution role is asked for leave to write its output.
            assert_eq!((plan.is_on_fargate(), plan.needs_provision()), (want, want), "{launch_type:?} {disk:?}");
        };
        check(Some(LaunchType::Fargate), None, true);
        check(Some(LaunchType::Fargate), Some(21), true);
        check(Some(LaunchType::Ec2), Some(21), false);
        check(Some(LaunchType::External), None, false);
        // From a server, or in a ledger, of before it was said.
        check(None, Some(21), true);
        check(None, None, false);
    }

    #[test]
    fn a_pinned_image_is_run_by_its_digest() {
        let (mut assignment, definition) = testing::assignment(1, &["web", "db"]);
        let digest = format!("sha256:{}", "a".repeat(64));
        assignment.image_digests.insert("web".into(), digest.as_str().into());
        let plan = TaskPlan::new(assignment, definition.clone());
        assert_eq!(plan.containers[0].image, format!("docker.io/library/busybox@{digest}"));
        assert_eq!(plan.containers[1].image, definition.containers[1].image);
    }

    #[test]
    fn streams_are_named_as_awslogs_names_them() {
        let check = |options: &[(&str, &str)], want: &str| {
            let (assignment, definition) = testing::assignment(1, &["web"]);
            let mut definition = (*definition).clone();
            let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            definition.containers[0].log_configuration =
                Some(LogConfiguration { driver: LogDriver::Awslogs, options, secret_options: Vec::new() });
            let plan = TaskPlan::new(assignment, Arc::new(definition));
            let Output::Shipped(target) = plan.output(0) else { panic!("{:?}", plan.output(0)) };
            assert_eq!(target.stream, want.replace("TASK", plan.id()).replace("ID", &plan.ids[0]));
            assert!(plan.fresh().containers[0].logs_open);
        };
        check(&[("awslogs-group", "g"), ("awslogs-stream-prefix", "app")], "app/web/TASK");
        check(&[("awslogs-group", "g")], "ID");
    }
}
