//! Typed ARNs: parsed at the door, so that inside no text has to be taken apart again.
//!
//! Source of the forms: the ECS developer guide and the CLI's examples. Only the long format is made; the short
//! legacy forms of tasks and instances never existed on a Longshore server.

use crate::names::{AccountId, ClusterName, ContainerInstanceId, Family, InvalidName, Region, TaskId};
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
text_form!(ClusterArn, TaskArn, ContainerInstanceArn, ContainerArn, TaskDefinitionArn);

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
