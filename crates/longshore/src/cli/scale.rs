//! `scale`: more or fewer of the container instances that `up` made.

use super::{
    Where, cluster, config,
    instances::{self, Member},
    say,
};
use anyhow::{Context, Result, bail};
use clap::Args;
use shapes::ec2;
use std::collections::BTreeMap;

#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    /// How many container instances there shall be.
    #[arg(long)]
    size: usize,
    /// Accepted for the original's sake, where it is required: this makes no roles.
    #[arg(long)]
    capability_iam: bool,
    #[command(flatten)]
    place: Where,
}

pub(crate) async fn scale(args: ScaleArgs, endpoint: Option<String>) -> Result<()> {
    if say::is_ecs_cli() && !args.capability_iam {
        bail!("Please acknowledge that this command may create IAM resources with the '--capability-iam' flag");
    }
    let settings = config::settings(&args.place, endpoint)?;
    cluster::must_be_active(&settings.client, &settings.cluster).await?;
    let known = instances::of_stack(&settings).await?;
    let latest = known.iter().max_by_key(|instance| instance.launch_time.map(|at| at.as_millis()));
    let latest = latest.with_context(|| {
        format!(
            "No instances of the stack {} are known for the cluster {}; make some with `up --size`",
            settings.stack, settings.cluster
        )
    })?;
    let alive: Vec<_> = known.iter().filter(|instance| instances::is_alive(instance)).collect();
    say::info("Waiting for your cluster resources to be updated...", &[]);
    if args.size > alive.len() {
        let like = instances::like(&settings, latest)?;
        instances::launch(&settings, &like, args.size - alive.len()).await?;
    } else {
        let members = members(&settings, &alive).await?;
        instances::terminate(&settings, &instances::surplus(members, alive.len() - args.size)).await?;
    }
    say::info("Container instances are ready", &[("cluster", &settings.cluster), ("count", &args.size.to_string())]);
    Ok(())
}

/// The instances with the number of tasks on each.
async fn members(settings: &config::Settings, alive: &[&ec2::Instance]) -> Result<Vec<Member>> {
    let registered = cluster::container_instances(&settings.client, &settings.cluster, None).await?;
    let tasks: BTreeMap<_, _> = registered
        .into_iter()
        .filter_map(|i| Some((i.ec2_instance_id?, i.running_tasks_count? + i.pending_tasks_count?)))
        .collect();
    let member = |instance: &&ec2::Instance| {
        let id = instance.instance_id.clone()?;
        Some(Member {
            tasks: tasks.get(&id).copied().unwrap_or_default(),
            zone: instance.placement.as_ref()?.availability_zone.clone()?,
            launched: instance.launch_time?.as_millis(),
            id,
        })
    };
    Ok(alive.iter().filter_map(member).collect())
}
