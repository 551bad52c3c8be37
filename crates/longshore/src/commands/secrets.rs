//! `secrets`: the keys that secrets are sealed with. Works on the server's data directory; a server that runs notices.

use crate::{args::SecretsCommand, cli};
use anyhow::Result;
use effects::Effects;
use server::vault::Keeper;
use std::{process::ExitCode, time::Duration};

/// How long a running server is waited for: it looks every two seconds, and wraps thousands of values in one.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

pub(super) fn run(command: SecretsCommand) -> Result<ExitCode> {
    let SecretsCommand::RotateKey { data_dir, passphrase_file } = command;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let effects = Effects::real();
        let keeper = Keeper::new(&data_dir, passphrase_file.as_deref());
        let key = keeper.rotate(&effects)?;
        let runs = state::is_in_use(&data_dir.join("state"));
        let deadline = effects.monotonic() + PATIENCE;
        while runs && effects.monotonic() < deadline {
            if keeper.count()? == 1 {
                cli::out(format_args!("All secrets are sealed with key {key}; the older keys are gone."));
                return Ok(ExitCode::SUCCESS);
            }
            effects.sleep(LOOK_AGAIN).await;
        }
        cli::out(format_args!(
            "New secrets are sealed with key {key}. The server turns to it with those that are there, and drops the older \
             keys, {}.",
            if runs { "as soon as it can" } else { "when it runs" }
        ));
        Ok(ExitCode::SUCCESS)
    })
}
