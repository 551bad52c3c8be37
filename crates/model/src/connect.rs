//! Service Connect: under which names the tasks of a service reach each other, and its laws.
//!
//! A service says in which namespace its tasks are, and which of its ports clients in that namespace find under which names.
//! Everything else (who answers, where, and by which address a client asks) is derived from the tasks. Deliberately absent: what
//! only a proxy in the task could do (TLS, timeouts, access logs, other ports than the container's own).

use crate::{
    PortSpec, Protocol, TaskDefinitionSpec,
    discovery::{NamespaceId, ServiceId},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};

/// Ports of one service that clients find. AWS names no bound but that of a container's port mappings.
pub const MAX_PORTS: usize = 100;
/// Source: `ServiceConnectService$discoveryName`.
const MAX_DISCOVERY_NAME: usize = 64;
/// Source: `ServiceConnectClientAlias$dnsName`.
const MAX_DNS_NAME: usize = 127;

/// `serviceConnectConfiguration` of a service that has it enabled, valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceConnect {
    /// Whose names its tasks know, and where its own are.
    pub namespace: NamespaceId,
    /// Its ports that others find; none where its tasks are clients only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ConnectPort>,
}

/// A port that clients find.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectPort {
    /// What the task definition calls it.
    pub port_name: Arc<str>,
    /// The port of that name in the revision's task definition.
    pub port: u16,
    /// Its name in the namespace.
    pub discovery_name: Arc<str>,
    /// What Cloud Map knows it by.
    pub service: ServiceId,
    /// Names that clients use, as given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<ClientAlias>,
}

/// A name and a port that clients use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAlias {
    /// The port.
    pub port: u16,
    /// The name, as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_name: Option<Arc<str>>,
}

impl ConnectPort {
    /// The name and port that clients in the namespace use.
    // AWS: without a name it is the discovery name and the namespace's; without an alias, the container's own port of that name.
    pub fn alias(&self, namespace: &str) -> (String, u16) {
        let own = || format!("{}.{namespace}", self.discovery_name).to_ascii_lowercase();
        match self.aliases.first() {
            Some(alias) => (alias.dns_name.as_deref().map_or_else(own, str::to_owned), alias.port),
            None => (own(), self.port),
        }
    }
}

/// Why a configuration is refused. The text is what clients are shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // The text says it.
pub enum Unconnectable {
    #[error("The portName {0:?} is not the name of a port mapping of one TCP port in the task definition.")]
    NoPort(String),
    #[error(
        "The discoveryName {0:?} must be up to 64 lowercase letters, numbers, underscores and hyphens, and must not begin with a hyphen."
    )]
    DiscoveryName(String),
    #[error(
        "The dnsName {0:?} must be up to 127 lowercase letters, numbers, underscores, hyphens and periods, and must not begin with a hyphen."
    )]
    DnsName(String),
    #[error("The discoveryName {0} is given twice. It must be unique within the namespace.")]
    DiscoveryTwice(String),
    #[error("The client alias {0}:{1} is given twice. Each name and port must be unique within the namespace.")]
    AliasTwice(String, u16),
    #[error("A service can have at most {MAX_PORTS} Service Connect services.")]
    TooMany,
}

/// The port of that name, if clients can be led to it.
pub fn named_port(definition: &TaskDefinitionSpec, name: &str) -> Result<u16, Unconnectable> {
    let mappings = definition.containers.iter().flat_map(|container| &container.port_mappings);
    let mut named = mappings.filter(|mapping| mapping.name.as_deref() == Some(name));
    let port = named.find_map(|mapping| match (mapping.spec, mapping.protocol) {
        (PortSpec::Single { container, .. }, None | Some(Protocol::Tcp)) => Some(container),
        (PortSpec::Single { .. } | PortSpec::Range { .. }, _) => None,
    });
    port.ok_or_else(|| Unconnectable::NoPort(name.to_owned()))
}

impl ServiceConnect {
    /// Whether it gives a port that name in the namespace.
    pub fn names(&self, discovery_name: &str) -> bool {
        self.services.iter().any(|port| port.discovery_name.eq_ignore_ascii_case(discovery_name))
    }

    /// Whether both give ports the same name, or clients the same alias, in one namespace, which has that name.
    pub fn clashes_with(&self, other: &Self, namespace: &str) -> bool {
        let clash = |port: &ConnectPort| {
            let alias = port.alias(namespace);
            other.names(&port.discovery_name) || other.services.iter().any(|its| its.alias(namespace) == alias)
        };
        self.namespace == other.namespace && self.services.iter().any(clash)
    }

    /// The laws that the ports' names keep among themselves, in a namespace of that name.
    pub fn check(&self, namespace: &str) -> Result<(), Unconnectable> {
        if self.services.len() > MAX_PORTS {
            return Err(Unconnectable::TooMany);
        }
        let (mut names, mut aliases) = (BTreeSet::new(), BTreeSet::new());
        for port in &self.services {
            if !is_name(&port.discovery_name, MAX_DISCOVERY_NAME, false) {
                return Err(Unconnectable::DiscoveryName(port.discovery_name.to_string()));
            }
            if !names.insert(&port.discovery_name) {
                return Err(Unconnectable::DiscoveryTwice(port.discovery_name.to_string()));
            }
            let given = port.aliases.iter().filter_map(|alias| alias.dns_name.as_deref());
            if let Some(name) = given.into_iter().find(|name| !is_name(name, MAX_DNS_NAME, true)) {
                return Err(Unconnectable::DnsName(name.to_owned()));
            }
            let (name, number) = port.alias(namespace);
            if !aliases.insert((name.clone(), number)) {
                return Err(Unconnectable::AliasTwice(name, number));
            }
        }
        Ok(())
    }
}

fn is_name(name: &str, most: usize, dots: bool) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-' || (dots && b == b'.');
    let labels = name.split('.').all(|label| (1..=63).contains(&label.len()));
    name.len() <= most && labels && name.bytes().all(fits) && !name.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(discovery: &str, alias: Option<(Option<&str>, u16)>) -> ConnectPort {
        ConnectPort {
            port_name: "http".into(),
            port: 8080,
            discovery_name: discovery.into(),
            service: ServiceId::of(1),
            aliases: alias
                .map(|(name, port)| ClientAlias { port, dns_name: name.map(Arc::from) })
                .into_iter()
                .collect(),
        }
    }

    #[test]
    fn names_follow_from_what_is_given() {
        for (alias, want) in [
            (None, ("web.shop.local", 8080)),
            (Some((None, 80)), ("web.shop.local", 80)),
            (Some((Some("web"), 80)), ("web", 80)),
        ] {
            let (name, number) = port("web", alias).alias("Shop.local");
            assert_eq!((name.as_str(), number), want, "{alias:?}");
        }
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let long = "a".repeat(64);
        let check = |ports: Vec<ConnectPort>, want: &str| {
            let connect = ServiceConnect { namespace: NamespaceId::of(1), services: ports };
            let told = connect.check("shop").err().map_or_else(String::new, |error| error.to_string());
            assert!(told.starts_with(want) && told.is_empty() == want.is_empty(), "{told:?} is not {want:?}");
        };
        let alias = |name: &'static str| Some((Some(name), 80));
        check(vec![port("web", alias("web")), port("db-1_x", alias("db.internal"))], "");
        check(vec![port("web", alias("web")), port("api", Some((Some("web"), 81)))], "");
        check(vec![port("Web", None)], "The discoveryName \"Web\"");
        check(vec![port("-web", None)], "The discoveryName \"-web\"");
        check(vec![port("we.b", None)], "The discoveryName \"we.b\"");
        check(vec![port(&long, None)], "The discoveryName");
        check(vec![port("web", alias("a..b"))], "The dnsName \"a..b\"");
        check(vec![port("web", alias("A"))], "The dnsName \"A\"");
        check(vec![port("web", None), port("web", alias("w"))], "The discoveryName web is given twice");
        check(vec![port("a", alias("w")), port("b", alias("w"))], "The client alias w:80 is given twice");
    }
}
