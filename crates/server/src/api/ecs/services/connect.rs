//! `serviceConnectConfiguration`: the namespace whose names a service's tasks know, and the names of their own ports in it. Who answers
//! is derived from the tasks ([`crate::discovery`]); here it is only checked that the names can be had.
//!
//! Deliberately absent, and refused by name: what only a proxy in the task could do.

use super::parse;
use crate::{
    api::{ApiError, ecs::resolve},
    context::Context,
    discovery,
};
use model::{
    ClientAlias, ConnectPort, NetworkMode, Scope, ServiceArn, ServiceConnect, TaskDefinitionSpec, Unconnectable,
    connect::named_port,
    discovery::{Discovery, Namespace, ServiceId},
};
use shapes::ecs as aws;
use state::Snapshot;
use std::sync::Arc;

/// Source: `ServiceConnectService$clientAliases`.
const MAX_ALIASES: usize = 1;

/// What a request says of Service Connect.
pub(super) enum Asked {
    Disabled,
    Enabled { namespace: Option<String>, ports: Vec<Port> },
}

/// A port as a request names it.
pub(super) struct Port {
    name: String,
    discovery_name: Option<String>,
    aliases: Vec<ClientAlias>,
}

/// Reads what a request says. Whether it can be had, only definition and namespace say: [`decide`].
pub(super) fn parse(given: &aws::ServiceConnectConfiguration) -> Result<Asked, ApiError> {
    let services = given.services.as_deref().unwrap_or_default();
    let namespace = parse::set(given.namespace.clone());
    if given.enabled != Some(true) {
        if !services.is_empty() || namespace.is_some() {
            let text = "namespace and services of serviceConnectConfiguration need enabled to be true.";
            return Err(ApiError::invalid(text));
        }
        return Ok(Asked::Disabled);
    }
    let ports = services.iter().map(port).collect::<Result<_, _>>()?;
    Ok(Asked::Enabled { namespace, ports })
}

fn port(given: &aws::ServiceConnectService) -> Result<Port, ApiError> {
    let aliases = given.client_aliases.as_deref().unwrap_or_default();
    if aliases.len() > MAX_ALIASES {
        return Err(ApiError::invalid("clientAliases can have at most 1 items."));
    }
    let alias = |alias: &aws::ServiceConnectClientAlias| {
        let number = alias.port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        let port =
            number.ok_or_else(|| ApiError::invalid("The port of a client alias must be between 1 and 65535."))?;
        Ok(ClientAlias { port, dns_name: parse::set(alias.dns_name.clone()).map(Arc::from) })
    };
    Ok(Port {
        name: parse::set(given.port_name.clone()).ok_or_else(|| ApiError::invalid("portName can not be blank."))?,
        discovery_name: parse::set(given.discovery_name.clone()),
        aliases: aliases.iter().map(alias).collect::<Result<_, ApiError>>()?,
    })
}

/// Whose configuration it is, and what it stands on.
pub(super) struct Subject<'a> {
    pub(super) service: &'a ServiceArn,
    pub(super) definition: &'a TaskDefinitionSpec,
    /// What holds until now.
    pub(super) own: Option<&'a Arc<ServiceConnect>>,
}

/// What the service gets of what was asked.
pub(super) fn decide(
    ctx: &Context,
    snapshot: &Snapshot,
    asked: &Asked,
    subject: &Subject<'_>,
) -> Result<Option<Arc<ServiceConnect>>, ApiError> {
    let (named, ports) = match asked {
        Asked::Disabled => return Ok(None),
        Asked::Enabled { namespace, ports } => (namespace.as_deref(), ports),
    };
    let scope = &subject.service.cluster.scope;
    let all = discovery::with_connected(snapshot, scope);
    let namespace = match named {
        Some(given) => find(&all, scope, given)?,
        None => default_namespace(snapshot, &all, subject)?,
    };
    let port = |asked: &Port| {
        let discovery_name: Arc<str> = asked.discovery_name.as_deref().unwrap_or(&asked.name).into();
        let before = subject.own.filter(|own| own.namespace == namespace.id);
        let known = before.and_then(|own| own.services.iter().find(|known| known.discovery_name == discovery_name));
        Ok(ConnectPort {
            port_name: asked.name.as_str().into(),
            port: named_port(subject.definition, &asked.name)?,
            discovery_name,
            service: known.map_or_else(|| fresh(ctx), |known| known.service.clone()),
            aliases: asked.aliases.clone(),
        })
    };
    let services = ports.iter().map(port).collect::<Result<Vec<_>, Unconnectable>>()?;
    let connect = ServiceConnect { namespace: namespace.id.clone(), services };
    connect.check(&namespace.name)?;
    check_mode(subject.definition)?;
    check_free(snapshot, &all, subject.service, &connect, namespace)?;
    Ok(Some(Arc::new(connect)))
}

/// What holds with another task definition: the same names, at that one's ports.
pub(super) fn again(
    own: &Arc<ServiceConnect>,
    definition: &TaskDefinitionSpec,
) -> Result<Arc<ServiceConnect>, ApiError> {
    check_mode(definition)?;
    let mut connect = ServiceConnect::clone(own);
    for port in &mut connect.services {
        port.port = named_port(definition, &port.port_name)?;
    }
    Ok(Arc::new(connect))
}

fn fresh(ctx: &Context) -> ServiceId {
    ServiceId::of(u128::from_be_bytes(ctx.effects.bytes::<16>()))
}

fn check_mode(definition: &TaskDefinitionSpec) -> Result<(), ApiError> {
    match definition.effective_network_mode() {
        NetworkMode::Awsvpc => Ok(()),
        NetworkMode::Bridge | NetworkMode::Host | NetworkMode::None => {
            Err(ApiError::invalid("Service Connect needs a task definition whose networkMode is awsvpc."))
        }
    }
}

fn prefix(scope: &Scope) -> String {
    format!("arn:aws:servicediscovery:{}:{}:", scope.region, scope.account)
}

/// The namespace of that name or ARN.
fn find<'a>(all: &'a Discovery, scope: &Scope, given: &str) -> Result<&'a Namespace, ApiError> {
    let found = resolve::namespace(all, scope, given);
    found.map(|found| &**found).ok_or_else(|| resolve::namespace_missing(given))
}

fn default_namespace<'a>(
    snapshot: &Snapshot,
    all: &'a Discovery,
    subject: &Subject<'_>,
) -> Result<&'a Namespace, ApiError> {
    if let Some(known) = subject.own.and_then(|own| all.namespace(&own.namespace)) {
        return Ok(known);
    }
    let cluster = snapshot.cluster(&subject.service.cluster);
    let id = cluster.and_then(|row| row.cluster.connect_namespace.as_ref()).ok_or_else(|| {
        ApiError::invalid(
            "A namespace is required to enable Service Connect: name one, or give the cluster serviceConnectDefaults.",
        )
    })?;
    let missing = || resolve::namespace_missing(&namespace_arn(&subject.service.cluster.scope, id));
    Ok(all.namespace(id).ok_or_else(missing)?)
}

fn namespace_arn(scope: &Scope, id: &model::discovery::NamespaceId) -> String {
    format!("{}namespace/{id}", prefix(scope))
}

/// Names are one service's in their namespace. Two that are asked for at once, apply tells apart.
fn check_free(
    snapshot: &Snapshot,
    all: &Discovery,
    service: &ServiceArn,
    connect: &ServiceConnect,
    namespace: &Namespace,
) -> Result<(), ApiError> {
    let ours = |known: &&Arc<model::discovery::Service>| known.follows.as_ref() != Some(service);
    if let Some(known) = all.services_of(&namespace.id).filter(ours).find(|known| connect.names(&known.name)) {
        return Err(ApiError::invalid(format!(
            "The discoveryName {} is already in use in the namespace {}. Choose another one.",
            known.name, namespace.name
        )));
    }
    let mut others = snapshot.connected(&service.cluster.scope).filter(|(row, _)| row.service.arn != *service);
    match others.find(|(_, other)| connect.clashes_with(other, &namespace.name)) {
        None => Ok(()),
        Some((row, _)) => Err(ApiError::invalid(format!(
            "A client alias is already in use in the namespace {} by {}. Each name and port must be unique within the \
             namespace.",
            namespace.name, row.service.arn
        ))),
    }
}

impl From<Unconnectable> for ApiError {
    fn from(refusal: Unconnectable) -> Self {
        Self::invalid(refusal.to_string())
    }
}

/// As it was given, with what was filled in.
pub(super) fn render(scope: &Scope, connect: &ServiceConnect) -> aws::ServiceConnectConfiguration {
    let alias = |alias: &ClientAlias| aws::ServiceConnectClientAlias {
        port: Some(alias.port.into()),
        dns_name: alias.dns_name.as_deref().map(str::to_owned),
        ..aws::ServiceConnectClientAlias::default()
    };
    let port = |port: &ConnectPort| aws::ServiceConnectService {
        port_name: Some(port.port_name.to_string()),
        discovery_name: Some(port.discovery_name.to_string()),
        client_aliases: Some(port.aliases.iter().map(alias).collect()),
        ..aws::ServiceConnectService::default()
    };
    aws::ServiceConnectConfiguration {
        enabled: Some(true),
        namespace: Some(namespace_arn(scope, &connect.namespace)),
        services: Some(connect.services.iter().map(port).collect()),
        ..aws::ServiceConnectConfiguration::default()
    }
}

/// The services of Cloud Map that follow from it.
pub(super) fn resources(scope: &Scope, connect: &ServiceConnect) -> Vec<aws::ServiceConnectServiceResource> {
    let shown = |port: &ConnectPort| aws::ServiceConnectServiceResource {
        discovery_name: Some(port.discovery_name.to_string()),
        discovery_arn: Some(format!("{}service/{}", prefix(scope), port.service)),
    };
    connect.services.iter().map(shown).collect()
}
