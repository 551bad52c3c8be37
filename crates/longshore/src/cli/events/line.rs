//! One event as one line: when, what kind, how it stands, which, and why. Pure.

use crate::cli::terminal::harmless;
use console::Style;
use serde_json::Value;

/// How something stands, in a colour where colours are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Good,
    OnTheWay,
    Bad,
    Over,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Good => Style::new().green(),
            Self::OnTheWay => Style::new().yellow(),
            Self::Bad => Style::new().red().bold(),
            Self::Over => Style::new().dim(),
        }
    }
}

/// What a line says.
struct Said {
    kind: &'static str,
    state: String,
    tone: Tone,
    /// What stands behind the state; what is empty is left out.
    facts: Vec<String>,
}

/// The line of an event.
pub(super) fn line(event: &Value) -> String {
    let detail = &event["detail"];
    let said = match text(&event["detail-type"]) {
        "ECS Task State Change" => task(detail),
        "ECS Container Instance State Change" => instance(detail),
        "ECS Service Action" => service(event, detail),
        "ECS Deployment State Change" => deployment(event, detail),
        other => {
            Said { kind: "event", state: other.to_owned(), tone: Tone::Over, facts: vec![resource(event).to_owned()] }
        }
    };
    let facts: Vec<_> = said.facts.iter().filter(|fact| !fact.is_empty()).map(|fact| harmless(fact)).collect();
    let state = said.tone.style().apply_to(format!("{:<11}", said.state));
    format!("{}  {:<10}  {state}  {}", harmless(text(&event["time"])), said.kind, facts.join("  "))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What stands behind the last slash.
fn name(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or_default()
}

fn resource(event: &Value) -> &str {
    name(text(&event["resources"][0]))
}

fn task(detail: &Value) -> Said {
    let status = text(&detail["lastStatus"]);
    let is_to_stop = text(&detail["desiredStatus"]) == "STOPPED";
    let code = text(&detail["stopCode"]);
    let containers = detail["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ended = containers.iter().filter_map(ended);
    let failed = code == "TaskFailedToStart"
        || (code == "EssentialContainerExited" && containers.iter().any(|c| c["exitCode"].as_i64() != Some(0)));
    let tone = match status {
        _ if failed => Tone::Bad,
        "RUNNING" if !is_to_stop => Tone::Good,
        "STOPPED" => Tone::Over,
        _ => Tone::OnTheWay,
    };
    let state = if is_to_stop && status != "STOPPED" { format!("{status} ↓") } else { status.to_owned() };
    let mut facts = vec![
        name(text(&detail["taskArn"])).to_owned(),
        name(text(&detail["taskDefinitionArn"])).to_owned(),
        // That of its family says nothing new.
        Some(text(&detail["group"])).filter(|group| !group.starts_with("family:")).unwrap_or_default().to_owned(),
    ];
    if is_to_stop {
        facts.push(text(&detail["stoppedReason"]).to_owned());
        facts.extend(ended);
    }
    Said { kind: "task", state, tone, facts }
}

/// How a container ended, if it did.
fn ended(container: &Value) -> Option<String> {
    let name = text(&container["name"]);
    let reason = text(&container["reason"]);
    match (container["exitCode"].as_i64(), reason) {
        (None, "") => None,
        (Some(code), "") => Some(format!("{name} exited with {code}")),
        (None, reason) => Some(format!("{name}: {reason}")),
        (Some(code), reason) => Some(format!("{name} exited with {code}: {reason}")),
    }
}

fn instance(detail: &Value) -> Said {
    let status = text(&detail["status"]);
    let connected = detail["agentConnected"].as_bool() == Some(true);
    let tone = match status {
        "ACTIVE" if connected => Tone::Good,
        "ACTIVE" => Tone::Bad,
        "INACTIVE" => Tone::Over,
        _ => Tone::OnTheWay,
    };
    let agent = match (status, connected) {
        ("INACTIVE", _) => "",
        (_, true) => "agent connected",
        (_, false) => "agent not connected",
    };
    let machine = text(&detail["ec2InstanceId"]).to_owned();
    let facts = vec![name(text(&detail["containerInstanceArn"])).to_owned(), machine, agent.to_owned()];
    Said { kind: "instance", state: status.to_owned(), tone, facts }
}

fn tone_of_type(kind: &str) -> Tone {
    match kind {
        "ERROR" => Tone::Bad,
        "WARN" => Tone::OnTheWay,
        _ => Tone::Good,
    }
}

fn service(event: &Value, detail: &Value) -> Said {
    let kind = text(&detail["eventType"]);
    let service = resource(event);
    let message = text(&detail["message"]);
    // The name stands before it already.
    let message = message.strip_prefix(&format!("(service {service}) ")).unwrap_or(message);
    let said = if message.is_empty() { text(&detail["eventName"]) } else { message };
    let facts = vec![service.to_owned(), said.to_owned()];
    Said { kind: "service", state: kind.to_owned(), tone: tone_of_type(kind), facts }
}

fn deployment(event: &Value, detail: &Value) -> Said {
    let state = text(&detail["eventName"]).trim_start_matches("SERVICE_DEPLOYMENT_").to_owned();
    let tone = match state.as_str() {
        "IN_PROGRESS" => Tone::OnTheWay,
        _ => tone_of_type(text(&detail["eventType"])),
    };
    let facts = vec![resource(event).to_owned(), text(&detail["reason"]).to_owned()];
    Said { kind: "deployment", state, tone, facts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(kind: &str, resource: &str, detail: &Value) -> Value {
        let resource = format!("arn:aws:ecs:us-east-1:000000000000:{resource}");
        json!({"detail-type": kind, "time": "2026-01-02T03:04:05Z", "resources": [resource], "detail": detail})
    }

    #[test]
    fn every_kind_has_its_line() {
        let task = |more: &Value| {
            let mut detail = json!({
                "taskArn": "arn:aws:ecs:r:a:task/shop/0123456789abcdef0123456789abcdef",
                "taskDefinitionArn": "arn:aws:ecs:r:a:task-definition/web:3", "group": "service:web",
                "lastStatus": "RUNNING", "desiredStatus": "RUNNING",
            });
            detail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            event("ECS Task State Change", "task/shop/0123456789abcdef0123456789abcdef", &detail)
        };
        let instance = |status: &str, connected: bool| {
            let arn = "container-instance/shop/fedcba98";
            let detail = json!({
                "containerInstanceArn": format!("arn:aws:ecs:r:a:{arn}"), "status": status, "agentConnected": connected,
                "ec2InstanceId": "i-1",
            });
            event("ECS Container Instance State Change", arn, &detail)
        };
        let action = |kind: &str, message: &str| {
            let detail = json!({"eventType": kind, "eventName": "SERVICE_STEADY_STATE", "message": message});
            event("ECS Service Action", "service/shop/web", &detail)
        };
        let deployment = |kind: &str, name: &str| {
            let detail = json!({"eventType": kind, "eventName": name, "reason": "ECS deployment ecs-svc/1 so and so."});
            event("ECS Deployment State Change", "service/shop/web", &detail)
        };
        const TASK: &str = "0123456789abcdef0123456789abcdef  web:3";
        for (event, want) in [
            (task(&json!({})), format!("task        RUNNING      {TASK}  service:web")),
            (task(&json!({"group": "family:web"})), format!("task        RUNNING      {TASK}")),
            (
                task(&json!({"desiredStatus": "STOPPED", "stopCode": "UserInitiated", "stoppedReason": "enough"})),
                format!("task        RUNNING ↓    {TASK}  service:web  enough"),
            ),
            (
                task(&json!({
                    "lastStatus": "STOPPED", "desiredStatus": "STOPPED", "stopCode": "EssentialContainerExited",
                    "stoppedReason": "Essential container in task exited",
                    "containers": [{"name": "web", "exitCode": 137, "reason": "OutOfMemoryError:\u{1b}[2Jkilled"}, {"name": "log"}],
                })),
                format!(
                    "task        STOPPED      {TASK}  service:web  Essential container in task exited  \
                     web exited with 137: OutOfMemoryError: [2Jkilled"
                ),
            ),
            (instance("ACTIVE", true), "instance    ACTIVE       fedcba98  i-1  agent connected".to_owned()),
            (instance("DRAINING", false), "instance    DRAINING     fedcba98  i-1  agent not connected".to_owned()),
            (instance("INACTIVE", false), "instance    INACTIVE     fedcba98  i-1".to_owned()),
            (
                action("INFO", "(service web) has reached a steady state."),
                "service     INFO         web  has reached a steady state.".to_owned(),
            ),
            (action("WARN", ""), "service     WARN         web  SERVICE_STEADY_STATE".to_owned()),
            (
                deployment("ERROR", "SERVICE_DEPLOYMENT_FAILED"),
                "deployment  FAILED       web  ECS deployment ecs-svc/1 so and so.".to_owned(),
            ),
            (event("Other", "thing/a", &json!({})), "event       Other        a".to_owned()),
        ] {
            let got = console::strip_ansi_codes(&line(&event)).into_owned();
            assert_eq!(got, format!("2026-01-02T03:04:05Z  {want}"));
        }
    }

    #[test]
    fn what_went_wrong_is_seen_at_once() {
        let container = |code: Option<i64>| json!([{"name": "a", "exitCode": code}]);
        let task = |status: &str, code: Option<&str>, containers: &Value| {
            let desired = if code.is_some() { "STOPPED" } else { "RUNNING" };
            task(&json!({"lastStatus": status, "desiredStatus": desired, "stopCode": code, "containers": containers}))
        };
        let exited = Some("EssentialContainerExited");
        for (said, tone) in [
            (task("PENDING", None, &json!([])), Tone::OnTheWay),
            (task("RUNNING", None, &json!([])), Tone::Good),
            (task("RUNNING", Some("UserInitiated"), &json!([])), Tone::OnTheWay),
            (task("STOPPED", Some("UserInitiated"), &container(Some(137))), Tone::Over),
            (task("STOPPED", exited, &container(Some(0))), Tone::Over),
            (task("STOPPED", exited, &container(Some(1))), Tone::Bad),
            (task("STOPPED", Some("TaskFailedToStart"), &container(None)), Tone::Bad),
            (instance(&json!({"status": "ACTIVE", "agentConnected": false})), Tone::Bad),
            (instance(&json!({"status": "DRAINING", "agentConnected": true})), Tone::OnTheWay),
        ] {
            assert_eq!(said.tone, tone, "{} {:?}", said.state, said.facts);
        }
    }
}
