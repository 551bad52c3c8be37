//! Whether a machine can have containers in user namespaces: all that is needed is made once, and taken away again.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::clones::{Look, show};
use super::{IdMapping, NamespaceMaker};
use crate::tree;

/// Others may come through.
const SEARCH: u32 = 0o001;

/// What a machine lacks.
#[derive(Debug, thiserror::Error)]
pub enum UsernsError {
    /// The kernel has none, or a limit forbids them.
    #[error("this machine cannot make user namespaces; see /proc/sys/user/max_user_namespaces")]
    Namespace(#[source] io::Error),
    /// Files would be nobody's inside.
    #[error("the file system of {path} cannot be shown with other owners (idmapped mounts)")]
    Clone {
        /// Where.
        path: PathBuf,
        /// The kernel's words.
        source: io::Error,
    },
    /// Too old a kernel.
    #[error("this kernel cannot mount images with other owners; it has to be Linux 5.19 or later")]
    Overlay(#[source] io::Error),
    /// runc, which is nobody on the machine when it makes a container there, would not come that far.
    #[error(
        "{0} is closed to all but its owner, and containers are made below it; open it with chmod o+x, or use another --run-dir"
    )]
    Closed(PathBuf),
    /// The folder cannot be written to.
    #[error("{path} cannot be used")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Tries all that containers in user namespaces need, on the file system of a folder in which what is left by a former try goes.
///
/// # Errors
/// If they cannot be had; says why.
pub fn check(folder: &Path, maker: &NamespaceMaker, mapping: &IdMapping) -> Result<(), UsernsError> {
    clear(folder)?;
    let tried = attempt(folder, maker, mapping);
    clear(folder)?;
    tried
}

/// Lets the users of containers come to where containers are made, which is below this folder, made if absent. Folders in `/run` and
/// below `own` are services' own and are opened; what they hold has modes of its own.
///
/// # Errors
/// If another one is closed, or of the machine.
pub fn open_way(folder: &Path, own: &Path) -> Result<(), UsernsError> {
    let used = |path: &Path, source| UsernsError::Folder { path: path.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o711).create(folder).map_err(|e| used(folder, e))?;
    for path in folder.ancestors().filter(|path| !path.as_os_str().is_empty()) {
        let mode = fs::metadata(path).map_err(|e| used(path, e))?.permissions().mode();
        if mode & SEARCH == SEARCH {
            continue;
        }
        if !path.starts_with("/run") && !path.starts_with(own) {
            return Err(UsernsError::Closed(path.to_owned()));
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o7777 | SEARCH)).map_err(|e| used(path, e))?;
    }
    Ok(())
}

fn attempt(folder: &Path, maker: &NamespaceMaker, mapping: &IdMapping) -> Result<(), UsernsError> {
    let used = |source| UsernsError::Folder { path: folder.to_owned(), source };
    let place = |name: &str| folder.join(name);
    for name in ["layer", "lower", "upper", "work", "merged"] {
        fs::create_dir_all(place(name)).map_err(used)?;
    }
    fs::write(place("layer/file"), "").map_err(used)?;
    maker.user(&place("user"), mapping).map_err(UsernsError::Namespace)?;
    maker.network(&place("network"), &place("user"), &[]).map_err(UsernsError::Namespace)?;
    let user = File::open(place("user")).map_err(used)?;
    let shifted = show(&place("layer"), &place("lower"), Look::of(user.as_fd()));
    shifted.map_err(|source| UsernsError::Clone { path: folder.to_owned(), source })?;
    let text = |name: &str| place(name).display().to_string();
    let options = format!("lowerdir={},upperdir={},workdir={}", text("lower"), text("upper"), text("work"));
    let options = CString::new(options).map_err(|e| used(io::Error::other(e)))?;
    let mounted = mount("overlay", place("merged"), "overlay", MountFlags::empty(), &*options);
    mounted.map_err(|error| UsernsError::Overlay(error.into()))?;
    let owner = fs::metadata(place("merged/file")).map_err(used)?;
    if std::os::unix::fs::MetadataExt::uid(&owner) == mapping.first_user {
        return Ok(());
    }
    Err(UsernsError::Overlay(io::Error::other("it shows owners as they are on the disk")))
}

fn clear(folder: &Path) -> Result<(), UsernsError> {
    let used = |source| UsernsError::Folder { path: folder.to_owned(), source };
    for name in ["merged", "lower", "network", "user"] {
        while unmount(folder.join(name), UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
    }
    tree::remove(folder).map_err(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_opened_below_what_is_own_and_no_further() {
        let dir = tempfile::tempdir().unwrap();
        let close = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (own, below) = (dir.path().join("own"), dir.path().join("own/run/containerd"));
        fs::create_dir_all(&below).unwrap();
        for path in [dir.path(), &own, &below] {
            close(path);
        }
        let refused = open_way(&below, &own).unwrap_err();
        assert!(matches!(&refused, UsernsError::Closed(path) if path == dir.path()), "{refused}");
        assert_eq!(mode(dir.path()), 0o700);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        open_way(&below, &own).unwrap();
        assert_eq!((mode(&own), mode(&below)), (0o701, 0o701));
    }
}
