//! Devices of this machine, as containers are shown them: those that a container asks for, and to a privileged one all there are.
//!
//! What is asked for may be a folder, as with Docker: each device node in it is shown at its place below. The folder may be anybody's,
//! so nothing is followed out of it, and it may be neither deep nor large without end.

use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};

use crate::container::{ContainerSpec, DeviceMount};
use crate::error::CreateError;
use crate::oci::Device;
use crate::tree;

/// Where machines have their devices.
const DEV: &str = "/dev";
/// Folders of the machine's that each container has of its own.
const OWN: [&str; 4] = ["pts", "shm", "mqueue", "fd"];
/// Device nodes in one folder: more than the largest machines have, and few enough for a container's document.
const MOST_NODES: usize = 4096;
/// Names of whatever kind in one folder and those below it.
const MOST_NAMES: usize = 65_536;
/// Folders in one another, the first of them too; those of USB are three.
const DEEPEST: usize = 16;

/// All that a container is shown. Blocks.
pub(super) fn of(spec: &ContainerSpec) -> Result<Vec<Device>, CreateError> {
    if !spec.privileged {
        return shown(spec.devices.iter());
    }
    // Docker: it has the machine's anyway, where they are.
    let there = |device: &DeviceMount| device.source.starts_with(DEV) && device.source == Path::new(&device.target);
    let mut asked = shown(spec.devices.iter().filter(|device| !there(device)))?;
    let mut all = of_machine();
    all.retain(|device| asked.iter().all(|asked| asked.path != device.path));
    all.append(&mut asked);
    Ok(all)
}

/// Those that are asked for, under the paths they have inside.
fn shown<'a>(wanted: impl Iterator<Item = &'a DeviceMount>) -> Result<Vec<Device>, CreateError> {
    let mut all = Vec::new();
    for wanted in wanted {
        // Docker: its words, which people search for.
        let missing = |why: io::Error| {
            let text = "error gathering device information while adding custom device";
            CreateError::InvalidSpec(format!("{text} \"{}\": {why}", wanted.source.display()))
        };
        all.append(&mut one(wanted).map_err(missing)?);
    }
    Ok(all)
}

fn one(wanted: &DeviceMount) -> io::Result<Vec<Device>> {
    let stat = rustix::fs::stat(&wanted.source)?;
    let found = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        within(wanted)?
    } else {
        device(wanted.target.clone(), &stat, &wanted.access).into_iter().collect()
    };
    if found.is_empty() {
        return Err(io::Error::other("not a device node"));
    }
    Ok(found)
}

/// The device that a file is; `None` if it is another kind of file.
fn device(path: String, stat: &Stat, access: &str) -> Option<Device> {
    let file = FileType::from_raw_mode(stat.st_mode);
    let kinds = [(FileType::BlockDevice, 'b'), (FileType::CharacterDevice, 'c')];
    let (_, kind) = kinds.into_iter().find(|(known, _)| *known == file)?;
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let (uid, gid, mode) = (stat.st_uid, stat.st_gid, stat.st_mode & 0o777);
    Some(Device { path, kind, major, minor, mode, uid, gid, access: access.to_owned() })
}

/// The device nodes in a folder and those below it. What cannot be read is left out.
fn within(wanted: &DeviceMount) -> io::Result<Vec<Device>> {
    let top =
        rustix::fs::openat(CWD, &wanted.source, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let target = wanted.target.trim_end_matches('/');
    let (mut found, mut names) = (Vec::new(), 0);
    let mut open = vec![PathBuf::from(".")];
    while let Some(path) = open.pop() {
        let Ok(folder) = tree::below(top.as_fd(), &path) else { continue };
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            names += 1;
            if names > MOST_NAMES {
                return Err(io::Error::other(format!("more than {MOST_NAMES} files are in the folder")));
            }
            let Ok(word) = name.to_str().map(str::to_owned) else { continue };
            // Not followed: a link to elsewhere is not a device of its own.
            let Ok(stat) = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let inner = path.join(&word);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                if word != "." && word != ".." && inner.components().count() <= DEEPEST {
                    open.push(inner);
                }
                continue;
            }
            let inside = inner.strip_prefix(".").unwrap_or(&inner).display();
            found.extend(device(format!("{target}/{inside}"), &stat, &wanted.access));
            if found.len() > MOST_NODES {
                return Err(io::Error::other(format!("more than {MOST_NODES} devices are in the folder")));
            }
        }
    }
    Ok(found)
}

/// All device nodes under /dev, except what every container gets anyway.
fn of_machine() -> Vec<Device> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(DEV)];
    while let Some(dir) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            // Not followed, as above.
            let Ok(stat) = rustix::fs::lstat(&path) else { continue };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                if !OWN.iter().any(|own| path.ends_with(own)) {
                    open.push(path);
                }
                continue;
            }
            let path = path.display().to_string();
            if path != "/dev/console" && path != "/dev/ptmx" {
                found.extend(device(path, &stat, "rwm"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn wanted(source: &Path, target: &str) -> DeviceMount {
        DeviceMount { source: source.to_owned(), target: target.into(), access: "rw".into() }
    }

    fn paths(devices: &[Device]) -> Vec<&str> {
        let mut all: Vec<&str> = devices.iter().map(|device| device.path.as_str()).collect();
        all.sort_unstable();
        all
    }

    fn node(at: &Path, minor: u32) {
        let device = rustix::fs::makedev(1, minor);
        rustix::fs::mknodat(CWD, at, FileType::CharacterDevice, Mode::from_raw_mode(0o640), device).unwrap();
    }

    #[test]
    fn a_privileged_container_has_what_it_asks_for_besides_the_machines() {
        let ask = |devices: &[(&str, &str)]| {
            let devices = devices.iter().map(|(source, target)| wanted(Path::new(source), target)).collect();
            ContainerSpec { privileged: true, devices, ..ContainerSpec::new("c", "i", vec!["x".into()]) }
        };
        let numbers = |spec: &ContainerSpec, path: &str| -> Vec<(u32, u32)> {
            let all = of(spec).unwrap();
            all.iter().filter(|d| d.path == path).map(|d| (d.major, d.minor)).collect()
        };
        assert_eq!(numbers(&ask(&[]), "/dev/null"), [(1, 3)]);
        let elsewhere = ask(&[("/dev/null", "/dev/xx"), ("/dev/null", "/dev/full")]);
        assert_eq!(numbers(&elsewhere, "/dev/xx"), [(1, 3)]);
        assert_eq!(numbers(&elsewhere, "/dev/full"), [(1, 3)], "one node at a place: what is asked for");
        // Docker: it says nothing of one that would be where the machine has it.
        assert_eq!(
            numbers(&ask(&[("/dev/null", "/dev/null"), ("/dev/nothing", "/dev/nothing")]), "/dev/null"),
            [(1, 3)]
        );
        assert!(of(&ask(&[("/dev/nothing", "/dev/xx")])).is_err());
    }

    #[test]
    fn a_folder_is_the_nodes_in_it_and_none_out_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        for (at, minor) in [("top/null", 3), ("top/a/b/zero", 5), ("out/full", 7)] {
            node(&dir.path().join(at), minor);
        }
        std::os::unix::fs::chown(top.join("null"), Some(3), Some(27)).unwrap();
        fs::write(top.join("file"), "").unwrap();
        std::os::unix::fs::symlink("/dev/null", top.join("link")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("out"), top.join("way")).unwrap();
        let found = one(&wanted(&top, "/dev/mine/")).unwrap();
        assert_eq!(paths(&found), ["/dev/mine/a/b/zero", "/dev/mine/null"]);
        let null = found.iter().find(|device| device.path.ends_with("null")).unwrap();
        assert_eq!((null.major, null.minor, null.mode, null.uid, null.gid), (1, 3, 0o640, 3, 27));
        assert_eq!(null.access, "rw");
        // The one that is named may be a link, to a node or to a folder.
        std::os::unix::fs::symlink(&top, dir.path().join("same")).unwrap();
        assert_eq!(paths(&one(&wanted(&dir.path().join("same"), "/d")).unwrap()), ["/d/a/b/zero", "/d/null"]);
        assert_eq!(paths(&one(&wanted(&top.join("link"), "/d")).unwrap()), ["/d"]);
        for (nothing, why) in
            [("top/file", "not a device node"), ("top/none", "No such file"), ("empty", "not a device")]
        {
            fs::create_dir_all(dir.path().join("empty")).unwrap();
            let error = one(&wanted(&dir.path().join(nothing), "/d")).unwrap_err().to_string();
            assert!(error.contains(why), "{nothing}: {error}");
        }
    }

    #[test]
    fn a_folder_has_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut deep = dir.path().join("deep");
        for _ in 0..DEEPEST + 3 {
            fs::create_dir_all(&deep).unwrap();
            node(&deep.join("null"), 3);
            deep = deep.join("d");
        }
        assert_eq!(one(&wanted(&dir.path().join("deep"), "/d")).unwrap().len(), DEEPEST);
        let many = dir.path().join("many");
        fs::create_dir(&many).unwrap();
        (0..=MOST_NODES).for_each(|number| node(&many.join(number.to_string()), 3));
        let error = one(&wanted(&many, "/d")).unwrap_err().to_string();
        assert!(error.contains("more than 4096 devices"), "{error}");
    }
}
