//! The server's own certificate authority: it says which machine is which container instance.
//!
//! Agents get short-lived certificates whose only name is their [`Identity`]; only the public key of a request is used, so
//! a machine cannot ask for a name. The CA's key never leaves the data directory. What is deliberately absent: revocation
//! lists. A deregistered instance's certificate still opens the door, but `Hello` is answered with `Goodbye`; so does one that
//! ran out, and the session's door decides whether its machine may come back.

use crate::credentials::write_private;
use link::Identity;
use model::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime, pem::PemObject};
use sha2::{Digest, Sha256};
use std::{fs, io, path::Path, sync::Arc};
use time::{Duration, OffsetDateTime};

/// How long an agent's certificate holds. Agents renew at half of it, so a stolen one is of use for a day at most, unless its
/// machine stays away for longer.
pub(crate) const AGENT_LIFE: Duration = Duration::hours(24);
/// How long the CA and the link's own certificate hold; the latter is made anew at each start.
const CA_LIFE: Duration = Duration::days(3650);
/// How far an agent's clock may lag without finding its new certificate "not yet valid".
const BACKDATE: Duration = Duration::hours(1);

/// Why the CA cannot work.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// Its files cannot be read or written.
    #[error("cannot use the certificate authority's files in {dir}")]
    Files {
        /// Where they are.
        dir: String,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// Its files, or a request, do not hold what they should.
    #[error("a certificate or key could not be read or made")]
    Certificate(#[from] rcgen::Error),
    /// TLS cannot be set up with them.
    #[error("the link's TLS could not be set up")]
    Tls(#[from] rustls::Error),
    /// The client verifier cannot be built.
    #[error("the link's client verification could not be set up")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// A PEM file holds no certificate.
    #[error("{0} does not hold a certificate in PEM form")]
    Pem(String),
}

/// The authority.
pub(crate) struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

/// Turns the house's time into the certificate library's.
fn moment(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.0 / 1000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

impl CertificateAuthority {
    /// Opens the authority in `dir`, making it at first start.
    pub(crate) fn open(dir: &Path, now: Timestamp) -> Result<Self, CaError> {
        let files = |source| CaError::Files { dir: dir.display().to_string(), source };
        fs::create_dir_all(dir).map_err(files)?;
        let (key_path, pem_path) = (dir.join("ca.key"), dir.join("ca.pem"));
        // The key is written first: a certificate without its key would be of no use, a key without certificate is made one.
        let key = match fs::read_to_string(&key_path) {
            Ok(text) => KeyPair::from_pem(&text)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let key = KeyPair::generate()?;
                write_private(&key_path, key.serialize_pem().as_bytes()).map_err(files)?;
                key
            }
            Err(e) => return Err(files(e)),
        };
        let pem = match fs::read_to_string(&pem_path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let pem = Self::params(now).self_signed(&key)?.pem();
                write_private(&pem_path, pem.as_bytes()).map_err(files)?;
                pem
            }
            Err(e) => return Err(files(e)),
        };
        let der =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| CaError::Pem(pem_path.display().to_string()))?;
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        Ok(Self { issuer, pem, der })
    }

    fn params(now: Timestamp) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = name("Longshore CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = moment(now) - BACKDATE;
        params.not_after = moment(now) + CA_LIFE;
        params
    }

    /// The CA's certificate in PEM; no secret.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for the public key in `csr_pem`, naming `identity` and nothing that the request asks for.
    pub(crate) fn issue_agent(&self, csr_pem: &str, identity: &Identity, now: Timestamp) -> Result<String, CaError> {
        let mut request = CertificateSigningRequestParams::from_pem(csr_pem)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name("Longshore agent");
        params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = moment(now) - BACKDATE;
        params.not_after = moment(now) + AGENT_LIFE;
        request.params = params;
        Ok(request.signed_by(&self.issuer)?.pem())
    }

    /// SHA-256 of the public key in `csr_pem`, in hexadecimal: what an activation remembers of a machine.
    pub(crate) fn key_fingerprint(csr_pem: &str) -> Result<String, CaError> {
        use rcgen::PublicKeyData;
        let request = CertificateSigningRequestParams::from_pem(csr_pem)?;
        Ok(hex::encode(Sha256::digest(request.public_key.subject_public_key_info())))
    }

    /// TLS for the link's port: our leaf with the CA behind it, client certificates of our CA welcome but not demanded,
    /// since a machine that joins has none yet. The session's door checks that there is one.
    pub(crate) fn link_tls(&self, now: Timestamp) -> Result<rustls::ServerConfig, CaError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["longshore".to_owned()])?;
        params.distinguished_name = name("Longshore server");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = moment(now) - BACKDATE;
        params.not_after = moment(now) + CA_LIFE;
        let leaf = params.signed_by(&key, &self.issuer)?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der.clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()?;
        let verifier = Arc::new(AtAnyTime(verifier));
        let chain = vec![leaf.der().clone(), self.der.clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        config.alpn_protocols =
            [link::ALPN_SESSION, link::ALPN_JOIN, link::ALPN_TERMINAL, link::ALPN_API].map(<[u8]>::to_vec).to_vec();
        Ok(config)
    }
}

/// Takes certificates of our CA outside their time as well: a server that was away for a day finds only ones that have run out,
/// and one whose clock was set back finds ones that are of tomorrow. Everything else is checked as of the nearest moment at
/// which such a certificate is good.
#[derive(Debug)]
struct AtAnyTime(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for AtAnyTime {
    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        use rustls::{
            CertificateError::{ExpiredContext, NotValidYetContext},
            Error::InvalidCertificate,
        };
        let verified = self.0.verify_client_cert(end_entity, intermediates, now);
        if let Err(InvalidCertificate(
            ExpiredContext { not_after: good, .. } | NotValidYetContext { not_before: good, .. },
        )) = verified
        {
            return self.0.verify_client_cert(end_entity, intermediates, good);
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        "longshore://123456789012/us-east-1/default/0123456789abcdef0123456789abcdef/i-0123456789abcdef0"
            .parse()
            .unwrap()
    }

    #[test]
    fn the_authority_outlives_a_restart_and_names_only_what_it_decides() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp(1_790_000_000_000);
        let first = CertificateAuthority::open(dir.path(), now).unwrap();
        let again = CertificateAuthority::open(dir.path(), now.plus_millis(1)).unwrap();
        assert_eq!(first.pem(), again.pem());
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(dir.path().join("ca.key")).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);

        let key = KeyPair::generate().unwrap();
        let greedy = CertificateParams::new(vec!["longshore".to_owned()]).unwrap();
        let csr = greedy.serialize_request(&key).unwrap().pem().unwrap();
        let pem = again.issue_agent(&csr, &identity(), now).unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        let uri = identity().to_string();
        assert_eq!(names.value.general_names, [x509_parser::extensions::GeneralName::URI(&uri)]);
        assert!(first.link_tls(now).is_ok());
    }
}
