//! `~/.ecs/config` and `~/.ecs/credentials`, and the INI form in which old versions of the ECS CLI kept both in one.

use super::env;
use anyhow::{Context, Result, bail};
use configparser::ini::Ini;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// What the files are called that hold the version this program writes.
pub(super) const VERSION: &str = "v1";

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ConfigFile {
    pub(super) version: String,
    pub(super) default: String,
    #[serde(default)]
    pub(super) clusters: BTreeMap<String, ClusterConfig>,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ClusterConfig {
    #[serde(default)]
    pub(super) cluster: String,
    #[serde(default)]
    pub(super) region: String,
    #[serde(default, rename = "compose-service-name-prefix", skip_serializing_if = "Option::is_none")]
    pub(super) compose_service_name_prefix: Option<String>,
    #[serde(default, rename = "cfn-stack-name", skip_serializing_if = "Option::is_none")]
    pub(super) cfn_stack_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) default_launch_type: Option<String>,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct CredentialsFile {
    pub(super) version: String,
    pub(super) default: String,
    #[serde(default)]
    pub(super) ecs_profiles: BTreeMap<String, Keys>,
}

/// Credentials.
#[derive(Default, Clone, Serialize, Deserialize)]
pub(super) struct Keys {
    pub(super) aws_access_key_id: String,
    pub(super) aws_secret_access_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) aws_session_token: Option<String>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.aws_access_key_id)
    }
}

/// The `[ecs]` section of the old form.
#[derive(Debug, Default)]
pub(super) struct Legacy {
    pub(super) cluster: ClusterConfig,
    pub(super) keys: Option<Keys>,
    pub(super) aws_profile: Option<String>,
    pub(super) compose_project_name_prefix: String,
}

/// What `~/.ecs/config` holds.
#[derive(Debug)]
pub(super) enum Config {
    Now(ConfigFile),
    Legacy(Box<Legacy>),
}

pub(super) fn folder() -> Result<PathBuf> {
    Ok(PathBuf::from(env("HOME").context("HOME is not set, so there is no place for ~/.ecs")?).join(".ecs"))
}

pub(super) fn config_path() -> Result<PathBuf> {
    Ok(folder()?.join("config"))
}

pub(super) fn credentials_path() -> Result<PathBuf> {
    Ok(folder()?.join("credentials"))
}

/// The configuration in either form; an empty one if there is no file.
pub(super) fn config() -> Result<Config> {
    let path = config_path()?;
    let text = text(&path)?.unwrap_or_default();
    if text.lines().any(|line| line.trim() == "[ecs]") {
        return Ok(Config::Legacy(Box::new(legacy(&text).with_context(|| wrong(&path))?)));
    }
    Ok(Config::Now(parse(&text).with_context(|| wrong(&path))?))
}

/// The configuration to be changed, which must be in the form of today.
pub(super) fn config_to_change() -> Result<ConfigFile> {
    match config()? {
        Config::Now(file) => Ok(file),
        Config::Legacy(_) => bail!(
            "{} is in the form that old versions of the ECS CLI wrote; run `configure migrate` first",
            config_path()?.display()
        ),
    }
}

pub(super) fn credentials() -> Result<CredentialsFile> {
    let path = credentials_path()?;
    parse(&text(&path)?.unwrap_or_default()).with_context(|| wrong(&path))
}

fn wrong(path: &Path) -> String {
    format!("{} is not as it should be", path.display())
}

pub(super) fn text(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn parse<T: for<'de> Deserialize<'de> + Default>(text: &str) -> Result<T> {
    if text.trim().is_empty() { Ok(T::default()) } else { Ok(serde_saphyr::from_str(text)?) }
}

/// An INI file whose names mean what they say, letter by letter.
pub(super) fn ini(text: &str) -> Result<Ini> {
    let mut ini = Ini::new_cs();
    ini.set_inline_comment_symbols(Some(&[]));
    ini.read(text.to_owned()).map_err(|error| anyhow::anyhow!(error))?;
    Ok(ini)
}

fn legacy(text: &str) -> Result<Legacy> {
    let ini = ini(text)?;
    let get = |key: &str| ini.get("ecs", key).filter(|value| !value.is_empty());
    let cluster = get("cluster").unwrap_or_default();
    let stack_prefix = get("cfn-stack-name-prefix").unwrap_or_else(|| super::STACK_PREFIX.to_owned());
    let keys = get("aws_access_key_id").zip(get("aws_secret_access_key"));
    Ok(Legacy {
        keys: keys.map(|(id, secret)| Keys {
            aws_access_key_id: id,
            aws_secret_access_key: secret,
            aws_session_token: None,
        }),
        aws_profile: get("aws_profile"),
        compose_project_name_prefix: get("compose-project-name-prefix").unwrap_or_else(|| "ecscompose-".to_owned()),
        cluster: ClusterConfig {
            cfn_stack_name: Some(format!("{stack_prefix}{cluster}")).filter(|_| !cluster.is_empty()),
            cluster,
            region: get("region").unwrap_or_default(),
            compose_service_name_prefix: get("compose-service-name-prefix")
                .or_else(|| Some("ecscompose-service-".to_owned())),
            default_launch_type: None,
        },
    })
}

/// Writes a file whole or not at all, for its owner only.
pub(super) fn store<T: Serialize>(path: &Path, what: &T) -> Result<()> {
    let temporary = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            // AWS: as open as the home that it is in.
            let home = folder.parent().unwrap_or(Path::new("/"));
            fs::DirBuilder::new().recursive(true).mode(fs::metadata(home)?.mode() & 0o7777).create(folder)?;
        }
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(serde_saphyr::to_string(what).map_err(std::io::Error::other)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_form_is_read_with_its_defaults() {
        let old = legacy(
            "[ecs]\ncluster = shop\nregion=eu-west-1\naws_access_key_id = AK\naws_secret_access_key = a/b+c=#;\n",
        );
        let old = old.unwrap();
        assert_eq!(old.compose_project_name_prefix, "ecscompose-");
        assert_eq!(old.keys.unwrap().aws_secret_access_key, "a/b+c=#;");
        let wanted = ClusterConfig {
            cluster: "shop".to_owned(),
            region: "eu-west-1".to_owned(),
            compose_service_name_prefix: Some("ecscompose-service-".to_owned()),
            cfn_stack_name: Some("amazon-ecs-cli-setup-shop".to_owned()),
            default_launch_type: None,
        };
        assert_eq!(old.cluster, wanted);
        let other = legacy("[ecs]\ncluster=c\naws_profile=p\ncompose-project-name-prefix=x-\ncfn-stack-name-prefix=s-")
            .unwrap();
        assert_eq!((other.aws_profile.as_deref(), other.compose_project_name_prefix.as_str()), (Some("p"), "x-"));
        assert_eq!(other.cluster.cfn_stack_name.as_deref(), Some("s-c"));
    }

    #[test]
    fn files_are_the_originals() {
        let text = "version: v1\ndefault: prod\nclusters:\n  prod:\n    cluster: shop\n    region: us-east-1\n    \
                    compose-service-name-prefix: p-\n    cfn-stack-name: s\n    default_launch_type: EC2\n";
        let file: ConfigFile = parse(text).unwrap();
        assert_eq!(file.clusters["prod"].cfn_stack_name.as_deref(), Some("s"));
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join(".ecs/config");
        store(&path, &file).unwrap();
        assert_eq!(parse::<ConfigFile>(&fs::read_to_string(&path).unwrap()).unwrap(), file);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let home = fs::metadata(dir.path()).unwrap().mode();
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, home & 0o777 & !0o022);
    }
}
