//! The load: each connection is kept open and carries one request at a time, each signed anew, each answer read whole.

use super::{Endpoint, latencies};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use tokio::net::TcpStream;
use wire::sigv4;

#[derive(Args)]
pub(crate) struct Load {
    #[command(flatten)]
    endpoint: Endpoint,
    /// An operation of ECS.
    #[arg(long)]
    operation: String,
    /// A file with a JSON list of inputs, which are sent in turn.
    #[arg(long)]
    inputs: PathBuf,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// How long.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Or fewer, if that many requests were answered before.
    #[arg(long, default_value_t = u64::MAX)]
    requests: u64,
    /// What a good answer contains; one without it is an error.
    #[arg(long)]
    expect: Option<String>,
}

/// What all connections share.
struct Plan {
    load: Load,
    credentials: sigv4::Credentials,
    target: String,
    inputs: Vec<Bytes>,
    end: Instant,
    sent: AtomicU64,
}

/// What one connection saw.
#[derive(Default)]
struct Seen {
    times: Vec<Duration>,
    errors: u64,
    bytes: u64,
    complaint: Option<String>,
}

/// Seconds of CPU this process has used.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

pub(crate) async fn run(load: Load) -> Result<()> {
    let text = std::fs::read_to_string(&load.inputs).context("the inputs")?;
    let inputs: Vec<Value> = serde_json::from_str(&text)?;
    if inputs.is_empty() {
        bail!("there are no inputs");
    }
    let credentials = sigv4::Credentials {
        access_key: load.endpoint.access_key.clone(),
        secret_key: load.endpoint.secret_key.clone(),
        session_token: None,
    };
    let plan = Arc::new(Plan {
        credentials,
        target: format!("AmazonEC2ContainerServiceV20141113.{}", load.operation),
        inputs: inputs.iter().map(|input| Bytes::from(input.to_string())).collect(),
        end: Instant::now() + Duration::from_secs_f64(load.seconds),
        sent: AtomicU64::new(0),
        load,
    });
    let (start, cpu_before) = (Instant::now(), cpu());
    let workers = (0..plan.load.connections).map(|number| tokio::spawn(worker(plan.clone(), number)));
    let workers: Vec<_> = workers.collect();
    let mut all = Seen::default();
    for worker in workers {
        let seen = worker.await??;
        all.times.extend(seen.times);
        all.errors += seen.errors;
        all.bytes += seen.bytes;
        all.complaint = all.complaint.or(seen.complaint);
    }
    let (span, cpu_used) = (start.elapsed().as_secs_f64(), cpu() - cpu_before);
    let requests = all.times.len();
    let mut out = latencies(all.times);
    let more = json!({
        "operation": plan.load.operation, "connections": plan.load.connections, "requests": requests,
        "errors": all.errors, "complaint": all.complaint, "seconds": span,
        "per_second": (requests as f64 / span * 10.0).round() / 10.0,
        "client_cores": (cpu_used / span * 1000.0).round() / 1000.0,
        "answer_bytes": all.bytes / (requests as u64).max(1),
    });
    out.extend(more.as_object().cloned().unwrap_or_default());
    println!("{}", Value::Object(out));
    Ok(())
}

async fn worker(plan: Arc<Plan>, number: usize) -> Result<Seen> {
    let (mut seen, mut connection) = (Seen::default(), None);
    // Neighbours begin at different inputs.
    let mut next = number * plan.inputs.len() / plan.load.connections;
    while Instant::now() < plan.end && plan.sent.fetch_add(1, Ordering::Relaxed) < plan.load.requests {
        let request = signed(&plan, plan.inputs[next % plan.inputs.len()].clone())?;
        next += 1;
        let start = Instant::now();
        let answer = exchange(&plan, &mut connection, request).await;
        seen.times.push(start.elapsed());
        match answer {
            Ok(answer) => seen.bytes += answer,
            Err(error) => {
                (seen.errors, connection) = (seen.errors + 1, None);
                seen.complaint.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }
    Ok(seen)
}

type Connection = SendRequest<Full<Bytes>>;

/// One request and its whole answer; how long that is.
async fn exchange(plan: &Plan, kept: &mut Option<Connection>, request: http::Request<Full<Bytes>>) -> Result<u64> {
    // Some servers close after every answer; then dialling again is part of the request.
    let mut sender = match kept.take().filter(|sender| !sender.is_closed()) {
        Some(sender) => sender,
        None => dial(&plan.load.endpoint.endpoint).await?,
    };
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let answer = answer.into_body().collect().await?.to_bytes();
    let expected = plan.load.expect.as_deref().is_none_or(|text| contains(&answer, text.as_bytes()));
    if !status.is_success() || !expected {
        bail!("{status}: {}", String::from_utf8_lossy(&answer));
    }
    *kept = Some(sender);
    Ok(answer.len() as u64)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

async fn dial(endpoint: &str) -> Result<Connection> {
    let stream = TcpStream::connect(endpoint).await.with_context(|| format!("dialling {endpoint}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with its sender; what goes wrong with it the sender tells.
    tokio::spawn(connection);
    Ok(sender)
}

fn signed(plan: &Plan, body: Bytes) -> Result<http::Request<Full<Bytes>>> {
    let request = http::Request::post("/")
        .header("host", &plan.load.endpoint.endpoint)
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", &plan.target);
    let (mut parts, ()) = request.body(())?.into_parts();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
    let now = wire::Timestamp::from_millis(i64::try_from(now)?);
    sigv4::sign(&mut parts, &body, &plan.credentials, (&plan.load.endpoint.region, "ecs"), now)?;
    Ok(http::Request::from_parts(parts, Full::new(body)))
}
