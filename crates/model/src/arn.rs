//! Typed ARNs: parsed at the door, so that inside no text has to be taken apart again.
//!
//! Source of the forms: the ECS developer guide and the CLI's examples. Only the long format is made; the short
//! legacy forms of tasks and instances never existed on a Longshore server.

use crate::names::{
    AccountId, ClusterName, ContainerInstanceId, Family, InvalidName, Region, ServiceDeploymentId, ServiceName, TaskId,
};
use serde::{Deserialize, Serialize};
use std::{fmt, marker::PhantomData, str::FromStr, sync::Arc};

/// One account in one region: the space in which names are unique.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// The owning account.
    pub account: AccountId,
    /// The region.
    pub region: Region,
}

impl Scope {
    fn ecs(&self) -> String {
        format!("arn:aws:ecs:{}:{}:", self.region, self.account)
    }
}

/// Why a text is not the ARN that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArnError {
    /// It is not an ECS ARN of this kind at all.
    #[error("'{0}' is not an ARN of the expected kind")]
    Form(String),
    /// One of its parts breaks its own rule.
    #[error(transparent)]
    Part(#[from] InvalidName),
}

/// `arn:aws:ecs:region:account:rest`, taken apart. The partition is not looked at.
fn split(text: &str) -> Result<(Scope, &str), ArnError> {
    let form = || ArnError::Form(text.chars().take(512).collect());
    let mut parts = text.splitn(6, ':');
    let (arn, _partition, service) = (parts.next(), parts.next(), parts.next());
    if arn != Some("arn") || service != Some("ecs") {
        return Err(form());
    }
    let region = Region::parse(parts.next().ok_or_else(form)?)?;
    let account = AccountId::parse(parts.next().ok_or_else(form)?)?;
    Ok((Scope { account, region }, parts.next().ok_or_else(form)?))
}

/// The part of an ARN's text behind `kind/`, with its scope.
fn expect<'a>(text: &'a str, kind: &str) -> Result<(Scope, &'a str), ArnError> {
    let (scope, rest) = split(text)?;
    let rest = rest.strip_prefix(kind).and_then(|r| r.strip_prefix('/'));
    Ok((scope, rest.ok_or_else(|| ArnError::Form(text.chars().take(512).collect()))?))
}

/// Reads what is written as text from the text where it stands, without a copy of it.
struct Text<T>(PhantomData<T>);

impl<T: FromStr<Err = ArnError>> serde::de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an ARN")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! text_form {
    ($($type:ty),*) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                d.deserialize_str(Text(PhantomData))
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    )*};
}
text_form!(
    ClusterArn,
    TaskArn,
    ContainerInstanceArn,
    ContainerArn,
    TaskDefinitionArn,
    ServiceArn,
    ServiceRevisionArn,
    ServiceDeploymentArn,
    TaskSetArn,
    DeploymentId
);

/// `cluster/{name}`
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterArn {
    /// Account and region.
    pub scope: Scope,
    /// The cluster's name.
    pub name: ClusterName,
}
impl fmt::Display for ClusterArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}cluster/{}", self.scope.ecs(), self.name)
    }
}
impl FromStr for ClusterArn {
    type Err = ArnError;
    fn from_str(text: &str) -> Result<Self, ArnError> {
        let (scope, name) = expect(text, "cluster")?;
        Ok(Self { scope, name: ClusterName::parse(name)? })
    }
}

macro_rules! in_cluster {
    ($(#[$doc:meta])* $type:ident, $id:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type {
            /// The cluster it lives in.
            pub cluster: ClusterArn,
            /// Its id within the cluster.
            pub id: $id,
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{}", $kind, "/{}/{}"), self.cluster.scope.ecs(), self.cluster.name, self.id)
            }
        }
        impl FromStr for $type {
            type Err = ArnError;
            fn from_str(text: &str) -> Result<Self, ArnError> {
                let (scope, rest) = expect(text, $kind)?;
                let (cluster, id) = rest.split_once('/').ok_or_else(|| ArnError::Form(text.to_owned()))?;
                let cluster = ClusterArn { scope, name: ClusterName::parse(cluster)? };
                Ok(Self { cluster, id: $id::parse(id)? })
            }
        }
    };
}
in_cluster!(
    /// `task/{cluster}/{id}`
    TaskArn, TaskId, "task"
);
in_cluster!(
    /// `container-instance/{cluster}/{id}`
    ContainerInstanceArn, ContainerInstanceId, "container-instance"
);

/// `container/{cluster}/{task id}/{uuid}`
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerArn {
    /// The task it belongs to.
    pub task: TaskArn,
    /// A version 4 UUID with hyphens.
    pub id: Arc<str>,
}
impl fmt::Display for ContainerArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cluster = &self.task.cluster;
        write!(f, "{}container/{}/{}/{}", cluster.scope.ecs(), cluster.name, self.task.id, self.id)
    }
}
impl FromStr for ContainerArn {
    type Err = ArnError;
    fn from_str(text: &str) -> Result<Self, ArnError> {
        let (scope, rest) = expect(text, "container")?;
        let mut parts = rest.splitn(3, '/');
        let (Some(cluster), Some(task), Some(id)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ArnError::Form(text.to_owned()));
        };
        let cluster = ClusterArn { scope, name: ClusterName::parse(cluster)? };
        Ok(Self { task: TaskArn { cluster, id: TaskId::parse(task)? }, id: id.into() })
    }
}

/// `task-definition/{family}:{revision}`
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskDefinitionArn {
    /// Account and region.
    pub scope: Scope,
    /// The family.
    pub family: Family,
    /// Counted from 1 within the family; never used twice.
    pub revision: u32,
}
impl fmt::Display for TaskDefinitionArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}task-definition/{}:{}", self.scope.ecs(), self.family, self.revision)
    }
}
impl FromStr for TaskDefinitionArn {
    type Err = ArnError;
    fn from_str(text: &str) -> Result<Self, ArnError> {
        let (scope, rest) = expect(text, "task-definition")?;
        let form = || ArnError::Form(text.to_owned());
        let (family, revision) = rest.split_once(':').ok_or_else(form)?;
        let revision = revision.parse().ok().filter(|r| *r > 0).ok_or_else(form)?;
        Ok(Self { scope, family: Family::parse(family)?, revision })
    }
}

/// `service/{cluster}/{name}`
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceArn {
    /// The cluster it lives in.
    pub cluster: ClusterArn,
    /// Its name within the cluster.
    pub name: ServiceName,
}
impl ServiceArn {
    /// The group of its tasks.
    pub fn group(&self) -> Arc<str> {
        format!("{SERVICE_GROUP}{}", self.name).into()
    }
    /// The service whose tasks are of that group in a cluster.
    pub fn of_group(cluster: &ClusterArn, group: &str) -> Option<Self> {
        let name = ServiceName::parse(group.strip_prefix(SERVICE_GROUP)?).ok()?;
        Some(Self { cluster: cluster.clone(), name })
    }
    fn in_cluster(scope: Scope, cluster: &str, name: &str) -> Result<Self, ArnError> {
        let cluster = ClusterArn { scope, name: ClusterName::parse(cluster)? };
        Ok(Self { cluster, name: ServiceName::parse(name)? })
    }
    fn of_kind(&self, kind: &str) -> String {
        format!("{}{kind}/{}/{}", self.cluster.scope.ecs(), self.cluster.name, self.name)
    }
}
/// What groups of services' tasks begin with; no other task may carry one.
const SERVICE_GROUP: &str = "service:";

impl fmt::Display for ServiceArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.of_kind("service"))
    }
}
impl FromStr for ServiceArn {
    type Err = ArnError;
    fn from_str(text: &str) -> Result<Self, ArnError> {
        let (scope, rest) = expect(text, "service")?;
        let (cluster, name) = rest.split_once('/').ok_or_else(|| ArnError::Form(text.to_owned()))?;
        Self::in_cluster(scope, cluster, name)
    }
}

/// `ecs-svc/{19 digits}`: a deployment of a service. Its revision has the same number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeploymentId(u64);

impl DeploymentId {
    const FIRST: u64 = 1_000_000_000_000_000_000;

    /// Any number, brought into the range of those with 19 digits.
    pub fn of(random: u64) -> Self {
        Self(Self::FIRST + random % (8 * Self::FIRST))
    }
    /// The 19 digits.
    pub fn number(self) -> u64 {
        self.0
    }
    fn digits(text: &str) -> Option<Self> {
        let number = text.parse().ok().filter(|_| text.len() == 19 && text.bytes().all(|b| b.is_ascii_digit()))?;
        Some(Self(number))
    }
}
impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ecs-svc/{}", self.0)
    }
}
impl FromStr for DeploymentId {
    type Err = ArnError;
    fn from_str(text: &str) -> Result<Self, ArnError> {
        let digits = text.strip_prefix("ecs-svc/").and_then(Self::digits);
        digits.ok_or_else(|| ArnError::Form(text.chars().take(512).collect()))
    }
}

/// `service-revision/{cluster}/{service}/{19 digits}`
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceRevisionArn {
    /// Whose.
    pub service: ServiceArn,
    /// Its number.
    pub id: DeploymentId,
}
impl fmt::Display for ServiceRevisionArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service.of_kind("service-revision"), self.id.0)
    }
}
impl FromStr for ServiceRevisionArn {
    type Err = ArnError;
    fn from_str(text: &str) -> Result<Self, ArnError> {
        let (service, id) = of_service(text, "service-revision")?;
        let id = DeploymentId::digits(id).ok_or_else(|| ArnError::Form(text.to_owned()))?;
        Ok(Self { service, id })
    }
}

/// `service-deployment/{cluster}/{service}/{21 letters and digits}`
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceDeploymentArn {
    /// Whose.
    pub service: ServiceArn,
    /// Its id.
    pub id: ServiceDeploymentId,
}
impl fmt::Display for ServiceDeploymentArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service.of_kind("service-deployment"), self.id)
    }
}
impl FromStr for ServiceDeploymentArn {
    type Err = ArnError;
    fn from_str(text: &str) -> Result<Self, ArnError> {
        let (service, id) = of_service(text, "service-deployment")?;
        Ok(Self { service, id: ServiceDeploymentId::parse(id)? })
    }
}

/// `task-set/{cluster}/{service}/ecs-svc/{19 digits}`
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskSetArn {
    /// Whose.
    pub service: ServiceArn,
    /// Its id.
    pub id: DeploymentId,
}
impl fmt::Display for TaskSetArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service.of_kind("task-set"), self.id)
    }
}
impl FromStr for TaskSetArn {
    type Err = ArnError;
    fn from_str(text: &str) -> Result<Self, ArnError> {
        let (service, id) = of_service(text, "task-set")?;
        Ok(Self { service, id: id.parse()? })
    }
}

fn of_service<'a>(text: &'a str, kind: &str) -> Result<(ServiceArn, &'a str), ArnError> {
    let (scope, rest) = expect(text, kind)?;
    let mut parts = rest.splitn(3, '/');
    let (Some(cluster), Some(service), Some(id)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(ArnError::Form(text.chars().take(512).collect()));
    };
    Ok((ServiceArn::in_cluster(scope, cluster, service)?, id))
}
