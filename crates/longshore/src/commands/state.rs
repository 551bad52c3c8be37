//! `state`: check, back up, restore.

use crate::args::StateCommand;
use anyhow::Result;
use effects::Effects;
use std::process::ExitCode;

pub(super) fn run(command: StateCommand) -> Result<ExitCode> {
    match command {
        StateCommand::Check { data_dir } => {
            let report = state::check(&data_dir.join("state"))?;
            show(&report);
            Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
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

fn show(report: &state::Report) {
    println!("{}: revision {}", report.file.display(), report.revision);
    for (kind, count) in &report.records {
        println!("  {count:>9} {kind:?}");
    }
    for note in &report.notes {
        println!("note: {note}");
    }
    for problem in &report.problems {
        println!("PROBLEM: {problem}");
    }
    if report.is_sound() {
        println!("The state is sound.");
    } else {
        println!("The state is not sound. Put a backup in its place with `longshore state restore --force BACKUP`.");
    }
}
