//! The static programs that build.rs makes of `src/init`, `src/front` and others, and putting them where they are run.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Pid 1 of containers that ask for one.
pub(crate) const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/container-init"));
/// What writes down what is said on a terminal.
pub(crate) const TERMINAL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/terminal-log"));
/// What stands before runc and its shim.
pub(crate) const FRONT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/runc-front"));
/// What mounts a folder of a file system.
pub(crate) const FOLDER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mount-folder"));
/// What makes namespaces that only a process of one thread can make.
pub(crate) const NAMESPACE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/make-namespace"));

/// Writes a program into a folder, made if absent; a running one of another version is replaced, not overwritten.
pub(crate) fn install(dir: &Path, name: &str, program: &[u8]) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join(name);
    if std::fs::read(&path).is_ok_and(|there| there == program) {
        return Ok(path);
    }
    let fresh = dir.join(format!("{name}.{}", std::process::id()));
    std::fs::write(&fresh, program)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755))?;
    std::fs::rename(&fresh, &path)?;
    Ok(path)
}
