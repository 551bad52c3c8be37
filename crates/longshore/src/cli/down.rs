//! `down`: ends a cluster's tasks and local instances and deletes the cluster.

use super::{Client, Where, cluster, code, config, group, instances, ps, say, wait};
use crate::advice::Advice;
use anyhow::{Result, anyhow, bail};
use clap::Args;
use shapes::ecs;
use std::{collections::BTreeSet, time::Duration};

/// How long tasks may take to stop: a container has up to 120 s to end by itself, and then it is put away.
const STOPPING: Duration = Duration::from_secs(150);

#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    /// Do not ask first.
    #[arg(long, short = 'f')]
    force: bool,
    #[command(flatten)]
    place: Where,
}

pub(crate) async fn down(args: DownArgs, endpoint: Option<String>) -> Result<()> {
    let settings = config::settings(&args.place, endpoint)?;
    let (client, cluster) = (&settings.client, settings.cluster.as_str());
    if !say::is_ecs_cli() {
        // AWS: finds that out when the instances are gone, and leaves the cluster without them.
        has_no_services(client, cluster).await?;
    }
    let question = format!("Are you sure you want to delete cluster {cluster} with its instances and tasks? [y/N] ");
    if !args.force && !config::confirmed(&question)? {
        bail!(
            "Aborted cluster deletion. To delete your cluster, re-run this command and specify the '--force' flag or confirm that you'd like to delete your cluster at the prompt."
        );
    }
    cluster::must_be_active(client, cluster).await?;
    let registered = cluster::container_instances(client, cluster, None).await?;
    let is_local = |id: &String| id.starts_with("i-");
    let mut machines: BTreeSet<_> =
        registered.iter().filter_map(|i| i.ec2_instance_id.clone()).filter(is_local).collect();
    // Those too that have not registered yet.
    let of_stack = instances::of_stack(&settings).await?.into_iter().filter(instances::is_alive);
    machines.extend(of_stack.filter_map(|instance| instance.instance_id));
    say::info("Waiting for your cluster resources to be deleted...", &[]);
    instances::terminate(&settings, &machines.into_iter().collect::<Vec<_>>()).await?;
    for attached in registered.into_iter().filter(|i| !i.ec2_instance_id.as_ref().is_some_and(is_local)) {
        let request = ecs::DeregisterContainerInstanceRequest {
            cluster: Some(cluster.to_owned()),
            container_instance: attached.container_instance_arn,
            force: Some(true),
        };
        client.call(&request).await?;
    }
    if args.force || !say::is_ecs_cli() {
        stop_left(client, cluster).await?;
        stopped(client, cluster).await?;
    }
    group::remove(&settings).await?;
    let request = ecs::DeleteClusterRequest { cluster: Some(cluster.to_owned()) };
    if let Err(error) = client.call(&request).await {
        return Err(advised(client, cluster, error).await);
    }
    say::info("Deleted cluster", &[("cluster", cluster)]);
    Ok(())
}

/// Stops what still is to run when the instances are gone: tasks of Fargate. Those of a service are left to the service, which
/// would start others; that it must go first is told by the server.
async fn stop_left(client: &Client, cluster: &str) -> Result<()> {
    let left = ps::tasks(client, cluster, "RUNNING", ps::Of::Cluster).await?;
    let of_service = |task: &ecs::Task| task.group.as_deref().is_some_and(|group| group.starts_with("service:"));
    for task in left.into_iter().filter(|task| !of_service(task)) {
        let request = ecs::StopTaskRequest {
            cluster: Some(cluster.to_owned()),
            task: task.task_arn,
            reason: Some("The cluster is deleted".to_owned()),
        };
        match client.call(&request).await {
            // It went meanwhile.
            Err(error) if code(&error) == Some("InvalidParameterException") => {}
            told => drop(told?),
        }
    }
    Ok(())
}

/// Waits for tasks that are stopping: a cluster is not deleted before, nor the group of their interfaces. One that is to run
/// would not stop by waiting; what is said of it is the server's.
async fn stopped(client: &Client, cluster: &str) -> Result<()> {
    let tasks = ps::tasks(client, cluster, "STOPPED", ps::Of::Cluster).await?;
    let stopping = tasks.into_iter().filter(|task| task.last_status.as_deref() != Some("STOPPED"));
    let stopping: Vec<_> = stopping.filter_map(|task| task.task_arn).collect();
    wait::tasks(client, cluster, &stopping, "STOPPED", STOPPING, |_| ()).await.map(drop)
}

/// Before anything is touched.
async fn has_no_services(client: &Client, cluster: &str) -> Result<()> {
    let request = ecs::DescribeClustersRequest { clusters: Some(vec![cluster.to_owned()]), ..Default::default() };
    let known = client.call(&request).await?.clusters.into_iter().flatten().next();
    match known.and_then(|cluster| cluster.active_services_count).unwrap_or(0) {
        0 => Ok(()),
        count => {
            let error = anyhow!("Cluster {cluster} has services ({count}); nothing was taken down");
            Err(advise_on_services(client, cluster, error).await)
        }
    }
}

/// A refusal to delete the cluster, with the services that are to be deleted before.
async fn advised(client: &Client, cluster: &str, error: anyhow::Error) -> anyhow::Error {
    if code(&error) != Some("ClusterContainsServicesException") {
        return error;
    }
    advise_on_services(client, cluster, error).await
}

async fn advise_on_services(client: &Client, cluster: &str, error: anyhow::Error) -> anyhow::Error {
    let request = ecs::ListServicesRequest { cluster: Some(cluster.to_owned()), ..Default::default() };
    let arns = client.call(&request).await.ok().and_then(|answer| answer.service_arns).unwrap_or_default();
    let names: Vec<_> = arns.iter().filter_map(|arn| arn.rsplit('/').next()).collect();
    let Some(first) = names.first() else { return error };
    let next = client.there(&format!("aws ecs delete-service --force --cluster {cluster} --service {first}"));
    error.context(Advice::new(format!("Its services go first ({}): {next}", names.join(", "))))
}
