//! `dev`: a server and local instances, until Ctrl-C takes all of it down again.

use super::server;
use crate::{
    args::{DevArgs, ServerArgs},
    cli::{Client, Target},
};
use ::server::Server;
use anyhow::{Context, Result, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use effects::Effects;
use shapes::{ec2, ecs};
use std::{io::Write, process::ExitCode, time::Duration};

/// How long local instances may take to register, and later to go.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether they have.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(super) fn run(args: &DevArgs) -> Result<ExitCode> {
    super::start_logging();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = server::Signals::listen()?;
        let effects = Effects::real();
        let vpc = args.server.vpc_cidr;
        let data_dir = args.server.data_dir.clone();
        let (server, host) = server::start(args.server.clone(), &effects, true).await?;
        let client = client(&server, &args.server)?;
        let ended = tokio::select! {
            up = up(&client, args, &effects) => up.map(|()| false),
            () = signals.terminated() => Ok(true),
        };
        let result = match ended {
            Ok(false) => {
                greet(&server, args, &data_dir.display().to_string());
                signals.terminated().await;
                Ok(())
            }
            Ok(true) => Ok(()),
            Err(error) => Err(error),
        };
        if !args.keep {
            let _ = writeln!(std::io::stderr(), "Taking everything down.");
            if let Err(error) = down(&client, &effects).await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "not all instances went; start `longshore dev` again to finish"
                );
            }
        }
        server.shutdown().await;
        if let (false, Some(host)) = (args.keep, host) {
            let gateway = vpc.hosts().next().context("the VPC's network has no addresses")?;
            host.tear_down(gateway, vpc.prefix_len()).await?;
        }
        result.map(|()| ExitCode::SUCCESS)
    })
}

/// The server's own API, as its root, like any other client.
fn client(server: &Server, args: &ServerArgs) -> Result<Client> {
    let root = server.context().credentials.root();
    let address = server.endpoints().first().context("the server has an endpoint")?;
    Client::new(Target {
        endpoint: format!("{}://{address}", if args.tls_cert.is_some() { "https" } else { "http" }),
        region: args.region.clone(),
        access_key: root.access_key_id.clone(),
        secret: root.secret_access_key.clone(),
        token: None,
        ca_bundle: args.tls_cert.clone(),
        verbose: false,
    })
}

/// Instances that are there already, of an earlier `dev --keep` or one that was killed, count.
async fn up(client: &Client, args: &DevArgs, effects: &Effects) -> Result<()> {
    let cluster = args.cluster.as_str();
    let create = ecs::CreateClusterRequest { cluster_name: Some(cluster.to_owned()), ..Default::default() };
    client.call(&create).await?;
    let existing = registered(client, cluster).await?;
    let zones = client.call(&ec2::DescribeAvailabilityZonesRequest::default()).await?;
    let zones: Vec<_> = zones.availability_zones.into_iter().flatten().filter_map(|z| z.zone_name).collect();
    if zones.is_empty() {
        bail!("the region has no availability zones");
    }
    let user_data = BASE64_STANDARD.encode(format!("#!/bin/bash\necho ECS_CLUSTER={cluster} >> /etc/ecs/ecs.config\n"));
    for at in existing..args.instances as usize {
        let zone = zones[at % zones.len()].clone();
        let request = ec2::RunInstancesRequest {
            min_count: Some(1),
            max_count: Some(1),
            instance_type: Some(args.instance_type.clone()),
            placement: Some(ec2::Placement { availability_zone: Some(zone), ..Default::default() }),
            user_data: Some(user_data.clone()),
            ..Default::default()
        };
        client.call(&request).await?;
    }
    let wanted = u64::from(args.instances);
    let deadline = effects.monotonic() + PATIENCE;
    while connected(client, cluster).await? < wanted {
        if effects.monotonic() > deadline {
            bail!("not all container instances registered; see instances/*/agent.log in the data directory");
        }
        effects.sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

async fn connected(client: &Client, cluster: &str) -> Result<u64> {
    let list = ecs::ListContainerInstancesRequest {
        cluster: Some(cluster.to_owned()),
        filter: Some("agentConnected == true".to_owned()),
        ..Default::default()
    };
    Ok(client.call(&list).await?.container_instance_arns.map_or(0, |arns| arns.len() as u64))
}

/// How many container instances the cluster has, connected or not.
async fn registered(client: &Client, cluster: &str) -> Result<usize> {
    let list = ecs::ListContainerInstancesRequest { cluster: Some(cluster.to_owned()), ..Default::default() };
    Ok(client.call(&list).await?.container_instance_arns.map_or(0, |arns| arns.len()))
}

/// The ids of machines that are not terminated.
async fn machines(client: &Client) -> Result<Vec<String>> {
    let answer = client.call(&ec2::DescribeInstancesRequest::default()).await?;
    let all = answer.reservations.into_iter().flatten().flat_map(|r| r.instances.unwrap_or_default());
    let live = all.filter(|i| i.state.as_ref().and_then(|s| s.name.as_deref()) != Some("terminated"));
    Ok(live.filter_map(|i| i.instance_id).collect())
}

async fn down(client: &Client, effects: &Effects) -> Result<()> {
    let ids = machines(client).await?;
    if ids.is_empty() {
        return Ok(());
    }
    client.call(&ec2::TerminateInstancesRequest { instance_ids: Some(ids), ..Default::default() }).await?;
    let deadline = effects.monotonic() + PATIENCE;
    while !machines(client).await?.is_empty() {
        if effects.monotonic() > deadline {
            bail!("local instances do not go");
        }
        effects.sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Nobody may be listening any more (`longshore dev | head -1`); the cluster runs all the same.
fn greet(server: &Server, args: &DevArgs, data_dir: &str) {
    let at = server.endpoints().first().map(ToString::to_string).unwrap_or_default();
    let scheme = if args.server.tls_cert.is_some() { "https" } else { "http" };
    let data = if data_dir == crate::args::DATA_DIR { String::new() } else { format!(" --data-dir {data_dir}") };
    let usual = scheme == "http" && at == "127.0.0.1:4566";
    let endpoint = if usual { String::new() } else { format!(" --endpoint {scheme}://{at}") };
    let (count, cluster) = (args.instances, &args.cluster);
    let _ = writeln!(
        std::io::stdout(),
        "Longshore is up: {count} container instances in cluster {cluster}, endpoint {scheme}://{at}

In another terminal:

  eval \"$(longshore env{data}{endpoint})\"
  aws ecs list-container-instances
  longshore ps

Ctrl-C takes everything down."
    );
}
