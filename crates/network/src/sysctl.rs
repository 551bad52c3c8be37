//! Kernel settings under `/proc/sys/net`, which shows the calling thread's own network namespace.

use crate::{Error, NetContext, Result};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A setting: its name below `/proc/sys/net`, and its value.
pub type Setting = (&'static str, String);

/// The last group of a machine for which the kernel takes a range of groups. Source: `GID_T_MAX`, net/ipv4/sysctl_net_ipv4.c.
pub const LAST_GROUP: u32 = i32::MAX.unsigned_abs();

/// What holds in each network namespace of containers from its first moment, where `last_group` is the last of the groups there are.
/// Docker, since 20.10: every user binds every port and may ping, because the ports are the container's own. And no IPv6 addresses
/// on interfaces made later: nothing hands any out, and detecting duplicates would cost packets on every port; `::1` stays.
pub fn container_settings(last_group: u32) -> [Setting; 3] {
    [
        ("ipv4/ip_unprivileged_port_start", "0".to_owned()),
        ("ipv4/ping_group_range", format!("0 {last_group}")),
        ("ipv6/conf/default/disable_ipv6", "1".to_owned()),
    ]
}

/// Sets kernel parameters of one namespace, named as sysctl(8) does: `net.ipv4.tcp_keepalive_time`. An error on one that
/// is none of a network's, or that the kernel does not know or take.
pub async fn set_parameters(context: &NetContext, parameters: Vec<(String, String)>) -> Result<()> {
    context
        .enter(move || {
            for (name, value) in &parameters {
                let plain = |part: &str| !part.is_empty() && part != ".." && part != ".";
                let below = name.strip_prefix("net.").map(|rest| rest.replace('.', "/"));
                match below.filter(|below| below.split('/').all(plain)) {
                    Some(below) => set(&below, value)?,
                    None => return Err(Error::os("writing", name, io::ErrorKind::InvalidInput)),
                }
            }
            Ok(())
        })
        .await
}

/// Writes a setting unless it already has the value; must run on a thread inside the namespace.
pub(crate) fn set(name: &str, value: &str) -> Result<()> {
    let path = path(name);
    // Reading first lets an unprivileged or read-only /proc/sys pass when there is nothing to change.
    if fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    fs::write(&path, value).map_err(|source| Error::os("writing", path, source))
}

/// As [`set`], but a kernel without the setting (no IPv6, no br_netfilter) is fine, and one that does not take the value: a machine that is
/// itself in a user namespace (LXC) has fewer groups than others.
pub(crate) fn set_if_there(name: &str, value: &str) -> Result<()> {
    match set(name, value) {
        Err(Error::Os { source, .. })
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Reads a setting; must run on a thread inside the namespace.
pub(crate) fn get(name: &str) -> Result<String> {
    let path = path(name);
    fs::read_to_string(&path).map(|text| text.trim().to_owned()).map_err(|source| Error::os("reading", path, source))
}

fn path(name: &str) -> PathBuf {
    Path::new("/proc/sys/net").join(name)
}
