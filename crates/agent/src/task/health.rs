//! A container's health check as data: when it is tried next, and what the tries so far make of it.
//!
//! The rules are Docker's (moby, `daemon/health.go`), whose findings the original agent reports: the first probe one interval
//! after the start and each further one an interval after the end of the one before it; `retries` failures in a row make the
//! container UNHEALTHY, one success makes it HEALTHY; until the first success, failures of probes that began within the start
//! period do not count. Deliberately different: a runtime that does not answer is no failure of the container, else a restart
//! of containerd would make every container of the machine UNHEALTHY.

use model::{Health, HealthCheck, HealthStatus, Timestamp};
use serde::{Deserialize, Serialize};

/// How long the answer to a probe may be overdue, in milliseconds: starting the process and clearing it away take a loaded
/// machine seconds, and behind this the runtime hangs.
const OVERDUE: i64 = 5 * 60 * 1000;

/// The check of one container. The numbers are the definition's, in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    interval: u32,
    timeout: u32,
    retries: u32,
    start_period: u32,
    /// What the server is told.
    pub health: Health,
    /// Since when it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Timestamp>,
    /// Failures in a row that count.
    failures: u32,
    /// Since when the container runs.
    since: Option<Timestamp>,
    probe: Probe,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Probe {
    /// The container does not run.
    Off,
    /// The next probe.
    Due {
        /// When it begins.
        at: Timestamp,
    },
    /// The end of one.
    UnderWay {
        /// When it began.
        began: Timestamp,
        /// When it is given up.
        by: Timestamp,
    },
}

/// How a probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// The command ended with 0.
    Passed,
    /// It ended otherwise, took too long, or could not be run.
    Failed,
    /// Nobody could be asked.
    Unknown,
}

impl Watch {
    /// Of a container that does not run yet; none for a check that asks for nothing.
    pub(super) fn new(check: &HealthCheck) -> Option<Self> {
        check.argv()?;
        let (interval, timeout, retries) = (check.interval, check.timeout, check.retries);
        Some(Self {
            interval,
            timeout,
            retries,
            start_period: check.start_period.unwrap_or(0),
            health: Health::default(),
            changed: None,
            failures: 0,
            since: None,
            probe: Probe::Off,
        })
    }

    /// When [`Self::tick`] is due.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        match self.probe {
            Probe::Off => None,
            Probe::Due { at } => Some(at),
            Probe::UnderWay { by, .. } => Some(by),
        }
    }

    /// Begins and ends with the container's own life. What was known of it stays known.
    pub(super) fn follow(&mut self, runs: bool, now: Timestamp) {
        match self.probe {
            Probe::Off if runs => {
                self.since.get_or_insert(now);
                self.wait(now);
            }
            Probe::Due { .. } | Probe::UnderWay { .. } if !runs => self.probe = Probe::Off,
            Probe::Off | Probe::Due { .. } | Probe::UnderWay { .. } => {}
        }
    }

    /// Its container is started again: nothing of what was known is true of it. Docker does the same.
    pub(super) fn begin_anew(&mut self, now: Timestamp) {
        (self.failures, self.since, self.probe) = (0, None, Probe::Off);
        self.becomes(HealthStatus::Unknown, now);
    }

    /// Another agent goes on. It knows nothing of a probe under way, and its clock may be another one.
    pub(super) fn resume(&mut self, now: Timestamp) {
        self.since = self.since.map(|since| since.min(now));
        match self.probe {
            Probe::Off => {}
            Probe::Due { .. } | Probe::UnderWay { .. } => self.wait(now),
        }
    }

    /// True if a probe is to begin.
    pub(super) fn tick(&mut self, now: Timestamp) -> bool {
        match self.probe {
            Probe::Due { at } if at <= now => {
                let by = now.plus_millis(i64::from(self.timeout) * 1000 + OVERDUE);
                self.probe = Probe::UnderWay { began: now, by };
                true
            }
            Probe::UnderWay { by, .. } if by <= now => {
                self.wait(now);
                false
            }
            Probe::Off | Probe::Due { .. } | Probe::UnderWay { .. } => false,
        }
    }

    /// A probe has ended; one that was given up counts for nothing.
    pub(super) fn probed(&mut self, probed: Probed, now: Timestamp) {
        let Probe::UnderWay { began, .. } = self.probe else { return };
        self.wait(now);
        match probed {
            Probed::Passed => {
                self.failures = 0;
                self.becomes(HealthStatus::Healthy, now);
            }
            Probed::Failed if self.is_starting(began) => {}
            Probed::Failed => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= self.retries {
                    self.becomes(HealthStatus::Unhealthy, now);
                }
            }
            Probed::Unknown => {}
        }
    }

    fn is_starting(&self, began: Timestamp) -> bool {
        let unknown = match self.health.status {
            HealthStatus::Unknown => true,
            HealthStatus::Healthy | HealthStatus::Unhealthy => false,
        };
        let period = i64::from(self.start_period) * 1000;
        unknown && self.since.is_some_and(|since| began.millis_since(since) < period)
    }

    fn becomes(&mut self, status: HealthStatus, now: Timestamp) {
        if self.health.status != status {
            self.changed = Some(now);
            self.health = Health { status, changes: self.health.changes.saturating_add(1) };
        }
    }

    fn wait(&mut self, now: Timestamp) {
        self.probe = Probe::Due { at: now.plus_millis(i64::from(self.interval) * 1000) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use HealthStatus::{Healthy, Unhealthy, Unknown};

    const T0: Timestamp = Timestamp(1_700_000_000_000);

    fn watch(retries: u32, start_period: u32) -> Watch {
        let command = vec!["CMD".to_owned(), "true".to_owned()];
        let check = HealthCheck { command, interval: 10, timeout: 2, retries, start_period: Some(start_period) };
        let mut watch = Watch::new(&check).unwrap();
        assert_eq!(watch.deadline(), None);
        watch.follow(true, T0);
        watch
    }

    /// Plays probes that take a second each; what the health is after each.
    fn play(watch: &mut Watch, probes: &str) -> Vec<HealthStatus> {
        let ends = |letter| match letter {
            'p' => Probed::Passed,
            'f' => Probed::Failed,
            _ => Probed::Unknown,
        };
        probes
            .chars()
            .map(|letter| {
                let at = watch.deadline().unwrap();
                assert!(!watch.tick(at.plus_millis(-1)), "too early");
                assert!(watch.tick(at), "due");
                assert!(!watch.tick(at), "never two at a time");
                watch.probed(ends(letter), at.plus_millis(1000));
                assert_eq!(watch.deadline(), Some(at.plus_millis(11_000)), "an interval after its end");
                watch.health.status
            })
            .collect()
    }

    #[test]
    fn probes_are_counted_as_docker_counts_them() {
        let check = |retries: u32, start_period: u32, probes: &str, want: &[HealthStatus]| {
            assert_eq!(play(&mut watch(retries, start_period), probes), want, "{probes}");
        };
        check(3, 0, "fffp", &[Unknown, Unknown, Unhealthy, Healthy]);
        check(3, 0, "pffpfff", &[Healthy, Healthy, Healthy, Healthy, Healthy, Healthy, Unhealthy]);
        check(1, 0, "fpf", &[Unhealthy, Healthy, Unhealthy]);
        // They begin 10, 21, 32 and 43 s after the start.
        check(2, 33, "fffff", &[Unknown, Unknown, Unknown, Unknown, Unhealthy]);
        check(2, 33, "pff", &[Healthy, Healthy, Unhealthy]);
        check(1, 10, "f", &[Unhealthy]);
        // Who could not be asked has not failed, and is not well either.
        check(2, 0, "fufup", &[Unknown, Unknown, Unhealthy, Unhealthy, Healthy]);
    }

    #[test]
    fn a_stopped_container_keeps_its_health_and_is_not_probed() {
        let mut watch = watch(1, 0);
        play(&mut watch, "p");
        let at = watch.deadline().unwrap();
        watch.tick(at);
        watch.follow(false, at);
        watch.probed(Probed::Failed, at);
        assert_eq!((watch.health.status, watch.deadline()), (Healthy, None));
    }

    #[test]
    fn another_agent_goes_on_with_what_is_known() {
        for jump in [-40, 40].map(|days| days * 86_400_000) {
            let then = T0.plus_millis(jump);
            let mut watch = watch(2, 0);
            play(&mut watch, "pf");
            watch.tick(watch.deadline().unwrap());
            watch.resume(then);
            assert_eq!((watch.health.status, watch.deadline()), (Healthy, Some(then.plus_millis(10_000))));
            assert_eq!(play(&mut watch, "f"), [Unhealthy]);
        }
        // A clock that was set back does not make a start period of 5 s last for days.
        let mut watch = watch(1, 5);
        watch.resume(T0.plus_millis(-40 * 86_400_000));
        assert_eq!(play(&mut watch, "f"), [Unhealthy]);
    }

    #[test]
    fn a_probe_without_an_answer_is_given_up() {
        let mut watch = watch(1, 0);
        let at = watch.deadline().unwrap();
        assert!(watch.tick(at));
        let by = watch.deadline().unwrap();
        assert!(!watch.tick(by));
        watch.probed(Probed::Failed, by);
        assert_eq!((watch.health.status, watch.deadline()), (Unknown, Some(by.plus_millis(10_000))));
    }

    #[test]
    fn every_change_is_counted() {
        let mut watch = watch(1, 0);
        play(&mut watch, "ppffp");
        assert_eq!(watch.health, Health { status: Healthy, changes: 3 });
    }
}
