//! What tasks on two instances say to each other where it is encrypted: not on the wire, and on again when its process is killed.

use crate::{
    awsvpc::{Vpc, define},
    harness::{Cluster, processes, until},
};
use network::vpc::tunnel::{self, Maker};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, eth, recv, socket_with};
use std::{os::fd::OwnedFd, path::PathBuf, process::Command};

/// Hears every frame in the calling thread's network.
struct Wire(OwnedFd);

impl Wire {
    fn here() -> Self {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Self(socket_with(AddressFamily::PACKET, SocketType::RAW, flags, Some(eth::ALL)).unwrap())
    }

    /// The frames since it was asked last that are no talk of this machine with itself, which has no hardware addresses.
    fn heard(&self) -> Vec<Vec<u8>> {
        let (mut heard, mut buffer) = (Vec::new(), [0; 2048]);
        while let Ok((length, _)) = recv(&self.0, &mut buffer[..], RecvFlags::empty()) {
            if buffer[..12] != [0; 12] {
                heard.push(buffer[..length].to_vec());
            }
        }
        heard
    }
}

/// Where a packet of UDP over IPv4 goes to.
fn udp_port(frame: &[u8]) -> Option<u16> {
    let udp = frame.len() >= 42 && frame[12..14] == [8, 0] && frame[14] == 0x45 && frame[23] == 17;
    udp.then(|| u16::from_be_bytes([frame[36], frame[37]]))
}

/// The instances' devices.
fn devices(cluster: &Cluster) -> Vec<String> {
    let device = |pid: u32| {
        let net = format!("--net=/proc/{pid}/ns/net");
        let out = Command::new("nsenter").args([&net, "ip", "-o", "link"]).output().unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        let mut names = said.lines().filter_map(|line| Some(line.split(": ").nth(1)?.to_owned()));
        names.find(|name| name.starts_with("lsw"))
    };
    cluster.agents().into_values().filter_map(device).collect()
}

fn processes_of(devices: &[String]) -> Vec<u32> {
    let ours = |words: &[String]| words.iter().any(|word| devices.contains(word)) && words[0].ends_with("wireguard-go");
    processes().into_iter().filter(|(_, words)| ours(words)).map(|(pid, _)| pid).collect()
}

#[test]
fn what_tasks_say_is_not_on_the_wire() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let maker = match runtime.block_on(tunnel::find()) {
        Ok(maker) => maker,
        Err(error) => return eprintln!("SKIPPED: {error}"),
    };
    let mut cluster = Cluster::start_with(2, |_| vec![("LONGSHORE_VPC_ENCRYPTION".to_owned(), "true".to_owned())]);
    let api = cluster.api();
    define(&cluster, &api);
    let vpc = Vpc::new(&api, "10.8");
    let all = vpc.group("all");
    vpc.rule("AuthorizeSecurityGroupIngress", &all, 80, &all);
    // Two fit onto an instance.
    let tasks: Vec<_> = (0..3).map(|_| vpc.run(&cluster, "web", &[&all])).collect();
    let other = tasks.iter().find(|task| task.instance != tasks[0].instance).expect("all are on one instance");
    until("an answer", || tasks[0].reaches(other, 80).then_some(()));
    let wire = Wire::here();
    assert!(tasks[0].reaches(other, 80));
    let heard = wire.heard();
    let ports: Vec<_> = heard.iter().filter_map(|frame| udp_port(frame)).collect();
    assert!(ports.contains(&14_790) && !ports.contains(&14_789), "{ports:?}");
    assert!(!heard.iter().any(|frame| frame.windows(6).any(|part| part == b"answer")), "it is on the wire");
    let mtu = tasks[0].inside(&["ip", "-o", "link", "show", "dev", "eth0"]).unwrap();
    assert!(mtu.contains("mtu 1390"), "{mtu}");

    let devices = devices(&cluster);
    assert_eq!(devices.len(), 2, "{devices:?}");
    let before = processes_of(&devices);
    assert_eq!(before.len(), if maker == Maker::Userspace { 2 } else { 0 });
    // Agents that are killed come back to what stands, and a process that is killed is made good by them.
    let killed: Vec<u32> = cluster.agents().into_values().collect();
    for pid in &killed {
        Cluster::kill(*pid);
    }
    until("other agents", || cluster.agents().values().all(|pid| !killed.contains(pid)).then_some(()));
    cluster.until_connected(&api, 2);
    assert!(tasks[0].reaches(other, 80));
    assert_eq!(processes_of(&devices), before);
    for pid in &before {
        Cluster::kill(*pid);
    }
    until("the same devices again", || (processes_of(&devices).len() == before.len()).then_some(()));
    until("an answer again", || tasks[0].reaches(other, 80).then_some(()));

    assert!(cluster.stop_server(), "{}", cluster.log());
    assert_eq!(processes_of(&devices), [0; 0]);
    for device in devices {
        assert!(!PathBuf::from(format!("/var/run/wireguard/{device}.sock")).exists(), "{device}");
    }
}
