//! What a task waits for before anything of it is pulled: its network interface, and what its containers are to be given.

use super::{Effect, Interface, Provisioning, TaskState, limits};
use model::{Stop, StopCode, Timestamp};
use std::sync::Arc;

pub(super) fn attach(state: &mut TaskState, now: Timestamp, effects: &mut Vec<Effect>) {
    state.interface = Some(Interface::Attaching { by: now.plus_millis(limits::ATTACH) });
    effects.push(Effect::Attach);
}

/// The task cannot start without its interface; what there is of it goes with what the task has left.
pub(super) fn not_attached(state: &mut TaskState, reason: &Arc<str>) {
    if let Some(Interface::Attaching { .. }) = state.interface {
        state.stop.get_or_insert_with(|| Stop { code: StopCode::TaskFailedToStart, reason: reason.clone() });
    }
}

pub(super) fn provide(state: &mut TaskState, now: Timestamp, effects: &mut Vec<Effect>) {
    state.provision = Some(Provisioning::Asking { by: now.plus_millis(limits::PROVISION) });
    effects.push(Effect::Provide);
}

/// The task cannot start without what its containers are to be given.
pub(super) fn not_provided(state: &mut TaskState, reason: &Arc<str>) {
    if let Some(Provisioning::Asking { .. }) = state.provision {
        state.stop.get_or_insert_with(|| Stop { code: StopCode::TaskFailedToStart, reason: reason.clone() });
    }
}
