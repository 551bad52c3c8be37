//! Connections to receivers of output: UDP, TCP, TLS, sockets of the instance.

use super::sink::Trouble;
use crate::real::chain;
use ::network::NetContext;
use effects::Effects;
use futures::FutureExt;
use rustix::fs::{FileType, Mode, OFlags};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use std::{
    error::Error,
    fs::File,
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use telemetry::driver::{Address, Router, Tls};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream, UdpSocket, UnixDatagram, UnixStream},
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;

/// How long a connection may take to be made, names and TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// Where Debian and its like keep the authorities they trust.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Longest file of certificates or a key: four times what all authorities of a system take.
const MAX_PEM: u64 = 1 << 20;

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
    pub(super) async fn open(address: &Address, trust: &mut Trust, effects: &Effects) -> Result<Self, Trouble> {
        within(effects, CONNECT, "connecting", Self::dial(address, trust)).await
    }

    /// Makes one to a task's log router.
    pub(super) async fn to_router(router: &Router, effects: &Effects) -> Result<Self, Trouble> {
        let dialled = async {
            match router {
                Router::Socket(path) => Self::to_socket(path).await,
                Router::Network(netns) => Self::into_network(netns).await,
            }
        };
        within(effects, CONNECT, "connecting", dialled).await
    }

    /// To a socket that a container has made. It may as well have put a link there that leads to a socket of the instance: that is
    /// not followed.
    async fn to_socket(path: &str) -> Result<Self, Trouble> {
        let failed = |error: io::Error| Trouble(format!("dial unix://{path}: {error}"));
        let place = Place::itself(Path::new(path)).map_err(failed)?;
        Ok(Self::Stream(Box::new(UnixStream::connect(&place.path).await.map_err(failed)?)))
    }

    /// To the loopback of a network that is not the agent's. Where a socket was made, there it stays: no thread has to be inside while
    /// it is waited for.
    async fn into_network(netns: &Path) -> Result<Self, Trouble> {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, Router::PORT));
        let failed = |error: &dyn Error| Trouble(format!("dial tcp://{to} in {}: {}", netns.display(), chain(error)));
        let made = NetContext::at(netns).enter(|| Ok(TcpSocket::new_v4())).await.map_err(|e| failed(&e))?;
        let stream = made.map_err(|e| failed(&e))?.connect(to).await.map_err(|e| failed(&e))?;
        Ok(Self::Stream(Box::new(stream)))
    }

    async fn dial(address: &Address, trust: &mut Trust) -> Result<Self, Trouble> {
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
                    encrypt(stream, host, trust).await.map_err(|why| Trouble(format!("dial {address}: {why}")))?,
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

    /// Sends the whole, which may take so long.
    pub(super) async fn send(&mut self, bytes: &[u8], patience: Duration, effects: &Effects) -> Result<(), Trouble> {
        let sent = async {
            match self {
                // An error may be what was said of an earlier datagram: nobody listens there. There is no way to know which
                // arrived.
                Self::Udp(socket) => socket.send(bytes).await.map(drop),
                Self::Datagrams(socket) => socket.send(bytes).await.map(drop),
                Self::Stream(stream) => {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                }
            }
        };
        let sent = async { sent.await.map_err(|error| Trouble(format!("write: {error}"))) };
        within(effects, patience, "write", sent).await
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

/// Where a socket is. Its path may be longer than addresses of sockets are, so it is named through what is opened of it.
struct Place {
    path: PathBuf,
    _opened: Option<rustix::fd::OwnedFd>,
}

const PLACE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(Self { path: path.to_owned(), _opened: None });
        };
        let folder = rustix::fs::open(folder, PLACE | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Self { path: opened(&folder).join(name), _opened: Some(folder) })
    }

    /// Of what has that very name in its folder, which has to be a socket.
    fn itself(path: &Path) -> io::Result<Self> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let folder = rustix::fs::open(folder, PLACE | OFlags::DIRECTORY, Mode::empty())?;
        let socket = rustix::fs::openat(&folder, name, PLACE | OFlags::NOFOLLOW, Mode::empty())?;
        if FileType::from_raw_mode(rustix::fs::fstat(&socket)?.st_mode) != FileType::Socket {
            return Err(io::Error::other("it is not a socket"));
        }
        Ok(Self { path: opened(&socket), _opened: Some(socket) })
    }
}

/// The name of what is open.
fn opened(file: &rustix::fd::OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Whom a client trusts and who it is. The files that say so are the instance's, named by whoever wrote the task definition:
/// they are read once, and not on the thread that all tasks share.
pub(super) struct Trust {
    tls: Tls,
    config: Option<Arc<ClientConfig>>,
    /// Kept while it lasts: a path that hangs costs one thread, however often a connection is tried.
    reading: Option<JoinHandle<Result<ClientConfig, String>>>,
}

impl Trust {
    pub(super) fn new(tls: Tls) -> Self {
        Self { tls, config: None, reading: None }
    }

    async fn config(&mut self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = &self.config {
            return Ok(config.clone());
        }
        let reading = self.reading.get_or_insert_with(|| {
            let tls = self.tls.clone();
            tokio::task::spawn_blocking(move || client_config(&tls))
        });
        let read = reading.await;
        self.reading = None;
        let config = Arc::new(read.map_err(|_| "reading was given up".to_owned())??);
        self.config = Some(config.clone());
        Ok(config)
    }
}

/// TLS over a connection.
async fn encrypt(stream: TcpStream, host: &str, trust: &mut Trust) -> Result<Box<dyn Both>, String> {
    let config = trust.config().await?;
    let name = trust.tls.name.as_deref().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(|_| "the server's name is none that a certificate has".to_owned())?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|error| error.to_string())?;
    Ok(Box::new(stream))
}

/// A file of the instance, if it is one and not too long. Nothing else is even opened: a pipe would be waited for, and a device
/// might do something.
fn pem(path: &str) -> io::Result<Vec<u8>> {
    let place = rustix::fs::open(path, PLACE, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is not a file"));
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(opened(&place), flags, Mode::empty())?);
    let mut bytes = Vec::new();
    file.take(MAX_PEM + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_PEM { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// Reads what options name. It takes as long as the file system does.
///
/// # Errors
/// A file that cannot be used.
fn client_config(tls: &Tls) -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let unusable = |path: &str, why: &dyn std::fmt::Display| format!("{path} cannot be used: {why}");
    let read = |path: &str| pem(path).map_err(|error| unusable(path, &error));
    let certificates = |path: &str| -> Result<Vec<CertificateDer<'static>>, String> {
        let found: Result<_, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
        found.map_err(|error| unusable(path, &error))
    };
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let builder = if tls.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        let mut roots = RootCertStore::empty();
        // Docker: an authority of one's own is trusted beside the system's.
        let system = Path::new(SYSTEM_AUTHORITIES).exists().then_some(SYSTEM_AUTHORITIES);
        for path in system.into_iter().chain(tls.ca.as_deref()) {
            let (_, _) = roots.add_parsable_certificates(certificates(path)?);
        }
        builder.with_root_certificates(roots)
    };
    let (Some(cert), Some(key)) = (&tls.cert, &tls.key) else { return Ok(builder.with_no_client_auth()) };
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| unusable(key, &error))?;
    builder.with_client_auth_cert(certificates(cert)?, private).map_err(|error| unusable(key, &error))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::{fs::symlink, net::UnixListener};

    #[test]
    fn only_short_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(path("file"), "text").unwrap();
        std::fs::write(path("long"), vec![b'x'; (1 << 20) + 1]).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe"), Mode::RWXU).unwrap();
        assert_eq!(pem(&path("file")).unwrap(), b"text");
        for (name, words) in
            [(path("long"), "too large"), (path("pipe"), "not a file"), ("/dev/zero".to_owned(), "not a file")]
        {
            let error = pem(&name).unwrap_err().to_string();
            assert!(error.contains(words), "{name}: {error}");
        }
    }

    #[tokio::test]
    async fn a_routers_socket_is_not_a_link() {
        let (dir, effects) = (tempfile::tempdir().unwrap(), Effects::real());
        let path = |name: &str| dir.path().join(name).display().to_string();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        symlink("socket", path("link")).unwrap();
        std::fs::write(path("file"), "").unwrap();
        let socket = |name: &str| Router::Socket(path(name));
        assert!(Connection::to_router(&socket("socket"), &effects).await.is_ok());
        for name in ["link", "file"] {
            let trouble = Connection::to_router(&socket(name), &effects).await.err().unwrap();
            assert!(trouble.0.ends_with("it is not a socket"), "{trouble}");
        }
        let nowhere = Router::Network(path("file").into());
        let trouble = Connection::to_router(&nowhere, &effects).await.err().unwrap();
        assert!(trouble.0.starts_with("dial tcp://127.0.0.1:24224 in "), "{trouble}");
        // Others may be: `/dev/log` is one where there is systemd.
        let address = Address::Unix { path: path("link"), datagrams: false };
        assert!(Connection::open(&address, &mut Trust::new(Tls::default()), &effects).await.is_ok());
    }
}
