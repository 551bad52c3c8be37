//! Kernel settings under `/proc/sys/net`, which shows the calling thread's own network namespace.

use crate::{Error, Result};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Writes a setting unless it already has the value; must run on a thread inside the namespace.
pub(crate) fn set(name: &str, value: &str) -> Result<()> {
    let path = path(name);
    // Reading first lets an unprivileged or read-only /proc/sys pass when there is nothing to change.
    if fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    fs::write(&path, value).map_err(|source| Error::os("writing", path, source))
}

/// As [`set`], but a kernel without the setting (no IPv6, no br_netfilter) is fine.
pub(crate) fn set_if_there(name: &str, value: &str) -> Result<()> {
    match set(name, value) {
        Err(Error::Os { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
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
