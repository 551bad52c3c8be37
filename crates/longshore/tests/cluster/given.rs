//! A machine that is given to Fargate, or to a cluster: an agent as an operator starts it, in a network of its own on the cluster's fabric, with
//! its own containerd. What it leaves is looked for, and in the end all of it is taken down, also when a test fails.

use crate::{
    api::Api,
    harness::{Cluster, key, longshore, processes, shown_by_loop, until},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use testkit::{Reaper, spawn_bound};

/// On the fabric, in a range that no zone's default subnet has.
pub(crate) const ADDRESS: &str = "172.31.240.9";
/// Where the server is reached from there.
const SERVER: &str = "172.31.0.1:4567";
/// The zone the machine says it is in, and its subnet in the default VPC.
const ZONE: &str = "us-east-1a";
const POOL: &str = "longshore-fargate";

pub(crate) struct Given<'a> {
    cluster: &'a Cluster,
    /// The name of the cluster that it is an instance of.
    pool: &'static str,
    more: Vec<String>,
    agent: Option<Child>,
    /// Its containerd outlives it by design, and so do the containers of a test that failed. Dropped last.
    _reaper: Reaper,
}

fn ip(words: &str) {
    let out = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(out.status.success(), "ip {words}: {}", String::from_utf8_lossy(&out.stderr));
}

/// Each test is a process.
fn name() -> String {
    format!("lsg{}", std::process::id())
}

impl<'a> Given<'a> {
    /// Gives it and waits until it is there; `more` are further flags of its agent.
    pub(crate) fn start(cluster: &'a Cluster, more: &[&str]) -> Self {
        Self::start_in(cluster, POOL, more)
    }

    /// The same for a machine that joins that cluster instead, which must be there.
    pub(crate) fn start_in(cluster: &'a Cluster, pool: &'static str, more: &[&str]) -> Self {
        let (name, bridge) = (name(), format!("lsb-{}", key(&cluster.data())));
        ip(&format!("netns add {name}"));
        let more = more.iter().map(|word| (*word).to_owned()).collect();
        let dir = cluster.path("given");
        fs::create_dir_all(&dir).unwrap();
        let reaper = Reaper::start(&dir, &name, &Self::cgroup()).unwrap();
        let mut machine = Self { cluster, pool, more, agent: None, _reaper: reaper };
        ip(&format!("link add {name} type veth peer name eth0 netns {name}"));
        ip(&format!("link set {name} master {bridge} up"));
        for words in ["addr add ADDRESS/16 dev eth0", "link set eth0 up", "link set lo up"] {
            ip(&format!("-n {name} {}", words.replace("ADDRESS", ADDRESS)));
        }
        ip(&format!("-n {name} route add default via 172.31.0.1"));
        let token = cluster.cli(&["token", "create"]);
        fs::write(machine.path("token"), token.trim()).unwrap();
        machine.launch();
        machine.until_connected();
        machine
    }

    /// A file or folder of the machine's.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let dir = self.cluster.path("given");
        fs::create_dir_all(&dir).unwrap();
        dir.join(name)
    }

    /// Those of its tasks.
    pub(crate) fn disks(&self) -> runtime::Disks {
        runtime::Disks::new(self.path("data/disks"))
    }

    fn cgroup() -> String {
        format!("/longshore-test-{}", name())
    }

    /// Starts its agent.
    pub(crate) fn launch(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("agent.log")).unwrap();
        let mut command = Command::new(longshore());
        command
            .args(["agent", "--server", SERVER, "--address", ADDRESS])
            .args(if self.pool == POOL { vec!["--fargate"] } else { vec!["--cluster", self.pool] })
            .args(["--attribute", &format!("ecs.availability-zone={ZONE}"), "--instance-type", "m5.xlarge"])
            .arg("--data-dir")
            .arg(self.path("data"))
            .arg("--run-dir")
            .arg(self.path("run"))
            .arg("--token-file")
            .arg(self.path("token"))
            .args(["--netns", &format!("/run/netns/{}", name()), "--cgroup", &Self::cgroup()])
            .args(&self.more)
            .stdout(Stdio::null())
            .stderr(log);
        self.agent = Some(spawn_bound(command, 9).unwrap());
    }

    /// As the account's root sees it.
    pub(crate) fn describe(&self, api: &Api) -> Option<Value> {
        let asked = json!({"cluster": self.pool, "filter": "agentConnected == true"});
        // Before the first machine joins there is no such cluster.
        let arns = api.try_ecs("ListContainerInstances", &asked).ok()?["containerInstanceArns"].clone();
        let asked = json!({"cluster": self.pool, "containerInstances": [arns.as_array()?.first()?]});
        Some(api.ecs("DescribeContainerInstances", &asked)["containerInstances"][0].clone())
    }

    pub(crate) fn until_connected(&self) -> Value {
        let api = self.cluster.api();
        until("the machine", || {
            let ended = self.agent.is_none();
            assert!(!ended, "its agent was not started");
            self.describe(&api)
        })
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    /// What a program says in the machine's own network.
    pub(crate) fn on_it(&self, program: &[&str]) -> String {
        let net = format!("--net=/run/netns/{}", name());
        let out = Command::new("nsenter").arg(net).args(program).output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// kill -9 of its agent.
    pub(crate) fn kill_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// The pid of its containerd.
    pub(crate) fn containerd(&self) -> Option<u32> {
        let configuration = self.path("data/containerd/containerd.toml").display().to_string();
        processes().into_iter().find(|(_, words)| words.contains(&configuration)).map(|(pid, _)| pid)
    }

    /// The images that its containerd has.
    pub(crate) fn images(&self) -> Vec<String> {
        let socket = self.path("run/containerd/containerd.sock").display().to_string();
        let out = Command::new("ctr").args(["-a", &socket, "-n", "longshore", "images", "ls", "-q"]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
    }

    /// The pids of the sandboxes of its containers, each with the container's id.
    pub(crate) fn sandboxes(&self) -> Vec<(u32, String)> {
        let dir = self.path("run").display().to_string();
        let sandbox = |(pid, words): (u32, Vec<String>)| {
            let is = words.first()?.ends_with("runsc-sandbox") && words.iter().any(|word| word.contains(&dir));
            is.then(|| (pid, words.last().cloned().unwrap_or_default()))
        };
        processes().into_iter().filter_map(sandbox).collect()
    }

    /// The pids of a task's processes, as the machine numbers them; under gVisor those of its sandboxes.
    pub(crate) fn processes_of(&self, task: &str) -> Vec<u32> {
        let below = format!("{}/{}", Self::cgroup(), task.rsplit('/').next().unwrap());
        let is_in = |pid: &u32| {
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            groups.contains(&below)
        };
        processes().into_iter().map(|(pid, _)| pid).filter(is_in).collect()
    }

    /// What the control group of a task says, in the hierarchy of that controller if each has its own.
    pub(crate) fn task_group(&self, task: &str, controller: &str, files: [&str; 2]) -> String {
        let id = task.rsplit('/').next().unwrap();
        let below = format!("{}/{id}", Self::cgroup().trim_start_matches('/'));
        let one = Path::new("/sys/fs/cgroup").join(controller).join(&below).join(files[0]);
        let unified = Path::new("/sys/fs/cgroup").join(&below).join(files[1]);
        let text = fs::read_to_string(&one).or_else(|_| fs::read_to_string(&unified));
        text.unwrap_or_else(|e| panic!("{} and {}: {e}", one.display(), unified.display())).trim().to_owned()
    }

    /// What is left of tasks, although all have stopped: processes, mounts, networks, control groups, runsc's records.
    pub(crate) fn left_of_tasks(&self, tasks: &[String]) -> Vec<String> {
        let dir = self.path("").display().to_string();
        let own = |words: &[String]| {
            let program = words.first().map(String::as_str).unwrap_or_default();
            program.ends_with("containerd") || words.get(1).is_some_and(|word| word == "agent")
        };
        let there = processes().into_iter().filter(|(_, words)| words.iter().any(|w| w.contains(&dir)) && !own(words));
        let mut found: Vec<String> = there.map(|(pid, words)| format!("process {pid} {}", words.join(" "))).collect();
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        found.extend(mounts.lines().filter(|line| line.contains(&dir)).map(|line| format!("mount {line}")));
        let disks = shown_by_loop(&self.path("")).into_iter();
        found.extend(disks.map(|file| format!("loop device of {file}")));
        let ids: Vec<&str> = tasks.iter().map(|arn| arn.rsplit('/').next().unwrap()).collect();
        let of_task = |name: &str| ids.iter().any(|id| name.contains(id));
        let names = |dir: &Path| {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            entries.filter_map(|e| e.file_name().into_string().ok()).collect::<Vec<_>>()
        };
        let files = names(&self.path("data/disks")).into_iter();
        found.extend(files.map(|name| format!("disk {name}")));
        let containers = tasks.iter().flat_map(|arn| {
            let task = self.cluster.task(arn);
            let ids =
                task["containers"].as_array().unwrap().iter().map(|one| one["runtimeId"].as_str().unwrap().to_owned());
            ids.collect::<Vec<_>>()
        });
        let containers: Vec<String> = containers.collect();
        // Other machines' records are there too.
        let records = names(Path::new("/run/containerd/runsc/longshore")).into_iter();
        let ours = records.filter(|name| containers.iter().any(|id| name.contains(id)));
        found.extend(ours.map(|name| format!("record {name}")));
        let bundles = names(&self.path("run/containerd/state/io.containerd.runtime.v2.task/longshore"));
        found.extend(bundles.into_iter().map(|name| format!("bundle {name}")));
        for root in names(Path::new("/sys/fs/cgroup")) {
            let group = Path::new("/sys/fs/cgroup").join(root).join(Self::cgroup().trim_start_matches('/'));
            found.extend(names(&group).into_iter().filter(|name| of_task(name)).map(|name| format!("group {name}")));
        }
        found
    }

    /// Lets the machine go, as its owner does; its agent has nothing more to do and says so.
    pub(crate) fn let_go(&mut self) {
        let api = self.cluster.api();
        let arn = self.describe(&api).expect("it is connected")["containerInstanceArn"].clone();
        api.ecs("DeregisterContainerInstance", &json!({"cluster": self.pool, "containerInstance": arn, "force": true}));
        let mut agent = self.agent.take().unwrap();
        let status = until("its agent ends", || agent.try_wait().unwrap());
        assert_eq!(status.code(), Some(5), "{}", self.log());
    }
}

impl Drop for Given<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("== the machine\n{}", self.log());
        }
        if self.agent.is_some() {
            self.kill_agent();
        }
    }
}
