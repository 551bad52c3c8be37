//! TLS to the server: its certificate must be signed by the CA that the join token, and later the stored identity, pins.
//! Names are not looked at: the CA is the server's own and signs nothing for anybody else. Nor are dates: the server makes its
//! certificate anew at each start, and a machine whose clock is wrong must find its server all the same.

use super::{LinkTrouble, PATIENCE};
use crate::identity::{Credentials, IdentityStore};
use effects::Effects;
use rustix::net::sockopt;
use rustls::{
    CertificateError::{ExpiredContext, NotValidYetContext},
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How long a connection is silent before the kernel asks whether the other side is there, and between two askings. It asks nine
/// times.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Which CA is trusted.
#[derive(Debug, Clone)]
pub(super) enum Trust {
    /// The one of the presented chain whose SHA-256 this is.
    Fingerprint([u8; 32]),
    /// This one.
    Ca(CertificateDer<'static>),
}

#[derive(Debug)]
struct Pinned {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let ca = match &self.trust {
            Trust::Ca(ca) => ca.clone(),
            Trust::Fingerprint(wanted) => {
                let is_it = |c: &&CertificateDer<'_>| Sha256::digest(c.as_ref()).as_slice() == wanted;
                let found = intermediates.iter().find(is_it).ok_or(rustls::CertificateError::UnknownIssuer)?;
                found.clone().into_owned()
            }
        };
        let mut roots = RootCertStore::empty();
        roots.add(ca)?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let verify =
            |at| verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, at, self.algorithms.all);
        match verify(now) {
            Err(rustls::Error::InvalidCertificate(
                ExpiredContext { not_after: good, .. } | NotValidYetContext { not_before: good, .. },
            )) => verify(good)?,
            verified => verified?,
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A configuration for joining: no certificate of our own yet.
pub(super) fn join_config(fingerprint: [u8; 32]) -> Result<ClientConfig, LinkTrouble> {
    let (builder, provider) = start()?;
    let verifier =
        Pinned { trust: Trust::Fingerprint(fingerprint), algorithms: provider.signature_verification_algorithms };
    let mut config = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    config.alpn_protocols = vec![link::ALPN_JOIN.to_vec()];
    Ok(config)
}

/// A configuration for what only who has joined may do: sessions and terminals.
pub(super) fn joined_config(
    store: &IdentityStore,
    credentials: &Credentials,
    alpn: &[u8],
) -> Result<ClientConfig, LinkTrouble> {
    let (builder, provider) = start()?;
    let trust = Trust::Ca(credentials.ca.clone());
    let verifier = Pinned { trust, algorithms: provider.signature_verification_algorithms };
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(vec![credentials.certificate.clone(), credentials.ca.clone()], store.private_key()?)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(config)
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn start() -> Result<(Builder, Arc<CryptoProvider>), LinkTrouble> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    Ok((builder, provider))
}

/// Connects and shakes hands.
pub(super) async fn dial(
    server: &str,
    config: ClientConfig,
    effects: &Effects,
) -> Result<TlsStream<TcpStream>, LinkTrouble> {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host).trim_matches(['[', ']']);
    // Any name does, it is not looked at; but it is sent, and must have the form of one.
    let name = ServerName::try_from(host.to_owned())
        .unwrap_or_else(|_| ServerName::try_from("longshore").expect("the constant is a name"));
    let wanted = config.alpn_protocols.clone();
    let work = async {
        let tcp = TcpStream::connect(server).await?;
        // Reports are small and somebody waits for each.
        tcp.set_nodelay(true)?;
        // A terminal may be silent for as long as the server lets it; a server's machine that is gone says nothing either.
        sockopt::set_socket_keepalive(&tcp, true)?;
        sockopt::set_tcp_keepidle(&tcp, KEEPALIVE)?;
        sockopt::set_tcp_keepintvl(&tcp, KEEPALIVE)?;
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    };
    let stream = within(effects, PATIENCE, work).await??;
    if stream.get_ref().1.alpn_protocol().is_none_or(|agreed| !wanted.iter().any(|w| w == agreed)) {
        return Err(LinkTrouble::NotALink(server.to_owned()));
    }
    Ok(stream)
}

/// Bounds a wait.
pub(super) async fn within<T>(
    effects: &Effects,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, LinkTrouble> {
    tokio::select! {
        outcome = work => Ok(outcome),
        () = effects.sleep(limit) => Err(LinkTrouble::Silent),
    }
}
