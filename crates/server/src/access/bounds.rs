//! What is too much to be judged. Questions are made before anything is known of a caller's rights, so what he can make them of is
//! bounded first: his lists by what their operations take, and his names, which may stand in every question of a list.

use super::{
    Ask,
    input::{items, texts},
};
use crate::api::ApiError;
use model::policy::MAX_TEXT;
use serde_json::Value;
use std::collections::HashMap;
use wire::schema::Protocol;

/// The lists that become questions or conditions' keys, each with as many items as the most generous of its operations takes.
const LISTS: &[(&str, usize)] = &[
    ("InstanceIds", 1_000),
    ("Names", 10),
    ("SecretIdList", 20),
    ("attributes", 1_000),
    ("capacityProviderStrategy", 20),
    ("capacityProviders", 100),
    ("clusters", 100),
    ("containerInstances", 100),
    ("lifecycleHooks", 20),
    ("serviceDeploymentArns", 20),
    ("serviceRevisionArns", 20),
    ("services", 10),
    ("taskDefinitions", 10),
    ("taskSets", 100),
    ("tasks", 100),
];
/// The names that stand in each question of a list.
const NAMES: &[&str] = &["cluster", "service"];

/// Refuses an input of which too much would be asked.
///
/// # Errors
/// A list or a name is too long.
pub(super) fn of_input(protocol: Protocol, input: &Value) -> Result<(), ApiError> {
    // Of what is in other structures only hooks are asked about.
    let levels = [Some(input), input.get("deploymentConfiguration")];
    let lists = levels.into_iter().flatten().flat_map(|level| LISTS.iter().map(move |list| (level, list)));
    for (input, (list, most)) in lists {
        if items(input, list).nth(*most).is_some() {
            return Err(refused(protocol, format!("{list} may have at most {most} items.")));
        }
        if texts(input, list).iter().any(|text| text.len() > MAX_TEXT) {
            return Err(refused(protocol, format!("Each of {list} may have at most {MAX_TEXT} bytes.")));
        }
    }
    let long = NAMES.iter().find(|name| input.get(**name).and_then(Value::as_str).is_some_and(|s| s.len() > MAX_TEXT));
    long.map_or(Ok(()), |name| Err(refused(protocol, format!("{name} may have at most {MAX_TEXT} bytes."))))
}

/// Refuses what nothing allows, because it is too long to be matched, in fewer words than it has itself.
///
/// # Errors
/// What would be asked about is too long.
pub(super) fn of_asks(protocol: Protocol, asks: &[Ask]) -> Result<(), ApiError> {
    match asks.iter().find(|ask| ask.told().len() > MAX_TEXT) {
        Some(ask) => Err(refused(protocol, format!("What {} is about may have at most {MAX_TEXT} bytes.", ask.action))),
        None => Ok(()),
    }
}

/// Refuses tags that conditions could be deceived by: to them the case of a key does not matter, to what is tagged it does.
///
/// # Errors
/// There are two of one key that are not the same.
pub(super) fn of_tags(protocol: Protocol, tags: &[(String, String)]) -> Result<(), ApiError> {
    let mut known: HashMap<String, &(String, String)> = HashMap::new();
    let twice = tags.iter().find(|tag| *known.entry(tag.0.to_ascii_lowercase()).or_insert(tag) != *tag);
    match twice {
        Some((key, _)) => {
            let key: String = key.chars().take(128).collect();
            Err(refused(protocol, format!("The tag key {key} stands twice; policies do not tell apart keys by case.")))
        }
        None => Ok(()),
    }
}

fn refused(protocol: Protocol, message: String) -> ApiError {
    // AWS: its codes for inputs that break the limits of a model.
    match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 => ApiError::new("ValidationException", message),
        Protocol::AwsQuery => ApiError::new("ValidationError", message),
        Protocol::Ec2Query => ApiError::new("InvalidParameterValue", message),
    }
}
