//! `env`: shell exports that point AWS clients at a server on this machine.

use crate::{args::EnvArgs, cli::out};
use anyhow::{Context, Result};
use std::process::ExitCode;

pub(super) fn print(args: &EnvArgs) -> Result<ExitCode> {
    let root = server::credentials::read_root(&args.data_dir)?.with_context(|| {
        format!(
            "no server has started on {} yet; start one with `longshore dev`, or name its --data-dir",
            args.data_dir.display()
        )
    })?;
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", root.access_key_id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", root.secret_access_key.as_str()),
        ("AWS_REGION", args.region.as_str()),
        ("AWS_DEFAULT_REGION", args.region.as_str()),
        ("AWS_ENDPOINT_URL", args.endpoint.as_str()),
    ] {
        // Single quotes are safe around anything but themselves.
        out(format_args!("export {name}='{}'", value.replace('\'', r"'\''")));
    }
    // A token of another account would be sent along and refused.
    out("unset AWS_SESSION_TOKEN AWS_PROFILE");
    Ok(ExitCode::SUCCESS)
}
