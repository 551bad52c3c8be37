//! The link and what hangs on it: a server on free ports, and agents that speak the real protocol over real TLS, or hosts
//! that only write down what is asked of them.

// Helpers of tests may unwrap as tests may, and a message that is not the expected one fails whatever it is.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

#[path = "../api/client.rs"]
mod client;

mod agent;
mod awsvpc;
mod capacity;
mod certificates;
mod connect;
mod discovery;
mod efs;
mod events;
mod fargate;
mod gpus;
mod instances;
mod joining;
mod machines;
mod placement;
mod restart;
mod roles;
mod scaling;
mod secret_files;
mod secrets;
mod services;
mod sessions;
mod terminals;
mod usage;

use client::Harness;
use serde_json::{Value, json};
use std::time::Duration;

/// Longest that anything waited for may take: these machines are slow and shared.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// Calls that must succeed.
async fn ok(harness: &Harness, service: &str, operation: &str, input: Value) -> Value {
    match harness.call(service, operation, &input).await {
        Ok(answer) => answer,
        Err(error) => panic!("{operation} {input} failed: {error}"),
    }
}

async fn ecs(harness: &Harness, operation: &str, input: Value) -> Value {
    ok(harness, "ecs", operation, input).await
}

async fn ec2(harness: &Harness, operation: &str, input: Value) -> Value {
    ok(harness, "ec2", operation, input).await
}

/// The code of a call that must fail.
async fn code(harness: &Harness, service: &str, operation: &str, input: Value) -> String {
    match harness.call(service, operation, &input).await {
        Ok(answer) => panic!("{operation} {input} succeeded: {answer:#}"),
        Err(error) => error.code.into_owned(),
    }
}

/// Looks until the answer is what it should be.
async fn until(
    harness: &Harness,
    what: &str,
    service: &str,
    call: (&str, Value),
    is: impl Fn(&Value) -> bool,
) -> Value {
    let begin = harness.effects.monotonic();
    loop {
        let answer = ok(harness, service, call.0, call.1.clone()).await;
        if is(&answer) {
            return answer;
        }
        assert!(harness.effects.monotonic() - begin < DEADLINE, "{what} did not come: {answer:#}");
        harness.effects.sleep(LOOK).await;
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_else(|| panic!("{value} is no list"))
}

/// Registers `web:1`: one container with a port that the agent chooses.
async fn web(harness: &Harness) {
    let container = json!({
        "name": "app", "image": "busybox", "memory": 64, "cpu": 10,
        "portMappings": [{"containerPort": 80}],
    });
    ecs(harness, "RegisterTaskDefinition", json!({"family": "web", "containerDefinitions": [container]})).await;
}

/// Registers an instance through the API, as the original's agent does; its ARN.
async fn instance(harness: &Harness, cluster: &str, zone: &str, cpu: i32) -> String {
    let number = |name: &str, value: i32| json!({"name": name, "type": "INTEGER", "integerValue": value});
    let answer = ecs(
        harness,
        "RegisterContainerInstance",
        json!({
            "cluster": cluster,
            "totalResources": [
                number("CPU", cpu),
                number("MEMORY", 100_000),
                {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22", "51678"]},
                {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
            ],
            "attributes": [
                {"name": "com.amazonaws.ecs.capability.docker-remote-api.1.18"},
                {"name": "ecs.availability-zone", "value": zone},
                {"name": "stack", "value": "prod"},
            ],
        }),
    )
    .await;
    text(&answer["containerInstance"]["containerInstanceArn"]).to_owned()
}
