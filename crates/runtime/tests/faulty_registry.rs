//! Registries that stall, cut, lie and refuse: pulls end within their bounds, go on where they were, or fail with a reason,
//! and nothing of what failed is kept.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Bench, PATIENCE};
use runtime::{
    Containerd, ContainerdConfig, Image, PullError, PullPolicy, PullProgress, PullRequest, RegistryAuth, Runtime,
};
use testkit::faulty::{Fault, FaultyRegistry};
use testkit::registry::Layer;

fn always(reference: &str) -> PullRequest {
    PullRequest::new(reference, PullPolicy::Always)
}

/// A pull that ends in time, whatever comes of it.
async fn pull(runtime: &Containerd, request: PullRequest) -> Result<Image, PullError> {
    let pulled = tokio::time::timeout(PATIENCE, runtime.pull(request, &|_: PullProgress| {}));
    pulled.await.expect("a pull is bounded")
}

async fn nothing_kept(bench: &Bench) {
    assert_eq!(bench.ctr("leases ls -q"), "");
    bench.until("content to go", || bench.ctr("content ls -q").trim().is_empty()).await;
    assert_eq!(bench.ctr("content active").lines().count(), 1, "an ingest is left");
    assert_eq!(bench.ctr("snapshots ls").lines().count(), 1, "a snapshot is left");
    assert_eq!(bench.mounts(), Vec::<String>::new());
}

/// With a registry's silence bounded by what a test can wait for.
async fn hasty(bench: &Bench) -> Containerd {
    let config = ContainerdConfig { pull_inactivity: Duration::from_millis(500), ..bench.config.clone() };
    Containerd::connect(config, bench.effects.clone()).await.unwrap()
}

#[tokio::test]
async fn a_registry_that_stalls_or_trickles_is_given_up() {
    let (bench, _daemon, _) = Bench::new().await;
    let runtime = hasty(&bench).await;
    let faulty = FaultyRegistry::start(&bench.registry.address()).unwrap();
    let reference = format!("{}/busybox:1", faulty.address());
    let trickle = Fault::TrickleAfter(200_000, 1, Duration::from_millis(20));
    let faults = [
        ("/v2/", Fault::Silence),
        ("/manifests/", Fault::StallAfter(0)),
        ("/manifests/", Fault::StallAfter(10)),
        ("/blobs/", Fault::Silence),
        ("/blobs/", Fault::StallAfter(10)),
        ("/blobs/", trickle),
    ];
    for (part, fault) in faults {
        let told = format!("{part} {fault:?}");
        faulty.on(part, fault, usize::MAX);
        let error = pull(&runtime, always(&reference)).await.unwrap_err();
        assert!(matches!(error, PullError::Timeout { .. }), "{told}: {error:?}");
        assert!(error.to_string().contains("sent nothing for too long"), "{told}: {error}");
        faulty.heal();
        nothing_kept(&bench).await;
    }
    pull(&runtime, always(&reference)).await.unwrap();
}

#[tokio::test]
async fn a_pull_that_breaks_off_goes_on_where_it_was() {
    let (bench, _daemon, runtime) = Bench::new().await;
    let faulty = FaultyRegistry::start(&bench.registry.address()).unwrap();
    let reference = format!("{}/busybox:1", faulty.address());
    // Cut in the middle of the layer (the configuration is shorter and comes whole), then in trouble, then overloaded.
    faulty.on("/blobs/", Fault::CutAfter(300_000), 2);
    faulty.on("/manifests/", Fault::Status(503, "{}"), 1);
    faulty.on("/manifests/", Fault::Status(429, r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#), 1);
    let image = pull(&runtime, always(&reference)).await.unwrap();
    let ranges = faulty.requests().into_iter().filter(|r| r.contains("/blobs/") && r.contains("ange: bytes=")).count();
    assert!(ranges >= 1, "no layer was resumed: {:#?}", faulty.requests());
    let spec = runtime::ContainerSpec { image: reference.clone(), ..bench.spec("whole", "echo whole") };
    assert_eq!(bench.run(&runtime, spec).await, (Some(0), "whole\n".to_owned()));
    runtime.remove("whole").await.unwrap();
    runtime.remove_image(&image.name).await.unwrap();
    nothing_kept(&bench).await;

    // One that never recovers is given up after some tries, and says what was wrong.
    faulty.on("/blobs/", Fault::CutAfter(1_000), usize::MAX);
    let error = pull(&runtime, always(&reference)).await.unwrap_err();
    assert!(matches!(error, PullError::Unreachable { .. }), "{error:?}");
    faulty.heal();
    nothing_kept(&bench).await;

    // Whoever has a copy does not wait for a registry in trouble: asked for the version, the digest and, as that fails, the manifest.
    pull(&runtime, always(&reference)).await.unwrap();
    let before = faulty.requests().len();
    faulty.on("/v2/", Fault::Status(500, "{}"), usize::MAX);
    pull(&runtime, always(&reference)).await.unwrap_err();
    assert!(faulty.requests().len() <= before + 5, "{:#?}", faulty.requests());
}

#[tokio::test]
async fn what_a_registry_refuses_is_told_in_its_words() {
    let (bench, _daemon, runtime) = Bench::new().await;
    let faulty = FaultyRegistry::start(&bench.registry.address()).unwrap();
    let reference = format!("{}/busybox:1", faulty.address());
    let rows = [
        (401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}"#, "pull access denied for"),
        (403, r#"{"errors":[{"code":"DENIED","message":"not for you"}]}"#, "pull access denied for"),
        (404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such tag"}]}"#, "manifest unknown"),
        (429, r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}"#, "pull rate limit"),
        (500, "oh no", "500"),
    ];
    for (status, body, words) in rows {
        faulty.on("/manifests/", Fault::Status(status, body), usize::MAX);
        let error = pull(&runtime, always(&reference)).await.unwrap_err().to_string();
        assert!(error.contains(words), "{status}: {error}");
        faulty.heal();
    }
    nothing_kept(&bench).await;
}

#[tokio::test]
async fn blobs_may_be_elsewhere_and_credentials_do_not_go_along() {
    let (bench, _daemon, runtime) = Bench::new().await;
    let elsewhere = FaultyRegistry::start(&bench.registry.address()).unwrap();
    let faulty = FaultyRegistry::start(&bench.registry.address()).unwrap();
    // Another host by name, though the same machine.
    let other_name = elsewhere.address().replace("127.0.0.1", "localhost");
    faulty.on("/blobs/", Fault::Redirect(other_name), usize::MAX);
    let auth = RegistryAuth::Basic { username: "u".into(), password: "p".into() };
    let request = PullRequest { auth, ..always(&format!("{}/busybox:1", faulty.address())) };
    pull(&runtime, request).await.unwrap();
    let asked = elsewhere.requests();
    assert!(asked.iter().any(|r| r.contains("/blobs/")), "{asked:#?}");
    assert!(!asked.iter().any(|r| r.to_ascii_lowercase().contains("authorization")), "{asked:#?}");
    runtime.remove_image(&format!("{}/busybox:1", faulty.address())).await.unwrap();

    // Round in a circle.
    faulty.heal();
    faulty.on("/blobs/", Fault::Redirect(faulty.address()), usize::MAX);
    pull(&runtime, always(&format!("{}/busybox:1", faulty.address()))).await.unwrap_err();
    nothing_kept(&bench).await;
}

#[tokio::test]
async fn lies_are_found_out() {
    let (bench, _daemon, runtime) = Bench::new().await;
    let faulty = FaultyRegistry::start(&bench.registry.address()).unwrap();
    let by_tag = format!("{}/busybox:1", faulty.address());
    let image = pull(&runtime, always(&bench.image)).await.unwrap();
    runtime.remove_image(&image.name).await.unwrap();
    let by_digest = format!("{}/busybox@{}", faulty.address(), image.digest);
    let rows = [
        (&by_digest, "/manifests/", Fault::Corrupt),
        (&by_tag, "/blobs/", Fault::Corrupt),
        (&by_tag, "/blobs/", Fault::Endless),
    ];
    for (reference, part, fault) in rows {
        let told = format!("{reference} {fault:?}");
        faulty.on(part, fault, usize::MAX);
        let error = pull(&runtime, always(reference)).await.unwrap_err();
        assert!(matches!(error, PullError::DigestMismatch(_) | PullError::Unsupported(_)), "{told}: {error:?}");
        faulty.heal();
        nothing_kept(&bench).await;
    }

    let tar = tar(&[("bin/", b'5', "", b""), ("bin/x", b'0', "", b"x")]);
    let zipped = gzip(&tar);
    let layer = |bytes, said_size| Layer { kind: "tar+gzip", bytes, tar: &tar, said_size };
    let rows = [
        ("small", layer(&zipped, Some(zipped.len() - 1))),
        ("large", layer(&zipped, Some(zipped.len() + 1))),
        ("torn", layer(&zipped[..zipped.len() / 2], None)),
        ("other", Layer { kind: "tar+gzip", bytes: &zipped, tar: b"something else", said_size: None }),
    ];
    for (tag, layer) in rows {
        let reference = bench.registry.image_of_layer("odd", tag, &layer).unwrap();
        let error = pull(&runtime, always(&reference)).await.unwrap_err();
        if tag != "torn" {
            assert!(matches!(error, PullError::DigestMismatch(_)), "{tag}: {error:?}");
        }
        nothing_kept(&bench).await;
    }
}

#[tokio::test]
async fn layers_stay_in_their_place() {
    let (bench, _daemon, runtime) = Bench::new().await;
    let victim = bench.dir().join("victim");
    std::fs::write(&victim, "untouched").unwrap();
    let absolute = victim.to_str().unwrap().to_owned();
    let up = format!("{}{}", "../".repeat(40), absolute.trim_start_matches('/'));
    let whiteout = format!("{}{}/.wh.victim", "../".repeat(40), bench.dir().to_str().unwrap().trim_start_matches('/'));
    let rows: [&[Entry<'_>]; 4] = [
        &[(&up, b'0', "", b"overwritten")],
        &[(&absolute, b'0', "", b"overwritten")],
        &[("door", b'2', bench.dir().to_str().unwrap(), b""), ("door/victim", b'0', "", b"overwritten")],
        &[(&whiteout, b'0', "", b"")],
    ];
    for (number, entries) in rows.into_iter().enumerate() {
        let tar = tar(entries);
        let layer = Layer { kind: "tar", bytes: &tar, tar: &tar, said_size: None };
        let reference = bench.registry.image_of_layer("escape", &number.to_string(), &layer).unwrap();
        // Refused, or kept inside the layer: both are fine, as long as nothing outside is touched.
        if let Ok(image) = pull(&runtime, always(&reference)).await {
            runtime.remove_image(&image.name).await.unwrap();
        }
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched", "row {number}");
    }
    nothing_kept(&bench).await;
}

/// A name, a kind (0 file, 2 link, 5 folder), a link's target, and contents.
type Entry<'a> = (&'a str, u8, &'a str, &'a [u8]);

/// As `tar` would never write them.
fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut all = Vec::new();
    for (name, kind, link, bytes) in entries {
        let mut head = [0_u8; 512];
        let mut put = |at: usize, text: &str| head[at..at + text.len()].copy_from_slice(text.as_bytes());
        // A name over 100 bytes has its first part elsewhere.
        let cut = name.len().saturating_sub(100);
        let cut = if cut == 0 { 0 } else { cut + name[cut..].find('/').unwrap() + 1 };
        put(0, &name[cut..]);
        put(100, "0000755\0");
        put(108, "0000000\0");
        put(116, "0000000\0");
        put(124, &format!("{:011o}\0", bytes.len()));
        put(136, "00000000000\0");
        put(148, "        ");
        put(157, link);
        put(257, "ustar\x0000");
        put(345, name[..cut].trim_end_matches('/'));
        head[156] = *kind;
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        all.extend_from_slice(&head);
        all.extend_from_slice(bytes);
        all.resize(all.len().next_multiple_of(512), 0);
    }
    all.resize(all.len() + 1024, 0);
    all
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut zip = Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    zip.stdin.take().unwrap().write_all(bytes).unwrap();
    let out = zip.wait_with_output().unwrap();
    assert!(out.status.success());
    out.stdout
}
