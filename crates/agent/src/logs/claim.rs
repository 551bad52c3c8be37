//! The right to dispatch a container's output: one has it, and gives it back by whatever way it is lost.

use super::LogHub;
use std::sync::Arc;

/// Somebody dispatches the output of a container. Given back when it is dropped, unless that was done.
pub struct Claim {
    hub: LogHub,
    id: Arc<str>,
    used: bool,
}

impl Claim {
    pub(super) fn new(hub: LogHub, runtime_id: &str) -> Self {
        Self { hub, id: runtime_id.into(), used: false }
    }

    /// There is a courier, or nothing to carry any more. Answers whose output it is.
    pub(super) fn use_up(&mut self) -> Arc<str> {
        self.used = true;
        self.id.clone()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // When the agent stops, it is another's to find out what there is to carry.
        if !self.used && !self.hub.0.effects.shutdown().is_cancelled() {
            self.hub.unclaim(&self.id);
        }
    }
}
