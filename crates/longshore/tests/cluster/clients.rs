//! Clients that send half a request for ever, by the thousand, against a server as a login shell starts it; and one of ours that waits.

use crate::harness::{Cluster, longshore, until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{io::Write, net::TcpStream};

/// What most machines let a process open unless somebody raised it.
const FILES: u64 = 1024;
const DAWDLERS: usize = 1_000;
/// KiB. The server takes some tens of MiB without them; a hundred bodies of the longest kind would take this much.
const MEMORY: u64 = 400 << 10;

fn dawdle(port: u16, half: &[u8]) -> Vec<TcpStream> {
    let connect = |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // It may have been shown out already.
        let _ = stream.write_all(half);
        stream
    };
    (0..DAWDLERS).map(connect).collect()
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn thousands_who_never_finish_keep_nobody_from_a_server_with_few_files() {
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(FILES), ..before }).unwrap();
    let mut cluster = Cluster::start(0);
    // We are the dawdlers and need more ourselves.
    setrlimit(Resource::Nofile, before).unwrap();
    let body = [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n".as_slice(), &[b'x'; 100_000]].concat();
    let mut dawdlers = dawdle(4566, b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: Am");
    dawdlers.extend(dawdle(4566, &body));
    dawdlers.extend(dawdle(4567, &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]));
    for number in 0..3 {
        let name = format!("normal-{number}");
        cluster.ecs("create-cluster", &["--cluster-name", &name]);
    }
    let memory = resident_kib(cluster.server_pid());
    assert!(memory < MEMORY, "{memory} KiB for {} clients that sent nothing whole", dawdlers.len());
    drop(dawdlers);
    assert_eq!(cluster.ecs("list-clusters", &[])["clusterArns"].as_array().unwrap().len(), 4);
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

#[test]
fn whoever_waits_at_the_command_line_waits_for_a_server_that_is_started_again() {
    let mut cluster = Cluster::start(1);
    cluster.define_told("long");
    let mut command = std::process::Command::new(longshore());
    command.args(["run", "long", "--wait"]).envs(cluster.environment()).env("HOME", cluster.path(""));
    let waits = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let api = cluster.api();
    until("its task", || {
        let listed = api.ecs("ListTasks", &serde_json::json!({"family": "long"}));
        let arn = listed["taskArns"][0].as_str()?.to_owned();
        (cluster.task(&arn)["lastStatus"] == "RUNNING").then_some(())
    });
    cluster.kill_server();
    cluster.launch_server();
    cluster.until_connected(&api, 1);
    cluster.end_told();
    let out = waits.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(42), "{}", String::from_utf8_lossy(&out.stderr));
}
