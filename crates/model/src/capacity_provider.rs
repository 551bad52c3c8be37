//! Capacity providers: whose room a task takes, and by which shares the tasks of a strategy take it.
//!
//! There are two, and they are always there. Those of Auto Scaling groups would need Auto Scaling, which is not served.

use serde::{Deserialize, Serialize};

/// Items of one strategy, and providers of one cluster. Source: the model's documentation.
pub const MAX_CAPACITY_PROVIDERS: usize = 20;

/// A capacity provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CapacityProvider {
    /// Fargate's room, which a task keeps until it stops.
    #[serde(rename = "FARGATE")]
    Fargate,
    /// Fargate's spare room, which a task gives back when others need it.
    #[serde(rename = "FARGATE_SPOT")]
    FargateSpot,
}

impl CapacityProvider {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Fargate, Self::FargateSpot];

    /// The provider of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.as_str() == name)
    }

    /// AWS's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fargate => "FARGATE",
            Self::FargateSpot => "FARGATE_SPOT",
        }
    }
}

/// One provider's part in a strategy. Source: `CapacityProviderStrategyItem`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
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
            return Err(InvalidCapacityStrategy::Twice(item.provider));
        }
        if items.iter().filter(|item| item.base > 0).count() > 1 {
            return Err(InvalidCapacityStrategy::TwoBases);
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
    pub fn names(&self, provider: CapacityProvider) -> bool {
        self.0.iter().any(|item| item.provider == provider)
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
        for (items, want) in [
            (vec![], Ok(())),
            (vec![item(Fargate, 1, 0)], Ok(())),
            (vec![item(Fargate, 1, 1), item(FargateSpot, 0, 4)], Ok(())),
            (vec![item(Fargate, 1, 1), item(FargateSpot, 1, 4)], Err(InvalidCapacityStrategy::TwoBases)),
            (vec![item(Fargate, 0, 1), item(Fargate, 0, 1)], Err(InvalidCapacityStrategy::Twice(Fargate))),
            (vec![item(Fargate, 0, 1); 21], Err(InvalidCapacityStrategy::TooMany)),
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
    fn names_are_aws_s() {
        for provider in CapacityProvider::ALL {
            assert_eq!(CapacityProvider::parse(provider.as_str()), Some(provider));
        }
        assert_eq!(CapacityProvider::parse("fargate"), None);
    }
}
