//! Volumes of file systems that many tasks see: Amazon EFS's, which here are exports of NFS servers that an operator names.
//!
//! AWS publishes few of the texts; the others follow their form.

use crate::{InvalidDefinition, definition_rules::refuse};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The NFS port.
const NFS_PORT: u16 = 2049;
/// Longest root directory. Source: EFS's `Path`, where it is part of an access point.
const MAX_ROOT: usize = 100;

/// Source: `EFSVolumeConfiguration`. What travels encrypted, and access points, which AWS has only there, are not honoured yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EfsVolume {
    /// `fs-` and hexadecimal digits.
    pub file_system_id: String,
    /// The folder of the file system that is seen, as given; its root if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_directory: Option<String>,
    /// Whether it travels encrypted, as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transit_encryption: Option<bool>,
}

/// Where a file system is: a folder that an NFS server exports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// The server's name or address.
    pub host: String,
    /// Where it listens.
    pub port: u16,
    /// What it exports, as a clean absolute path.
    pub path: String,
}

impl EfsVolume {
    /// The folder that is seen. AWS: the root if nothing is said, also where that is shown.
    pub fn root(&self) -> &str {
        self.root_directory.as_deref().unwrap_or("/")
    }

    pub(crate) fn check(&self, volume: &str) -> Result<(), InvalidDefinition> {
        if !is_file_system_id(&self.file_system_id) {
            return refuse(format!(
                "Invalid 'efsVolumeConfiguration.fileSystemId' setting for volume '{volume}': '{}' is not the ID of a file system.",
                self.file_system_id
            ));
        }
        if clean(self.root()).is_none_or(|root| root.len() > MAX_ROOT) {
            return refuse(format!(
                "Invalid 'efsVolumeConfiguration.rootDirectory' setting for volume '{volume}': an absolute path without '..' of up to {MAX_ROOT} characters is needed."
            ));
        }
        Ok(())
    }
}

impl Export {
    /// A folder of it. Which it is was checked when the definition was registered.
    pub fn below(&self, root: &str) -> Option<Self> {
        let root = clean(root)?;
        let path = match (self.path.as_str(), root.as_str()) {
            (own, "/") => own.to_owned(),
            ("/", root) => root.to_owned(),
            (own, root) => format!("{own}{root}"),
        };
        Some(Self { path, ..self.clone() })
    }

    /// The export that this is that folder of, and the folder as a clean path: the way back from [`Export::below`], for whoever mounts
    /// it and must not follow a link on the way down.
    pub fn above(&self, root: &str) -> Option<(Self, String)> {
        let root = clean(root)?;
        let own = match root.as_str() {
            "/" => self.path.as_str(),
            root => self.path.strip_suffix(root)?,
        };
        let path = if own.is_empty() { "/" } else { own };
        Some((Self { path: path.to_owned(), ..self.clone() }, root))
    }
}

/// `HOST:/PATH` or `HOST:PORT:/PATH`; an IPv6 address stands in brackets.
impl FromStr for Export {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not HOST:/PATH or HOST:PORT:/PATH");
        let (server, path) = text.split_once(":/").ok_or_else(wrong)?;
        let (host, port) = match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, "")) => (address, None),
            Some((address, port)) => (address, Some(port.strip_prefix(':').ok_or_else(wrong)?)),
            None => server.split_once(':').map_or((server, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Some(NFS_PORT), |port| port.parse().ok().filter(|port| *port != 0)).ok_or_else(wrong)?;
        let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
        if host.is_empty() || !host.bytes().all(is_host) {
            return Err(wrong());
        }
        let path = clean(&format!("/{path}")).ok_or_else(wrong)?;
        Ok(Self { host: host.to_owned(), port, path })
    }
}

/// As mount(8) names it.
impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.path),
            false => write!(f, "{}:{}", self.host, self.path),
        }
    }
}

/// Whether it is the form of an id of EFS.
pub fn is_file_system_id(id: &str) -> bool {
    let digits = id.strip_prefix("fs-").unwrap_or_default();
    // Source: EFS's `FileSystemId`.
    (8..=40).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// An absolute path without empty parts, or none if it leads up or says what a mount table cannot.
fn clean(path: &str) -> Option<String> {
    let fine = path.starts_with('/') && !path.chars().any(char::is_control);
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (fine && !parts.contains(&"..")).then(|| format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_names_is_a_server_and_a_folder() {
        let read = |text: &str| text.parse::<Export>().map(|e| (e.host.clone(), e.port, e.path.clone(), e.to_string()));
        let whole = |host: &str, port, path: &str, shown: &str| Ok((host.into(), port, path.into(), shown.into()));
        assert_eq!(read("nas:/"), whole("nas", 2049, "/", "nas:/"));
        assert_eq!(read("10.0.0.5:2050:/a//b/"), whole("10.0.0.5", 2050, "/a/b", "10.0.0.5:/a/b"));
        assert_eq!(read("[fd00::1]:/x"), whole("fd00::1", 2049, "/x", "[fd00::1]:/x"));
        assert_eq!(read("[fd00::1]:7:/x"), whole("fd00::1", 7, "/x", "[fd00::1]:/x"));
        for wrong in [
            "",
            "nas",
            "nas:x",
            ":/x",
            "nas:0:/x",
            "nas:x:/x",
            "na s:/x",
            "n,o=1:/x",
            "nas:/a/../b",
            "nas:/a\nb",
            "[fd00::1]x:/x",
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        let export: Export = "nas:/export".parse().unwrap();
        let below = |root: &str| export.below(root).map(|export| export.path);
        assert_eq!(below("/"), Some("/export".into()));
        assert_eq!(below("/a/b/"), Some("/export/a/b".into()));
        assert_eq!(below("/../etc"), None);
        assert_eq!("nas:/".parse::<Export>().unwrap().below("/a").unwrap().path, "/a");
        for (export, root, folder) in [
            ("nas:/", "/", "/"),
            ("nas:/", "/a", "/a"),
            ("nas:/export", "/", "/"),
            ("nas:/export", "/a//b/", "/a/b"),
            ("nas:/a/a", "/a", "/a"),
        ] {
            let export: Export = export.parse().unwrap();
            let below = export.below(root).unwrap();
            assert_eq!(below.above(root), Some((export, folder.to_owned())), "{root}");
        }
        assert_eq!(export.above("/b"), None);
        assert_eq!("nas:/ab".parse::<Export>().unwrap().above("/b"), None);
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        let check = |id: &str, root: Option<&str>| {
            let root_directory = root.map(str::to_owned);
            let volume = EfsVolume { file_system_id: id.into(), root_directory, transit_encryption: None };
            volume.check("v").err().map(|InvalidDefinition(text)| text).unwrap_or_default()
        };
        for (id, root) in [("fs-01234567", None), ("fs-0123456789abcdef0", Some("/")), ("fs-01234567", Some("/a/b"))] {
            assert_eq!(check(id, root), "");
        }
        for id in ["", "fs-1", "fs-0123456g", "fs-0123456A", "x", "fs-01234567/../x"] {
            assert!(check(id, None).contains("fileSystemId' setting for volume 'v'"), "{id}");
        }
        for root in ["a", "", "/a/../b", "/a\nb", &"/a".repeat(51)] {
            assert!(check("fs-01234567", Some(root)).contains("rootDirectory' setting for volume 'v'"), "{root}");
        }
    }
}
