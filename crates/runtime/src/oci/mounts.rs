//! What is mounted inside: Docker's set, then tmpfs, then the task's own.

use serde_json::{Value, json};

use super::{Facts, INIT_TARGET};
use crate::container::{BindMount, ContainerSpec, Tmpfs};
use crate::error::CreateError;

/// Docker's `/dev/shm`.
const DEFAULT_SHM: u64 = 64 << 20;

pub(super) fn all(spec: &ContainerSpec, facts: &Facts) -> Result<Vec<Value>, CreateError> {
    let tmpfs = spec.tmpfs.iter().map(in_memory);
    let mut own = tmpfs.chain(spec.mounts.iter().map(bind)).collect::<Result<Vec<_>, _>>()?;
    // Docker: the outer ones first, in whatever order they are named, so that none hides another.
    own.sort_by_key(|mount| parts(mount).count());
    let mut mounts = standard(spec, facts);
    mounts.retain(|standard| own.iter().all(|mount| !parts(mount).eq(parts(standard))));
    mounts.append(&mut own);
    if let Some(init) = &facts.init {
        mounts.push(json!({
            "destination": INIT_TARGET, "type": "bind", "source": init, "options": ["bind", "ro", "nosuid", "nodev"],
        }));
    }
    Ok(mounts)
}

/// The names on the way to where it is mounted.
fn parts(mount: &Value) -> impl Iterator<Item = &str> {
    mount["destination"].as_str().unwrap_or_default().split('/').filter(|part| !part.is_empty())
}

fn standard(spec: &ContainerSpec, facts: &Facts) -> Vec<Value> {
    let shm = spec.shm_size.unwrap_or(DEFAULT_SHM);
    let sys_mode = if spec.privileged { "rw" } else { "ro" };
    let cgroup = if facts.cgroup_v2 { "cgroup2" } else { "cgroup" };
    let quiet = ["nosuid", "noexec", "nodev"];
    let mut mounts = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc", "options": quiet }),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] }),
        json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] }),
        json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", sys_mode] }),
        json!({ "destination": "/sys/fs/cgroup", "type": cgroup, "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", "relatime", sys_mode] }),
        json!({ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": quiet }),
        json!({ "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", format!("size={shm}")] }),
    ];
    if shm == 0 {
        mounts.pop();
    }
    mounts
}

/// Options Docker accepts for `--tmpfs`, apart from `size=` and `mode=` and their kin, and from `bind`, `rbind` and `remount`, with
/// which no tmpfs can be mounted.
const TMPFS_FLAGS: [&str; 29] = [
    "mand",
    "nomand",
    "norelatime",
    "nostrictatime",
    "rw",
    "ro",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "async",
    "sync",
    "dirsync",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "strictatime",
    "unbindable",
    "runbindable",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
];
const TMPFS_VALUES: [&str; 6] = ["mode=", "uid=", "gid=", "nr_inodes=", "nr_blocks=", "mpol="];

fn in_memory(tmpfs: &Tmpfs) -> Result<Value, CreateError> {
    absolute(&tmpfs.target)?;
    let mut options: Vec<String> = ["noexec", "nosuid", "nodev"].map(String::from).to_vec();
    // Before what is asked for, so that `nr_blocks` counts, which says the same in other units.
    if let Some(size) = tmpfs.size {
        options.push(format!("size={size}"));
    }
    for option in tmpfs.options.iter().filter(|o| *o != "defaults") {
        let known = TMPFS_FLAGS.contains(&option.as_str()) || TMPFS_VALUES.iter().any(|v| option.starts_with(v));
        if !known {
            return Err(CreateError::InvalidSpec(format!("invalid tmpfs option {option:?}")));
        }
        // The later of two contradicting flags wins in the kernel, so what is asked for follows the defaults.
        options.push(option.clone());
    }
    Ok(json!({ "destination": tmpfs.target, "type": "tmpfs", "source": "tmpfs", "options": options }))
}

fn bind(mount: &BindMount) -> Result<Value, CreateError> {
    absolute(&mount.target)?;
    let mode = if mount.read_only { "ro" } else { "rw" };
    Ok(json!({
        "destination": mount.target, "type": "bind", "source": mount.source,
        "options": ["rbind", "rprivate", mode],
    }))
}

fn absolute(target: &str) -> Result<(), CreateError> {
    if target.starts_with('/') && !target.split('/').any(|part| part == "..") {
        return Ok(());
    }
    Err(CreateError::InvalidSpec(format!("invalid mount target {target:?}: must be absolute")))
}
