//! Nothing is answered to whoever cannot prove who they are.

use crate::Harness;
use crate::client::{Answer, credentials, service};
use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Value, json};
use wire::Timestamp;
use wire::sigv4::{Credentials, presign, sign};

const NOW: i64 = 0;

/// How a request is signed, or spoilt after.
struct Case {
    what: &'static str,
    who: fn() -> Credentials,
    service: &'static str,
    /// Milliseconds from now.
    when: i64,
    spoil: fn(&mut http::request::Parts, &mut Bytes),
    /// The code, per protocol.
    json: &'static str,
    query: &'static str,
}

fn cases() -> Vec<Case> {
    let case =
        |what, json, query| Case { what, who: credentials, service: "", when: NOW, spoil: |_, _| {}, json, query };
    vec![
        Case {
            spoil: |parts, _| drop(parts.headers.remove("authorization")),
            ..case("none", "MissingAuthenticationTokenException", "MissingAuthenticationToken")
        },
        Case {
            spoil: |parts, _| {
                drop(parts.headers.insert("authorization", HeaderValue::from_static("AWS4-HMAC-SHA256 Credential=x")))
            },
            ..case("half", "IncompleteSignatureException", "IncompleteSignature")
        },
        Case {
            who: || Credentials { access_key: "AKIANOBODY".to_owned(), ..credentials() },
            ..case("unknown key", "UnrecognizedClientException", "InvalidClientTokenId")
        },
        Case {
            who: || Credentials { session_token: Some("forged".to_owned()), ..credentials() },
            ..case("a session token that nobody gave out", "UnrecognizedClientException", "InvalidClientTokenId")
        },
        Case {
            who: || Credentials { secret_key: "wrong".to_owned(), ..credentials() },
            ..case("wrong secret", "InvalidSignatureException", "SignatureDoesNotMatch")
        },
        Case { when: -6 * 60_000, ..case("old", "InvalidSignatureException", "SignatureDoesNotMatch") },
        Case { when: 6 * 60_000, ..case("early", "InvalidSignatureException", "SignatureDoesNotMatch") },
        Case { service: "s3", ..case("another service", "InvalidSignatureException", "SignatureDoesNotMatch") },
        Case {
            spoil: |_, body| *body = [&body[..], b" "].concat().into(),
            ..case("another body", "InvalidSignatureException", "SignatureDoesNotMatch")
        },
    ]
}

#[tokio::test]
async fn a_signature_is_verified_or_the_request_refused() {
    let harness = Harness::start().await;
    for (name, operation) in [("ecs", "ListClusters"), ("sts", "GetCallerIdentity")] {
        let service = service(name);
        for case in cases() {
            // The scope also tells form requests' services apart, so that one of another service is not routed at all.
            if name == "sts" && !case.service.is_empty() {
                continue;
            }
            let (mut parts, mut body) = harness.request(service, operation, &json!({}));
            let now = Timestamp::from_millis(harness.effects.now().0 + case.when);
            let scope = if case.service.is_empty() { service.signing_name } else { case.service };
            sign(&mut parts, &body, &(case.who)(), ("us-east-1", scope), now).unwrap();
            (case.spoil)(&mut parts, &mut body);
            let answer = harness.send(parts, body).await;
            let error = wire::client::decode_error(service.protocol, answer.status, &answer.body);
            let want = if service.protocol.is_json() { case.json } else { case.query };
            assert_eq!(error.code, want, "{name}, {}: {}", case.what, error.message);
            assert!(answer.status >= 400);
        }
    }
}

fn body(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn callers_learn_who_they_are() {
    let harness = Harness::start().await;
    let got = harness.call("sts", "GetCallerIdentity", &json!({})).await.unwrap();
    let root = json!({"Account": "000000000000", "Arn": "arn:aws:iam::000000000000:root", "UserId": "000000000000"});
    assert_eq!(got, root);
}

#[tokio::test]
async fn a_presigned_link_carries_the_right_to_ask() {
    let harness = Harness::start().await;
    let sts = service("sts");
    let address = harness.server.endpoints()[0];
    let uri = format!("http://{address}/?Action=GetCallerIdentity&Version=2011-06-15");
    for (age, status) in [(NOW, 200), (-120_000, 403)] {
        let (mut parts, ()) = http::Request::get(&uri).body(()).unwrap().into_parts();
        let at = Timestamp::from_millis(harness.effects.now().0 + age);
        presign(&mut parts, &credentials(), ("us-east-1", sts.signing_name), at, 60).unwrap();
        let answer = harness.send(parts, Bytes::new()).await;
        assert_eq!(answer.status, status, "{}", String::from_utf8_lossy(&answer.body));
    }
}

#[tokio::test]
async fn errors_have_aws_envelopes_and_unknown_operations_are_told() {
    let harness = Harness::start().await;
    let ecs = service("ecs");
    let (mut parts, bytes) = harness.request(ecs, "ListClusters", &json!({}));
    parts.headers.insert("x-amz-target", HeaderValue::from_static("AmazonEC2ContainerServiceV20141113.FlyToTheMoon"));
    let answer = harness.send(parts, bytes).await;
    assert_eq!((answer.status, &body(&answer)["__type"]), (400, &json!("UnknownOperationException")));
    assert_eq!(answer.headers["content-type"], "application/x-amz-json-1.1");
    let refused = harness.call("ecs", "DescribeDaemon", &json!({"daemonArn": "d"})).await.unwrap_err();
    assert_eq!(refused.code, "UnsupportedFeatureException");
    assert_eq!(refused.message, "Longshore does not serve DescribeDaemon yet; see docs/coverage.md.");
}
