//! What a machine is rid of when it is let go for good: all that its agent made of its own besides what is in its folders.
//! A local instance's host clears up after it.

use crate::{Config, file_systems_dir, imds, metadata, mounts_dir, real::chain, tunnels_dir};
use effects::Effects;
use network::{
    BridgeSpec, LinkLocalSpec, NetContext, PortsSpec, TASK_BRIDGE_CANDIDATES,
    vpc::{self, Place},
};
use runtime::{
    Mounts, NfsMounts, Tunnels,
    daemon::{self, DaemonConfig},
};
use std::{collections::HashSet, fmt::Display, io, net::Ipv4Addr};

/// Takes it all away; no process of a task is left any more. What cannot be taken away is told, and stays until the machine is started
/// anew.
pub async fn leave(config: &Config, effects: &Effects) {
    // Whoever looks after what goes now would have it come back.
    effects.shutdown().cancel();
    told("mounts", mounts(config, effects).await);
    told("networks of tasks", networks(config).await.map_err(|error| chain(&error)));
    if config.containerd_socket.is_none() {
        let own = DaemonConfig::new(config.data_dir.join("containerd"), config.run_dir.join("containerd"));
        if let Some(running) = daemon::running(&own).await {
            told("containerd", running.stop(effects).await);
        }
    }
}

/// What travels through tunnels goes before them.
async fn mounts(config: &Config, effects: &Effects) -> io::Result<()> {
    let mounts = Mounts::new(mounts_dir(&config.run_dir));
    tokio::task::spawn_blocking(move || mounts.sweep(&HashSet::new())).await.expect("unmounting does not panic")?;
    let nfs = NfsMounts::new(file_systems_dir(&config.run_dir), effects.clone());
    for name in nfs.others(&HashSet::new())? {
        nfs.remove(&name).await?;
    }
    Tunnels::new(tunnels_dir(&config.run_dir), effects.clone()).sweep(|| Ok(HashSet::new())).await
}

async fn networks(config: &Config) -> network::Result<()> {
    let context = NetContext::own();
    let bridge = BridgeSpec::standard(TASK_BRIDGE_CANDIDATES[0]);
    let ports = PortsSpec::standard(&bridge.bridge, TASK_BRIDGE_CANDIDATES[0]);
    let local = LinkLocalSpec::standard(&bridge.bridge, vec![metadata::ADDRESS, imds::ADDRESS]);
    let underlay = config.address.and_then(|address| match address {
        std::net::IpAddr::V4(address) => Some(address),
        std::net::IpAddr::V6(_) => None,
    });
    for key in vpc::list(&config.netns_dir).await? {
        let underlay = underlay.unwrap_or(Ipv4Addr::UNSPECIFIED);
        vpc::remove(&context, &Place { netns_dir: config.netns_dir.clone(), key, underlay }).await?;
    }
    network::sweep(&config.netns_dir, &HashSet::new()).await?;
    vpc::tunnel::remove(&context, &config.netns_dir).await?;
    network::remove_ports_table(&context, &ports.table).await?;
    network::remove_task_bridge(&context, &bridge).await?;
    network::remove_link_local(&context, &local).await
}

fn told<E: Display>(what: &str, done: Result<(), E>) {
    if let Err(error) = done {
        tracing::warn!(%error, "{what} could not be taken away and stays until the machine is started anew");
    }
}
