//! A container's writable layer in a folder of its maker's, over an image that containerd only shows: what the container writes
//! counts on that folder's disk, and containerd's own folder holds none of it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::api::containerd::types::Mount;
use super::machine;
use crate::error::CreateError;

/// Kernels that have the option may have it on unasked, which would tie the layer to the folders below it.
const INDEX: &str = "/sys/module/overlay/parameters/index";

/// The mounts of a filesystem of its own on top of what `shown` mounts. What the folder held before goes: it is of an attempt
/// that nobody knows the end of.
pub(super) fn on(folder: &Path, shown: &[Mount]) -> io::Result<Vec<Mount>> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // Not the disk itself: it is there, or nothing is written elsewhere in its place.
    fs::create_dir(folder)?;
    fs::create_dir(folder.join("upper"))?;
    fs::create_dir(folder.join("work"))?;
    Ok(again(folder, shown))
}

/// A folder as `/tmp` is where the image has nothing in it: everybody may write there, and remove what is their own. One in which
/// something is stays as the image has it.
pub(super) fn open_to_all(folder: &Path) -> io::Result<()> {
    if fs::read_dir(folder)?.next().is_some() {
        return Ok(());
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o1777))
}

/// The same over what the folder holds.
pub(super) fn again(folder: &Path, shown: &[Mount]) -> Vec<Mount> {
    let (upper, work) = (folder.join("upper"), folder.join("work"));
    let mut options = Vec::new();
    if Path::new(INDEX).exists() {
        options.push("index=off".to_owned());
    }
    options.push(format!("workdir={}", work.display()));
    options.push(format!("upperdir={}", upper.display()));
    options.push(format!("lowerdir={}", machine::layers(shown).join(":")));
    vec![Mount { r#type: "overlay".into(), source: "overlay".into(), target: String::new(), options }]
}

pub(super) fn failed(folder: &Path, error: &io::Error) -> CreateError {
    let text = format!("{}: {error}", folder.display());
    let full = error.kind() == io::ErrorKind::StorageFull;
    if full { CreateError::NoSpace(text) } else { CreateError::InvalidSpec(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_lies_over_what_is_shown_and_is_new_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("web");
        let mount = |kind: &str, source: &str, options: &[&str]| Mount {
            r#type: kind.into(),
            source: source.into(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            ..Mount::default()
        };
        let one = mount("bind", "/a", &["ro", "rbind"]);
        let several = mount("overlay", "overlay", &["index=off", "lowerdir=/b:/a"]);
        for (shown, lower) in [(one, "lowerdir=/a"), (several, "lowerdir=/b:/a")] {
            let shown = [shown];
            let mounts = on(&folder, &shown).unwrap();
            assert_eq!(mounts.len(), 1);
            assert_eq!(mounts[0].options.last().map(String::as_str), Some(lower));
            assert_eq!(fs::read_dir(folder.join("upper")).unwrap().count(), 0);
            fs::write(folder.join("upper/left"), "").unwrap();
            assert_eq!(again(&folder, &shown), mounts);
            assert!(folder.join("upper/left").exists());
        }
        fs::create_dir(folder.join("tmp")).unwrap();
        let mode = || fs::metadata(folder.join("tmp")).unwrap().permissions().mode() & 0o7777;
        fs::write(folder.join("tmp/of-image"), "").unwrap();
        let of_image = mode();
        open_to_all(&folder.join("tmp")).unwrap();
        assert_eq!(mode(), of_image);
        fs::remove_file(folder.join("tmp/of-image")).unwrap();
        open_to_all(&folder.join("tmp")).unwrap();
        assert_eq!(mode(), 0o1777);
        let nowhere = on(&dir.path().join("no/disk"), &[]).unwrap_err();
        assert!(matches!(failed(&folder, &nowhere), CreateError::InvalidSpec(_)));
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(failed(&folder, &full), CreateError::NoSpace(_)));
    }
}
