//! Terminals, with the person's websocket on one side and an agent's two connections on the other.

use crate::agent::{Machine, Session, hello, token};
use crate::{DEADLINE, Harness, ecs, list, text, web};
use futures::{SinkExt, StreamExt};
use link::{AgentMessage, FromTerminal, OpenTerminal, ServerMessage, TerminalSize, ToTerminal};
use model::{ContainerObservation, ContainerStatus, ObservedStatus, TaskObservation};
use serde_json::json;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};
use wire::data_channel::{Channel, Closed, Payload, Side, Stamp};

/// Whoever sits at a terminal.
struct Person {
    socket: WebSocketStream<TcpStream>,
    channel: Channel,
}

impl Person {
    /// Comes for a promise.
    async fn come(harness: &Harness, task: &str, command: &str) -> Self {
        let input = json!({"cluster": "demo", "task": task, "command": command, "interactive": true});
        let session = ecs(harness, "ExecuteCommand", input).await["session"].clone();
        let url = text(&session["streamUrl"]).to_owned();
        let uri: http::Uri = url.parse().unwrap();
        let stream = TcpStream::connect((uri.host().unwrap(), uri.port_u16().unwrap())).await.unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        let opening = json!({"MessageSchemaVersion": "1.0", "TokenValue": session["tokenValue"]});
        socket.send(Message::Text(opening.to_string().into())).await.unwrap();
        Self { socket, channel: Channel::new(Side::Person) }
    }

    async fn say(&mut self, payload: Payload, bytes: &[u8]) {
        let stamp = Stamp { id: [7; 16], at: 0 };
        let message = self.channel.send(payload, bytes, stamp, Duration::MAX / 2);
        self.socket.send(Message::Binary(message.into())).await.unwrap();
    }

    /// What is said next, or how the session ends.
    async fn hear(&mut self) -> Result<(Payload, Vec<u8>), Closed> {
        loop {
            let message = tokio::time::timeout(DEADLINE, self.socket.next()).await.expect("something is said in time");
            let Message::Binary(bytes) = message.unwrap().unwrap() else { continue };
            let taken = self.channel.take(&bytes, Stamp { id: [8; 16], at: 0 }).unwrap();
            if let Some(reply) = taken.reply {
                self.socket.send(Message::Binary(reply.into())).await.unwrap();
            }
            if let Some(closed) = taken.closed {
                return Err(closed);
            }
            if let Some(said) = taken.said {
                return Ok(said);
            }
        }
    }

    async fn shake(&mut self) {
        assert_eq!(self.hear().await.unwrap().0, Payload::HandshakeRequest);
        self.say(Payload::Size, br#"{"cols":100,"rows":50}"#).await;
        let answer = json!({"ProcessedClientActions": [{"ActionType": "SessionType", "ActionStatus": 1}]});
        self.say(Payload::HandshakeResponse, answer.to_string().as_bytes()).await;
        assert_eq!(self.hear().await.unwrap().0, Payload::HandshakeComplete);
    }
}

/// A machine of the cluster with a session.
async fn attending(harness: &Harness) -> (Machine, Session) {
    let token = token(harness, Some("demo"), 1).await;
    let mut machine = Machine::new(harness).await;
    machine.join(harness, &token, None).await.unwrap();
    let mut hello = hello();
    hello.attributes.insert("ecs.capability.execute-command".to_owned(), None);
    let mut session = machine.open_as(harness, hello).await;
    assert!(matches!(session.receive().await, ServerMessage::Welcome(_)));
    session.assignments().await;
    (machine, session)
}

/// A task that runs there.
async fn running(harness: &Harness, session: &mut Session) -> String {
    let run = json!({"cluster": "demo", "taskDefinition": "web", "enableExecuteCommand": true});
    let answer = ecs(harness, "RunTask", run).await;
    let task = text(&list(&answer["tasks"])[0]["taskArn"]).to_owned();
    let container = ContainerObservation {
        name: "app".into(),
        status: ContainerStatus::Running,
        runtime_id: Some("c".into()),
        image_digest: None,
        exit_code: None,
        reason: None,
        network_bindings: Vec::new(),
        health: None,
    };
    let seen = TaskObservation {
        task: task.parse().unwrap(),
        status: ObservedStatus::Running,
        containers: vec![container],
        pull_started: None,
        pull_stopped: None,
        execution_stopped: None,
        attachment: None,
    };
    session.report(vec![seen]).await;
    task
}

async fn asked(session: &mut Session) -> OpenTerminal {
    loop {
        if let ServerMessage::Open(open) = session.receive().await {
            return open;
        }
    }
}

/// Dials for a terminal.
async fn line(
    harness: &Harness,
    machine: &Machine,
    session: &str,
) -> link::Framed<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut line = machine.dial(harness, link::ALPN_TERMINAL, true).await;
    line.send(&FromTerminal::Here { session: session.to_owned() }).await.unwrap();
    line
}

#[tokio::test]
async fn what_is_typed_and_shown_crosses_and_the_end_is_told() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    web(&harness).await;
    let (machine, mut session) = attending(&harness).await;
    let task = running(&harness, &mut session).await;
    let mut person = Person::come(&harness, &task, "sh -c 'a  b'").await;
    person.shake().await;
    let open = asked(&mut session).await;
    let size = TerminalSize { columns: 100, rows: 50 };
    assert_eq!(
        (&*open.container, open.command, open.size),
        ("app", ["sh", "-c", "a  b"].map(str::to_owned).into(), size)
    );
    let mut line = line(&harness, &machine, &open.session).await;
    line.send(&FromTerminal::Running).await.unwrap();
    // Far more than a message holds, and than may be on its way.
    let much: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let showing = async {
        for piece in much.chunks(16 << 10) {
            line.send(&FromTerminal::Output(piece.to_vec())).await.unwrap();
        }
    };
    let seeing = async {
        let mut shown = Vec::new();
        while shown.len() < much.len() {
            let (payload, bytes) = person.hear().await.unwrap();
            assert_eq!(payload, Payload::Output);
            shown.extend(bytes);
        }
        shown
    };
    let ((), shown) = tokio::join!(showing, seeing);
    assert!(shown == much);
    person.say(Payload::Output, b"ls\r").await;
    person.say(Payload::Size, br#"{"cols":0,"rows":1}"#).await;
    person.say(Payload::Size, br#"{"cols":81,"rows":25}"#).await;
    assert_eq!(line.receive::<ToTerminal>().await.unwrap(), ToTerminal::Input(b"ls\r".to_vec()));
    let size = TerminalSize { columns: 81, rows: 25 };
    assert_eq!(line.receive::<ToTerminal>().await.unwrap(), ToTerminal::Size(size), "none that a terminal cannot have");
    line.send(&FromTerminal::Ended(7)).await.unwrap();
    let closed = person.hear().await.unwrap_err();
    assert_eq!((closed.exit_code, closed.output.as_str()), (Some(7), ""));
}

#[tokio::test]
async fn a_terminal_is_no_other_instances() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    web(&harness).await;
    let (machine, mut session) = attending(&harness).await;
    let task = running(&harness, &mut session).await;
    let (liar, _other) = attending(&harness).await;
    let mut person = Person::come(&harness, &task, "sh").await;
    person.shake().await;
    let open = asked(&mut session).await;
    let mut false_line = line(&harness, &liar, &open.session).await;
    assert!(false_line.receive::<ToTerminal>().await.is_err(), "the liar is cut off");
    let mut unknown = line(&harness, &machine, "ecs-execute-command-0").await;
    assert!(unknown.receive::<ToTerminal>().await.is_err());
    let mut line = line(&harness, &machine, &open.session).await;
    line.send(&FromTerminal::Failed("no such command".to_owned())).await.unwrap();
    assert_eq!(person.hear().await.unwrap_err().output, "no such command");
    // Nor does one open without being asked, or without a certificate.
    let again = json!({"cluster": "demo", "task": task, "command": "sh", "interactive": true});
    ecs(&harness, "ExecuteCommand", again.clone()).await;
    drop(session);
    crate::until(
        &harness,
        "nobody to ask",
        "ecs",
        ("DescribeTasks", json!({"cluster": "demo", "tasks": [task]})),
        |answer| answer["tasks"][0]["connectivity"] == "DISCONNECTED",
    )
    .await;
    assert_eq!(crate::code(&harness, "ecs", "ExecuteCommand", again).await, "TargetNotConnectedException");
}

#[tokio::test]
async fn whoever_leaves_ends_the_terminal() {
    let harness = Harness::start().await;
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    web(&harness).await;
    let (machine, mut session) = attending(&harness).await;
    let task = running(&harness, &mut session).await;
    for terminates in [false, true] {
        let mut person = Person::come(&harness, &task, "sh").await;
        person.shake().await;
        let open = asked(&mut session).await;
        let mut line = line(&harness, &machine, &open.session).await;
        line.send(&FromTerminal::Running).await.unwrap();
        if terminates {
            person.say(Payload::Flag, &2_u32.to_be_bytes()).await;
        } else {
            person.say(Payload::Output, b"x").await;
            assert_eq!(line.receive::<ToTerminal>().await.unwrap(), ToTerminal::Input(b"x".to_vec()));
            drop(person);
        }
        let end = tokio::time::timeout(DEADLINE, line.receive::<ToTerminal>()).await;
        assert!(end.expect("the line is closed in time").is_err());
    }
    session.send(&AgentMessage::Heartbeat).await;
}
