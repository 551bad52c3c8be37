//! containerd's disk is full: pulls and creations fail and say why, leave nothing, and work again once there is room.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::{Command, Stdio};

use common::{Bench, PATIENCE};
use runtime::{CreateError, Image, PullError, PullPolicy, PullRequest, Runtime};
use testkit::disk::SmallDisk;
use testkit::registry::Layer;

async fn pull(runtime: &runtime::Containerd, reference: &str) -> Result<Image, PullError> {
    let request = PullRequest::new(reference, PullPolicy::Always);
    tokio::time::timeout(PATIENCE, runtime.pull(request, &|_| {})).await.expect("a pull is bounded")
}

fn assert_full(error: &PullError) {
    assert!(matches!(error, PullError::NoSpace(_)), "{error:?}");
    assert!(error.to_string().contains("no space left on device"), "{error}");
}

async fn nothing_kept(bench: &Bench) {
    bench.until("the lease to go", || bench.ctr("leases ls -q").is_empty()).await;
    bench.until("content to go", || bench.ctr("content ls -q").trim().is_empty()).await;
    bench.until("ingests to go", || bench.ctr("content active").lines().count() == 1).await;
    bench.until("snapshots to go", || bench.ctr("snapshots ls").lines().count() == 1).await;
}

#[tokio::test]
async fn pulls_and_containers_fail_cleanly_and_work_again() {
    testkit::isolate_mounts().unwrap();
    let disk = std::cell::OnceCell::new();
    let (bench, _daemon, runtime) = Bench::on(|dir| {
        let small = SmallDisk::mount(&dir.join("ctd/root"), 24).unwrap();
        disk.set(small).unwrap();
    })
    .await;
    let disk = disk.get().unwrap();

    // Full in the middle of the layer's bytes, and while it is unpacked.
    for free in [300 << 10, 1_200 << 10] {
        disk.fill_all_but(free).unwrap();
        assert_full(&pull(&runtime, &bench.image).await.unwrap_err());
        disk.make_room().unwrap();
        nothing_kept(&bench).await;
    }
    // A layer of some kilobytes that unpacks to more than there is.
    let bomb = bomb(64);
    let layer = Layer { kind: "tar+gzip", bytes: &bomb, tar: b"", said_size: None };
    let reference = bench.registry.image_of_layer("bomb", "1", &layer).unwrap();
    assert_full(&pull(&runtime, &reference).await.unwrap_err());
    nothing_kept(&bench).await;

    // With room again everything works.
    pull(&runtime, &bench.image).await.unwrap();
    let (code, log) = bench.run(&runtime, bench.spec("before", "echo here")).await;
    assert_eq!((code, log.as_str()), (Some(0), "here\n"));
    runtime.remove("before").await.unwrap();

    // No room for another container: it fails and leaves nothing, or what little it takes still fits.
    disk.fill().unwrap();
    match runtime.create(bench.spec("full", "echo full")).await {
        Ok(()) => runtime.remove("full").await.unwrap(),
        Err(error) => assert!(matches!(error, CreateError::NoSpace(_)), "{error:?}"),
    }
    disk.make_room().unwrap();
    bench.nothing_left().await;
    let (code, _) = bench.run(&runtime, bench.spec("after", "exit 7")).await;
    assert_eq!(code, Some(7));
    runtime.remove("after").await.unwrap();
    bench.nothing_left().await;
}

#[tokio::test]
async fn a_container_whose_output_finds_no_room_can_still_be_ended() {
    testkit::isolate_mounts().unwrap();
    let disk = std::cell::OnceCell::new();
    let (bench, _daemon, runtime) = Bench::on(|dir| {
        let small = SmallDisk::mount(&dir.join("logs"), 1).unwrap();
        disk.set(small).unwrap();
    })
    .await;
    let disk = disk.get().unwrap();
    pull(&runtime, &bench.image).await.unwrap();
    // Little output fits into the pipe, whether or not anybody takes it out.
    runtime.create(bench.spec("quiet", "echo little; exit 5")).await.unwrap();
    runtime.create(bench.spec("loud", "yes")).await.unwrap();
    disk.fill().unwrap();
    runtime.start("quiet").await.unwrap();
    assert_eq!(bench.stopped(&runtime, "quiet").await.exit_code, Some(5));
    runtime.start("loud").await.unwrap();
    runtime.signal("loud", 9, true).await.unwrap();
    assert!(bench.stopped(&runtime, "loud").await.exit_code.is_some());
    disk.make_room().unwrap();
    for id in ["quiet", "loud"] {
        runtime.remove(id).await.unwrap();
    }
    bench.nothing_left().await;
}

/// So many MiB of zeros in a gzipped tar.
fn bomb(mebibytes: usize) -> Vec<u8> {
    let script =
        format!("cd $(mktemp -d) && head -c {mebibytes}M /dev/zero >zeros && tar -cz zeros && rm zeros && rmdir $PWD");
    let out = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}
