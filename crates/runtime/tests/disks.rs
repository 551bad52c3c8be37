//! Disks of a size, and containers whose writable layer is on one: who fills it is told so, under either runtime, and others
//! write on; nothing is left of them, also of those that a killed process had.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use common::Bench;
use runtime::{ContainerSpec, Disks, OciRuntime, Resources, Runtime};

/// Large enough that the file system's own tables are small beside it.
const SIZE: u64 = 64 << 20;

/// Files that loop devices show, below this folder; also those that are deleted already.
fn shown(dir: &Path) -> Vec<String> {
    let devices = std::fs::read_dir("/sys/block").unwrap().flatten();
    let files = devices.filter_map(|device| std::fs::read_to_string(device.path().join("loop/backing_file")).ok());
    files.filter(|file| file.contains(&*dir.to_string_lossy())).collect()
}

fn keep(names: &[&str]) -> HashSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn a_disk_is_made_once_holds_its_size_and_goes_without_a_trace() {
    testkit::isolate_mounts().unwrap();
    Disks::check().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let disks = Disks::new(dir.path().join("disks"));
    assert_eq!(disks.usage("a"), None);
    disks.remove("a").unwrap();
    disks.sweep(&keep(&[])).unwrap();
    let a = disks.ensure("a", SIZE).unwrap();
    let b = disks.ensure("b", SIZE).unwrap();
    std::fs::write(a.join("mine"), "1").unwrap();
    assert_eq!(disks.ensure("a", SIZE).unwrap(), a);
    assert_eq!(std::fs::read_to_string(a.join("mine")).unwrap(), "1");
    assert_eq!(shown(dir.path()).len(), 2, "{:?}", shown(dir.path()));

    // It is full at its size, and the other is not.
    let fresh = disks.usage("a").unwrap();
    assert!(fresh.size <= SIZE && fresh.size > SIZE / 10 * 8 && fresh.used < 1 << 20, "{fresh:?}");
    let full = std::fs::write(a.join("big"), vec![7; usize::try_from(SIZE).unwrap()]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    assert!(disks.usage("a").unwrap().used > SIZE / 10 * 8);
    std::fs::write(b.join("small"), "2").unwrap();

    // What is deleted is the machine's again.
    use std::os::unix::fs::MetadataExt as _;
    let held = || std::fs::metadata(dir.path().join("disks/a.ext4")).unwrap().blocks() * 512;
    rustix::fs::syncfs(std::fs::File::open(&a).unwrap()).unwrap();
    assert!(held() > SIZE / 2, "{}", held());
    std::fs::remove_file(a.join("big")).unwrap();
    rustix::fs::syncfs(std::fs::File::open(&a).unwrap()).unwrap();
    assert!(held() < SIZE / 10, "{}", held());

    // Who comes after a process that was killed finds them by name.
    let later = Disks::new(dir.path().join("disks"));
    later.sweep(&keep(&["b"])).unwrap();
    assert_eq!((later.usage("a"), std::fs::read_to_string(b.join("small")).unwrap()), (None, "2".to_owned()));
    // One that was never mounted, or is no more, is made anew.
    std::fs::write(dir.path().join("disks/half.ext4"), "no file system").unwrap();
    let half = later.ensure("half", SIZE).unwrap();
    assert!(std::fs::write(half.join("file"), "3").is_ok());
    later.sweep(&keep(&[])).unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("disks")).unwrap().count(), 0);
    assert_eq!(shown(dir.path()), Vec::<String>::new());
}

#[tokio::test]
async fn one_that_is_in_use_is_not_taken_away() {
    testkit::isolate_mounts().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let disks = Disks::new(dir.path());
    let at = disks.ensure("used", SIZE).unwrap();
    let open = std::fs::File::create(at.join("open")).unwrap();
    assert!(disks.remove("used").is_err());
    assert!(at.join("open").exists());
    drop(open);
    disks.remove("used").unwrap();
    assert!(!at.exists());
}

/// Writes more than fits, then tells what of it can be seen and whether the rest of the container works.
const FILL: &str = "cat /etc/group > /mine; busybox dd if=/dev/zero of=/big bs=1M count=80 2>&1; \
    n=0; while echo more > /more$n && test -s /more$n; do n=$((n + 1)); test $n -lt 2000 || exit 9; done; \
    echo nothing-more; rm /big; echo again > /again; cat /again; \
    test \"$(cat /etc/group)\" = \"$(cat /mine)\" && echo image-is-there";

async fn fills(runtime_kind: OciRuntime) {
    // The network: a sandbox's socket is known there by the container's name alone.
    testkit::isolate_network().unwrap();
    testkit::isolate_mounts().unwrap();
    let (bench, _daemon, runtime) = Bench::ready().await;
    let disks = Disks::new(bench.dir().join("disks"));
    let at = disks.ensure("task", SIZE).unwrap();
    let other = disks.ensure("other", SIZE).unwrap();
    let on = |disk: &Path, id: &str, script: &str| ContainerSpec {
        layer: Some(disk.join(id)),
        oci_runtime: runtime_kind,
        ..bench.spec(id, script)
    };
    let waits = "until test -e /go; do busybox sleep 0.1; done; echo still > /writes && cat /writes";
    runtime.create(on(&other, "neighbour", waits)).await.unwrap();
    runtime.start("neighbour").await.unwrap();
    let spec = on(&at, "fills", FILL);
    runtime.create(spec.clone()).await.unwrap();
    // Made once, whoever asks again.
    runtime.create(spec).await.unwrap();
    runtime.start("fills").await.unwrap();
    let status = bench.stopped(&runtime, "fills").await;
    let log = bench.all_logged("fills").await;
    assert_eq!(status.exit_code, Some(0), "{log}");
    for want in ["No space left on device", "nothing-more", "again\n", "image-is-there"] {
        assert!(log.contains(want), "no {want:?} in:\n{log}");
    }
    // What it wrote is on its disk, and nowhere in containerd's folder.
    assert!(at.join("fills/upper/again").exists());
    assert!(bench.ctr("snapshots ls").lines().any(|line| line.starts_with("fills ") && line.contains("View")));
    let exec =
        runtime.exec("neighbour", &["/bin/sh".into(), "-c".into(), "echo 1 > /go".into()], common::PATIENCE).await;
    assert_eq!(exec, Ok(runtime::ExecEnd::Exited(0)));
    assert_eq!(bench.stopped(&runtime, "neighbour").await.exit_code, Some(0));
    assert_eq!(bench.all_logged("neighbour").await, "still\n");

    // One of a name that was there before finds nothing of it.
    runtime.remove("fills").await.unwrap();
    let (code, log) = bench.run(&runtime, on(&at, "fills", "test -e /again || echo new")).await;
    assert_eq!((code, log.ends_with("new\n")), (Some(0), true), "{log}");
    for id in ["fills", "neighbour"] {
        runtime.remove(id).await.unwrap();
    }
    for name in ["task", "other"] {
        disks.remove(name).unwrap();
    }
    bench.nothing_left().await;
    bench.until("the devices to go", || shown(bench.dir()).is_empty()).await;
    let _ = std::fs::remove_dir_all(format!("/run/containerd/runsc/{}", bench.config.namespace));
}

#[tokio::test]
async fn a_container_of_runc_cannot_write_beyond_its_disk() {
    fills(OciRuntime::Runc).await;
}

#[tokio::test]
async fn a_container_of_gvisor_cannot_write_beyond_its_disk() {
    fills(OciRuntime::Runsc).await;
}

/// gVisor would have it in memory.
#[tokio::test]
async fn tmp_of_a_container_of_gvisor_is_on_its_disk() {
    testkit::isolate_network().unwrap();
    testkit::isolate_mounts().unwrap();
    let (bench, _daemon, runtime) = Bench::ready().await;
    let disks = Disks::new(bench.dir().join("disks"));
    let at = disks.ensure("task", 160 << 20).unwrap();
    let script = "busybox stat -c mode=%a /tmp; busybox dd if=/dev/zero of=/tmp/fits bs=1M count=100 && echo fits; \
        busybox dd if=/dev/zero of=/tmp/more bs=1M count=100 || echo no-more; busybox rm /tmp/more; echo 1 > /tmp/again && cat /tmp/again";
    let spec = ContainerSpec {
        layer: Some(at.join("writes")),
        oci_runtime: OciRuntime::Runsc,
        // Less than is written.
        resources: Resources { memory_limit: Some(64 << 20), ..Resources::default() },
        ..bench.spec("writes", script)
    };
    let (code, log) = bench.run(&runtime, spec).await;
    assert_eq!(code, Some(0), "{log}");
    for want in ["mode=1777\n", "\nfits\n", "No space left on device", "\nno-more\n1\n"] {
        assert!(log.contains(want), "no {want:?} in:\n{log}");
    }
    assert!(at.join("writes/tmp/again").exists());
    runtime.remove("writes").await.unwrap();
    disks.remove("task").unwrap();
    bench.nothing_left().await;
    let _ = std::fs::remove_dir_all(format!("/run/containerd/runsc/{}", bench.config.namespace));
}

/// No disk is no place, not another one.
#[tokio::test]
async fn without_its_disk_a_container_is_refused_and_leaves_nothing() {
    let (bench, _daemon, runtime) = Bench::ready().await;
    let gone: PathBuf = bench.dir().join("disks/gone/x");
    let spec = ContainerSpec { layer: Some(gone), ..bench.spec("x", "true") };
    let refused = runtime.create(spec).await.unwrap_err();
    assert!(refused.to_string().contains("disks/gone/x"), "{refused}");
    bench.nothing_left().await;
}
