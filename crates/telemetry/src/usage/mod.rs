//! What was used and what it costs: intervals in, sums out. Pure, but for [`Ledger`], which keeps the intervals that are over.
//!
//! A [`Usage`] is one thing (a task, an instance) over one stretch of time, with a key that names both, so that whoever tells of
//! it twice tells nothing new. Nothing here has a fraction: time is counted in whole seconds, sizes in 1,024ths, prices in
//! picodollars, and cost in [`Atoms`], so that sums over any grouping and any split of the time are the same to the last digit.
//! Deliberately absent: what reads the state (`server::usage`), and calendars, which belong to whoever asks.

mod charge;
mod ledger;
mod money;
mod price;
mod sum;

pub use charge::{Charge, Unit};
pub use ledger::{Keys, Ledger, LedgerError, Read, read};
pub use money::{Atoms, Price, quantity_text};
pub use price::{BadPrices, PriceList};
pub use sum::{Sums, Total, Window, seconds_in};

use model::{ClusterName, Family, Measured, Scope, ServiceName, Tags, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The shortest time that is billed of what has a minimum. AWS: one minute, of Linux tasks on Fargate and Linux instances.
pub const MINIMUM_SECONDS: u64 = 60;

/// One thing that was used, from when to when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The thing's ARN or id, with what tells one of its stretches from the others. What has the same key is the same.
    pub key: Arc<str>,
    /// The beginning.
    pub from: Timestamp,
    /// The end; of what goes on, the moment of asking.
    pub to: Timestamp,
    /// Whether that was the end.
    #[serde(skip, default = "over")]
    pub over: bool,
    /// What was used.
    pub what: Resource,
    /// What a task really used, where its instance told in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
    /// Whose it was.
    pub owner: Owner,
}

fn over() -> bool {
    true
}

/// What was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Resource {
    /// A task on Fargate, which pays for what it asks for.
    Fargate {
        /// 1,024ths of a vCPU.
        cpu: u32,
        /// MiB.
        memory: u32,
        /// GiB of ephemeral storage above those that are free.
        #[serde(default)]
        storage: u32,
        /// Whether it runs on ARM.
        #[serde(default)]
        arm: bool,
        /// Whether it can be interrupted.
        #[serde(default)]
        spot: bool,
    },
    /// A task on a container instance. AWS: it costs nothing besides the instance, and is listed all the same.
    OnInstance {
        /// 1,024ths of a vCPU that it holds.
        cpu: u32,
        /// MiB that it holds.
        memory: u32,
        /// Whether its launch type is EXTERNAL.
        #[serde(default)]
        external: bool,
        /// The instance, by the name that [`Usage::instance`] has for it. What was written before there was this has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on: Option<Arc<str>>,
    },
    /// A machine, used or not.
    Instance {
        /// Its instance type, if it has one.
        #[serde(default, rename = "type")]
        instance_type: Option<Arc<str>>,
    },
    /// An attached machine that is of no instance type.
    External,
}

/// Whose a usage is: what reports can be made by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Account and region.
    pub scope: Scope,
    /// The cluster.
    pub cluster: ClusterName,
    /// The availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
    /// The service, of its tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// The family, of tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// The capacity provider, of tasks that were placed by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_provider: Option<Arc<str>>,
    /// Tags.
    #[serde(default, skip_serializing_if = "no_tags")]
    pub tags: Tags,
}

fn no_tags(tags: &Tags) -> bool {
    tags.0.is_empty()
}

impl Resource {
    /// The shortest time that is billed of it, once it is over.
    fn minimum_seconds(&self) -> u64 {
        match self {
            Self::Fargate { .. } | Self::Instance { .. } => MINIMUM_SECONDS,
            Self::OnInstance { .. } | Self::External => 0,
        }
    }
}

impl Usage {
    /// The instance that this is, or that it was on: a local machine's id, else a container instance's.
    pub fn instance(&self) -> Option<&str> {
        match &self.what {
            Resource::Fargate { .. } => None,
            Resource::OnInstance { on, .. } => on.as_deref(),
            // A machine's key goes on with the beginning of its run.
            Resource::Instance { .. } | Resource::External => {
                self.key.rsplit('/').next().and_then(|name| name.split('@').next())
            }
        }
    }

    /// How many seconds are billed. AWS: those that were begun count whole.
    pub fn seconds(&self) -> u64 {
        let millis = u64::try_from(self.to.millis_since(self.from)).unwrap_or(0);
        let minimum = if self.over { self.what.minimum_seconds() } else { 0 };
        millis.div_ceil(1_000).max(minimum)
    }

    /// The end of the last second that is billed.
    pub fn billed_until(&self) -> Timestamp {
        let millis = i64::try_from(self.seconds().saturating_mul(1_000)).unwrap_or(i64::MAX);
        self.from.plus_millis(millis)
    }
}

#[cfg(test)]
mod tests;
