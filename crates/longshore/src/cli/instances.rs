//! The instances that `up` makes, `scale` counts and `down` ends. They are known by the name of their stack, which is a tag
//! on them: what the original keeps in CloudFormation is read from the instances themselves.

use super::{cluster, config::Settings, wait};
use anyhow::{Context, Result, bail};
use shapes::{ec2, ecs};
use std::{collections::BTreeSet, time::Duration};

/// How long instances may take to register or to go; a local one takes about a second.
const PATIENCE: Duration = Duration::from_secs(120);
/// Instances of one RunInstances, fewer than any EC2 would refuse.
const RUN_BATCH: usize = 100;
/// The tag that says where `up` was told to put instances, for `scale`: zones or subnets with spaces between them.
pub(super) const PLACES_TAG: &str = "longshore:places";
/// The tag that says that `up` was given more user data, which EC2 does not show again.
pub(super) const USER_DATA_TAG: &str = "longshore:extra-user-data";

/// What is known of instances to be made.
#[derive(Debug, Clone, Default)]
pub(super) struct Launch {
    /// All but count and place.
    pub(super) template: ec2::RunInstancesRequest,
    /// Zones or subnets to spread over; the server's choice if there are none.
    pub(super) places: Vec<String>,
    /// What people tag them with; the container instances get them too.
    pub(super) tags: Vec<ec2::Tag>,
}

/// The `Name` of a stack's instances. Source: the original's template.
pub(super) fn name(stack: &str) -> String {
    format!("ECS Instance - {stack}")
}

/// All of a stack's instances that EC2 still shows.
pub(super) async fn of_stack(settings: &Settings) -> Result<Vec<ec2::Instance>> {
    let filter = ec2::Filter { name: Some("tag:Name".to_owned()), values: Some(vec![name(&settings.stack)]) };
    let mut all = Vec::new();
    let mut next_token = None;
    loop {
        let request =
            ec2::DescribeInstancesRequest { filters: Some(vec![filter.clone()]), next_token, ..Default::default() };
        let page = settings.client.call(&request).await?;
        all.extend(page.reservations.into_iter().flatten().flat_map(|r| r.instances.unwrap_or_default()));
        next_token = page.next_token;
        if next_token.is_none() {
            return Ok(all);
        }
    }
}

pub(super) fn state(instance: &ec2::Instance) -> &str {
    instance.state.as_ref().and_then(|state| state.name.as_deref()).unwrap_or_default()
}

/// Whether it runs or can run again.
pub(super) fn is_alive(instance: &ec2::Instance) -> bool {
    !matches!(state(instance), "shutting-down" | "terminated")
}

pub(super) fn tag<'a>(instance: &'a ec2::Instance, key: &str) -> Option<&'a str> {
    let tag = instance.tags.iter().flatten().find(|tag| tag.key.as_deref() == Some(key))?;
    tag.value.as_deref()
}

/// Makes so many, waits until they have registered and answers them. If not all can be made, none is kept.
pub(super) async fn launch(settings: &Settings, launch: &Launch, count: usize) -> Result<Vec<ecs::ContainerInstance>> {
    let mut made = Vec::new();
    if let Err(error) = make(settings, launch, count, &mut made).await {
        if !made.is_empty() {
            terminate(settings, &made).await.with_context(|| {
                format!("{error:#}; and what was made could not be ended again: {}", made.join(", "))
            })?;
        }
        return Err(error);
    }
    wait::instances(&settings.client, &settings.cluster, &made, PATIENCE)
        .await
        .with_context(|| format!("not all of {} have registered; the server's log says why", made.join(", ")))?;
    let connected =
        cluster::container_instances(&settings.client, &settings.cluster, Some("agentConnected == true")).await?;
    let is_ours = |i: &ecs::ContainerInstance| i.ec2_instance_id.as_ref().is_some_and(|id| made.contains(id));
    let ours: Vec<_> = connected.into_iter().filter(is_ours).collect();
    if !launch.tags.is_empty() {
        for arn in ours.iter().filter_map(|instance| instance.container_instance_arn.clone()) {
            let pairs = launch.tags.iter().cloned();
            let tags = pairs.map(|tag| ecs::Tag { key: tag.key, value: tag.value }).collect();
            settings.client.call(&ecs::TagResourceRequest { resource_arn: Some(arn), tags: Some(tags) }).await?;
        }
    }
    Ok(ours)
}

async fn make(settings: &Settings, launch: &Launch, count: usize, made: &mut Vec<String>) -> Result<()> {
    let shares = shares(count, launch.places.len());
    for (at, share) in shares.into_iter().enumerate() {
        let mut left = share;
        while left > 0 {
            let batch = left.min(RUN_BATCH);
            let mut request = launch.template.clone();
            request.min_count = i32::try_from(batch).ok();
            request.max_count = request.min_count;
            match launch.places.get(at) {
                Some(subnet) if subnet.starts_with("subnet-") => request.subnet_id = Some(subnet.clone()),
                Some(zone) => {
                    let availability_zone = Some(zone.clone());
                    request.placement = Some(ec2::Placement { availability_zone, ..Default::default() });
                }
                None => {}
            }
            let reservation = settings.client.call(&request).await?;
            made.extend(reservation.instances.into_iter().flatten().filter_map(|i| i.instance_id));
            left -= batch;
        }
    }
    Ok(())
}

/// How many each place gets; one share if there is no place.
fn shares(count: usize, places: usize) -> Vec<usize> {
    let places = places.max(1);
    (0..places).map(|at| count / places + usize::from(at < count % places)).collect()
}

/// Ends instances and waits until they are gone.
pub(super) async fn terminate(settings: &Settings, ids: &[String]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let request = ec2::TerminateInstancesRequest { instance_ids: Some(ids.to_vec()), ..Default::default() };
    settings.client.call(&request).await?;
    wait::terminated(&settings.client, ids, PATIENCE).await
}

/// How more instances like this one are made.
pub(super) fn like(settings: &Settings, instance: &ec2::Instance) -> Result<Launch> {
    if tag(instance, USER_DATA_TAG).is_some() {
        bail!(
            "The cluster's instances were made with --extra-user-data, which EC2 does not show again. Use `up --force` with \
             the new --size"
        );
    }
    let own = |tag: &ec2::Tag| tag.key.as_deref().is_some_and(|key| matches!(key, "Name" | PLACES_TAG | USER_DATA_TAG));
    let places = tag(instance, PLACES_TAG).map(|places| places.split(' ').map(str::to_owned).collect());
    let tokens = instance.metadata_options.as_ref().and_then(|options| options.http_tokens.as_deref());
    Ok(Launch {
        template: ec2::RunInstancesRequest {
            instance_type: instance.instance_type.clone(),
            metadata_options: tokens.filter(|tokens| *tokens == "required").map(metadata_options),
            image_id: instance.image_id.clone(),
            key_name: instance.key_name.clone(),
            user_data: Some(super::user_data::encode(&settings.cluster, &[])?),
            tag_specifications: Some(vec![ec2::TagSpecification {
                resource_type: Some("instance".to_owned()),
                tags: instance.tags.clone(),
            }]),
            ..Default::default()
        },
        places: places.unwrap_or_default(),
        tags: instance.tags.iter().flatten().filter(|tag| !own(tag)).cloned().collect(),
    })
}

/// Whether the metadata service needs a token: `required` or `optional`.
pub(super) fn metadata_options(tokens: &str) -> ec2::InstanceMetadataOptionsRequest {
    ec2::InstanceMetadataOptionsRequest { http_tokens: Some(tokens.to_owned()), ..Default::default() }
}

/// An instance that may have to go.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) zone: String,
    pub(super) tasks: i32,
    /// When it was launched, in milliseconds.
    pub(super) launched: i64,
}

/// Which ones go: of the fullest zone the one with the fewest tasks, and of those the newest; then again.
pub(super) fn surplus(mut members: Vec<Member>, count: usize) -> Vec<String> {
    let mut gone = BTreeSet::new();
    for _ in 0..count {
        let in_zone = |zone: &str| members.iter().filter(|m| m.zone == zone).count();
        let worst = members.iter().max_by_key(|m| (in_zone(&m.zone), -m.tasks, m.launched, m.id.clone()));
        let Some(worst) = worst.map(|m| m.id.clone()) else { break };
        members.retain(|m| m.id != worst);
        gone.insert(worst);
    }
    gone.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_stay_even_and_idle_instances_go_first() {
        let member = |id: &str, zone: &str, tasks, launched| Member {
            id: id.to_owned(),
            zone: zone.to_owned(),
            tasks,
            launched,
        };
        let all =
            || vec![member("a1", "a", 0, 1), member("a2", "a", 3, 2), member("a3", "a", 1, 3), member("b1", "b", 0, 4)];
        assert_eq!(surplus(all(), 1), ["a1"], "the fullest zone, the idlest instance");
        assert_eq!(surplus(all(), 2), ["a1", "a3"]);
        assert_eq!(surplus(all(), 3), ["a1", "a3", "b1"], "then the idle one of two zones with one each");
        assert_eq!(surplus(all(), 9).len(), 4);
        let same = vec![member("old", "a", 0, 1), member("new", "a", 0, 2)];
        assert_eq!(surplus(same, 1), ["new"]);
    }

    #[test]
    fn counts_are_spread_over_places() {
        for (count, places, wanted) in [(5, 2, vec![3, 2]), (1, 3, vec![1, 0, 0]), (4, 0, vec![4]), (0, 2, vec![0, 0])]
        {
            assert_eq!(shares(count, places), wanted);
        }
    }
}
