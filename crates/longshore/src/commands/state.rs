//! `state`: check, back up, restore.

use crate::{
    advice::Advice,
    args::StateCommand,
    cli::{self, wait},
    local::HostPaths,
};
use anyhow::{Context, Result, bail};
use effects::Effects;
use serde_json::json;
use state::{BackendError, MaintainError};
use std::{collections::BTreeMap, path::Path, process::ExitCode};

/// The check itself could not be made, which says nothing about the state.
const UNCHECKED: u8 = 2;

pub(super) fn run(command: StateCommand) -> Result<ExitCode> {
    match command {
        StateCommand::Check { data_dir, output } => {
            let found = match wait::busy("Checking the state", None, || 0, || check(&data_dir)) {
                Ok(found) => found,
                Err(error) => {
                    cli::failure(&error.context("the state could not be checked"));
                    return Ok(ExitCode::from(UNCHECKED));
                }
            };
            if output.is_json() {
                found.show_json()?;
            } else {
                found.show();
            }
            Ok(if found.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        StateCommand::Backup { data_dir, to } => {
            let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
            if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                bail!("there is no folder {}; make it first, or name another", folder.display());
            }
            let from = data_dir.join("state");
            let mut partial = to.clone().into_os_string();
            partial.push(".partial");
            let work = || state::backup(&from, &to);
            let size = Some(size(&from.join("state.db")));
            wait::busy("Copying the state", size, || self::size(Path::new(&partial)), work)
                .map_err(|e| advised(e, false))?;
            cli::out(format_args!(
                "The state is in {}. Credentials, keys and logs are separate files of the data directory.",
                to.display()
            ));
            Ok(ExitCode::SUCCESS)
        }
        StateCommand::Restore { data_dir, force, from } => {
            let to = data_dir.join("state");
            let work = || state::restore(&from, &to, force, Effects::real().now());
            let restoring = to.join("state.db.restoring");
            let size = Some(size(&from));
            wait::busy("Restoring the state", size, || self::size(&restoring), work).map_err(|e| advised(e, true))?;
            cli::out(format_args!("The state of {} is in place; start the server.", from.display()));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What a check of a data directory found.
struct Found {
    state: state::Report,
    logs: telemetry::logs::check::Report,
    orphans: Vec<String>,
}

/// Looks at state, logs and what local instances have on the disk.
fn check(data_dir: &Path) -> Result<Found> {
    let state = state::check(&data_dir.join("state")).map_err(|e| advised(e, false))?;
    let logs = telemetry::logs::check::check(&data_dir.join("logs")).context("the logs")?;
    let orphans = orphans(data_dir, &state);
    Ok(Found { state, logs, orphans })
}

/// Folders of local instances that no record knows; the server removes them when it makes local instances again.
fn orphans(data_dir: &Path, state: &state::Report) -> Vec<String> {
    let folders = HostPaths::new(data_dir).list();
    let orphans = folders.into_iter().filter(|id| state.is_sound() && !state.machines.contains(id));
    orphans.map(|id| format!("instances/{id} belongs to no instance")).collect()
}

impl Found {
    fn is_sound(&self) -> bool {
        self.state.is_sound() && self.logs.problems.is_empty()
    }

    /// What there is how often, by kind.
    fn records(&self) -> Vec<(String, u64)> {
        let state = self.state.records.iter().map(|(kind, count)| (format!("{kind:?}"), *count));
        let logs = [
            ("LogGroup", self.logs.groups),
            ("LogStream", self.logs.streams),
            ("LogEvent in segments", self.logs.events),
        ];
        let logs = logs.into_iter().filter(|(_, count)| *count > 0).map(|(kind, count)| (kind.to_owned(), count));
        state.chain(logs).collect()
    }

    fn notes(&self) -> impl Iterator<Item = &String> {
        self.state.notes.iter().chain(&self.logs.notes).chain(&self.orphans)
    }

    fn problems(&self) -> impl Iterator<Item = &String> {
        self.state.problems.iter().chain(&self.logs.problems)
    }

    /// What was looked at.
    fn checked(&self) -> Vec<&'static str> {
        let logs = self.logs.checked.then_some("every block of the log store");
        ["the state"].into_iter().chain(logs).chain(["the folders of local instances"]).collect()
    }

    fn show_json(&self) -> Result<()> {
        cli::json(&json!({
            "file": self.state.file,
            "revision": self.state.revision,
            "sound": self.is_sound(),
            "checked": self.checked(),
            "records": self.records().into_iter().collect::<BTreeMap<_, _>>(),
            "problems": self.problems().collect::<Vec<_>>(),
            "notes": self.notes().collect::<Vec<_>>(),
        }))
    }

    fn show(&self) {
        cli::out(format_args!("{}: revision {}", self.state.file.display(), self.state.revision));
        for (kind, count) in self.records() {
            cli::out(format_args!("  {count:>9} {kind}"));
        }
        for note in self.notes() {
            cli::out(format_args!("note: {note}"));
        }
        for problem in self.problems() {
            cli::out(format_args!("PROBLEM: {problem}"));
        }
        if !self.state.is_sound() {
            cli::out(
                "The state is not sound. Put a backup in its place with `longshore state restore --force BACKUP`.",
            );
        }
        if !self.logs.problems.is_empty() {
            cli::out("The logs are damaged. The server starts, and serves what can still be read of them.");
        }
        if self.is_sound() {
            cli::out("The state is sound.");
        }
        cli::out(format_args!("Checked: {}.", self.checked().join(", ")));
    }
}

/// Bytes of a file as far as it has come.
fn size(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |found| found.len())
}

/// The error, with what to do about it if that is known.
fn advised(error: MaintainError, restoring: bool) -> anyhow::Error {
    let advice = match &error {
        MaintainError::Missing(_) => Some("Name the server's data directory: --data-dir DIR or LONGSHORE_DATA_DIR"),
        MaintainError::Exists(_) if restoring => {
            Some("--force puts the backup in its place, and keeps the present one beside it as state.db.replaced")
        }
        MaintainError::Exists(_) => Some("Name another file; nothing is written over"),
        MaintainError::Unsound { .. } => Some("Try an older backup; nothing was changed"),
        MaintainError::Backend(BackendError::InUse(_)) => Some("Stop that server first; a restore needs it stopped"),
        MaintainError::Backend(BackendError::Full(_)) => {
            Some("The disk is full: `df -h` tells which. Make room there, then do it again; nothing was changed")
        }
        MaintainError::NoFile | MaintainError::Backend(_) | MaintainError::Interrupted => None,
    };
    match advice {
        Some(advice) => anyhow::Error::new(error).context(Advice::new(advice)),
        None => error.into(),
    }
}
