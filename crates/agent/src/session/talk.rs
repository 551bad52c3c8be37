//! One session, from its Hello to its end: a single loop that waits for whatever comes first.

use super::{End, LinkTrouble, PATIENCE, Session, farewell, questions::Asked, tls::within};
use crate::{engine::Unreported, identity::Joined};
use effects::Effects;
use link::{
    AgentMessage, Answer, Framed, Goodbye, Hello, JoinAnswer, LogBatch, LogOutcome, Receiver, Sender, ServerMessage,
    Welcome,
};
use model::Timestamp;
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
};
use tracing::Instrument;

/// Observations in one report: a few hundred bytes each.
const REPORT: usize = 200;
/// Log messages on their way: enough to fill the time of the server's sync with the next one's reading.
const LOGS_IN_FLIGHT: usize = 4;
/// Questions on their way: tasks ask rarely, and none is to wait long behind others.
const QUESTIONS_IN_FLIGHT: usize = 8;
/// Intervals of silence after which the session is dead.
const SILENCES: u32 = 3;
/// Intervals of silence after which the server is asked for a sign of life. It is asked at the next beat, up to an interval
/// later, and its answer needs an interval's time too before the silence counts as death.
const QUIET: u32 = 1;
/// How long before a refused renewal is tried again.
const RENEW_AGAIN_MS: i64 = 10 * 60 * 1000;
/// How far the clocks may be apart before it is worth a warning; signatures and logs suffer from minutes.
const CLOCK_MS: i64 = 60_000;

/// Runs a session over a connection.
pub(super) async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    session: &Session,
    framed: Framed<S>,
    renew: Timestamp,
) -> Result<End, LinkTrouble> {
    let (mut receiver, mut sender) = framed.split();
    let hello = Hello { tasks: session.engine.tasks(), ..session.hello.clone() };
    sender.send(&AgentMessage::Hello(hello)).await?;
    let welcome = match within(&session.effects, PATIENCE, receiver.receive()).await?? {
        ServerMessage::Welcome(welcome) => welcome,
        ServerMessage::Goodbye(goodbye) => return farewell(goodbye),
        ServerMessage::Assignments(_)
        | ServerMessage::Networks(_)
        | ServerMessage::ReportAck { .. }
        | ServerMessage::LogsAck { .. }
        | ServerMessage::Renewed(_)
        | ServerMessage::Answered { .. }
        | ServerMessage::Refresh { .. }
        | ServerMessage::Open(_) => return Err(LinkTrouble::OutOfTurn),
    };
    tracing::info!(server = session.server, "a session with the server began");
    let apart = welcome.server_time.millis_since(session.effects.now());
    if apart.abs() > CLOCK_MS {
        tracing::warn!(seconds = apart / 1000, "the server's clock and this machine's are apart");
    }
    session.engine.board().report_all();
    let mut talk = Talk::new(session, sender, &welcome, renew);
    talk.run(&mut receiver).await
}

struct Talk<'a, S> {
    session: &'a Session,
    sender: Sender<S>,
    interval: Duration,
    /// The report that is not acknowledged yet.
    report: Option<u64>,
    reports: u64,
    logs: VecDeque<(u64, Vec<LogBatch>)>,
    log_messages: u64,
    /// Whether the server answers questions, and those that it has not answered yet.
    answers: bool,
    asked: BTreeMap<u64, oneshot::Sender<Answer>>,
    questions: u64,
    renew: Timestamp,
    last_sent: Duration,
    last_heard: Duration,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Talk<'a, S> {
    fn new(session: &'a Session, sender: Sender<S>, welcome: &Welcome, renew: Timestamp) -> Self {
        let now = session.effects.monotonic();
        Self {
            session,
            sender,
            interval: Duration::from_secs(u64::from(welcome.heartbeat_seconds.max(1))),
            report: None,
            reports: 0,
            logs: VecDeque::new(),
            log_messages: 0,
            answers: welcome.answers,
            asked: BTreeMap::new(),
            questions: 0,
            renew,
            last_sent: now,
            last_heard: now,
        }
    }

    async fn run(&mut self, receiver: &mut Receiver<S>) -> Result<End, LinkTrouble> {
        let Session { engine, logs, questions, effects, .. } = self.session;
        loop {
            tokio::select! {
                message = receiver.receive::<ServerMessage>() => {
                    self.last_heard = effects.monotonic();
                    if let Some(end) = self.hear(message?).await? {
                        return Ok(end);
                    }
                }
                told = engine.board().unreported(REPORT), if self.report.is_none() => {
                    self.tell(told).await?;
                }
                batches = logs.next(), if self.logs.len() < LOGS_IN_FLIGHT => {
                    self.log_messages += 1;
                    let seq = self.log_messages;
                    self.say(&AgentMessage::Logs { seq, batches: batches.clone() }).await?;
                    self.logs.push_back((seq, batches));
                }
                asked = questions.next(), if self.answers && self.asked.len() < QUESTIONS_IN_FLIGHT => {
                    self.ask(asked).await?;
                }
                () = wait_until(effects, self.last_sent + self.interval) => self.show_life().await?,
                () = wait_until(effects, self.last_heard + self.interval * SILENCES) => return Err(LinkTrouble::Silent),
                () = wait_until_wall(effects, self.renew) => self.ask_for_certificate().await?,
            }
        }
    }

    async fn say(&mut self, message: &AgentMessage) -> Result<(), LinkTrouble> {
        self.last_sent = self.session.effects.monotonic();
        // A server that does not read for so long is as good as gone.
        Ok(within(&self.session.effects, self.interval * SILENCES, self.sender.send(message)).await??)
    }

    async fn tell(&mut self, told: Unreported) -> Result<(), LinkTrouble> {
        self.reports += 1;
        self.report = Some(self.reports);
        let reporting = tracing::trace_span!(target: "timeline", "report");
        let Unreported { tasks, measured } = told;
        self.say(&AgentMessage::Report { seq: self.reports, tasks, measured }).instrument(reporting).await
    }

    /// A heartbeat; or, if the server has nothing to say either, an empty report, because that one is answered.
    async fn show_life(&mut self) -> Result<(), LinkTrouble> {
        let quiet = self.session.effects.monotonic().saturating_sub(self.last_heard);
        if self.report.is_none() && quiet >= self.interval * QUIET {
            self.tell(Unreported::default()).await
        } else {
            self.say(&AgentMessage::Heartbeat).await
        }
    }

    async fn ask(&mut self, Asked { question, told }: Asked) -> Result<(), LinkTrouble> {
        self.questions += 1;
        let id = self.questions;
        self.asked.insert(id, told);
        self.say(&AgentMessage::Ask { id, question }).await
    }

    async fn ask_for_certificate(&mut self) -> Result<(), LinkTrouble> {
        self.renew = self.session.effects.now().plus_millis(RENEW_AGAIN_MS);
        let csr_pem = self.session.store.request()?;
        self.say(&AgentMessage::Renew { csr_pem }).await
    }

    async fn hear(&mut self, message: ServerMessage) -> Result<Option<End>, LinkTrouble> {
        match message {
            ServerMessage::Welcome(_) => return Err(LinkTrouble::OutOfTurn),
            ServerMessage::Networks(networks) => self.session.engine.carry(networks),
            ServerMessage::Assignments(set) => {
                let (epoch, generation) = (set.epoch, set.generation);
                let taking = tracing::trace_span!(target: "timeline", "take assignments");
                if !self.session.engine.assign(set).instrument(taking).await? {
                    tracing::warn!(
                        epoch,
                        generation,
                        "the server sent an older set of tasks than one seen before; refused"
                    );
                }
            }
            ServerMessage::ReportAck { seq } => {
                if self.report.is_some_and(|sent| sent <= seq) {
                    self.report = None;
                }
            }
            ServerMessage::LogsAck { seq, outcomes } => self.logs_answered(seq, &outcomes).await,
            ServerMessage::Renewed(answer) => self.renewed(answer),
            ServerMessage::Answered { id, answer } => {
                // Who asked may have given up.
                drop(self.asked.remove(&id).map(|told| told.send(answer)));
            }
            ServerMessage::Refresh { tasks } => self.session.engine.refresh(&tasks),
            ServerMessage::Open(open) => self.session.open_terminal(open)?,
            ServerMessage::Goodbye(goodbye) => return self.part(goodbye),
        }
        Ok(None)
    }

    async fn logs_answered(&mut self, seq: u64, outcomes: &[LogOutcome]) {
        while let Some((sent, batches)) = self.logs.pop_front_if(|(sent, _)| *sent <= seq) {
            // Messages are answered in order, each for itself.
            if sent == seq {
                for (batch, outcome) in batches.iter().zip(outcomes) {
                    self.session.logs.answered(batch, outcome).await;
                }
            }
        }
    }

    fn renewed(&mut self, answer: JoinAnswer) {
        let kept = match answer {
            JoinAnswer::Joined { certificate_pem, ca_pem } => self
                .session
                .store
                .keep(&Joined { certificate_pem, ca_pem })
                .and_then(|()| self.session.store.credentials()),
            JoinAnswer::Refused(refusal) => {
                return tracing::warn!(
                    reason = refusal.message,
                    "the server does not renew this machine's certificate"
                );
            }
        };
        match kept {
            Ok(Some(credentials)) => {
                tracing::info!("the machine's certificate was renewed");
                self.renew = credentials.half_life().max(self.renew);
            }
            Ok(None) => {}
            Err(error) => tracing::error!(error = crate::real::chain(&error), "the new certificate cannot be kept"),
        }
    }

    fn part(&self, goodbye: Goodbye) -> Result<Option<End>, LinkTrouble> {
        tracing::info!(reason = goodbye.message, "the server ended the session");
        farewell(goodbye).map(Some)
    }
}

async fn wait_until(effects: &Effects, moment: Duration) {
    effects.sleep(moment.saturating_sub(effects.monotonic())).await;
}

async fn wait_until_wall(effects: &Effects, moment: Timestamp) {
    let millis = moment.millis_since(effects.now());
    effects.sleep(Duration::from_millis(u64::try_from(millis).unwrap_or(0))).await;
}
