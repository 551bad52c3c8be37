//! Which of flags, environment and files counts. The order is the original's. Behind it stands one more place: the root
//! credentials of a server on this machine, so that a laptop needs no configuration at all.

mod configure;
mod files;
mod shared;

pub(crate) use configure::{ConfigureArgs, configure, confirmed};

use super::{
    Where,
    client::{Client, Target},
};
use crate::advice::Advice;
use anyhow::{Context, Result, anyhow, bail};
use files::{ClusterConfig, Config, Keys, Legacy};
use std::path::{Path, PathBuf};

/// The launch types that the ECS CLI knows, in the only spelling.
pub(crate) const LAUNCH_TYPES: [&str; 2] = ["EC2", "FARGATE"];
/// What stands before a cluster's name in that of its stack, unless the configuration names the stack.
const STACK_PREFIX: &str = "amazon-ecs-cli-setup-";

/// The environment is read here and nowhere else in the operator's commands.
#[allow(clippy::disallowed_methods)]
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where things are kept that can be made again.
pub(crate) fn cache_folder() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(env("HOME")?).join(".cache"));
    Some(env("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?.join("longshore"))
}

/// What a command works with once everything is known.
pub(crate) struct Settings {
    pub(crate) client: Client,
    pub(crate) cluster: String,
    pub(crate) region: String,
    /// The same where a command to be copied must name it: where it is not what environment and profile say anyway.
    pub(crate) region_to_say: Option<String>,
    pub(crate) launch_type: Option<String>,
    /// By its name the cluster's instances are known that `up` made.
    pub(crate) stack: String,
    /// What stands before the family's name of a compose project.
    pub(crate) project_prefix: String,
    /// What stands before a compose project's name in that of its service.
    pub(crate) service_prefix: String,
}

/// Flags, then environment, then files, in the original's order.
pub(crate) fn settings(place: &Where, endpoint: Option<String>) -> Result<Settings> {
    let (entry, legacy) = match files::config()? {
        Config::Legacy(old) => (Some(old.cluster.clone()), Some(*old)),
        Config::Now(file) => {
            let name = place.cluster_config.as_ref().unwrap_or(&file.default);
            let entry = file.clusters.get(name).cloned();
            if place.cluster_config.is_some() && entry.is_none() {
                bail!("There is no cluster configuration named {name}; see `configure --config-name`");
            }
            (entry, None)
        }
    };
    let entry = entry.unwrap_or_default();
    let set = |value: &String| Some(value.clone()).filter(|value| !value.is_empty());
    // Where the original stops without a cluster, `default` is what every other client means.
    let cluster = place.cluster.clone().or_else(|| set(&entry.cluster)).unwrap_or_else(|| "default".to_owned());
    let named = place.region.clone().or_else(|| set(&entry.region));
    // A profile that cannot be read tells no other client a region either.
    let region_to_say =
        named.clone().filter(|named| region_elsewhere(place).map_or(true, |elsewhere| elsewhere != *named));
    let region = match named {
        Some(region) => region,
        None => region_elsewhere(place)?,
    };
    let endpoint = endpoint
        .or_else(|| place.endpoint.clone())
        .or_else(|| env("AWS_ENDPOINT_URL_ECS"))
        .or_else(|| env("AWS_ENDPOINT_URL"))
        .unwrap_or_else(|| format!("http://127.0.0.1:{}", server::config::DEFAULT_PORT));
    let keys = credentials(place, legacy.as_ref())?;
    let client = Client::new(Target {
        endpoint,
        region: region.clone(),
        region_to_say: region_to_say.clone(),
        access_key: keys.aws_access_key_id,
        secret: keys.aws_secret_access_key,
        token: keys.aws_session_token,
        ca_bundle: env("AWS_CA_BUNDLE").map(PathBuf::from),
        verbose: place.verbose,
    })?;
    Ok(Settings {
        client,
        stack: stack(&entry, &cluster),
        cluster,
        region,
        region_to_say,
        launch_type: launch_type(entry.default_launch_type)?,
        service_prefix: entry.compose_service_name_prefix.unwrap_or_default(),
        project_prefix: legacy.map(|old| old.compose_project_name_prefix).unwrap_or_default(),
    })
}

/// The stack's name belongs to the configured cluster, not to another that a flag names.
fn stack(entry: &ClusterConfig, cluster: &str) -> String {
    let configured = entry.cfn_stack_name.clone().filter(|name| !name.is_empty() && entry.cluster == cluster);
    configured.unwrap_or_else(|| format!("{STACK_PREFIX}{cluster}"))
}

fn launch_type(configured: Option<String>) -> Result<Option<String>> {
    let configured = configured.filter(|configured| !configured.is_empty());
    if let Some(wrong) = configured.as_ref().filter(|configured| !LAUNCH_TYPES.contains(&configured.as_str())) {
        bail!(
            "Supplied launch type '{wrong}' is not valid; it must be EC2 or FARGATE. See default_launch_type in ~/.ecs/config"
        );
    }
    Ok(configured)
}

fn region_elsewhere(place: &Where) -> Result<String> {
    if let Some(region) = env("AWS_REGION").or_else(|| env("AWS_DEFAULT_REGION")) {
        return Ok(region);
    }
    let profile = place.aws_profile.clone().or_else(|| env("AWS_PROFILE")).unwrap_or_else(|| "default".to_owned());
    let region = shared::profile(&profile)?.and_then(|profile| profile.region);
    Ok(region.unwrap_or_else(|| server::config::DEFAULT_REGION.to_owned()))
}

fn credentials(place: &Where, legacy: Option<&Legacy>) -> Result<Keys> {
    if let Some(name) = &place.ecs_profile {
        return of_ecs_profile(name);
    }
    if let Some(name) = &place.aws_profile {
        return of_aws_profile(name);
    }
    if let Some(name) = env("ECS_PROFILE") {
        return of_ecs_profile(&name);
    }
    if let Some(name) = env("AWS_PROFILE") {
        return of_aws_profile(&name);
    }
    if let (Some(id), Some(secret)) = (env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY")) {
        let aws_session_token = env("AWS_SESSION_TOKEN");
        return Ok(Keys { aws_access_key_id: id, aws_secret_access_key: secret, aws_session_token });
    }
    if let Some(old) = legacy {
        if let Some(keys) = &old.keys {
            return Ok(keys.clone());
        }
        if let Some(name) = &old.aws_profile {
            return of_aws_profile(name);
        }
    }
    let file = files::credentials()?;
    if let Some(keys) = file.ecs_profiles.get(&file.default) {
        return Ok(keys.clone());
    }
    if let Some(keys) = shared::profile("default")?.and_then(|profile| profile.keys) {
        return Ok(keys);
    }
    let data = env("LONGSHORE_DATA_DIR").unwrap_or_else(|| crate::args::DATA_DIR.to_owned());
    match server::credentials::read_root(Path::new(&data)) {
        Ok(Some(root)) => Ok(Keys {
            aws_access_key_id: root.access_key_id,
            aws_secret_access_key: root.secret_access_key,
            aws_session_token: None,
        }),
        Ok(None) => {
            let error = anyhow!("No credentials, and no server has started on {data} of this machine");
            Err(error.context(Advice::new(
                "`longshore dev` starts one. For one with another data directory: eval \"$(longshore env --data-dir DIR)\"; \
                 for one elsewhere: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use `configure profile`",
            )))
        }
        Err(e) => Err(e.into()),
    }
}

fn of_ecs_profile(name: &str) -> Result<Keys> {
    let found = files::credentials()?.ecs_profiles.get(name).cloned();
    found.with_context(|| format!("There is no profile named {name}; see `configure profile`"))
}

fn of_aws_profile(name: &str) -> Result<Keys> {
    let found = shared::profile(name)?;
    let found = found
        .with_context(|| format!("There is no AWS profile named {name} in ~/.aws/config or ~/.aws/credentials"))?;
    found.keys.with_context(|| format!("The AWS profile {name} has no access key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_belongs_to_the_configured_cluster() {
        let entry = |cluster: &str, stack: Option<&str>| ClusterConfig {
            cluster: cluster.to_owned(),
            cfn_stack_name: stack.map(str::to_owned),
            ..Default::default()
        };
        for (configured, cluster, wanted) in [
            (entry("a", Some("mine")), "a", "mine"),
            (entry("a", Some("mine")), "b", "amazon-ecs-cli-setup-b"),
            (entry("a", None), "a", "amazon-ecs-cli-setup-a"),
            (entry("", Some("")), "default", "amazon-ecs-cli-setup-default"),
        ] {
            assert_eq!(stack(&configured, cluster), wanted);
        }
        for (given, fine) in [(None, true), (Some("EC2"), true), (Some("FARGATE"), true), (Some("ec2"), false)] {
            assert_eq!(launch_type(given.map(str::to_owned)).is_ok(), fine, "{given:?}");
        }
    }
}
