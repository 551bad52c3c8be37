//! What a machine is rid of when it is let go for good: all that its agent made of its own besides what is in its folders.
//! A local instance's host clears up after it.

use crate::{Config, imds, metadata, real::chain};
use effects::Effects;
use network::{BridgeSpec, LinkLocalSpec, NetContext, PortsSpec, TASK_BRIDGE_CANDIDATES};
use runtime::daemon::{self, DaemonConfig};

/// Takes it all away, once nothing runs any more. What cannot be taken away is told, and stays until the machine is started anew.
pub(crate) async fn leave(config: &Config, effects: &Effects) {
    // Whoever looks after what goes now would have it come back.
    effects.shutdown().cancel();
    let context = NetContext::own();
    let bridge = BridgeSpec::standard(TASK_BRIDGE_CANDIDATES[0]);
    let ports = PortsSpec::standard(&bridge.bridge, TASK_BRIDGE_CANDIDATES[0]);
    let local = LinkLocalSpec::standard(&bridge.bridge, vec![metadata::ADDRESS, imds::ADDRESS]);
    told("published ports", network::remove_ports_table(&context, &ports.table).await);
    told("the bridge of tasks", network::remove_task_bridge(&context, &bridge).await);
    told("the metadata's address", network::remove_link_local(&context, &local).await);
    told("tunnels", network::vpc::tunnel::remove(&context, &config.netns_dir).await);
    if config.containerd_socket.is_none() {
        let own = DaemonConfig::new(config.data_dir.join("containerd"), config.run_dir.join("containerd"));
        let stopped = async { daemon::ensure_containerd(&own, effects).await?.stop(effects).await };
        told("containerd", stopped.await);
    }
}

fn told<E: std::error::Error + 'static>(what: &str, done: Result<(), E>) {
    if let Err(error) = done {
        tracing::warn!(
            error = chain(&error),
            "{what} could not be taken away and stays until the machine is started anew"
        );
    }
}
