//! Container health: what a definition asks to be tried, and what came of it.
//!
//! The agent tries ([`HealthCheck`]) and counts; what it has found is [`Health`]. What a task's health is follows from its
//! containers' and is never kept.

use crate::Task;
use serde::{Deserialize, Serialize};

/// A container's check, with what was left out filled in. Source: `HealthCheck` in the service model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// As given: `CMD` and an argv, `CMD-SHELL` and a line for the shell, or `NONE`.
    pub command: Vec<String>,
    /// Seconds from the start, and from the end of each probe, to the next probe.
    pub interval: u32,
    /// Seconds after which a probe has failed.
    pub timeout: u32,
    /// Failures in a row that make a container UNHEALTHY.
    pub retries: u32,
    /// Seconds from the container's start in which failures do not count, as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<u32>,
}

impl HealthCheck {
    /// AWS's numbers where none are given. Source: `HealthCheck`.
    pub const INTERVAL: u32 = 30;
    /// See [`HealthCheck::INTERVAL`].
    pub const TIMEOUT: u32 = 5;
    /// See [`HealthCheck::INTERVAL`].
    pub const RETRIES: u32 = 3;

    /// What is to be run in the container; none for `NONE`, which means no check at all. The rules let in nothing else.
    pub fn argv(&self) -> Option<Vec<String>> {
        let (kind, rest) = self.command.split_first()?;
        match kind.as_str() {
            "CMD" => Some(rest.to_vec()),
            "CMD-SHELL" => Some(["/bin/sh", "-c"].into_iter().map(str::to_owned).chain(rest.iter().cloned()).collect()),
            _ => None,
        }
    }
}

/// What is known of a container's, or a task's, health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum HealthStatus {
    Healthy,
    Unknown,
    Unhealthy,
}

impl HealthStatus {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Unknown => "UNKNOWN",
            Self::Unhealthy => "UNHEALTHY",
        }
    }
}

/// The health of a container that has a check. It goes back and forth, so it says how often it has: a report that was
/// overtaken by a later one is known by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// How it is.
    pub status: HealthStatus,
    /// How often the agent has seen it change.
    pub changes: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self { status: HealthStatus::Unknown, changes: 0 }
    }
}

impl Health {
    /// Takes over what an agent says, unless it has said something newer before.
    pub(crate) fn advance(&mut self, seen: Self) {
        if seen.changes > self.changes {
            *self = seen;
        }
    }
}

impl Task {
    /// The worst of its essential containers that have a check; none where none has.
    pub fn health(&self) -> Option<HealthStatus> {
        let checked = self.containers.iter().filter(|container| container.essential);
        checked.filter_map(|container| container.health).map(|health| health.status).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_run_as_docker_runs_them() {
        let check = |command: &[&str], want: Option<&[&str]>| {
            let command = command.iter().map(|word| (*word).to_owned()).collect();
            let check = HealthCheck { command, interval: 30, timeout: 5, retries: 3, start_period: None };
            let want = want.map(|words| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
            assert_eq!(check.argv(), want, "{:?}", check.command);
        };
        check(&["CMD", "curl", "-f", "http://localhost/"], Some(&["curl", "-f", "http://localhost/"]));
        check(&["CMD-SHELL", "test -e /ok || exit 1"], Some(&["/bin/sh", "-c", "test -e /ok || exit 1"]));
        check(&["NONE"], None);
    }

    #[test]
    fn only_a_newer_report_counts() {
        use HealthStatus::{Healthy, Unhealthy, Unknown};
        let check = |known: (HealthStatus, u32), seen: (HealthStatus, u32), want: HealthStatus| {
            let mut health = Health { status: known.0, changes: known.1 };
            health.advance(Health { status: seen.0, changes: seen.1 });
            assert_eq!(health.status, want, "{known:?} then {seen:?}");
        };
        check((Unknown, 0), (Healthy, 1), Healthy);
        check((Healthy, 1), (Unhealthy, 2), Unhealthy);
        check((Healthy, 3), (Unhealthy, 2), Healthy);
        check((Unhealthy, 2), (Unhealthy, 2), Unhealthy);
    }
}
