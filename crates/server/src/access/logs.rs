//! What operations of the Logs API are about: groups and streams.
//!
//! AWS: policies name a group with and without `:*` behind it, and both mean it; refusals tell the form with its streams.

use super::{About, Ask, input::text};
use crate::context::Caller;
use serde_json::Value;

pub(super) fn asks(caller: &Caller, action: &str, operation: &str, input: &Value) -> Vec<Ask> {
    let scope = &caller.scope;
    let prefix = format!("arn:aws:logs:{}:{}:log-group:", scope.region, scope.account);
    let given = ["logGroupName", "logGroupIdentifier", "resourceArn", "resourceIdentifier"];
    let Some(given) = given.iter().find_map(|name| text(input, name)) else {
        // AWS: lists of groups are about all of them.
        let all = format!("{prefix}:log-stream:");
        return if operation == "DescribeLogGroups" { vec![Ask::of(action, all)] } else { Vec::new() };
    };
    let group =
        if given.starts_with("arn:") { given.trim_end_matches(":*").to_owned() } else { format!("{prefix}{given}") };
    let stream = text(input, "logStreamName").unwrap_or_default();
    let mut arns = vec![format!("{group}:log-stream:{stream}")];
    if stream.is_empty() {
        arns.push(group);
    }
    vec![Ask::new(action, About::Resource(arns))]
}
