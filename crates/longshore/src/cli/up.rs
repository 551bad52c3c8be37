//! `up`: a cluster and its container instances, through CreateCluster and RunInstances.

use super::{Where, config, say, wait};
use anyhow::{Context, Result, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::Args;
use shapes::{ec2, ecs};
use std::time::Duration;

/// How long instances may take to register; a local one takes about a second.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// How many container instances.
    #[arg(long, default_value_t = 1)]
    size: u32,
    /// Their type.
    #[arg(long, default_value = "t2.micro")]
    instance_type: String,
    /// Zones to spread them over, two or more of them separated by commas; all of the region if not given.
    #[arg(long, value_delimiter = ',')]
    azs: Vec<String>,
    /// A key pair's name; kept and shown, nothing here uses SSH.
    #[arg(long)]
    keypair: Option<String>,
    /// Accepted for the original's sake, where it is required: there are no roles to be made.
    #[arg(long)]
    capability_iam: bool,
    /// Only the cluster, no instances.
    #[arg(long, short = 'e')]
    empty: bool,
    #[command(flatten)]
    place: Where,
}

pub(crate) async fn up(args: UpArgs, endpoint: Option<String>) -> Result<()> {
    // AWS: asked for before anything is made. Only scripts of the original know it, so it is asked for under that name only.
    if say::is_ecs_cli() && !args.empty && !args.capability_iam {
        bail!("Please acknowledge that this command may create IAM resources with the '--capability-iam' flag");
    }
    let settings = config::settings(&args.place, endpoint)?;
    let (client, cluster) = (&settings.client, settings.cluster.as_str());
    let request = ecs::CreateClusterRequest { cluster_name: Some(cluster.to_owned()), ..Default::default() };
    client.call(&request).await?;
    say::info("Created cluster", &[("cluster", cluster), ("region", &settings.region)]);
    if args.empty {
        say::out("Cluster creation succeeded.");
        return Ok(());
    }
    let before = registered(client, cluster).await?;
    let zones = if args.azs.is_empty() { zones(client).await? } else { args.azs.clone() };
    let user_data = BASE64_STANDARD.encode(format!("#!/bin/bash\necho ECS_CLUSTER={cluster} >> /etc/ecs/ecs.config\n"));
    let tag = |key: &str, value: &str| ec2::Tag { key: Some(key.to_owned()), value: Some(value.to_owned()) };
    let share = |at: usize| args.size / zones.len() as u32 + u32::from((at as u32) < args.size % zones.len() as u32);
    for (at, zone) in zones.iter().enumerate() {
        let count = i32::try_from(share(at)).context("too many instances")?;
        if count == 0 {
            continue;
        }
        let request = ec2::RunInstancesRequest {
            min_count: Some(count),
            max_count: Some(count),
            instance_type: Some(args.instance_type.clone()),
            key_name: args.keypair.clone(),
            placement: Some(ec2::Placement { availability_zone: Some(zone.clone()), ..Default::default() }),
            user_data: Some(user_data.clone()),
            tag_specifications: Some(vec![ec2::TagSpecification {
                resource_type: Some("instance".to_owned()),
                tags: Some(vec![tag("Name", &format!("ECS Instance - {cluster}"))]),
            }]),
            ..Default::default()
        };
        client.call(&request).await?;
    }
    let wanted = before + u64::from(args.size);
    wait::until("Container instances registering", wanted, PATIENCE, || registered(client, cluster)).await?;
    say::info("Container instances are ready", &[("cluster", cluster), ("count", &args.size.to_string())]);
    say::out("Cluster creation succeeded.");
    Ok(())
}

async fn zones(client: &super::Client) -> Result<Vec<String>> {
    let answer = client.call(&ec2::DescribeAvailabilityZonesRequest::default()).await?;
    let names: Vec<_> = answer.availability_zones.into_iter().flatten().filter_map(|z| z.zone_name).collect();
    if names.is_empty() { bail!("the region has no availability zones") } else { Ok(names) }
}

/// How many instances of the cluster have an agent that is connected.
pub(super) async fn registered(client: &super::Client, cluster: &str) -> Result<u64> {
    let mut count = 0;
    let mut next_token = None;
    loop {
        let request = ecs::ListContainerInstancesRequest {
            cluster: Some(cluster.to_owned()),
            filter: Some("agentConnected == true".to_owned()),
            next_token,
            ..Default::default()
        };
        let page = client.call(&request).await?;
        count += page.container_instance_arns.map_or(0, |arns| arns.len() as u64);
        next_token = page.next_token;
        if next_token.is_none() {
            return Ok(count);
        }
    }
}
