//! What the containers of a task are given beside what their definition says. It is told to the agent of the task's instance alone,
//! when that asks; nobody writes it down.

use model::{Export, Timestamp, vault::Plain};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// For each container that is given something.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Provision {
    /// By the container's name.
    pub containers: BTreeMap<String, Provided>,
    /// The task has stopped: there are only secret options of log drivers, for the rest of its output. Nothing is made of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub logs_only: bool,
    /// Where the file systems are of its volumes of EFS, by the volume's name. Asked for only by agents with the capability `efs`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub file_systems: BTreeMap<String, Export>,
    /// Those that are reached over TLS, apart, so that an agent that knows nothing of TLS does not take one for any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<Box<Encrypted>>,
    /// Why the server does not know where others of them are, by the volume's name. Nobody is held up by it who has the volume already.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unresolved: BTreeMap<String, String>,
}

/// File systems that are reached over TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Encrypted {
    /// By the volume's name.
    pub file_systems: BTreeMap<String, ExportedFolder>,
    /// The authorities (PEM) that their servers' certificates are checked against; without any, the machine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<String>,
}

/// A folder of a file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedFolder {
    /// Where the file system is. Its server's certificate has to be of that host.
    pub export: Export,
    /// The folder of it that is seen, as a clean absolute path, in which no link is followed.
    pub folder: String,
}

/// What one container is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Provided {
    /// Variables of its environment files, below its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, Plain>,
    /// Its secrets, above its own variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<(String, Plain)>,
    /// The secret options of its log driver.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_options: Vec<(String, Plain)>,
    /// More of its configuration, of a log router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router_config: Option<Plain>,
    /// Whom its registry is to take the agent for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
}

/// Temporary credentials of a role, for the containers of a task or for an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleCredentials {
    /// The role's ARN.
    pub role: String,
    /// `ASIA` and 16 capitals and digits.
    pub access_key: String,
    /// What requests are signed with.
    pub secret: Plain,
    /// What is sent along with them.
    pub token: Plain,
    /// When they were made, by the server's clock.
    pub issued: Timestamp,
    /// Until when they hold, by the server's clock.
    pub expires: Timestamp,
}

/// User and password for a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The user.
    pub username: Plain,
    /// The password.
    pub password: Plain,
}
