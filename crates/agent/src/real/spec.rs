//! A container definition and its image, merged into what the runtime is asked for. Pure.

use super::{IMAGE_LABEL, etc::Files, router::PORT, shared::Sharing};
use crate::plan::{Job, TaskPlan};
use link::Provided;
use model::{
    ContainerDefinition, DevicePermission, GpuId, LinuxParameters, MemoryMib, NetworkMode, Pool, SecurityOption,
    vault::Plain,
};
use runtime::{
    BindMount, ContainerSpec, DeviceMount, Image, Network, OciRuntime, Resources, Tmpfs, Ulimit, UserNamespace,
};
use std::{collections::HashSet, path::PathBuf};

/// The fewest and the most cpu shares the kernel takes. AWS: `cpu` 0, 1 and null mean 2.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;
/// Microseconds of a CPU quota's period. Source: the original agent's task cgroups.
const PERIOD_US: i64 = 100_000;

/// Where a container's things are.
pub(super) struct Places<'a> {
    pub(super) instance: &'a str,
    /// The task's cgroup.
    pub(super) cgroup: &'a str,
    pub(super) oci_runtime: OciRuntime,
    pub(super) pool: Pool,
    pub(super) netns: PathBuf,
    pub(super) log_file: PathBuf,
    pub(super) files: &'a Files,
    pub(super) sharing: &'a Sharing,
    /// Whose numbers its users have, if not their own.
    pub(super) userns: Option<&'a UserNamespace>,
    /// Where it reads from, if it may read at all.
    pub(super) stdin: PathBuf,
    /// Where what it writes is kept, if not where the runtime keeps it.
    pub(super) layer: Option<PathBuf>,
    /// The container's id at the task metadata endpoint.
    pub(super) metadata_id: String,
    /// The id by which it asks for its role's credentials, if it has a role.
    pub(super) credentials_id: Option<String>,
    /// What the server gives it.
    pub(super) provided: &'a Provided,
    /// What it is given as the task's log router, for other containers' options.
    pub(super) routed: &'a [(String, Plain)],
    /// The device nodes of the GPUs that are its own.
    pub(super) gpus: &'a [PathBuf],
}

/// The limits of all containers of a task together.
pub(super) fn task_limits(task: &TaskPlan) -> Resources {
    let overrides = &task.assignment.overrides;
    let cpu = overrides.cpu.or(task.definition.cpu);
    let memory = overrides.memory.or(task.definition.memory);
    Resources {
        cpu_shares: cpu.map(|cpu| u64::from(cpu.0).clamp(*SHARES.start(), *SHARES.end())),
        cpu_quota_us: cpu.map(|cpu| i64::from(cpu.0) * PERIOD_US / 1024),
        cpu_period_us: cpu.map(|_| PERIOD_US.unsigned_abs()),
        memory_limit: memory.map(MemoryMib::bytes),
        ..Resources::default()
    }
}

pub(super) fn build(job: &Job, image: &Image, volumes: &[BindMount], places: &Places<'_>) -> ContainerSpec {
    let definition = job.container();
    let args = image.config.argv(definition.entry_point.as_deref(), definition.command.as_deref());
    let mut spec = ContainerSpec::new(job.id(), image.name.clone(), args);
    spec.pulled = Some(image.clone());
    spec.labels = job.labels(places.instance);
    spec.labels.insert(IMAGE_LABEL.to_owned(), image.name.clone());
    spec.oci_runtime = places.oci_runtime;
    let given = given(places);
    let all = image.config.environment(&environment(job, places));
    (spec.secret_env.0, spec.env) = all.into_iter().partition(|variable| given.contains(variable.as_str()));
    spec.cwd = definition.working_directory.clone().unwrap_or_else(|| image.config.working_dir.clone());
    spec.user = definition.user.clone().unwrap_or_else(|| image.config.user.clone());
    spec.hostname.clone_from(&places.files.hostname);
    spec.readonly_rootfs = definition.readonly_root_filesystem.unwrap_or(false);
    spec.privileged = definition.privileged.unwrap_or(false);
    spec.ulimits = definition.ulimits.iter().map(ulimit).collect();
    spec.mounts = mounts(volumes, places);
    spec.terminal = definition.pseudo_terminal.unwrap_or(false);
    spec.stdin = definition.interactive.unwrap_or(false).then(|| places.stdin.clone());
    spec.layer.clone_from(&places.layer);
    spec.userns = places.userns.cloned();
    spec.network = Network::Path(places.netns.clone());
    spec.cgroup_path = format!("{}/{}", places.cgroup, job.id());
    spec.resources = container_limits(definition);
    if places.oci_runtime == OciRuntime::Runsc {
        as_of_task(&mut spec.resources, &task_limits(&job.task));
    }
    spec.log_file = Some(places.log_file.clone());
    // Those of the network are set in it by then, where the runtime does not.
    let ours = places.oci_runtime == OciRuntime::Runsc;
    let controls = definition.system_controls.iter().filter(|control| !(ours && control.is_of_network()));
    spec.sysctls = controls.map(|control| (control.namespace.clone(), control.value.clone())).collect();
    for option in definition.docker_security_options.iter().filter_map(|option| SecurityOption::parse(option)) {
        match option {
            SecurityOption::NoNewPrivileges => spec.no_new_privileges = true,
            SecurityOption::SeccompUnconfined => spec.seccomp = false,
            SecurityOption::Nothing => {}
        }
    }
    if let Some(linux) = &definition.linux_parameters {
        apply(&mut spec, linux);
    }
    give_gpus(&mut spec, places.gpus);
    spec.pid.clone_from(&places.sharing.pid);
    spec.ipc.clone_from(&places.sharing.ipc);
    if places.sharing.no_shm {
        spec.shm_size = Some(0);
    }
    spec
}

/// What it is shown. Docker: a volume takes the place of what there is otherwise.
fn mounts(volumes: &[BindMount], places: &Places<'_>) -> Vec<BindMount> {
    let usual = places.files.mounts.iter().chain(&places.sharing.shm);
    let hidden = |mount: &BindMount| volumes.iter().any(|v| v.target.trim_end_matches('/') == mount.target);
    usual.filter(|mount| !hidden(mount)).chain(volumes).cloned().collect()
}

/// What the definition says, between what ECS adds for want of it and what nobody may change; of two with one name the last
/// counts.
fn environment(job: &Job, places: &Places<'_>) -> Vec<(String, String)> {
    let metadata_id = &places.metadata_id;
    let region = job.task.assignment.task.cluster.scope.region.to_string();
    let mut all = vec![
        // AWS: added by the control plane there, by the agent here.
        ("AWS_EXECUTION_ENV".to_owned(), execution_environment(places.pool).to_owned()),
        ("AWS_REGION".to_owned(), region.clone()),
        ("AWS_DEFAULT_REGION".to_owned(), region),
    ];
    if places.credentials_id.is_some() {
        // The credentials are good for this server alone, so that is where an SDK that finds them has to ask.
        all.push(("AWS_ENDPOINT_URL".to_owned(), crate::api_door::url()));
    }
    let plain = |name: &String, value: &Plain| (name.clone(), value.reveal().to_owned());
    // AWS: what the definition says wins over its files, and secrets over both.
    all.extend(places.provided.files.iter().map(|(name, value)| plain(name, value)));
    all.extend(job.container().environment.iter().cloned());
    if !job.container().secret_files().is_some_and(|files| files.only) {
        all.extend(places.provided.secrets.iter().map(|(name, value)| plain(name, value)));
    }
    all.extend(places.routed.iter().map(|(name, value)| plain(name, value)));
    all.extend(fluent(job));
    all.extend(visible_gpus(job));
    let address = crate::metadata::ADDRESS;
    for (name, path) in
        [("ECS_CONTAINER_METADATA_URI", "v3"), ("ECS_CONTAINER_METADATA_URI_V4", "v4"), ("ECS_AGENT_URI", "api")]
    {
        all.push((name.to_owned(), format!("http://{address}/{path}/{metadata_id}")));
    }
    all.extend(credentials(places));
    all
}

/// By this programs, and the vendor's runtime, know which GPUs are theirs. AWS: as here, whatever the definition says.
fn visible_gpus(job: &Job) -> Option<(String, String)> {
    let ids = job.gpus();
    let list = || ids.iter().map(GpuId::as_str).collect::<Vec<_>>().join(",");
    (!ids.is_empty()).then(|| ("NVIDIA_VISIBLE_DEVICES".to_owned(), list()))
}

/// Its GPUs' nodes are where they are on the instance; of two under one path the GPU's holds.
fn give_gpus(spec: &mut ContainerSpec, nodes: &[PathBuf]) {
    let own = nodes.iter().map(|node| DeviceMount {
        source: node.clone(),
        target: node.display().to_string(),
        access: "rwm".to_owned(),
    });
    spec.devices.retain(|device| nodes.iter().all(|node| node.as_path() != std::path::Path::new(&device.target)));
    spec.devices.extend(own);
}

/// Where a program finds the task's log router by itself. AWS: told to containers whose output goes there.
fn fluent(job: &Job) -> Vec<(String, String)> {
    let host = match job.mode() {
        NetworkMode::Awsvpc => Some("127.0.0.1".to_owned()),
        NetworkMode::Bridge => job.router.map(|address| address.to_string()),
        NetworkMode::Host | NetworkMode::None => None,
    };
    let Some(host) = host.filter(|_| job.container().is_routed()) else { return Vec::new() };
    vec![("FLUENT_HOST".to_owned(), host), ("FLUENT_PORT".to_owned(), PORT.to_string())]
}

/// Where it finds the credentials of its role: whoever knows this path has them.
fn credentials(places: &Places<'_>) -> Option<(String, String)> {
    let id = places.credentials_id.as_ref()?;
    Some(("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI".to_owned(), format!("/v2/credentials/{id}")))
}

/// The variables that are secret: what the server gives it, and where its role's credentials are. Of those that hold, none is
/// written to a disk.
fn given(places: &Places<'_>) -> HashSet<String> {
    let files = places.provided.files.iter();
    let secrets = places.provided.secrets.iter().chain(places.routed);
    let all = files.chain(secrets.map(|(name, value)| (name, value)));
    let all = all.map(|(name, value)| format!("{name}={}", value.reveal()));
    all.chain(credentials(places).map(|(name, path)| format!("{name}={path}"))).collect()
}

/// What SDKs know by where they run.
fn execution_environment(pool: Pool) -> &'static str {
    match pool {
        Pool::Cluster => "AWS_ECS_EC2",
        Pool::Fargate => "AWS_ECS_FARGATE",
    }
}

fn container_limits(definition: &ContainerDefinition) -> Resources {
    let swap = definition.linux_parameters.as_ref();
    Resources {
        cpu_shares: Some(u64::from(definition.cpu.0).clamp(*SHARES.start(), *SHARES.end())),
        memory_limit: definition.memory.map(MemoryMib::bytes),
        memory_reservation: definition.memory_reservation.map(MemoryMib::bytes),
        memory_swap: definition
            .memory
            .zip(swap.and_then(|linux| linux.max_swap))
            .map(|(m, swap)| m.bytes() + swap.bytes()),
        swappiness: swap.and_then(|linux| linux.swappiness).map(u64::from),
        ..Resources::default()
    }
}

/// A sandbox shows its processes the memory and processors of its own control group, and the machine's where that has no limits:
/// it gets the task's, which hold around all of them anyway.
fn as_of_task(own: &mut Resources, task: &Resources) {
    own.memory_limit = own.memory_limit.or(task.memory_limit);
    (own.cpu_quota_us, own.cpu_period_us) = (task.cpu_quota_us, task.cpu_period_us);
}

fn ulimit(given: &model::Ulimit) -> Ulimit {
    // AWS: -1 means no limit.
    let value = |n: i64| u64::try_from(n).unwrap_or(u64::MAX);
    Ulimit { name: given.name.clone(), soft: value(given.soft), hard: value(given.hard) }
}

/// AWS: all of it may be done with a device of which nothing is said.
fn device(given: &model::Device) -> DeviceMount {
    let letters = [(DevicePermission::Read, 'r'), (DevicePermission::Write, 'w'), (DevicePermission::Mknod, 'm')];
    let all = given.permissions.is_empty();
    let allowed = letters.iter().filter(|(permission, _)| all || given.permissions.contains(permission));
    DeviceMount {
        source: given.host_path.clone().into(),
        target: given.target().to_owned(),
        access: allowed.map(|(_, letter)| letter).collect(),
    }
}

fn apply(spec: &mut ContainerSpec, linux: &LinuxParameters) {
    spec.cap_add.clone_from(&linux.capabilities_add);
    spec.cap_drop.clone_from(&linux.capabilities_drop);
    spec.init = linux.init_process_enabled.unwrap_or(false);
    spec.shm_size = linux.shared_memory_size.map(MemoryMib::bytes);
    let tmpfs = |t: &model::Tmpfs| Tmpfs {
        target: t.container_path.clone(),
        size: Some(t.size.bytes()),
        options: t.mount_options.clone(),
    };
    spec.tmpfs = linux.tmpfs.iter().map(tmpfs).collect();
    spec.devices = linux.devices.iter().map(device).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use model::CpuUnits;
    use runtime::ImageConfig;
    use std::sync::Arc;

    fn built(change: impl FnOnce(&mut ContainerDefinition)) -> ContainerSpec {
        provided(change, &Provided::default())
    }

    fn provided(change: impl FnOnce(&mut ContainerDefinition), provided: &Provided) -> ContainerSpec {
        made(change, provided, false)
    }

    fn made(change: impl FnOnce(&mut ContainerDefinition), provided: &Provided, has_role: bool) -> ContainerSpec {
        accelerated(change, provided, has_role, (&[], &[]))
    }

    fn accelerated(
        change: impl FnOnce(&mut ContainerDefinition),
        provided: &Provided,
        has_role: bool,
        (ids, gpus): (&[&str], &[PathBuf]),
    ) -> ContainerSpec {
        let (mut assignment, definition) = testing::assignment(1, &["web"]);
        if !ids.is_empty() {
            assignment.gpus.insert("web".into(), ids.iter().map(|id| GpuId::parse(id).unwrap()).collect());
        }
        let mut definition = (*definition).clone();
        change(&mut definition.containers[0]);
        let plan = Arc::new(TaskPlan::new(assignment, Arc::new(definition)));
        let job = plan.job(0, &plan.fresh().containers[0]);
        let config = ImageConfig {
            cmd: vec!["/bin/web".into()],
            env: vec!["A=1".into()],
            user: "www".into(),
            ..ImageConfig::default()
        };
        let image = Image {
            name: "docker.io/library/busybox:latest".into(),
            digest: String::new(),
            manifest_digest: String::new(),
            config_digest: String::new(),
            chain_id: String::new(),
            config,
            size: 0,
        };
        let mount = |source: &str, target: &str| BindMount {
            source: source.into(),
            target: target.into(),
            read_only: false,
            fill: None,
            as_is: false,
        };
        let mounts = ["/etc/hosts", "/etc/hostname"].map(|target| mount("/own", target)).into();
        let files = Files { hostname: "h".into(), mounts };
        let volumes = [mount("/volume", "/etc/hosts/")];
        let places = Places {
            instance: "i-1",
            cgroup: "/longshore/i-1/t",
            oci_runtime: OciRuntime::Runsc,
            pool: Pool::Cluster,
            netns: "/run/n".into(),
            log_file: "/l".into(),
            files: &files,
            userns: None,
            sharing: &Sharing::default(),
            stdin: "/run/stdin".into(),
            layer: None,
            metadata_id: "u-u-i-d".into(),
            credentials_id: has_role.then(|| "c-i-d".to_owned()),
            provided,
            routed: &[],
            gpus,
        };
        build(&job, &image, &volumes, &places)
    }

    #[test]
    fn limits_follow_ecs() {
        let check = |cpu: u32, memory: Option<u32>, reservation: Option<u32>, want: (u64, Option<u64>, Option<u64>)| {
            let spec = built(|c| {
                c.cpu = CpuUnits(cpu);
                c.memory = memory.map(MemoryMib);
                c.memory_reservation = reservation.map(MemoryMib);
            });
            let Resources { cpu_shares, memory_limit, memory_reservation, .. } = spec.resources;
            assert_eq!((cpu_shares.unwrap(), memory_limit, memory_reservation), want);
        };
        check(0, Some(6), None, (2, Some(6 << 20), None));
        check(1, None, Some(6), (2, None, Some(6 << 20)));
        check(1_000_000, Some(8), Some(6), (262_144, Some(8 << 20), Some(6 << 20)));
        let (assignment, definition) = testing::assignment(1, &["web"]);
        let mut definition = (*definition).clone();
        (definition.cpu, definition.memory) = (Some(CpuUnits(512)), Some(MemoryMib(64)));
        let limits = task_limits(&TaskPlan::new(assignment, Arc::new(definition)));
        assert_eq!((limits.cpu_quota_us, limits.memory_limit), (Some(50_000), Some(64 << 20)));
        for (own, want) in [(None, 64 << 20), (Some(8 << 20), 8 << 20)] {
            let mut shown = Resources { memory_limit: own, cpu_shares: Some(2), ..Resources::default() };
            as_of_task(&mut shown, &limits);
            assert_eq!((shown.memory_limit, shown.cpu_shares), (Some(want), Some(2)));
            assert_eq!((shown.cpu_quota_us, shown.cpu_period_us), (Some(50_000), Some(100_000)));
        }
    }

    #[test]
    fn the_definition_wins_over_the_image_and_labels_are_ecss() {
        let spec = built(|c| {
            c.environment = [("A", "2"), ("AWS_REGION", "mine"), ("ECS_AGENT_URI", "mine")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
            c.docker_labels.insert("mine".into(), "1".into());
        });
        assert_eq!(spec.oci_runtime, OciRuntime::Runsc);
        assert_eq!((spec.args, spec.user.as_str()), (vec!["/bin/web".to_owned()], "www"));
        for line in [
            "A=2",
            "AWS_REGION=mine",
            "AWS_EXECUTION_ENV=AWS_ECS_EC2",
            "ECS_CONTAINER_METADATA_URI=http://169.254.170.2/v3/u-u-i-d",
            "ECS_CONTAINER_METADATA_URI_V4=http://169.254.170.2/v4/u-u-i-d",
            "ECS_AGENT_URI=http://169.254.170.2/api/u-u-i-d",
        ] {
            assert_eq!(spec.env.iter().filter(|e| *e == line).count(), 1, "{line} in {:?}", spec.env);
        }
        let label = |name: &str| spec.labels.get(name).map(String::as_str);
        assert_eq!(label("com.amazonaws.ecs.container-name"), Some("web"));
        assert_eq!(label("com.amazonaws.ecs.task-definition-version"), Some("3"));
        assert_eq!((label("longshore.instance"), label("mine")), (Some("i-1"), Some("1")));
        assert!(spec.cgroup_path.starts_with("/longshore/i-1/t/"));
    }

    #[test]
    fn what_is_given_lies_around_what_the_definition_says() {
        let plain = |name: &str, value: &str| (name.to_owned(), Plain::from(value.to_owned()));
        let given = Provided {
            files: [plain("A", "file"), plain("B", "file"), plain("C", "file")].into(),
            secrets: vec![plain("C", "secret"), plain("ECS_AGENT_URI", "mine")],
            ..Provided::default()
        };
        let spec = provided(|c| c.environment = vec![("B".into(), "own".into()), ("C".into(), "own".into())], &given);
        for line in ["A=file", "B=own", "C=secret", "ECS_AGENT_URI=http://169.254.170.2/api/u-u-i-d"] {
            let name = line.split_once('=').unwrap().0;
            let of_name: Vec<_> =
                spec.secret_env.0.iter().chain(&spec.env).filter(|e| e.split_once('=').unwrap().0 == name).collect();
            assert_eq!(of_name, [line]);
        }
        assert_eq!(spec.secret_env.0, ["A=file", "C=secret"]);
        assert!(!format!("{spec:?}").contains("C=secret"));
    }

    #[test]
    fn a_container_with_a_role_is_told_where_to_ask_and_that_is_written_nowhere() {
        let path = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/c-i-d";
        let own = |name: &str| (name.to_owned(), "mine".to_owned());
        let spec =
            made(|c| c.environment = vec![own("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")], &Provided::default(), true);
        assert_eq!(spec.secret_env.0, [path]);
        assert!(!format!("{spec:?}").contains("c-i-d"));
        assert!(spec.env.iter().any(|line| line == "AWS_ENDPOINT_URL=http://169.254.170.2:51680"), "{:?}", spec.env);
        let spec = made(|c| c.environment = vec![own("AWS_ENDPOINT_URL")], &Provided::default(), true);
        assert!(spec.env.iter().any(|line| line == "AWS_ENDPOINT_URL=mine"), "the definition's own endpoint wins");
        let spec = made(|_| (), &Provided::default(), false);
        let told = |name: &str| spec.env.iter().chain(&spec.secret_env.0).any(|line| line.starts_with(name));
        assert!(!told("AWS_CONTAINER") && !told("AWS_ENDPOINT"), "{:?}", spec.env);
    }

    #[test]
    fn a_container_has_its_gpus_and_is_told_which() {
        let told = |spec: &ContainerSpec| {
            let lines = spec.env.iter().filter(|line| line.starts_with("NVIDIA_VISIBLE_DEVICES="));
            lines.cloned().collect::<Vec<_>>()
        };
        let all = |c: &mut ContainerDefinition| {
            c.environment = vec![("NVIDIA_VISIBLE_DEVICES".into(), "all".into())];
            let node = |path: &str| model::Device { host_path: path.into(), container_path: None, permissions: vec![] };
            let devices = vec![node("/dev/fuse"), node("/dev/nvidia1")];
            c.linux_parameters = Some(LinuxParameters { devices, ..LinuxParameters::default() });
        };
        let nodes = ["/dev/nvidia1", "/dev/nvidiactl"].map(PathBuf::from);
        let spec = accelerated(all, &Provided::default(), false, (&["GPU-1", "GPU-2"], &nodes));
        assert_eq!(told(&spec), ["NVIDIA_VISIBLE_DEVICES=GPU-1,GPU-2"]);
        let shown: Vec<_> =
            spec.devices.iter().map(|device| (device.target.as_str(), device.access.as_str())).collect();
        assert_eq!(shown, [("/dev/fuse", "rwm"), ("/dev/nvidia1", "rwm"), ("/dev/nvidiactl", "rwm")]);
        // One without any says what it likes: there is no node behind it.
        let spec = built(all);
        assert_eq!((told(&spec), spec.devices.len()), (vec!["NVIDIA_VISIBLE_DEVICES=all".to_owned()], 2));
    }

    #[test]
    fn a_volume_takes_the_place_of_a_file() {
        let spec = built(|_| ());
        let shown: Vec<_> = spec.mounts.iter().map(|m| (m.source.to_str().unwrap(), m.target.as_str())).collect();
        assert_eq!(shown, [("/own", "/etc/hostname"), ("/volume", "/etc/hosts/")]);
    }

    #[test]
    fn swap_is_told_with_memory_and_input_is_where_it_is_wanted() {
        let spec = built(|c| {
            c.memory = Some(MemoryMib(8));
            let swap = Some(MemoryMib(4));
            c.linux_parameters = Some(LinuxParameters { max_swap: swap, swappiness: Some(0), ..Default::default() });
            (c.interactive, c.pseudo_terminal) = (Some(true), Some(true));
        });
        assert_eq!((spec.resources.memory_swap, spec.resources.swappiness), (Some(12 << 20), Some(0)));
        assert_eq!((spec.stdin, spec.terminal), (Some("/run/stdin".into()), true));
        let plain = built(|_| ());
        assert_eq!((plain.stdin, plain.terminal, plain.resources.memory_swap), (None, false, None));
    }

    #[test]
    fn tasks_are_told_of_fargate() {
        assert_eq!(execution_environment(Pool::Fargate), "AWS_ECS_FARGATE");
    }
}
