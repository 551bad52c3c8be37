//! Who is found under a service's name: the instances that clients registered, and the tasks of ECS services that name it as their
//! registry.
//!
//! A task is found while it runs and until it is asked to stop; nothing of that is stored, so that it can be neither forgotten
//! nor left behind. Everything here looks at a snapshot and changes nothing.

mod connect;
mod records;

pub use connect::{Alias, aliases, namespace_of, with_connected};
pub use records::{Answers, Data, Record, records};

use model::{
    ConnectPort, ContainerInstance, DeploymentId, HealthStatus, NetworkMode, PortSpec, RevisionSpec, Scope,
    ServiceConnect, ServiceRegistry, Task, TaskDefinitionSpec, TaskStatus,
    discovery::{CustomHealth, Instance, InstanceId, Namespace, Service, ServiceId, attribute},
};
use state::{ServiceRow, Snapshot};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// One that is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its id in its service; a task's own id.
    pub id: InstanceId,
    /// What is known of it.
    pub attributes: BTreeMap<String, String>,
    /// How it is; `None` where its service asks nobody.
    pub health: Option<CustomHealth>,
    /// The token of the request that registered it.
    pub token: Option<Arc<str>>,
    /// Whether it is a task.
    pub is_task: bool,
}

impl Found {
    /// Whether it is to be answered while any other is.
    pub fn is_healthy(&self) -> bool {
        match self.health {
            None | Some(CustomHealth::Healthy) => true,
            Some(CustomHealth::Unhealthy) => false,
        }
    }

    fn registered(instance: &Instance) -> Self {
        Self {
            id: instance.id.clone(),
            attributes: instance.attributes.clone(),
            health: instance.health,
            token: instance.creation.token.clone(),
            is_task: false,
        }
    }
}

/// The running tasks of a scope, by the service of Cloud Map under whose name they are found: made in one pass over the services
/// of ECS, and asked as often as needed.
pub struct Roll<'a> {
    snapshot: &'a Snapshot,
    tasks: BTreeMap<&'a ServiceId, Vec<Entry<'a>>>,
}

/// A task, the service whose it is, and how that one names it.
type Entry<'a> = (&'a ServiceRow, Named<'a>, &'a Arc<Task>);

/// How a service says by which name its tasks are found.
#[derive(Debug, Clone, Copy)]
enum Named<'a> {
    Registry(&'a ServiceRegistry),
    Connect(&'a ServiceConnect, &'a ConnectPort),
}

impl<'a> Named<'a> {
    /// The service of Cloud Map.
    fn service(self) -> &'a ServiceId {
        match self {
            Self::Registry(registry) => &registry.service,
            Self::Connect(_, port) => &port.service,
        }
    }
}

/// By which names a task is found. Of a deployment that does not serve yet, none of Service Connect's is.
fn names_of<'a>(
    row: &'a ServiceRow,
    serving: Option<DeploymentId>,
    task: &Task,
) -> impl Iterator<Item = Named<'a>> + use<'a> {
    let spec = spec_of(row, task);
    let serves = serving.is_none_or(|id| deployment_of(task) == Some(id));
    let connect = spec.and_then(|spec| spec.connect.as_deref()).filter(|_| serves && row.service.is_active());
    let ports = connect.into_iter().flat_map(|connect| connect.services.iter().map(move |port| (connect, port)));
    let registries = spec.into_iter().flat_map(|spec| &spec.registries).map(Named::Registry);
    registries.chain(ports.map(|(connect, port)| Named::Connect(connect, port)))
}

impl<'a> Roll<'a> {
    /// As it is in a snapshot.
    pub fn of(snapshot: &'a Snapshot, scope: &Scope) -> Self {
        let mut tasks: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let rows = snapshot.clusters(scope, None).flat_map(|cluster| cluster.services());
        let named = |spec: &RevisionSpec| !spec.registries.is_empty() || spec.connect.is_some();
        for row in rows.filter(|row| row.service.specs().any(|spec| named(spec))) {
            let serving = connect::serving(row);
            for task in row.tasks().filter(|task| is_found(task)) {
                for named in names_of(row, serving, task) {
                    tasks.entry(named.service()).or_default().push((&**row, named, task));
                }
            }
        }
        Self { snapshot, tasks }
    }

    fn entries(&self, service: &Service) -> &[Entry<'a>] {
        self.tasks.get(&service.id).map_or(&[], Vec::as_slice)
    }

    /// Whether tasks are found under a service's name, as far as that says where they are or not.
    pub fn has_tasks(&self, service: &Service) -> bool {
        !self.entries(service).is_empty()
    }

    /// All that are found under a service's name, by id. A task stands before an instance of the same id.
    pub fn found(&self, service: &Service) -> BTreeMap<InstanceId, Found> {
        let stored = self.snapshot.discovery(&service.scope).into_iter().flat_map(|all| all.instances_of(&service.id));
        let mut found: BTreeMap<_, _> = stored.map(|one| (one.id.clone(), Found::registered(one))).collect();
        let tasks = self.entries(service).iter();
        let tasks = tasks.filter_map(|(row, named, task)| of_task(self.snapshot, service, row, *named, task));
        found.extend(tasks.map(|one| (one.id.clone(), one)));
        found
    }
}

/// All that are found under one service's name, by id.
pub fn found(snapshot: &Snapshot, service: &Service) -> BTreeMap<InstanceId, Found> {
    Roll::of(snapshot, &service.scope).found(service)
}

/// The ACTIVE services of ECS whose tasks are found in a namespace, in the order of their ARNs' parts.
pub fn services_in<'a>(snapshot: &'a Snapshot, namespace: &'a Namespace) -> impl Iterator<Item = &'a ServiceRow> {
    let all = snapshot.discovery(&namespace.scope);
    let is_in = move |registry: &ServiceRegistry| {
        all.and_then(|all| all.service(&registry.service)).is_some_and(|service| service.namespace == namespace.id)
    };
    let rows = snapshot.clusters(&namespace.scope, None).flat_map(|cluster| cluster.services());
    let rows = rows.map(|row| &**row).filter(|row| row.service.is_active());
    let connects = |spec: &RevisionSpec| spec.connect.as_ref().is_some_and(|connect| connect.namespace == namespace.id);
    rows.filter(move |row| {
        row.service.shown_spec().is_some_and(|spec| spec.registries.iter().any(is_in) || connects(spec))
    })
}

/// What a task of a service is: that of its deployment.
fn spec_of<'a>(row: &'a ServiceRow, task: &Task) -> Option<&'a RevisionSpec> {
    row.service.deployment(deployment_of(task)?).map(|deployment| &*deployment.spec)
}

fn deployment_of(task: &Task) -> Option<DeploymentId> {
    task.started_by.as_deref()?.parse().ok()
}

/// A task is found from when it runs, and from when it is known to be well if anybody tries that, until it is asked to stop.
fn is_found(task: &Task) -> bool {
    task.last_status() == TaskStatus::Running && !task.is_to_stop() && task.health() != Some(HealthStatus::Unknown)
}

fn of_task(snapshot: &Snapshot, service: &Service, row: &ServiceRow, named: Named<'_>, task: &Task) -> Option<Found> {
    let health = match (task.health(), service.custom_health) {
        // Its service cannot say that it is not well, so it is not found at all.
        (Some(HealthStatus::Unhealthy), false) => return None,
        (Some(HealthStatus::Unhealthy), true) => Some(CustomHealth::Unhealthy),
        (Some(HealthStatus::Healthy | HealthStatus::Unknown) | None, true) => Some(CustomHealth::Healthy),
        (Some(HealthStatus::Healthy | HealthStatus::Unknown) | None, false) => None,
    };
    let instance = &snapshot.instance(&task.instance_arn()?)?.instance;
    let definition = snapshot.task_definition(&task.definition)?;
    let address = task_address(task, instance)?;
    let scope = &task.arn.cluster.scope;
    // AWS: these and no others, as the tutorial on service discovery shows them.
    let mut attributes = BTreeMap::from([
        (attribute::IPV4.to_owned(), address.to_string()),
        ("ECS_CLUSTER_NAME".to_owned(), task.arn.cluster.name.to_string()),
        ("ECS_SERVICE_NAME".to_owned(), row.service.arn.name.to_string()),
        ("ECS_TASK_DEFINITION_FAMILY".to_owned(), task.definition.family.to_string()),
        ("REGION".to_owned(), scope.region.to_string()),
    ]);
    attributes.extend(task.availability_zone.as_ref().map(|zone| ("AVAILABILITY_ZONE".to_owned(), zone.to_string())));
    let port = match named {
        Named::Registry(registry) => task_port(task, &definition.spec, registry),
        Named::Connect(_, port) => Some(port.port),
    };
    attributes.extend(port.map(|port| (attribute::PORT.to_owned(), port.to_string())));
    let id = InstanceId::parse(task.arn.id.as_str()).expect("a task's id is letters and digits");
    Some(Found { id, attributes, health, token: None, is_task: true })
}

/// Where others reach a task: its own address, or that of its instance, at which its ports are published.
fn task_address(task: &Task, instance: &ContainerInstance) -> Option<Ipv4Addr> {
    if let Some(attachment) = &task.attachment {
        return Some(attachment.address);
    }
    match instance.address {
        Some(IpAddr::V4(address)) => Some(address),
        Some(IpAddr::V6(_)) | None => None,
    }
}

/// By which port others reach a task at that address.
fn task_port(task: &Task, definition: &TaskDefinitionSpec, registry: &ServiceRegistry) -> Option<u16> {
    let (name, port) = match (&registry.container, registry.port) {
        (Some((name, port)), _) => (&**name, *port),
        (None, Some(port)) => return Some(port),
        // AWS: the first port that is mapped, where nobody says which.
        (None, None) => {
            let mut mapped = definition.containers.iter().flat_map(|c| c.port_mappings.iter().map(move |m| (c, m)));
            mapped.next().map(|(container, mapping)| {
                let port = match mapping.spec {
                    PortSpec::Single { container, .. } => container,
                    PortSpec::Range { first, .. } => first,
                };
                (container.name.as_str(), port)
            })?
        }
    };
    match definition.effective_network_mode() {
        NetworkMode::Host | NetworkMode::Awsvpc => Some(port),
        NetworkMode::Bridge => published(task, name, port),
        NetworkMode::None => None,
    }
}

/// The port of the instance that leads to a container's.
fn published(task: &Task, container: &str, port: u16) -> Option<u16> {
    let container = task.containers.iter().find(|one| &*one.name == container)?;
    let length = |range: &str| {
        let (first, last) = range.split_once('-')?;
        last.parse::<u16>().ok()?.checked_sub(first.parse().ok()?)
    };
    container.network_bindings.iter().find_map(|binding| {
        let behind = port.checked_sub(binding.container_port)?;
        let fits = behind <= binding.container_port_range.as_deref().and_then(length).unwrap_or(0);
        binding.host_port.checked_add(behind).filter(|_| fits)
    })
}
