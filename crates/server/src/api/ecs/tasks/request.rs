//! What RunTask and StartTask share: the request, parsed into what will be decided on.

use crate::{
    api::{
        ApiError,
        ecs::{
            awsvpc::{self, Interfaces},
            gpus, managed_volumes, resolve,
            task_definition_convert::storage_size,
            task_definition_secrets,
        },
    },
    context::{Caller, Context},
    roles::{self, TaskRoles},
};
use model::{
    Attribute, AwsvpcConfiguration, CapacityProvider, ClusterArn, Container, ContainerArn, ContainerInstance,
    ContainerOverride, ContainerStatus, CpuUnits, Desired, Health, LaunchType, MemoryMib, Phase, Platform, Reservation,
    RevisionSpec, Stop, StopCode, Tags, Task, TaskArn, TaskDefinition, TaskDefinitionSpec, TaskId, TaskOverrides,
    TaskTimes, Timestamp, VolumeConfiguration, Waiting,
};
use shapes::ecs as wire;
use state::Snapshot;
use std::sync::Arc;

/// Longest overrides of one request, as JSON. Source: the developer guide, `overrides total`.
const MAX_OVERRIDES: usize = 8192;

/// The members that RunTask and StartTask have in common.
pub(super) struct Common {
    /// Longest `startedBy` the operation takes.
    pub(super) started_by_limit: usize,
    pub(super) cluster: Option<String>,
    pub(super) task_definition: Option<String>,
    pub(super) group: Option<String>,
    pub(super) started_by: Option<String>,
    pub(super) overrides: Option<wire::TaskOverride>,
    pub(super) propagate_tags: Option<String>,
    pub(super) tags: Option<Vec<wire::Tag>>,
    pub(super) managed_tags: bool,
    pub(super) execute_command: bool,
    /// Where its tasks' interfaces are, parsed.
    pub(super) network: Option<Arc<AwsvpcConfiguration>>,
    pub(super) volumes: Option<Vec<wire::TaskVolumeConfiguration>>,
}

/// How tasks are launched.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// On what.
    pub(crate) kind: LaunchType,
    /// Fargate's platform: of launch type FARGATE, and of no other.
    pub(crate) platform: Option<Platform>,
    /// Whose room it takes, where a strategy says that.
    pub(crate) provider: Option<CapacityProvider>,
}

impl Launch {
    /// Whether it is on Fargate and is not interrupted there.
    pub(crate) fn keeps_its_room(&self) -> bool {
        self.kind == LaunchType::Fargate && self.provider != Some(CapacityProvider::FargateSpot)
    }

    /// On the instances of a cluster.
    pub(super) fn on_instances(kind: LaunchType) -> Self {
        Self { kind, platform: None, provider: None }
    }
}

/// What is to run, but not where.
pub(crate) struct Intent {
    pub(super) cluster: ClusterArn,
    pub(super) definition: Arc<TaskDefinition>,
    pub(super) overrides: TaskOverrides,
    /// What each task holds.
    pub(crate) reservation: Reservation,
    /// What its instance must have.
    pub(crate) required: Vec<Attribute>,
    /// Its group.
    pub(crate) group: Arc<str>,
    started_by: Option<Arc<str>>,
    tags: Tags,
    /// Whether commands may be run in its containers from outside.
    execute_command: bool,
    /// Where the tasks' interfaces are.
    pub(crate) network: Option<Arc<AwsvpcConfiguration>>,
    /// The volume each task is given.
    volume: Option<Arc<VolumeConfiguration>>,
}

fn set(text: Option<String>) -> Option<String> {
    text.filter(|t| !t.is_empty())
}

impl Intent {
    pub(super) fn parse(snapshot: &Snapshot, caller: &Caller, common: Common) -> Result<Self, ApiError> {
        let cluster = resolve::active_cluster(snapshot, &caller.scope, common.cluster.as_deref())?;
        let name = set(common.task_definition).ok_or_else(|| ApiError::invalid("TaskDefinition can not be blank."))?;
        let definition = resolve::task_definition(snapshot, &caller.scope, &name)
            .ok_or_else(|| ApiError::client("TaskDefinition not found."))?
            .clone();
        if definition.status != model::TaskDefinitionStatus::Active {
            return Err(ApiError::client("TaskDefinition is inactive"));
        }
        awsvpc::fits(common.network.as_ref(), &definition.spec)?;
        let volume = managed_volumes::of_task(common.volumes)?;
        managed_volumes::fits(volume.as_ref(), &definition.spec)?;
        let overrides = overrides(&definition, common.overrides.unwrap_or_default())?;
        let group = group(&definition, set(common.group))?;
        let started_by = set(common.started_by).map(Arc::from);
        if started_by.as_deref().is_some_and(|by: &str| by.chars().count() > common.started_by_limit) {
            let text = format!("startedBy must be at most {} characters long.", common.started_by_limit);
            return Err(ApiError::invalid(text));
        }
        let tags = tags(&definition, &cluster, common.propagate_tags, common.tags, common.managed_tags)?;
        let reservation = definition.spec.reservation(&overrides);
        let execute_command = common.execute_command;
        let required = required(&definition, execute_command);
        let network = common.network;
        let made = Self {
            cluster,
            definition,
            overrides,
            reservation,
            required,
            group,
            started_by,
            tags,
            execute_command,
            network,
            volume,
        };
        Ok(made)
    }

    /// What a service's tasks are.
    pub(crate) fn of_service(
        cluster: ClusterArn,
        definition: Arc<TaskDefinition>,
        group: Arc<str>,
        started_by: Option<Arc<str>>,
        tags: Tags,
        execute_command: bool,
        spec: &RevisionSpec,
    ) -> Self {
        let (network, volume) = (spec.network.clone(), spec.volume.clone());
        let overrides = TaskOverrides::default();
        let reservation = definition.spec.reservation(&overrides);
        let required = required(&definition, execute_command);
        Self {
            cluster,
            definition,
            overrides,
            reservation,
            required,
            group,
            started_by,
            tags,
            execute_command,
            network,
            volume,
        }
    }

    /// What the task of a lifecycle hook is: a task for itself, which is told in its environment what it is asked.
    pub(crate) fn of_hook(
        cluster: ClusterArn,
        definition: Arc<TaskDefinition>,
        started_by: Arc<str>,
        tags: Tags,
        (name, value): (&str, &str),
        spec: &RevisionSpec,
    ) -> Self {
        let group = format!("family:{}", definition.arn.family).into();
        let told = |container: &model::ContainerDefinition| ContainerOverride {
            name: container.name.clone(),
            environment: vec![(name.to_owned(), value.to_owned())],
            ..ContainerOverride::default()
        };
        let containers = definition.spec.containers.iter().map(told).collect();
        let overrides = TaskOverrides { containers, ..TaskOverrides::default() };
        let own = Self::of_service(cluster, definition, group, Some(started_by), tags, false, spec);
        Self { reservation: own.definition.spec.reservation(&overrides), overrides, ..own }
    }

    /// One task of it on that instance, with its interface. AWS: one that can get none has stopped before it began.
    pub(super) fn born(
        &self,
        ctx: &Context,
        instance: &ContainerInstance,
        launch: Launch,
        now: Timestamp,
        interfaces: &mut Interfaces<'_>,
    ) -> Task {
        let mut task = self.task(ctx, instance, launch, now);
        if let Err(reason) = interfaces.attach(&mut task) {
            let why = Stop { code: StopCode::TaskFailedToStart, reason: reason.into() };
            task.end_without_node(why, now);
        }
        task
    }

    /// One task of it on that instance. Ids and time come from outside the decision.
    pub(crate) fn task(&self, ctx: &Context, instance: &ContainerInstance, launch: Launch, now: Timestamp) -> Task {
        self.made(ctx, Some(instance), launch, now)
    }

    /// One task of it that waits until an instance has room for it.
    pub(crate) fn waiting(&self, ctx: &Context, waiting: Waiting, launch: Launch, now: Timestamp) -> Task {
        Task { waiting: Some(Box::new(waiting)), ..self.made(ctx, None, launch, now) }
    }

    fn made(&self, ctx: &Context, instance: Option<&ContainerInstance>, launch: Launch, now: Timestamp) -> Task {
        let id = TaskId::parse(ctx.effects.hex32()).expect("32 hexadecimal digits");
        let arn = TaskArn { cluster: self.cluster.clone(), id };
        let containers = self.definition.spec.containers.iter().map(|container| Container {
            arn: ContainerArn { task: arn.clone(), id: ctx.effects.uuid().into() },
            name: container.name.as_str().into(),
            image: container.image.as_str().into(),
            image_digest: None,
            runtime_id: None,
            status: ContainerStatus::Pending,
            exit_code: None,
            reason: None,
            network_bindings: Vec::new(),
            essential: container.essential,
            health: container.is_checked().then(Health::default),
        });
        Task {
            definition: self.definition.arn.clone(),
            container_instance: instance.map(|instance| instance.arn.id.clone()),
            waiting: None,
            availability_zone: instance.and_then(ContainerInstance::availability_zone).map(Arc::from),
            launch_type: launch.kind,
            capacity_provider: launch.provider,
            platform: launch.platform,
            ephemeral_storage_gib: launch.platform.map(|_| {
                self.overrides.ephemeral_storage_gib.unwrap_or_else(|| self.definition.spec.ephemeral_storage())
            }),
            group: self.group.clone(),
            started_by: self.started_by.clone(),
            overrides: self.overrides.clone(),
            reservation: self.reservation.clone(),
            desired: Desired::Running,
            phase: Phase::Pending,
            version: 1,
            containers: containers.collect(),
            times: TaskTimes { created: now, ..TaskTimes::default() },
            execute_command: self.execute_command,
            protected_until: None,
            attachment: None,
            volume: self.volume.as_ref().map(|volume| managed_volumes::made(ctx, volume)),
            tags: self.tags.clone(),
            arn,
        }
    }
}

/// What an instance must have for it.
fn required(definition: &TaskDefinition, execute_command: bool) -> Vec<Attribute> {
    let mut all = definition.spec.requires_attributes();
    if execute_command {
        all.push(Attribute { name: "ecs.capability.execute-command".to_owned(), value: None });
    }
    all
}

fn group(definition: &TaskDefinition, given: Option<String>) -> Result<Arc<str>, ApiError> {
    let Some(group) = given else { return Ok(format!("family:{}", definition.arn.family).into()) };
    if group.len() > 255 {
        return Err(ApiError::invalid("group must be at most 255 characters long."));
    }
    if group.starts_with("service:") {
        return Err(ApiError::invalid("Invalid namespace for group. The group name prefix 'service:' is reserved."));
    }
    Ok(group.into())
}

fn tags(
    definition: &TaskDefinition,
    cluster: &ClusterArn,
    propagate: Option<String>,
    given: Option<Vec<wire::Tag>>,
    managed: bool,
) -> Result<Tags, ApiError> {
    let pairs = given.unwrap_or_default().into_iter();
    let own = Tags::parse(pairs.map(|t| (t.key.unwrap_or_default(), t.value.unwrap_or_default())))
        .map_err(|e| ApiError::invalid(e.to_string()))?;
    let mut tags = match set(propagate).as_deref() {
        None | Some("NONE") => Tags::default(),
        Some("TASK_DEFINITION") => definition.tags.clone(),
        Some(_) => {
            let text = "Invalid value for propagateTags. Only TASK_DEFINITION can be propagated to a standalone task.";
            return Err(ApiError::invalid(text));
        }
    };
    // AWS: a tag given with the request wins over a propagated one.
    tags.merge(&own).map_err(|e| ApiError::invalid(e.to_string()))?;
    if managed {
        tags.0.insert("aws:ecs:clusterName".to_owned(), cluster.name.to_string());
    }
    Ok(tags)
}

/// A positive number of a JSON integer or, at task level, a string.
fn units(what: &str, value: i64) -> Result<Option<u32>, ApiError> {
    match u32::try_from(value) {
        Ok(0) => Ok(None),
        Ok(units) => Ok(Some(units)),
        Err(_) => Err(ApiError::invalid(format!("Invalid '{what}' in overrides: {value}."))),
    }
}

fn overrides(definition: &TaskDefinition, given: wire::TaskOverride) -> Result<TaskOverrides, ApiError> {
    let too_long = serde_json::to_vec(&given).is_ok_and(|json| json.len() > MAX_OVERRIDES);
    if too_long {
        return Err(ApiError::invalid("Overrides length must be at most 8192 characters."));
    }
    let mut containers = Vec::new();
    for over in given.container_overrides.unwrap_or_default() {
        let name = over.name.unwrap_or_default();
        if !definition.spec.containers.iter().any(|c| c.name == name) {
            let text = format!("Override for container named {name} is not a container in the TaskDefinition.");
            return Err(ApiError::invalid(text));
        }
        let number = |what, value: Option<i32>| units(what, i64::from(value.unwrap_or(0)));
        let environment = over.environment.unwrap_or_default().into_iter();
        let at = "overrides.containerOverrides.resourceRequirements";
        let gpus = gpus::asked(over.resource_requirements.as_deref(), at).map_err(|wrong| match wrong {
            gpus::Wrong::Setting(what) => ApiError::invalid(format!("Invalid override for container '{name}'. {what}")),
            gpus::Wrong::NotHonoured(error) => ApiError::invalid(error.message),
        })?;
        containers.push(ContainerOverride {
            name,
            command: over.command.filter(|c| !c.is_empty()),
            environment: environment.map(|e| (e.name.unwrap_or_default(), e.value.unwrap_or_default())).collect(),
            environment_files: task_definition_secrets::files(over.environment_files)?,
            cpu: number("cpu", over.cpu)?.map(CpuUnits),
            memory: number("memory", over.memory)?.map(MemoryMib),
            memory_reservation: number("memoryReservation", over.memory_reservation)?.map(MemoryMib),
            gpus,
        });
    }
    let cpu = crate::api::ecs::size::cpu(given.cpu.as_deref()).map_err(ApiError::invalid)?;
    let memory = crate::api::ecs::size::memory(given.memory.as_deref()).map_err(ApiError::invalid)?;
    let overrides = TaskOverrides {
        containers,
        cpu,
        memory,
        execution_role_arn: set(given.execution_role_arn),
        task_role_arn: set(given.task_role_arn),
        ephemeral_storage_gib: given.ephemeral_storage.as_ref().map(storage_size),
    };
    check(definition, &overrides)?;
    Ok(overrides)
}

/// What the overrides leave must still be a definition that could be registered.
fn check(definition: &TaskDefinition, overrides: &TaskOverrides) -> Result<(), ApiError> {
    if *overrides == TaskOverrides::default() {
        return Ok(());
    }
    let spec = with(&definition.spec, overrides);
    spec.check().map_err(|e| ApiError::invalid(e.to_string()))
}

/// The definition with what is changed of it.
fn with(spec: &TaskDefinitionSpec, overrides: &TaskOverrides) -> TaskDefinitionSpec {
    let mut spec = spec.clone();
    spec.cpu = overrides.cpu.or(spec.cpu);
    spec.memory = overrides.memory.or(spec.memory);
    spec.ephemeral_storage_gib = overrides.ephemeral_storage_gib.or(spec.ephemeral_storage_gib);
    spec.execution_role_arn = overrides.execution_role_arn.clone().or(spec.execution_role_arn);
    spec.task_role_arn = overrides.task_role_arn.clone().or(spec.task_role_arn);
    spec.containers = spec.containers_with(overrides);
    spec
}

impl Intent {
    /// The definition as the overrides leave it.
    pub(super) fn spec(&self) -> TaskDefinitionSpec {
        with(&self.definition.spec, &self.overrides)
    }

    /// Whether its tasks can have the roles that they need.
    ///
    /// # Errors
    /// ECS's, which says what to do.
    pub(crate) fn check_roles(&self, snapshot: &Snapshot, kind: LaunchType) -> Result<(), ApiError> {
        roles::check(
            snapshot,
            &self.cluster.scope,
            TaskRoles::of(&self.definition.spec, &self.overrides),
            &self.spec(),
            kind,
        )
    }

    /// The disk its caller asked for, if that is another one than the definition's.
    pub(super) fn own_storage(&self) -> Option<u32> {
        self.overrides.ephemeral_storage_gib
    }
}
