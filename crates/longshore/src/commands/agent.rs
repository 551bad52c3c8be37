//! `agent`: makes this machine a container instance.
//!
//! For a local instance the process enters the instance's network namespace before it has any thread, and keeps the one it
//! came from open, because registries are reached from there.

use crate::{advice::Advice, args::AgentArgs, local::InstanceLock};
use agent::{AgentError, Config, PullBehavior, ResourceOverrides, gpus::Gpus};
use anyhow::{Context, Result};
use effects::Effects;
use model::ClusterName;
use runtime::{Disks, Gvisor, OciRuntime};
use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

/// How long files may keep an agent that stops: one that a log driver's option names may be on a server that is gone.
const LAST_FILES: Duration = Duration::from_secs(5);

pub(super) fn run(args: &AgentArgs) -> Result<ExitCode> {
    super::keep_memory_secret();
    super::start_logging("info");
    let userns = args.runtime.userns()?;
    // What was asked for is not for gVisor to have.
    let asked = args.runtime.oci_runtime.or(userns.map(|_| OciRuntime::Runc));
    let (oci_runtime, fault) = oci_runtime(asked, args.fargate, Gvisor::installed);
    if let Some(fault) = fault {
        tracing::warn!(runtime = oci_runtime.name(), "{fault}");
    }
    oci_runtime.check()?;
    if args.fargate {
        Disks::check()?;
    }
    anyhow::ensure!(
        args.gpus.is_empty() || oci_runtime == OciRuntime::Runc,
        "gVisor's containers have no devices of the machine: a machine that offers GPUs needs --runtime runc"
    );
    anyhow::ensure!(
        args.gpus.is_empty() || userns.is_none(),
        "containers in user namespaces have no devices of the machine: one that offers GPUs cannot have --userns-remap"
    );
    fs::create_dir_all(&args.data_dir).with_context(|| format!("cannot make {}", args.data_dir.display()))?;
    let _lock = InstanceLock::take(&args.data_dir)
        .with_context(|| format!("another agent works in {}; one machine needs one agent", args.data_dir.display()))?;
    let registry_netns = args.netns.as_deref().map(enter).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let effects = Effects::real();
        let config = Config { oci_runtime, userns, ..config(args, registry_netns)? };
        tracing::info!(runtime = oci_runtime.name(), "what makes this machine's containers");
        let stop = effects.shutdown().clone();
        let mut signals = super::server::Signals::listen()?;
        effects.spawn("signals", async move {
            signals.terminated().await;
            stop.cancel();
        });
        match agent::run(config.clone(), effects.clone()).await {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error @ AgentError::Deregistered(_)) => {
                tracing::error!(%error, "this agent has nothing more to do here");
                // Its tasks are gone, and a local instance's host clears up itself.
                if args.netns.is_none() {
                    runtime::cgroup::Cgroups::detect()?.remove(&args.cgroup, &effects).await?;
                    agent::leave(&config, &effects).await;
                }
                Ok(ExitCode::from(super::AGENT_IS_FINISHED))
            }
            Err(error @ AgentError::Superseded(_)) => {
                tracing::error!(%error, "this agent has nothing more to do here");
                Ok(ExitCode::from(super::AGENT_IS_FINISHED))
            }
            Err(error) => Err(error.into()),
        }
    });
    runtime.shutdown_timeout(LAST_FILES);
    outcome
}

/// What was asked for. Otherwise tasks of Fargate, which share machines with strangers' tasks, get kernels of their own where
/// that can be had without breaking them. What is wrong with gVisor is told where it is used, and where it would have been.
fn oci_runtime(
    asked: Option<OciRuntime>,
    fargate: bool,
    gvisor: impl FnOnce() -> Gvisor,
) -> (OciRuntime, Option<String>) {
    match asked {
        Some(OciRuntime::Runc) => (OciRuntime::Runc, None),
        Some(OciRuntime::Runsc) => (OciRuntime::Runsc, gvisor().fault()),
        None if !fargate => (OciRuntime::Runc, None),
        None => match gvisor() {
            Gvisor::Missing => (OciRuntime::Runc, None),
            Gvisor::Fine => (OciRuntime::Runsc, None),
            hasty @ Gvisor::Hasty(_) => {
                let fault = hasty.fault().map(|fault| {
                    format!("tasks of Fargate get no kernels of their own, but containers of runc: {fault}")
                });
                (OciRuntime::Runc, fault)
            }
        },
    }
}

/// Enters a namespace for good and answers a path to the one we came from, open for as long as we live.
fn enter(netns: &std::path::Path) -> Result<PathBuf> {
    use rustix::fd::{AsFd, AsRawFd, IntoRawFd};
    let home = fs::File::open("/proc/self/ns/net").context("this kernel has no network namespaces")?;
    let target = fs::File::open(netns).with_context(|| format!("cannot open {}", netns.display()))?;
    rustix::thread::move_into_link_name_space(target.as_fd(), Some(rustix::thread::LinkNameSpaceType::Network))
        .with_context(|| format!("cannot enter {}", netns.display()))?;
    let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), home.as_raw_fd()));
    // Kept open for the life of the process: the path is only good as long as the descriptor is.
    let _ = home.into_raw_fd();
    Ok(path)
}

fn config(args: &AgentArgs, registry_netns: Option<PathBuf>) -> Result<Config> {
    let cluster = if args.fargate { Some(model::fargate::POOL_CLUSTER) } else { args.cluster.as_deref() };
    let kind = args.instance_type.as_deref().and_then(model::instance_type::find);
    Ok(Config {
        cluster: cluster.map(ClusterName::parse).transpose()?,
        token: token(args)?,
        run_dir: args.run_dir.clone(),
        containerd_socket: args.runtime.containerd_socket.clone(),
        insecure_registries: args.runtime.insecure_registries.clone(),
        registry_mirrors: args.runtime.registry_mirrors.clone(),
        registry_auth: args.runtime.registry_auth.clone(),
        registry_netns,
        pull_behavior: match args.image_pull_behavior.as_str() {
            "always" => PullBehavior::Always,
            "once" | "prefer-cached" => PullBehavior::PreferCached,
            _ => PullBehavior::Default,
        },
        pull_inactivity: args.image_pull_inactivity_timeout,
        resources: ResourceOverrides {
            cpu: kind.map(|k| model::CpuUnits(k.vcpus * 1024)),
            memory: kind.map(|k| model::MemoryMib(k.memory_mib)),
            reserved_memory: model::MemoryMib(args.reserved_memory),
        },
        gpus: Gpus::new(args.gpus.iter().cloned()).map_err(anyhow::Error::msg)?,
        attributes: args.attributes.iter().cloned().collect(),
        address: args.address,
        cgroup: args.cgroup.clone(),
        netns_dir: args.run_dir.join("netns"),
        introspection: Some(args.introspection),
        metadata_rate: args.task_metadata_rps_limit,
        awsvpc_block_imds: args.awsvpc_block_imds,
        instance_metadata: args.instance_metadata.clone(),
        bridge_candidates: args.task_cidr.map_or_else(|| network::TASK_BRIDGE_CANDIDATES.to_vec(), |net| vec![net]),
        ..Config::new(args.server.clone(), &args.data_dir)
    })
}

/// The join token, from its file or the environment; never from a flag, which everybody on the machine could read.
#[allow(clippy::disallowed_methods)] // Secrets have no flag, so clap does not read them.
fn token(args: &AgentArgs) -> Result<Option<String>> {
    match &args.token_file {
        Some(path) if path.exists() => {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok(Some(text.trim().to_owned()))
        }
        Some(path) if !agent::has_identity(&args.data_dir) => {
            let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
            let advice = "On the server: longshore token create > token, and bring that file here";
            Err(anyhow::Error::new(missing)
                .context(format!("the join token {}", path.display()))
                .context(Advice::new(advice)))
        }
        Some(_) | None => Ok(std::env::var("LONGSHORE_JOIN_TOKEN").ok().filter(|t| !t.is_empty())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fargate_gets_kernels_of_its_own_where_nothing_else_is_asked_for() {
        let (runc, runsc) = (OciRuntime::Runc, OciRuntime::Runsc);
        let hasty = || Gvisor::Hasty("0.0~20221219.0".to_owned());
        for (asked, fargate, gvisor, want, warns) in [
            (None, false, Gvisor::Fine, runc, false),
            (None, false, hasty(), runc, false),
            (None, true, Gvisor::Fine, runsc, false),
            (None, true, hasty(), runc, true),
            (None, true, Gvisor::Missing, runc, false),
            (Some(runc), true, Gvisor::Fine, runc, false),
            (Some(runc), true, hasty(), runc, false),
            (Some(runsc), false, Gvisor::Fine, runsc, false),
            (Some(runsc), false, hasty(), runsc, true),
            (Some(runsc), true, hasty(), runsc, true),
            // Refused by name then, not replaced by another.
            (Some(runsc), true, Gvisor::Missing, runsc, false),
        ] {
            let (found, fault) = oci_runtime(asked, fargate, || gvisor.clone());
            assert_eq!((found, fault.is_some()), (want, warns), "{asked:?} {fargate} {gvisor:?}");
            assert!(fault.is_none_or(|fault| fault.contains("apt-get install -t bookworm-backports runsc")));
        }
    }
}
