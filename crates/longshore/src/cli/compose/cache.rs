//! Which definition was registered from what, remembered on the user's disk as the original does, so that the same files make
//! one revision. Nothing is lost with it: a definition that is not found here is registered once more.

use crate::cli::config::{Settings, cache_folder};
use shapes::ecs;
use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Most definitions that are remembered; the oldest go first. A person's projects and their variants are far fewer.
const MAX_ENTRIES: usize = 1000;

/// The place of one request's answer.
pub(super) struct Entry {
    path: PathBuf,
}

impl Entry {
    /// The entry of a request to one server as one user. `None` if there is no place for a cache.
    pub(super) fn of(settings: &Settings, request: &ecs::RegisterTaskDefinitionRequest) -> Option<Self> {
        use sha2::{Digest, Sha256};
        let folder = cache_folder()?.join("task-definitions");
        let request = serde_json::to_vec(request).ok()?;
        let key = Sha256::new().chain_update(settings.client.identity()).chain_update([0]).chain_update(request);
        Some(Self { path: folder.join(hex::encode(key.finalize())) })
    }

    /// What was registered then.
    pub(super) fn read(&self) -> Option<Known> {
        let text = fs::read_to_string(&self.path).ok()?;
        let (arn, registered) = text.trim_end().split_once(' ')?;
        Some(Known { arn: arn.to_owned(), registered: registered.to_owned() })
    }

    /// Remembers an answer. That it cannot be remembered is no reason to fail.
    pub(super) fn write(&self, definition: &ecs::TaskDefinition) {
        let Some(arn) = &definition.task_definition_arn else { return };
        let text = format!("{arn} {}\n", registered(definition));
        if let Err(error) = self.try_write(text.as_bytes()) {
            tracing::debug!(%error, "the task definition is not remembered");
        }
    }

    fn try_write(&self, text: &[u8]) -> std::io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        prune(folder)?;
        let new = self.path.with_extension(std::process::id().to_string());
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text)?;
        fs::rename(new, &self.path)
    }
}

/// What the cache says.
pub(super) struct Known {
    pub(super) arn: String,
    registered: String,
}

impl Known {
    /// Whether the server still means the same by this ARN, and would run it. A server that began anew counts its revisions
    /// anew too; the time of registration tells them apart.
    pub(super) fn is(&self, described: &ecs::TaskDefinition) -> bool {
        described.status.as_deref() == Some("ACTIVE") && registered(described) == self.registered
    }
}

fn registered(definition: &ecs::TaskDefinition) -> String {
    definition.registered_at.map(|at| at.as_millis().to_string()).unwrap_or_default()
}

fn prune(folder: &Path) -> std::io::Result<()> {
    let entries = fs::read_dir(folder)?.flatten();
    let mut all: Vec<_> = entries.filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path()))).collect();
    if all.len() >= MAX_ENTRIES {
        all.sort();
        for (_, path) in &all[..=all.len() - MAX_ENTRIES] {
            let _ = fs::remove_file(path);
        }
    }
    Ok(())
}
