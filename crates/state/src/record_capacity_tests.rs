//! The stored forms that capacity providers and Spot have added.

use super::{cluster, instance, service, service_revision};
use crate::record::Record;
use model::{
    CapacityProvider, CapacityProviderStrategy, CapacityProviderStrategyItem, LaunchType, RevisionSpec, Timestamp,
};

/// One for sure on FARGATE, of the others four of five on FARGATE_SPOT.
fn shares() -> CapacityProviderStrategy {
    let item = |provider, base, weight| CapacityProviderStrategyItem { provider, base, weight };
    let items = vec![item(CapacityProvider::Fargate, 1, 1), item(CapacityProvider::FargateSpot, 0, 4)];
    CapacityProviderStrategy::new(items).unwrap()
}

pub(super) fn shared_cluster() -> Record {
    let Record::Cluster(mut cluster) = cluster() else { unreachable!() };
    let known = std::sync::Arc::make_mut(&mut cluster);
    known.capacity_providers = CapacityProvider::ALL.into();
    known.default_capacity_provider_strategy = shares();
    Record::Cluster(cluster)
}

pub(super) fn shared_revision() -> Record {
    let Record::ServiceRevision(mut revision) = service_revision() else { unreachable!() };
    let own = std::sync::Arc::make_mut(&mut revision);
    let spec = RevisionSpec { capacity_provider_strategy: shares(), ..RevisionSpec::clone(&own.spec) };
    own.spec = RevisionSpec { launch_type: LaunchType::Fargate, ..spec }.into();
    Record::ServiceRevision(revision)
}

pub(super) fn reclaimed_instance() -> Record {
    let Record::ContainerInstance(mut instance) = instance() else { unreachable!() };
    std::sync::Arc::make_mut(&mut instance).reclaimed_at = Some(Timestamp(7));
    Record::ContainerInstance(instance)
}

pub(super) fn shared_service() -> Record {
    let Record::Service(mut service) = service() else { unreachable!() };
    std::sync::Arc::make_mut(&mut service).launch_type_before = Some(LaunchType::Ec2);
    Record::Service(service)
}
