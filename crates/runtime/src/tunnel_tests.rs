//! Tunnels of a real stunnel: which there are, and that each lives as long as it is used and no longer. What goes through one is seen
//! by the test of volumes (`efs_tls` of the cluster's tests).

use super::*;
use std::collections::BTreeSet;
use testkit::{Reaper, isolate_network};

struct Machine {
    dir: tempfile::TempDir,
    _reaper: Reaper,
}

impl Machine {
    fn new() -> Self {
        isolate_network().unwrap();
        let dir = tempfile::TempDir::with_prefix("longshore-tunnels-").unwrap();
        let name = format!("lst{}", std::process::id());
        let reaper = Reaper::start(dir.path(), &name, &format!("/longshore-test-{name}")).unwrap();
        Self { dir, _reaper: reaper }
    }

    /// What an agent has, and what another has after it.
    fn tunnels(&self) -> (Tunnels, Effects) {
        let effects = Effects::real();
        (Tunnels::new(self.dir.path().join("tls"), effects.clone()), effects)
    }

    /// The processes that there are, by the folder that they were told of.
    fn processes(&self) -> BTreeSet<(String, i32)> {
        let below = self.dir.path().display().to_string();
        let mut found = BTreeSet::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
            if let Some(conf) = words.get(1).filter(|conf| conf.starts_with(&below) && conf.ends_with("stunnel.conf")) {
                found.insert((conf.rsplit('/').nth(1).unwrap().to_owned(), pid));
            }
        }
        found
    }

    fn ports(&self) -> Vec<String> {
        self.processes().into_iter().map(|(port, _)| port).collect()
    }

    fn left(&self) -> usize {
        fs::read_dir(self.dir.path().join("tls")).unwrap().count()
    }
}

fn to(host: &str, local: Option<u16>) -> TunnelTo {
    TunnelTo { host: host.into(), port: 2049, authorities: None, local }
}

fn none() -> io::Result<HashSet<u16>> {
    Ok(HashSet::new())
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let effects = Effects::real();
    let limit = effects.monotonic() + Duration::from_secs(30);
    while !is() {
        assert!(effects.monotonic() < limit, "{what}");
        effects.sleep(LOOKS_AGAIN).await;
    }
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

#[tokio::test]
async fn there_is_one_for_each_place_as_long_as_it_is_used() {
    let machine = Machine::new();
    let (tunnels, _) = machine.tunnels();
    let first = tunnels.ensure(&to("10.9.9.9", None)).await.unwrap();
    let same = tunnels.ensure(&to("10.9.9.9", None)).await.unwrap();
    assert_eq!((first.port(), same.port()), (20_049, 20_049));
    let authorities = Some("-----BEGIN CERTIFICATE-----".to_owned());
    // That is no certificate, which stunnel says.
    let refused = tunnels.ensure(&TunnelTo { authorities, ..to("10.9.9.9", None) }).await.err().unwrap().to_string();
    assert!(refused.starts_with("Failed to initialize TLS tunnel: stunnel: "), "{refused}");
    assert_eq!(machine.left(), 1, "what could not be made is left");

    let taken = TcpListener::bind((TUNNEL_ADDRESS, 20050)).unwrap();
    let other = tunnels.ensure(&to("10.9.9.8", None)).await.unwrap();
    let told = tunnels.ensure(&to("10.9.9.9", Some(30_000))).await.unwrap();
    assert_eq!((other.port(), told.port()), (20_051, 30_000));
    for port in [20_049, 20_050, 30_000] {
        let refused = tunnels.ensure(&to("10.9.9.7", Some(port))).await.err().unwrap().to_string();
        assert_eq!(refused, format!("Specified port [{port}] is unavailable. Try selecting a different port."));
    }
    drop(taken);
    assert_eq!(machine.ports(), ["20049", "20051", "30000"]);

    // Who has one in hand keeps it, and so does who is connected through it.
    drop(first);
    drop(other);
    tunnels.sweep(|| Ok(HashSet::from([30_000]))).await.unwrap();
    assert_eq!(machine.ports(), ["20049", "30000"]);
    drop(same);
    drop(told);
    tunnels.sweep(|| Ok(HashSet::from([30_000]))).await.unwrap();
    assert_eq!(machine.ports(), ["30000"]);
    tunnels.sweep(none).await.unwrap();
    assert_eq!((machine.ports().len(), machine.left()), (0, 0));
}

#[tokio::test]
async fn one_that_is_killed_is_started_again_and_one_that_is_left_is_found() {
    let machine = Machine::new();
    let (tunnels, effects) = machine.tunnels();
    let tunnel = tunnels.ensure(&to("10.9.9.9", None)).await.unwrap();
    let pid = |machine: &Machine| machine.processes().first().map(|(_, pid)| *pid);
    let before = pid(&machine).unwrap();
    kill(before);
    until("another process", || pid(&machine).is_some_and(|pid| pid != before) && is_taken(tunnel.port())).await;

    // Its user outlives whoever made it.
    drop(tunnel);
    assert!(effects.drain(Duration::from_secs(10)).await, "whoever watched it holds up the end");
    let before = pid(&machine).unwrap();
    let (tunnels, _) = machine.tunnels();
    let used = || Ok(HashSet::from([20_049]));
    tunnels.adopt(used).await.unwrap();
    assert_eq!(pid(&machine), Some(before), "one that lived was made anew");
    assert_eq!(tunnels.ensure(&to("10.9.9.9", None)).await.unwrap().port(), 20_049);
    kill(before);
    until("another process", || pid(&machine).is_some_and(|pid| pid != before)).await;
    tunnels.sweep(none).await.unwrap();
    assert_eq!((pid(&machine), machine.left()), (None, 0));
}

/// A number that was a tunnel's is somebody else's by now.
#[tokio::test]
async fn nobody_else_is_taken_for_a_tunnel() {
    let machine = Machine::new();
    let (tunnels, effects) = machine.tunnels();
    drop(tunnels.ensure(&to("10.9.9.9", None)).await.unwrap());
    assert!(effects.drain(Duration::from_secs(10)).await);
    let (_, before) = machine.processes().first().cloned().unwrap();
    kill(before);
    until("its end", || machine.processes().is_empty()).await;
    let mut other = std::process::Command::new("sleep");
    other.arg("1000");
    let mut other = testkit::spawn_bound(other, 9).unwrap();
    fs::write(machine.dir.path().join("tls/20049/lock"), other.id().to_string()).unwrap();

    let (tunnels, _) = machine.tunnels();
    tunnels.adopt(|| Ok(HashSet::from([20_049]))).await.unwrap();
    until("a process", || !machine.processes().is_empty()).await;
    fs::remove_file(machine.dir.path().join("tls/20049/stunnel.log")).unwrap();
    tunnels.sweep(none).await.unwrap();
    assert_eq!((machine.processes().len(), machine.left()), (0, 0));
    // It left a folder in which nobody holds the lock.
    fs::create_dir_all(machine.dir.path().join("tls/20050")).unwrap();
    fs::write(machine.dir.path().join("tls/20050/lock"), other.id().to_string()).unwrap();
    tunnels.sweep(none).await.unwrap();
    assert_eq!((other.try_wait().unwrap(), machine.left()), (None, 0));
    other.kill().unwrap();
    other.wait().unwrap();
}
