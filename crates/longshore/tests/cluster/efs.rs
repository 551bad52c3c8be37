//! Volumes of EFS: a real server of NFS, and tasks that see its files. Where this machine's kernel has no NFS, all of it runs in a
//! kernel of its own (`testkit::uml`).

use crate::{
    api::Api,
    harness::{environment, longshore, until},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output},
};
use testkit::{Reaper, isolate_network, registry::Registry, spawn_bound};

pub(crate) const FILE_SYSTEM: &str = "fs-0123456789abcdef0";
const UNKNOWN: &str = "fs-0123456789abcdef1";
pub(crate) const STAYS: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

/// The server's address, behind a cable of its own.
pub(crate) const SERVER: &str = "10.99.0.2";

/// A server with one instance, and an NFS server that has a network of its own.
pub(crate) struct Shared {
    dir: tempfile::TempDir,
    image: String,
    _registry: Registry,
    api: Option<Api>,
    server: Option<Child>,
    agent: Option<Child>,
    /// The NFS server, and what a test has put beside it.
    servers: Vec<Child>,
    _reaper: Reaper,
}

pub(crate) fn name() -> String {
    format!("lse{}", std::process::id())
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> Output {
    let out = Command::new(program).args(arguments).output().unwrap();
    assert!(out.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    out
}

pub(crate) fn ip(words: &str) {
    run("ip", &words.split(' ').collect::<Vec<_>>());
}

pub(crate) fn mounted() -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(" - nfs4 ")).map(str::to_owned).collect()
}

impl Shared {
    /// With what the server is told of file systems, once there is a file system.
    pub(crate) fn start(options: impl FnOnce(&mut Self) -> Vec<String>) -> Self {
        isolate_network().unwrap();
        let dir = tempfile::TempDir::with_prefix("longshore-efs-").unwrap();
        let cgroup = format!("/longshore-test-{}", name());
        let reaper = Reaper::start(dir.path(), &name(), &cgroup).unwrap();
        let registry = Registry::start().unwrap();
        let image = registry.busybox_image().unwrap();
        let (api, server, agent, servers) = (None, None, None, Vec::new());
        let mut shared = Self { dir, image, _registry: registry, api, server, agent, servers, _reaper: reaper };
        shared.export();
        let options = options(&mut shared);
        let words: Vec<&str> = ["server"].into_iter().chain(options.iter().map(String::as_str)).collect();
        shared.server = Some(shared.launch("server", &words));
        let data = shared.path("server");
        until("the server", || {
            Command::new(longshore())
                .args(["env", "--data-dir"])
                .arg(&data)
                .output()
                .ok()?
                .status
                .success()
                .then_some(())
        });
        let token = until("a token", || {
            let mut command = Command::new(longshore());
            command.args(["token", "create", "--cluster", "default"]).envs(environment(&data));
            let out = command.output().ok()?;
            out.status.success().then_some(out.stdout)
        });
        fs::write(shared.path("token"), token).unwrap();
        shared.api = Some(Api::of(&environment(&data)));
        shared.start_agent();
        shared
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn launch(&self, name: &str, arguments: &[&str]) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path(&format!("{name}.log"))).unwrap();
        let mut command = Command::new(longshore());
        command.args(arguments).arg("--data-dir").arg(self.path(name)).env("LONGSHORE_LOG", "info").stderr(log);
        spawn_bound(command, 9).unwrap()
    }

    pub(crate) fn start_agent(&mut self) {
        let (token, run) = (self.path("token").display().to_string(), self.path("run").display().to_string());
        let cgroup = format!("/longshore-test-{}", name());
        let arguments = ["agent", "--token-file", &token, "--run-dir", &run, "--cgroup", &cgroup];
        self.agent = Some(self.launch("agent", &arguments));
        let wanted = json!({"filter": "agentConnected == true"});
        until("the instance", || {
            let ended = self.agent.as_mut()?.try_wait().unwrap();
            assert!(ended.is_none(), "the agent ended: {}", self.log());
            let answer = self.api().try_ecs("ListContainerInstances", &wanted).ok()?;
            (answer["containerInstanceArns"].as_array()?.len() == 1).then_some(())
        });
    }

    pub(crate) fn kill_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    pub(crate) fn api(&self) -> &Api {
        self.api.as_ref().unwrap()
    }

    /// A file system of its own, which Debian's nfs-ganesha exports.
    fn export(&mut self) {
        let (disk, served, name) = (self.path("disk"), self.served(""), name());
        fs::create_dir_all(&served).unwrap();
        fs::File::create(&disk).unwrap().set_len(64 << 20).unwrap();
        run("mkfs.ext4", &["-q", "-F", &disk.display().to_string()]);
        run("mount", &["-o", "loop", &disk.display().to_string(), &served.display().to_string()]);
        fs::create_dir_all(self.served("app")).unwrap();
        ip(&format!("netns add {name}"));
        ip(&format!("link add {name} type veth peer name eth0 netns {name}"));
        ip(&format!("addr add 10.99.0.1/24 dev {name}"));
        ip(&format!("link set {name} up"));
        ip(&format!("-n {name} addr add {SERVER}/24 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        ip(&format!("-n {name} link set lo up"));
        let (conf, log, rec) = (self.path("nfs.conf"), self.path("nfs.log"), self.path("nfs"));
        fs::create_dir_all(&rec).unwrap();
        let text = format!(
            "NFS_CORE_PARAM {{ Protocols = 4; NFS_Port = 2049; Bind_addr = {SERVER}; Enable_NLM = false; Enable_RQUOTA = false; }}\n\
             NFSv4 {{ Graceless = true; Minor_Versions = 1; RecoveryBackend = fs; RecoveryRoot = {}; }}\n\
             EXPORT {{ Export_Id = 1; Path = {}; Pseudo = /export; Access_Type = RW; Squash = No_Root_Squash; SecType = sys;\n\
             Protocols = 4; FSAL {{ Name = VFS; }} }}\n",
            rec.display(),
            served.display()
        );
        fs::write(&conf, text).unwrap();
        let mut command = Self::beside();
        command.args(["ganesha.nfsd", "-F", "-N", "NIV_EVENT"]);
        command.arg("-f").arg(&conf).arg("-L").arg(&log).arg("-p").arg(self.path("nfs.pid"));
        self.servers.push(spawn_bound(command, 9).unwrap());
        until("the NFS server", || fs::read_to_string(&log).ok()?.contains("NFS SERVER INITIALIZED").then_some(()));
    }

    /// What runs a program in the network of the NFS server.
    fn beside() -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &name()]);
        command
    }

    /// Runs a program there as long as the test runs.
    pub(crate) fn serve(&mut self, log: &str, words: &[&str]) {
        let mut command = Self::beside();
        let log = fs::File::create(self.path(log)).unwrap();
        command.args(words).stdout(log.try_clone().unwrap()).stderr(log);
        self.servers.push(spawn_bound(command, 9).unwrap());
    }

    /// A file as the server of NFS has it.
    pub(crate) fn served(&self, name: &str) -> PathBuf {
        self.path("served").join(name)
    }

    pub(crate) fn log(&self) -> String {
        let of = |name: &str| fs::read_to_string(self.path(name)).unwrap_or_default();
        format!("{}\n{}\n{}", of("server.log"), of("agent.log"), of("nfs.log"))
    }

    /// Runs a task of one container; `volumes` are each a file system, its folder, the place, and whether it is only read there.
    fn task(&self, script: &str, volumes: &[(&str, &str, &str, bool)]) -> String {
        let volume = |(id, root, place, read_only): &(&str, &str, &str, bool)| {
            (json!({"fileSystemId": id, "rootDirectory": root}), place.to_string(), *read_only)
        };
        self.task_of(script, &volumes.iter().map(volume).collect::<Vec<_>>())
    }

    /// The same with what a definition says of each.
    pub(crate) fn task_of(&self, script: &str, volumes: &[(Value, String, bool)]) -> String {
        let volume = |(at, (efs, ..)): (usize, &(Value, String, bool))| json!({"name": format!("v{at}"), "efsVolumeConfiguration": efs});
        let point = |(at, (_, place, read_only)): (usize, &(Value, String, bool))| json!({"sourceVolume": format!("v{at}"), "containerPath": place, "readOnly": read_only});
        let container = json!({
            "name": "main", "image": self.image, "memory": 32, "stopTimeout": 2, "command": ["sh", "-c", script],
            "mountPoints": volumes.iter().enumerate().map(point).collect::<Vec<_>>(),
        });
        let volumes: Vec<_> = volumes.iter().enumerate().map(volume).collect();
        let definition =
            json!({"family": "efs", "networkMode": "host", "containerDefinitions": [container], "volumes": volumes});
        let made = self.api().ecs("RegisterTaskDefinition", &definition);
        let asked = json!({"taskDefinition": made["taskDefinition"]["taskDefinitionArn"]});
        // An agent that was just started anew may not be connected yet.
        until("the machine takes it", || {
            let answer = self.api().ecs("RunTask", &asked);
            let reason = answer["failures"][0]["reason"].as_str();
            assert!(matches!(reason, None | Some("AGENT")), "{answer:#}");
            answer["tasks"][0]["taskArn"].as_str().map(str::to_owned)
        })
    }

    pub(crate) fn wait(&self, arn: &str, status: &str) -> Value {
        until(&format!("{arn} {status}"), || {
            let task = self.api().ecs("DescribeTasks", &json!({"tasks": [arn]}))["tasks"][0].clone();
            assert!(status == "STOPPED" || task["lastStatus"] != "STOPPED", "{task:#}\n{}", self.log());
            (task["lastStatus"] == status).then_some(task)
        })
    }

    /// A task with that volume does not start, and its reason has these words.
    pub(crate) fn refused(&self, efs: Value, words: &[&str]) {
        let task = self.task_of("true", &[(efs, "/x".to_owned(), false)]);
        let stopped = self.wait(&task, "STOPPED");
        let reason = stopped["stoppedReason"].as_str().unwrap_or_default();
        let begins = "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: stderr: ";
        assert_eq!(stopped["stopCode"], "TaskFailedToStart", "{stopped:#}");
        assert!(reason.starts_with(begins) && words.iter().all(|word| reason.contains(word)), "{reason}");
    }

    pub(crate) fn until_gone(&self, what: &str) {
        until(what, || {
            mounted().iter().all(|line| !line.contains(&self.dir.path().display().to_string())).then_some(())
        });
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}\n{:?}", self.log(), mounted());
            // Whoever clears up would wait for a server that is gone.
            let below = self.dir.path().display().to_string();
            for place in mounted().iter().filter_map(|line| line.split(' ').nth(4)).filter(|at| at.starts_with(&below))
            {
                let _ = Command::new("umount").args(["-l", place]).status();
            }
        }
        for child in self.agent.iter_mut().chain(&mut self.server).chain(&mut self.servers) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn tasks_share_files_of_an_nfs_server() {
    if !runtime::NfsMounts::can() {
        let test = "efs::tasks_share_files_of_an_nfs_server";
        return testkit::uml::run_again(test, &["nfsv4", "bridge", "nf_tables"]).unwrap();
    }
    let mut shared = Shared::start(|_| vec!["--efs".to_owned(), format!("{FILE_SYSTEM}={SERVER}:/export")]);
    let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let writes = shared.task(&format!("echo one > /data/file; {STAYS}"), &[(FILE_SYSTEM, "/app", "/data", false)]);
    shared.wait(&writes, "RUNNING");
    until("what was written", || (text(&shared.served("app/file")) == "one\n").then_some(()));
    assert_eq!(mounted().len(), 1, "{:?}", mounted());

    // Another agent finds it mounted, and another task sees what is there.
    shared.kill_agent();
    shared.start_agent();
    let reads = "(echo x > /ro/mine) 2> /dev/null; cat /ro/file > /all/seen; ls /ro >> /all/seen";
    let reads = shared.task(reads, &[(FILE_SYSTEM, "/app", "/ro", true), (FILE_SYSTEM, "/", "/all", false)]);
    let stopped = shared.wait(&reads, "STOPPED");
    assert_eq!(stopped["containers"][0]["exitCode"], 0, "{stopped:#}");
    assert_eq!(text(&shared.served("seen")), "one\nfile\n", "a place that is only read was written");
    until("one mount", || (mounted().len() == 1).then_some(()));

    let refused = |(id, root, ..): (&str, &str, &str, bool), words: [&str; 2]| {
        shared.refused(json!({"fileSystemId": id, "rootDirectory": root}), &words);
    };
    refused((UNKNOWN, "/", "/x", false), ["Failed to resolve \"fs-0123456789abcdef1\"", "code: 1"]);
    let nothing = ["mount.nfs4: mounting 10.99.0.2:/export/", "No such file or directory"];
    refused((FILE_SYSTEM, "/nowhere", "/x", false), nothing);
    // Whoever writes to an export makes links in it, which lead this machine nowhere, be it within the export.
    for (link, to) in [("out", "/../../etc"), ("in", "app")] {
        std::os::unix::fs::symlink(to, shared.served(link)).unwrap();
        refused((FILE_SYSTEM, &format!("/{link}"), "/x", false), nothing);
    }
    until("one mount", || (mounted().len() == 1).then_some(()));

    // A server that is gone holds up neither the end of a task nor another one.
    // Its shell has two files open, which the kernel closes one after the other when it is killed.
    let beats = "exec 3> /data/held 4> /data/held-too; while :; do date > /data/beat; done";
    let beats = shared.task(beats, &[(FILE_SYSTEM, "/app", "/data", false)]);
    shared.wait(&beats, "RUNNING");
    until("a beat", || (!text(&shared.served("app/beat")).is_empty()).then_some(()));
    ip(&format!("-n {} link set eth0 down", name()));
    refused((FILE_SYSTEM, "/", "/x", false), ["mount.nfs4: ", "code: 32"]);
    for task in [&writes, &beats] {
        shared.api().ecs("StopTask", &json!({ "task": task }));
    }
    assert_eq!(shared.wait(&shared.task("true", &[]), "STOPPED")["containers"][0]["exitCode"], 0);
    shared.wait(&writes, "STOPPED");
    shared.wait(&beats, "STOPPED");
    shared.until_gone("the file systems to be taken away");
    until("nothing of it", || {
        let left = fs::read_dir(shared.path("run/efs")).map(|all| all.count()).unwrap_or(0);
        (left == 0).then_some(())
    });
}
