//! What an operator may choose. The binary fills this from flags and environment; nothing here reads either.

use crate::provision::Bucket;
use model::{AccountId, Region};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The account everything belongs to unless told otherwise: the number local AWS stand-ins use, which no real account has,
/// so that an ARN of a Longshore server is never mistaken for one of AWS's.
pub const DEFAULT_ACCOUNT: &str = "000000000000";
/// The region of a request that names none, and of `longshore env`.
pub const DEFAULT_REGION: &str = "us-east-1";
/// The AWS endpoint: the port where `awslocal` and `tflocal` look.
pub const DEFAULT_PORT: u16 = 4566;
/// The port agents dial.
pub const DEFAULT_LINK_PORT: u16 = 4567;

/// A server's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the AWS endpoint listens. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Certificate and key of the AWS endpoint; plain HTTP without.
    pub tls: Option<TlsFiles>,
    /// Where agents' links are accepted. Port 0 takes a free one.
    pub link_listen: Vec<SocketAddr>,
    /// Where state, logs, credentials and the CA are kept; made if missing, mode 0700.
    pub data_dir: PathBuf,
    /// The account of the root credentials.
    pub account: AccountId,
    /// The region of callers that name none.
    pub region: Region,
    /// Root access key and secret instead of those in the data directory; for test harnesses.
    pub root_credentials: Option<KeyPair>,
    /// Whether RunInstances may make local instances on this host.
    pub local_instances: bool,
    /// The default VPC's network, a /20 or larger one.
    pub vpc_cidr: ipnet::Ipv4Net,
    /// Which public addresses may be allocated. They lead nowhere unless the operator has them lead to this host.
    pub public_pool: ipnet::Ipv4Net,
    /// Whether what instances send each other of VPCs is encrypted; those that cannot are refused.
    pub vpc_encryption: bool,
    /// How long a stopped task is described. AWS forgets after an hour, which users ask to be changed.
    pub stopped_task_retention: Duration,
    /// Where state changes are sent besides the event log.
    pub events_webhook: Option<WebhookConfig>,
    /// What stands for the buckets of S3 in which environment files are.
    pub buckets: BTreeMap<String, Bucket>,
    /// Where the file systems of EFS are, by id.
    pub file_systems: BTreeMap<String, model::FileSystem>,
    /// What their access points show, by id.
    pub access_points: BTreeMap<String, model::AccessPoint>,
    /// Authorities (PEM) that their servers' certificates are checked against instead of those of the machine that mounts them.
    pub efs_authorities: Option<String>,
    /// A file with the passphrase that seals the keys of secrets; without it they are only nobody else's to read.
    pub secrets_passphrase: Option<PathBuf>,
    /// How long the credentials hold that tasks and instances have of their roles.
    pub role_credentials: Duration,
    /// The price list; in the data directory unless said otherwise.
    pub prices: Option<PathBuf>,
    /// Bounds of the HTTP side.
    pub limits: Limits,
}

/// A receiver of state changes.
#[derive(Clone)]
pub struct WebhookConfig {
    /// Where batches are posted: `http://` or `https://`. It may hold a secret, so it is not for logs.
    pub url: String,
    /// A file with the secret that requests are signed with; not signed without.
    pub secret_file: Option<PathBuf>,
    /// Authorities (PEM) that an `https://` receiver is checked against instead of the system's.
    pub ca_bundle: Option<PathBuf>,
}

impl std::fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookConfig").field("secret_file", &self.secret_file).finish_non_exhaustive()
    }
}

/// Files of a TLS endpoint, PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PKCS #8, PKCS #1 or SEC 1 key.
    pub key: PathBuf,
}

/// An access key and its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// `AKIA…`
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: String,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Bounds of the HTTP side; the defaults say why.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest request body. A task definition is at most 64 KiB and a PutLogEvents at most 1 MiB of text, which JSON's
    /// escapes can multiply: 4 MiB takes both with room.
    pub body_bytes: usize,
    /// Longest wait for a request's head, or between requests on a kept connection's first byte and its head.
    pub header_timeout: Duration,
    /// Longest time from a request's head to its answer, reading its body included. The longest call is a FilterLogEvents
    /// over 64 MiB of text, well under a second; clients give up after 60.
    pub request_timeout: Duration,
    /// Longest a client may keep its connection without the next move being ours: a body that does not come, an answer that is
    /// not read. A little more than clients themselves wait.
    pub client_timeout: Duration,
    /// Connections at once. For one more, the one that has kept us waiting longest has to go. 1,024 callers at the same
    /// moment are more than the state's queue takes without a wait; more idle ones need not be kept.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 4 << 20,
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(50),
            client_timeout: Duration::from_secs(60),
            connections: 1_024,
        }
    }
}

impl Config {
    /// The defaults, with everything kept under `data_dir`.
    pub fn new(data_dir: PathBuf) -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            listen: vec![local(DEFAULT_PORT)],
            tls: None,
            link_listen: vec![local(DEFAULT_LINK_PORT)],
            data_dir,
            account: AccountId::parse(DEFAULT_ACCOUNT).expect("the constant is an account id"),
            region: Region::parse(DEFAULT_REGION).expect("the constant is a region"),
            root_credentials: None,
            local_instances: false,
            vpc_cidr: ipnet::Ipv4Net::new_assert(Ipv4Addr::new(172, 31, 0, 0), 16),
            // A range that is for documentation (RFC 5737), so that no address of it is anybody's.
            public_pool: ipnet::Ipv4Net::new_assert(Ipv4Addr::new(198, 51, 100, 0), 24),
            vpc_encryption: false,
            stopped_task_retention: Duration::from_secs(30 * 24 * 3600),
            events_webhook: None,
            buckets: BTreeMap::new(),
            file_systems: BTreeMap::new(),
            access_points: BTreeMap::new(),
            efs_authorities: None,
            secrets_passphrase: None,
            // AWS's. Agents ask for others after half of it.
            role_credentials: Duration::from_secs(6 * 3600),
            prices: None,
            limits: Limits::default(),
        }
    }
}
