//! Generates the containerd client from the vendored definitions, and builds the container init as a static program.

#![allow(clippy::disallowed_methods)] // Cargo speaks to build scripts through the environment.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

const API: &str = "proto/github.com/containerd/containerd/api";

/// Oldest stable services only: what containerd 1.6 serves as well as 2.x.
const FILES: [&str; 14] = [
    "services/containers/v1/containers.proto",
    "services/content/v1/content.proto",
    "services/diff/v1/diff.proto",
    "services/events/v1/events.proto",
    "services/images/v1/images.proto",
    "services/leases/v1/leases.proto",
    "services/namespaces/v1/namespace.proto",
    // Not in 1.6, and not needed there: see src/containerd/keep.rs.
    "services/sandbox/v1/sandbox.proto",
    "services/snapshots/v1/snapshots.proto",
    "services/tasks/v1/tasks.proto",
    "services/version/v1/version.proto",
    "types/runc/options/oci.proto",
    "types/event.proto",
    "events/task.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=src/init");
    println!("cargo::rerun-if-changed=src/terminal");
    println!("cargo::rerun-if-changed=src/front");
    println!("cargo::rerun-if-changed=src/folder");
    println!("cargo::rerun-if-changed=src/namespace");
    let files = FILES.map(|f| PathBuf::from(API).join(f));
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .include_file("containerd_api.rs")
        .disable_comments(["."])
        .compile_fds(descriptors)?;
    build_static("init", "container-init")?;
    build_static("terminal", "terminal-log")?;
    build_static("front", "runc-front")?;
    build_static("folder", "mount-folder")?;
    build_static("namespace", "make-namespace")
}

/// Programs of their own: the init is shown inside containers whose images may have no libc at all, and the front must start
/// in no time, so both are static.
fn build_static(source: &str, name: &str) -> Result<(), Box<dyn Error>> {
    let rustc = std::env::var("RUSTC")?;
    let target = std::env::var("TARGET")?;
    let status = Command::new(rustc)
        .args(["--edition=2024", "--crate-name", &name.replace('-', "_"), "--crate-type=bin", "--target", &target])
        .args([
            "-Copt-level=s",
            "-Cpanic=abort",
            "-Cstrip=symbols",
            "-Ctarget-feature=+crt-static",
            "-Crelocation-model=static",
        ])
        .arg("-o")
        .arg(Path::new(&std::env::var("OUT_DIR")?).join(name))
        .arg(format!("src/{source}/main.rs"))
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("src/{source} does not compile").into()) }
}
