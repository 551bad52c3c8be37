use crate::agent::{Machine, Token, token};
use crate::{Harness, code, ecs, list, ok, text};
use link::{AgentMessage, GoodbyeCode, JoinAnswer, ServerMessage};
use serde_json::json;

#[tokio::test]
async fn only_a_right_token_lets_a_machine_in() {
    let harness = Harness::start().await;
    let good = token(&harness, Some("demo"), 1).await;
    let mut machine = Machine::new(&harness).await;
    for wrong in [
        Token { id: good.id.clone(), code: "0".repeat(20) },
        Token { id: good.id.clone(), code: String::new() },
        Token { id: "00000000-0000-4000-8000-000000000000".into(), code: good.code.clone() },
    ] {
        let refusal = machine.join(&harness, &wrong, None).await.unwrap_err();
        // One sentence for all, so that nobody learns which part was right.
        assert!(refusal.message.contains("not valid") && !refusal.retry, "{}", refusal.message);
    }
    let identity = machine.join(&harness, &good, None).await.unwrap();
    assert_eq!(identity.container_instance.cluster.name.as_str(), "demo");
    assert!(identity.ec2_instance_id.unwrap().starts_with("mi-"));
}

#[tokio::test]
async fn a_replayed_token_gives_the_same_identity_to_the_same_key_only() {
    let harness = Harness::start().await;
    let token = token(&harness, None, 1).await;
    let (mut machine, mut thief) = (Machine::new(&harness).await, Machine::new(&harness).await);
    let first = machine.join(&harness, &token, Some("demo")).await.unwrap();
    assert_eq!(machine.join(&harness, &token, Some("demo")).await.unwrap(), first);
    let refusal = thief.join(&harness, &token, Some("demo")).await.unwrap_err();
    assert!(refusal.message.contains("as many machines"), "{}", refusal.message);
    let answer = ok(&harness, "ssm", "DescribeActivations", json!({})).await;
    let shown = &list(&answer["ActivationList"])[0];
    assert_eq!((text(&shown["ActivationId"]), shown["RegistrationsCount"].as_i64()), (token.id.as_str(), Some(1)));
    ok(&harness, "ssm", "DeleteActivation", json!({"ActivationId": token.id})).await;
    assert!(machine.join(&harness, &token, Some("demo")).await.is_err());
    assert_eq!(code(&harness, "ssm", "DeleteActivation", json!({"ActivationId": token.id})).await, "InvalidActivation");
}

#[tokio::test]
async fn of_eight_machines_with_a_token_for_one_exactly_one_joins() {
    let harness = Harness::start().await;
    let token = token(&harness, Some("demo"), 1).await;
    let mut machines = Vec::new();
    for _ in 0..8 {
        machines.push(Machine::new(&harness).await);
    }
    let all = machines.iter_mut().map(|machine| machine.join(&harness, &token, None));
    let answers = futures::future::join_all(all).await;
    let joined: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    assert_eq!(joined.len(), 1, "{answers:?}");
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    assert!(refused.clone().all(|r| r.message.contains("as many machines") && !r.retry), "{answers:?}");
    assert_eq!(refused.count(), 7);
    let shown = ok(&harness, "ssm", "DescribeActivations", json!({})).await;
    assert_eq!(list(&shown["ActivationList"])[0]["RegistrationsCount"], 1);
}

#[tokio::test]
async fn a_token_that_has_expired_lets_in_only_whom_it_let_in_before() {
    let harness = Harness::start().await;
    let soon = harness.effects.now().0 as f64 / 1000.0 + 6.0;
    let input = json!({"IamRole": "none", "RegistrationLimit": 1000, "ExpirationDate": soon});
    let answer = ok(&harness, "ssm", "CreateActivation", input).await;
    let token = Token { id: text(&answer["ActivationId"]).into(), code: text(&answer["ActivationCode"]).into() };
    let mut early = Machine::new(&harness).await;
    let identity = early.join(&harness, &token, None).await.unwrap();
    let begin = harness.effects.monotonic();
    let refusal = loop {
        let mut late = Machine::new(&harness).await;
        match late.join(&harness, &token, None).await {
            Ok(_) => assert!(harness.effects.monotonic() - begin < crate::DEADLINE, "the token does not expire"),
            Err(refusal) => break refusal,
        }
        harness.effects.sleep(crate::LOOK * 10).await;
    };
    assert!(refusal.message.contains("expired") && !refusal.retry, "{}", refusal.message);
    assert_eq!(early.join(&harness, &token, None).await.unwrap(), identity);
}

#[tokio::test]
async fn a_token_for_one_cluster_does_not_open_another() {
    let harness = Harness::start().await;
    let token = token(&harness, Some("demo"), 5).await;
    let mut machine = Machine::new(&harness).await;
    let joined = machine.join(&harness, &token, Some("other")).await;
    let cluster = joined.map(|identity| identity.container_instance.cluster.name.to_string());
    // Whatever the agent asks for, the token's cluster is the one it gets.
    assert_eq!(cluster.ok().as_deref(), Some("demo"));
}

#[tokio::test]
async fn the_default_cluster_comes_to_be_when_it_is_first_joined() {
    let harness = Harness::start().await;
    let token = token(&harness, None, 1).await;
    let mut machine = Machine::new(&harness).await;
    machine.join(&harness, &token, None).await.unwrap();
    let (_session, _) = machine.session(&harness).await;
    let answer = ecs(&harness, "DescribeClusters", json!({})).await;
    assert_eq!(answer["clusters"][0]["registeredContainerInstancesCount"], 1);
}

#[tokio::test]
async fn a_session_needs_a_certificate() {
    let harness = Harness::start().await;
    let machine = Machine::new(&harness).await;
    let mut framed = machine.dial(&harness, link::ALPN_SESSION, false).await;
    let _ = framed.send(&link::AgentMessage::Hello(crate::agent::hello())).await;
    assert!(framed.receive::<link::ServerMessage>().await.is_err());
    let answer = ecs(&harness, "ListClusters", json!({})).await;
    assert!(list(&answer["clusterArns"]).is_empty());
}

#[tokio::test]
async fn a_machine_whose_certificate_ran_out_renews_it_without_a_token() {
    let harness = Harness::start().await;
    let ca = harness.server.context().config.data_dir.join("ca");
    let now = harness.effects.now();
    let token = token(&harness, None, 2).await;
    let mut machine = Machine::new(&harness).await;
    let identity = machine.join(&harness, &token, None).await.unwrap();
    let (living, _) = machine.session(&harness).await;
    machine.expire(&ca, &identity, now);
    // Whoever has an old key does not get past the machine itself, and does not disturb it.
    let refused = machine.open(&harness).await.goodbye().await;
    assert!(refused.code == GoodbyeCode::ShuttingDown && refused.message.contains("ran out"), "{refused:?}");
    drop(living);
    // Once its last session is over it is let in, and becomes what it was.
    let begin = harness.effects.monotonic();
    let mut session = loop {
        let mut session = machine.open(&harness).await;
        match session.receive().await {
            ServerMessage::Welcome(_) => break session,
            refused => assert!(harness.effects.monotonic() - begin < crate::DEADLINE, "{refused:?}"),
        }
        harness.effects.sleep(crate::LOOK).await;
    };
    let _ = session.assignments().await;
    session.send(&machine.renewal()).await;
    let ServerMessage::Renewed(JoinAnswer::Joined { certificate_pem, .. }) = session.receive().await else {
        panic!("no renewal");
    };
    assert_eq!(machine.take(&certificate_pem), identity);
    drop(session);
    let (session, _) = machine.session(&harness).await;
    drop(session);

    // Deregistered, it has nothing to come back to; nor has an instance that this server does not know.
    let input = json!({"containerInstance": identity.container_instance.to_string(), "force": true});
    ecs(&harness, "DeregisterContainerInstance", input).await;
    machine.expire(&ca, &identity, now);
    assert_eq!(machine.open(&harness).await.goodbye().await.code, GoodbyeCode::Inactive);
    let mut stranger = Machine::new(&harness).await;
    let unknown = stranger.join(&harness, &token, None).await.unwrap();
    stranger.expire(&ca, &unknown, now);
    assert_eq!(stranger.open(&harness).await.goodbye().await.code, GoodbyeCode::Inactive);

    // A certificate of somebody else's CA is no better for having run out.
    let other = Harness::start().await;
    let (mut forger, trusting) = (Machine::new(&other).await, Machine::new(&harness).await);
    forger.expire(&other.server.context().config.data_dir.join("ca"), &identity, now);
    forger.trust(&trusting);
    let mut framed = forger.dial(&harness, link::ALPN_SESSION, true).await;
    let _ = framed.send(&AgentMessage::Hello(crate::agent::hello())).await;
    assert!(framed.receive::<ServerMessage>().await.is_err());
}
