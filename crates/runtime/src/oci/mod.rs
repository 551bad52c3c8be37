//! From a [`ContainerSpec`] to the OCI runtime document, with Docker's defaults. Pure: what must be looked up in the
//! image or on the machine is handed in as [`Facts`].

pub(crate) mod capabilities;
mod mounts;
pub(crate) mod seccomp;
pub(crate) mod users;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::container::{ContainerSpec, Namespace, Network, Ulimit};
use crate::error::CreateError;
use crate::oci_runtime::OciRuntime;
use capabilities::CapabilitySet;
use users::Identity;

/// Where the init binary is shown inside: `/dev` is always a fresh tmpfs, so this works on a read-only root.
pub(crate) const INIT_TARGET: &str = "/dev/init";
/// Period of CPU quotas when none is given, as the kernel's default.
pub(crate) const DEFAULT_CPU_PERIOD_US: u64 = 100_000;

/// What the document needs to know beyond the spec.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The specification's own, or what stands for it.
    pub(crate) secret_env: Vec<String>,
    /// The user, looked up in the image.
    pub(crate) identity: Identity,
    /// What this machine can grant at most.
    pub(crate) available: CapabilitySet,
    /// The static init on the host, if the spec asks for one.
    pub(crate) init: Option<PathBuf>,
    /// Whether cgroups are a single (v2) hierarchy.
    pub(crate) cgroup_v2: bool,
    /// Device nodes of the host that are shown: to privileged containers all, to others those they ask for.
    pub(crate) devices: Vec<Device>,
}

/// A device node of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    /// Path, the same inside.
    pub(crate) path: String,
    /// `c` or `b`.
    pub(crate) kind: char,
    /// Major number.
    pub(crate) major: u32,
    /// Minor number.
    pub(crate) minor: u32,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Whose it is, inside too: groups of its machine's like `video` are what lets others use it.
    pub(crate) uid: u32,
    /// And of which group.
    pub(crate) gid: u32,
    /// What a container may do with it that may not do everything: `rwm` or some of it.
    pub(crate) access: String,
}

/// The document `config.json` for runc.
pub(crate) fn document(spec: &ContainerSpec, facts: &Facts) -> Result<Value, CreateError> {
    check(spec, facts)?;
    let mut document = json!({
        "ociVersion": "1.0.2",
        "process": process(spec, facts)?,
        "root": { "path": "rootfs", "readonly": spec.readonly_rootfs },
        "hostname": spec.hostname,
        "mounts": mounts::all(spec, facts)?,
        "linux": linux(spec, facts)?,
    });
    if spec.seccomp && !spec.privileged {
        let effective = effective_capabilities(spec, facts)?;
        document["linux"]["seccomp"] = seccomp::profile(&effective);
    }
    Ok(document)
}

fn check(spec: &ContainerSpec, facts: &Facts) -> Result<(), CreateError> {
    let invalid = |text: String| Err(CreateError::InvalidSpec(text));
    if spec.args.first().is_none_or(String::is_empty) {
        return invalid("no command specified".into());
    }
    if !spec.cgroup_path.starts_with('/') || spec.cgroup_path.split('/').any(|part| part == "..") {
        return invalid(format!("cgroup path {:?} is not absolute", spec.cgroup_path));
    }
    if spec.oci_runtime == OciRuntime::Runsc && !(spec.sysctls.is_empty() && spec.devices.is_empty()) {
        return invalid("gVisor has neither kernel parameters nor devices of the host".into());
    }
    if spec.userns.is_some() && (spec.privileged || spec.oci_runtime != OciRuntime::Runc || !facts.devices.is_empty()) {
        return invalid(
            "a container in a user namespace is one of runc, and has neither privileges nor devices".into(),
        );
    }
    // runc would say nothing.
    if spec.resources.swappiness.is_some() && facts.cgroup_v2 {
        return invalid(
            "swappiness cannot be set on this machine: control groups of version 2 have no such limit".into(),
        );
    }
    if spec.env.iter().chain(&spec.args).any(|s| s.contains('\0')) {
        return invalid("a NUL byte in command or environment".into());
    }
    Ok(())
}

fn effective_capabilities(spec: &ContainerSpec, facts: &Facts) -> Result<CapabilitySet, CreateError> {
    if spec.privileged {
        return Ok(facts.available.clone());
    }
    capabilities::grant(&spec.cap_add, &spec.cap_drop, &facts.available)
}

fn process(spec: &ContainerSpec, facts: &Facts) -> Result<Value, CreateError> {
    let mut args = spec.args.clone();
    // One that is the init alone holds namespaces.
    if facts.init.is_some() && args[0] != INIT_TARGET {
        args.insert(0, INIT_TARGET.into());
    }
    let mut env = spec.env.clone();
    env.extend(facts.secret_env.iter().cloned());
    let named = |name: &str| spec.env.iter().chain(&spec.secret_env.0).any(|variable| variable.starts_with(name));
    if !named("HOSTNAME=") {
        env.push(format!("HOSTNAME={}", spec.hostname));
    }
    if !named("HOME=") {
        env.push(format!("HOME={}", facts.identity.home));
    }
    if spec.terminal && !named("TERM=") {
        env.push("TERM=xterm".into());
    }
    let capabilities = effective_capabilities(spec, facts)?;
    let names = capabilities.names();
    let cwd = if spec.cwd.is_empty() { "/" } else { &spec.cwd };
    Ok(json!({
        "terminal": spec.terminal,
        "user": {
            "uid": facts.identity.uid,
            "gid": facts.identity.gid,
            "additionalGids": facts.identity.groups,
        },
        "args": args,
        "env": env,
        "cwd": cwd,
        "capabilities": { "bounding": names, "effective": names, "permitted": names },
        "rlimits": spec.ulimits.iter().map(rlimit).collect::<Result<Vec<_>, _>>()?,
        "noNewPrivileges": spec.no_new_privileges,
        "oomScoreAdj": spec.oom_score_adj,
    }))
}

/// ECS's ulimit names are the kernel's without the prefix. In the kernel's order: the index is its number.
pub(crate) const ULIMITS: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

fn rlimit(ulimit: &Ulimit) -> Result<Value, CreateError> {
    if !ULIMITS.contains(&ulimit.name.as_str()) {
        return Err(CreateError::InvalidSpec(format!("invalid ulimit type: {}", ulimit.name)));
    }
    if ulimit.soft > ulimit.hard {
        return Err(CreateError::InvalidSpec(format!(
            "ulimit {}: soft limit {} must be no more than hard limit {}",
            ulimit.name, ulimit.soft, ulimit.hard
        )));
    }
    let kind = format!("RLIMIT_{}", ulimit.name.to_ascii_uppercase());
    Ok(json!({ "type": kind, "soft": ulimit.soft, "hard": ulimit.hard }))
}

fn linux(spec: &ContainerSpec, facts: &Facts) -> Result<Value, CreateError> {
    let mut namespaces = Vec::new();
    for (kind, whose) in [("pid", &spec.pid), ("ipc", &spec.ipc)] {
        match whose {
            Namespace::Own => namespaces.push(json!({"type": kind})),
            Namespace::Host => {}
            Namespace::Path(path) => namespaces.push(json!({"type": kind, "path": path})),
        }
    }
    namespaces.extend([json!({"type": "uts"}), json!({"type": "mount"})]);
    namespaces.push(match &spec.network {
        Network::None => json!({"type": "network"}),
        Network::Path(path) => json!({"type": "network", "path": path}),
    });
    // As Docker: on a single hierarchy a container sees its own cgroup as the root.
    if facts.cgroup_v2 && !spec.privileged {
        namespaces.push(json!({"type": "cgroup"}));
    }
    // runc joins the first that is named by a path before it makes others, which then belong to it.
    if let Some(userns) = &spec.userns {
        namespaces.insert(0, json!({"type": "user", "path": userns.path}));
    }
    let mut linux = json!({
        "namespaces": namespaces,
        "cgroupsPath": spec.cgroup_path,
        "resources": resources(spec, facts),
        "sysctl": spec.sysctls,
    });
    if let Some(mapping) = spec.userns.as_ref().map(|userns| &userns.mapping) {
        let to = |first: u32| json!([{"containerID": 0, "hostID": first, "size": mapping.count}]);
        linux["uidMappings"] = to(mapping.first_user);
        linux["gidMappings"] = to(mapping.first_group);
    }
    if !facts.devices.is_empty() {
        linux["devices"] = facts.devices.iter().map(device).collect();
    }
    if !spec.privileged {
        linux["maskedPaths"] = json!(MASKED);
        linux["readonlyPaths"] = json!(READ_ONLY);
    }
    Ok(linux)
}

fn device(device: &Device) -> Value {
    json!({
        "path": device.path, "type": device.kind, "major": device.major, "minor": device.minor,
        "fileMode": device.mode, "uid": device.uid, "gid": device.gid,
    })
}

/// Paths of /proc and /sys that tell of the host or let it be changed; Docker's lists.
const MASKED: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn resources(spec: &ContainerSpec, facts: &Facts) -> Value {
    let limits = &spec.resources;
    let mut resources = json!({ "devices": device_rules(spec.privileged, &facts.devices) });
    let mut cpu = serde_json::Map::new();
    if let Some(shares) = limits.cpu_shares {
        cpu.insert("shares".into(), shares.into());
    }
    if let Some(quota) = limits.cpu_quota_us {
        cpu.insert("quota".into(), quota.into());
        cpu.insert("period".into(), limits.cpu_period_us.unwrap_or(DEFAULT_CPU_PERIOD_US).into());
    }
    if !cpu.is_empty() {
        resources["cpu"] = cpu.into();
    }
    let mut memory = serde_json::Map::new();
    if let Some(limit) = limits.memory_limit {
        memory.insert("limit".into(), limit.into());
    }
    if let Some(reservation) = limits.memory_reservation {
        memory.insert("reservation".into(), reservation.into());
    }
    if let Some(both) = limits.memory_swap {
        memory.insert("swap".into(), both.into());
    }
    if let Some(swappiness) = limits.swappiness {
        memory.insert("swappiness".into(), swappiness.into());
    }
    if !memory.is_empty() {
        resources["memory"] = memory.into();
    }
    if let Some(pids) = limits.pids_limit {
        resources["pids"] = json!({ "limit": pids });
    }
    resources
}

/// Everything is denied but making nodes, the harmless devices Docker allows, and those that are asked for.
fn device_rules(privileged: bool, asked: &[Device]) -> Value {
    if privileged {
        return json!([{ "allow": true, "access": "rwm" }]);
    }
    let allow = |kind: &str, major: i64, minor: Option<i64>, access: &str| {
        let mut rule = json!({ "allow": true, "type": kind, "major": major, "access": access });
        if let Some(minor) = minor {
            rule["minor"] = minor.into();
        }
        rule
    };
    let mut rules = vec![json!({ "allow": false, "access": "rwm" })];
    rules.push(json!({ "allow": true, "type": "c", "access": "m" }));
    rules.push(json!({ "allow": true, "type": "b", "access": "m" }));
    // null, zero, full, random, urandom, tty, console, ptmx, all of devpts.
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)] {
        rules.push(allow("c", major, Some(minor), "rwm"));
    }
    rules.push(allow("c", 136, None, "rwm"));
    for device in asked {
        rules.push(allow(&device.kind.to_string(), device.major.into(), Some(device.minor.into()), &device.access));
    }
    json!(rules)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
