//! The OCI and Docker image documents we read: index, manifest, configuration. Lenient, because registries hold
//! documents of every age; only what is needed is named.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use crate::error::PullError;
use crate::image::{ImageConfig, Platform};

/// Media types of a list of manifests by platform.
pub(super) const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
/// Media types of one platform's manifest.
pub(super) const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
/// Layers containerd's differ unpacks: plain, gzip, zstd, of either tradition.
const LAYERS: [&str; 6] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

/// A reference by digest.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    #[serde(default)]
    pub(super) size: u64,
    #[serde(default)]
    platform: Option<PlatformEntry>,
}

#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
struct PlatformEntry {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

/// One platform's image.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

/// What a manifest URL answered.
#[derive(Debug)]
pub(super) enum Document {
    Index(Vec<Descriptor>),
    Manifest(Manifest),
}

#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    #[serde(default)]
    manifests: Option<serde_json::Value>,
    #[serde(default)]
    config: Option<serde_json::Value>,
}

/// Reads an index or a manifest, and tells which media type it has (older OCI documents do not say).
pub(super) fn read(bytes: &[u8]) -> Result<(Document, &'static str), PullError> {
    let unsupported = |text: String| PullError::Unsupported(text);
    let shape: Shape = serde_json::from_slice(bytes).map_err(|e| unsupported(format!("manifest is not JSON: {e}")))?;
    let known = |list: [&'static str; 2], present: bool| {
        list.into_iter()
            .find(|m| *m == shape.media_type)
            .or((shape.media_type.is_empty() && present).then_some(list[0]))
    };
    if let Some(media_type) = known(INDEXES, shape.manifests.is_some()) {
        let index: Index = serde_json::from_slice(bytes).map_err(|e| unsupported(format!("index: {e}")))?;
        return Ok((Document::Index(index.manifests), media_type));
    }
    let Some(media_type) = known(MANIFESTS, shape.config.is_some()) else {
        return Err(unsupported(format!("media type {:?}", shape.media_type)));
    };
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(|e| unsupported(format!("manifest: {e}")))?;
    if let Some(layer) = manifest.layers.iter().find(|l| !LAYERS.contains(&l.media_type.as_str())) {
        return Err(unsupported(format!("layer of media type {:?}", layer.media_type)));
    }
    Ok((Document::Manifest(manifest), media_type))
}

/// Which entry of an index serves the platform: an exact variant before one that does not say.
pub(super) fn choose<'a>(entries: &'a [Descriptor], platform: &Platform) -> Option<&'a Descriptor> {
    let fits = |d: &&Descriptor| {
        d.platform.as_ref().is_some_and(|p| platform.matches(&p.os, &p.architecture, p.variant.as_deref()))
    };
    let exact = |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| p.variant == platform.variant);
    entries.iter().filter(fits).find(exact).or_else(|| entries.iter().find(fits))
}

/// An image's configuration document.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Configuration {
    #[serde(default)]
    pub(super) os: String,
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    config: Option<Runtime>,
    pub(super) rootfs: RootFs,
}

/// The unpacked layers, lowest first.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RootFs {
    #[serde(default)]
    pub(super) diff_ids: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Runtime {
    #[serde(deserialize_with = "or_default")]
    entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    cmd: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    env: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    user: String,
    #[serde(deserialize_with = "or_default")]
    working_dir: String,
    stop_signal: Option<String>,
    #[serde(deserialize_with = "or_default")]
    exposed_ports: BTreeMap<String, serde_json::Value>,
    #[serde(deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    volumes: BTreeMap<String, serde_json::Value>,
}

/// Docker writes `null` where it means empty.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

impl Configuration {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, PullError> {
        serde_json::from_slice(bytes).map_err(|e| PullError::Unsupported(format!("image configuration: {e}")))
    }

    /// In our terms.
    pub(super) fn to_config(&self) -> ImageConfig {
        let own = self.config.clone().unwrap_or_default();
        ImageConfig {
            entrypoint: own.entrypoint,
            cmd: own.cmd,
            env: own.env,
            user: own.user,
            working_dir: own.working_dir,
            stop_signal: own.stop_signal.filter(|s| !s.is_empty()),
            exposed_ports: own.exposed_ports.into_keys().collect(),
            labels: own.labels,
            volumes: own.volumes.into_keys().collect(),
        }
    }

    /// Chain ids of the layers, lowest first: each names a layer on top of all below it.
    pub(super) fn chain_ids(&self) -> Vec<String> {
        let mut chain: Vec<String> = Vec::new();
        for diff in &self.rootfs.diff_ids {
            let next = match chain.last() {
                Some(parent) => sha256(format!("{parent} {diff}").as_bytes()),
                None => diff.clone(),
            };
            chain.push(next);
        }
        chain
    }
}

/// `sha256:<hex>`.
pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_apart() {
        let oci = r#"{"schemaVersion":2,"config":{"digest":"sha256:a"},"layers":[]}"#;
        let (document, media_type) = read(oci.as_bytes()).unwrap();
        assert!(matches!(document, Document::Manifest(_)));
        assert_eq!(media_type, MANIFESTS[0]);
        let list = format!(r#"{{"mediaType":"{}","manifests":[]}}"#, INDEXES[1]);
        assert!(matches!(read(list.as_bytes()).unwrap(), (Document::Index(_), m) if m == INDEXES[1]));
        let bad_layer = r#"{"config":{"digest":"sha256:a"},"layers":[{"mediaType":"text/plain","digest":"sha256:b"}]}"#;
        for bad in ["", "{}", r#"{"mediaType":"application/vnd.docker.distribution.manifest.v1+json"}"#, bad_layer] {
            assert!(matches!(read(bad.as_bytes()), Err(PullError::Unsupported(_))), "{bad}");
        }
    }

    #[test]
    fn the_right_platform_is_chosen() {
        let entry = |digest: &str, arch: &str, variant: &str| serde_json::json!({"digest": digest, "platform": {"os": "linux", "architecture": arch, "variant": variant}});
        let entries: Vec<Descriptor> = serde_json::from_value(serde_json::json!([
            entry("v7", "arm", "v7"), entry("a", "amd64", ""), entry("v6", "arm", "v6"),
            {"digest": "attestation", "platform": {"os": "unknown", "architecture": "unknown"}},
        ]))
        .unwrap();
        let platform = |arch: &str, variant: Option<&str>| Platform {
            os: "linux".into(),
            architecture: arch.into(),
            variant: variant.map(String::from),
        };
        let chosen = |p: &Platform| choose(&entries, p).map(|d| d.digest.as_str());
        assert_eq!(chosen(&platform("amd64", None)), Some("a"));
        assert_eq!(chosen(&platform("arm", Some("v6"))), Some("v6"));
        assert_eq!(chosen(&platform("arm", Some("v5"))), None);
        assert_eq!(chosen(&platform("s390x", None)), None);
    }

    #[test]
    fn configurations_of_docker_have_nulls() {
        let json = r#"{"os":"linux","architecture":"amd64","config":{"Entrypoint":null,"Cmd":["sh"],"Env":null,
            "ExposedPorts":{"80/tcp":{},"53/udp":{}},"Labels":null,"Volumes":{"/data":{},"/a":null},"StopSignal":"SIGQUIT","User":""},
            "rootfs":{"type":"layers","diff_ids":["sha256:1","sha256:2"]}}"#;
        let configuration = Configuration::read(json.as_bytes()).unwrap();
        let config = configuration.to_config();
        assert_eq!(config.cmd, ["sh"]);
        assert_eq!(config.exposed_ports, ["53/udp", "80/tcp"]);
        assert_eq!(config.volumes, ["/a", "/data"]);
        assert_eq!(config.stop_signal_number(), libc::SIGQUIT);
        let chain = configuration.chain_ids();
        assert_eq!(chain[0], "sha256:1");
        assert_eq!(chain[1], sha256(b"sha256:1 sha256:2"));
    }
}
