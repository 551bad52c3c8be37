//! Capacity providers: whose room a task takes, and by which shares the tasks of a strategy take it.
//!
//! Two are always there, Fargate's. All others are of Auto Scaling groups, and have a record of their own
//! ([`crate::auto_scaling_provider`]).

use crate::InvalidName;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Items of one strategy, and providers of one cluster. Source: the model's documentation.
pub const MAX_CAPACITY_PROVIDERS: usize = 20;

/// A capacity provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Arc<str>", into = "Arc<str>")]
pub enum CapacityProvider {
    /// Fargate's room, which a task keeps until it stops.
    Fargate,
    /// Fargate's spare room, which a task gives back when others need it.
    FargateSpot,
    /// The instances of an Auto Scaling group, by the provider's name in its account and region.
    AutoScaling(Arc<str>),
}

impl CapacityProvider {
    /// Those that are always there.
    pub const FARGATE: [Self; 2] = [Self::Fargate, Self::FargateSpot];

    /// The provider of that name, as it stands in a record.
    pub fn named(name: &str) -> Self {
        let fargate = Self::FARGATE.into_iter().find(|provider| provider.as_str() == name);
        fargate.unwrap_or_else(|| Self::AutoScaling(name.into()))
    }

    /// Its name; AWS's for those of Fargate.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Fargate => "FARGATE",
            Self::FargateSpot => "FARGATE_SPOT",
            Self::AutoScaling(name) => name,
        }
    }

    /// Whether its room is Fargate's.
    pub fn is_fargate(&self) -> bool {
        match self {
            Self::Fargate | Self::FargateSpot => true,
            Self::AutoScaling(_) => false,
        }
    }
}

impl From<Arc<str>> for CapacityProvider {
    fn from(name: Arc<str>) -> Self {
        Self::named(&name)
    }
}

impl From<CapacityProvider> for Arc<str> {
    fn from(provider: CapacityProvider) -> Self {
        match provider {
            CapacityProvider::AutoScaling(name) => name,
            CapacityProvider::Fargate | CapacityProvider::FargateSpot => provider.as_str().into(),
        }
    }
}

/// The name of a new provider. AWS: up to 255 letters, digits, underscores and hyphens, and none of its own beginnings.
pub fn provider_name(name: &str) -> Result<Arc<str>, InvalidName> {
    let wrong = |rule| InvalidName { kind: "capacity provider name", value: name.chars().take(300).collect(), rule };
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 255 || !name.chars().all(allowed) {
        return Err(wrong("1 to 255 letters, digits, hyphens and underscores"));
    }
    let begins = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if ["aws", "ecs", "fargate"].into_iter().any(begins) {
        return Err(wrong("it cannot begin with aws, ecs or fargate"));
    }
    Ok(name.into())
}

/// One provider's part in a strategy. Source: `CapacityProviderStrategyItem`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapacityProviderStrategyItem {
    /// Whose.
    pub provider: CapacityProvider,
    /// How many tasks are its before any is shared out.
    #[serde(default)]
    pub base: u32,
    /// Its share of all others.
    #[serde(default)]
    pub weight: u32,
}

/// By which shares tasks take the room of capacity providers. Without items, no provider is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CapacityProviderStrategy(Vec<CapacityProviderStrategyItem>);

/// Why a strategy is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCapacityStrategy {
    /// More than [`MAX_CAPACITY_PROVIDERS`].
    #[error("A capacity provider strategy can contain a maximum of 20 capacity providers.")]
    TooMany,
    /// A provider twice.
    #[error("The capacity provider strategy names the capacity provider {} more than once.", .0.as_str())]
    Twice(CapacityProvider),
    /// More than one base.
    #[error("Only one capacity provider in a capacity provider strategy can have a base defined.")]
    TwoBases,
    /// Fargate's room beside that of instances.
    #[error(
        "The specified capacity provider strategy cannot contain a mix of Fargate capacity providers and Auto Scaling group \
             capacity providers. Specify a valid capacity provider strategy and try again."
    )]
    Mixed,
}

impl CapacityProviderStrategy {
    /// The strategy of these items.
    pub fn new(items: Vec<CapacityProviderStrategyItem>) -> Result<Self, InvalidCapacityStrategy> {
        if items.len() > MAX_CAPACITY_PROVIDERS {
            return Err(InvalidCapacityStrategy::TooMany);
        }
        let twice = |(at, item): &(usize, &CapacityProviderStrategyItem)| {
            items[..*at].iter().any(|other| other.provider == item.provider)
        };
        if let Some((_, item)) = items.iter().enumerate().find(twice) {
            return Err(InvalidCapacityStrategy::Twice(item.provider.clone()));
        }
        if items.iter().filter(|item| item.base > 0).count() > 1 {
            return Err(InvalidCapacityStrategy::TwoBases);
        }
        if items.iter().any(|item| item.provider.is_fargate() != items[0].provider.is_fargate()) {
            return Err(InvalidCapacityStrategy::Mixed);
        }
        Ok(Self(items))
    }

    /// Its items, as they were given.
    pub fn items(&self) -> &[CapacityProviderStrategyItem] {
        &self.0
    }

    /// Whether it asks for no provider.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it asks for that provider.
    pub fn names(&self, provider: &CapacityProvider) -> bool {
        self.0.iter().any(|item| item.provider == *provider)
    }

    /// Whether it asks for Fargate's room.
    pub fn is_fargate(&self) -> bool {
        self.0.iter().any(|item| item.provider.is_fargate())
    }

    /// Whether it says where every task goes. AWS: of several providers, one must have a weight, for one without can take no
    /// more than its base; one that is alone needs none.
    pub fn shares_all_out(&self) -> bool {
        self.0.len() < 2 || self.0.iter().any(|item| item.weight > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(provider: CapacityProvider, base: u32, weight: u32) -> CapacityProviderStrategyItem {
        CapacityProviderStrategyItem { provider, base, weight }
    }

    #[test]
    fn a_strategy_names_a_provider_once_and_has_one_base() {
        use CapacityProvider::{Fargate, FargateSpot};
        let group = |name: &str| CapacityProvider::AutoScaling(name.into());
        for (items, want) in [
            (vec![], Ok(())),
            (vec![item(Fargate, 1, 0)], Ok(())),
            (vec![item(Fargate, 1, 1), item(FargateSpot, 0, 4)], Ok(())),
            (vec![item(Fargate, 1, 1), item(FargateSpot, 1, 4)], Err(InvalidCapacityStrategy::TwoBases)),
            (vec![item(Fargate, 0, 1), item(Fargate, 0, 1)], Err(InvalidCapacityStrategy::Twice(Fargate))),
            (vec![item(Fargate, 0, 1); 21], Err(InvalidCapacityStrategy::TooMany)),
            (vec![item(group("a"), 1, 1), item(group("b"), 0, 4)], Ok(())),
            (vec![item(group("a"), 0, 1), item(group("a"), 0, 4)], Err(InvalidCapacityStrategy::Twice(group("a")))),
            (vec![item(Fargate, 0, 1), item(group("a"), 0, 1)], Err(InvalidCapacityStrategy::Mixed)),
        ] {
            assert_eq!(CapacityProviderStrategy::new(items.clone()).map(|_| ()), want, "{items:?}");
        }
    }

    #[test]
    fn several_providers_need_a_weight() {
        use CapacityProvider::{Fargate, FargateSpot};
        let shares = |items| CapacityProviderStrategy::new(items).unwrap().shares_all_out();
        assert!(shares(vec![item(Fargate, 0, 0)]));
        assert!(shares(vec![item(Fargate, 2, 0), item(FargateSpot, 0, 1)]));
        assert!(!shares(vec![item(Fargate, 2, 0), item(FargateSpot, 0, 0)]));
    }

    #[test]
    fn names_are_aws_s_or_their_makers() {
        for provider in CapacityProvider::FARGATE {
            assert_eq!(CapacityProvider::named(provider.as_str()), provider);
        }
        assert_eq!(CapacityProvider::named("spare"), CapacityProvider::AutoScaling("spare".into()));
        for (name, right) in [
            ("spare-1_A", true),
            ("", false),
            ("a b", false),
            (&"a".repeat(255), true),
            (&"a".repeat(256), false),
            ("AWSroom", false),
            ("ecs-room", false),
            ("fargate2", false),
            ("my-fargate", true),
        ] {
            assert_eq!(provider_name(name).is_ok(), right, "{name}");
        }
    }
}
