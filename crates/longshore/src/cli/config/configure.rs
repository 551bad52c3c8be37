//! `configure` and its sub-verbs: what they write into `~/.ecs`.

use super::{
    super::say,
    LAUNCH_TYPES, files,
    files::{ClusterConfig, Config, ConfigFile, Keys},
};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use std::io::Write;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ConfigureArgs {
    #[command(subcommand)]
    what: Option<ConfigureCommand>,
    /// The cluster later commands mean.
    #[arg(long, short = 'c', env = "ECS_CLUSTER")]
    cluster: Option<String>,
    /// Its region.
    #[arg(long, short = 'r', env = "AWS_REGION")]
    region: Option<String>,
    /// The name of this configuration.
    #[arg(long, default_value = "default")]
    config_name: String,
    /// The name that `up` gives the cluster's instances, and by which `scale` and `down` know them.
    #[arg(long)]
    cfn_stack_name: Option<String>,
    /// The launch type later commands use.
    #[arg(long, value_parser = LAUNCH_TYPES)]
    default_launch_type: Option<String>,
    /// What stands before the names of services (deprecated).
    #[arg(long)]
    compose_service_name_prefix: Option<String>,
}

#[derive(Debug, Subcommand)]
enum ConfigureCommand {
    /// Store credentials. The secret is read from the environment variable AWS_SECRET_ACCESS_KEY if no flag gives it.
    Profile(ProfileArgs),
    /// Choose the configuration later commands use.
    Default {
        /// Its name.
        #[arg(long)]
        config_name: String,
    },
    /// Rewrite a configuration of an old version of the ECS CLI.
    Migrate {
        /// Do not ask first.
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
struct ProfileArgs {
    #[command(subcommand)]
    what: Option<ProfileCommand>,
    /// The access key.
    #[arg(long, env = "AWS_ACCESS_KEY_ID")]
    access_key: Option<String>,
    /// The secret key.
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    secret_key: Option<String>,
    /// The session token, if the keys need one.
    #[arg(long, env = "AWS_SESSION_TOKEN", hide_env_values = true)]
    session_token: Option<String>,
    /// The name of this profile.
    #[arg(long, default_value = "default")]
    profile_name: String,
}

#[derive(Debug, Subcommand)]
enum ProfileCommand {
    /// Choose the profile later commands use.
    Default {
        /// Its name.
        #[arg(long)]
        profile_name: String,
    },
}

/// `configure` and its sub-verbs.
pub(crate) fn configure(args: ConfigureArgs) -> Result<()> {
    match args.what {
        None => cluster(args),
        Some(ConfigureCommand::Default { config_name }) => {
            let mut file = files::config_to_change()?;
            if !file.clusters.contains_key(&config_name) {
                bail!("There is no cluster configuration named {config_name}");
            }
            file.default = config_name;
            files::store(&files::config_path()?, &file)
        }
        Some(ConfigureCommand::Profile(args)) => profile(args),
        Some(ConfigureCommand::Migrate { force }) => migrate(force),
    }
}

fn cluster(args: ConfigureArgs) -> Result<()> {
    let required = |given: Option<String>, name| given.with_context(|| format!("Missing required argument '{name}'"));
    let entry = ClusterConfig {
        cluster: required(args.cluster, "cluster")?,
        region: required(args.region, "region")?,
        compose_service_name_prefix: args.compose_service_name_prefix,
        cfn_stack_name: args.cfn_stack_name,
        default_launch_type: args.default_launch_type,
    };
    let mut file = files::config_to_change()?;
    add(&mut file, &args.config_name, entry);
    files::store(&files::config_path()?, &file)?;
    say::info(&format!("Saved ECS CLI cluster configuration {}.", args.config_name), &[]);
    Ok(())
}

/// AWS: the first entry ever saved becomes the default; later ones do not displace it.
fn add(file: &mut ConfigFile, name: &str, entry: ClusterConfig) {
    files::VERSION.clone_into(&mut file.version);
    if file.default.is_empty() {
        name.clone_into(&mut file.default);
    }
    file.clusters.insert(name.to_owned(), entry);
}

fn profile(args: ProfileArgs) -> Result<()> {
    let path = files::credentials_path()?;
    let mut file = files::credentials()?;
    if let Some(ProfileCommand::Default { profile_name }) = args.what {
        if !file.ecs_profiles.contains_key(&profile_name) {
            bail!("There is no profile named {profile_name}");
        }
        file.default = profile_name;
        return files::store(&path, &file);
    }
    let required = |given: Option<String>, name| given.with_context(|| format!("Missing required argument '{name}'"));
    let keys = Keys {
        aws_access_key_id: required(args.access_key, "access-key")?,
        aws_secret_access_key: required(args.secret_key, "secret-key")?,
        aws_session_token: args.session_token,
    };
    save(&args.profile_name, keys)?;
    say::info(&format!("Saved ECS CLI profile configuration {}.", args.profile_name), &[]);
    Ok(())
}

fn save(name: &str, keys: Keys) -> Result<()> {
    let mut file = files::credentials()?;
    files::VERSION.clone_into(&mut file.version);
    if file.default.is_empty() {
        name.clone_into(&mut file.default);
    }
    file.ecs_profiles.insert(name.to_owned(), keys);
    files::store(&files::credentials_path()?, &file)
}

/// Credentials are stored first: should the second write fail, the old file is still there and has them too.
fn migrate(force: bool) -> Result<()> {
    let path = files::config_path()?;
    let Config::Legacy(old) = files::config()? else {
        bail!(
            "{} is not in the form that old versions of the ECS CLI wrote; there is nothing to migrate",
            path.display()
        )
    };
    say::out(format_args!(
        "{} will be rewritten: cluster {}, region {}, stack {}, credentials {}.",
        path.display(),
        old.cluster.cluster,
        old.cluster.region,
        old.cluster.cfn_stack_name.as_deref().unwrap_or("none"),
        if old.keys.is_some() { "moved to ~/.ecs/credentials" } else { "none" },
    ));
    say::warn(
        "Task definitions of compose projects are no longer named with a prefix; this one is dropped",
        &[("compose-project-name-prefix", &old.compose_project_name_prefix)],
    );
    if let Some(profile) = &old.aws_profile {
        say::warn(
            "The AWS profile is no longer kept here; name it with --aws-profile or AWS_PROFILE",
            &[("aws_profile", profile)],
        );
    }
    if !force && !confirmed("Are you sure you wish to migrate [y/n]? ")? {
        bail!("Aborted; nothing was changed.");
    }
    if let Some(keys) = old.keys {
        save("default", keys)?;
    }
    let mut file = ConfigFile::default();
    add(&mut file, "default", old.cluster);
    files::store(&path, &file)?;
    say::info("Migrated ECS CLI configuration.", &[]);
    Ok(())
}

/// Asks a person; no answer is no.
#[allow(clippy::print_stdout)] // The answer is typed on the same line; the question names what its asker named.
pub(crate) fn confirmed(question: &str) -> Result<bool> {
    print!("{question}");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
