//! Clients that send half a request for ever, and what they cost everybody else: nothing.

use crate::Harness;
use bytes::Bytes;
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything waited for here takes on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is never finished: no head, half a head, a head without its body, half a body.
const HALVES: [&str; 4] = [
    "",
    "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: Am",
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"clus",
];

async fn halves(harness: &Harness, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for half in HALVES.iter().cycle().take(count) {
        let mut stream = TcpStream::connect(harness.server.endpoints()[0]).await.unwrap();
        stream.write_all(half.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    streams
}

/// Whether the server has closed it. An end or a reset; no answer is due to a request that was not finished.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn a_thousand_half_requests_keep_nobody_out() {
    // Fewer places than dawdlers, and bounds that none of them reaches within the test.
    let harness = Harness::start_with(|config| {
        config.limits.connections = 64;
        config.limits.header_timeout = PATIENCE * 10;
        config.limits.request_timeout = PATIENCE * 10;
        config.limits.client_timeout = PATIENCE * 10;
    })
    .await;
    let flood = halves(&harness, 1_000);
    let normal = async {
        for number in 0..20 {
            let input = json!({"clusterName": format!("c{number}")});
            let call = harness.call("ecs", "CreateCluster", &input);
            tokio::time::timeout(PATIENCE, call).await.expect("a normal client is served").unwrap();
        }
    };
    let (mut flood, ()) = tokio::join!(flood, normal);
    // Those that came first had to make room; the last ones may stay as long as nobody needs their places.
    assert!(is_closed(&mut flood[0]).await);
    let answer = harness.call("ecs", "ListClusters", &json!({})).await.unwrap();
    assert_eq!(answer["clusterArns"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn half_a_request_is_given_up_after_its_time() {
    let harness = Harness::start_with(|config| {
        config.limits.header_timeout = Duration::from_millis(200);
        config.limits.request_timeout = Duration::from_millis(200);
        config.limits.client_timeout = Duration::from_millis(400);
    })
    .await;
    for mut stream in halves(&harness, HALVES.len()).await {
        assert!(is_closed(&mut stream).await);
    }
    // Each byte now and then is no more of a request than none.
    let mut drip = TcpStream::connect(harness.server.endpoints()[0]).await.unwrap();
    drip.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    let cut = async {
        while drip.write_all(b"x").await.is_ok() {
            harness.effects.sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, cut).await.expect("a drip is cut off");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() {
    let harness = Harness::start_with(|config| config.limits.client_timeout = Duration::from_millis(300)).await;
    let mut deaf = TcpStream::connect(harness.server.endpoints()[0]).await.unwrap();
    // Pages are asked for and never read, until no buffer between us takes more of them and the server stands still.
    let ask = b"GET /.longshore/ca.pem HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
    let asking = async { while deaf.write_all(&ask).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, asking).await.expect("the connection is closed under the client that does not read");
}

#[tokio::test]
async fn who_sends_too_much_can_read_why_it_was_refused() {
    let harness = Harness::start_with(|config| config.limits.body_bytes = 1_000).await;
    let long = vec![b'x'; 20 << 20];
    for length in ["Content-Length: 20971520\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut stream = TcpStream::connect(harness.server.endpoints()[0]).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        if length.starts_with('T') {
            stream.write_all(format!("{:x}\r\n", long.len()).as_bytes()).await.unwrap();
        }
        stream.write_all(&long).await.expect("all of it is taken");
        if length.starts_with('T') {
            stream.write_all(b"\r\n0\r\n\r\n").await.unwrap();
        }
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("A request may have at most 1000 bytes."), "{answer}");
    }
    let health = format!("http://{}/.longshore/health", harness.server.endpoints()[0]);
    let health = http::Request::get(health).body(()).unwrap().into_parts().0;
    assert_eq!(harness.send(health, Bytes::new()).await.status, 200);
}
