//! What service discovery is made of, as it is stored.

use super::{InstanceId, NamespaceId, OperationId, ServiceId};
use crate::{Creation, Scope, ServiceArn, Tags, Timestamp, network::VpcId};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

/// The name under which services are found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Account and region.
    pub scope: Scope,
    /// Its id.
    pub id: NamespaceId,
    /// Its name, of which the scope has one.
    pub name: String,
    /// Who answers for it.
    pub kind: NamespaceKind,
    /// What it is for, in its maker's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// By what its request is recognised when it comes again.
    pub creation: Creation,
    /// The operation that made it.
    pub operation: OperationId,
    /// Tags.
    pub tags: Tags,
}

/// Who answers for a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamespaceKind {
    /// DiscoverInstances alone.
    Http,
    /// Also the resolver of a VPC.
    PrivateDns {
        /// Which.
        vpc: VpcId,
        /// Seconds for which a resolver may remember that a name is not there.
        soa_ttl: u32,
    },
}

/// The TTL of the SOA record where none is given. Source: `PrivateDnsPropertiesMutable` as the console makes it.
pub const DEFAULT_SOA_TTL: u32 = 15;

/// A name in a namespace, and how its instances are answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Account and region.
    pub scope: Scope,
    /// Its id.
    pub id: ServiceId,
    /// Its namespace.
    pub namespace: NamespaceId,
    /// Its name, of which the namespace has one.
    pub name: String,
    /// What it is for, in its maker's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What a resolver answers; without, DiscoverInstances alone knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsConfig>,
    /// Whether clients say how its instances are: `HealthCheckCustomConfig`.
    pub custom_health: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// By what its request is recognised when it comes again.
    pub creation: Creation,
    /// Tags.
    pub tags: Tags,
    /// The service of ECS that it follows from, where it is one of Service Connect. Such a one is never stored.
    #[serde(skip)]
    pub follows: Option<ServiceArn>,
}

/// What a resolver answers of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsConfig {
    /// Which of the instances.
    pub routing: Routing,
    /// At most one of each kind.
    pub records: Vec<DnsRecord>,
}

/// Which of a service's instances a resolver answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Routing {
    /// Up to eight that are healthy.
    Multivalue,
    /// One, each as often as the next.
    Weighted,
}

impl Routing {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Multivalue => "MULTIVALUE",
            Self::Weighted => "WEIGHTED",
        }
    }
}

/// One kind of record that each instance gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsRecord {
    /// Which.
    pub kind: RecordKind,
    /// Seconds for which it may be remembered.
    pub ttl: u32,
}

/// A kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordKind {
    /// The instance's address.
    A,
    /// Its port, and the name of its address.
    Srv,
}

impl RecordKind {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Srv => "SRV",
        }
    }
}

impl Service {
    /// The record of that kind that its instances get.
    pub fn record(&self, kind: RecordKind) -> Option<&DnsRecord> {
        self.dns.iter().flat_map(|dns| &dns.records).find(|record| record.kind == kind)
    }
}

/// Something that can be found under a service's name, as a client registered it. A task of an ECS service is none: it is
/// found as long as it runs, and nothing is stored of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Account and region.
    pub scope: Scope,
    /// Its service.
    pub service: ServiceId,
    /// Its id, of which the service has one.
    pub id: InstanceId,
    /// What is known of it.
    pub attributes: BTreeMap<String, String>,
    /// How it is, as it was last said; `None` where its service asks nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<CustomHealth>,
    /// By what its request is recognised when it comes again.
    pub creation: Creation,
    /// The operation that registered it last.
    pub operation: OperationId,
}

/// How an instance is, as a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum CustomHealth {
    Healthy,
    Unhealthy,
}

impl CustomHealth {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Unhealthy => "UNHEALTHY",
        }
    }
}

/// The attributes that mean something by themselves. Source: `RegisterInstanceRequest$Attributes`.
pub mod attribute {
    #![allow(missing_docs)]
    pub const IPV4: &str = "AWS_INSTANCE_IPV4";
    pub const IPV6: &str = "AWS_INSTANCE_IPV6";
    pub const PORT: &str = "AWS_INSTANCE_PORT";
    pub const CNAME: &str = "AWS_INSTANCE_CNAME";
    pub const ALIAS: &str = "AWS_ALIAS_DNS_NAME";
    pub const EC2_INSTANCE: &str = "AWS_EC2_INSTANCE_ID";
    pub const INIT_HEALTH: &str = "AWS_INIT_HEALTH_STATUS";
}

/// The address among attributes.
pub fn address_in(attributes: &BTreeMap<String, String>) -> Option<Ipv4Addr> {
    attributes.get(attribute::IPV4)?.parse().ok()
}

/// The port among attributes.
pub fn port_in(attributes: &BTreeMap<String, String>) -> Option<u16> {
    attributes.get(attribute::PORT)?.parse().ok().filter(|port| *port > 0)
}

/// A change that was asked for. AWS makes them one after the other; here each is done when it is answered, and what is kept is
/// that it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Account and region.
    pub scope: Scope,
    /// Its id.
    pub id: OperationId,
    /// What was done.
    pub kind: OperationKind,
    /// The namespace it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceId>,
    /// The service it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    /// The instance it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// When.
    pub at: Timestamp,
}

/// What an operation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)] // AWS's words say it.
pub enum OperationKind {
    CreateNamespace,
    UpdateNamespace,
    DeleteNamespace,
    UpdateService,
    RegisterInstance,
    DeregisterInstance,
}

impl OperationKind {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateNamespace => "CREATE_NAMESPACE",
            Self::UpdateNamespace => "UPDATE_NAMESPACE",
            Self::DeleteNamespace => "DELETE_NAMESPACE",
            Self::UpdateService => "UPDATE_SERVICE",
            Self::RegisterInstance => "REGISTER_INSTANCE",
            Self::DeregisterInstance => "DEREGISTER_INSTANCE",
        }
    }
}

/// One stored thing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Record {
    Namespace(Arc<Namespace>),
    Service(Arc<Service>),
    Instance(Arc<Instance>),
    Operation(Arc<Operation>),
}

/// What names one stored thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Key {
    Namespace(NamespaceId),
    Service(ServiceId),
    Instance(ServiceId, InstanceId),
    Operation(OperationId),
}

impl Record {
    /// What names it.
    pub fn key(&self) -> Key {
        match self {
            Self::Namespace(r) => Key::Namespace(r.id.clone()),
            Self::Service(r) => Key::Service(r.id.clone()),
            Self::Instance(r) => Key::Instance(r.service.clone(), r.id.clone()),
            Self::Operation(r) => Key::Operation(r.id.clone()),
        }
    }

    /// Whose it is.
    pub fn scope(&self) -> &Scope {
        match self {
            Self::Namespace(r) => &r.scope,
            Self::Service(r) => &r.scope,
            Self::Instance(r) => &r.scope,
            Self::Operation(r) => &r.scope,
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Namespace(id) => write!(f, "{id}"),
            Self::Service(id) => write!(f, "{id}"),
            // Ids of services have no slash, so that the first one ends it.
            Self::Instance(service, id) => write!(f, "{service}/{id}"),
            Self::Operation(id) => write!(f, "{id}"),
        }
    }
}

macro_rules! record {
    ($($type:ident),*) => {$(
        impl From<$type> for Record {
            fn from(record: $type) -> Self {
                Self::$type(Arc::new(record))
            }
        }
    )*};
}
record!(Namespace, Service, Instance, Operation);
