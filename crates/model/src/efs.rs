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

/// Source: `EFSVolumeConfiguration`. IAM, which AWS asks at its file systems, is not honoured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EfsVolume {
    /// `fs-` and hexadecimal digits.
    pub file_system_id: String,
    /// The folder of the file system that is seen, as given; its root if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_directory: Option<String>,
    /// Whether it travels encrypted, as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transit_encryption: Option<bool>,
    /// Where on the machine's loopback what is to be encrypted is taken in; any port will do if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transit_encryption_port: Option<u16>,
    /// The access point that says which folder is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_point: Option<String>,
    /// Whether a role's rights are asked, as given. Nobody asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iam: Option<bool>,
}

/// What an operator says that stands for a file system: an export, or `tls://HOST/PATH` or `tls://HOST:PORT/PATH` of one that is
/// reached over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// Where it is.
    pub export: Export,
    /// Whether its server's port speaks TLS before it speaks NFS.
    pub tls: bool,
}

/// What an operator says that stands for an access point: `FILE-SYSTEM:/FOLDER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessPoint {
    /// The id of its file system.
    pub file_system: String,
    /// The folder that is seen through it, as a clean absolute path.
    pub folder: String,
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
        self.check_encryption(volume)
    }

    /// AWS: whether there is such an access point is asked when a task starts.
    fn check_encryption(&self, volume: &str) -> Result<(), InvalidDefinition> {
        let encrypted = self.transit_encryption == Some(true);
        if let Some(id) = &self.access_point {
            if !is_access_point_id(id) {
                return refuse(format!(
                    "Invalid 'efsVolumeConfiguration.authorizationConfig.accessPointId' setting for volume '{volume}': '{id}' is not the ID of an access point."
                ));
            }
            if clean(self.root()).as_deref() != Some("/") {
                // AWS: its words.
                return refuse(
                    "When using an EFS access point, the root directory must either be set to \"/\" or be omitted.",
                );
            }
        }
        let needing = [
            ("authorizationConfig.accessPointId", self.access_point.is_some()),
            ("transitEncryptionPort", self.transit_encryption_port.is_some()),
        ];
        match needing.iter().find(|(_, said)| *said && !encrypted) {
            Some((what, _)) => refuse(format!(
                "Invalid 'efsVolumeConfiguration.transitEncryption' setting for volume '{volume}': '{what}' needs it to be ENABLED."
            )),
            None => Ok(()),
        }
    }

    /// The folder that is seen of its file system, of which it names that access point.
    pub fn folder(&self, access_point: Option<&AccessPoint>) -> Option<String> {
        access_point.map_or_else(|| clean(self.root()), |point| Some(point.folder.clone()))
    }
}

/// An export, or one that is reached over TLS.
impl FromStr for FileSystem {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("tls://") else { return Ok(Self { export: text.parse()?, tls: false }) };
        let wrong = || format!("'{text}' is not tls://HOST/PATH or tls://HOST:PORT/PATH");
        let (server, path) = rest.split_once('/').ok_or_else(wrong)?;
        // An IPv6 address without a port ends in a bracket.
        let export = format!("{server}:/{path}").parse().map_err(|_| wrong())?;
        Ok(Self { export, tls: true })
    }
}

impl FromStr for AccessPoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not the ID of a file system, a colon and an absolute path without '..'");
        let (id, path) = text.split_once(':').ok_or_else(wrong)?;
        let folder = clean(path).filter(|_| is_file_system_id(id)).ok_or_else(wrong)?;
        Ok(Self { file_system: id.to_owned(), folder })
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

/// Whether it is the form of an id of EFS. Source: its `FileSystemId`.
pub fn is_file_system_id(id: &str) -> bool {
    id.strip_prefix("fs-").is_some_and(are_digits)
}

/// Whether it is the form of an id of an access point. Source: EFS's `AccessPointId`.
pub fn is_access_point_id(id: &str) -> bool {
    id.strip_prefix("fsap-").is_some_and(are_digits)
}

fn are_digits(digits: &str) -> bool {
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
            let volume = EfsVolume { file_system_id: id.into(), root_directory, ..EfsVolume::default() };
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

    #[test]
    fn what_is_reached_over_tls_says_so() {
        let read =
            |text: &str| text.parse::<FileSystem>().map(|f| (f.export.host, f.export.port, f.export.path, f.tls));
        let whole = |host: &str, port, path: &str, tls| Ok((host.into(), port, path.into(), tls));
        assert_eq!(read("nas:/a"), whole("nas", 2049, "/a", false));
        assert_eq!(read("tls://nas/a/b/"), whole("nas", 2049, "/a/b", true));
        assert_eq!(read("tls://nas.example:20490/"), whole("nas.example", 20490, "/", true));
        assert_eq!(read("tls://[fd00::1]/x"), whole("fd00::1", 2049, "/x", true));
        assert_eq!(read("tls://[fd00::1]:7/x"), whole("fd00::1", 7, "/x", true));
        for wrong in [
            "tls://",
            "tls://nas",
            "tls:///x",
            "tls://nas:0/x",
            "tls://nas:x/y",
            "tls://n as/x",
            "tls://nas/../x",
            "tls:nas:/x",
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}: {:?}", read(wrong));
        }

        let point = |text: &str| text.parse::<AccessPoint>().ok().map(|p| (p.file_system, p.folder));
        assert_eq!(point("fs-01234567:/a//b"), Some(("fs-01234567".into(), "/a/b".into())));
        assert_eq!(point("fs-01234567:/"), Some(("fs-01234567".into(), "/".into())));
        for wrong in ["", "fs-01234567", "fs-01234567:a", "fs-1:/a", "fs-01234567:/../a", "fsap-01234567:/a"] {
            assert_eq!(point(wrong), None, "{wrong:?}");
        }
        let web = AccessPoint { file_system: "fs-01234567".into(), folder: "/web".into() };
        let volume = |root: &str| EfsVolume { root_directory: Some(root.into()), ..EfsVolume::default() };
        assert_eq!(volume("/a//b").folder(None).as_deref(), Some("/a/b"));
        assert_eq!(volume("/").folder(Some(&web)).as_deref(), Some("/web"));
        assert_eq!(volume("/../x").folder(None), None);
    }

    #[test]
    fn an_access_point_needs_encryption_and_the_root() {
        let point = Some("fsap-01234567".to_owned());
        let check = |transit_encryption, root: Option<&str>, access_point: &Option<String>, transit_encryption_port| {
            let (file_system_id, access_point) = ("fs-01234567".into(), access_point.clone());
            let root_directory = root.map(str::to_owned);
            let volume = EfsVolume {
                file_system_id,
                root_directory,
                transit_encryption,
                transit_encryption_port,
                access_point,
                iam: None,
            };
            volume.check("v").err().map(|InvalidDefinition(text)| text).unwrap_or_default()
        };
        for root in [None, Some("/"), Some("//")] {
            assert_eq!(check(Some(true), root, &point, Some(20049)), "");
        }
        assert_eq!(check(Some(true), Some("/a"), &None, None), "");
        for encryption in [None, Some(false)] {
            let needs = "transitEncryption' setting for volume 'v': ";
            assert!(
                check(encryption, None, &point, None).contains(&format!("{needs}'authorizationConfig.accessPointId'"))
            );
            assert!(check(encryption, None, &None, Some(1)).contains(&format!("{needs}'transitEncryptionPort'")));
        }
        assert!(
            check(Some(true), Some("/a"), &point, None)
                .starts_with("When using an EFS access point, the root directory")
        );
        for id in ["", "fs-01234567", "fsap-1", "fsap-0123456G", "fsap-01234567/../x"] {
            assert!(
                check(Some(true), None, &Some(id.into()), None).contains("accessPointId' setting for volume 'v'"),
                "{id}"
            );
        }
    }
}
