//! Commands of the ECS CLI that Longshore does not have: each says so, and what to use instead.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AbsentCommand {
    /// Push an image to ECR.
    #[command(hide = true, disable_help_flag = true)]
    Push(Arguments),
    /// Pull an image from ECR.
    #[command(hide = true, disable_help_flag = true)]
    Pull(Arguments),
    /// List images of ECR.
    #[command(hide = true, disable_help_flag = true)]
    Images(Arguments),
    /// Store credentials of registries.
    #[command(hide = true, disable_help_flag = true)]
    RegistryCreds(Arguments),
    /// Run a task definition with docker on this machine.
    #[command(hide = true, disable_help_flag = true)]
    Local(Arguments),
}

/// Says why not.
pub(crate) fn refuse(command: &AbsentCommand) -> Result<()> {
    let registry =
        "there is no ECR here. Push to any OCI registry with docker, podman or skopeo, and name the image with it";
    match command {
        AbsentCommand::Push(_) => bail!("`push` is not supported: {registry}"),
        AbsentCommand::Pull(_) => bail!("`pull` is not supported: {registry}"),
        AbsentCommand::Images(_) => bail!("`images` is not supported: {registry}"),
        AbsentCommand::RegistryCreds(_) => bail!(
            "`registry-creds` is not supported yet. Put the credentials into a secret, let the execution role read it (`aws iam \
             put-role-policy`) and name it as a container's repositoryCredentials, or give agents a docker config.json with \
             --registry-auth"
        ),
        AbsentCommand::Local(_) => bail!(
            "`local` is not supported: it needs docker. `longshore dev` runs a whole cluster on this machine instead"
        ),
    }
}
