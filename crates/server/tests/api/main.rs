//! The API over real sockets: a server on a free port with an empty directory, and requests signed by our own client.
//! Each test is a table: what is asked, and what must come back.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

mod client;
mod clusters;
mod costs;
mod coverage;
mod definitions;
mod discovery;
mod edges;
mod half;
mod iam;
mod logs;
mod service_tasks;
mod services;
mod settings;
mod signatures;
mod tags;
mod task_sets;

use client::Harness;
use serde_json::{Value, json};

/// What must come of a call.
enum Want {
    /// It succeeds, and its answer contains this: objects may have more members, lists not more items, and `null` stands
    /// for a member that must be absent.
    Ok(Value),
    /// It fails with this code, and this in its text.
    Err(&'static str, &'static str),
}

/// One call and its outcome.
type Row = (&'static str, Value, Want);

/// Makes the calls in order.
async fn run(harness: &Harness, service: &str, rows: Vec<Row>) {
    for (number, (operation, input, want)) in rows.into_iter().enumerate() {
        let got = harness.call(service, operation, &input).await;
        let asked = format!("row {number}: {operation} {input}");
        match (want, got) {
            (Want::Ok(want), Ok(got)) => {
                if let Err(path) = contains(&got, &want, "") {
                    panic!("{asked}\ndiffers at {path}\nwant {want:#}\ngot {got:#}");
                }
            }
            (Want::Err(code, text), Err(got)) => {
                assert_eq!(got.code, code, "{asked}: {}", got.message);
                assert!(got.message.contains(text), "{asked}\nwant {text}\ngot {}", got.message);
            }
            (Want::Ok(_), Err(got)) => panic!("{asked}\nfailed: {got}"),
            (Want::Err(code, _), Ok(got)) => panic!("{asked}\nwant {code}\ngot {got:#}"),
        }
    }
}

/// Whether `got` holds what `want` says; the error is the path of the first difference.
fn contains(got: &Value, want: &Value, path: &str) -> Result<(), String> {
    match (got, want) {
        (Value::Object(got), Value::Object(want)) => want.iter().try_for_each(|(name, want)| {
            let path = format!("{path}.{name}");
            match (got.get(name), want) {
                (None, Value::Null) => Ok(()),
                (Some(got), want) if !want.is_null() => contains(got, want, &path),
                (None, _) | (Some(_), _) => Err(path),
            }
        }),
        (Value::Array(got), Value::Array(want)) if got.len() == want.len() => got
            .iter()
            .zip(want)
            .enumerate()
            .try_for_each(|(i, (got, want))| contains(got, want, &format!("{path}.{i}"))),
        (got, want) if got == want => Ok(()),
        _ => Err(path.to_owned()),
    }
}

fn arn(rest: &str) -> String {
    format!("arn:aws:ecs:us-east-1:000000000000:{rest}")
}

#[test]
fn containment_sees_differences() {
    for (got, want, ok) in [
        (json!({"a": 1, "b": [1]}), json!({"a": 1}), true),
        (json!({"a": 1}), json!({"b": null}), true),
        (json!({"a": 1}), json!({"a": null}), false),
        (json!({"a": [1, 2]}), json!({"a": [1]}), false),
        (json!({"a": {"b": 1}}), json!({"a": {"b": 2}}), false),
    ] {
        assert_eq!(contains(&got, &want, "").is_ok(), ok, "{got} {want}");
    }
}
