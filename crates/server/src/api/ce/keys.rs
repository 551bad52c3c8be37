//! What can be grouped and filtered by: dimensions and tags, and their value of one charge.
//!
//! Besides the tags of tasks and machines there are those that ECS manages on AWS (`aws:ecs:clusterName`,
//! `aws:ecs:serviceName`), and some of ours for what AWS has no word for.

use super::{ApiError, invalid, not_honoured};
use std::borrow::Cow;
use telemetry::usage::{Charge, Owner, PriceList, Resource, Usage};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    Dimension(Dimension),
    Tag(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dimension {
    Zone,
    InstanceType,
    LinkedAccount,
    PurchaseType,
    RecordType,
    Region,
    Service,
    UsageType,
}

/// AWS's names of the services on bills.
const ECS: &str = "Amazon Elastic Container Service";
const EC2: &str = "Amazon Elastic Compute Cloud - Compute";

impl Dimension {
    pub(super) fn parse(name: &str) -> Result<Self, ApiError> {
        match name {
            "AZ" => Ok(Self::Zone),
            "INSTANCE_TYPE" => Ok(Self::InstanceType),
            "LINKED_ACCOUNT" => Ok(Self::LinkedAccount),
            "PURCHASE_TYPE" => Ok(Self::PurchaseType),
            "RECORD_TYPE" => Ok(Self::RecordType),
            "REGION" => Ok(Self::Region),
            "SERVICE" => Ok(Self::Service),
            "USAGE_TYPE" => Ok(Self::UsageType),
            other => Err(not_honoured(&format!("the dimension {other}"))),
        }
    }

    fn value<'a>(self, usage: &'a Usage, charge: &Charge) -> Cow<'a, str> {
        let owner = &usage.owner;
        match self {
            Self::Zone => owner.zone.as_deref().unwrap_or("NoAZ").into(),
            Self::InstanceType => match &usage.what {
                Resource::Instance { instance_type } => instance_type.as_deref().unwrap_or("unknown").into(),
                Resource::Fargate { .. } | Resource::OnInstance { .. } | Resource::External => "NoInstanceType".into(),
            },
            Self::LinkedAccount => owner.scope.account.as_str().into(),
            Self::PurchaseType => match &usage.what {
                Resource::Fargate { spot: true, .. } => "Spot Instances".into(),
                Resource::Fargate { .. }
                | Resource::OnInstance { .. }
                | Resource::Instance { .. }
                | Resource::External => "On Demand Instances".into(),
            },
            Self::RecordType => "Usage".into(),
            Self::Region => owner.scope.region.as_str().into(),
            Self::Service => match &usage.what {
                Resource::Instance { .. } => EC2.into(),
                Resource::Fargate { .. } | Resource::OnInstance { .. } | Resource::External => ECS.into(),
            },
            Self::UsageType => PriceList::on_bill(owner.scope.region.as_str(), &charge.usage_type).into(),
        }
    }
}

impl Key {
    pub(super) fn parse(kind: &str, key: &str) -> Result<Self, ApiError> {
        match (kind, key) {
            (_, "") => Err(invalid("GroupBy needs a Type and a Key.")),
            ("DIMENSION", key) => Dimension::parse(key).map(Self::Dimension),
            ("TAG", key) => Ok(Self::Tag(key.to_owned())),
            (other, _) => Err(not_honoured(&format!("grouping by {other}"))),
        }
    }

    /// Whether it tells the charges of one usage apart.
    pub(super) fn is_of_charges(&self) -> bool {
        *self == Self::Dimension(Dimension::UsageType)
    }

    /// Its value of a charge, if there is one. Every charge has every dimension.
    pub(super) fn value<'a>(&self, usage: &'a Usage, charge: &Charge) -> Option<Cow<'a, str>> {
        match self {
            Self::Dimension(dimension) => Some(dimension.value(usage, charge)),
            Self::Tag(key) => tag(usage, key),
        }
    }

    /// As it stands among a group's keys. AWS: a tag's with its key, and with nothing behind that if it is absent.
    pub(super) fn label(&self, usage: &Usage, charge: &Charge) -> String {
        let value = self.value(usage, charge).unwrap_or_default();
        match self {
            Self::Dimension(_) => value.into_owned(),
            Self::Tag(key) => format!("{key}${value}"),
        }
    }
}

fn tag<'a>(usage: &'a Usage, key: &str) -> Option<Cow<'a, str>> {
    let owner = &usage.owner;
    match key {
        "aws:ecs:clusterName" => Some(owner.cluster.as_str().into()),
        "aws:ecs:serviceName" => owner.service.as_ref().map(|service| service.as_str().into()),
        "longshore:family" => owner.family.as_ref().map(|family| family.as_str().into()),
        "longshore:instance" => usage.instance().map(Into::into),
        "longshore:workload" => workload(owner),
        "longshore:capacityProvider" => owner.capacity_provider.as_deref().map(Into::into),
        "longshore:launchType" => Some(launch_type(&usage.what).into()),
        key => owner.tags.0.get(key).map(|value| value.as_str().into()),
    }
}

/// What tasks that do the same have in common: their cluster, with their service or, where they have none, their family.
fn workload(owner: &Owner) -> Option<Cow<'_, str>> {
    let (kind, name) = match (&owner.service, &owner.family) {
        (Some(service), _) => ("service", service.as_str()),
        (None, Some(family)) => ("family", family.as_str()),
        (None, None) => return None,
    };
    Some(format!("{}/{kind}/{name}", owner.cluster).into())
}

/// Instances are what the launch type EC2 costs, whose tasks cost nothing besides.
fn launch_type(what: &Resource) -> &'static str {
    match what {
        Resource::Fargate { .. } => "FARGATE",
        Resource::OnInstance { external: false, .. } | Resource::Instance { .. } => "EC2",
        Resource::OnInstance { external: true, .. } | Resource::External => "EXTERNAL",
    }
}
