//! The values that `valueFrom` names.

use super::{failed, rights::Rights, vault};
use crate::{
    api::{secretsmanager, ssm},
    context::Context,
    vault::Content,
};
use model::{
    Scope,
    vault::{Plain, SecretReference, json_member, names_in, selected},
};
use serde_json::Value;
use state::Snapshot;

/// One value.
///
/// # Errors
/// Why the task cannot start.
pub(super) fn value(
    ctx: &Context,
    snapshot: &Snapshot,
    scope: &Scope,
    rights: &Rights<'_>,
    from: &str,
) -> Result<Plain, String> {
    // Definitions are checked when they are registered.
    match SecretReference::parse(from).map_err(failed)? {
        SecretReference::Parameter { scope: other, name } => {
            let place = other.as_ref().unwrap_or(scope);
            let vault = vault(snapshot, place);
            let found = own(scope, place).and_then(|()| {
                let known = names_in(place, selected(&name).0).into_iter().find_map(|name| vault.parameter(&name));
                let tags = known.map(|parameter| &parameter.tags);
                rights.may("ssm:GetParameters", &[&parameter(place, &name)], tags)?;
                let found = ssm::reveal_named(ctx, &vault, place, &name);
                found.map_err(|error| match error.code {
                    "ParameterNotFound" | "ParameterVersionNotFound" => format!("invalid parameters: {name}"),
                    code => format!("{code}: {}", error.message),
                })
            });
            found.map_err(|why| failed(format_args!("unable to retrieve secrets from ssm: {why}")))
        }
        SecretReference::Secret { scope: place, arn, json_key, stage, version } => {
            let asm = |why: String| failed(format_args!("unable to retrieve secret from asm: {why}"));
            own(scope, &place).map_err(asm)?;
            let content =
                fetch(ctx, snapshot, &place, rights, (&arn, version.as_deref(), stage.as_deref())).map_err(asm)?;
            let Content::Text(text) = content else {
                return Err(asm(format!("secret {arn} is binary, which no environment variable can be")));
            };
            match json_key {
                None => Ok(text),
                Some(key) => member(&text, &key).map_err(asm),
            }
        }
    }
}

/// AWS: what is another account's is only told by its policy, and there are none.
fn own(scope: &Scope, place: &Scope) -> Result<(), String> {
    if scope.account == place.account {
        return Ok(());
    }
    Err(format!("AccessDeniedException: account {} has given account {} no access", place.account, scope.account))
}

/// What a secret holds.
///
/// # Errors
/// Why it cannot be had.
pub(super) fn fetch(
    ctx: &Context,
    snapshot: &Snapshot,
    scope: &Scope,
    rights: &Rights<'_>,
    wanted: (&str, Option<&str>, Option<&str>),
) -> Result<Content, String> {
    let (vault, (id, ..)) = (vault(snapshot, scope), wanted);
    let failed = |why: String| format!("failed to fetch secret {id} from secrets manager: {why}");
    // AWS: whether it is there is told only to who may read it.
    let known = secretsmanager::find(&vault, scope, id).ok();
    let arn = known.map_or_else(|| named(scope, id), |secret| secret.arn());
    rights.may("secretsmanager:GetSecretValue", &[&arn], known.map(|secret| &secret.tags)).map_err(failed)?;
    let found = secretsmanager::asked(ctx, &vault, scope, wanted);
    found.map(|(_, _, content)| content).map_err(|error| failed(format!("{}: {}", error.code, error.message)))
}

/// The ARN of a secret that is not there.
fn named(scope: &Scope, id: &str) -> String {
    let Scope { account, region } = scope;
    if id.starts_with("arn:") {
        id.to_owned()
    } else {
        format!("arn:aws:secretsmanager:{region}:{account}:secret:{id}")
    }
}

/// The ARN of a parameter, without what says which version.
fn parameter(scope: &Scope, name: &str) -> String {
    let Scope { account, region } = scope;
    let name = name.split_once(":parameter").filter(|_| name.starts_with("arn:")).map_or(name, |(_, name)| name);
    let name = name.split(':').next().unwrap_or_default();
    let slash = if name.starts_with('/') { "" } else { "/" };
    format!("arn:aws:ssm:{region}:{account}:parameter{slash}{name}")
}

/// A member of a secret that is a JSON object. AWS: text as it is, and of others what they are written as.
fn member(text: &Plain, key: &str) -> Result<Plain, String> {
    let read: Result<Value, _> = serde_json::from_str(text.reveal());
    // serde's own words may quote what is in it.
    let Ok(Value::Object(members)) = read else {
        return Err("retrieved secret from Secrets Manager is not a JSON object".to_owned());
    };
    let written = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    json_member(members.iter().map(|(name, value)| (name.as_str(), written(value))), key).map(Plain::from)
}
