//! `state`: check, back up, restore.

use crate::{args::StateCommand, local::HostPaths};
use anyhow::{Context, Result};
use effects::Effects;
use std::{path::Path, process::ExitCode};

/// The check itself could not be made, which says nothing about the state.
const UNCHECKED: u8 = 2;

pub(super) fn run(command: StateCommand) -> Result<ExitCode> {
    match command {
        StateCommand::Check { data_dir } => match check(&data_dir) {
            Ok(sound) => Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
            Err(error) => {
                eprintln!("longshore: the state could not be checked: {error:#}");
                Ok(ExitCode::from(UNCHECKED))
            }
        },
        StateCommand::Backup { data_dir, to } => {
            state::backup(&data_dir.join("state"), &to)?;
            println!(
                "The state is in {}. Credentials, keys and logs are separate files of the data directory.",
                to.display()
            );
            Ok(ExitCode::SUCCESS)
        }
        StateCommand::Restore { data_dir, force, from } => {
            state::restore(&from, &data_dir.join("state"), force, Effects::real().now())?;
            println!("The state of {} is in place; start the server.", from.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Looks at state, logs and what local instances have on the disk; whether all of it is sound.
fn check(data_dir: &Path) -> Result<bool> {
    let state = state::check(&data_dir.join("state"))?;
    let logs = telemetry::logs::check::check(&data_dir.join("logs")).context("the logs")?;
    println!("{}: revision {}", state.file.display(), state.revision);
    for (kind, count) in &state.records {
        println!("  {count:>9} {kind:?}");
    }
    let counts = [(logs.groups, "LogGroup"), (logs.streams, "LogStream"), (logs.events, "LogEvent in segments")];
    for (count, kind) in counts.iter().filter(|(count, _)| *count > 0) {
        println!("  {count:>9} {kind}");
    }
    for note in state.notes.iter().chain(&logs.notes).chain(&orphans(data_dir, &state)) {
        println!("note: {note}");
    }
    for problem in state.problems.iter().chain(&logs.problems) {
        println!("PROBLEM: {problem}");
    }
    if !state.is_sound() {
        println!("The state is not sound. Put a backup in its place with `longshore state restore --force BACKUP`.");
    }
    if !logs.problems.is_empty() {
        println!("The logs are damaged. The server starts, and serves what can still be read of them.");
    }
    let sound = state.is_sound() && logs.problems.is_empty();
    if sound {
        println!("The state is sound.");
    }
    Ok(sound)
}

/// Folders of local instances that no record knows; the server removes them when it makes local instances again.
fn orphans(data_dir: &Path, state: &state::Report) -> Vec<String> {
    let folders = HostPaths::new(data_dir).list();
    let orphans = folders.into_iter().filter(|id| state.is_sound() && !state.machines.contains(id));
    orphans.map(|id| format!("instances/{id} belongs to no instance")).collect()
}
