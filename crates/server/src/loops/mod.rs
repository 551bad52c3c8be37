//! The loops: woken by the change feed or a timer, each looks at a snapshot, decides and commits. A commit that is refused
//! waits for the next wake; nothing is retried inside and no hint is passed in.

mod liveness;
mod machines;
mod retention;

use crate::{context::Context, machines::MachineHost, session::Sessions};
use std::{net::SocketAddr, sync::Arc};

/// Starts all loops. `link` is where local instances dial.
pub(crate) fn start(ctx: &Context, sessions: Arc<Sessions>, host: Arc<dyn MachineHost>, link: SocketAddr) {
    let effects = &ctx.effects;
    effects.spawn("liveness", liveness::run(ctx.clone(), sessions));
    effects.spawn("retention", retention::run(ctx.clone()));
    effects.spawn("machines", machines::run(ctx.clone(), host, link));
}
