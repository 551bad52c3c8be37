//! The HTTP side's bounds and our own pages.

use crate::Harness;
use crate::client::{credentials, service};
use bytes::Bytes;
use serde_json::{Value, json};
use server::TlsFiles;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn get(harness: &Harness, page: &str) -> crate::client::Answer {
    let uri = format!("http://{}{page}", harness.server.endpoints()[0]);
    harness.send(http::Request::get(uri).body(()).unwrap().into_parts().0, Bytes::new()).await
}

#[tokio::test]
async fn own_pages_need_no_signature() {
    let harness = Harness::start().await;
    let health = get(&harness, "/.longshore/health").await;
    let told: Value = serde_json::from_slice(&health.body).unwrap();
    assert_eq!((health.status, &told["status"]), (200, &json!("ok")));
    assert_eq!(get(&harness, "/.longshore/secrets").await.status, 404);
}

#[tokio::test]
async fn bodies_are_bounded() {
    let harness = Harness::start_with(|config| config.limits.body_bytes = 1_000).await;
    let name = "x".repeat(2_000);
    let refused = harness.call("ecs", "CreateCluster", &json!({"clusterName": name})).await.unwrap_err();
    assert_eq!((refused.status, &*refused.code), (413, "RequestEntityTooLargeException"));
    harness.call("ecs", "ListClusters", &json!({})).await.unwrap();
}

#[tokio::test]
async fn rubbish_is_refused_politely() {
    let harness = Harness::start().await;
    let ecs = service("ecs");
    for rubbish in ["{", "[]", "\"x\"", "{\"clusters\": 7}"] {
        let (mut parts, _) = harness.request(ecs, "DescribeClusters", &json!({}));
        let now = harness.now();
        wire::sigv4::sign(&mut parts, rubbish.as_bytes(), &credentials(), ("us-east-1", "ecs"), now).unwrap();
        let answer = harness.send(parts, rubbish.into()).await;
        let told: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &told["__type"]), (400, &json!("SerializationException")), "{rubbish}");
    }
}

#[tokio::test]
async fn whoever_dawdles_over_a_head_is_cut_off() {
    let harness = Harness::start_with(|config| config.limits.header_timeout = Duration::from_millis(50)).await;
    let mut stream = TcpStream::connect(harness.server.endpoints()[0]).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut rest = Vec::new();
    // Cut off is an end or a reset; waiting for ever is what must not happen.
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the server closes the connection");
}

#[tokio::test]
async fn a_restart_keeps_what_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let harness = Harness::start_with(|config| config.data_dir.clone_from(&data)).await;
    harness.call("ecs", "CreateCluster", &json!({"clusterName": "kept"})).await.unwrap();
    harness.call("logs", "CreateLogGroup", &json!({"logGroupName": "kept"})).await.unwrap();
    assert!(harness.server.shutdown().await, "nothing hangs at shutdown");
    let again = Harness::start_with(|config| config.data_dir.clone_from(&data)).await;
    let clusters = again.call("ecs", "ListClusters", &json!({})).await.unwrap();
    assert_eq!(clusters["clusterArns"], json!([crate::arn("cluster/kept")]));
    let groups = again.call("logs", "DescribeLogGroups", &json!({})).await.unwrap();
    assert_eq!(groups["logGroups"][0]["logGroupName"], json!("kept"));
}

#[tokio::test]
async fn the_endpoint_speaks_tls_when_given_a_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles { certificate: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let harness = Harness::start_with(|config| config.tls = Some(files)).await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(harness.server.endpoints()[0]).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    stream.write_all(b"GET /.longshore/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answer));
}
