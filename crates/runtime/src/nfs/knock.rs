//! Asking a server of NFS whether it is there, before the kernel is told to, which would ask for ever.
//!
//! Elsewhere it is enough that somebody takes the connection. On this machine's own loopback that may be a tunnel, which takes whoever
//! comes: there the server itself has to answer the question that means nothing (`NULL` of RFC 7530).

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use effects::Effects;
use rustix::thread::LinkNameSpaceType;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::NfsSource;

/// How long a server may take to answer who asks for its port: a lost packet is sent again after 1, 3 and 7 seconds.
const KNOCK: Duration = Duration::from_secs(10);
/// How soon one asks again for a tunnel that does not listen. One that was killed is started again.
const AGAIN: Duration = Duration::from_millis(200);
/// Source: RFC 5531 and RFC 7530: a record of 40 bytes, number, call, version 2, program 100003, version 4, procedure 0, and neither who
/// asks nor a proof of it.
const QUESTION: [u32; 11] = [0x8000_0028, NUMBER, 0, 2, 100_003, 4, 0, 0, 0, 0, 0];
const NUMBER: u32 = 0x6c6f_6e67;
const REPLY: u32 = 1;

/// From where servers are reached.
#[derive(Clone)]
pub(super) struct Door {
    /// The network that they are reached from, if it is not the one that this process is in.
    pub(super) netns: Option<PathBuf>,
    pub(super) effects: Effects,
}

/// Whether somebody is there.
pub(super) async fn answers(server: Option<SocketAddr>, door: &Door) -> bool {
    match server {
        Some(server) => reach(server, door).await.is_ok(),
        None => false,
    }
}

/// Its server's address, and the one of this machine that it is reached from. The kernel would try for minutes where nobody answers.
pub(super) async fn knock(source: &NfsSource, door: &Door) -> io::Result<(SocketAddr, SocketAddr)> {
    let of = |error: &dyn std::fmt::Display| io::Error::other(format!("mounting {}: {error}", source.device));
    let addresses = tokio::net::lookup_host((source.host.as_str(), source.port)).await.map_err(|error| of(&error))?;
    let mut last = of(&"its server has no address");
    for address in addresses {
        match reach(address, door).await {
            Ok(own) => return Ok((address, own)),
            Err(error) => last = of(&error),
        }
    }
    Err(last)
}

/// The address of this machine that it is reached from.
async fn reach(server: SocketAddr, door: &Door) -> io::Result<SocketAddr> {
    let there = async {
        if !server.ip().is_loopback() {
            return connect(server, door).await?.local_addr();
        }
        loop {
            match connect(server, door).await {
                Ok(stream) => return ask(stream).await,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => door.effects.sleep(AGAIN).await,
                Err(error) => return Err(error),
            }
        }
    };
    timeout(KNOCK, there).await.unwrap_or_else(|_| Err(io::Error::other("Connection timed out")))
}

async fn ask(mut stream: TcpStream) -> io::Result<SocketAddr> {
    stream.write_all(&QUESTION.map(u32::to_be_bytes).concat()).await?;
    // The length, the number of the question, and that it is an answer. What it is nobody needs to know.
    let mut head = [0; 12];
    let gone = |error: io::Error| {
        let reset = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
        if reset { io::Error::other("Connection reset by peer") } else { error }
    };
    stream.read_exact(&mut head).await.map_err(gone)?;
    if head[4..] == *[NUMBER, REPLY].map(u32::to_be_bytes).concat() {
        stream.local_addr()
    } else {
        Err(io::Error::other("its server does not speak NFS"))
    }
}

async fn connect(server: SocketAddr, door: &Door) -> io::Result<TcpStream> {
    let Some(netns) = door.netns.clone() else { return TcpStream::connect(server).await };
    let (told, outcome) = oneshot::channel();
    // A socket is of the network that its thread is in when it is made. The thread ends with that, and nothing else is ever done in it.
    std::thread::Builder::new().name("nfs-knock".into()).spawn(move || {
        // Nobody may want to know.
        let _ = told.send(connect_from(server, &netns));
    })?;
    let stream = outcome.await.map_err(|_| io::Error::other("the thread that connects died"))??;
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

fn connect_from(server: SocketAddr, netns: &Path) -> io::Result<std::net::TcpStream> {
    let netns = File::open(netns)?;
    rustix::thread::move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
    std::net::TcpStream::connect_timeout(&server, KNOCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// What one learns of a server that reads a question and gives that answer, or goes without one.
    async fn asked(answer: &[u8]) -> Result<SocketAddr, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = [0; 44];
            stream.read_exact(&mut question).await.unwrap();
            assert_eq!(question[..4], [0x80, 0, 0, 40]);
            stream.write_all(answer).await.unwrap();
        };
        let door = Door { netns: None, effects: Effects::real() };
        let (told, ()) = tokio::join!(reach(address, &door), served);
        told.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn whoever_takes_a_connection_on_loopback_has_to_answer_too() {
        let answer = [0x8000_0018, NUMBER, REPLY, 0, 0, 0, 0].map(u32::to_be_bytes).concat();
        assert_eq!(asked(&answer).await.unwrap().ip(), std::net::Ipv4Addr::LOCALHOST);
        assert_eq!(asked(&[]).await.unwrap_err(), "Connection reset by peer");
        assert_eq!(asked(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n").await.unwrap_err(), "its server does not speak NFS");
    }
}
