//! What several test files need.

use crate::{
    node::{Failure, Node, NodeEvent, Seen},
    plan::{Job, TaskPlan},
    task::{Endpoint, Probed, Pulled, Reading},
};
use effects::Effects;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use link::{Assignment, Networks};
use model::{ContainerDefinition, Desired, Family, HealthCheck, MemoryMib, TaskDefinitionSpec, TaskOverrides};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{Semaphore, broadcast};

/// Task number `n` with these containers, all essential.
pub(crate) fn assignment(n: u32, containers: &[&str]) -> (Assignment, Arc<TaskDefinitionSpec>) {
    let task: model::TaskArn = format!("arn:aws:ecs:us-east-1:123456789012:task/demo/{n:08x}bbbbccccddddeeeeffff0000")
        .parse()
        .expect("an ARN");
    let container = |name: &&str| ContainerDefinition {
        name: (*name).to_owned(),
        image: "busybox".to_owned(),
        memory: Some(MemoryMib(32)),
        essential: true,
        ..ContainerDefinition::default()
    };
    let definition = TaskDefinitionSpec {
        family: Family::parse("web").expect("a family"),
        network_mode: None,
        cpu: None,
        memory: None,
        requires_compatibilities: Vec::new(),
        execution_role_arn: None,
        task_role_arn: None,
        runtime_platform: None,
        ephemeral_storage_gib: None,
        pid_mode: None,
        ipc_mode: None,
        volumes: Vec::new(),
        placement_constraints: Vec::new(),
        containers: containers.iter().map(container).collect(),
    };
    let uuid = |i: usize| format!("{i:08x}-{n:04x}-4000-8000-000000000000");
    let assignment = Assignment {
        task,
        definition: "arn:aws:ecs:us-east-1:123456789012:task-definition/web:3".parse().expect("an ARN"),
        overrides: TaskOverrides::default(),
        desired: Desired::Running,
        group: "family:web".into(),
        container_ids: containers.iter().enumerate().map(|(i, name)| ((*name).into(), uuid(i).into())).collect(),
        log_mode: model::LogMode::default(),
        interface: None,
        ephemeral_storage_gib: None,
        volume: None,
        gpus: BTreeMap::new(),
        launch_type: None,
        image_digests: std::collections::BTreeMap::new(),
    };
    (assignment, Arc::new(definition))
}

/// A check that is tried every so many seconds; one failure is enough.
pub(crate) fn check(interval: u32) -> HealthCheck {
    let command = vec!["CMD".to_owned(), "true".to_owned()];
    HealthCheck { command, interval, timeout: 2, retries: 1, start_period: None }
}

/// A machine in memory. It outlives the engines that use it, as containers outlive agents.
pub(crate) struct FakeNode {
    inner: Mutex<FakeInner>,
    events: broadcast::Sender<NodeEvent>,
    /// Creates wait here while it has no permits.
    pub(crate) gate: Semaphore,
}

#[derive(Default)]
struct FakeInner {
    containers: BTreeMap<String, Fake>,
    calls: Vec<String>,
    fail: Option<(&'static str, &'static str)>,
    stubborn: bool,
    ill: bool,
    ahead: Vec<Arc<str>>,
    used: Option<Reading>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fake {
    Created,
    Running,
    Exited(i32),
}

impl FakeNode {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), events: broadcast::channel(256).0, gate: Semaphore::new(1000) })
    }

    fn with<T>(&self, work: impl FnOnce(&mut FakeInner) -> T) -> T {
        work(&mut self.inner.lock().unwrap())
    }

    fn call(&self, what: &str, job: &Job) -> Result<(), Failure> {
        self.with(|inner| {
            inner.calls.push(format!("{what} {}", job.container().name));
            match inner.fail {
                Some((when, reason)) if when == what => Err(Failure(reason.into())),
                Some(_) | None => Ok(()),
            }
        })
    }

    /// Makes an operation fail from now on.
    pub(crate) fn fail(&self, what: &'static str, reason: &'static str) {
        self.with(|inner| inner.fail = Some((what, reason)));
    }

    /// Processes ignore the stop signal from now on.
    pub(crate) fn be_stubborn(&self) {
        self.with(|inner| inner.stubborn = true);
    }

    /// Health checks fail from now on, or pass again.
    pub(crate) fn be_ill(&self, ill: bool) {
        self.with(|inner| inner.ill = ill);
    }

    /// What is to be fetched before it is needed.
    pub(crate) fn ahead(&self) -> Vec<Arc<str>> {
        self.with(|inner| inner.ahead.clone())
    }

    /// What every task has used from now on.
    pub(crate) fn use_up(&self, cpu_millis: u64, memory_mib: u64) {
        self.with(|inner| inner.used = Some(Reading { cpu_millis, memory: memory_mib << 20 }));
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.with(|inner| inner.calls.clone())
    }

    pub(crate) fn containers(&self) -> Vec<String> {
        self.with(|inner| inner.containers.keys().cloned().collect())
    }

    /// A process ends; nobody may be listening.
    pub(crate) fn exit(&self, id: &str, code: i32) {
        let ended = self.with(|inner| match inner.containers.get_mut(id) {
            Some(state @ (Fake::Created | Fake::Running)) => {
                *state = Fake::Exited(code);
                true
            }
            Some(Fake::Exited(_)) | None => false,
        });
        if ended {
            let _ = self.events.send(NodeEvent::Exited { id: id.to_owned(), code });
        }
    }

    pub(crate) fn reconnect(&self) {
        let _ = self.events.send(NodeEvent::Connected);
    }

    /// Takes a container away behind everybody's back.
    pub(crate) fn lose(&self, id: &str) {
        self.with(|inner| inner.containers.remove(id));
    }
}

impl Node for FakeNode {
    fn pull(&self, job: Job) -> BoxFuture<'_, Result<Pulled, Failure>> {
        let pulled = Pulled { digest: "sha256:d".into(), image_id: "sha256:i".into(), stop_signal: 15 };
        async move { self.call("pull", &job).map(|()| pulled) }.boxed()
    }
    fn connect(&self, job: Job) -> BoxFuture<'_, Result<Endpoint, Failure>> {
        async move { self.call("connect", &job).map(|()| Endpoint::default()) }.boxed()
    }
    fn create(&self, job: Job) -> BoxFuture<'_, Result<(), Failure>> {
        async move {
            self.call("create", &job)?;
            self.gate.acquire().await.unwrap().forget();
            self.with(|inner| *inner.containers.entry(job.id().to_owned()).or_insert(Fake::Created));
            self.with(|inner| inner.calls.push(format!("created {}", job.container().name)));
            Ok(())
        }
        .boxed()
    }
    fn start(&self, job: Job) -> BoxFuture<'_, Result<(), Failure>> {
        async move {
            self.call("start", &job)?;
            self.with(|inner| match inner.containers.get_mut(job.id()) {
                Some(state @ Fake::Created) => {
                    *state = Fake::Running;
                    Ok(())
                }
                Some(Fake::Running | Fake::Exited(_)) => Ok(()),
                None => Err(Failure("CannotStartContainerError: none".into())),
            })
        }
        .boxed()
    }
    fn signal(&self, job: Job, kill: bool) -> BoxFuture<'_, Result<(), Failure>> {
        async move {
            self.call(if kill { "kill" } else { "signal" }, &job)?;
            if kill {
                self.exit(job.id(), 137);
            } else if !self.with(|inner| inner.stubborn) {
                self.exit(job.id(), 143);
            }
            Ok(())
        }
        .boxed()
    }
    fn inspect(&self, job: Job) -> BoxFuture<'_, Result<Seen, Failure>> {
        async move {
            Ok(self.with(|inner| match inner.containers.get(job.id()) {
                None => Seen::Absent,
                Some(Fake::Created | Fake::Running) => Seen::Alive,
                Some(Fake::Exited(code)) => Seen::Exited { code: Some(*code), oom: false },
            }))
        }
        .boxed()
    }
    fn probe(&self, job: Job) -> BoxFuture<'_, Probed> {
        async move {
            match self.call("probe", &job) {
                Ok(()) if self.with(|inner| inner.ill) => Probed::Failed,
                Ok(()) => Probed::Passed,
                Err(_) => Probed::Unknown,
            }
        }
        .boxed()
    }
    fn remove(&self, job: Job) -> BoxFuture<'_, Result<(), Failure>> {
        async move {
            self.call("remove", &job)?;
            self.lose(job.id());
            Ok(())
        }
        .boxed()
    }
    fn carry(&self, _networks: Networks) {}
    fn fetch_ahead(&self, images: Vec<Arc<str>>) {
        self.with(|inner| inner.ahead = images);
    }
    fn attach(&self, _task: Arc<TaskPlan>) -> BoxFuture<'_, Result<(), Failure>> {
        let outcome = self.with(|inner| {
            inner.calls.push("attach".to_owned());
            match inner.fail {
                Some(("attach", reason)) => Err(Failure(reason.into())),
                Some(_) | None => Ok(()),
            }
        });
        async { outcome }.boxed()
    }
    fn provide(&self, _task: Arc<TaskPlan>) -> BoxFuture<'_, Result<(), Failure>> {
        let outcome = self.with(|inner| {
            inner.calls.push("provide".to_owned());
            match inner.fail {
                Some(("provide", reason)) => Err(Failure(reason.into())),
                Some(_) | None => Ok(()),
            }
        });
        async { outcome }.boxed()
    }
    fn clear(&self, task: Arc<TaskPlan>) -> BoxFuture<'_, Result<(), Failure>> {
        if task.assignment.interface.is_some() {
            self.with(|inner| inner.calls.push("detach".to_owned()));
        }
        async { Ok(()) }.boxed()
    }
    fn measure(&self, _task: &TaskPlan) -> Option<Reading> {
        self.with(|inner| inner.used)
    }
    fn forget(&self, _task: Arc<TaskPlan>) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
    fn adopt(&self, known: Vec<Job>, _attached: Vec<Arc<TaskPlan>>) -> BoxFuture<'_, Result<(), Failure>> {
        let ids: Vec<String> = known.iter().map(|job| job.id().to_owned()).collect();
        self.with(|inner| inner.containers.retain(|id, _| ids.contains(id)));
        async { Ok(()) }.boxed()
    }
    fn watch(&self) -> BoxStream<'static, NodeEvent> {
        let receiver = self.events.subscribe();
        futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.ok().map(|event| (event, receiver))
        })
        .boxed()
    }
}

/// Waits for a condition, at most a minute of the test's clock.
pub(crate) async fn until(effects: &Effects, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = effects.monotonic() + Duration::from_secs(60);
    while !holds() {
        assert!(effects.monotonic() < deadline, "not within a minute: {what}");
        effects.sleep(Duration::from_millis(5)).await;
    }
}
