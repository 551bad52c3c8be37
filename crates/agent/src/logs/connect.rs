//! Connections to receivers of output: UDP, TCP, TLS, sockets of the instance.

use super::sink::Trouble;
use effects::Effects;
use futures::FutureExt;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use std::{
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use telemetry::driver::{Address, Tls};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UdpSocket, UnixDatagram, UnixStream},
};
use tokio_rustls::TlsConnector;

/// How long a connection may take to be made, names and TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// Where Debian and its like keep the authorities they trust.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Bytes both ways.
pub(super) trait Both: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

/// A way to a receiver.
pub(super) enum Connection {
    Udp(UdpSocket),
    Datagrams(UnixDatagram),
    Stream(Box<dyn Both>),
}

impl Connection {
    /// Makes one.
    pub(super) async fn open(address: &Address, tls: &Tls, effects: &Effects) -> Result<Self, Trouble> {
        within(effects, CONNECT, "connecting", Self::dial(address, tls)).await
    }

    async fn dial(address: &Address, tls: &Tls) -> Result<Self, Trouble> {
        let failed = |error: io::Error| Trouble(format!("dial {address}: {error}"));
        match address {
            Address::Udp { host, port } => {
                let to = tokio::net::lookup_host((host.as_str(), *port)).await.map_err(failed)?.next();
                let to = to.ok_or_else(|| Trouble(format!("dial {address}: the name has no address")))?;
                let own = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(own).await.map_err(failed)?;
                socket.connect(to).await.map_err(failed)?;
                Ok(Self::Udp(socket))
            }
            Address::Tcp { host, port, tls: encrypted } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
                if !encrypted {
                    return Ok(Self::Stream(Box::new(stream)));
                }
                Ok(Self::Stream(
                    encrypt(stream, host, tls).await.map_err(|why| Trouble(format!("dial {address}: {why}")))?,
                ))
            }
            Address::Unix { path, datagrams } => {
                let place = Place::of(Path::new(path)).map_err(failed)?;
                if !datagrams {
                    return Ok(Self::Stream(Box::new(UnixStream::connect(&place.path).await.map_err(failed)?)));
                }
                let socket = UnixDatagram::unbound().map_err(failed)?;
                socket.connect(&place.path).map_err(failed)?;
                Ok(Self::Datagrams(socket))
            }
        }
    }

    /// Whether the other side has closed it. What it says otherwise nobody wants to know.
    pub(super) fn is_closed(&mut self) -> bool {
        let Self::Stream(stream) = self else { return false };
        let mut bytes = [0; 256];
        match stream.read(&mut bytes).now_or_never() {
            Some(Ok(0) | Err(_)) => true,
            Some(Ok(_)) | None => false,
        }
    }

    /// Sends the whole; on a stream no part of it may take longer than that to be taken.
    pub(super) async fn send(&mut self, bytes: &[u8], patience: Duration, effects: &Effects) -> Result<(), Trouble> {
        let failed = |error: io::Error| Trouble(format!("write: {error}"));
        match self {
            Self::Udp(socket) => match socket.send(bytes).await {
                // What was said of an earlier datagram: nobody listens there. There is no way to know which arrived.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(failed(error)),
                outcome => outcome.map(drop).map_err(failed),
            },
            Self::Datagrams(socket) => {
                let sent = async { socket.send(bytes).await.map(drop).map_err(failed) };
                within(effects, patience, "write", sent).await
            }
            Self::Stream(stream) => {
                let mut rest = bytes;
                while !rest.is_empty() {
                    let wrote = async { stream.write(rest).await.map_err(failed) };
                    match within(effects, patience, "write", wrote).await? {
                        0 => return Err(Trouble("write: the connection was closed".to_owned())),
                        wrote => rest = &rest[wrote..],
                    }
                }
                let flushed = async { stream.flush().await.map_err(failed) };
                within(effects, patience, "write", flushed).await
            }
        }
    }
}

/// Bounds a wait.
pub(super) async fn within<T>(
    effects: &Effects,
    patience: Duration,
    what: &str,
    work: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    tokio::select! {
        outcome = work => outcome,
        () = effects.sleep(patience) => Err(Trouble(format!("{what}: i/o timeout after {} ms", patience.as_millis()))),
    }
}

/// Where a socket is. Its path may be longer than addresses of sockets are, so it is named through its opened folder.
struct Place {
    path: PathBuf,
    _folder: Option<rustix::fd::OwnedFd>,
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(Self { path: path.to_owned(), _folder: None });
        };
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let folder = rustix::fs::open(folder, flags, rustix::fs::Mode::empty())?;
        let path = Path::new(&format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
        Ok(Self { path, _folder: Some(folder) })
    }
}

/// TLS over a connection.
async fn encrypt(stream: TcpStream, host: &str, tls: &Tls) -> Result<Box<dyn Both>, String> {
    let config = client_config(tls)?;
    let name = tls.name.as_deref().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(|_| "the server's name is none that a certificate has".to_owned())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| error.to_string())?;
    Ok(Box::new(stream))
}

/// Whom a client trusts and who it is.
///
/// # Errors
/// A file that cannot be used.
pub(super) fn client_config(tls: &Tls) -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let unusable = |path: &str, why: &dyn std::fmt::Display| format!("{path} cannot be used: {why}");
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let builder = if tls.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        let mut roots = RootCertStore::empty();
        // Docker: an authority of one's own is trusted beside the system's.
        let system = Path::new(SYSTEM_AUTHORITIES).exists().then_some(SYSTEM_AUTHORITIES);
        for path in system.into_iter().chain(tls.ca.as_deref()) {
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(path, &error))? {
                let (_, _) = roots.add_parsable_certificates([certificate.map_err(|error| unusable(path, &error))?]);
            }
        }
        builder.with_root_certificates(roots)
    };
    let (Some(cert), Some(key)) = (&tls.cert, &tls.key) else { return Ok(builder.with_no_client_auth()) };
    let certs: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(cert).map_err(|error| unusable(cert, &error))?.collect();
    let certs = certs.map_err(|error| unusable(cert, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    builder.with_client_auth_cert(certs, private).map_err(|error| unusable(key, &error))
}

/// Believes every certificate, as somebody asked for it by an option.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
