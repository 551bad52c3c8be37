//! What operations of Secrets Manager and Parameter Store are about.

use super::{
    About, Ask,
    input::{text, texts},
};
use crate::context::Caller;
use model::vault::{self, Vault, names_in, selected};
use serde_json::Value;
use state::Snapshot;
use std::sync::Arc;

fn seen(snapshot: &Snapshot, caller: &Caller) -> Arc<Vault> {
    snapshot.vault(&caller.scope).cloned().unwrap_or_default()
}

pub(super) fn of_secrets(
    snapshot: &Snapshot,
    caller: &Caller,
    action: &str,
    operation: &str,
    input: &Value,
) -> Vec<Ask> {
    let scope = &caller.scope;
    let prefix = format!("arn:aws:secretsmanager:{}:{}:secret:", scope.region, scope.account);
    let vault = seen(snapshot, caller);
    let secret = |action: &str, id: &str| {
        let known = vault::find(&vault, scope, id).ok();
        // What stands behind a name nobody knows before the secret is there; policies have wildcards in its place.
        let new = || if id.starts_with("arn:") { id.to_owned() } else { format!("{prefix}{id}-??????") };
        let arn = known.map_or_else(new, |secret| secret.arn());
        Ask::of(action, &*arn).tagged(known.map(|secret| &secret.tags)).with("secretsmanager:SecretId", arn)
    };
    match operation {
        "CreateSecret" => {
            let name = text(input, "Name").unwrap_or_default();
            vec![Ask::of(action, format!("{prefix}{name}-??????")).with("secretsmanager:Name", name)]
        }
        // AWS: whoever reads many at once needs the right to each.
        "BatchGetSecretValue" => {
            let each = texts(input, "SecretIdList").into_iter().map(|id| secret("secretsmanager:GetSecretValue", id));
            std::iter::once(Ask::new(action, About::Nothing)).chain(each).collect()
        }
        _ => {
            let Some(id) = text(input, "SecretId") else { return Vec::new() };
            let mut ask = secret(action, id);
            if operation == "GetSecretValue" && text(input, "VersionId").is_none() {
                ask = ask.with("secretsmanager:VersionStage", text(input, "VersionStage").unwrap_or(vault::CURRENT));
            }
            if let Some(version) = text(input, "VersionId") {
                ask = ask.with("secretsmanager:VersionId", version);
            }
            vec![ask]
        }
    }
}

pub(super) fn of_parameters(
    snapshot: &Snapshot,
    caller: &Caller,
    action: &str,
    operation: &str,
    input: &Value,
) -> Vec<Ask> {
    let scope = &caller.scope;
    let vault = seen(snapshot, caller);
    let parameter = |given: &str| {
        let (name, _) = selected(given);
        let known = names_in(scope, name).iter().find_map(|name| vault.parameter(name).cloned());
        let new = || {
            let slash = if name.starts_with('/') { "" } else { "/" };
            format!("arn:aws:ssm:{}:{}:parameter{slash}{name}", scope.region, scope.account)
        };
        let arn = known.as_ref().map(|parameter| parameter.arn());
        let arn = arn.unwrap_or_else(|| if name.starts_with("arn:") { name.to_owned() } else { new() });
        Ask::of(action, arn).tagged(known.as_ref().map(|parameter| &parameter.tags))
    };
    match operation {
        "GetParametersByPath" => {
            let path = text(input, "Path").unwrap_or("/").trim_end_matches('/');
            let path = format!("arn:aws:ssm:{}:{}:parameter{path}", scope.region, scope.account);
            // AWS: who may read a path may read all below it. Policies name it with and without the slash.
            let ask = Ask::new(action, About::Resource(vec![format!("{path}/"), path]));
            let recursive = input.get("Recursive").and_then(Value::as_bool).unwrap_or(false);
            vec![ask.with("ssm:Recursive", recursive.to_string())]
        }
        "GetParameters" | "DeleteParameters" => texts(input, "Names").into_iter().map(parameter).collect(),
        "AddTagsToResource" | "RemoveTagsFromResource" | "ListTagsForResource" => {
            let id = text(input, "ResourceId").filter(|_| text(input, "ResourceType") == Some("Parameter"));
            id.map(parameter).into_iter().collect()
        }
        "PutParameter" => {
            let overwrite = input.get("Overwrite").and_then(Value::as_bool).unwrap_or(false);
            let ask = text(input, "Name").map(parameter);
            ask.map(|ask| ask.with("ssm:Overwrite", overwrite.to_string())).into_iter().collect()
        }
        _ => text(input, "Name").map(parameter).into_iter().collect(),
    }
}
