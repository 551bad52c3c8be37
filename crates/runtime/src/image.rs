//! The nouns of images: what to pull, what came of it, and Docker's rules for merging an image's configuration with
//! what a task definition says.

use std::collections::{BTreeMap, BTreeSet};

use crate::auth::RegistryAuth;
use crate::error::PullError;

/// When to ask the registry (ECS_IMAGE_PULL_BEHAVIOR's two useful values).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PullPolicy {
    /// Resolve at the registry each time; blobs already here are not fetched again.
    Always,
    /// Use a complete image of that name if there is one, without asking.
    IfMissing,
}

/// Which entry of a multi-platform image to take, in Go's names (`linux`, `amd64`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// Operating system.
    pub os: String,
    /// Processor architecture.
    pub architecture: String,
    /// E.g. `v8`; compared only if both sides name one.
    pub variant: Option<String>,
}

impl Platform {
    /// The platform this program was built for.
    #[must_use]
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self { os: "linux".into(), architecture: architecture.into(), variant: None }
    }

    /// Whether an index entry naming `os`, `architecture` and perhaps `variant` serves this platform.
    #[must_use]
    pub fn matches(&self, os: &str, architecture: &str, variant: Option<&str>) -> bool {
        let variant_fits = match (self.variant.as_deref(), variant) {
            (Some(want), Some(have)) => want == have,
            (Some(_) | None, None) | (None, Some(_)) => true,
        };
        os == self.os && architecture == self.architecture && variant_fits
    }
}

/// One image wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PullRequest {
    /// As people write it: `busybox`, `host:5000/app@sha256:…`.
    pub reference: String,
    /// How to prove ourselves to the registry.
    pub auth: RegistryAuth,
    /// When to ask the registry.
    pub policy: PullPolicy,
    /// Which entry of an index to take.
    pub platform: Platform,
    /// The registry that is asked in place of the one that the reference names.
    pub mirror: Option<String>,
}

impl PullRequest {
    /// An anonymous pull for this machine's platform.
    #[must_use]
    pub fn new(reference: impl Into<String>, policy: PullPolicy) -> Self {
        Self {
            reference: reference.into(),
            auth: RegistryAuth::Anonymous,
            policy,
            platform: Platform::host(),
            mirror: None,
        }
    }
}

/// How far a pull has come. Bytes are compressed ones, as the registry counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// Layers of the image.
    pub layers_total: usize,
    /// Layers unpacked, counting those that were here before.
    pub layers_done: usize,
    /// Bytes to fetch in this pull; 0 until the manifest is known.
    pub bytes_total: u64,
    /// Bytes fetched in this pull.
    pub bytes_done: u64,
}

/// An image that is present and unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Normalised reference, e.g. `docker.io/library/busybox:latest`.
    pub name: String,
    /// What the reference resolves to (index or manifest): ECS's `imageDigest`.
    pub digest: String,
    /// The platform's own manifest; equals `digest` for a single-platform image.
    pub manifest_digest: String,
    /// Digest of the configuration: what Docker calls the image id.
    pub config_digest: String,
    /// Chain id of the unpacked filesystem.
    pub chain_id: String,
    /// What the image says about how to run it.
    pub config: ImageConfig,
    /// Compressed bytes of all layers and the configuration.
    pub size: u64,
}

/// How to run an image, from its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// `ENTRYPOINT`.
    pub entrypoint: Vec<String>,
    /// `CMD`.
    pub cmd: Vec<String>,
    /// `ENV`, each `NAME=value`.
    pub env: Vec<String>,
    /// `USER`, empty for root.
    pub user: String,
    /// `WORKDIR`, empty for `/`.
    pub working_dir: String,
    /// `STOPSIGNAL` as written, e.g. `SIGQUIT` or `3`.
    pub stop_signal: Option<String>,
    /// `EXPOSE`, e.g. `80/tcp`, sorted.
    pub exposed_ports: Vec<String>,
    /// `LABEL`.
    pub labels: BTreeMap<String, String>,
    /// `VOLUME`, as written, sorted.
    pub volumes: Vec<String>,
}

/// Most volumes that an image may declare. Known ones declare a few; each is a folder and a mount for every container of it.
const MOST_VOLUMES: usize = 128;
/// The longest place of one, in bytes: below it there are to be paths that can still be opened.
const LONGEST_PLACE: usize = 1024;

impl ImageConfig {
    /// Where a container of the image has volumes, if nothing else is mounted there: absolute and without ways up, each once.
    ///
    /// # Errors
    /// Why nobody could have them, in a sentence: an image can say anything.
    pub fn volume_places(&self) -> Result<Vec<String>, String> {
        if self.volumes.len() > MOST_VOLUMES {
            return Err(format!("the image declares {} volumes, and may have {MOST_VOLUMES}", self.volumes.len()));
        }
        let mut places = BTreeSet::new();
        for written in &self.volumes {
            // Docker: its words.
            let invalid =
                |why: &str| Err(format!("invalid volume specification: '{written:.100}': invalid mount config: {why}"));
            let mut parts = Vec::new();
            for part in written.split('/') {
                match part {
                    "" | "." => {}
                    ".." => drop(parts.pop()),
                    part => parts.push(part),
                }
            }
            let place = format!("/{}", parts.join("/"));
            match parts.first() {
                None => return invalid("destination can't be '/'"),
                // No runtime mounts anything there but processes.
                Some(&"proc") => return invalid("destination can't be in '/proc'"),
                Some(_) if place.len() > LONGEST_PLACE || place.contains('\0') => {
                    return invalid("destination is no path");
                }
                Some(_) => places.insert(place),
            };
        }
        Ok(places.into_iter().collect())
    }

    /// The argv to run. Docker's rule: an entry point given by the task definition discards the image's `CMD`.
    #[must_use]
    pub fn argv(&self, entry_point: Option<&[String]>, command: Option<&[String]>) -> Vec<String> {
        let given = entry_point.filter(|e| !e.is_empty());
        let mut argv = given.map_or_else(|| self.entrypoint.clone(), <[String]>::to_vec);
        match command.filter(|c| !c.is_empty()) {
            Some(command) => argv.extend_from_slice(command),
            None if given.is_none() => argv.extend_from_slice(&self.cmd),
            None => {}
        }
        argv
    }

    /// The image's environment with `overrides` on top, in the image's order, new names last; `PATH` is always set.
    #[must_use]
    pub fn environment(&self, overrides: &[(String, String)]) -> Vec<String> {
        let mut merged: Vec<(String, String)> = Vec::new();
        let own = self.env.iter().map(|e| e.split_once('=').unwrap_or((e, "")));
        let given = overrides.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in [("PATH", DEFAULT_PATH)].into_iter().chain(own).chain(given) {
            match merged.iter_mut().find(|(n, _)| n == name) {
                Some(slot) => slot.1 = value.to_owned(),
                None => merged.push((name.to_owned(), value.to_owned())),
            }
        }
        merged.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// The number of the signal that stops this image politely; SIGTERM unless the image says otherwise.
    #[must_use]
    pub fn stop_signal_number(&self) -> i32 {
        self.stop_signal.as_deref().and_then(crate::container::signal_number).unwrap_or(libc::SIGTERM)
    }
}

/// What Docker gives an image that sets no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Completes a reference as `docker pull` does: `busybox` is `docker.io/library/busybox:latest`.
///
/// # Errors
/// [`PullError::InvalidReference`] if it is not a reference at all.
pub fn normalize(reference: &str) -> Result<String, PullError> {
    parse(reference).map(|r| r.whole())
}

/// The reference with what it names pinned: the same repository, and this digest instead of a tag.
///
/// # Errors
/// [`PullError::InvalidReference`] if it is not a reference at all.
pub fn pinned(reference: &str, digest: &str) -> Result<String, PullError> {
    let parsed = parse(reference)?;
    parse(&format!("{}/{}@{digest}", parsed.registry(), parsed.repository())).map(|r| r.whole())
}

/// The host (and port) whose credentials serve this reference, e.g. `docker.io` or `127.0.0.1:5000`.
///
/// # Errors
/// [`PullError::InvalidReference`] if it is not a reference at all.
pub fn registry_of(reference: &str) -> Result<String, PullError> {
    parse(reference).map(|r| r.registry().to_owned())
}

/// A registry that is asked for what another one is named for; written `REGISTRY=MIRROR`, both as host[:port].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// What images name.
    pub registry: String,
    /// Who is asked.
    pub mirror: String,
}

impl std::str::FromStr for Mirror {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let wanted =
            "a mirror is given as REGISTRY=MIRROR, both of them host[:port], as in docker.io=mirror.example:5000";
        let (registry, mirror) = given.split_once('=').ok_or(wanted)?;
        // Only what is the registry in an image's name can be meant.
        let is_registry = |host: &str| registry_of(&format!("{host}/a")).is_ok_and(|read| read == host);
        if !is_registry(registry) || !is_registry(mirror) {
            return Err(wanted.to_owned());
        }
        Ok(Self { registry: registry.to_owned(), mirror: mirror.to_owned() })
    }
}

impl std::fmt::Display for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.registry, self.mirror)
    }
}

pub(crate) fn parse(reference: &str) -> Result<oci_client::Reference, PullError> {
    reference.parse().map_err(|e: oci_client::ParseError| PullError::InvalidReference {
        reference: reference.to_owned(),
        reason: e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn a_pinned_reference_names_the_digest_and_no_tag() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (reference, want) in [
            ("busybox", Some("docker.io/library/busybox")),
            ("127.0.0.1:5000/app:v1", Some("127.0.0.1:5000/app")),
            (&format!("127.0.0.1:5000/app@sha256:{}", "b".repeat(64)), Some("127.0.0.1:5000/app")),
            ("UPPER", None),
        ] {
            let want = want.map(|repository| format!("{repository}@{digest}"));
            assert_eq!(pinned(reference, &digest).ok(), want, "{reference}");
        }
        assert!(pinned("busybox", "no digest").is_err());
    }

    #[test]
    fn volumes_are_where_an_image_says_if_anybody_could_have_them_there() {
        let places =
            |written: &[&str]| ImageConfig { volumes: strings(written), ..ImageConfig::default() }.volume_places();
        let fine =
            places(&["/var/lib/db/", "//data/./x/../y", "relative", "/data/y", "/proc2", "/a/../../up"]).unwrap();
        assert_eq!(fine, ["/data/y", "/proc2", "/relative", "/up", "/var/lib/db"]);
        let many: Vec<String> = (0..=MOST_VOLUMES).map(|n| format!("/v{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(places(&many[1..]).unwrap().len(), MOST_VOLUMES);
        let long = format!("/{}", "a/".repeat(LONGEST_PLACE));
        let rows: [(&[&str], &str); 7] = [
            (&["/data", "/"], "'/': invalid mount config: destination can't be '/'"),
            (&[""], "destination can't be '/'"),
            (&["/a/../.."], "destination can't be '/'"),
            (&["/proc/sys"], "destination can't be in '/proc'"),
            (&["/x/../proc"], "destination can't be in '/proc'"),
            (&[&long, "/a\0b"], "destination is no path"),
            (&many, "declares 129 volumes"),
        ];
        for (written, words) in rows {
            let error = places(written).unwrap_err();
            assert!(error.contains(words) && error.len() < 300, "{error}");
        }
    }

    #[test]
    fn argv_follows_docker() {
        let config = ImageConfig { entrypoint: strings(&["/e"]), cmd: strings(&["c"]), ..ImageConfig::default() };
        let check = |entry: Option<&[&str]>, command: Option<&[&str]>, want: &[&str]| {
            let entry = entry.map(strings);
            let command = command.map(strings);
            assert_eq!(config.argv(entry.as_deref(), command.as_deref()), strings(want));
        };
        check(None, None, &["/e", "c"]);
        check(None, Some(&["x", "y"]), &["/e", "x", "y"]);
        check(Some(&["/o"]), None, &["/o"]);
        check(Some(&["/o"]), Some(&["x"]), &["/o", "x"]);
        check(Some(&[]), Some(&[]), &["/e", "c"]);
    }

    #[test]
    fn environment_keeps_order_and_lets_the_task_win() {
        let config = ImageConfig { env: strings(&["A=1", "PATH=/bin", "B"]), ..ImageConfig::default() };
        let merged = config.environment(&[("A".into(), "2".into()), ("C".into(), "x=y".into())]);
        assert_eq!(merged, strings(&["PATH=/bin", "A=2", "B=", "C=x=y"]));
        assert_eq!(ImageConfig::default().environment(&[]), vec![format!("PATH={DEFAULT_PATH}")]);
    }

    #[test]
    fn references_are_completed() {
        let rows = [
            ("busybox", "docker.io/library/busybox:latest", "docker.io"),
            ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000/a/b:1", "127.0.0.1:5000"),
            ("ghcr.io/x/y", "ghcr.io/x/y:latest", "ghcr.io"),
        ];
        for (given, whole, host) in rows {
            assert_eq!(normalize(given).unwrap(), whole);
            assert_eq!(registry_of(given).unwrap(), host);
        }
        assert!(matches!(normalize("UPPER CASE"), Err(PullError::InvalidReference { .. })));
    }

    #[test]
    fn platforms_match_with_optional_variant() {
        let arm = Platform { os: "linux".into(), architecture: "arm64".into(), variant: Some("v8".into()) };
        assert!(arm.matches("linux", "arm64", None));
        assert!(arm.matches("linux", "arm64", Some("v8")));
        assert!(!arm.matches("linux", "arm64", Some("v9")));
        assert!(!arm.matches("linux", "amd64", None));
        assert!(!arm.matches("windows", "arm64", None));
    }

    #[test]
    fn a_mirror_stands_for_a_registry() {
        let good = [
            "docker.io=127.0.0.1:5000",
            "1.dkr.ecr.us-east-1.amazonaws.com=m.example",
            "r.example:5000=localhost:5000",
        ];
        for given in good {
            assert_eq!(given.parse::<Mirror>().map(|mirror| mirror.to_string()), Ok(given.to_owned()));
        }
        let bad = [
            "",
            "docker.io",
            "=m.example",
            "docker.io=",
            "docker.io=https://m.example",
            "docker.io=m.example/x",
            "busybox=m.example",
        ];
        for given in bad {
            assert!(given.parse::<Mirror>().is_err(), "{given}");
        }
    }
}
