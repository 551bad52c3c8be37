//! Compose files: found, interpolated, merged, and their version checked.

use super::super::say;
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

/// Which compose generation a project is written in; the keys differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
    V3,
}

/// A project's files as one.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) project: String,
    pub(super) version: Version,
    /// Services by name.
    pub(super) services: BTreeMap<String, Map<String, Value>>,
    /// Names declared under top-level `volumes`.
    pub(super) volumes: Vec<String>,
    /// The environment that variables came from.
    pub(super) environment: BTreeMap<String, String>,
    /// Where relative paths start.
    pub(super) folder: PathBuf,
}

const DEFAULT_FILES: [&str; 2] = ["docker-compose.yml", "docker-compose.override.yml"];
/// Names that newer tools write and people have; tried when the original's is not there.
const OTHER_DEFAULTS: [&str; 3] = ["docker-compose.yaml", "compose.yml", "compose.yaml"];
/// Largest compose file that is read.
const MAX_FILE: u64 = 4 << 20;

fn default_files() -> Vec<PathBuf> {
    let found: Vec<_> = DEFAULT_FILES.iter().map(PathBuf::from).filter(|p| p.exists()).collect();
    if !found.is_empty() {
        return found;
    }
    let other = OTHER_DEFAULTS.iter().map(PathBuf::from).find(|p| p.exists());
    vec![other.unwrap_or_else(|| PathBuf::from(DEFAULT_FILES[0]))]
}

/// Reads and merges the project.
pub(super) fn load(files: &[PathBuf], project: Option<&str>) -> Result<Source> {
    let files = if files.is_empty() { default_files() } else { files.to_vec() };
    let first = fs::canonicalize(&files[0])
        .with_context(|| format!("Unable to open ECS Compose Project: cannot read {}", files[0].display()))?;
    let folder = first.parent().unwrap_or(Path::new("/")).to_owned();
    let environment = environment(&folder)?;
    let mut merged: Option<Source> = None;
    for path in &files {
        let text = read(path)?;
        let text = interpolate(&text, &environment).with_context(|| format!("in {}", path.display()))?;
        let document: Value =
            serde_saphyr::from_str(&text).with_context(|| format!("{} is not valid YAML", path.display()))?;
        let Value::Object(document) = document else {
            bail!("{} is not a compose file: it must be a mapping", path.display())
        };
        let one = parse(document, path, &folder)?;
        merged = Some(match merged {
            None => one,
            Some(base) => merge(base, one)?,
        });
    }
    let mut source = merged.context("there is no compose file")?;
    let named = project.map(str::to_owned);
    source.project = named.unwrap_or_else(|| {
        folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_else(|| "default".to_owned())
    });
    source.environment = environment;
    source.folder = folder;
    if source.services.is_empty() {
        bail!("the compose file names no services");
    }
    Ok(source)
}

fn read(path: &Path) -> Result<String> {
    let size = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    if size > MAX_FILE {
        bail!("{} is larger than 4 MiB, which no compose file is", path.display());
    }
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The shell's environment over `.env` in the project's folder.
fn environment(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let dotenv = folder.join(".env");
    if dotenv.exists() {
        all.extend(env_file(&dotenv)?.into_iter().filter_map(|(k, v)| Some((k, v?))));
    }
    all.extend(env::vars());
    Ok(all)
}

/// Lines of `KEY=value`; blank ones and comments are passed over.
pub(super) fn env_file(path: &Path) -> Result<Vec<(String, Option<String>)>> {
    let text = read(path)?;
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    Ok(lines
        .map(|line| match line.split_once('=') {
            Some((k, v)) => (k.trim().to_owned(), Some(v.trim().to_owned())),
            None => (line.to_owned(), None),
        })
        .collect())
}

/// Replaces `$VAR`, `${VAR}`, `${VAR:-default}`, `${VAR-default}`, `${VAR:?words}`; `$$` is a dollar.
pub(super) fn interpolate(text: &str, environment: &BTreeMap<String, String>) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = after.find('}').context("'${' without '}'")?;
            out.push_str(&variable(&after[..end], environment)?);
            rest = &after[end + 1..];
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            if end == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
                out.push('$');
                continue;
            }
            out.push_str(environment.get(&rest[..end]).map_or("", String::as_str));
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn variable(inner: &str, environment: &BTreeMap<String, String>) -> Result<String> {
    let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, operator) = inner.split_at(end);
    let value = environment.get(name);
    let filled = value.filter(|v| !v.is_empty());
    let or = |value: Option<&String>, default: &str| value.cloned().unwrap_or_else(|| default.to_owned());
    if operator.is_empty() {
        Ok(or(value, ""))
    } else if let Some(default) = operator.strip_prefix(":-") {
        Ok(or(filled, default))
    } else if let Some(default) = operator.strip_prefix('-') {
        Ok(or(value, default))
    } else if let Some(words) = operator.strip_prefix(":?") {
        filled.cloned().with_context(|| format!("required variable {name} is missing a value: {words}"))
    } else {
        bail!("invalid interpolation '${{{inner}}}'")
    }
}

fn parse(mut document: Map<String, Value>, path: &Path, folder: &Path) -> Result<Source> {
    let version = match document.remove("version") {
        None if document.contains_key("services") => Version::V3,
        None => Version::V1,
        Some(Value::String(v)) if v.starts_with('2') => Version::V2,
        Some(Value::Number(n)) if n.to_string().starts_with('2') => Version::V2,
        Some(Value::String(v)) if v.starts_with('3') => Version::V3,
        Some(Value::Number(_)) => bail!("version must be a string"),
        Some(other) => bail!("Unsupported Docker Compose version found: {}", other.as_str().unwrap_or("?")),
    };
    let mut volumes = Vec::new();
    let services = match version {
        Version::V1 => document,
        Version::V2 | Version::V3 => {
            if let Some(Value::Object(declared)) = document.remove("volumes") {
                if let Some((name, _)) = declared.iter().find(|(_, v)| v.as_object().is_some_and(|v| !v.is_empty())) {
                    bail!(
                        "volume {name}: options of top-level volumes are not honoured yet; remove them or see docs/coverage.md"
                    );
                }
                volumes = declared.keys().cloned().collect();
            }
            match document.remove("services") {
                Some(Value::Object(services)) => services,
                _ => bail!("{}: 'services' must be a mapping", path.display()),
            }
        }
    };
    let services = services
        .into_iter()
        .map(|(name, service)| match service {
            Value::Object(service) => Ok((name, service)),
            _ => bail!("service {name} must be a mapping"),
        })
        .collect::<Result<_>>()?;
    Ok(Source {
        project: String::new(),
        version,
        services,
        volumes,
        environment: BTreeMap::new(),
        folder: folder.to_owned(),
    })
}

/// Lays a later file over an earlier one: mappings and lists of pairs grow, everything else is replaced.
fn merge(mut base: Source, over: Source) -> Result<Source> {
    if base.version != over.version {
        bail!("All compose files of a project must have the same version");
    }
    for (name, service) in over.services {
        let target = base.services.entry(name).or_default();
        for (key, value) in service {
            match (target.get_mut(&key), value) {
                (Some(Value::Object(old)), Value::Object(new)) => old.extend(new),
                (Some(Value::Array(old)), Value::Array(new)) if key != "command" && key != "entrypoint" => {
                    old.extend(new)
                }
                (_, value) => {
                    target.insert(key, value);
                }
            }
        }
    }
    for volume in over.volumes {
        if !base.volumes.contains(&volume) {
            base.volumes.push(volume);
        }
    }
    Ok(base)
}

/// Says that a key is known and has no place in a task definition.
pub(super) fn skip(option: &str, service: &str) {
    say::warn("Skipping unsupported YAML option for service...", &[("option name", option), ("service name", service)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced() {
        let environment = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("EMPTY".to_owned(), String::new())]);
        for (given, wanted) in
            [("$A-${A}", "1-1"), ("${B:-x}${EMPTY:-y}${EMPTY-z}", "xy"), ("$$A $ $1", "$A $ $1"), ("${B}", "")]
        {
            assert_eq!(interpolate(given, &environment).unwrap(), wanted, "{given}");
        }
        assert!(interpolate("${B:?is needed}", &environment).is_err());
        assert!(interpolate("${A", &environment).is_err());
    }
}
