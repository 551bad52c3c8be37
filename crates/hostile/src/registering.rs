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

/// Law: tools register again what DescribeTaskDefinition showed, with one member changed. What is accepted must be shown in a
/// way that is accepted too, and shown the same then.
pub(crate) fn read(body: &[u8]) {
    let Ok(shown) = server::api::read_task_definition(body) else { return };
    let mut request = shown.as_object().expect("a definition is shown as an object").clone();
    request.retain(|name, _| !ANSWERED.contains(&name.as_str()));
    let again = Value::Object(request).to_string();
    match server::api::read_task_definition(again.as_bytes()) {
        Ok(twice) => assert_eq!(twice, shown, "registered again from {again}"),
        Err(error) => panic!("accepted, shown, and then refused ({error}): {again}"),
    }
}
