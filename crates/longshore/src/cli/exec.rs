//! `exec`: a command in a container that runs, at this terminal; what `aws ecs execute-command` needs a plugin for.

use super::{Where, config, say, task_name::TaskName};
use crate::advice::Advice;
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use console::Term;
use effects::Effects;
use futures::{SinkExt, StreamExt};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use serde_json::json;
use shapes::ecs;
use std::{
    io::{Read, Write, stdin, stdout},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};
use wire::data_channel::{Channel, Closed, Opening, Payload, Side, Size, Stamp};

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// The task: its id, how that begins, its ARN, or as `ps` shows it. With a container's name behind it, if it has more than one.
    #[arg(value_name = "TASK[/CONTAINER]")]
    task: String,
    /// The command and its arguments; a shell if not given.
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true, default_value = "/bin/sh")]
    command: Vec<String>,
    #[command(flatten)]
    place: Where,
}

/// What is read from here at a time.
const TYPED: usize = 1024;
/// Readings that wait to be sent.
const WAITING: usize = 4;
/// How long the server may take to let us in, and to say a last word.
const PATIENCE: Duration = Duration::from_secs(30);
/// What ends the input of a program at a terminal.
const END_OF_INPUT: u8 = 4;
/// The exit code of a session that ended without one.
const NO_CODE: u8 = 255;

pub(crate) async fn exec(args: ExecArgs) -> Result<ExitCode> {
    let mut settings = config::settings(&args.place, None)?;
    let name = TaskName::parse(&args.task);
    if let Some(cluster) = &name.cluster {
        settings.cluster.clone_from(cluster);
    }
    let request = ecs::ExecuteCommandRequest {
        cluster: Some(settings.cluster.clone()),
        task: Some(name.id(&settings.client, &settings.cluster).await?),
        container: name.container,
        command: Some(args.command.iter().map(|word| model::words::quoted(word)).collect::<Vec<_>>().join(" ")),
        interactive: Some(true),
    };
    let answer = settings.client.call(&request).await.map_err(|error| advised(error, &settings.cluster))?;
    let session = answer.session.context("the answer names no session")?;
    let (url, token) = (session.stream_url.unwrap_or_default(), session.token_value.unwrap_or_default());
    let stream = settings.client.dial(&url).await?;
    let opened = tokio::time::timeout(PATIENCE, tokio_tungstenite::client_async(url.as_str(), stream)).await;
    let (socket, _) = opened.context("the server does not answer")?.context("the server takes no websocket")?;
    let mut talk = Talk { socket, channel: Channel::new(Side::Person), effects: Effects::real() };
    let opening = Opening {
        message_schema_version: "1.0".to_owned(),
        request_id: talk.effects.uuid(),
        token_value: token,
        client_id: talk.effects.uuid(),
        client_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    talk.socket.send(Message::Text(serde_json::to_string(&opening)?.into())).await?;
    let closed = {
        let _raw = Raw::enter()?;
        talk.run().await?
    };
    if !closed.output.is_empty() {
        say::note(format_args!("longshore: {}", closed.output));
    }
    let code = closed.exit_code.and_then(|code| u8::try_from(code).ok()).unwrap_or(NO_CODE);
    Ok(ExitCode::from(code))
}

/// What to do next about a refusal.
fn advised(error: anyhow::Error, cluster: &str) -> anyhow::Error {
    let text = format!("{error:#}");
    let advice = if text.contains("execute command was not enabled") {
        "Tasks take commands if they were started so: RunTask and services have enableExecuteCommand (`aws ecs update-service \
         --enable-execute-command --force-new-deployment`)"
            .to_owned()
    } else if text.contains("task was not found") {
        format!("`longshore ps --cluster {cluster}` shows the tasks there are")
    } else {
        return error;
    };
    error.context(Advice::new(advice))
}

/// What a websocket can run over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to a `ws://` or `wss://` address.
pub(super) async fn dial(url: &str, tls: rustls::ClientConfig) -> Result<Box<dyn Stream>> {
    let uri: http::Uri = url.parse().with_context(|| format!("'{url}' is not a URL"))?;
    let host = uri.host().with_context(|| format!("'{url}' names no host"))?.to_owned();
    let secure = match uri.scheme_str() {
        Some("wss") => true,
        Some("ws") => false,
        _ => bail!("'{url}' is no address of a websocket"),
    };
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let bare = host.trim_matches(['[', ']']).to_owned();
    let stream =
        TcpStream::connect((bare.as_str(), port)).await.with_context(|| format!("cannot reach {host}:{port}"))?;
    // What is typed is small, and somebody waits for its echo.
    stream.set_nodelay(true)?;
    if !secure {
        return Ok(Box::new(stream));
    }
    let name = rustls_pki_types::ServerName::try_from(bare)?;
    Ok(Box::new(TlsConnector::from(Arc::new(tls)).connect(name, stream).await?))
}

/// One session, seen from here.
struct Talk {
    socket: WebSocketStream<Box<dyn Stream>>,
    channel: Channel,
    effects: Effects,
}

impl Talk {
    fn stamp(&self) -> Stamp {
        Stamp::new(&self.effects.uuid(), self.effects.now().0)
    }

    async fn say(&mut self, payload: Payload, bytes: &[u8]) -> Result<()> {
        let message = self.channel.send(payload, bytes, self.stamp(), self.effects.monotonic());
        Ok(self.socket.send(Message::Binary(message.into())).await?)
    }

    async fn say_size(&mut self) -> Result<()> {
        let Some((rows, columns)) = Term::stdout().size_checked() else { return Ok(()) };
        let size = Size { cols: columns.into(), rows: rows.into() };
        self.say(Payload::Size, &serde_json::to_vec(&size)?).await
    }

    /// Until the session is over. Nothing is sent before the handshake is complete.
    async fn run(&mut self) -> Result<Closed> {
        let mut resized = signal(SignalKind::window_change())?;
        let mut typed: Option<mpsc::Receiver<Vec<u8>>> = None;
        loop {
            let due = self.channel.due();
            let effects = self.effects.clone();
            let again = async {
                match due {
                    Some(at) => effects.sleep(at.saturating_sub(effects.monotonic())).await,
                    None => std::future::pending().await,
                }
            };
            let full = self.channel.is_full();
            tokio::select! {
                message = self.socket.next() => {
                    let message = message.ok_or_else(|| anyhow!("the session broke off"))?;
                    let taken = match message.context("the session broke off")? {
                        Message::Binary(bytes) => self.channel.take(&bytes, self.stamp())?,
                        Message::Close(_) => bail!("the server did not let us in; the session may have been used already"),
                        Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
                    };
                    if let Some(reply) = taken.reply {
                        self.socket.send(Message::Binary(reply.into())).await?;
                    }
                    if let Some(closed) = taken.closed {
                        let _ = tokio::time::timeout(PATIENCE, self.socket.close(None)).await;
                        return Ok(closed);
                    }
                    match taken.said {
                        Some((Payload::Output, bytes)) => {
                            let mut out = stdout().lock();
                            out.write_all(&bytes).and_then(|()| out.flush()).context("standard output")?;
                        }
                        Some((Payload::HandshakeRequest, _)) => self.shake().await?,
                        Some((Payload::HandshakeComplete, _)) => typed = Some(keyboard()),
                        Some(_) | None => {}
                    }
                }
                bytes = next(&mut typed), if !full => self.say(Payload::Output, &bytes).await?,
                _ = Signal::recv(&mut resized), if typed.is_some() => self.say_size().await?,
                () = again => if let Some(message) = self.channel.again(self.effects.monotonic()) {
                    self.socket.send(Message::Binary(message.into())).await?;
                }
            }
        }
    }

    /// The handshake's answer, with how large this terminal is.
    async fn shake(&mut self) -> Result<()> {
        self.say_size().await?;
        let answer = json!({
            "ClientVersion": env!("CARGO_PKG_VERSION"),
            "ProcessedClientActions": [{"ActionType": "SessionType", "ActionStatus": 1, "ActionResult": null, "Error": ""}],
            "Errors": [],
        });
        self.say(Payload::HandshakeResponse, answer.to_string().as_bytes()).await
    }
}

async fn next(typed: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Vec<u8> {
    match typed {
        Some(typed) => match typed.recv().await {
            Some(bytes) => bytes,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// What is typed, read by a thread of its own: it waits in the kernel, where nothing can call it back.
fn keyboard() -> mpsc::Receiver<Vec<u8>> {
    let (send, typed) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        let mut buffer = [0; TYPED];
        let mut stdin = stdin().lock();
        while let Ok(read) = stdin.read(&mut buffer) {
            // A pipe's end is for a program what Ctrl-D is at a terminal; in the middle of a line it takes two.
            let bytes = if read == 0 { vec![END_OF_INPUT; 2] } else { buffer[..read].to_vec() };
            if send.blocking_send(bytes).is_err() || read == 0 {
                return;
            }
        }
    });
    typed
}

/// The terminal handed through: every key goes to the container, Ctrl-C too. As it was when this is dropped.
struct Raw(Option<Termios>);

impl Raw {
    fn enter() -> Result<Self> {
        if !isatty(stdin()) {
            return Ok(Self(None));
        }
        let before = tcgetattr(stdin()).context("the terminal")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw).context("the terminal")?;
        Ok(Self(Some(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}
