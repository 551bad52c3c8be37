//! What every request handler and every loop has in its hand.

use crate::{
    config::Config,
    credentials::Credentials,
    identity::Identity,
    terminals::Terminals,
    tokens::Tokens,
    usage::{Measures, Metered},
    vault::Vault,
};
use effects::Effects;
use model::{AccountId, Scope, Timestamp};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

/// The server's parts, cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Everything that was decided.
    pub store: state::Store,
    /// Container logs.
    pub logs: telemetry::logs::Store,
    /// Clock, ids, chance, spawn and shutdown.
    pub effects: Effects,
    /// What the operator chose.
    pub config: Arc<Config>,
    /// Who may call.
    pub credentials: Arc<Credentials>,
    /// The certificate of the CA that agents' links trust, PEM; set when the link's listener starts.
    pub ca_pem: Arc<OnceLock<String>>,
    /// Where the AWS endpoint is reached; set when it is.
    pub addresses: Arc<OnceLock<Vec<SocketAddr>>>,
    /// Up to where usage is in the ledger.
    pub metered: Arc<Metered>,
    /// What agents say that tasks use, until that is in the ledger.
    pub measures: Arc<Measures>,
    /// What seals and opens secrets.
    pub vault: Arc<Vault>,
    /// What makes temporary credentials and knows them again.
    pub tokens: Arc<Tokens>,
    /// Commands that are run in containers.
    pub terminals: Arc<Terminals>,
}

/// Who calls, proved by the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account of the credentials and the region of the signature: where names are looked up.
    pub scope: Scope,
    /// Who it is.
    pub identity: Identity,
    /// His ARN, such as `arn:aws:iam::000000000000:root`.
    pub principal: String,
    /// The access key that signed.
    pub access_key: String,
    /// By which name and port it reached us, as its signed `Host` header says.
    pub host: String,
    /// When its session began; `None` for keys that hold for good.
    pub session_since: Option<Timestamp>,
    /// From where it came; `None` for calls that came over no connection.
    pub peer: Option<Peer>,
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Whether nobody between can read what it says.
    pub secure: bool,
}

impl Context {
    /// Which leadership of the store this server's words belong to: with the revision, the order of what agents are told.
    pub fn epoch(&self) -> u64 {
        self.store.epoch()
    }

    /// SHA-256 of the CA's certificate in hexadecimal, by which a joining machine recognises the server. Empty until the
    /// link is up.
    pub fn ca_fingerprint(&self) -> String {
        let der = self.ca_pem.get().and_then(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).ok());
        der.map(|der| hex::encode(Sha256::digest(der))).unwrap_or_default()
    }
}

impl Caller {
    /// The root of an account, with that key.
    pub fn root(scope: Scope, access_key: &str) -> Self {
        let principal = Identity::Root.arn(&scope.account);
        let (access_key, host) = (access_key.to_owned(), String::new());
        Self { scope, identity: Identity::Root, principal, access_key, host, session_since: None, peer: None }
    }

    /// The caller's account.
    pub fn account(&self) -> &AccountId {
        &self.scope.account
    }
}
