//! Linux parameters of a container between AWS's form and the model's.

use super::task_definition_convert::{listed, set, signed, some};
use model::{Device, DevicePermission, LinuxParameters, MemoryMib, Tmpfs};
use shapes::ecs as aws;

/// Linux capabilities by AWS's names. Source: `KernelCapabilities` in the model's documentation.
const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

fn device(given: aws::Device) -> Result<Device, String> {
    let permission = |word: &String| {
        let found = DevicePermission::ALL.iter().find(|(name, _)| name == word);
        found.map(|(_, permission)| *permission).ok_or_else(|| format!("'{word}' is no permission of a device."))
    };
    Ok(Device {
        permissions: given.permissions.iter().flatten().map(permission).collect::<Result<_, _>>()?,
        host_path: given.host_path.unwrap_or_default(),
        container_path: set(given.container_path),
    })
}

/// The error says what is wrong; the caller says where.
pub(super) fn parse(given: aws::LinuxParameters) -> Result<Option<LinuxParameters>, String> {
    let capabilities = given.capabilities.unwrap_or_default();
    let known = |names: Option<Vec<String>>| {
        let names = names.unwrap_or_default();
        match names.iter().find(|name| !CAPABILITIES.contains(&name.as_str())) {
            Some(name) => Err(format!("'{name}' is not a Linux capability.")),
            None => Ok(names),
        }
    };
    let mib = |what: &str, size: i32| {
        u32::try_from(size).map(MemoryMib).map_err(|_| format!("'{what}' must not be negative."))
    };
    let shared = given.shared_memory_size.filter(|size| *size != 0);
    let mount = |tmpfs: aws::Tmpfs| {
        Ok(Tmpfs {
            container_path: tmpfs.container_path.unwrap_or_default(),
            size: mib("tmpfs.size", tmpfs.size.unwrap_or(0))?,
            mount_options: tmpfs.mount_options.unwrap_or_default(),
        })
    };
    let parameters = LinuxParameters {
        capabilities_add: known(capabilities.add)?,
        capabilities_drop: known(capabilities.drop)?,
        init_process_enabled: given.init_process_enabled,
        shared_memory_size: shared.map(|size| mib("sharedMemorySize", size)).transpose()?,
        tmpfs: given.tmpfs.unwrap_or_default().into_iter().map(mount).collect::<Result<_, String>>()?,
        max_swap: given.max_swap.map(|size| mib("maxSwap", size)).transpose()?,
        swappiness: given.swappiness.map(|value| mib("swappiness", value).map(|value| value.0)).transpose()?,
        devices: given.devices.unwrap_or_default().into_iter().map(device).collect::<Result<_, String>>()?,
    };
    Ok((parameters != LinuxParameters::default()).then_some(parameters))
}

fn shown_device(device: &Device) -> aws::Device {
    let word = |permission: &DevicePermission| {
        let found = DevicePermission::ALL.iter().find(|(_, known)| known == permission);
        found.map(|(name, _)| (*name).to_owned()).expect("every permission has a word")
    };
    aws::Device {
        host_path: Some(device.host_path.clone()),
        container_path: device.container_path.clone(),
        permissions: listed(&device.permissions, word),
    }
}

pub(super) fn shown(linux: &LinuxParameters) -> aws::LinuxParameters {
    let (add, drop) = (some(&linux.capabilities_add), some(&linux.capabilities_drop));
    let mount = |tmpfs: &Tmpfs| aws::Tmpfs {
        container_path: Some(tmpfs.container_path.clone()),
        size: Some(signed(tmpfs.size.0)),
        mount_options: some(&tmpfs.mount_options),
    };
    aws::LinuxParameters {
        capabilities: (add.is_some() || drop.is_some()).then_some(aws::KernelCapabilities { add, drop }),
        init_process_enabled: linux.init_process_enabled,
        shared_memory_size: linux.shared_memory_size.map(|size| signed(size.0)),
        tmpfs: listed(&linux.tmpfs, mount),
        devices: listed(&linux.devices, shown_device),
        max_swap: linux.max_swap.map(|size| signed(size.0)),
        swappiness: linux.swappiness.map(signed),
    }
}
