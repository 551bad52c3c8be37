//! What operations of Cloud Map are about: namespaces and services. Finding and listing is about none.

use super::{Ask, input::text};
use crate::context::Caller;
use model::{
    Tags,
    discovery::{Discovery, NamespaceId, ServiceId},
};
use serde_json::Value;
use state::Snapshot;

pub(super) fn asks(snapshot: &Snapshot, caller: &Caller, action: &str, operation: &str, input: &Value) -> Vec<Ask> {
    let scope = &caller.scope;
    let prefix = format!("arn:aws:servicediscovery:{}:{}:", scope.region, scope.account);
    let arn = |kind: &str, id: &str| {
        if id.starts_with("arn:") { id.to_owned() } else { format!("{prefix}{kind}/{id}") }
    };
    let all = snapshot.discovery(scope);
    let ask = |arn: String| {
        let tags = all.and_then(|all| tags(all, arn.strip_prefix(&prefix)?));
        Ask::of(action, arn).tagged(tags)
    };
    let of = |kind: &str, member: &str| text(input, member).map(|id| ask(arn(kind, id)));
    let found = match operation {
        "GetNamespace"
        | "DeleteNamespace"
        | "UpdateHttpNamespace"
        | "UpdatePrivateDnsNamespace"
        | "UpdatePublicDnsNamespace" => of("namespace", "Id"),
        "CreateService" => {
            let namespace = text(input, "NamespaceId");
            let namespace = namespace.or_else(|| text(input.get("DnsConfig")?, "NamespaceId"));
            let ask = namespace.map(|id| ask(arn("namespace", id)));
            ask.map(|ask| {
                let namespace = ask.told().to_owned();
                ask.with("servicediscovery:NamespaceArn", namespace)
            })
        }
        "GetService" | "DeleteService" | "UpdateService" => of("service", "Id"),
        "RegisterInstance"
        | "DeregisterInstance"
        | "GetInstance"
        | "ListInstances"
        | "GetInstancesHealthStatus"
        | "UpdateInstanceCustomHealthStatus" => of("service", "ServiceId").map(|ask| {
            let service = ask.told().to_owned();
            ask.with("servicediscovery:ServiceArn", service)
        }),
        "TagResource" | "UntagResource" | "ListTagsForResource" => {
            text(input, "ResourceARN").map(|arn| ask(arn.into()))
        }
        "DiscoverInstances" | "DiscoverInstancesRevision" => {
            let mut ask = Ask::new(action, super::About::Nothing);
            for (member, key) in
                [("NamespaceName", "servicediscovery:NamespaceName"), ("ServiceName", "servicediscovery:ServiceName")]
            {
                if let Some(name) = text(input, member) {
                    ask = ask.with(key, name);
                }
            }
            Some(ask)
        }
        _ => None,
    };
    found.into_iter().collect()
}

fn tags<'a>(all: &'a Discovery, rest: &str) -> Option<&'a Tags> {
    match rest.split_once('/')? {
        ("namespace", id) => Some(&all.namespace(&NamespaceId::parse(id).ok()?)?.tags),
        ("service", id) => Some(&all.service(&ServiceId::parse(id).ok()?)?.tags),
        _ => None,
    }
}
