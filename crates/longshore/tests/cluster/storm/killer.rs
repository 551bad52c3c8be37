//! The one who kills, with SIGKILL and at random. Agents and containerd are brought back by the product; the server by us, as an
//! init system would.

use super::Chance;
use crate::harness::{Cluster, processes};
use effects::Effects;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{collections::BTreeSet, time::Duration};

/// Longest pause between two deaths, in milliseconds: some fall into the recovery from the one before.
const PAUSE: u64 = 3_000;
/// Longest time without a server, in milliseconds.
const AWAY: u64 = 2_000;

/// Whom it killed.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    pub(super) servers: u32,
    pub(super) agents: u32,
    pub(super) containerds: u32,
    /// The containers whose shims were killed.
    pub(super) shims: BTreeSet<String>,
}

impl Deaths {
    pub(super) fn assert_it_was_a_storm(&self) {
        let all = [self.servers, self.agents, self.containerds, u32::try_from(self.shims.len()).unwrap()];
        assert!(all.iter().all(|count| *count > 0), "{self:?}");
    }
}

pub(super) struct Killer {
    chance: Chance,
    time: Effects,
    length: Duration,
    deaths: Deaths,
}

impl Killer {
    pub(super) fn new(chance: Chance, length: Duration) -> Self {
        Self { chance, time: Effects::real(), length, deaths: Deaths::default() }
    }

    pub(super) fn run(mut self, cluster: &mut Cluster) -> Deaths {
        // The first four are one of each, so that a short storm is one too.
        let mut round = 0;
        while self.time.monotonic() < self.length {
            self.pause(PAUSE);
            cluster.assert_server_lives();
            let victim = if round < 4 { round } else { self.chance.below(5) };
            let struck = match victim {
                0 => self.server(cluster),
                1 => self.agent(cluster),
                2 => self.containerd(cluster),
                _ => self.shim(cluster),
            };
            round += u64::from(struck);
        }
        self.deaths
    }

    #[allow(clippy::disallowed_methods)] // The pace of death.
    fn pause(&self, longest: u64) {
        std::thread::sleep(Duration::from_millis(self.chance.below(longest)));
    }

    fn server(&mut self, cluster: &mut Cluster) -> bool {
        cluster.kill_server();
        self.pause(AWAY);
        cluster.launch_server();
        self.deaths.servers += 1;
        true
    }

    fn agent(&mut self, cluster: &Cluster) -> bool {
        let agents: Vec<_> = cluster.agents().into_iter().collect();
        let Some((instance, pid)) = agents.get(self.chance.below(agents.len().max(1) as u64) as usize) else {
            return false;
        };
        // A dead agent's number may be somebody else's by now.
        let folder = cluster.data().join("instances").join(instance).display().to_string();
        let struck = strike(*pid, |words| words.iter().any(|w| w == "agent") && words.contains(&folder));
        self.deaths.agents += u32::from(struck);
        struck
    }

    fn containerd(&mut self, cluster: &Cluster) -> bool {
        let Some(pid) = cluster.containerd() else { return false };
        let struck = strike(pid, |words| words.iter().any(|w| w.ends_with("containerd.toml")));
        self.deaths.containerds += u32::from(struck);
        struck
    }

    fn shim(&mut self, cluster: &Cluster) -> bool {
        let shims = cluster.shims();
        let Some(shim) = shims.get(self.chance.below(shims.len().max(1) as u64) as usize) else { return false };
        let struck = strike(shim.pid, |words| words.contains(&shim.container));
        if struck {
            self.deaths.shims.insert(shim.container.clone());
        }
        struck
    }
}

/// kill -9 of a process that still is who it was.
fn strike(pid: u32, is_it: impl Fn(&Vec<String>) -> bool) -> bool {
    let Some(handle) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    let Ok(process) = pidfd_open(handle, PidfdFlags::empty()) else { return false };
    let still = processes().into_iter().any(|(other, words)| other == pid && is_it(&words));
    still && pidfd_send_signal(&process, Signal::KILL).is_ok()
}
