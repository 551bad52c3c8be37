//! `down`: ends a cluster's tasks and local instances and deletes the cluster.

use super::{Client, Where, config, say, wait};
use anyhow::{Result, bail};
use clap::Args;
use shapes::{ec2, ecs};
use std::{io::Write, time::Duration};

/// How long instances may take to go.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    /// Do not ask first.
    #[arg(long, short = 'f')]
    force: bool,
    #[command(flatten)]
    place: Where,
}

fn confirmed(cluster: &str) -> Result<bool> {
    print!("Are you sure you want to delete cluster {cluster} with its instances and tasks? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

pub(crate) async fn down(args: DownArgs, endpoint: Option<String>) -> Result<()> {
    let settings = config::settings(&args.place, endpoint)?;
    let (client, cluster) = (&settings.client, settings.cluster.as_str());
    if !args.force && !confirmed(cluster)? {
        bail!(
            "Aborted cluster deletion. To delete your cluster, re-run this command and specify the '--force' flag or confirm that you'd like to delete your cluster at the prompt."
        );
    }
    let clusters = ecs::DescribeClustersRequest { clusters: Some(vec![cluster.to_owned()]), ..Default::default() };
    let known = client.call(&clusters).await?.clusters.into_iter().flatten().next();
    if known.and_then(|c| c.status).as_deref() != Some("ACTIVE") {
        bail!("Cluster {cluster} is not active. Please make sure it exists and is active");
    }
    let instances = instances(client, cluster).await?;
    let machines: Vec<_> =
        instances.iter().filter_map(|i| i.ec2_instance_id.clone()).filter(|id| id.starts_with("i-")).collect();
    if !machines.is_empty() {
        client
            .call(&ec2::TerminateInstancesRequest { instance_ids: Some(machines.clone()), ..Default::default() })
            .await?;
        let all = machines.len() as u64;
        wait::until("Container instances terminating", all, PATIENCE, || async {
            Ok(all.saturating_sub(still_there(client, &machines).await?))
        })
        .await?;
    }
    for arn in instances.into_iter().filter(|i| !i.ec2_instance_id.as_deref().is_some_and(|id| id.starts_with("i-"))) {
        let request = ecs::DeregisterContainerInstanceRequest {
            cluster: Some(cluster.to_owned()),
            container_instance: arn.container_instance_arn,
            force: Some(true),
        };
        client.call(&request).await?;
    }
    client.call(&ecs::DeleteClusterRequest { cluster: Some(cluster.to_owned()) }).await?;
    say::info("Deleted cluster", &[("cluster", cluster)]);
    Ok(())
}

async fn instances(client: &Client, cluster: &str) -> Result<Vec<ecs::ContainerInstance>> {
    let mut all = Vec::new();
    let mut next_token = None;
    loop {
        let list =
            ecs::ListContainerInstancesRequest { cluster: Some(cluster.to_owned()), next_token, ..Default::default() };
        let page = client.call(&list).await?;
        let arns = page.container_instance_arns.unwrap_or_default();
        if !arns.is_empty() {
            let request = ecs::DescribeContainerInstancesRequest {
                cluster: Some(cluster.to_owned()),
                container_instances: Some(arns),
                ..Default::default()
            };
            all.extend(client.call(&request).await?.container_instances.unwrap_or_default());
        }
        next_token = page.next_token;
        if next_token.is_none() {
            return Ok(all);
        }
    }
}

async fn still_there(client: &Client, machines: &[String]) -> Result<u64> {
    let request = ec2::DescribeInstancesRequest { instance_ids: Some(machines.to_vec()), ..Default::default() };
    let reservations = client.call(&request).await?.reservations.into_iter().flatten();
    let states = reservations.flat_map(|r| r.instances.unwrap_or_default()).filter_map(|i| i.state?.name);
    Ok(states.filter(|state| state != "terminated").count() as u64)
}
