//! RegisterTaskDefinition's body: refused, or a definition that survives being shown and registered again.

use serde_json::Value;

/// What RegisterTaskDefinition answers and the request does not have.
const ANSWERED: &[&str] = &[
    "compatibilities",
    "deregisteredAt",
    "registeredAt",
    "registeredBy",
    "requiresAttributes",
    "revision",
    "status",
    "taskDefinitionArn",
];

/// Law: tools register again what DescribeTaskDefinition showed, with one member changed. What is accepted must come back as
/// the same definition.
pub(crate) fn read(body: &[u8]) {
    let Ok((spec, shown)) = server::api::read_task_definition(body) else { return };
    let Value::Object(mut shown) = shown else { panic!("a definition is shown as an object, not as {shown}") };
    shown.retain(|name, _| !ANSWERED.contains(&name.as_str()));
    let again = Value::Object(shown).to_string();
    match server::api::read_task_definition(again.as_bytes()) {
        Ok((twice, _)) => assert_eq!(twice, spec, "registered again from {again}"),
        Err(error) => panic!("accepted, shown, and then refused ({error}): {again}"),
    }
}
