//! What conditions may ask of any request. Source: the IAM user guide, "AWS global condition context keys".

use super::input::{items, texts};
use crate::{
    context::Caller,
    identity::{Identity, describe_session},
};
use model::{Scope, Timestamp, policy::Keys};
use serde_json::Value;

/// What is known of a request, whatever it is about.
pub(super) fn of_request(caller: &Caller, now: Timestamp, input: &Value) -> Keys {
    let mut keys = of_anybody(&caller.scope, &caller.identity, now);
    if let Some(since) = caller.session_since {
        describe_session(since, &mut keys);
    }
    if let Some(peer) = caller.peer {
        keys.set("aws:SourceIp", peer.address.to_string());
        keys.set("aws:SecureTransport", peer.secure.to_string());
    }
    let tags = request_tags(input);
    for (key, value) in &tags {
        keys.set(&format!("aws:RequestTag/{key}"), value.as_str());
    }
    let mut named: Vec<String> = tags.into_iter().map(|(key, _)| key).collect();
    // The last is UntagLogGroup's, where others have tags.
    for list in ["tagKeys", "TagKeys", "tags"] {
        named.extend(texts(input, list).into_iter().map(str::to_owned));
    }
    keys.set_all("aws:TagKeys", named);
    keys
}

/// What is known of whatever somebody does at a place, also if no request says so.
pub(crate) fn of_anybody(scope: &Scope, identity: &Identity, now: Timestamp) -> Keys {
    let mut keys = Keys::new();
    identity.describe(&scope.account, &mut keys);
    let seconds = now.0.div_euclid(1_000);
    // A date may be written as seconds; so it is in both.
    keys.set("aws:CurrentTime", seconds.to_string());
    keys.set("aws:EpochTime", seconds.to_string());
    keys.set("aws:RequestedRegion", scope.region.as_str());
    keys.set("aws:ResourceAccount", scope.account.as_str());
    keys.set("aws:ViaAWSService", "false");
    keys
}

/// The tags that a request would give: a list of pairs or a map, as its service has it; EC2 has them per kind of resource.
pub(super) fn request_tags(input: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut pairs = |from: &Value| {
        for list in ["tags", "Tags"] {
            for tag in items(from, list) {
                let of = |names: [&str; 2]| names.iter().find_map(|name| tag.get(name)?.as_str()).map(str::to_owned);
                if let Some(key) = of(["key", "Key"]) {
                    found.push((key, of(["value", "Value"]).unwrap_or_default()));
                }
            }
            for (key, value) in from.get(list).and_then(Value::as_object).into_iter().flatten() {
                found.push((key.clone(), value.as_str().unwrap_or_default().to_owned()));
            }
        }
    };
    pairs(input);
    items(input, "TagSpecifications").chain(items(input, "TagSpecification")).for_each(&mut pairs);
    found
}
