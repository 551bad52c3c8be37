//! `~/.ecs/config` and `~/.ecs/credentials`, and which of flags, environment and files counts.
//!
//! The order is the original's. Behind it stands one more place: the root credentials of a server on this machine, so that
//! a laptop needs no configuration at all.

use super::{
    Where,
    client::{Client, Target},
};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

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
    /// The launch type later commands use.
    #[arg(long, value_parser = ["EC2", "FARGATE"])]
    default_launch_type: Option<String>,
}

#[derive(Debug, Subcommand)]
enum ConfigureCommand {
    /// Store credentials. The secret is read from the environment variable AWS_SECRET_ACCESS_KEY if no flag gives it.
    Profile {
        /// The access key.
        #[arg(long, env = "AWS_ACCESS_KEY_ID")]
        access_key: String,
        /// The secret key.
        #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
        secret_key: String,
        /// The session token, if the keys need one.
        #[arg(long, env = "AWS_SESSION_TOKEN", hide_env_values = true)]
        session_token: Option<String>,
        /// The name of this profile.
        #[arg(long, default_value = "default")]
        profile_name: String,
    },
    /// Choose the configuration later commands use.
    Default {
        /// Its name.
        #[arg(long)]
        config_name: String,
    },
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct ConfigFile {
    version: String,
    default: String,
    #[serde(default)]
    clusters: BTreeMap<String, ClusterConfig>,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct ClusterConfig {
    cluster: String,
    region: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default_launch_type: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct CredentialsFile {
    version: String,
    default: String,
    #[serde(default)]
    ecs_profiles: BTreeMap<String, Profile>,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Profile {
    aws_access_key_id: String,
    aws_secret_access_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aws_session_token: Option<String>,
}

/// The environment is read here and nowhere else in the operator's commands.
#[allow(clippy::disallowed_methods)]
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn folder() -> Result<PathBuf> {
    Ok(PathBuf::from(env("HOME").context("HOME is not set, so there is no place for ~/.ecs")?).join(".ecs"))
}

fn load<T: for<'de> Deserialize<'de> + Default>(path: &Path) -> Result<Option<T>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(
            serde_saphyr::from_str(&text).with_context(|| format!("{} is not as it should be", path.display()))?,
        )),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn store<T: Serialize>(path: &Path, what: &T) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let temporary = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(serde_saphyr::to_string(what).map_err(std::io::Error::other)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// `configure` and its sub-verbs.
pub(crate) fn configure(args: ConfigureArgs) -> Result<()> {
    let (config, credentials) = (folder()?.join("config"), folder()?.join("credentials"));
    match args.what {
        None => {
            let cluster = args.cluster.context("Missing required argument 'cluster'")?;
            let region = args.region.context("Missing required argument 'region'")?;
            let mut file: ConfigFile = load(&config)?.unwrap_or_default();
            file.version = "v1".to_owned();
            let entry = ClusterConfig { cluster, region, default_launch_type: args.default_launch_type };
            // AWS: the first entry ever saved becomes the default; later ones do not displace it.
            if file.default.is_empty() {
                file.default.clone_from(&args.config_name);
            }
            file.clusters.insert(args.config_name.clone(), entry);
            store(&config, &file)?;
            super::say::info("Saved ECS CLI cluster configuration", &[("name", &args.config_name)]);
        }
        Some(ConfigureCommand::Default { config_name }) => {
            let mut file: ConfigFile = load(&config)?.unwrap_or_default();
            if !file.clusters.contains_key(&config_name) {
                bail!("There is no cluster configuration named {config_name}");
            }
            file.default = config_name;
            store(&config, &file)?;
        }
        Some(ConfigureCommand::Profile { access_key, secret_key, session_token, profile_name }) => {
            let mut file: CredentialsFile = load(&credentials)?.unwrap_or_default();
            file.version = "v1".to_owned();
            if file.default.is_empty() {
                file.default.clone_from(&profile_name);
            }
            let profile = Profile {
                aws_access_key_id: access_key,
                aws_secret_access_key: secret_key,
                aws_session_token: session_token,
            };
            file.ecs_profiles.insert(profile_name.clone(), profile);
            store(&credentials, &file)?;
            super::say::info("Saved ECS CLI profile configuration", &[("name", &profile_name)]);
        }
    }
    Ok(())
}

/// What a command works with once everything is known.
pub(crate) struct Settings {
    pub(crate) client: Client,
    pub(crate) cluster: String,
    pub(crate) region: String,
    pub(crate) launch_type: Option<String>,
}

/// Flags, then environment, then files, in the original's order.
pub(crate) fn settings(place: &Where, endpoint: Option<String>) -> Result<Settings> {
    let config: ConfigFile = load(&folder()?.join("config"))?.unwrap_or_default();
    let name = place.cluster_config.clone().unwrap_or_else(|| config.default.clone());
    let entry = config.clusters.get(&name).cloned();
    if place.cluster_config.is_some() && entry.is_none() {
        bail!("There is no cluster configuration named {name}; see `configure --config-name`");
    }
    let region = place
        .region
        .clone()
        .or_else(|| entry.as_ref().map(|e| e.region.clone()))
        .or_else(|| env("AWS_REGION"))
        .or_else(|| env("AWS_DEFAULT_REGION"))
        .unwrap_or_else(|| server::config::DEFAULT_REGION.to_owned());
    // Where the original stops without a cluster, `default` is what every other client means.
    let cluster = place.cluster.clone().or_else(|| entry.as_ref().map(|e| e.cluster.clone()));
    let endpoint = endpoint
        .or_else(|| place.endpoint.clone())
        .or_else(|| env("AWS_ENDPOINT_URL_ECS"))
        .or_else(|| env("AWS_ENDPOINT_URL"))
        .unwrap_or_else(|| format!("http://127.0.0.1:{}", server::config::DEFAULT_PORT));
    let (access_key, secret, token) = credentials(place.ecs_profile.as_deref())?;
    let client = Client::new(Target {
        endpoint,
        region: region.clone(),
        access_key,
        secret,
        token,
        ca_bundle: env("AWS_CA_BUNDLE").map(PathBuf::from),
    })?;
    Ok(Settings {
        client,
        cluster: cluster.unwrap_or_else(|| "default".to_owned()),
        region,
        launch_type: entry.and_then(|e| e.default_launch_type),
    })
}

fn credentials(profile: Option<&str>) -> Result<(String, String, Option<String>)> {
    let file: CredentialsFile = load(&folder()?.join("credentials"))?.unwrap_or_default();
    let of = |p: &Profile| (p.aws_access_key_id.clone(), p.aws_secret_access_key.clone(), p.aws_session_token.clone());
    if let Some(name) = profile {
        let found = file.ecs_profiles.get(name).map(of);
        return found.with_context(|| format!("There is no profile named {name}; see `configure profile`"));
    }
    if let (Some(key), Some(secret)) = (env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY")) {
        return Ok((key, secret, env("AWS_SESSION_TOKEN")));
    }
    if let Some(found) = file.ecs_profiles.get(&file.default) {
        return Ok(of(found));
    }
    let data = env("LONGSHORE_DATA_DIR").unwrap_or_else(|| crate::args::DATA_DIR.to_owned());
    match server::credentials::read_root(Path::new(&data)) {
        Ok(Some(root)) => Ok((root.access_key_id, root.secret_access_key, None)),
        Ok(None) => bail!(
            "No credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (on the server's machine `longshore env` \
             prints them), or use `configure profile`"
        ),
        Err(e) => Err(e.into()),
    }
}
