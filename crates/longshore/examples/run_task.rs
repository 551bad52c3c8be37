//! Our side of `bench/containers`: RunTask and StopTask over the public wire, on one signed keep-alive connection.
//!
//! `run_task DEFINITION` takes endpoint and credentials from the AWS environment variables and reads commands from its
//! input, one a line, answering each with a line of JSON: `start COUNT PARALLEL POLL-MS` runs tasks and waits until
//! DescribeTasks shows them RUNNING, asking every POLL-MS; `stop PARALLEL POLL-MS` stops all of them and waits for STOPPED.
//! `burst COUNT POLL-MS` runs them with as few calls as there can be, ten tasks each, all at once.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods, reason = "a measuring tool")]

use futures::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy, rt::TokioExecutor};
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};
use wire::sigv4;

/// Tasks that one RunTask may start.
const PER_CALL: usize = 10;
/// A task that takes so long is broken, and so is the measurement.
const PATIENCE: Duration = Duration::from_secs(120);

/// One task that came to run.
struct Done {
    arn: String,
    /// When it was asked for, in microseconds since 1970.
    at: i64,
    /// Milliseconds until RunTask was answered, and until it was seen RUNNING.
    answered: f64,
    running: f64,
    recorded: f64,
}

struct Api {
    http: legacy::Client<legacy::connect::HttpConnector, Full<bytes::Bytes>>,
    endpoint: String,
    region: String,
    credentials: sigv4::Credentials,
    definition: String,
}

#[tokio::main]
async fn main() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let api = Api {
        http: legacy::Client::builder(TokioExecutor::new()).build_http(),
        endpoint: variable("AWS_ENDPOINT_URL"),
        region: variable("AWS_DEFAULT_REGION"),
        credentials: sigv4::Credentials {
            access_key: variable("AWS_ACCESS_KEY_ID"),
            secret_key: variable("AWS_SECRET_ACCESS_KEY"),
            session_token: None,
        },
        definition: std::env::args().nth(1).expect("a task definition"),
    };
    let mut running: Vec<String> = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let began = Instant::now();
        let mut answer = match words[..] {
            ["start", count, parallel, poll] => {
                api.start(number(count), number(parallel), number(poll), &mut running).await
            }
            ["burst", count, poll] => api.burst(number(count), number(poll), &mut running).await,
            ["stop", parallel, poll] => api.stop(std::mem::take(&mut running), number(parallel), number(poll)).await,
            _ => panic!("start COUNT PARALLEL POLL-MS | burst COUNT POLL-MS | stop PARALLEL POLL-MS"),
        };
        answer["wall_ms"] = millis(began).into();
        println!("{answer}");
        std::io::stdout().flush().unwrap();
    }
}

fn number(text: &str) -> usize {
    text.parse().unwrap()
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

impl Api {
    async fn call(&self, operation: &str, input: &Value) -> Value {
        let body = input.to_string();
        let request = http::Request::post(format!("{}/", self.endpoint))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("AmazonEC2ContainerServiceV20141113.{operation}"))
            .body(())
            .unwrap();
        let (mut parts, ()) = request.into_parts();
        let now = wire::Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
        sigv4::sign(&mut parts, body.as_bytes(), &self.credentials, (&self.region, "ecs"), now).unwrap();
        let answer = self.http.request(http::Request::from_parts(parts, Full::from(body))).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{operation}: {status} {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    async fn run(&self, count: usize) -> Vec<String> {
        let answer = self.call("RunTask", &json!({ "taskDefinition": self.definition, "count": count })).await;
        let arns: Vec<String> =
            answer["tasks"].as_array().unwrap().iter().map(|t| t["taskArn"].as_str().unwrap().to_owned()).collect();
        assert_eq!(arns.len(), count, "{answer}");
        arns
    }

    /// Asks until all of them have the status; their last description.
    async fn wait(&self, arns: &[String], status: &str, poll: usize) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let answer = self.call("DescribeTasks", &json!({ "tasks": arns })).await;
            let tasks = answer["tasks"].as_array().unwrap();
            if tasks.len() == arns.len() && tasks.iter().all(|t| t["lastStatus"] == status) {
                return tasks.clone();
            }
            let stopped = tasks.iter().find(|t| t["lastStatus"] == "STOPPED" && status != "STOPPED");
            assert!(stopped.is_none(), "stopped instead: {}", stopped.unwrap());
            assert!(began.elapsed() < PATIENCE, "not {status} in time: {answer}");
            tokio::time::sleep(Duration::from_millis(poll as u64)).await;
        }
    }

    async fn start(&self, count: usize, parallel: usize, poll: usize, running: &mut Vec<String>) -> Value {
        let work = (0..count).map(|_| async move {
            let (began, at) = (Instant::now(), jiff::Timestamp::now().as_microsecond());
            let arns = self.run(1).await;
            let answered = millis(began);
            let tasks = self.wait(&arns, "RUNNING", poll).await;
            Done { arn: arns[0].clone(), at, answered, running: millis(began), recorded: recorded(&tasks[0]) }
        });
        let done: Vec<_> = futures::stream::iter(work).buffer_unordered(parallel).collect().await;
        running.extend(done.iter().map(|d| d.arn.clone()));
        let column = |pick: fn(&Done) -> f64| done.iter().map(pick).collect::<Vec<_>>();
        json!({
            "at_us": done.iter().map(|d| d.at).collect::<Vec<_>>(), "answered_ms": column(|d| d.answered),
            "each_ms": column(|d| d.running), "recorded_ms": column(|d| d.recorded),
        })
    }

    async fn burst(&self, count: usize, poll: usize, running: &mut Vec<String>) -> Value {
        let calls = (0..count / PER_CALL).map(|_| self.run(PER_CALL));
        let arns: Vec<String> = futures::future::join_all(calls).await.concat();
        let tasks = self.wait(&arns, "RUNNING", poll).await;
        running.extend(arns);
        json!({ "each_ms": [], "recorded_ms": tasks.iter().map(recorded).collect::<Vec<_>>() })
    }

    async fn stop(&self, running: Vec<String>, parallel: usize, poll: usize) -> Value {
        let work = running.iter().map(|arn| async move {
            let began = Instant::now();
            self.call("StopTask", &json!({ "task": arn })).await;
            self.wait(std::slice::from_ref(arn), "STOPPED", poll).await;
            millis(began)
        });
        let each: Vec<f64> = futures::stream::iter(work).buffer_unordered(parallel).collect().await;
        json!({ "each_ms": each })
    }
}

/// Milliseconds from creation to start by the task's own record.
fn recorded(task: &Value) -> f64 {
    (task["startedAt"].as_f64().unwrap() - task["createdAt"].as_f64().unwrap()) * 1000.0
}
