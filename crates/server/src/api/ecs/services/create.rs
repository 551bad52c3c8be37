//! CreateService: a new service, or the one there is when the same request comes again.

use super::{
    TRIES, change, commit, connect,
    parse::{self, Controller},
    registries, render, strategy, too_busy,
};
use crate::{
    api::{
        ApiError,
        ecs::{awsvpc, capacity_providers::Asked, fargate, managed_volumes, preference, resolve, tags},
    },
    context::{Caller, Context},
};
use model::{
    AwsvpcConfiguration, CapacityProviderStrategy, Cluster, ClusterArn, Creation, DeploymentRules, External,
    LaunchType, PlacementConstraint, PlacementStrategy, PropagateTags, RevisionSpec, SchedulingStrategy, Service,
    ServiceArn, ServiceName, ServiceRegistry, ServiceStatus, Tags, TaskDefinitionSpec, TaskOverrides, Timestamp,
    VolumeConfiguration,
};
use scheduler::{Constraint, service::deploy};
use shapes::ecs as aws;
use state::{Basis, ServiceChange, ServiceRow, Snapshot};
use std::sync::Arc;

pub(crate) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateServiceRequest,
) -> Result<aws::CreateServiceResponse, ApiError> {
    let network = awsvpc::parse(ctx, caller, request.network_configuration.clone()).await?;
    let wish = Wish { network, ..Wish::parse(caller, request)? };
    for _ in 0..TRIES {
        let snapshot = ctx.store.snapshot();
        resolve::active_row(&snapshot, &wish.cluster)?;
        if let Some(row) = wish.existing(&snapshot)? {
            return Ok(aws::CreateServiceResponse { service: Some(render::service(row, true)) });
        }
        let change = wish.decide(ctx, caller, &snapshot)?;
        // If somebody was faster, look whether it was the same request.
        if let Some(service) = commit(ctx, change).await? {
            return Ok(aws::CreateServiceResponse { service: Some(service) });
        }
    }
    Err(too_busy())
}

/// What its tasks are, as far as the service says that.
enum Form {
    /// The service says it, and is deployed by us.
    Own { task_definition: String, asked: Asked, platform_version: Option<String> },
    /// Each task set of its external controller will.
    OfTaskSets,
}

/// The request, as far as it means anything without a look at what there is.
struct Wish {
    cluster: ClusterArn,
    name: ServiceName,
    scheduling: SchedulingStrategy,
    desired_count: u32,
    form: Form,
    constraints: Vec<PlacementConstraint>,
    strategy: Vec<PlacementStrategy>,
    rules: DeploymentRules,
    az_rebalancing: Option<String>,
    health_check_grace_seconds: Option<u32>,
    propagate_tags: PropagateTags,
    managed_tags: bool,
    execute_command: bool,
    network: Option<Arc<AwsvpcConfiguration>>,
    volume: Option<Arc<VolumeConfiguration>>,
    registries: Vec<ServiceRegistry>,
    connect: connect::Asked,
    tags: Tags,
    creation: Creation,
}

impl Wish {
    fn parse(caller: &Caller, request: aws::CreateServiceRequest) -> Result<Self, ApiError> {
        let cluster = resolve::cluster_arn(&caller.scope, request.cluster.as_deref())?;
        let creation = creation(&cluster, &request)?;
        let controller = parse::controller(request.deployment_controller.as_ref())?;
        let name = parse::set(request.service_name);
        let name = name.ok_or_else(|| ApiError::invalid("Service name can not be blank."))?;
        let name = ServiceName::parse(&*name).map_err(|error| ApiError::invalid_name(&error))?;
        let scheduling = parse::scheduling(request.scheduling_strategy.as_deref());
        let desired_count = match (parse::desired(request.desired_count, scheduling)?, scheduling) {
            (Some(count), _) => count,
            // What it is for a daemon, only the instances say.
            (None, SchedulingStrategy::Daemon) => 0,
            (None, SchedulingStrategy::Replica) => {
                return Err(ApiError::invalid("desiredCount is required for the REPLICA scheduling strategy."));
            }
        };
        let rules = parse::rules(request.deployment_configuration, parse::default_rules(scheduling), scheduling)?;
        let registries = registries::parse(caller, request.service_registries.as_deref().unwrap_or_default())?;
        let connect = request.service_connect_configuration.as_ref().map(connect::parse).transpose()?;
        let (definition, launch_type) = (parse::set(request.task_definition), request.launch_type.as_deref());
        let form = match controller.unwrap_or(Controller::Ecs) {
            Controller::Ecs => {
                let strategy = request.capacity_provider_strategy.as_deref();
                Form::Own {
                    task_definition: definition.ok_or_else(|| ApiError::invalid("TaskDefinition can not be blank."))?,
                    asked: Asked::parse(launch_type, strategy)?,
                    platform_version: request.platform_version,
                }
            }
            Controller::External => {
                check_external(definition.as_deref(), launch_type, scheduling)?;
                parse::check_external(&rules)?;
                if request.capacity_provider_strategy.is_some_and(|given| !given.is_empty()) {
                    return Err(ApiError::invalid("CapacityProviderStrategy must be blank"));
                }
                if request.platform_version.is_some_and(|version| !version.is_empty()) {
                    return Err(ApiError::invalid("PlatformVersion must be blank"));
                }
                if !registries.is_empty() {
                    return Err(ApiError::invalid("ServiceRegistries must be blank"));
                }
                if request.volume_configurations.as_ref().is_some_and(|given| !given.is_empty()) {
                    return Err(ApiError::invalid("VolumeConfigurations must be blank"));
                }
                if matches!(connect, Some(connect::Asked::Enabled { .. })) {
                    let text = "Service Connect is supported only with the ECS deployment controller.";
                    return Err(ApiError::invalid(text));
                }
                Form::OfTaskSets
            }
        };
        Ok(Self {
            cluster,
            name,
            scheduling,
            desired_count,
            form,
            constraints: parse::constraints(request.placement_constraints.unwrap_or_default())?,
            strategy: parse::strategy(request.placement_strategy.unwrap_or_default(), scheduling)?,
            rules,
            az_rebalancing: parse::set(request.availability_zone_rebalancing),
            health_check_grace_seconds: parse::grace(request.health_check_grace_period_seconds)?,
            propagate_tags: parse::propagate(request.propagate_tags.as_deref()).unwrap_or(PropagateTags::None),
            managed_tags: request.enable_ecs_managed_tags == Some(true),
            execute_command: request.enable_execute_command == Some(true),
            network: None,
            volume: managed_volumes::of_service(request.volume_configurations)?,
            registries,
            connect: connect.unwrap_or(connect::Asked::Disabled),
            tags: tags::parse(request.tags)?,
            creation,
        })
    }

    /// The service that the same request made before, if there is one.
    fn existing<'a>(&self, snapshot: &'a Snapshot) -> Result<Option<&'a Arc<ServiceRow>>, ApiError> {
        let arn = ServiceArn { cluster: self.cluster.clone(), name: self.name.clone() };
        let Some(row) = snapshot.service(&arn) else { return Ok(None) };
        match row.service.status {
            // AWS: the same request again is answered with the service, whether it carries a token or not.
            ServiceStatus::Active if row.service.creation.request_sha256 == self.creation.request_sha256 => {
                Ok(Some(row))
            }
            ServiceStatus::Active => Err(ApiError::invalid("Creation of service was not idempotent.")),
            ServiceStatus::Draining => Err(ApiError::invalid("Unable to Start a service that is still Draining.")),
            ServiceStatus::Inactive if row.live() > 0 => {
                Err(ApiError::invalid("Unable to Start a service that is still Draining."))
            }
            ServiceStatus::Inactive => Ok(None),
        }
    }

    /// The new service, with its first deployment if we deploy it.
    fn decide(&self, ctx: &Context, caller: &Caller, snapshot: &Snapshot) -> Result<ServiceChange, ApiError> {
        match &self.form {
            Form::Own { task_definition, asked, platform_version } => {
                self.decide_own(ctx, caller, snapshot, task_definition, (asked, platform_version.as_deref()))
            }
            Form::OfTaskSets => self.decide_external(ctx, caller),
        }
    }

    fn decide_external(&self, ctx: &Context, caller: &Caller) -> Result<ServiceChange, ApiError> {
        let asked = self.az_rebalancing.as_deref();
        parse::az_rebalancing(asked, false, Some("the EXTERNAL deployment controller"))?;
        let now = ctx.effects.now();
        let external = External {
            placement_constraints: self.constraints.clone(),
            placement_strategy: self.strategy.clone(),
            propagate_tags: self.propagate_tags,
            managed_tags: self.managed_tags,
            sets: Vec::new(),
        };
        let service = Service { external: Some(external), ..self.service(caller, false, now) };
        Ok(change::record(ctx, Basis::New, service, Vec::new(), now))
    }

    fn decide_own(
        &self,
        ctx: &Context,
        caller: &Caller,
        snapshot: &Snapshot,
        task_definition: &str,
        (asked, platform_version): (&Asked, Option<&str>),
    ) -> Result<ServiceChange, ApiError> {
        // A strategy that is wrong is refused before the definition is looked at.
        let said = asked.of(snapshot, &self.cluster)?;
        let found = resolve::task_definition(snapshot, &caller.scope, task_definition);
        let definition = parse::usable(found)?;
        parse::check_constraints(&self.constraints, definition)?;
        let cluster = resolve::active_row(snapshot, &self.cluster)?;
        let (launch_type, capacity_provider_strategy) = match asked.prefers_cost(&cluster.cluster) {
            true => self.cheapest(ctx, snapshot, &cluster.cluster, &definition.spec, platform_version),
            false => said,
        };
        let arn = ServiceArn { cluster: self.cluster.clone(), name: self.name.clone() };
        let subject = connect::Subject { service: &arn, definition: &definition.spec, own: None };
        let spec = RevisionSpec {
            task_definition: definition.arn.clone(),
            launch_type,
            capacity_provider_strategy,
            platform_version: fargate::version(platform_version, launch_type)?,
            placement_constraints: self.constraints.clone(),
            placement_strategy: self.strategy.clone(),
            propagate_tags: self.propagate_tags,
            managed_tags: self.managed_tags,
            network: self.network.clone(),
            registries: self.registries.clone(),
            connect: connect::decide(ctx, snapshot, &self.connect, &subject)?,
            volume: self.volume.clone(),
        };
        managed_volumes::fits(spec.volume.as_ref(), &definition.spec)?;
        parse::check_fargate(self.scheduling, &spec, definition)?;
        strategy::check_hooks(snapshot, &caller.scope, &self.rules.strategy, &spec)?;
        awsvpc::fits(spec.network.as_ref(), &definition.spec)?;
        awsvpc::public_address_fits(spec.network.as_ref(), spec.launch_type)?;
        registries::fits(snapshot, &caller.scope, &spec.registries, &definition.spec)?;
        let obstacle = parse::unbalanceable(self.scheduling, &spec, &self.rules);
        let asked = self.az_rebalancing.as_deref();
        let az_rebalancing = parse::az_rebalancing(asked, obstacle.is_none(), obstacle)?;
        let now = ctx.effects.now();
        let service = self.service(caller, az_rebalancing, now);
        let begun = deploy::first(service, Arc::new(spec), change::new_deployment(ctx), now);
        Ok(change::begun(ctx, Basis::New, begun, definition, now))
    }

    /// Where its tasks cost least, now that it is made; there they stay. A daemon's are on instances.
    fn cheapest(
        &self,
        ctx: &Context,
        snapshot: &Snapshot,
        cluster: &Cluster,
        spec: &TaskDefinitionSpec,
        platform_version: Option<&str>,
    ) -> (LaunchType, CapacityProviderStrategy) {
        if self.scheduling == SchedulingStrategy::Daemon {
            return (LaunchType::Ec2, CapacityProviderStrategy::default());
        }
        let own = self.constraints.iter().map(|c| Constraint::parse(&c.kind, c.expression.as_deref()));
        let of_definition = spec.placement_constraints.iter();
        let constraints = own.chain(of_definition.map(|expression| Constraint::parse("memberOf", Some(expression))));
        let wanted = preference::Wanted {
            // One that is to have tasks later is put where one would go.
            count: self.desired_count.max(1),
            spec,
            reservation: &spec.reservation(&TaskOverrides::default()),
            group: &format!("service:{}", self.name),
            network: self.network.as_ref(),
            platform_version: platform_version.filter(|version| !version.is_empty()),
            has_storage: false,
            constraints: &constraints.flatten().collect::<Vec<_>>(),
            // A strategy chooses among instances that have room; it makes none.
            strategy: &[],
            has_rules: !self.constraints.is_empty() || !self.strategy.is_empty(),
        };
        preference::launch(snapshot, cluster, &wanted, (ctx.effects.now(), ctx.effects.random()))
    }

    /// The record, without anything that says what its tasks are.
    fn service(&self, caller: &Caller, az_rebalancing: bool, now: Timestamp) -> Service {
        Service {
            arn: ServiceArn { cluster: self.cluster.clone(), name: self.name.clone() },
            status: ServiceStatus::Active,
            version: 1,
            created_at: now,
            created_by: caller.principal.as_str().into(),
            scheduling: self.scheduling,
            desired_count: self.desired_count,
            rules: self.rules.clone(),
            az_rebalancing,
            execute_command: self.execute_command,
            health_check_grace_seconds: self.health_check_grace_seconds,
            spec: None,
            deployments: Vec::new(),
            launch_type_before: None,
            external: None,
            rebalancing: 0,
            steady: false,
            deleted_at: None,
            creation: self.creation.clone(),
            tags: self.tags.clone(),
        }
    }
}

/// AWS: what the tasks are is for the task sets to say, and daemons have none.
fn check_external(
    definition: Option<&str>,
    launch_type: Option<&str>,
    scheduling: SchedulingStrategy,
) -> Result<(), ApiError> {
    if definition.is_some() {
        return Err(ApiError::invalid("TaskDefinition must be blank"));
    }
    if launch_type.is_some_and(|launch| !launch.is_empty()) {
        return Err(ApiError::invalid("LaunchType must be blank"));
    }
    match scheduling {
        SchedulingStrategy::Replica => Ok(()),
        SchedulingStrategy::Daemon => Err(ApiError::invalid(
            "The daemon scheduling strategy is not supported with the EXTERNAL deployment controller.",
        )),
    }
}

/// By what the request is recognised when it comes again.
fn creation(cluster: &ClusterArn, request: &aws::CreateServiceRequest) -> Result<Creation, ApiError> {
    let token = parse::token(request.client_token.clone())?;
    // However the cluster is called, it is the same one.
    let cluster = Some(cluster.to_string());
    let said = aws::CreateServiceRequest { client_token: None, cluster, ..request.clone() };
    parse::creation(token, &said)
}
