//! Compose files: found, read, interpolated, merged, and their version known.

use super::{
    super::say,
    extends,
    interpolate::Variables,
    reading, schema,
    value::scalar,
    yaml::{self, Numbers},
};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

/// Which compose generation a project is written in; the keys differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Services at the top of the file.
    V1,
    /// `2`, read as strictly as the original reads it.
    V2,
    /// `3` and `3.0`, likewise.
    V3,
    /// What the original refuses: 2.1 and 3.1 and later, and files that have no version and name services. What any of them
    /// knows may be used.
    Later,
}

/// Services by name.
pub(super) type Services = BTreeMap<String, Map<String, Value>>;

/// A project's files as one.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) project: String,
    pub(super) version: Version,
    pub(super) services: Services,
    /// Names declared under top-level `volumes`.
    pub(super) volumes: Vec<String>,
    /// The environment that variables came from.
    pub(super) environment: BTreeMap<String, String>,
    /// Variables that were asked for in vain, which was said.
    pub(super) missing: BTreeSet<String>,
    /// Where relative paths start.
    pub(super) folder: PathBuf,
}

/// One file, read.
struct Document {
    version: Version,
    name: Option<String>,
    services: Services,
    volumes: Vec<String>,
}

const DEFAULT_FILES: [&str; 2] = ["docker-compose.yml", "docker-compose.override.yml"];
/// Names that newer tools write and people have; tried when the original's is not there.
const OTHER_DEFAULTS: [&str; 3] = ["docker-compose.yaml", "compose.yml", "compose.yaml"];
/// Keys of a service below which texts stand. Elsewhere it is the number that counts, not how it is written.
const TEXTS: [&str; 10] = [
    "command",
    "entrypoint",
    "environment",
    "hostname",
    "labels",
    "log_opt",
    "logging",
    "sysctls",
    "user",
    "working_dir",
];

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
    let hint = if files.is_empty() { "; name a compose file with --file" } else { "" };
    let files = if files.is_empty() { default_files() } else { files.to_vec() };
    let opened = fs::canonicalize(&files[0]);
    let first = opened.map_err(|error| anyhow!("cannot open {}: {error}{hint}", files[0].display()))?;
    let folder = first.parent().unwrap_or(Path::new("/")).to_owned();
    let environment = environment(&folder)?;
    let mut reader = Reader { variables: Variables::new(&environment), changed: BTreeSet::new() };
    let mut merged: Option<Document> = None;
    for path in &files {
        let mut one = reader.document(path)?;
        one.services = extends::resolve(&mut reader, path, &one.services)?;
        merged = Some(match merged {
            None => one,
            Some(base) => base.under(one)?,
        });
    }
    let missing = std::mem::take(&mut reader.variables.missing);
    for name in &missing {
        say::warn(&format!("The {name} variable is not set. Substituting a blank string."), &[]);
    }
    for (path, changed) in &reader.changed {
        say_changed(path, changed);
    }
    let Document { version, name, mut services, volumes } = merged.context("there is no compose file")?;
    if services.is_empty() {
        bail!("the compose file names no services");
    }
    let project = project_name(project, name, &folder)?;
    for (name, service) in &mut services {
        schema::check(version, name, service).inspect_err(|error| {
            // AWS: the reader of versions 1 and 2 speaks up on its own.
            if say::is_ecs_cli() && matches!(version, Version::V1 | Version::V2) {
                say::error(&format!("Could not parse config for project {project} : {error}"), &[]);
            }
        })?;
    }
    Ok(Source { project, version, services, volumes, environment, missing, folder })
}

/// The project's name: what the command says, or a file, or the folder's. It becomes a family's, which not every folder's name can.
fn project_name(given: Option<&str>, of_file: Option<String>, folder: &Path) -> Result<String> {
    let of_folder = || folder.file_name().map_or_else(|| "default".to_owned(), |n| n.to_string_lossy().into_owned());
    let (name, whose) = match (given, of_file) {
        (Some(given), _) => (given.to_owned(), "given"),
        (None, Some(name)) => (name, "the compose file's"),
        (None, None) => (of_folder(), "the folder's"),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.contains(|c| !fits(c)) {
        return Ok(name);
    }
    let fitting = name.replace(|c| !fits(c), "-");
    bail!(
        "the project's name, '{name}', is {whose}; it names the task definition's family, which has only letters, digits, - and _. \
         Name another: --project-name {fitting} (-p), before the command that follows compose"
    )
}

/// AWS: the original does the same and says nothing.
fn say_changed(path: &Path, changed: &yaml::Changed) {
    let (file, line, option) = (path.display().to_string(), changed.line.to_string(), changed.place.join("."));
    say::warn(
        "A number is read as YAML reads it. Put it in quotes to keep it as it is written",
        &[
            ("file", &*file),
            ("line", &*line),
            ("option name", &*option),
            ("written", &*changed.written),
            ("read as", &*changed.text),
        ],
    );
}

/// Reads files with the project's variables.
pub(super) struct Reader<'a> {
    variables: Variables<'a>,
    /// Numbers whose text is not the one that is written, by file.
    changed: BTreeSet<(PathBuf, yaml::Changed)>,
}

impl Reader<'_> {
    /// The services of a file that another one extends.
    pub(super) fn services(&mut self, path: &Path) -> Result<Services> {
        Ok(self.document(path)?.services)
    }

    fn document(&mut self, path: &Path) -> Result<Document> {
        let text = reading::text(path)?;
        let (mut document, changed) = yaml::read(path, &text, Numbers::Numbers)?;
        let counts = |changed: &yaml::Changed| changed.place.iter().any(|step| TEXTS.contains(&step.as_str()));
        self.changed.extend(changed.into_iter().filter(counts).map(|changed| (path.to_owned(), changed)));
        self.variables.fill(&mut document).with_context(|| format!("in {}", path.display()))?;
        let Value::Object(document) = document else {
            bail!("{} is not a compose file: it must be a mapping", path.display())
        };
        parse(document)
    }
}

impl Document {
    /// This file with a later one over it.
    fn under(mut self, over: Self) -> Result<Self> {
        if self.version != over.version {
            bail!("All compose files of a project must have the same version");
        }
        for (name, service) in over.services {
            extends::merge(self.services.entry(name).or_default(), service)?;
        }
        for volume in over.volumes {
            if !self.volumes.contains(&volume) {
                self.volumes.push(volume);
            }
        }
        self.name = over.name.or(self.name);
        Ok(self)
    }
}

/// The shell's environment over `.env` in the project's folder.
fn environment(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let dotenv = folder.join(".env");
    if dotenv.exists() {
        all.extend(reading::dotenv(&dotenv)?.into_iter().filter_map(|(k, v)| Some((k, v?))));
    }
    all.extend(env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))));
    Ok(all)
}

fn version(given: Option<Value>, has_services: bool) -> Result<Version> {
    let unsupported = |version: &str| format!("Unsupported Docker Compose version found: {version}");
    let text = match given {
        None if has_services => return Ok(Version::Later),
        None => return Ok(Version::V1),
        // AWS: 3 must be quoted, 2 need not be.
        Some(Value::Number(number)) if number.to_string().starts_with('3') => bail!("version must be a string"),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) => text,
        Some(_) => bail!("version must be a string"),
    };
    let minor = |major: &str| {
        let minor = text.strip_prefix(major)?.strip_prefix('.')?;
        (!minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit())).then_some(())
    };
    match text.as_str() {
        "2" | "2.0" => Ok(Version::V2),
        "3" | "3.0" => Ok(Version::V3),
        _ if minor("2").or(minor("3")).is_some() => Ok(Version::Later),
        _ => bail!(unsupported(&text)),
    }
}

fn parse(mut document: Map<String, Value>) -> Result<Document> {
    let version = version(document.remove("version"), document.contains_key("services"))?;
    let mut one = Document { version, name: None, services: Services::new(), volumes: Vec::new() };
    let services = if version == Version::V1 {
        document
    } else {
        one.volumes = volumes(document.remove("volumes"))?;
        let services = document.remove("services");
        document.remove("networks");
        if version == Version::Later {
            one.name = document.remove("name").map(|name| scalar("name", &name)).transpose()?;
            document.retain(|key, _| !key.starts_with("x-"));
        }
        if let Some(key) = document.keys().next() {
            bail!("(root) Additional property {key} is not allowed");
        }
        match services {
            Some(Value::Object(services)) => services,
            None | Some(Value::Null) => Map::new(),
            Some(_) => bail!("services must be a mapping"),
        }
    };
    let service = |(name, service)| match service {
        Value::Object(service) => Ok((name, service)),
        Value::Null => Ok((name, Map::new())),
        _ => bail!("services.{name} must be a mapping"),
    };
    one.services = services.into_iter().map(service).collect::<Result<_>>()?;
    Ok(one)
}

/// The names of declared volumes. What more there is to say of one is said in the ecs-params file.
fn volumes(declared: Option<Value>) -> Result<Vec<String>> {
    let declared = match declared {
        Some(Value::Object(declared)) => declared,
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(_) => bail!("volumes must be a mapping of names"),
    };
    for (name, options) in &declared {
        if let Some((option, _)) = options.as_object().into_iter().flatten().find(|(_, given)| !given.is_null()) {
            bail!(
                "volume {name}: {option} is not supported here; describe the volume under task_definition.docker_volumes or \
                 efs_volumes in ecs-params.yml"
            );
        }
    }
    Ok(declared.into_iter().map(|(name, _)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_original_reads_them() {
        for (given, wanted) in [
            ("a: {image: x}", Ok(Version::V1)),
            ("services: {a: {}}", Ok(Version::Later)),
            ("version: 2\nservices: {a: {}}", Ok(Version::V2)),
            ("version: '2'\nservices: {a: {}}", Ok(Version::V2)),
            ("version: '2.4'\nservices: {a: {}}", Ok(Version::Later)),
            ("version: '3'\nservices: {a: {}}", Ok(Version::V3)),
            ("version: '3.0'\nservices: {a: {}}", Ok(Version::V3)),
            ("version: '3.8'\nservices: {a: {}}", Ok(Version::Later)),
            ("version: 3\nservices: {a: {}}", Err("version must be a string")),
            ("version: 3.1\nservices: {a: {}}", Err("version must be a string")),
            ("version: '1'\na: {}", Err("Unsupported Docker Compose version found: 1")),
            ("version: '4'\na: {}", Err("Unsupported Docker Compose version found: 4")),
            ("version: '3.x'\na: {}", Err("Unsupported Docker Compose version found: 3.x")),
            ("version: '3'\nservices: {}\nconfigs: {}", Err("(root) Additional property configs is not allowed")),
        ] {
            let got = parse(serde_saphyr::from_str(given).unwrap()).map(|d| d.version).map_err(|e| e.to_string());
            assert_eq!(got, wanted.map_err(str::to_owned), "{given}");
        }
    }

    #[test]
    fn files_are_merged_and_services_extended() {
        let dir = tempfile::TempDir::with_prefix("longshore-").unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("base.yml", "base: {image: \"busybox:${TAG}\", environment: {A: '1'}, links: [db]}");
        write("a.yml", "web:\n  extends: {file: base.yml, service: base}\n  environment: [B=2]\n");
        write("b.yml", "web: {environment: {A: '3'}, cpu_shares: 5}\nother: {image: x}");
        write("loop.yml", "a: {extends: b}\nb: {extends: a}");
        write(".env", "# which\nTAG='1 2'\n");
        let paths = ["a.yml", "b.yml"].map(|name| dir.path().join(name));
        let source = load(&paths, None).unwrap();
        let wanted = serde_json::json!({
            "other": {"image": "x"},
            "web": {"image": "busybox:1 2", "environment": {"A": "3", "B": "2"}, "cpu_shares": 5},
        });
        assert_eq!(serde_json::to_value(&source.services).unwrap(), wanted);
        assert_eq!(source.project, dir.path().file_name().unwrap().to_string_lossy());
        let circle = load(&[dir.path().join("loop.yml")], None).unwrap_err().to_string();
        assert!(circle.contains("break the circle"), "{circle}");
        write("c.yml", "version: '2'\nservices: {web: {image: y}}");
        let mixed = load(&[dir.path().join("a.yml"), dir.path().join("c.yml")], None).unwrap_err();
        assert!(mixed.to_string().contains("the same version"), "{mixed}");
        assert!(load(&[PathBuf::from("-")], None).is_err(), "a dash is a file's name");
    }

    #[test]
    fn a_name_that_no_family_can_have_is_refused_with_one_that_can() {
        let folder = Path::new("/srv/my app.v2");
        assert_eq!(project_name(Some("a-b_C9"), None, folder).unwrap(), "a-b_C9");
        assert_eq!(project_name(None, Some("b".to_owned()), folder).unwrap(), "b");
        for (given, of_file, words) in [
            (None, None, "'my app.v2', is the folder's"),
            (None, Some("my app.v2".to_owned()), "'my app.v2', is the compose file's"),
            (Some("my app.v2"), None, "'my app.v2', is given"),
        ] {
            let error = project_name(given, of_file, folder).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("--project-name my-app-v2"), "{error}");
        }
    }
}
