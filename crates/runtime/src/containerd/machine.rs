//! What this machine can give to containers: capabilities, and files of an image that is not mounted.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};

use super::api::containerd::types::Mount;
use crate::oci::capabilities::CapabilitySet;

/// A set of this process from /proc/self/status, e.g. `CapBnd`; empty if it cannot be read.
pub(crate) fn capabilities(which: &str) -> CapabilitySet {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':'));
    CapabilitySet::from_mask(line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0))
}

/// Whether the kernel is this one or later; false if its version cannot be read.
pub(super) fn kernel_is_at_least(wanted: (u32, u32)) -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= wanted)
}

/// The text of a small file of an image, read from its layers without mounting them: mounting takes longer than the
/// rest of looking a user up. Empty if there is no such file.
pub(super) fn file_of(mounts: &[Mount], directory: &str, name: &str) -> String {
    /// Longer than any real passwd; a longer one is an attack on our memory.
    const LARGEST: u64 = 4 << 20;
    for layer in layers(mounts) {
        let path = Path::new(directory).join(name);
        // Links are followed, but never out of the layer.
        let Ok(root) =
            rustix::fs::openat(CWD, &layer, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        else {
            continue;
        };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        if let Ok(file) = rustix::fs::openat2(&root, &path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
            let file = fs::File::from(file);
            let regular = file.metadata().is_ok_and(|m| m.is_file());
            let mut text = Vec::new();
            if !regular || file.take(LARGEST).read_to_end(&mut text).is_err() {
                return String::new();
            }
            return String::from_utf8_lossy(&text).into_owned();
        }
        if hides(&root, &layer, directory, name) {
            return String::new();
        }
    }
    String::new()
}

/// Directories of an overlay, topmost first; or the single one of a bind.
pub(super) fn layers(mounts: &[Mount]) -> Vec<String> {
    let Some(mount) = mounts.last() else { return Vec::new() };
    if mount.r#type == "bind" {
        return vec![mount.source.clone()];
    }
    let option = |name: &str| mount.options.iter().find_map(|o| o.strip_prefix(name)).unwrap_or("").to_owned();
    option("upperdir=")
        .lines()
        .chain(option("lowerdir=").split(':'))
        .filter(|d| !d.is_empty())
        .map(String::from)
        .collect()
}

/// Whether this layer deletes the file (a whiteout) or covers the directory of lower layers (opaque).
fn hides(root: impl std::os::fd::AsFd, layer: &str, directory: &str, name: &str) -> bool {
    let path = Path::new(directory).join(name);
    let whiteout = |path: &Path| {
        rustix::fs::statat(&root, path, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
            rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::CharacterDevice
                && stat.st_rdev == 0
        })
    };
    if whiteout(&path) || whiteout(Path::new(directory)) {
        return true;
    }
    let mut value = [0_u8; 8];
    let got = rustix::fs::lgetxattr(Path::new(layer).join(directory), "trusted.overlay.opaque", &mut value[..]);
    got.is_ok_and(|length| value[..length] == *b"y")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(options: &[String]) -> Vec<Mount> {
        vec![Mount {
            r#type: "overlay".into(),
            source: "overlay".into(),
            options: options.to_vec(),
            ..Mount::default()
        }]
    }

    #[test]
    fn the_topmost_layer_wins_and_links_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let layer = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.join("etc")).unwrap();
            path
        };
        let (low, high, top) = (layer("low"), layer("high"), layer("top"));
        fs::write(low.join("etc/passwd"), "low").unwrap();
        fs::write(low.join("etc/group"), "low").unwrap();
        fs::write(high.join("etc/passwd"), "high").unwrap();
        let mounts = overlay(&[
            format!("workdir={}", dir.path().display()),
            format!("upperdir={}", top.display()),
            format!("lowerdir={}:{}", high.display(), low.display()),
        ]);
        assert_eq!(file_of(&mounts, "etc", "passwd"), "high");
        assert_eq!(file_of(&mounts, "etc", "group"), "low");
        assert_eq!(file_of(&mounts, "etc", "shadow"), "");

        // A link leads within the image, not to the host's own file.
        std::os::unix::fs::symlink("/etc/hostname", top.join("etc/group")).unwrap();
        assert_ne!(file_of(&mounts, "etc", "group"), fs::read_to_string("/etc/hostname").unwrap());
        fs::remove_file(top.join("etc/group")).unwrap();

        // A whiteout hides what is below.
        rustix::fs::mknodat(CWD, high.join("etc/group"), rustix::fs::FileType::CharacterDevice, Mode::empty(), 0)
            .unwrap();
        assert_eq!(file_of(&mounts, "etc", "group"), "");
    }

    #[test]
    fn this_machine_has_a_kernel_and_capabilities() {
        assert!(kernel_is_at_least((3, 10)) && !kernel_is_at_least((99, 0)));
        assert!(capabilities("CapBnd").has("CHOWN"));
        assert!(!capabilities("NoSuch").has("CHOWN"));
    }
}
