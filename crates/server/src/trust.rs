//! Whom the other end of an `https://` connection must be certified by.

use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where Debian and its like keep the authorities they trust; used when no other bundle is named.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Why nobody could be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The bundle cannot be read, or is something else.
    #[error("{} is not a bundle of certificates in PEM form", .0.display())]
    Bundle(PathBuf, #[source] rustls_pki_types::pem::Error),
    /// The TLS library refuses its own defaults.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// A client's TLS that trusts the authorities in `bundle` (PEM), or the system's. Nobody, where there is no bundle: then none
/// is reached.
///
/// # Errors
/// The bundle cannot be read.
pub fn client_tls(bundle: Option<&Path>) -> Result<rustls::ClientConfig, TrustError> {
    let mut roots = rustls::RootCertStore::empty();
    let path = bundle.unwrap_or(Path::new(SYSTEM_AUTHORITIES));
    if bundle.is_some() || path.exists() {
        let broken = |error| TrustError::Bundle(path.to_owned(), error);
        for certificate in CertificateDer::pem_file_iter(path).map_err(broken)? {
            let (_, _) = roots.add_parsable_certificates([certificate.map_err(broken)?]);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
