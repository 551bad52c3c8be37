//! Who this machine is: its key, made once and kept before it is first used, and the certificate the server gave for it.
//!
//! `identity/key.pem` is written before the join request is sent, so that a join whose answer was lost is repeated with the
//! same key and becomes the same container instance. `identity/joined.json` holds certificate and CA together, so that they
//! always belong together. `identity/wireguard.key` is for what other machines send this one of VPCs.

use crate::files::{self, Durable, Mode};
use link::Identity;
use model::{Timestamp, WireguardKey};
use network::vpc::tunnel;
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Why the identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("the identity file {path} cannot be used")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key cannot be made or read.
    #[error("the machine's key cannot be used")]
    Key(#[from] rcgen::Error),
    /// The key for traffic between machines cannot be made or read.
    #[error("the machine's WireGuard key cannot be used")]
    Wireguard(#[from] network::Error),
    /// The certificate is not one of a server of ours.
    #[error("the machine's certificate cannot be used: {0}")]
    Certificate(String),
}

/// What a server gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Joined {
    pub(crate) certificate_pem: String,
    pub(crate) ca_pem: String,
}

/// The folder with both.
#[derive(Debug, Clone)]
pub(crate) struct IdentityStore {
    dir: PathBuf,
}

/// A certificate that can be used.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) identity: Identity,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) ca: CertificateDer<'static>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl IdentityStore {
    pub(crate) fn open(data: &Path) -> Result<Self, IdentityError> {
        let dir = data.join("identity");
        files::folder(&dir).map_err(|source| IdentityError::File { path: dir.clone(), source })?;
        Ok(Self { dir })
    }

    /// The machine's key, made at its first use.
    pub(crate) fn key(&self) -> Result<KeyPair, IdentityError> {
        let path = self.dir.join("key.pem");
        let file = |source| IdentityError::File { path: path.clone(), source };
        match fs::read_to_string(&path) {
            Ok(text) => Ok(KeyPair::from_pem(&text)?),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let key = KeyPair::generate()?;
                files::write(&path, key.serialize_pem().as_bytes(), Mode::Private, Durable::PowerFailure)
                    .map_err(file)?;
                Ok(key)
            }
            Err(e) => Err(file(e)),
        }
    }

    /// A signing request for the key; the server uses nothing else of it.
    pub(crate) fn request(&self) -> Result<String, IdentityError> {
        Ok(CertificateParams::default().serialize_request(&self.key()?)?.pem()?)
    }

    pub(crate) fn keep(&self, joined: &Joined) -> Result<(), IdentityError> {
        Credentials::read(joined)?;
        let path = self.dir.join("joined.json");
        files::write_json(&path, joined, Mode::Private, Durable::PowerFailure)
            .map_err(|source| IdentityError::File { path, source })
    }

    pub(crate) fn credentials(&self) -> Result<Option<Credentials>, IdentityError> {
        let path = self.dir.join("joined.json");
        let joined = files::read_json::<Joined>(&path).map_err(|source| IdentityError::File { path, source })?;
        joined.as_ref().map(Credentials::read).transpose()
    }

    /// The key pair for what others send this machine of VPCs, made when it is first asked for.
    pub(crate) async fn wireguard(&self) -> Result<(tunnel::PrivateKey, WireguardKey), IdentityError> {
        let path = self.wireguard_path();
        let file = |source| IdentityError::File { path: path.clone(), source };
        let key = match fs::read_to_string(&path) {
            Ok(text) => tunnel::PrivateKey::new(&text)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let key = tunnel::PrivateKey::generate().await?;
                files::write(&path, key.secret().as_bytes(), Mode::Private, Durable::PowerFailure).map_err(file)?;
                key
            }
            Err(e) => return Err(file(e)),
        };
        let public = key.public().await?;
        let public = WireguardKey::parse(public.as_str()).expect("the same rule has let it through");
        Ok((key, public))
    }

    /// A machine that joins anew is another container instance, and has another key.
    pub(crate) fn forget_wireguard(&self) -> Result<(), IdentityError> {
        let path = self.wireguard_path();
        files::remove(&path).map_err(|source| IdentityError::File { path, source })
    }

    fn wireguard_path(&self) -> PathBuf {
        self.dir.join("wireguard.key")
    }

    pub(crate) fn private_key(&self) -> Result<PrivateKeyDer<'static>, IdentityError> {
        Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key()?.serialize_der())))
    }
}

/// Whether this data directory's machine has joined a server.
pub fn has_identity(data: &Path) -> bool {
    data.join("identity/joined.json").exists()
}

impl Credentials {
    fn read(joined: &Joined) -> Result<Self, IdentityError> {
        let bad = |what: &str| IdentityError::Certificate(what.to_owned());
        let pem = |text: &str| CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| bad("it is not PEM"));
        let (certificate, ca) = (pem(&joined.certificate_pem)?, pem(&joined.ca_pem)?);
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| bad("it is not X.509"))?;
        let names = parsed.subject_alternative_name().ok().flatten().ok_or_else(|| bad("it has no names"))?;
        let uri = names.value.general_names.iter().find_map(|name| {
            let GeneralName::URI(uri) = name else { return None };
            Some(*uri)
        });
        let identity = uri.ok_or_else(|| bad("it has no URI name"))?.parse::<Identity>();
        let millis = |seconds: i64| Timestamp(seconds.saturating_mul(1000));
        let validity = parsed.validity();
        Ok(Self {
            identity: identity.map_err(|e| IdentityError::Certificate(e.to_string()))?,
            not_before: millis(validity.not_before.timestamp()),
            not_after: millis(validity.not_after.timestamp()),
            certificate,
            ca,
        })
    }

    /// From when on a fresh one is asked for.
    pub(crate) fn half_life(&self) -> Timestamp {
        self.not_before.plus_millis(self.not_after.millis_since(self.not_before) / 2)
    }
}
