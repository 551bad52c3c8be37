//! Records as they are stored: `{"v":1,"d":{...}}`, the envelope's version and the model's own JSON.
//!
//! Every kind has a golden file per version. To change a record's form: add the field with a serde default if old
//! records still say the truth; otherwise raise the kind's version here, decode the old form beside the new, add a golden.

use crate::snapshot::TokenRecord;
use model::{
    AccountId, AccountSetting, Activation, AutoScalingGroup, AutoScalingProvider, Cluster, ContainerInstance, Family,
    LaunchTemplate, Machine, Scope, Service, ServiceArn, ServiceDeployment, ServiceEventRecord, ServiceRevision,
    SettingName, Task, TaskDefinition, Timestamp, discovery, iam,
    network::{self, Key},
    vault,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{fmt, sync::Arc};

/// The tables that are stored. The text is part of the stored format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    Cluster,
    Family,
    TaskDefinition,
    ContainerInstance,
    Task,
    Token,
    Setting,
    Machine,
    Activation,
    Service,
    ServiceRevision,
    ServiceDeployment,
    ServiceEvent,
    Network,
    Vpc,
    Subnet,
    RouteTable,
    InternetGateway,
    NatGateway,
    Address,
    SecurityGroup,
    NetworkInterface,
    Discovery,
    Namespace,
    DiscoveryService,
    DiscoveryInstance,
    DiscoveryOperation,
    Vault,
    Secret,
    Parameter,
    SealedValue,
    LaunchTemplate,
    AutoScalingGroup,
    CapacityProvider,
    Iam,
    User,
    AccessKey,
    Role,
    Policy,
    InstanceProfile,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 40] = [
        Self::Cluster,
        Self::Family,
        Self::TaskDefinition,
        Self::ContainerInstance,
        Self::Task,
        Self::Token,
        Self::Setting,
        Self::Machine,
        Self::Activation,
        Self::Service,
        Self::ServiceRevision,
        Self::ServiceDeployment,
        Self::ServiceEvent,
        Self::Network,
        Self::Vpc,
        Self::Subnet,
        Self::RouteTable,
        Self::InternetGateway,
        Self::NatGateway,
        Self::Address,
        Self::SecurityGroup,
        Self::NetworkInterface,
        Self::Discovery,
        Self::Namespace,
        Self::DiscoveryService,
        Self::DiscoveryInstance,
        Self::DiscoveryOperation,
        Self::Vault,
        Self::Secret,
        Self::Parameter,
        Self::SealedValue,
        Self::LaunchTemplate,
        Self::AutoScalingGroup,
        Self::CapacityProvider,
        Self::Iam,
        Self::User,
        Self::AccessKey,
        Self::Role,
        Self::Policy,
        Self::InstanceProfile,
    ];

    /// Its name in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Family => "family",
            Self::TaskDefinition => "task_definition",
            Self::ContainerInstance => "container_instance",
            Self::Task => "task",
            Self::Token => "token",
            Self::Setting => "setting",
            Self::Machine => "machine",
            Self::Activation => "activation",
            Self::Service => "service",
            Self::ServiceRevision => "service_revision",
            Self::ServiceDeployment => "service_deployment",
            Self::ServiceEvent => "service_event",
            Self::Network => "network",
            Self::Vpc => "vpc",
            Self::Subnet => "subnet",
            Self::RouteTable => "route_table",
            Self::InternetGateway => "internet_gateway",
            Self::NatGateway => "nat_gateway",
            Self::Address => "address",
            Self::SecurityGroup => "security_group",
            Self::NetworkInterface => "network_interface",
            Self::Discovery => "discovery",
            Self::Namespace => "namespace",
            Self::DiscoveryService => "discovery_service",
            Self::DiscoveryInstance => "discovery_instance",
            Self::DiscoveryOperation => "discovery_operation",
            Self::Vault => "vault",
            Self::Secret => "secret",
            Self::Parameter => "parameter",
            Self::SealedValue => "sealed_value",
            Self::LaunchTemplate => "launch_template",
            Self::AutoScalingGroup => "auto_scaling_group",
            Self::CapacityProvider => "capacity_provider",
            Self::Iam => "iam",
            Self::User => "user",
            Self::AccessKey => "access_key",
            Self::Role => "role",
            Self::Policy => "policy",
            Self::InstanceProfile => "instance_profile",
        }
    }

    /// The kind of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The table of a part of a network.
    pub(crate) fn of(key: &Key) -> Self {
        match key {
            Key::Vpc(_) => Self::Vpc,
            Key::Subnet(_) => Self::Subnet,
            Key::RouteTable(_) => Self::RouteTable,
            Key::InternetGateway(_) => Self::InternetGateway,
            Key::NatGateway(_) => Self::NatGateway,
            Key::Address(_) => Self::Address,
            Key::SecurityGroup(_) => Self::SecurityGroup,
            Key::Interface(_) => Self::NetworkInterface,
        }
    }

    /// The table of a part of service discovery.
    pub(crate) fn of_discovery(key: &discovery::Key) -> Self {
        match key {
            discovery::Key::Namespace(_) => Self::Namespace,
            discovery::Key::Service(_) => Self::DiscoveryService,
            discovery::Key::Instance(..) => Self::DiscoveryInstance,
            discovery::Key::Operation(_) => Self::DiscoveryOperation,
        }
    }

    /// The table of a part of a vault.
    pub(crate) fn of_vault(key: &vault::Key) -> Self {
        match key {
            vault::Key::Secret(_) => Self::Secret,
            vault::Key::Parameter(_) => Self::Parameter,
            vault::Key::Value(_) => Self::SealedValue,
        }
    }

    /// The table of a part of IAM.
    pub(crate) fn of_iam(key: &iam::Key) -> Self {
        match key {
            iam::Key::User(_) => Self::User,
            iam::Key::AccessKey(_) => Self::AccessKey,
            iam::Key::Role(_) => Self::Role,
            iam::Key::Policy(_) => Self::Policy,
            iam::Key::InstanceProfile(_) => Self::InstanceProfile,
        }
    }

    /// The version in which it is written today.
    fn version(self) -> u32 {
        1
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One stored thing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    Cluster(Arc<Cluster>),
    Family(FamilyRecord),
    TaskDefinition(Arc<TaskDefinition>),
    ContainerInstance(Arc<ContainerInstance>),
    Task(Arc<Task>),
    Token(Arc<TokenRecord>),
    Setting(SettingRecord),
    Machine(Arc<Machine>),
    Activation(Arc<Activation>),
    Service(Arc<Service>),
    ServiceRevision(Arc<ServiceRevision>),
    ServiceDeployment(Arc<ServiceDeployment>),
    ServiceEvent(ServiceEventRecord),
    Network(NetworkRecord),
    NetworkPart(network::Record),
    Discovery(DiscoveryRecord),
    DiscoveryPart(discovery::Record),
    Vault(VaultRecord),
    VaultPart(vault::Record),
    LaunchTemplate(Arc<LaunchTemplate>),
    AutoScalingGroup(Arc<AutoScalingGroup>),
    CapacityProvider(Arc<AutoScalingProvider>),
    Iam(IamRecord),
    IamPart(iam::Record),
}

/// The last number a family gave: kept by itself, so that deleting revisions can not bring a number back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FamilyRecord {
    pub(crate) scope: Scope,
    pub(crate) family: Family,
    pub(crate) last_revision: u32,
}

/// That a region's network is stored, and how often it has changed: what a decision about it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkRecord {
    pub(crate) scope: Scope,
    pub(crate) version: u64,
    pub(crate) changed_at: Timestamp,
}

/// How often a region's service discovery has changed: what a decision about it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DiscoveryRecord {
    pub(crate) scope: Scope,
    pub(crate) version: u64,
    pub(crate) changed_at: Timestamp,
}

/// How often a region's secrets and parameters have changed: what a decision about them names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VaultRecord {
    pub(crate) scope: Scope,
    pub(crate) version: u64,
}

/// How often an account's users, roles and policies have changed: what a decision about them names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IamRecord {
    pub(crate) account: AccountId,
    pub(crate) version: u64,
}

/// An account setting and where it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SettingRecord {
    pub(crate) scope: Scope,
    pub(crate) setting: Arc<AccountSetting>,
}

/// A stored record that is not what this program writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// It comes from a later program.
    #[error(
        "{kind} record '{key}' has format version {version}; this longshore reads up to version {known}: run a newer one"
    )]
    Newer {
        /// Its table.
        kind: Kind,
        /// Its key.
        key: String,
        /// Its version.
        version: u32,
        /// The latest version that can be read.
        known: u32,
    },
    /// It can not be understood.
    #[error("{kind} record '{key}' is damaged: {why}")]
    Damaged {
        /// Its table.
        kind: Kind,
        /// Its key.
        key: String,
        /// In what way.
        why: String,
    },
}

pub(crate) fn scoped(scope: &Scope, rest: &str) -> String {
    format!("{}/{}/{rest}", scope.account, scope.region)
}

/// The key of something that an account has once for all regions.
pub(crate) fn of_account(account: &AccountId, rest: &str) -> String {
    format!("{account}/{rest}")
}

pub(crate) fn setting_key(scope: &Scope, name: SettingName, principal: Option<&str>) -> String {
    match principal {
        None => scoped(scope, name.as_str()),
        Some(principal) => scoped(scope, &format!("{}/{principal}", name.as_str())),
    }
}

pub(crate) fn token_key(scope: &Scope, operation: &str, token: &str) -> String {
    scoped(scope, &format!("{operation}/{token}"))
}

pub(crate) fn service_event_key(service: &ServiceArn, sequence: u64) -> String {
    format!("{service}/{sequence}")
}

impl Record {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Cluster(_) => Kind::Cluster,
            Self::Family(_) => Kind::Family,
            Self::TaskDefinition(_) => Kind::TaskDefinition,
            Self::ContainerInstance(_) => Kind::ContainerInstance,
            Self::Task(_) => Kind::Task,
            Self::Token(_) => Kind::Token,
            Self::Setting(_) => Kind::Setting,
            Self::Machine(_) => Kind::Machine,
            Self::Activation(_) => Kind::Activation,
            Self::Service(_) => Kind::Service,
            Self::ServiceRevision(_) => Kind::ServiceRevision,
            Self::ServiceDeployment(_) => Kind::ServiceDeployment,
            Self::ServiceEvent(_) => Kind::ServiceEvent,
            Self::Network(_) => Kind::Network,
            Self::NetworkPart(r) => Kind::of(&r.key()),
            Self::Discovery(_) => Kind::Discovery,
            Self::DiscoveryPart(r) => Kind::of_discovery(&r.key()),
            Self::Vault(_) => Kind::Vault,
            Self::VaultPart(r) => Kind::of_vault(&r.key()),
            Self::LaunchTemplate(_) => Kind::LaunchTemplate,
            Self::AutoScalingGroup(_) => Kind::AutoScalingGroup,
            Self::CapacityProvider(_) => Kind::CapacityProvider,
            Self::Iam(_) => Kind::Iam,
            Self::IamPart(r) => Kind::of_iam(&r.key()),
        }
    }

    /// The key within its kind; everything that names the record is in it.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Cluster(r) => r.arn.to_string(),
            Self::Family(r) => scoped(&r.scope, r.family.as_str()),
            Self::TaskDefinition(r) => r.arn.to_string(),
            Self::ContainerInstance(r) => r.arn.to_string(),
            Self::Task(r) => r.arn.to_string(),
            Self::Token(r) => token_key(&r.token.scope, &r.token.operation, &r.token.token),
            Self::Setting(r) => setting_key(&r.scope, r.setting.name, r.setting.principal.as_deref()),
            Self::Machine(r) => scoped(&r.scope, &r.id),
            Self::Activation(r) => scoped(&r.scope, &r.id),
            Self::Service(r) => r.arn.to_string(),
            Self::ServiceRevision(r) => r.arn.to_string(),
            Self::ServiceDeployment(r) => r.arn.to_string(),
            Self::ServiceEvent(r) => service_event_key(&r.service, r.sequence),
            Self::Network(r) => scoped(&r.scope, "network"),
            Self::NetworkPart(r) => scoped(r.scope(), r.key().as_str()),
            Self::Discovery(r) => scoped(&r.scope, "discovery"),
            Self::DiscoveryPart(r) => scoped(r.scope(), &r.key().to_string()),
            Self::Vault(r) => scoped(&r.scope, "vault"),
            Self::VaultPart(r) => scoped(r.scope(), &r.key().to_string()),
            Self::LaunchTemplate(r) => scoped(&r.scope, &r.id),
            Self::AutoScalingGroup(r) => scoped(&r.scope, &r.name),
            Self::CapacityProvider(r) => scoped(&r.scope, &r.name),
            Self::Iam(r) => of_account(&r.account, "iam"),
            Self::IamPart(r) => of_account(r.account(), &r.key().to_string()),
        }
    }

    /// What is written.
    pub(crate) fn encode(&self) -> String {
        let version = self.kind().version();
        match self {
            Self::Cluster(r) => envelope(version, &**r),
            Self::Family(r) => envelope(version, r),
            Self::TaskDefinition(r) => envelope(version, &**r),
            Self::ContainerInstance(r) => envelope(version, &**r),
            Self::Task(r) => envelope(version, &**r),
            Self::Token(r) => envelope(version, &**r),
            Self::Setting(r) => envelope(version, r),
            Self::Machine(r) => envelope(version, &**r),
            Self::Activation(r) => envelope(version, &**r),
            Self::Service(r) => envelope(version, &**r),
            Self::ServiceRevision(r) => envelope(version, &**r),
            Self::ServiceDeployment(r) => envelope(version, &**r),
            Self::ServiceEvent(r) => envelope(version, r),
            Self::Network(r) => envelope(version, r),
            Self::NetworkPart(r) => encode_part(version, r),
            Self::Discovery(r) => envelope(version, r),
            Self::DiscoveryPart(r) => encode_discovery(version, r),
            Self::Vault(r) => envelope(version, r),
            Self::VaultPart(r) => encode_vault(version, r),
            Self::LaunchTemplate(r) => envelope(version, &**r),
            Self::AutoScalingGroup(r) => envelope(version, &**r),
            Self::CapacityProvider(r) => envelope(version, &**r),
            Self::Iam(r) => envelope(version, r),
            Self::IamPart(r) => encode_iam(version, r),
        }
    }

    /// What was written, if it is whole, of a version we know, and stands under its own key.
    pub(crate) fn decode(kind: Kind, key: &str, value: &str) -> Result<Self, Corrupt> {
        let damaged = |why: String| Corrupt::Damaged { kind, key: key.to_owned(), why };
        let (version, data) = open(value).ok_or_else(|| damaged("it has no version".to_owned()))?;
        if version > kind.version() {
            return Err(Corrupt::Newer { kind, key: key.to_owned(), version, known: kind.version() });
        }
        if version == 0 {
            return Err(damaged("there is no version 0".to_owned()));
        }
        let record = Self::parse(kind, data).map_err(|e| damaged(e.to_string()))?;
        if record.key() == key { Ok(record) } else { Err(damaged(format!("it is that of '{}'", record.key()))) }
    }

    fn parse(kind: Kind, data: &str) -> Result<Self, serde_json::Error> {
        fn of<T: DeserializeOwned>(data: &str) -> Result<T, serde_json::Error> {
            serde_json::from_str(data)
        }
        Ok(match kind {
            Kind::Cluster => Self::Cluster(of(data)?),
            Kind::Family => Self::Family(of(data)?),
            Kind::TaskDefinition => Self::TaskDefinition(of(data)?),
            Kind::ContainerInstance => Self::ContainerInstance(of(data)?),
            Kind::Task => Self::Task(of(data)?),
            Kind::Token => Self::Token(of(data)?),
            Kind::Setting => Self::Setting(of(data)?),
            Kind::Machine => Self::Machine(of(data)?),
            Kind::Activation => Self::Activation(of(data)?),
            Kind::Service => Self::Service(of(data)?),
            Kind::ServiceRevision => Self::ServiceRevision(of(data)?),
            Kind::ServiceDeployment => Self::ServiceDeployment(of(data)?),
            Kind::ServiceEvent => Self::ServiceEvent(of(data)?),
            Kind::Network => Self::Network(of(data)?),
            Kind::Vpc => Self::NetworkPart(network::Record::Vpc(of(data)?)),
            Kind::Subnet => Self::NetworkPart(network::Record::Subnet(of(data)?)),
            Kind::RouteTable => Self::NetworkPart(network::Record::RouteTable(of(data)?)),
            Kind::InternetGateway => Self::NetworkPart(network::Record::InternetGateway(of(data)?)),
            Kind::NatGateway => Self::NetworkPart(network::Record::NatGateway(of(data)?)),
            Kind::Address => Self::NetworkPart(network::Record::Address(of(data)?)),
            Kind::SecurityGroup => Self::NetworkPart(network::Record::SecurityGroup(of(data)?)),
            Kind::NetworkInterface => Self::NetworkPart(network::Record::Interface(of(data)?)),
            Kind::Discovery => Self::Discovery(of(data)?),
            Kind::Namespace => Self::DiscoveryPart(discovery::Record::Namespace(of(data)?)),
            Kind::DiscoveryService => Self::DiscoveryPart(discovery::Record::Service(of(data)?)),
            Kind::DiscoveryInstance => Self::DiscoveryPart(discovery::Record::Instance(of(data)?)),
            Kind::DiscoveryOperation => Self::DiscoveryPart(discovery::Record::Operation(of(data)?)),
            Kind::Vault => Self::Vault(of(data)?),
            Kind::Secret => Self::VaultPart(vault::Record::Secret(of(data)?)),
            Kind::Parameter => Self::VaultPart(vault::Record::Parameter(of(data)?)),
            Kind::SealedValue => Self::VaultPart(vault::Record::Value(of(data)?)),
            Kind::LaunchTemplate => Self::LaunchTemplate(of(data)?),
            Kind::AutoScalingGroup => Self::AutoScalingGroup(of(data)?),
            Kind::CapacityProvider => Self::CapacityProvider(of(data)?),
            Kind::Iam => Self::Iam(of(data)?),
            Kind::User => Self::IamPart(iam::Record::User(of(data)?)),
            Kind::AccessKey => Self::IamPart(iam::Record::AccessKey(of(data)?)),
            Kind::Role => Self::IamPart(iam::Record::Role(of(data)?)),
            Kind::Policy => Self::IamPart(iam::Record::Policy(of(data)?)),
            Kind::InstanceProfile => Self::IamPart(iam::Record::InstanceProfile(of(data)?)),
        })
    }
}

fn encode_part(version: u32, part: &network::Record) -> String {
    match part {
        network::Record::Vpc(r) => envelope(version, &**r),
        network::Record::Subnet(r) => envelope(version, &**r),
        network::Record::RouteTable(r) => envelope(version, &**r),
        network::Record::InternetGateway(r) => envelope(version, &**r),
        network::Record::NatGateway(r) => envelope(version, &**r),
        network::Record::Address(r) => envelope(version, &**r),
        network::Record::SecurityGroup(r) => envelope(version, &**r),
        network::Record::Interface(r) => envelope(version, &**r),
    }
}

fn encode_discovery(version: u32, part: &discovery::Record) -> String {
    match part {
        discovery::Record::Namespace(r) => envelope(version, &**r),
        discovery::Record::Service(r) => envelope(version, &**r),
        discovery::Record::Instance(r) => envelope(version, &**r),
        discovery::Record::Operation(r) => envelope(version, &**r),
    }
}

fn encode_vault(version: u32, part: &vault::Record) -> String {
    match part {
        vault::Record::Secret(r) => envelope(version, &**r),
        vault::Record::Parameter(r) => envelope(version, &**r),
        vault::Record::Value(r) => envelope(version, &**r),
    }
}

fn encode_iam(version: u32, part: &iam::Record) -> String {
    match part {
        iam::Record::User(r) => envelope(version, &**r),
        iam::Record::AccessKey(r) => envelope(version, &**r),
        iam::Record::Role(r) => envelope(version, &**r),
        iam::Record::Policy(r) => envelope(version, &**r),
        iam::Record::InstanceProfile(r) => envelope(version, &**r),
    }
}

fn envelope<T: Serialize>(version: u32, data: &T) -> String {
    let data = serde_json::to_string(data).expect("the model's types have text keys and cannot fail to serialize");
    format!("{{\"v\":{version},\"d\":{data}}}")
}

/// The version and the data inside. The envelope is ours to the byte, so it is taken off as text.
fn open(value: &str) -> Option<(u32, &str)> {
    let (version, data) = value.strip_prefix("{\"v\":")?.split_once(",\"d\":")?;
    Some((version.parse().ok()?, data.strip_suffix('}')?))
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
