//! A cluster for one test.

use crate::api::Api;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};
use testkit::{isolate_network, registry::Registry, spawn_bound};

/// Bounds a failure; what is waited for takes a second or two, and minutes only on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A registry, a server and its local instances, in the calling thread's own network.
pub(crate) struct Cluster {
    registry: Option<Registry>,
    pub(crate) image: String,
    dir: tempfile::TempDir,
    server: Option<Child>,
    pub(crate) instances: u32,
    instance_type: &'static str,
    /// What the server and all it starts find in their environment besides.
    extra: Vec<(String, String)>,
}

/// The binary under test.
pub(crate) fn longshore() -> &'static str {
    env!("CARGO_BIN_EXE_longshore")
}

/// Waits until `ask` answers something.
#[allow(clippy::disallowed_methods)] // Real processes take real time.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What clients of a server with that data directory are told.
pub(crate) fn environment(data: &Path) -> Vec<(String, String)> {
    let out = Command::new(longshore()).args(["env", "--data-dir"]).arg(data).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let exports = text.lines().filter_map(|l| l.strip_prefix("export ")?.split_once('='));
    exports.map(|(k, v)| (k.to_owned(), v.trim_matches('\'').to_owned())).collect()
}

impl Cluster {
    /// Brings up `instances` local instances. Must be called first in a test: it gives the thread its own network.
    pub(crate) fn start(instances: u32) -> Self {
        Self::start_with(instances, |_| Vec::new())
    }

    /// The same, with more in the environment of the server and all it starts; it may name files in the cluster's folder.
    pub(crate) fn start_with(instances: u32, extra: impl FnOnce(&Path) -> Vec<(String, String)>) -> Self {
        Self::make(instances, "t3.medium", extra)
    }

    /// Instances of another type than the usual one.
    pub(crate) fn start_as(instances: u32, instance_type: &'static str) -> Self {
        Self::make(instances, instance_type, |_| Vec::new())
    }

    fn make(instances: u32, instance_type: &'static str, extra: impl FnOnce(&Path) -> Vec<(String, String)>) -> Self {
        isolate_network().unwrap();
        let registry = Registry::start().unwrap();
        let image = registry.busybox_image().unwrap();
        let dir = tempfile::TempDir::with_prefix("longshore-test-").unwrap();
        let extra = extra(dir.path());
        let mut cluster = Self { registry: Some(registry), image, dir, server: None, instances, instance_type, extra };
        cluster.start_server();
        cluster
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Starts `longshore dev` and waits until its instances are there.
    pub(crate) fn start_server(&mut self) {
        self.launch_server();
        self.wait_for_instances();
    }

    /// Waits until they are connected.
    pub(crate) fn wait_for_instances(&mut self) {
        let wanted = self.instances as usize;
        until("instances", || {
            let child = self.server.as_mut()?;
            if let Ok(Some(status)) = child.try_wait() {
                panic!("the server ended with {status}:\n{}", self.log());
            }
            (self.connected()? == wanted).then_some(())
        });
    }

    /// Starts `longshore dev` and waits for nothing.
    pub(crate) fn launch_server(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("dev.log")).unwrap();
        let mut command = Command::new(longshore());
        command
            .args([
                "dev",
                "--instances",
                &self.instances.to_string(),
                "--instance-type",
                self.instance_type,
                "--data-dir",
            ])
            .arg(self.data())
            .env("LONGSHORE_LOG", "info")
            // Most tests count instances.
            .env("LONGSHORE_FARGATE_INSTANCES", "0")
            .envs(self.extra.iter().cloned())
            .stdout(Stdio::null())
            .stderr(log);
        // SIGTERM: it takes its instances down before it ends.
        self.server = Some(spawn_bound(command, 15).unwrap());
    }

    /// Whether the server has ended by itself.
    pub(crate) fn server_has_ended(&mut self) -> bool {
        self.server.as_mut().is_none_or(|server| server.try_wait().unwrap().is_some())
    }

    /// The usual image with this folder's content at `/more`.
    pub(crate) fn image_with(&self, folder: &Path) -> String {
        self.registry.as_ref().unwrap().busybox_with(folder).unwrap()
    }

    /// The same under that tag, which declares these volumes.
    pub(crate) fn image_declaring(&self, tag: &str, folder: &Path, volumes: &[&str]) -> String {
        self.registry.as_ref().unwrap().busybox_declaring(tag, folder, volumes).unwrap()
    }

    /// More in the environment of servers that are started from now on, and of all that they start.
    pub(crate) fn set(&mut self, name: &str, value: String) {
        self.extra.push((name.to_owned(), value));
    }

    /// The registry's address.
    pub(crate) fn registry(&self) -> String {
        self.registry.as_ref().unwrap().address()
    }

    fn connected(&self) -> Option<usize> {
        let answer = self.try_ecs("list-container-instances", &["--filter", "agentConnected == true"])?;
        Some(answer["containerInstanceArns"].as_array()?.len())
    }

    /// What server and agents said.
    pub(crate) fn log(&self) -> String {
        let mut text = fs::read_to_string(self.path("dev.log")).unwrap_or_default();
        for entry in fs::read_dir(self.data().join("instances")).into_iter().flatten().flatten() {
            let own = fs::read_to_string(entry.path().join("agent.log")).unwrap_or_default();
            text.push_str(&format!("\n== {}\n{own}", entry.path().display()));
        }
        text
    }

    /// The pid of the server.
    pub(crate) fn server_pid(&self) -> u32 {
        self.server.as_ref().unwrap().id()
    }

    /// The pids of the agents that run now, by instance.
    pub(crate) fn agents(&self) -> BTreeMap<String, u32> {
        let entries = fs::read_dir(self.data().join("instances")).into_iter().flatten().flatten();
        entries
            .filter_map(|e| {
                let pid = fs::read_to_string(e.path().join("agent.lock")).ok()?.trim().parse().ok()?;
                Some((e.file_name().into_string().ok()?, pid))
            })
            .collect()
    }

    /// The file that says what a local instance's metadata service tells.
    pub(crate) fn instance_metadata(&self, instance: &str) -> PathBuf {
        self.data().join("instances").join(instance).join("metadata.json")
    }

    /// The pid of the instances' containerd, if one runs.
    pub(crate) fn containerd(&self) -> Option<u32> {
        let configuration = self.path("data/containerd/containerd.toml").display().to_string();
        let mut all = processes().into_iter();
        all.find(|(_, words)| words.contains(&configuration)).map(|(pid, _)| pid)
    }

    /// kill -9.
    pub(crate) fn kill(pid: u32) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    /// Waits until so many instances have their sessions.
    pub(crate) fn until_connected(&self, api: &Api, wanted: usize) {
        let filter = serde_json::json!({"filter": "agentConnected == true"});
        until("sessions", || {
            let arns = api.ecs("ListContainerInstances", &filter)["containerInstanceArns"].clone();
            (arns.as_array()?.len() == wanted).then_some(())
        });
    }

    /// kill -9 of the only instance's agent, and another one in its place.
    pub(crate) fn kill_its_agent(&self) {
        let (_, pid) = self.agents().into_iter().next().unwrap();
        Self::kill(pid);
        until("another agent", || self.agents().into_values().find(|now| *now != pid));
        self.until_connected(&self.api(), 1);
    }

    /// The server must not end by itself.
    pub(crate) fn assert_server_lives(&mut self) {
        let ended = self.server.as_mut().unwrap().try_wait().unwrap();
        assert!(ended.is_none(), "the server ended with {ended:?}:\n{}", self.log());
    }

    /// Ends the registry for good.
    pub(crate) fn lose_registry(&mut self) {
        self.registry = None;
    }

    /// kill -9 of the server, and its end reaped.
    pub(crate) fn kill_server(&mut self) {
        let mut child = self.server.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Has the server crash and answers how it ended.
    pub(crate) fn crash_server(&mut self) -> std::process::ExitStatus {
        let mut child = self.server.take().unwrap();
        Self::crash(child.id());
        child.wait().unwrap()
    }

    /// What abort(3) does to a process.
    pub(crate) fn crash(pid: u32) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::ABORT).unwrap();
    }

    /// Ends the server as Ctrl-C does and answers whether it ended well.
    pub(crate) fn stop_server(&mut self) -> bool {
        let Some(mut child) = self.server.take() else { return true };
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        child.wait().is_ok_and(|status| status.success())
    }

    /// What clients are told: endpoint, region, credentials.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        environment(&self.data())
    }

    /// Runs a program with that environment.
    pub(crate) fn client(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(arguments).envs(self.environment()).env("HOME", self.dir.path()).env("TEST_IMAGE", &self.image);
        command.env("TEST_LONGSHORE", longshore());
        command.current_dir(self.dir.path()).output().unwrap()
    }

    /// Runs our own CLI; it must succeed. Answers what it printed.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let out = self.client(longshore(), arguments);
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{arguments:?}: {said}{}\n{}", String::from_utf8_lossy(&out.stderr), self.log());
        said
    }

    fn try_ecs(&self, operation: &str, arguments: &[&str]) -> Option<Value> {
        let mut all = vec!["-m", "awscli", "ecs", operation, "--output", "json"];
        all.extend(arguments);
        let out = self.client(&python(), &all);
        if out.status.success() { serde_json::from_slice(&out.stdout).ok() } else { None }
    }

    /// `aws ecs …`; it must succeed.
    pub(crate) fn ecs(&self, operation: &str, arguments: &[&str]) -> Value {
        let mut all = vec!["-m", "awscli", "ecs", operation, "--output", "json"];
        all.extend(arguments);
        let out = self.client(&python(), &all);
        assert!(out.status.success(), "{operation} {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// Registers a definition of one container that runs a shell script.
    pub(crate) fn define(&self, family: &str, script: &str) {
        let container = serde_json::json!([{
            "name": "main", "image": self.image, "memory": 16, "stopTimeout": 2, "command": ["sh", "-c", script],
        }]);
        self.ecs("register-task-definition", &["--family", family, "--container-definitions", &container.to_string()]);
    }

    /// Registers a definition whose task runs until [`Cluster::end_told`], and exits with 42 then.
    pub(crate) fn define_told(&self, family: &str) {
        self.define(family, &format!("trap 'exit 42' TERM; : {}; while :; do sleep 0.1; done", told()));
    }

    /// Ends the tasks that wait for it, from outside: nobody of the cluster has a hand in it.
    pub(crate) fn end_told(&self) {
        let mut ended = 0;
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let (true, Some(pid)) = (line.starts_with("sh\0-c\0") && line.contains(&told()), pid) {
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
                ended += 1;
            }
        }
        assert!(ended > 0, "no task waits to be told");
    }

    /// Runs tasks of a family; answers their ARNs.
    pub(crate) fn run(&self, family: &str, count: u32) -> Vec<String> {
        let answer = self.ecs("run-task", &["--task-definition", family, "--count", &count.to_string()]);
        assert_eq!(answer["failures"], serde_json::json!([]));
        answer["tasks"].as_array().unwrap().iter().map(|t| t["taskArn"].as_str().unwrap().to_owned()).collect()
    }

    /// A task as described; asked in this process, because a client of Python's takes longer to start than some tasks live.
    pub(crate) fn task(&self, arn: &str) -> Value {
        self.api().ecs("DescribeTasks", &serde_json::json!({ "tasks": [arn] }))["tasks"][0].clone()
    }

    /// Waits for a status.
    pub(crate) fn wait(&self, arn: &str, status: &str) -> Value {
        until(&format!("{arn} {status}"), || {
            let task = self.task(arn);
            if status != "STOPPED" && task["lastStatus"] == "STOPPED" {
                panic!("the task stopped instead: {task:#}\n{}", self.log());
            }
            (task["lastStatus"] == status).then_some(task)
        })
    }

    /// What the cluster's processes, mounts, networks and cgroups are named by: nothing with it may be left at the end.
    pub(crate) fn traces(&self) -> Vec<String> {
        let dir = self.dir.path().display().to_string();
        let mut found = Vec::new();
        // Of the thread: a test may have a mount namespace of its own, and small disks in it.
        let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap();
        for line in mounts.lines().filter(|l| l.contains(&dir) && !l.starts_with("small-disk ")) {
            found.push(format!("mount {line}"));
        }
        found.extend(shown_by_loop(self.dir.path()).into_iter().map(|file| format!("loop device of {file}")));
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if pid.bytes().all(|b| b.is_ascii_digit()) && line.contains(&dir) && !line.contains("docker-registry") {
                found.push(format!("process {pid} {line}"));
            }
        }
        let key = key(&self.data());
        for root in ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
            let group = Path::new(root).join(format!("longshore-{key}"));
            if group.exists() {
                found.push(format!("cgroup {}", group.display()));
            }
        }
        let run = Path::new("/run/longshore").join(key);
        if run.exists() {
            found.push(format!("folder {}", run.display()));
        }
        for (what, program, arguments) in [
            ("link", "ip", ["-o", "link", "show", "type", "bridge"].as_slice()),
            ("table", "nft", ["list", "tables"].as_slice()),
        ] {
            let out = Command::new(program).args(arguments).output().unwrap();
            found.extend(String::from_utf8_lossy(&out.stdout).lines().map(|l| format!("{what} {l}")));
        }
        found
    }
}

/// The files in a folder that loop devices show, also those that are deleted already.
pub(crate) fn shown_by_loop(dir: &Path) -> Vec<String> {
    let devices = fs::read_dir("/sys/block").unwrap().flatten();
    let files = devices.filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
    let dir = dir.display().to_string();
    files.filter(|file| file.contains(&dir)).map(|file| file.trim().to_owned()).collect()
}

/// The machine's processes and their command lines.
pub(crate) fn processes() -> Vec<(u32, Vec<String>)> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let told = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        Some((pid, String::from_utf8_lossy(&line).split_terminator('\0').map(str::to_owned).collect()))
    });
    told.collect()
}

/// By this a test's own containers are known among the machine's processes: each test is a process.
pub(crate) fn told() -> String {
    format!("ends-when-told-by-{}", std::process::id())
}

/// As the server names what it makes on its host.
pub(crate) fn key(data: &Path) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(data.as_os_str().as_encoded_bytes()))[..8].to_owned()
}

/// The Python of the tests' virtual environment, which `scripts/setup` makes.
pub(crate) fn python() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let own = root.join("target/venv/bin/python");
    assert!(own.exists(), "the test environment is missing: run `scripts/setup test` first");
    own.canonicalize().map_or_else(|_| own.display().to_string(), |_| own.display().to_string())
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        let ended = self.server.as_mut().is_none_or(|server| matches!(server.try_wait(), Ok(Some(_))));
        if ended && !self.agents().is_empty() {
            // A test that killed the server and failed, or a server that ended by itself: what its agents left is taken down by
            // another one.
            self.instances = 0;
            if self.data().exists() {
                self.start_server();
            }
        }
        let _ = self.stop_server();
    }
}
