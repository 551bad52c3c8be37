//! File systems that are mounted for containers.
#![allow(clippy::unwrap_used)]

use runtime::{MountSource, Mounts};
use std::{collections::HashSet, fs};

#[test]
fn what_is_mounted_stays_until_it_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let mounts = Mounts::new(dir.path().join("mounts"));
    mounts.sweep(&HashSet::new()).unwrap();
    let source = |options: &str| MountSource { kind: "tmpfs".into(), device: "x".into(), options: options.into() };
    let at = mounts.ensure("a", &source("size=64k,mode=1777,noexec")).unwrap();
    fs::write(at.join("file"), "text").unwrap();
    assert!(fs::write(at.join("large"), vec![0; 100 << 10]).is_err(), "it has its size");
    assert_eq!(mounts.ensure("a", &source("")).unwrap(), at);
    assert_eq!(fs::read_to_string(at.join("file")).unwrap(), "text");
    assert!(mounts.ensure("b", &source("nonsense=1")).is_err());
    mounts.sweep(&HashSet::from(["a".to_owned()])).unwrap();
    assert!(at.join("file").exists() && !mounts.at("b").exists());
    mounts.sweep(&HashSet::new()).unwrap();
    assert!(!at.exists());
    mounts.remove("a").unwrap();
}
