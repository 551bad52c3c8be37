//! A container's restarts as data: whether one that has ended is started again.
//!
//! The rules are the original agent's (ecs-agent `api/container/restart`): it has a policy, it is not to stop, its exit code is
//! known and not one of the ignored, and it has run for the period since it was started or started again last. What ends sooner
//! stays ended. A start that is "again" is of the same container: it finds what it has written. Health begins anew with it.

use super::{ContainerState, Phase};
use model::{RestartPolicy, Timestamp};
use serde::{Deserialize, Serialize};

/// A container's policy, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarts {
    policy: RestartPolicy,
    /// How often it was started again.
    pub count: u32,
    /// Since when it has to have run for its period.
    since: Option<Timestamp>,
    /// What it ended with the last time.
    code: Option<i32>,
}

impl Restarts {
    /// `None` if it is not started again at all.
    pub(super) fn new(policy: &RestartPolicy) -> Option<Self> {
        policy.enabled.then(|| Self { policy: policy.clone(), count: 0, since: None, code: None })
    }

    pub(super) fn started(&mut self, now: Timestamp) {
        self.since.get_or_insert(now);
    }

    /// Another agent goes on, whose clock may be another one.
    pub(super) fn resume(&mut self, now: Timestamp) {
        self.since = self.since.map(|since| since.min(now));
    }

    /// True if it is to be started again, which is then counted. AWS: the period runs from the attempt, not from its success.
    pub(super) fn again(&mut self, code: Option<i32>, now: Timestamp) -> bool {
        let Some(code) = code else { return false };
        let ran = self.since.map_or(0, |since| now.millis_since(since));
        if self.policy.ignored_exit_codes.contains(&code) || ran < i64::from(self.policy.period()) * 1000 {
            return false;
        }
        self.count = self.count.saturating_add(1);
        (self.since, self.code) = (Some(now), Some(code));
        true
    }
}

impl ContainerState {
    /// Which of its runs this is.
    pub(crate) fn run(&self) -> u32 {
        self.restarts.as_ref().map_or(0, |restarts| restarts.count)
    }

    /// What it ended with, if it has not been started again since.
    pub(super) fn code_before(&self) -> Option<i32> {
        self.restarts.as_ref().and_then(|restarts| restarts.code)
    }

    /// Whether it has run, and is being started again. AWS: it counts as running.
    pub(super) fn is_restarting(&self) -> bool {
        self.run() > 0 && matches!(self.phase, Phase::Creating { .. } | Phase::Starting { .. })
    }
}
