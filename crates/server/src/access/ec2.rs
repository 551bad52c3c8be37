//! What operations of EC2 are about. Which machines are started, stopped and ended is looked up; of everything else is known only
//! that it is something of EC2's, so that `*` alone allows it and whatever denies something of EC2's denies it.

use super::{About, Ask, input::texts};
use crate::context::Caller;
use serde_json::Value;
use state::Snapshot;

pub(super) fn asks(snapshot: &Snapshot, caller: &Caller, action: &str, operation: &str, input: &Value) -> Vec<Ask> {
    let scope = &caller.scope;
    match operation {
        "StartInstances" | "StopInstances" | "TerminateInstances" => {
            let machine = |id: &str| {
                let tags = snapshot.machine(scope, id).map(|machine| &machine.tags);
                Ask::of(action, format!("arn:aws:ec2:{}:{}:instance/{id}", scope.region, scope.account)).tagged(tags)
            };
            texts(input, "InstanceIds").into_iter().map(machine).collect()
        }
        // AWS: reading is about nothing in particular.
        name if name.starts_with("Describe") => Vec::new(),
        _ => vec![Ask::new(action, About::Something("ec2"))],
    }
}
