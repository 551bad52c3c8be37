//! `dev`: a server and local instances, until Ctrl-C takes all of it down again.

use super::{fault, server};
use crate::{
    advice::{self, Advice},
    args::{DevArgs, ServerArgs},
    cli::{Client, Target, code, wait},
};
use ::server::Server;
use anyhow::{Context, Result, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use effects::Effects;
use model::fargate::POOL_CLUSTER;
use shapes::{ec2, ecs, iam};
use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

/// How long local instances may take to register, and later to go.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn run(args: &DevArgs) -> Result<ExitCode> {
    // Whoever watches is shown what happens; what is logged to a file is read when something went wrong.
    super::keep_memory_secret();
    super::start_logging(if std::io::stderr().is_terminal() { "warn" } else { "info" });
    if args.fargate_instances > 0 {
        fault::fit_for_fargate()?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = server::Signals::listen()?;
        let effects = Effects::real();
        let vpc = args.server.vpc_cidr;
        let data_dir = args.server.data_dir.clone();
        let (server, host) = server::start(args.server.clone(), &effects, true).await?;
        let client = client(&server, &args.server)?;
        let ended = tokio::select! {
            up = up(&client, args) => up.map(|()| false),
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
        if args.keep {
            let _ = writeln!(std::io::stderr(), "The server ends; instances and tasks stay.");
        } else {
            let _ = writeln!(std::io::stderr(), "Taking everything down.");
            if let Err(error) = down(&client).await {
                tracing::warn!(
                    error = advice::message(&error),
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
        region_to_say: None,
        access_key: root.access_key_id.clone(),
        secret: root.secret_access_key.clone(),
        token: None,
        ca_bundle: args.tls_cert.clone(),
        verbose: false,
    })
}

/// Instances that are there already, of an earlier `dev --keep` or one that was killed, count.
async fn up(client: &Client, args: &DevArgs) -> Result<()> {
    let cluster = args.cluster.as_str();
    let create = ecs::CreateClusterRequest { cluster_name: Some(cluster.to_owned()), ..Default::default() };
    client.call(&create).await?;
    execution_role(client).await?;
    let zones = client.call(&ec2::DescribeAvailabilityZonesRequest::default()).await?;
    let zones: Vec<_> = zones.availability_zones.into_iter().flatten().filter_map(|z| z.zone_name).collect();
    if zones.is_empty() {
        bail!("the region has no availability zones");
    }
    for (cluster, count) in [(cluster, args.instances), (POOL_CLUSTER, args.fargate_instances)] {
        bring_up(client, args, &zones, cluster, count).await?;
    }
    Ok(())
}

/// The role by which tasks of Fargate write their logs. AWS: the console makes it where it is first needed.
async fn execution_role(client: &Client) -> Result<()> {
    const NAME: &str = "ecsTaskExecutionRole";
    const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    const POLICY: &str = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy";
    let role = iam::CreateRoleRequest {
        role_name: Some(NAME.to_owned()),
        assume_role_policy_document: Some(TRUST.to_owned()),
        description: Some("Made by longshore dev".to_owned()),
        ..Default::default()
    };
    match client.call(&role).await {
        Ok(_) => {}
        // Of an earlier run, or the operator's own, which is left as it is.
        Err(error) if code(&error) == Some("EntityAlreadyExists") => return Ok(()),
        Err(error) => return Err(error),
    }
    let attach = iam::AttachRolePolicyRequest { role_name: Some(NAME.to_owned()), policy_arn: Some(POLICY.to_owned()) };
    client.call(&attach).await?;
    Ok(())
}

/// So many in one cluster, or in Fargate's pool, which is one that no list shows.
async fn bring_up(client: &Client, args: &DevArgs, zones: &[String], cluster: &str, count: u32) -> Result<()> {
    let mut wanted = wait::machines_in(client, cluster, None).await?;
    let user_data = BASE64_STANDARD.encode(format!("#!/bin/bash\necho ECS_CLUSTER={cluster} >> /etc/ecs/ecs.config\n"));
    for at in wanted.len()..count as usize {
        let zone = zones[at % zones.len()].clone();
        let request = ec2::RunInstancesRequest {
            min_count: Some(1),
            max_count: Some(1),
            instance_type: Some(args.instance_type.clone()),
            placement: Some(ec2::Placement { availability_zone: Some(zone), ..Default::default() }),
            user_data: Some(user_data.clone()),
            ..Default::default()
        };
        let made = client.call(&request).await?.instances.into_iter().flatten();
        wanted.extend(made.filter_map(|instance| instance.instance_id));
    }
    // One that somebody stopped, or a machine that was attached, comes back when its owner wants it.
    let live = machines(client, &["pending", "running"]).await?;
    let live: Vec<_> = live.into_iter().filter(|id| wanted.contains(id)).collect();
    if live.is_empty() {
        return Ok(());
    }
    let result = wait::instances(client, cluster, &live, PATIENCE).await;
    result.map_err(|error| {
        error.context(Advice::new("See instances/*/agent.log in the data directory, and `longshore status`"))
    })
}

/// The ids of machines in one of these states.
async fn machines(client: &Client, states: &[&str]) -> Result<Vec<String>> {
    let answer = client.call(&ec2::DescribeInstancesRequest::default()).await?;
    let all = answer.reservations.into_iter().flatten().flat_map(|r| r.instances.unwrap_or_default());
    let is = |i: &ec2::Instance| i.state.as_ref().and_then(|s| s.name.as_deref()).is_some_and(|s| states.contains(&s));
    Ok(all.filter(is).filter_map(|i| i.instance_id).collect())
}

async fn down(client: &Client) -> Result<()> {
    let ids = machines(client, &["pending", "running", "stopping", "stopped", "shutting-down"]).await?;
    if ids.is_empty() {
        return Ok(());
    }
    client.call(&ec2::TerminateInstancesRequest { instance_ids: Some(ids.clone()), ..Default::default() }).await?;
    wait::terminated(client, &ids, PATIENCE).await
}

/// Nobody may be listening any more (`longshore dev | head -1`); the cluster runs all the same.
fn greet(server: &Server, args: &DevArgs, data_dir: &str) {
    let at = server.endpoints().first().map(ToString::to_string).unwrap_or_default();
    let scheme = if args.server.tls_cert.is_some() { "https" } else { "http" };
    let data = if data_dir == crate::args::DATA_DIR { String::new() } else { format!(" --data-dir {data_dir}") };
    let usual = scheme == "http" && at == "127.0.0.1:4566";
    let endpoint = if usual { String::new() } else { format!(" --endpoint {scheme}://{at}") };
    let (count, cluster) = (args.instances, &args.cluster);
    let fargate = match args.fargate_instances {
        0 => String::new(),
        1 => ", one more for Fargate".to_owned(),
        more => format!(", {more} more for Fargate"),
    };
    let end = if args.keep {
        "Ctrl-C ends the server; instances and tasks stay for the next `dev` of this data directory, and one without --keep \
         takes them down."
    } else {
        "Ctrl-C takes everything down."
    };
    let _ = writeln!(
        std::io::stdout(),
        "Longshore is up: {count} container instances in cluster {cluster}{fargate}, endpoint {scheme}://{at}

In another terminal:

  eval \"$(longshore env{data}{endpoint})\"
  aws ecs list-container-instances
  longshore status

{end}"
    );
}
