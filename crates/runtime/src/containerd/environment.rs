//! Variables of a container that must not reach a disk. containerd keeps the document of a container in its database; so what
//! stands in that is a mark, and our front (`src/front/environment.rs`) puts the variables in its place in the bundle, which is in
//! memory, before anybody reads that. It finds them in a file beside containerd's socket, which is there for that moment.
//!
//! A containerd that was not started by us has no front; it is given the variables as they are.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::api::containerd::services::containers::v1::Container;
use super::bundles;
use crate::container::SecretEnv;
use crate::daemon;

/// How a mark begins. No variable does: those have a `=`.
const MARK: &str = "longshore-environment-";
/// The folder beside the socket.
const FOLDER: &str = "environment";

/// Variables on their way: gone with this.
pub(super) struct Handed(PathBuf);

impl Drop for Handed {
    fn drop(&mut self) {
        // Without a front that took it, nothing was made of it either.
        let _ = fs::remove_file(&self.0);
    }
}

/// What goes into the document for these variables. `token` is random: nobody can have written its mark elsewhere.
pub(super) async fn hand_over(
    socket: &Path,
    id: &str,
    given: &SecretEnv,
    token: u128,
) -> io::Result<(Vec<String>, Option<Handed>)> {
    let SecretEnv(variables) = given;
    if variables.is_empty() || !daemon::has_front(socket).await {
        return Ok((variables.clone(), None));
    }
    let mark = format!("{MARK}{token:032x}");
    let handed = hand(socket, id, given, &mark)?;
    Ok((vec![mark], Some(handed)))
}

/// Has the variables ready for the front, in whose place that mark stands in the document.
pub(super) fn hand(socket: &Path, id: &str, SecretEnv(variables): &SecretEnv, mark: &str) -> io::Result<Handed> {
    let folder = socket.parent().ok_or(io::ErrorKind::InvalidInput)?.join(FOLDER);
    let quoted = variables.iter().map(|variable| serde_json::Value::from(variable.as_str()).to_string());
    let quoted: Vec<String> = quoted.collect();
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let handed = Handed(folder.join(id));
    let _ = fs::remove_file(&handed.0);
    let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&handed.0)?;
    written.write_all(format!("{mark}\n{}", quoted.join(",")).as_bytes())?;
    Ok(handed)
}

/// The mark in the document of a container that was made before.
pub(super) fn mark_of(record: &Container) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(&record.spec.as_ref()?.value).ok()?;
    let mut variables = document["process"]["env"].as_array()?.iter().filter_map(serde_json::Value::as_str);
    variables.find(|variable| variable.starts_with(MARK)).map(str::to_owned)
}

/// Removes what somebody who was killed has left of it.
pub(super) fn forget(socket: &Path, id: &str) {
    if let Some(run) = socket.parent() {
        let _ = fs::remove_file(run.join(FOLDER).join(id));
    }
}

/// The environment of a container that runs, if its document holds a mark instead.
pub(super) fn of_bundle(
    process: &serde_json::Value,
    socket: &Path,
    namespace: &str,
    id: &str,
) -> Option<io::Result<serde_json::Value>> {
    let marked = |variable: &serde_json::Value| variable.as_str().is_some_and(|text| text.starts_with(MARK));
    process["env"].as_array()?.iter().any(marked).then(|| {
        let text = bundles::document(socket, namespace, id)?;
        let document: serde_json::Value = serde_json::from_str(&text)?;
        Ok(document["process"]["env"].clone())
    })
}
