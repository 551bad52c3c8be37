//! A cluster's preference, said by a tag (`longshore:preference=COST`), for whose room tasks take that name none.
//!
//! All tasks of a request go to one kind of room, the cheapest that holds them all now. Of Fargate's providers only those count
//! that are the cluster's own, so Spot is nobody's who did not ask for it.

use super::{awsvpc, fargate, spot, tags};
use crate::api::{
    ApiError,
    ecs::tasks::{candidates, view},
};
use model::{
    AwsvpcConfiguration, CapacityProvider, CapacityProviderStrategy, CapacityProviderStrategyItem, Cluster, LaunchType,
    Reservation, Tags, TaskDefinitionSpec, Timestamp,
    cluster::{PREFERENCE_TAG, PREFERS_COST},
};
use scheduler::{
    Constraint, PlacementRequest, Strategy,
    capacity::{Room, cheapest},
};
use shapes::ecs as aws;
use state::Snapshot;
use std::sync::Arc;

/// Takes the tags of a cluster, on which a preference that nobody honours must not be.
pub(super) fn tags_in(given: Option<Vec<aws::Tag>>) -> Result<Tags, ApiError> {
    let tags = tags::parse(given)?;
    match tags.0.get(PREFERENCE_TAG) {
        Some(other) if other != PREFERS_COST => {
            let text = format!("Longshore does not honour {PREFERENCE_TAG}={other}; the preference is {PREFERS_COST}.");
            Err(ApiError::invalid(text))
        }
        Some(_) | None => Ok(tags),
    }
}

/// Tasks that name no room.
pub(super) struct Wanted<'a> {
    pub(super) count: u32,
    pub(super) spec: &'a TaskDefinitionSpec,
    pub(super) reservation: &'a Reservation,
    pub(super) group: &'a str,
    pub(super) network: Option<&'a Arc<AwsvpcConfiguration>>,
    pub(super) platform_version: Option<&'a str>,
    /// Whether a disk of another size is asked for, which instances do not have.
    pub(super) has_storage: bool,
    /// What binds and what is wished for on instances; Fargate takes neither from a request.
    pub(super) constraints: &'a [Constraint],
    pub(super) strategy: &'a [Strategy],
    pub(super) has_rules: bool,
}

/// How those tasks are launched and by which shares they take room, where that costs least.
pub(super) fn launch(
    snapshot: &Snapshot,
    cluster: &Cluster,
    wanted: &Wanted<'_>,
    (now, seed): (Timestamp, u64),
) -> (LaunchType, CapacityProviderStrategy) {
    let is_open = |room: &Room| match room {
        Room::Instances => {
            let public = wanted.network.is_some_and(|network| network.assign_public_ip);
            wanted.platform_version.is_none() && !wanted.has_storage && !public
        }
        Room::Of(provider) => {
            let can = !wanted.has_rules && wanted.spec.check_fargate().is_ok();
            can && cluster.capacity_providers.contains(provider)
        }
    };
    let holds = |room: &Room| wanted.is_held_by(snapshot, cluster, room, (now, seed));
    match cheapest(is_open, holds) {
        Some(Room::Of(provider)) => {
            let item = CapacityProviderStrategyItem { provider, base: 0, weight: 1 };
            let alone = CapacityProviderStrategy::new(vec![item]).expect("one provider is a strategy");
            (LaunchType::Fargate, alone)
        }
        Some(Room::Instances) | None => (LaunchType::Ec2, CapacityProviderStrategy::default()),
    }
}

impl Wanted<'_> {
    /// Whether there is room for all of them.
    fn is_held_by(&self, snapshot: &Snapshot, cluster: &Cluster, room: &Room, (now, seed): (Timestamp, u64)) -> bool {
        let mut required = self.spec.requires_attributes();
        let (launch, strategy) = match room {
            Room::Instances => (LaunchType::Ec2, self.strategy.to_vec()),
            Room::Of(_) => {
                // What Fargate can not run is refused when it is asked for; it is no reason to go elsewhere.
                let version = fargate::version(self.platform_version, LaunchType::Fargate).ok().flatten();
                if let Ok(Some(platform)) = fargate::platform(LaunchType::Fargate, version, self.spec) {
                    required = fargate::required(platform, required);
                }
                (LaunchType::Fargate, fargate::strategy())
            }
        };
        let mut rows = candidates(snapshot, &cluster.arn, launch);
        if *room == Room::Of(CapacityProvider::FargateSpot) {
            rows.retain(|row| !spot::is_kept(row, now));
        }
        let views: Vec<_> = rows.iter().map(|row| view(row)).collect();
        let request = PlacementRequest {
            count: usize::try_from(self.count).unwrap_or(usize::MAX),
            reservation: self.reservation,
            required_attributes: &required,
            zones: &awsvpc::zones(snapshot, &cluster.arn.scope, self.network),
            constraints: if launch == LaunchType::Fargate { &[] } else { self.constraints },
            strategy: &strategy,
            group: self.group,
        };
        scheduler::place(&views, &request, seed).unplaced == 0
    }
}
