//! Folders that get what the image has at their place when they are first used, as Docker's volumes do.
//!
//! The image is mounted for that in a mount namespace of one thread, so that nothing of it is left however this process ends. What
//! the image says of links holds within the image, and what a container that sees the folder already does there is not followed.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;

use super::api::containerd::types::Mount;
use super::machine;
use crate::container::BindMount;
use crate::error::CreateError;
use crate::tree;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// What the kernel reads of a mount's options. Source: mount(2).
const LONGEST_OPTIONS: usize = 4095;

/// Fills those of a container's folders that are to be filled. Blocks; one call at a time.
pub(super) fn fill(image: &[Mount], wanted: &[BindMount]) -> Result<(), CreateError> {
    let layers = machine::layers(image);
    for mount in wanted {
        let Some(note) = &mount.fill else { continue };
        fill_one(&layers, mount, note).map_err(|error| {
            let text = format!("filling the volume at {}: {error}", mount.target);
            let full = error.kind() == io::ErrorKind::StorageFull;
            if full { CreateError::NoSpace(text) } else { CreateError::InvalidSpec(text) }
        })?;
    }
    Ok(())
}

fn fill_one(layers: &[String], mount: &BindMount, note: &Path) -> io::Result<()> {
    let folder = rustix::fs::openat(CWD, &mount.source, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
    if note.exists() {
        tree::empty(&mount.source)?;
    } else if !tree::is_empty(&folder)? {
        return Ok(());
    }
    let work = || {
        let image = merged(layers, &mount.source)?;
        let place = mount.target.trim_start_matches('/');
        let found = match rustix::fs::openat2(&image, place, FOLDER, Mode::empty(), ResolveFlags::IN_ROOT) {
            // The image has nothing to fill it with.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            found => found?,
        };
        fs::write(note, "")?;
        tree::copy(&found, &folder)?;
        tree::dress(&found, &folder)?;
        fs::remove_file(note)
    };
    std::thread::scope(|scope| scope.spawn(work).join().expect("filling a folder does not panic"))
}

/// The image's file system. Of several layers it is mounted over `at`, for the calling thread alone, which must not be used for
/// anything else.
fn merged(layers: &[String], at: &Path) -> io::Result<OwnedFd> {
    if let [one] = layers {
        return Ok(rustix::fs::openat(CWD, one, FOLDER, Mode::empty())?);
    }
    unshare_mounts()?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // The options of many layers only fit with short names.
    let top = common(layers);
    let names: Vec<&str> = layers.iter().map(|layer| layer[top.len()..].trim_start_matches('/')).collect();
    rustix::process::chdir(if top.is_empty() { "/" } else { top })?;
    let options = CString::new(format!("lowerdir={}", names.join(":"))).map_err(io::Error::other)?;
    if options.as_bytes().len() > LONGEST_OPTIONS {
        return Err(io::Error::other("the image has too many layers"));
    }
    mount("overlay", at, "overlay", MountFlags::RDONLY, &*options)?;
    Ok(rustix::fs::openat(CWD, at, FOLDER, Mode::empty())?)
}

/// The folder that all of these are below.
fn common(layers: &[String]) -> &str {
    let Some((first, rest)) = layers.split_first() else { return "" };
    let is_above =
        |top: &str| rest.iter().all(|layer| layer.strip_prefix(top).is_some_and(|rest| rest.starts_with('/')));
    let mut top = first.as_str();
    while let Some((above, _)) = top.rsplit_once('/') {
        top = above;
        if is_above(top) {
            break;
        }
    }
    top
}

#[allow(unsafe_code, reason = "unshare(2) is unsafe in general; with CLONE_NEWNS alone it is not")]
fn unshare_mounts() -> io::Result<()> {
    // SAFETY: the hazard is CLONE_FILES, after which descriptors of other threads are not ours; NEWNS, and FS with it, changes none.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn layers_are_named_from_the_folder_above_them() {
        let check = |layers: &[&str], want: &str| {
            assert_eq!(common(&layers.iter().map(|layer| (*layer).to_owned()).collect::<Vec<_>>()), want);
        };
        check(&["/s/12/fs", "/s/1/fs"], "/s");
        check(&["/s/12/fs", "/s/12/other"], "/s/12");
        check(&["/a/fs", "/b/fs"], "");
        check(&["/a"], "");
    }

    #[test]
    fn only_an_empty_folder_is_filled_and_links_of_the_image_stay_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for folder in ["low/data", "high/data", "low/out", "volume"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        fs::write(path("low/data/below"), "low").unwrap();
        fs::write(path("low/data/both"), "low").unwrap();
        fs::write(path("high/data/both"), "high").unwrap();
        std::os::unix::fs::chown(path("high/data"), Some(7), Some(8)).unwrap();
        // Out of an image this would be the machine's folder.
        std::os::unix::fs::symlink(path("low/out"), path("high/away")).unwrap();
        let layers: Vec<String> = ["high", "low"].iter().map(|name| path(name).display().to_string()).collect();
        let note = path("note");
        let filled = |target: &str| {
            let mount = BindMount {
                source: path("volume"),
                target: target.into(),
                read_only: false,
                fill: Some(note.clone()),
                as_is: false,
            };
            fill_one(&layers, &mount, &note).unwrap();
            assert!(!note.exists());
            let mut names: Vec<_> =
                fs::read_dir(path("volume")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        fs::write(path("low/out/secret"), "of the machine").unwrap();
        assert_eq!(filled("/away"), [""; 0]);
        assert_eq!(filled("/nothing"), [""; 0]);
        assert_eq!(filled("/data/both"), [""; 0]);
        assert_eq!(filled("/data"), ["below", "both"]);
        assert_eq!(fs::read_to_string(path("volume/both")).unwrap(), "high");
        let owner = fs::metadata(path("volume")).unwrap();
        assert_eq!((owner.uid(), owner.gid()), (7, 8));
        fs::write(path("volume/own"), "kept").unwrap();
        fs::remove_file(path("volume/below")).unwrap();
        assert_eq!(filled("/data"), ["both", "own"]);
        // What was half filled when its agent was killed is filled anew.
        fs::write(&note, "").unwrap();
        assert_eq!(filled("/data"), ["below", "both"]);
    }
}
