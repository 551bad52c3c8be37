//! Volumes of EFS that are reached over TLS: a real server of NFS behind a stunnel of its own, and whoever listens on the cable between.
//! Where this machine's kernel has no NFS, all of it runs in a kernel of its own (`testkit::uml`).

use crate::{
    efs::{FILE_SYSTEM, SERVER, STAYS, Shared, ip, mounted, name, run},
    harness::until,
    receivers::certificates,
};
use serde_json::{Value, json};
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};
use testkit::isolate_mounts;

/// File systems over TLS: one as it should be, one whose server has a certificate of another name, one whose certificate is of another
/// authority.
const ENCRYPTED: &str = "fs-0123456789abcdef2";
const MISNAMED: &str = "fs-0123456789abcdef3";
const STRANGER: &str = "fs-0123456789abcdef4";
const ACCESS_POINT: &str = "fsap-0123456789abcdef0";
/// What the server is called, which only this test knows, and by a name that its certificate does not have.
const HOST: &str = "nas.example";
const OTHER: &str = "other.example";

/// Writes all that passes the cable, as it is.
const LISTENS: &str = "import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(('eth0', 0))
out = open(sys.argv[1], 'ab', 0)
print('listening', flush=True)
while True:
    out.write(s.recv(1 << 20))
";

/// Has the server's name lead to its address, here alone.
fn name_server(shared: &Shared) {
    isolate_mounts().unwrap();
    let hosts = shared.path("hosts");
    fs::write(&hosts, format!("127.0.0.1 localhost\n{SERVER} {HOST} {OTHER}\n")).unwrap();
    run("mount", &["--bind", &hosts.display().to_string(), "/etc/hosts"]);
}

/// A stunnel before the NFS server, with a certificate of that name. Answers the certificate's authority.
fn encrypt(shared: &mut Shared, folder: &str, port: u16, name: &str) -> PathBuf {
    let dir = shared.path(folder);
    fs::create_dir_all(&dir).unwrap();
    let [ca, cert, key] = certificates(&dir, name);
    let conf = dir.join("server.conf");
    let text = format!(
        "foreground = yes\npid =\n[nfs]\naccept = {SERVER}:{port}\nconnect = {SERVER}:2049\ncert = {}\nkey = {}\n",
        cert.display(),
        key.display()
    );
    fs::write(&conf, text).unwrap();
    shared.serve(&format!("{folder}.log"), &["stunnel", &conf.display().to_string()]);
    ca
}

fn start() -> Shared {
    let options = |shared: &mut Shared| {
        name_server(shared);
        let ca = encrypt(shared, "tls", 20490, HOST);
        encrypt(shared, "stranger", 20491, HOST);
        let (script, wire) = (shared.path("listen.py"), shared.path("wire"));
        fs::write(&script, LISTENS).unwrap();
        let words = ["python3", &script.display().to_string(), &wire.display().to_string()];
        shared.serve("listen.log", &words);
        until("who listens", || fs::read(shared.path("listen.log")).is_ok_and(|said| !said.is_empty()).then_some(()));
        let mut options = vec!["--efs-ca".to_owned(), ca.display().to_string()];
        for (id, place) in [
            (FILE_SYSTEM, format!("{SERVER}:/export")),
            (ENCRYPTED, format!("tls://{HOST}:20490/export")),
            (MISNAMED, format!("tls://{OTHER}:20490/export")),
            (STRANGER, format!("tls://{HOST}:20491/export")),
        ] {
            options.extend(["--efs".to_owned(), format!("{id}={place}")]);
        }
        options.extend(["--efs-access-point".to_owned(), format!("{ACCESS_POINT}={ENCRYPTED}:/app/web")]);
        options
    };
    Shared::start(options)
}

/// The processes of the agent's tunnels.
fn tunnels(shared: &Shared) -> Vec<i32> {
    let below = shared.path("run").display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        if words.next().is_some_and(|program| program.ends_with("/stunnel"))
            && words.next().is_some_and(|conf| conf.starts_with(&below))
        {
            found.push(pid);
        }
    }
    found
}

fn the_tunnel(shared: &Shared) -> i32 {
    let [pid] = tunnels(shared)[..] else { panic!("{:?}", tunnels(shared)) };
    pid
}

fn kill(pid: i32) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
}

fn number(path: &Path) -> u64 {
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn volume(efs: Value) -> [(Value, String, bool); 1] {
    [(efs, "/data".to_owned(), false)]
}

fn encrypted(more: &Value) -> Value {
    let mut efs = json!({"fileSystemId": ENCRYPTED, "transitEncryption": "ENABLED"});
    efs.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    efs
}

#[test]
fn what_travels_over_tls_is_read_by_nobody_on_the_way() {
    if !runtime::NfsMounts::can() {
        let test = "efs_tls::what_travels_over_tls_is_read_by_nobody_on_the_way";
        return testkit::uml::run_again(test, &["nfsv4", "bridge", "nf_tables"]).unwrap();
    }
    let mut shared = start();
    let text = |path: &str| fs::read_to_string(shared.served(path)).unwrap_or_default();
    // In the clear first, and still mounted when the others are: the kernel must not find out that it is the same server.
    let script = format!("echo in-the-clear-one > /data/clear; {STAYS}");
    let clear = shared.task_of(&script, &volume(json!({"fileSystemId": FILE_SYSTEM})));
    until("what was written", || (text("clear") == "in-the-clear-one\n").then_some(()));
    fs::create_dir_all(shared.served("app/web")).unwrap();
    fs::write(shared.served("app/web/page"), "kept-to-oneself-two\n").unwrap();

    // One that says nothing of encryption gets it too, and an access point at a port that it names.
    let beats =
        "echo kept-to-oneself-one > /data/app/secret; n=0; while :; do n=$((n + 1)); echo $n > /data/beat; done";
    let beats = shared.task_of(beats, &volume(json!({"fileSystemId": ENCRYPTED})));
    shared.wait(&beats, "RUNNING");
    let beat = shared.served("beat");
    until("a beat", || (number(&beat) > 0).then_some(()));
    let point = json!({"transitEncryptionPort": 20777, "authorizationConfig": {"accessPointId": ACCESS_POINT}});
    let reads = "ls /data > /data/seen; cat /data/page >> /data/seen; echo kept-to-oneself-three >> /data/seen";
    let reads = shared.task_of(reads, &volume(encrypted(&point)));
    let stopped = shared.wait(&reads, "STOPPED");
    assert_eq!(stopped["containers"][0]["exitCode"], 0, "{stopped:#}");
    assert_eq!(text("app/secret"), "kept-to-oneself-one\n");
    assert_eq!(text("app/web/seen"), "page\nseen\nkept-to-oneself-two\nkept-to-oneself-three\n");
    let there = || mounted().into_iter().filter(|line| line.contains("addr=127.0.0.2")).count();
    until("one tunnel", || (tunnels(&shared).len() == 1 && there() == 1).then_some(()));

    refuses(&shared);
    heals(&mut shared, &beat);

    let wire = String::from_utf8_lossy(&fs::read(shared.path("wire")).unwrap()).into_owned();
    assert!(wire.contains("in-the-clear-one"), "whoever listens hears nothing");
    assert!(!wire.contains("kept-to-oneself"), "whoever listens hears all");

    for task in [&clear, &beats] {
        shared.api().ecs("StopTask", &json!({ "task": task }));
        shared.wait(task, "STOPPED");
    }
    shared.until_gone("the file systems to be taken away");
    until("no tunnel", || {
        let left = fs::read_dir(shared.path("run/efs-tls")).unwrap().count();
        (tunnels(&shared).is_empty() && left == 0).then_some(())
    });
    // A server that is gone is told from a tunnel that listens.
    ip(&format!("-n {} link set eth0 down", name()));
    shared.refused(encrypted(&json!({})), &["mount.nfs4: mounting nas.example:/export", "code: 32"]);
    until("no tunnel", || tunnels(&shared).is_empty().then_some(()));
}

/// Nothing is mounted of a server that is not who it should be, and a task's reason says why.
fn refuses(shared: &Shared) {
    for (id, server, why) in [
        (MISNAMED, "other.example:20490", "Subject checks failed"),
        (STRANGER, "nas.example:20491", "Pre-verification error"),
    ] {
        let told = format!("(TLS to {server}: CERT: {why}");
        let words = ["mount.nfs4: mounting ", &told, "certificate verify failed", "code: 32"];
        shared.refused(json!({"fileSystemId": id, "transitEncryption": "ENABLED"}), &words);
    }
    let nothing = ["mount.nfs4: mounting nas.example:/export/nowhere failed", "No such file or directory"];
    shared.refused(encrypted(&json!({"rootDirectory": "/nowhere"})), &nothing);
    shared.refused(
        json!({"fileSystemId": FILE_SYSTEM, "transitEncryption": "ENABLED"}),
        &["Failed to initialize TLS tunnel for fs-0123456789abcdef0", "code: 1"],
    );
    let unknown = json!({"authorizationConfig": {"accessPointId": "fsap-0123456789abcdef1"}});
    shared.refused(encrypted(&unknown), &["access denied by server", "fsap-0123456789abcdef1"]);
    let _taken = TcpListener::bind("127.0.0.2:20778").unwrap();
    let taken = json!({"transitEncryptionPort": 20778});
    shared.refused(encrypted(&taken), &["Specified port [20778] is unavailable."]);
    until("one tunnel", || (tunnels(shared).len() == 1).then_some(()));
}

/// A container goes on whoever is killed, and as soon as somebody looks after its tunnel.
fn heals(shared: &mut Shared, beat: &Path) {
    let goes_on = |what: &str| {
        let from = number(beat);
        until(what, || (number(beat) > from + 1).then_some(()));
    };
    let killed = the_tunnel(shared);
    kill(killed);
    until("another tunnel", || tunnels(shared).iter().any(|pid| *pid != killed).then_some(()));
    goes_on("beats through another tunnel");
    let tunnel = the_tunnel(shared);
    shared.kill_agent();
    goes_on("beats without an agent");
    assert_eq!(the_tunnel(shared), tunnel);
    shared.start_agent();
    goes_on("beats with another agent");
    assert_eq!(the_tunnel(shared), tunnel, "a tunnel that lives was made anew");
    shared.kill_agent();
    kill(tunnel);
    until("its end", || tunnels(shared).is_empty().then_some(()));
    shared.start_agent();
    goes_on("beats through a tunnel of another agent");
    let tunnel = the_tunnel(shared);
    // Whoever looks after one that was found starts that again too.
    kill(tunnel);
    goes_on("beats through the last tunnel");
}
