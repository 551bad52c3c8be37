//! The loops: woken by the change feed or a timer, each looks at a snapshot, decides and commits. A commit that is refused
//! waits for the next wake; nothing is retried inside and no hint is passed in.

mod aging;
pub(crate) mod events;
mod hooks;
mod kept;
mod liveness;
mod machines;
pub(crate) mod metering;
mod retention;
pub(crate) mod scaling;
pub(crate) mod services;
pub(crate) mod vault;
mod waiting;
pub(crate) mod webhook;

pub(crate) use aging::Aging;

use crate::{context::Context, machines::MachineHost, session::Sessions};
use std::{net::SocketAddr, sync::Arc};

/// Starts all loops. `local` is the host of local instances and where they dial; without it there are none.
pub(crate) fn start(ctx: &Context, sessions: Arc<Sessions>, local: Option<(Arc<dyn MachineHost>, SocketAddr)>) {
    let effects = &ctx.effects;
    effects.spawn("liveness", liveness::run(ctx.clone(), sessions));
    effects.spawn("retention", retention::run(ctx.clone()));
    effects.spawn("services", services::run(ctx.clone()));
    effects.spawn("hooks", hooks::run(ctx.clone()));
    effects.spawn("waiting", waiting::run(ctx.clone()));
    effects.spawn("scaling", scaling::run(ctx.clone()));
    if let Some((host, link)) = local {
        effects.spawn("machines", machines::run(ctx.clone(), host, link));
    }
}
