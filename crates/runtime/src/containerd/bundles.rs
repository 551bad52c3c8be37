//! Bundles that nobody knows: containerd killed in the middle of making a task leaves the task's folder behind, and once it
//! is back it neither lists that task nor makes another of its name ("mkdir …: file exists") until it is restarted once more.
//! Killed in the middle of removing one it leaves it under a hidden name, which it passes over for ever.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// What containerd calls the plugin that keeps them, and with it their folder.
const PLUGIN: &str = "io.containerd.runtime.v2.task";

/// Where a containerd that listens on `socket` may keep a bundle: ours has its state in a folder beside its socket, a
/// distribution's has the socket in its state.
fn places(socket: &Path, namespace: &str, id: &str) -> Option<[PathBuf; 2]> {
    let dir = socket.parent()?;
    Some([dir.join("state"), dir.to_owned()].map(|state| state.join(PLUGIN).join(namespace).join(id)))
}

/// The document of a container that has one.
pub(super) fn document(socket: &Path, namespace: &str, id: &str) -> io::Result<String> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for bundle in places(socket, namespace, id).into_iter().flatten() {
        match std::fs::read_to_string(bundle.join("config.json")) {
            Ok(document) => return Ok(document),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Removes the bundle of a container that has no task and no shim any more. The hidden name comes last: it is what containerd renames a
/// bundle to before it removes it, which it may do meanwhile.
pub(super) fn remove(socket: &Path, namespace: &str, id: &str) -> io::Result<()> {
    for name in [id, &format!(".{id}")] {
        for bundle in places(socket, namespace, name).into_iter().flatten() {
            forget_socket(&bundle)?;
            if clear(&bundle)? {
                tracing::warn!(id, "the bundle of a task that containerd lost was removed");
            }
        }
    }
    Ok(())
}

/// Removes the socket that a shim has left which was killed: the bundle alone tells where it is.
fn forget_socket(bundle: &Path) -> io::Result<()> {
    let Some(address) = if_there(std::fs::read_to_string(bundle.join("address")))? else { return Ok(()) };
    let Some(path) = address.strip_prefix("unix://") else { return Ok(()) };
    match UnixStream::connect(path) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => if_there(std::fs::remove_file(path)).map(drop),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// File by file: what is mounted in it is taken off and never descended into. False if there is none.
fn clear(bundle: &Path) -> io::Result<bool> {
    let Some(entries) = if_there(std::fs::read_dir(bundle))? else { return Ok(false) };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            // Not mounted is as good.
            let _ = rustix::mount::unmount(entry.path(), rustix::mount::UnmountFlags::DETACH);
            if_there(std::fs::remove_dir(entry.path()))?;
        } else {
            if_there(std::fs::remove_file(entry.path()))?;
        }
    }
    Ok(if_there(std::fs::remove_dir(bundle))?.is_some())
}

pub(super) fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_bundle_goes_and_what_is_not_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("containerd.sock");
        let of = |id: &str| dir.path().join("state").join(PLUGIN).join("longshore").join(id);
        for id in ["web-1", ".web-1", "web-12"] {
            std::fs::create_dir_all(of(id).join("rootfs")).unwrap();
            std::fs::write(of(id).join("config.json"), "{}").unwrap();
            std::os::unix::fs::symlink("/nowhere", of(id).join("work")).unwrap();
        }
        // A shim's socket that nobody listens at any more, and one at which somebody does.
        let [dead, alive] = ["dead", "alive"].map(|name| dir.path().join(name));
        drop(UnixListener::bind(&dead).unwrap());
        let _listener = UnixListener::bind(&alive).unwrap();
        std::fs::write(of("web-1").join("address"), format!("unix://{}", dead.display())).unwrap();
        std::fs::write(of(".web-1").join("address"), format!("unix://{}", alive.display())).unwrap();
        remove(&socket, "longshore", "web-1").unwrap();
        assert!(!dead.exists() && alive.exists());
        assert!(!of("web-1").exists() && !of(".web-1").exists() && of("web-12").join("config.json").exists());
        remove(&socket, "longshore", "web-1").unwrap();
        // A root filesystem with files in it is somebody's: it is not ours to empty.
        std::fs::write(of("web-12").join("rootfs/data"), "kept").unwrap();
        assert!(remove(&socket, "longshore", "web-12").is_err());
        assert_eq!(std::fs::read_to_string(of("web-12").join("rootfs/data")).unwrap(), "kept");
    }
}
