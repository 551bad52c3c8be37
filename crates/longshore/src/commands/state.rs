//! `state`: check, back up, restore.

use crate::args::StateCommand;
use anyhow::Result;
use std::process::ExitCode;

pub(super) fn run(command: StateCommand) -> Result<ExitCode> {
    match command {
        StateCommand::Check { data_dir } => {
            let report = state::check(&data_dir.join("state"))?;
            println!("{report}");
            Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        StateCommand::Backup { data_dir, to } => {
            state::backup(&data_dir.join("state"), &to)?;
            println!("The state is in {}. Credentials, keys and logs are separate files of the data directory.", to.display());
            Ok(ExitCode::SUCCESS)
        }
        StateCommand::Restore { data_dir, force, from } => {
            state::restore(&from, &data_dir.join("state"), force)?;
            println!("The state of {} is in place; start the server.", from.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}
