//! Whatever our zones do not know is asked of the resolvers that the host itself uses, as its `resolv.conf` names them now.
//!
//! Each question goes out with a number and a port of its own, so that nobody who does not see it can answer it.

use super::wire::Query;
use effects::Effects;
use network::NetContext;
use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

/// How long one resolver may take. Source: resolv.conf(5) has five seconds; a client of ours waits no longer than that in all.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often each is asked. Source: resolv.conf(5).
const TURNS: usize = 2;
/// Resolvers that are asked. Source: resolv.conf(5), MAXNS.
const MOST: usize = 3;
/// The most a datagram of DNS may have with us: what we tell others to send, and room for those who do not listen.
const DATAGRAM: usize = 4096;

/// The resolvers of the host.
pub struct Upstreams {
    context: NetContext,
    file: PathBuf,
    port: u16,
    known: Mutex<(Option<Stamp>, Vec<SocketAddr>)>,
    effects: Effects,
}

/// By this a file is known to be another than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    seconds: i64,
    nanos: i64,
    size: u64,
}

impl Upstreams {
    /// Those that `file` names, asked from the network of `context`.
    pub fn new(context: NetContext, file: impl Into<PathBuf>, effects: Effects) -> Self {
        Self { context, file: file.into(), port: 53, known: Mutex::default(), effects }
    }

    /// The same at another port, for tests.
    #[cfg(test)]
    pub(super) fn at_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// As the file has them now. Looking whether it has changed is one system call.
    fn servers(&self) -> Vec<SocketAddr> {
        let stamp = fs::metadata(&self.file).ok().map(|meta| Stamp {
            inode: meta.ino(),
            seconds: meta.mtime(),
            nanos: meta.mtime_nsec(),
            size: meta.size(),
        });
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != stamp || stamp.is_none() {
            let text = fs::read_to_string(&self.file).unwrap_or_default();
            *known = (stamp, servers(&text, self.port));
        }
        known.1.clone()
    }

    /// The answer of the first who has one, which need not be one that the client likes.
    pub(super) async fn ask(&self, query: &Query) -> Option<Vec<u8>> {
        let servers = self.servers();
        for _ in 0..TURNS {
            for server in &servers {
                let id = u16::try_from(self.effects.random() & 0xffff).expect("sixteen bits");
                let asking = self.ask_one(*server, query, id);
                let answer = tokio::select! {
                    answer = asking => answer,
                    () = self.effects.sleep(PATIENCE) => Err(io::ErrorKind::TimedOut.into()),
                };
                match answer {
                    Ok(answer) => return Some(answer),
                    Err(error) => tracing::debug!(%server, %error, "a resolver of the host did not answer"),
                }
            }
        }
        None
    }

    async fn ask_one(&self, server: SocketAddr, query: &Query, id: u16) -> io::Result<Vec<u8>> {
        let asked = query.asked_as(id);
        let socket = self.socket(server).await?;
        socket.connect(server).await?;
        socket.send(&asked).await?;
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let length = socket.recv(&mut buffer).await?;
            // What is not an answer to it is somebody's who guesses: the real one may still come.
            match query.accepts(id, &buffer[..length]) {
                Some((answer, false)) => return Ok(answer),
                Some((_, true)) => return self.ask_whole(server, query, id).await,
                None => {}
            }
        }
    }

    /// Over TCP, where an answer has room.
    async fn ask_whole(&self, server: SocketAddr, query: &Query, id: u16) -> io::Result<Vec<u8>> {
        let mut stream = self.stream(server).await?;
        let asked = query.asked_as(id);
        let length = u16::try_from(asked.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &asked].concat()).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        let accepted = query.accepts(id, &answer).map(|(answer, _)| answer);
        accepted.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an answer to something else"))
    }

    async fn socket(&self, server: SocketAddr) -> io::Result<UdpSocket> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let made = self.context.enter(move || Ok(std::net::UdpSocket::bind((any, 0)))).await;
        let socket = made.map_err(io::Error::other)??;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    }

    async fn stream(&self, server: SocketAddr) -> io::Result<TcpStream> {
        let connect = move || Ok(std::net::TcpStream::connect_timeout(&server, PATIENCE));
        let stream = self.context.enter(connect).await.map_err(io::Error::other)??;
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream)
    }
}

fn servers(text: &str, port: u16) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = (words.next() == Some("nameserver")).then(|| words.next()).flatten()?;
        // An address of one interface only, `fe80::1%eth0`, says nothing elsewhere.
        Some(SocketAddr::new(address.parse().ok()?, port))
    };
    text.lines().filter_map(server).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_as_they_are_now() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("resolv.conf");
        let upstreams = Upstreams::new(NetContext::own(), &file, Effects::real());
        let told = || upstreams.servers().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(told(), "", "there need not be one");
        fs::write(
            &file,
            "# nameserver 9.9.9.9\nsearch a\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\nnameserver ::1\n",
        )
        .unwrap();
        assert_eq!(told(), "10.0.0.2:53 [::1]:53");
        fs::write(&file, "nameserver 10.0.0.3\n").unwrap();
        assert_eq!(told(), "10.0.0.3:53");
        let many = "nameserver 10.0.0.3\n".repeat(5);
        assert_eq!(servers(&many, 53).len(), MOST);
    }
}
