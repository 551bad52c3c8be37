//! `serviceRegistries`: the name of Cloud Map's under which a service's tasks are found. What is found is derived from the tasks
//! ([`crate::discovery`]); here it is only checked that there will be something to find.

use super::parse;
use crate::{api::ApiError, context::Caller};
use model::{
    NetworkMode, PortSpec, Scope, ServiceRegistry, TaskDefinitionSpec,
    discovery::{RecordKind, ServiceId},
};
use shapes::ecs as aws;
use state::Snapshot;
use std::sync::Arc;

/// Source: `CreateServiceRequest$serviceRegistries`: several registries per service are not supported.
const MAX_REGISTRIES: usize = 1;

fn prefix(scope: &Scope) -> String {
    format!("arn:aws:servicediscovery:{}:{}:service/", scope.region, scope.account)
}

/// Reads what a request says. Whether it can be had, only the task definition and the registry say: [`fits`].
pub(super) fn parse(caller: &Caller, given: &[aws::ServiceRegistry]) -> Result<Vec<ServiceRegistry>, ApiError> {
    if given.len() > MAX_REGISTRIES {
        return Err(ApiError::invalid("serviceRegistries can have at most 1 items."));
    }
    let read = |registry: &aws::ServiceRegistry| {
        let arn = registry.registry_arn.as_deref().unwrap_or_default();
        let id = arn.strip_prefix(&prefix(&caller.scope)).and_then(|id| ServiceId::parse(id).ok());
        let service = id.ok_or_else(|| missing(arn))?;
        let port = registry.port.map(|port| number("port", port)).transpose()?;
        let container = match (parse::set(registry.container_name.clone()), registry.container_port) {
            (Some(name), Some(port)) => Some((Arc::from(name), number("containerPort", port)?)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(ApiError::invalid("containerName and containerPort must be specified together."));
            }
        };
        if port.is_some() && container.is_some() {
            let text = "Either a containerName and containerPort or a port must be specified, but not both.";
            return Err(ApiError::invalid(text));
        }
        Ok(ServiceRegistry { service, port, container })
    };
    given.iter().map(read).collect()
}

fn number(name: &str, port: i32) -> Result<u16, ApiError> {
    let port = u16::try_from(port).ok().filter(|port| *port > 0);
    port.ok_or_else(|| ApiError::invalid(format!("{name} must be between 1 and 65535.")))
}

fn missing(arn: &str) -> ApiError {
    ApiError::invalid(format!("The service registry {arn} does not exist."))
}

/// What registry, port and network mode must be together. Source: `ServiceRegistry` in the service model, and "Use service
/// discovery" in the developer guide.
pub(super) fn fits(
    snapshot: &Snapshot,
    scope: &Scope,
    registries: &[ServiceRegistry],
    definition: &TaskDefinitionSpec,
) -> Result<(), ApiError> {
    for registry in registries {
        let all = snapshot.discovery(scope);
        let service = all.and_then(|all| all.service(&registry.service));
        let service = service.ok_or_else(|| missing(&format!("{}{}", prefix(scope), registry.service)))?;
        if let Some((name, port)) = &registry.container {
            let container = definition.containers.iter().find(|container| *container.name == **name);
            let container = container.ok_or_else(|| {
                ApiError::invalid(format!("The container {name} does not exist in the task definition."))
            })?;
            let maps = container.port_mappings.iter().any(|mapping| match mapping.spec {
                PortSpec::Single { container, .. } => container == *port,
                PortSpec::Range { first, last } => (first..=last).contains(port),
            });
            if !maps {
                let text = format!("The container {name} did not have a container port {port} defined.");
                return Err(ApiError::invalid(text));
            }
        }
        let why = match definition.effective_network_mode() {
            NetworkMode::Awsvpc if registry.port.is_none() && registry.container.is_none() => {
                service.record(RecordKind::Srv).map(|_| {
                    "When the registry has SRV records, either a containerName and containerPort or a port must be \
                     specified."
                })
            }
            NetworkMode::Awsvpc => None,
            NetworkMode::Bridge | NetworkMode::Host if registry.container.is_none() => Some(
                "When specifying 'host' or 'bridge' for networkMode, values for 'containerName' and 'containerPort' must \
                 be specified from the task definition.",
            ),
            NetworkMode::Bridge | NetworkMode::Host => service.record(RecordKind::A).map(|_| {
                "When specifying 'host' or 'bridge' for networkMode, the registry must have SRV records and no A records."
            }),
            NetworkMode::None => Some("Service registries are not valid for networkMode 'none'."),
        };
        if let Some(why) = why {
            return Err(ApiError::invalid(why));
        }
    }
    Ok(())
}

/// As they were given.
pub(super) fn render(scope: &Scope, registries: &[ServiceRegistry]) -> Vec<aws::ServiceRegistry> {
    let shown = |registry: &ServiceRegistry| aws::ServiceRegistry {
        registry_arn: Some(format!("{}{}", prefix(scope), registry.service)),
        port: registry.port.map(i32::from),
        container_name: registry.container.as_ref().map(|(name, _)| name.to_string()),
        container_port: registry.container.as_ref().map(|(_, port)| i32::from(*port)),
    };
    registries.iter().map(shown).collect()
}
