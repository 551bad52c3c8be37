//! Terminals in containers. The session is told to open one; it then has a connection of its own to the server, and ends with it.
//!
//! What is shown waits in the process's pipe while the connection is slow, and the process with it: nothing is piled up here.

use super::{LinkTrouble, Session, tls};
use effects::Effects;
use futures::FutureExt;
use link::{FrameError, FromTerminal, OpenTerminal, Receiver, Sender, TerminalSize, ToTerminal};
use runtime::{Runtime, RuntimeError, Terminal};
use std::{convert::Infallible, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};
use tokio_rustls::client::TlsStream;

/// Terminals of this machine at once. AWS: 1,000 for a container; a machine that is asked for more than these is asked too much.
const TERMINALS: usize = 200;
/// How long what is typed may wait for a process that does not read: what a terminal and its pipe hold is some 70 KiB.
const STUCK: Duration = Duration::from_secs(30);
/// How often a terminal is closed that cannot be, and the pause before each further try.
const CLOSINGS: usize = 30;
const CLOSE_AGAIN: Duration = Duration::from_secs(2);
/// Longest reason that is told: runc's words can be as long as a command.
const REASON: usize = 4000;
/// What is shown, in one message.
const OUTPUT: usize = 16 << 10;

/// What terminals are opened with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Terminals {
    runtime: Arc<dyn Runtime>,
    places: Arc<Semaphore>,
    effects: Effects,
}

/// The connection of one terminal.
struct Line {
    to: Sender<TlsStream<TcpStream>>,
    from: Receiver<TlsStream<TcpStream>>,
}

/// Why a terminal is over.
enum Over {
    /// Its process ended.
    Ended(u32),
    /// It never began, or cannot be known any more.
    Failed(String),
    /// Nobody is there.
    Left(FrameError),
}

impl From<FrameError> for Over {
    fn from(error: FrameError) -> Self {
        Self::Left(error)
    }
}

impl Terminals {
    pub(crate) fn new(runtime: Arc<dyn Runtime>, effects: Effects) -> Self {
        Self { runtime, places: Arc::new(Semaphore::new(TERMINALS)), effects }
    }

    /// Has the terminal, from its first word to its last.
    async fn attend(&self, mut line: Line, id: Option<Arc<str>>, open: &OpenTerminal) {
        let stop = self.effects.shutdown().clone();
        let over = match (self.places.try_acquire(), id) {
            (Ok(_place), Some(id)) => tokio::select! {
                over = self.have(&mut line, &id, open) => over,
                () = stop.cancelled() => Over::Failed("the agent stops".to_owned()),
            },
            (Err(_), _) => Over::Failed("this container instance has as many terminals as it may".to_owned()),
            (_, None) => Over::Failed("this container instance has no such container".to_owned()),
        };
        let last = match over {
            Over::Ended(code) => FromTerminal::Ended(code),
            Over::Failed(why) => FromTerminal::Failed(why.chars().take(REASON).collect()),
            Over::Left(error) => return tracing::debug!(session = open.session, %error, "a terminal was left"),
        };
        if let Err(error) = line.to.send(&last).await {
            tracing::debug!(session = open.session, %error, "a terminal's end could not be told");
        }
    }

    /// Opens it, and closes it whatever becomes of it.
    async fn have(&self, line: &mut Line, id: &str, open: &OpenTerminal) -> Over {
        let name = open.session.as_str();
        let opened = self.runtime.open_terminal(id, name, &open.command, sized(open.size)).await;
        let terminal = match opened {
            Ok(terminal) => terminal,
            Err(error) => return Over::Failed(error.to_string()),
        };
        // If this is dropped, as when the agent stops, it is closed all the same.
        let closer = Closer { terminals: self.clone(), id: id.to_owned(), name: name.to_owned(), armed: true };
        let (over, mut output) = self.sit(line, id, name, terminal).await;
        match (over, closer.close(line, &mut output).await) {
            (over @ Over::Ended(_), Err(Over::Left(error))) => {
                tracing::debug!(session = open.session, %error, "a terminal was left before all was told");
                over
            }
            (over, _) => over,
        }
    }

    /// Carries both ways until the process has ended or nobody is there.
    async fn sit(&self, line: &mut Line, id: &str, name: &str, terminal: Terminal) -> (Over, Output) {
        let Terminal { mut input, output } = terminal;
        let mut output = Output { pipe: output, buffer: vec![0; OUTPUT] };
        let Line { to, from } = line;
        let shown = async {
            to.send(&FromTerminal::Running).await?;
            loop {
                to.send(&output.next().await).await?;
            }
        };
        let typed = async {
            loop {
                match from.receive::<ToTerminal>().await? {
                    ToTerminal::Input(bytes) => tokio::select! {
                        written = input.write_all(&bytes) => written.map_err(FrameError::Io)?,
                        () = self.effects.sleep(STUCK) => return Err(FrameError::Io(io::ErrorKind::TimedOut.into())),
                    },
                    ToTerminal::Size(size) => {
                        if let Err(error) = self.runtime.resize_terminal(id, name, sized(size)).await {
                            tracing::debug!(%error, "a terminal could not be resized");
                        }
                    }
                }
            }
        };
        let over = tokio::select! {
            end = self.runtime.terminal_ended(id, name) => match end {
                Ok(code) => Over::Ended(code),
                Err(error) => Over::Failed(error.to_string()),
            },
            end = shown => left(end),
            end = typed => left(end),
        };
        (over, output)
    }
}

fn left(end: Result<Infallible, FrameError>) -> Over {
    let Err(error) = end;
    Over::Left(error)
}

fn sized(size: TerminalSize) -> runtime::TerminalSize {
    runtime::TerminalSize { columns: size.columns, rows: size.rows }
}

/// What a process shows.
struct Output {
    pipe: tokio::net::unix::pipe::Receiver,
    buffer: Vec<u8>,
}

impl Output {
    /// The next of it. Safe to drop while it waits.
    async fn next(&mut self) -> FromTerminal {
        match self.pipe.read(&mut self.buffer).await {
            Ok(read) => FromTerminal::Output(self.buffer[..read].to_vec()),
            // We hold the other end too, so it cannot have ended; what else there may be is for whoever sits there to see.
            Err(error) => FromTerminal::Failed(error.to_string()),
        }
    }

    /// What is there without waiting.
    fn rest(&mut self) -> Option<FromTerminal> {
        match self.pipe.try_read(&mut self.buffer) {
            Ok(0) | Err(_) => None,
            Ok(read) => Some(FromTerminal::Output(self.buffer[..read].to_vec())),
        }
    }
}

/// Closes a terminal once, in the background if nobody waits for it.
struct Closer {
    terminals: Terminals,
    id: String,
    name: String,
    armed: bool,
}

impl Closer {
    /// Closes it, and tells what it still shows meanwhile.
    async fn close(mut self, line: &mut Line, output: &mut Output) -> Result<(), Over> {
        let (runtime, id, name) = (self.terminals.runtime.clone(), self.id.clone(), self.name.clone());
        let mut closing = async move { runtime.close_terminal(&id, &name).await }.boxed();
        let outcome = loop {
            tokio::select! {
                outcome = &mut closing => break outcome,
                shown = output.next() => if let Err(error) = line.to.send(&shown).await {
                    // Nobody reads on; what is left must not keep the process from being cleared away.
                    let outcome = closing.await;
                    self.armed = outcome.is_err();
                    return Err(error.into());
                }
            }
        };
        self.armed = outcome.is_err();
        while let Some(shown) = output.rest() {
            line.to.send(&shown).await?;
        }
        Ok(())
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let Terminals { runtime, effects, .. } = self.terminals.clone();
        let (id, name) = (std::mem::take(&mut self.id), std::mem::take(&mut self.name));
        let own = effects.clone();
        own.spawn("terminal", async move {
            for _ in 0..CLOSINGS {
                match runtime.close_terminal(&id, &name).await {
                    Ok(()) | Err(RuntimeError::NotFound(_)) => return,
                    // containerd may just be restarting; what is left in the end, the next agent's start finds.
                    Err(error) => tracing::warn!(container = id, %error, "a terminal could not be closed"),
                }
                if !effects.sleep_unless_stopped(CLOSE_AGAIN).await {
                    return;
                }
            }
        });
    }
}

impl Session {
    /// Dials for a terminal, in the background.
    pub(super) fn open_terminal(&self, open: OpenTerminal) -> Result<(), LinkTrouble> {
        let Some(terminals) = self.terminals.clone() else { return Err(LinkTrouble::OutOfTurn) };
        let credentials = self.store.credentials()?.ok_or(LinkTrouble::NotJoined)?;
        let config = tls::joined_config(&self.store, &credentials, link::ALPN_TERMINAL)?;
        let id = self.engine.container(&open.task, &open.container);
        let (server, effects) = (self.server.clone(), self.effects.clone());
        self.effects.spawn("terminal", async move {
            let begun = async {
                let stream = tls::dial(&server, config, &effects).await?;
                let (from, mut to) = link::framed_small(stream).split();
                to.send(&FromTerminal::Here { session: open.session.clone() }).await?;
                Ok::<_, LinkTrouble>(Line { to, from })
            };
            match begun.await {
                Ok(line) => {
                    let OpenTerminal { session, task, container, .. } = &open;
                    tracing::info!(session, %task, %container, "a terminal is opened");
                    terminals.attend(line, id, &open).await;
                }
                Err(error) => tracing::warn!(error = crate::real::chain(&error), "a terminal could not be dialled for"),
            }
        });
        Ok(())
    }
}
