//! The introspection endpoint, as the original serves it on 127.0.0.1:51678: what this instance is, and its tasks.
//!
//! Read-only and unauthenticated, therefore on loopback of the instance's own namespace.

use crate::{
    engine::{Board, View},
    http::{self, Answer, Bounds, json, respond},
    task::ContainerState,
};
use effects::Effects;
use hyper::{Request, StatusCode, body::Incoming};
use model::{ContainerInstanceArn, ContainerStatus, Desired, NetworkBinding, ObservedStatus, TaskArn, Timestamp};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// Connections at the same time: people and scripts on the instance itself.
const CONNECTIONS: usize = 16;
/// A connection that asks nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(10);
const LICENSE: &str = "Longshore is licensed under the Apache License, Version 2.0. \
                       See http://www.apache.org/licenses/LICENSE-2.0\n";

/// What is served.
pub struct Introspection {
    /// This instance.
    pub container_instance: ContainerInstanceArn,
    /// Its tasks.
    pub board: Arc<Board>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    cluster: String,
    container_instance_arn: String,
    version: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tasks {
    tasks: Vec<Task>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Task {
    arn: String,
    desired_status: &'static str,
    known_status: &'static str,
    family: String,
    version: String,
    containers: Vec<Container>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    docker_id: String,
    docker_name: String,
    name: String,
    image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<Port>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    container_port: u16,
    protocol: &'static str,
    host_port: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Commands {
    available_commands: [&'static str; 3],
}

/// Serves until shutdown.
pub async fn serve(listener: TcpListener, what: Arc<Introspection>, effects: Effects) {
    let bounds = Bounds { connections: CONNECTIONS, of_one: CONNECTIONS, life: IDLE };
    let answer = move |request: Request<Incoming>, _| {
        let response = what.answer_to(request.uri().path(), request.uri().query().unwrap_or_default());
        std::future::ready(response)
    };
    http::serve("introspection", listener, bounds, effects, answer).await;
}

impl Introspection {
    fn answer_to(&self, path: &str, query: &str) -> Answer {
        match path {
            "/v1/metadata" => json(StatusCode::OK, &self.metadata()),
            "/v1/tasks" => self.tasks(query),
            "/license" => respond(StatusCode::OK, "text/plain", LICENSE.into()),
            _ => json(StatusCode::OK, &Commands { available_commands: ["/v1/metadata", "/v1/tasks", "/license"] }),
        }
    }

    fn metadata(&self) -> Metadata {
        Metadata {
            cluster: self.container_instance.cluster.name.to_string(),
            container_instance_arn: self.container_instance.to_string(),
            version: format!("Longshore Agent - v{}", env!("CARGO_PKG_VERSION")),
        }
    }

    fn tasks(&self, query: &str) -> Answer {
        let views = self.board.views();
        let asked = |name: &str| {
            query
                .split('&')
                .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
                .map(|(_, v)| decode(v))
        };
        let found = match (asked("taskarn"), asked("dockerid")) {
            // AWS: both at once is a bad request.
            (Some(_), Some(_)) => return json(StatusCode::BAD_REQUEST, &Tasks { tasks: Vec::new() }),
            (Some(arn), None) => views.into_iter().find(|v| v.plan.assignment.task.to_string() == arn),
            (None, Some(id)) => views.into_iter().find(|v| v.plan.ids.iter().any(|known| known.starts_with(&id))),
            (None, None) => return json(StatusCode::OK, &Tasks { tasks: views.iter().map(task).collect() }),
        };
        match found {
            Some(view) => json(StatusCode::OK, &task(&view)),
            None => json(StatusCode::NOT_FOUND, &serde_json::json!({})),
        }
    }
}

/// ARNs come with their colons and slashes escaped, or not.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits =
            tail.get(..2).and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u8::from_str_radix(d, 16).ok());
        match digits {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            Some(_) | None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn task(view: &View) -> Task {
    let assignment = &view.plan.assignment;
    let arn: &TaskArn = &assignment.task;
    let stops = view.state.stop.is_some() || matches!(assignment.desired, Desired::Stopped(_));
    let known_status = match view.state.observe(arn).status {
        ObservedStatus::Pending => "PENDING",
        ObservedStatus::Running => "RUNNING",
        // AWS: the agent knows no status between.
        ObservedStatus::Stopping(_) => "RUNNING",
        ObservedStatus::Stopped(_) => "STOPPED",
    };
    Task {
        arn: arn.to_string(),
        desired_status: if stops { "STOPPED" } else { "RUNNING" },
        known_status,
        family: assignment.definition.family.to_string(),
        version: assignment.definition.revision.to_string(),
        containers: view.state.containers.iter().enumerate().map(|(at, c)| container(view, at, c)).collect(),
    }
}

fn container(view: &View, at: usize, state: &ContainerState) -> Container {
    let made = state.created.is_some() || state.status() != ContainerStatus::Pending;
    let id = if made { state.runtime_id.to_string() } else { String::new() };
    let ports = state.endpoint.iter().flat_map(|e| &e.bindings).map(port).collect();
    Container {
        docker_name: id.clone(),
        docker_id: id,
        name: state.name.to_string(),
        image: view.plan.containers[at].image.clone(),
        image_id: state.pulled.as_ref().map(|p| p.image_id.to_string()).unwrap_or_default(),
        created_at: state.created.map(rfc3339),
        started_at: state.started.map(rfc3339),
        ports,
    }
}

fn port(binding: &NetworkBinding) -> Port {
    let NetworkBinding { container_port, host_port, protocol, .. } = binding;
    Port { container_port: *container_port, protocol: protocol.as_str(), host_port: *host_port }
}

/// `2026-11-22T09:08:11.137Z`. The calendar is Howard Hinnant's `civil_from_days`, for days since 1970.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    let (days, millis) = (at.0.div_euclid(86_400_000), at.0.rem_euclid(86_400_000));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", millis % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::News, plan::TaskPlan, testing};
    use http_body_util::BodyExt;

    async fn body(response: Answer) -> serde_json::Value {
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    #[tokio::test]
    async fn answers_have_the_originals_form() {
        let board = Arc::new(Board::new(Effects::real()));
        let (assignment, definition) = testing::assignment(1, &["web"]);
        let plan = Arc::new(TaskPlan::new(assignment, definition));
        let mut state = plan.fresh();
        state.containers[0].created = Some(Timestamp(1_790_000_000_123));
        board.publish(View { plan: plan.clone(), state: Arc::new(state) }, News::Now);
        let arn = "arn:aws:ecs:us-east-1:123456789012:container-instance/demo/0123456789abcdef0123456789abcdef";
        let what = Introspection { container_instance: arn.parse().unwrap(), board };
        let metadata = body(what.answer_to("/v1/metadata", "")).await;
        assert_eq!(
            (metadata["Cluster"].as_str(), metadata["ContainerInstanceArn"].as_str()),
            (Some("demo"), Some(arn))
        );
        let all = body(what.answer_to("/v1/tasks", "")).await;
        let one = &all["Tasks"][0];
        assert_eq!((one["Family"].as_str(), one["Version"].as_str()), (Some("web"), Some("3")));
        assert_eq!((one["DesiredStatus"].as_str(), one["KnownStatus"].as_str()), (Some("RUNNING"), Some("PENDING")));
        assert_eq!(one["Containers"][0]["CreatedAt"].as_str(), Some("2026-09-21T14:13:20.123Z"));
        assert!(one["Containers"][0].get("Ports").is_none(), "what is empty is left out");
        let escaped = plan.assignment.task.to_string().replace(':', "%3A").replace('/', "%2F");
        assert_eq!(body(what.answer_to("/v1/tasks", &format!("taskarn={escaped}"))).await, *one);
        assert_eq!(body(what.answer_to("/v1/tasks", &format!("dockerid={}", plan.ids[0]))).await, *one);
        assert_eq!(what.answer_to("/v1/tasks", "dockerid=nope").status(), StatusCode::NOT_FOUND);
        let commands = body(what.answer_to("/", "")).await;
        assert_eq!(commands, serde_json::json!({"AvailableCommands": ["/v1/metadata", "/v1/tasks", "/license"]}));
    }

    #[test]
    fn dates_are_right_around_leap_days() {
        let rows = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (millis, want) in rows {
            assert_eq!(rfc3339(Timestamp(millis)), want);
        }
    }
}
