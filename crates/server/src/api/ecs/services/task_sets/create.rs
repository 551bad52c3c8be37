//! CreateTaskSet: one more set, or the one there is when the same token comes again.

use super::{active, external, render, scale};
use crate::{
    api::{
        ApiError,
        ecs::{
            awsvpc,
            capacity_providers::Asked,
            fargate, managed_volumes, resolve,
            services::{TRIES, change, commit_row, find, parse, too_busy},
            tags,
        },
    },
    context::{Caller, Context},
};
use model::{
    AwsvpcConfiguration, ClusterArn, Creation, DeploymentId, External, Failures, MAX_TASK_SETS, RevisionSpec, Scale,
    SchedulingStrategy, Tags, TaskSet, TaskSetStatus, Timestamp,
};
use scheduler::service::task_sets;
use shapes::ecs as aws;
use state::{Basis, Snapshot};
use std::sync::Arc;

pub(crate) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateTaskSetRequest,
) -> Result<aws::CreateTaskSetResponse, ApiError> {
    let (cluster, service) = (request.cluster.clone(), request.service.clone());
    let network = awsvpc::parse(ctx, caller, request.network_configuration.clone()).await?;
    let wish = Wish { network, ..Wish::parse(request)? };
    for _ in 0..TRIES {
        let snapshot = ctx.store.snapshot();
        let row = find(&snapshot, caller, cluster.as_deref(), service.as_deref())?;
        active(row)?;
        let external = external(&row.service)?;
        if let Some(set) = wish.existing(external)? {
            return Ok(aws::CreateTaskSetResponse { task_set: Some(render::task_set(row, set, true)) });
        }
        if external.sets.len() >= MAX_TASK_SETS {
            return Err(ApiError::invalid(format!(
                "{MAX_TASK_SETS} deployments exist on the service. Unable to create new TaskSet since this exceeds the \
                 maximum limit."
            )));
        }
        let now = ctx.effects.now();
        let set = wish.set(
            &snapshot,
            caller,
            &row.service.arn.cluster,
            external,
            DeploymentId::of(ctx.effects.random()),
            now,
        )?;
        let id = set.id;
        let change =
            change::changed(ctx, Basis::Version(row.service.version), task_sets::create(&row.service, set), now);
        // If somebody was faster, look whether it was the same request.
        if let Some(row) = commit_row(ctx, change).await? {
            let made = row.service.external.as_ref().and_then(|external| external.set(id));
            let made = made.ok_or_else(|| ApiError::server("the task set is not there"))?;
            return Ok(aws::CreateTaskSetResponse { task_set: Some(render::task_set(&row, made, true)) });
        }
    }
    Err(too_busy())
}

/// The request, as far as it means anything without a look at what there is.
struct Wish {
    task_definition: String,
    asked: Asked,
    platform_version: Option<String>,
    external_id: Option<String>,
    scale: Scale,
    tags: Tags,
    network: Option<Arc<AwsvpcConfiguration>>,
    creation: Creation,
}

impl Wish {
    fn parse(request: aws::CreateTaskSetRequest) -> Result<Self, ApiError> {
        let token = parse::token(request.client_token.clone())?;
        let said = aws::CreateTaskSetRequest { client_token: None, cluster: None, service: None, ..request.clone() };
        let task_definition = parse::set(request.task_definition);
        let strategy = request.capacity_provider_strategy.as_deref();
        Ok(Self {
            task_definition: task_definition.ok_or_else(|| ApiError::invalid("TaskDefinition can not be blank."))?,
            asked: Asked::parse(request.launch_type.as_deref(), strategy)?,
            platform_version: request.platform_version,
            external_id: parse::set(request.external_id),
            // AWS: a set of which no share is asked for has no task.
            scale: scale(request.scale.as_ref())?.unwrap_or(Scale::NONE),
            tags: tags::parse(request.tags)?,
            network: None,
            creation: parse::creation(token, &said)?,
        })
    }

    /// The set that the same token made before, if there is one. Without a token each request is another one.
    fn existing<'a>(&self, external: &'a External) -> Result<Option<&'a TaskSet>, ApiError> {
        let Some(token) = &self.creation.token else { return Ok(None) };
        match external.sets.iter().find(|set| set.creation.token.as_ref() == Some(token)) {
            Some(set) if set.creation == self.creation => Ok(Some(set)),
            Some(_) => Err(ApiError::invalid("Creation of task set was not idempotent.")),
            None => Ok(None),
        }
    }

    fn set(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        cluster: &ClusterArn,
        external: &External,
        id: DeploymentId,
        now: Timestamp,
    ) -> Result<TaskSet, ApiError> {
        let found = resolve::task_definition(snapshot, &caller.scope, &self.task_definition);
        let definition = parse::usable(found)?;
        parse::check_constraints(&external.placement_constraints, definition)?;
        let (launch_type, capacity_provider_strategy) = self.asked.of(snapshot, cluster)?;
        let spec = RevisionSpec {
            task_definition: definition.arn.clone(),
            launch_type,
            capacity_provider_strategy,
            platform_version: fargate::version(self.platform_version.as_deref(), launch_type)?,
            placement_constraints: external.placement_constraints.clone(),
            placement_strategy: external.placement_strategy.clone(),
            propagate_tags: external.propagate_tags,
            managed_tags: external.managed_tags,
            network: self.network.clone(),
            registries: Vec::new(),
            connect: None,
            volume: None,
        };
        parse::check_fargate(SchedulingStrategy::Replica, &spec, definition)?;
        awsvpc::fits(spec.network.as_ref(), &definition.spec)?;
        awsvpc::public_address_fits(spec.network.as_ref(), spec.launch_type)?;
        // AWS: a task set cannot say anything of volumes.
        managed_volumes::fits(None, &definition.spec)?;
        Ok(TaskSet {
            id,
            spec: Arc::new(spec),
            external_id: self.external_id.as_deref().map(Arc::from),
            scale: self.scale,
            status: TaskSetStatus::Active,
            created_at: now,
            updated_at: now,
            steady: false,
            steady_at: now,
            failures: Failures::default(),
            creation: self.creation.clone(),
            tags: self.tags.clone(),
        })
    }
}
