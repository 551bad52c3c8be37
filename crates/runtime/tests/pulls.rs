//! Pulls from a real registry: what comes, what is refused and how it is told, and what is left of those that failed.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use common::{Bench, PATIENCE};
use runtime::{
    Containerd, ContainerdConfig, Platform, PullError, PullPolicy, PullProgress, PullRequest, RegistryAuth, Runtime,
};

fn always(reference: &str) -> PullRequest {
    PullRequest::new(reference, PullPolicy::Always)
}

/// Content and leases: what a failed or cancelled pull must not leave behind.
async fn nothing_kept(bench: &Bench) {
    assert_eq!(bench.ctr("leases ls -q"), "");
    bench.until("content to go", || bench.ctr("content ls -q").trim().is_empty()).await;
    assert_eq!(bench.ctr("content active").lines().count(), 1, "an ingest is left");
    assert_eq!(bench.ctr("snapshots ls").lines().count(), 1, "a snapshot is left");
}

#[tokio::test]
async fn an_image_comes_once_and_goes() {
    let (bench, _daemon, runtime) = Bench::new().await;
    assert_eq!(runtime.image(&bench.image).await.unwrap(), None);
    let told = Mutex::new(Vec::new());
    let image = runtime.pull(always(&bench.image), &|p| told.lock().unwrap().push(p)).await.unwrap();
    assert_eq!(image.name, bench.image);
    assert_eq!(
        (image.config.cmd.clone(), image.config.env.clone()),
        (vec!["/bin/sh".into()], vec!["PATH=/bin".into()])
    );
    assert!(image.size > 500_000 && image.digest.starts_with("sha256:") && image.digest == image.manifest_digest);
    let told = told.into_inner().unwrap();
    let last: PullProgress = *told.last().unwrap();
    assert_eq!((last.layers_done, last.bytes_done), (last.layers_total, last.bytes_total), "{told:?}");
    assert!(told.is_sorted_by_key(|p| p.bytes_done));

    assert_eq!(runtime.image(&bench.image).await.unwrap(), Some(image.clone()));
    assert_eq!(runtime.list_images().await.unwrap(), vec![image.clone()]);
    let by_digest = format!("{}/busybox@{}", bench.registry.address(), image.digest);
    let same = runtime.pull(always(&by_digest), &|_| {}).await.unwrap();
    assert_eq!((same.digest, same.chain_id), (image.digest.clone(), image.chain_id.clone()));
    // Layer blobs are not kept once they are unpacked, and the leases are gone.
    bench.until("layer blobs to go", || bench.ctr("content ls -q").lines().count() == 2).await;
    assert_eq!(bench.ctr("leases ls -q"), "");

    let zstd = runtime.pull(always(&bench.registry.busybox_zstd_image().unwrap()), &|_| {}).await.unwrap();
    assert_ne!(zstd.chain_id, image.chain_id);
    let index = bench.registry.busybox_index("multi", &["s390x", &Platform::host().architecture]).unwrap();
    let chosen = runtime.pull(always(&index), &|_| {}).await.unwrap();
    assert_eq!(chosen.manifest_digest, image.digest);
    assert_ne!(chosen.digest, image.digest);
    // The same after a restart of ours: everything is read back from containerd.
    let fresh = Containerd::connect(bench.config.clone(), bench.effects.clone()).await.unwrap();
    assert_eq!(fresh.image(&index).await.unwrap(), Some(chosen));

    for image in runtime.list_images().await.unwrap() {
        runtime.remove_image(&image.name).await.unwrap();
        runtime.remove_image(&image.name).await.unwrap();
    }
    nothing_kept(&bench).await;

    // Unpacked from zstd alone, now that nothing is there; then cached without asking a registry that is gone.
    let reference = format!("{}/busybox:zstd", bench.registry.address());
    runtime.pull(always(&reference), &|_| {}).await.unwrap();
    let (code, log) = bench.run(&runtime, runtime_spec(&bench, &reference)).await;
    assert_eq!((code, log.as_str()), (Some(0), "hello\n"));
    runtime.remove("z").await.unwrap();
    let Bench { registry, .. } = &bench;
    registry.corrupt_layers().unwrap();
    let cached = runtime.pull(PullRequest::new(&reference, PullPolicy::IfMissing), &|_| {}).await.unwrap();
    assert_eq!(cached.name, reference);
    // What its digest names is here, though nobody pulled it by that; what another repository has is not.
    let pinned = runtime::image::pinned(&reference, &cached.digest).unwrap();
    let same = runtime.pull(always(&pinned), &|_| {}).await.unwrap();
    assert_eq!((same.name, same.chain_id), (pinned.clone(), cached.chain_id));
    assert_eq!(runtime.image(&pinned).await.unwrap().map(|image| image.digest), Some(cached.digest));
    let other = pinned.replace("/busybox@", "/other@");
    assert!(runtime.pull(always(&other), &|_| {}).await.is_err());
}

fn runtime_spec(bench: &Bench, reference: &str) -> runtime::ContainerSpec {
    runtime::ContainerSpec { image: reference.to_owned(), ..bench.spec("z", "echo hello") }
}

#[tokio::test]
async fn a_mirror_is_asked_and_the_image_keeps_its_name() {
    let (bench, _daemon, runtime) = Bench::new().await;
    let reference = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/busybox:1";
    let mirrored = PullRequest { mirror: Some(bench.registry.address()), ..always(reference) };
    let image = runtime.pull(mirrored.clone(), &|_| {}).await.unwrap();
    assert_eq!(image.name, reference);
    assert_eq!(runtime.pull(mirrored, &|_| {}).await.unwrap(), image, "asked again");
    let (code, log) = bench.run(&runtime, runtime_spec(&bench, reference)).await;
    assert_eq!((code, log.as_str()), (Some(0), "hello\n"));
    runtime.remove("z").await.unwrap();
    // Whoever does not answer is named, which is the mirror.
    let nobody = PullRequest { mirror: Some("127.0.0.1:1".into()), ..always("docker.io/other:1") };
    let error = runtime.pull(nobody, &|_| {}).await.unwrap_err();
    assert!(matches!(&error, PullError::Unreachable { registry, .. } if registry == "127.0.0.1:1"), "{error:?}");
}

#[tokio::test]
async fn what_a_registry_refuses_is_told_apart() {
    let (bench, _daemon, runtime) = Bench::new().await;
    let address = bench.registry.address();
    let missing = runtime.pull(always(&format!("{address}/busybox:nope")), &|_| {}).await.unwrap_err();
    assert!(matches!(&missing, PullError::NotFound { .. }), "{missing:?}");
    assert!(missing.to_string().starts_with("manifest unknown"), "{missing}");
    let repository = runtime.pull(always(&format!("{address}/nope:1")), &|_| {}).await.unwrap_err();
    assert!(matches!(repository, PullError::NotFound { .. }), "{repository:?}");
    let zeros = format!("{address}/busybox@sha256:{}", "0".repeat(64));
    let digest = runtime.pull(always(&zeros), &|_| {}).await.unwrap_err();
    assert!(matches!(digest, PullError::NotFound { .. }), "{digest:?}");
    let nobody = format!("127.0.0.1:{}/x:1", testkit::registry::free_port().unwrap());
    let nobody = runtime.pull(always(&nobody), &|_| {}).await.unwrap_err();
    assert!(matches!(&nobody, PullError::Unreachable { message, .. } if message.contains("refused")), "{nobody:?}");
    let invalid = runtime.pull(always("Not A Reference"), &|_| {}).await.unwrap_err();
    assert!(matches!(invalid, PullError::InvalidReference { .. }), "{invalid:?}");
    let other = bench.registry.busybox_index("other", &["s390x"]).unwrap();
    let other = runtime.pull(always(&other), &|_| {}).await.unwrap_err();
    assert!(
        matches!(&other, PullError::PlatformMissing { platform, .. } if platform.starts_with("linux/")),
        "{other:?}"
    );

    bench.registry.corrupt_layers().unwrap();
    let lie = runtime.pull(always(&bench.image), &|_| {}).await.unwrap_err();
    assert!(matches!(lie, PullError::DigestMismatch(_)), "{lie:?}");
    assert_eq!(runtime.image(&bench.image).await.unwrap(), None);
    nothing_kept(&bench).await;
}

#[tokio::test]
async fn credentials_are_sent_and_their_refusal_is_told() {
    let (bench, _daemon, runtime) = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Asks for a password and refuses every one; remembers what it was given.
    let (seen, given) = std::sync::mpsc::sync_channel::<String>(64);
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut buffer = [0; 4096];
            let length = stream.read(&mut buffer).unwrap_or(0);
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let authorization = text.lines().find(|l| l.to_lowercase().starts_with("authorization:"));
            let _ = seen.try_send(authorization.unwrap_or("none").to_owned());
            let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
            let _ = write!(
                stream,
                "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    let auth = RegistryAuth::Basic { username: "u".into(), password: "p".into() };
    let request = PullRequest { auth, ..always(&format!("{address}/x:1")) };
    let error = runtime.pull(request, &|_| {}).await.unwrap_err();
    assert!(matches!(error, PullError::Unauthorized { .. }), "{error:?}");
    let sent: Vec<String> = given.try_iter().collect();
    assert!(sent.iter().any(|line| line.ends_with("Basic dTpw")), "{sent:?}");
    let token = PullRequest { auth: RegistryAuth::IdentityToken("t".into()), ..always(&format!("{address}/x:1")) };
    let error = runtime.pull(token, &|_| {}).await.unwrap_err();
    assert!(matches!(error, PullError::Unauthorized { .. }), "{error:?}");
    nothing_kept(&bench).await;
}

#[tokio::test]
async fn silence_is_bounded_and_pulls_can_be_cancelled() {
    let (bench, _daemon, _) = Bench::new().await;
    let config = ContainerdConfig { pull_inactivity: Duration::from_millis(300), ..bench.config.clone() };
    let hasty = Containerd::connect(config, bench.effects.clone()).await.unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let reference = format!("{}/x:1", silent.local_addr().unwrap());
    let error = hasty.pull(always(&reference), &|_| {}).await.unwrap_err();
    assert!(matches!(error, PullError::Timeout { .. }), "{error:?}");

    let patient = Containerd::connect(bench.config.clone(), bench.effects.clone()).await.unwrap();
    let cancelled = tokio::time::timeout(Duration::from_millis(200), patient.pull(always(&reference), &|_| {})).await;
    assert!(cancelled.is_err());
    bench.until("the lease of the cancelled pull to go", || bench.ctr("leases ls -q").is_empty()).await;
    nothing_kept(&bench).await;

    // Equal pulls join: one may leave, the others get the image.
    let request = always(&bench.image);
    let leave = tokio::time::timeout(Duration::ZERO, patient.pull(request.clone(), &|_| {}));
    let quiet = |_| {};
    let (_, first, second) =
        futures::join!(leave, patient.pull(request.clone(), &quiet), patient.pull(request, &quiet));
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(bench.ctr("leases ls -q"), "");
}

#[tokio::test]
async fn registries_are_reached_through_the_namespace_given() {
    let (bench, _daemon, _) = Bench::new().await;
    let mut away = Command::new("unshare").args(["--net", "sleep", "1000"]).spawn().unwrap();
    let namespace = format!("/proc/{}/ns/net", away.id());
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    bench.until("a network namespace", || std::fs::read_link(&namespace).is_ok_and(|n| n != own)).await;
    let config = ContainerdConfig { registry_netns: Some(namespace.into()), ..bench.config.clone() };
    let connected = Containerd::connect(config, bench.effects.clone()).await;
    let outcome = match &connected {
        Ok(runtime) => tokio::time::timeout(PATIENCE, runtime.pull(always(&bench.image), &|_| {})).await.unwrap(),
        Err(error) => panic!("{error}"),
    };
    away.kill().unwrap();
    away.wait().unwrap();
    // Nothing listens there, not even on loopback.
    assert!(matches!(outcome, Err(PullError::Unreachable { .. })), "{outcome:?}");
    let nowhere = ContainerdConfig { registry_netns: Some("/run/netns/nope".into()), ..bench.config.clone() };
    assert!(Containerd::connect(nowhere, bench.effects.clone()).await.is_err());
    let here = ContainerdConfig { registry_netns: Some("/proc/self/ns/net".into()), ..bench.config.clone() };
    let here = Containerd::connect(here, bench.effects.clone()).await.unwrap();
    here.pull(always(&bench.image), &|_| {}).await.unwrap();
}
