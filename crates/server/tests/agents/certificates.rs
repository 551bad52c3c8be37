//! Certificates that were stolen, revoked, or never were what they should be.

use crate::agent::{Machine, token};
use crate::{Harness, ecs, list, ok, until};
use link::{AgentMessage, GoodbyeCode, ServerMessage};
use serde_json::json;

#[tokio::test]
async fn a_stolen_certificate_takes_turns_until_it_is_revoked() {
    let harness = Harness::start().await;
    let token = token(&harness, None, 1).await;
    let mut machine = Machine::new(&harness).await;
    let identity = machine.join(&harness, &token, None).await.unwrap();
    let thief = machine.copy();
    let (mut session, _) = machine.session(&harness).await;
    // Each new session ends the one before, so that copy and machine are never both served.
    for _ in 0..5 {
        let (next, _) = thief.session(&harness).await;
        assert_eq!(session.goodbye().await.code, GoodbyeCode::Superseded);
        session = next;
        let (next, _) = machine.session(&harness).await;
        assert_eq!(session.goodbye().await.code, GoodbyeCode::Superseded);
        session = next;
    }
    // Taking turns has an end: whoever has the session keeps it.
    let refused = thief.open(&harness).await.goodbye().await;
    assert!(refused.code == GoodbyeCode::ShuttingDown && refused.message.contains("too often"), "{refused:?}");
    session.report(Vec::new()).await;

    // Deregistering is the way to revoke it: for both, at once, and for good.
    let arn = identity.container_instance.to_string();
    ecs(&harness, "DeregisterContainerInstance", json!({"containerInstance": arn, "force": true})).await;
    assert_eq!(session.goodbye().await.code, GoodbyeCode::Inactive);
    drop(session);
    for copy in [&thief, &machine] {
        assert_eq!(copy.open(&harness).await.goodbye().await.code, GoodbyeCode::Inactive);
    }
    // The machine itself comes back as a new container instance, with a new key and a new token.
    let fresh = crate::agent::token(&harness, None, 1).await;
    let mut again = Machine::new(&harness).await;
    let new = again.join(&harness, &fresh, None).await.unwrap();
    assert_ne!(new, identity);
    let _session = again.session(&harness).await;
    let call = ("ListContainerInstances", json!({"filter": "agentConnected == true"}));
    until(&harness, "the new instance", "ecs", call, |answer| {
        list(&answer["containerInstanceArns"]) == [json!(new.container_instance.to_string())]
    })
    .await;
}

#[tokio::test]
async fn what_is_no_agents_certificate_opens_no_session() {
    let harness = Harness::start().await;
    let ca = harness.server.context().config.data_dir.join("ca");
    let token = token(&harness, None, 1).await;
    let mut machine = Machine::new(&harness).await;
    let identity = machine.join(&harness, &token, None).await.unwrap();
    let (mut living, _) = machine.session(&harness).await;
    let uri = identity.to_string();
    // By our CA, but for a server; not for an instance; for none; for two. And right, but by nobody's CA.
    let rows: [(&str, &[&str], bool); 4] = [
        ("server's use", &[&uri], true),
        ("somebody's name", &["longshore://nobody"], false),
        ("no name", &[], false),
        ("two names", &[&uri, "longshore://000000000000/us-east-1/default/00112233445566778899aabbccddeeff"], false),
    ];
    for (what, names, for_servers) in rows {
        let mut forger = machine.copy();
        forger.certify(&ca, names, for_servers, harness.effects.now());
        assert!(!forger.is_let_in(&harness).await, "{what}");
    }
    let mut forger = machine.copy();
    forger.certify_itself(&uri, harness.effects.now());
    assert!(!forger.is_let_in(&harness).await, "its own CA");
    let nobody = Machine::new(&harness).await;
    assert!(!nobody.is_let_in(&harness).await, "no certificate");
    // None of them has disturbed the machine.
    living.report(Vec::new()).await;
    let answer = ok(&harness, "ecs", "ListContainerInstances", json!({"filter": "agentConnected == true"})).await;
    assert_eq!(list(&answer["containerInstanceArns"]), [json!(identity.container_instance.to_string())]);
    // A message that is none ends a session, and only that one.
    let mut wild = machine.dial(&harness, link::ALPN_SESSION, true).await;
    wild.send(&json!({"hello": 7})).await.unwrap();
    assert!(wild.receive::<ServerMessage>().await.is_err());
    living.send(&AgentMessage::Heartbeat).await;
    living.report(Vec::new()).await;
}

#[tokio::test]
async fn half_handshakes_keep_no_machine_out() {
    use tokio::io::AsyncWriteExt;
    let harness = Harness::start().await;
    let token = token(&harness, None, 1).await;
    let mut dawdlers = Vec::new();
    // The beginning of a TLS greeting that never ends, and nothing at all.
    for number in 0..1_000 {
        let mut stream = tokio::net::TcpStream::connect(harness.server.links()[0]).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.unwrap();
        }
        dawdlers.push(stream);
    }
    let mut machine = Machine::new(&harness).await;
    machine.join(&harness, &token, None).await.unwrap();
    let (mut session, _) = machine.session(&harness).await;
    session.report(Vec::new()).await;
}
