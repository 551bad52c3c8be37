//! One session: the person's websocket on one side, the agent's connection on the other.

use super::{
    Line, Wanted,
    audit::{self, State},
    door::Socket,
    transcript::Transcript,
};
use crate::context::Context;
use futures::{SinkExt, StreamExt};
use link::{FrameError, FromTerminal, OpenTerminal, TerminalSize, ToTerminal};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_tungstenite::tungstenite::{self, Message};
use wire::data_channel::{self, Channel, Malformed, Payload, Side, Size, Stamp, TERMINATE};

/// How long an agent may take to dial, and its command to start: runc takes 0.1 s, a busy machine seconds.
const CALL: Duration = Duration::from_secs(15);
/// How long the person's side may take to answer the handshake.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// AWS: a session in which nobody says anything for 20 minutes is over.
const IDLE: Duration = Duration::from_secs(20 * 60);
/// How long the last of the output may take to reach the person.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long either side may take to read what is sent to it.
const STALLED: Duration = Duration::from_secs(60);
/// What is shown, in one message. The plugin's own are of a KiB.
const SHOWN: usize = 1024;

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
enum Over {
    #[error("the command ended")]
    Ended(u32),
    #[error("{0}")]
    Failed(String),
    #[error("the session was idle for 20 minutes")]
    Idle,
    #[error("the person left")]
    Left,
    #[error("the server stops")]
    Stopping,
    #[error("the agent is gone: {0}")]
    Agent(#[from] FrameError),
    #[error("the websocket failed: {0}")]
    Socket(#[from] tungstenite::Error),
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

impl Over {
    fn exit_code(&self) -> Option<u32> {
        if let Self::Ended(code) = self { Some(*code) } else { None }
    }
}

/// What happens on the person's side.
enum Event {
    /// A message, or the end of them.
    Came(Option<Result<Message, tungstenite::Error>>),
    /// Something was not acknowledged in time.
    Due,
}

/// The person's side, with its half of the protocol.
struct Person<'a> {
    ctx: &'a Context,
    socket: Socket,
    channel: Channel,
}

/// Has a session, from the first word to the last.
pub(super) async fn session(ctx: &Context, socket: Socket, session: &str, wanted: &Wanted) {
    let Wanted { task, container, principal, .. } = wanted;
    tracing::info!(session, %task, %container, principal, "a command is run in a container");
    let mut person = Person { ctx, socket, channel: Channel::new(Side::Terminal) };
    let place = ctx.terminals.places.clone().try_acquire_owned();
    let stop = ctx.effects.shutdown().clone();
    let mut transcript = Transcript::default();
    let over = match (place, audit::record(ctx, session, wanted, &State::Begins).await) {
        (Err(_), _) => Over::Failed("This server has as many sessions as it may.".to_owned()),
        // What cannot be recorded is not run.
        (_, Err(error)) => Over::Failed(format!("The session cannot be recorded: {error}")),
        (Ok(_place), Ok(())) => tokio::select! {
            over = have(ctx, &mut person, &mut transcript, session, wanted) => over,
            () = stop.cancelled() => Over::Stopping,
        },
    };
    transcript.end(ctx, session).await;
    let why = over.to_string();
    let exit_code = over.exit_code();
    tracing::info!(session, %task, %container, why, exit_code, "a session is over");
    person.part(session, &over).await;
    if let Err(error) = audit::record(ctx, session, wanted, &State::Ended { why: &why, exit_code }).await {
        tracing::error!(session, %error, "a session's end could not be recorded");
    }
}

async fn have(
    ctx: &Context,
    person: &mut Person<'_>,
    transcript: &mut Transcript,
    session: &str,
    wanted: &Wanted,
) -> Over {
    *transcript = match Transcript::begin(ctx, session, wanted).await {
        Ok(transcript) => transcript,
        // What is to be kept and cannot be is not run.
        Err(why) => return Over::Failed(why),
    };
    let size = match person.shake(&wanted.line).await {
        Ok(size) => size,
        Err(over) => return over,
    };
    let open = OpenTerminal {
        session: session.to_owned(),
        task: wanted.task.clone(),
        container: wanted.container.clone(),
        command: wanted.command.clone(),
        size,
    };
    let Some(mut line) = ctx.terminals.call(&wanted.instance, open, CALL).await else {
        return Over::Failed("The container instance's agent does not answer.".to_owned());
    };
    let first = tokio::select! {
        first = line.from.receive::<FromTerminal>() => first,
        () = ctx.effects.sleep(CALL) => return Over::Failed("The command did not start in time.".to_owned()),
    };
    match first {
        Ok(FromTerminal::Running) => {}
        Ok(FromTerminal::Failed(why)) => return Over::Failed(why),
        Ok(_) => return Over::Failed("The agent spoke out of turn.".to_owned()),
        Err(error) => return error.into(),
    }
    let (Ok(over) | Err(over)) = person.sit(&mut line, transcript).await;
    over
}

impl Person<'_> {
    fn stamp(&self) -> Stamp {
        Stamp::new(&self.ctx.effects.uuid(), self.ctx.effects.now().0)
    }

    /// Sends one message; a person who does not read for so long is as good as gone.
    async fn put(&mut self, message: Vec<u8>) -> Result<(), Over> {
        tokio::select! {
            sent = self.socket.send(Message::Binary(message.into())) => Ok(sent?),
            () = self.ctx.effects.sleep(STALLED) => Err(Over::Left),
        }
    }

    async fn say(&mut self, payload: Payload, bytes: &[u8]) -> Result<(), Over> {
        let message = self.channel.send(payload, bytes, self.stamp(), self.ctx.effects.monotonic());
        self.put(message).await
    }

    /// What happens next on this side. Safe to drop while it waits.
    async fn event(&mut self) -> Event {
        let due = self.channel.due();
        let effects = &self.ctx.effects;
        let again = async {
            match due {
                Some(at) => effects.sleep(at.saturating_sub(effects.monotonic())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = self.socket.next() => Event::Came(message),
            () = again => Event::Due,
        }
    }

    /// Sees to it; what is said by it, if anything is.
    async fn see_to(&mut self, event: Event) -> Result<Option<(Payload, Vec<u8>)>, Over> {
        match event {
            Event::Came(message) => self.take(message.ok_or(Over::Left)??).await,
            Event::Due => {
                if let Some(message) = self.channel.again(self.ctx.effects.monotonic()) {
                    self.put(message).await?;
                }
                Ok(None)
            }
        }
    }

    /// The next thing that is said.
    async fn hear(&mut self) -> Result<(Payload, Vec<u8>), Over> {
        loop {
            let event = self.event().await;
            if let Some(said) = self.see_to(event).await? {
                return Ok(said);
            }
        }
    }

    async fn take(&mut self, message: Message) -> Result<Option<(Payload, Vec<u8>)>, Over> {
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Close(_) => return Err(Over::Left),
            // The library answers pings.
            Message::Ping(_) | Message::Pong(_) | Message::Text(_) | Message::Frame(_) => return Ok(None),
        };
        let taken = self.channel.take(&bytes, self.stamp())?;
        if let Some(reply) = taken.reply {
            self.put(reply).await?;
        }
        if taken.closed.is_some() {
            return Err(Over::Left);
        }
        Ok(taken.said)
    }

    /// The handshake; how large the person's terminal is, if that comes with it.
    async fn shake(&mut self, command: &str) -> Result<TerminalSize, Over> {
        let began = self.ctx.effects.monotonic();
        let request = json!({
            "AgentVersion": env!("CARGO_PKG_VERSION"),
            "RequestedClientActions": [{
                "ActionType": "SessionType",
                "ActionParameters": {"SessionType": "InteractiveCommands", "Properties": {"command": command}},
            }],
        });
        self.say(Payload::HandshakeRequest, request.to_string().as_bytes()).await?;
        let mut size = TerminalSize::default();
        let effects = self.ctx.effects.clone();
        let answered = async {
            loop {
                match self.hear().await? {
                    (Payload::HandshakeResponse, answer) => return agreed(&answer),
                    (Payload::Size, given) => size = self::size(&given).unwrap_or(size),
                    _ => {}
                }
            }
        };
        tokio::select! {
            answered = answered => answered?,
            () = effects.sleep(HANDSHAKE) => return Err(Over::Failed("The handshake was not answered.".to_owned())),
        }
        let took = self.ctx.effects.monotonic().saturating_sub(began);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let complete = json!({"HandshakeTimeToComplete": nanos, "CustomerMessage": ""});
        self.say(Payload::HandshakeComplete, complete.to_string().as_bytes()).await?;
        Ok(size)
    }

    /// Carries both ways until the session is over.
    async fn sit(&mut self, line: &mut Line, transcript: &mut Transcript) -> Result<Over, Over> {
        let effects = self.ctx.effects.clone();
        let mut busy = effects.monotonic();
        loop {
            let idle = (busy + IDLE).saturating_sub(effects.monotonic());
            // As long as much is on its way, the rest waits where it is shown.
            let full = self.channel.is_full();
            let shown = tokio::select! {
                event = self.event() => {
                    if let Some((payload, said)) = self.see_to(event).await? {
                        busy = effects.monotonic();
                        let Some(order) = order(payload, said)? else { continue };
                        tokio::select! {
                            sent = line.to.send(&order) => sent?,
                            () = effects.sleep(STALLED) => return Err(FrameError::Closed.into()),
                        }
                    }
                    continue;
                }
                shown = line.from.receive::<FromTerminal>(), if !full => shown?,
                () = effects.sleep(idle) => return Ok(Over::Idle),
            };
            match shown {
                FromTerminal::Output(bytes) => {
                    busy = effects.monotonic();
                    transcript.take(self.ctx, &bytes).await.map_err(Over::Failed)?;
                    for piece in bytes.chunks(SHOWN) {
                        self.say(Payload::Output, piece).await?;
                    }
                }
                FromTerminal::Ended(code) => return Ok(Over::Ended(code)),
                FromTerminal::Failed(why) => return Ok(Over::Failed(why)),
                FromTerminal::Here { .. } | FromTerminal::Running => {}
            }
        }
    }

    /// Lets the last of the output arrive, and closes.
    async fn part(&mut self, session: &str, over: &Over) {
        let effects = self.ctx.effects.clone();
        let heard = async {
            // Not until something is said: what makes it quiet is an acknowledgement.
            while !self.channel.is_quiet() {
                let event = self.event().await;
                if self.see_to(event).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = heard => {}
            () = effects.sleep(FAREWELL) => {}
        }
        let code = over.exit_code();
        let output = if code.is_some() { String::new() } else { over.to_string() };
        let date = super::audit::time(effects.now());
        let last = data_channel::close(session, &output, code, self.stamp(), &date);
        let closing = async {
            self.socket.send(Message::Binary(last.into())).await?;
            self.socket.close(None).await?;
            // The other side closes when it has read this.
            while self.socket.next().await.is_some_and(|message| message.is_ok()) {}
            Ok::<_, tungstenite::Error>(())
        };
        let closed = tokio::select! {
            closed = closing => closed,
            () = effects.sleep(FAREWELL) => return,
        };
        if let Err(error) = closed {
            tracing::debug!(session, %error, "a data channel ended badly");
        }
    }
}

/// What the agent is told of what the person said, if it is for the terminal.
fn order(payload: Payload, said: Vec<u8>) -> Result<Option<ToTerminal>, Over> {
    match payload {
        Payload::Output => Ok(Some(ToTerminal::Input(said))),
        Payload::Size => Ok(size(&said).map(ToTerminal::Size)),
        Payload::Flag if said == TERMINATE.to_be_bytes() => Err(Over::Left),
        Payload::Flag
        | Payload::HandshakeRequest
        | Payload::HandshakeResponse
        | Payload::HandshakeComplete
        | Payload::Other(_) => Ok(None),
    }
}

/// Whether the person's side can do what it was asked.
fn agreed(answer: &[u8]) -> Result<(), Over> {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let actions = answer["ProcessedClientActions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let done = actions.iter().any(|action| action["ActionType"] == "SessionType" && action["ActionStatus"] == 1);
    if done { Ok(()) } else { Err(Over::Failed("The client cannot have interactive sessions.".to_owned())) }
}

/// A size that a terminal can have.
fn size(given: &[u8]) -> Option<TerminalSize> {
    let Size { cols, rows } = serde_json::from_slice(given).ok()?;
    let fits = |number: u32| u16::try_from(number).ok().filter(|number| *number > 0);
    Some(TerminalSize { columns: fits(cols)?, rows: fits(rows)? })
}
