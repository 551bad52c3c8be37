//! Whatever bytes arrive, the codecs answer; what can be written in XML comes back as it was.

use proptest::prelude::*;
use serde_json::{Value, json};
use shapes::{ec2, ecs};
use wire::client::{decode_error, decode_response, encode_request};
use wire::schema::Protocol;
use wire::{decode, encode, from_value, present, validate};

/// JSON that looks like ECS's, so that the walk goes deep before it meets a surprise.
fn value() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "containerDefinitions",
        "family",
        "name",
        "cpu",
        "linuxParameters",
        "devices",
        "tags",
        "key",
        "environment",
        "x",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..6)
                .prop_map(|map| map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_breaks_the_codec(value in value()) {
        let operation = ecs::SERVICE.operation("RegisterTaskDefinition").expect("it is in the model");
        if let Ok(read) = decode(&ecs::SERVICE, operation, value.to_string().as_bytes()) {
            validate(&read, operation.input);
            present(&read, operation.input);
            let typed: ecs::RegisterTaskDefinitionRequest = from_value(read).expect("what was decoded has the right kinds");
            drop(typed);
        }
    }

    #[test]
    fn no_bytes_break_the_codec(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let operation = ec2::SERVICE.operation("RunInstances").expect("it is in the model");
        let _ = decode(&ec2::SERVICE, operation, &body);
        let _ = decode_response(&ec2::SERVICE, operation, 200, &body);
        let _ = decode_error(Protocol::Ec2Query, 400, &body);
    }

    #[test]
    fn no_form_breaks_the_codec(body in "((Tag(Specification)?|Filter|Key|Value|[0-9]{1,22}|\\.|=|&|%[0-9a-f]{0,2}){0,40})") {
        let operation = ec2::SERVICE.operation("RunInstances").expect("it is in the model");
        let _ = decode(&ec2::SERVICE, operation, body.as_bytes());
    }

    #[test]
    fn text_survives_forms_and_xml(text in "\\PC{0,12}|[\\t\\n\\r <>&'\"]{0,8}") {
        let tags = json!([{"Key": text, "Value": "v", "ResourceId": "i-1"}]);
        let operation = ec2::SERVICE.operation("DescribeTags").expect("it is in the model");
        let reply = encode(&ec2::SERVICE, operation, &json!({"Tags": tags}), "id");
        prop_assert_eq!(decode_response(&ec2::SERVICE, operation, 200, &reply.body), Ok(json!({"Tags": tags})));

        let operation = ec2::SERVICE.operation("CreateTags").expect("it is in the model");
        let input = json!({"Resources": ["i-1"], "Tags": [{"Key": text, "Value": "v"}]});
        let call = encode_request(&ec2::SERVICE, operation, &input);
        prop_assert_eq!(decode(&ec2::SERVICE, operation, &call.body), Ok(input));
    }
}

#[test]
fn control_characters_do_not_break_the_document() {
    let operation = ec2::SERVICE.operation("DescribeTags").expect("it is in the model");
    let reply = encode(&ec2::SERVICE, operation, &json!({"Tags": [{"Key": "a\u{1}b"}]}), "id");
    let read = decode_response(&ec2::SERVICE, operation, 200, &reply.body);
    assert_eq!(read, Ok(json!({"Tags": [{"Key": "a\u{FFFD}b"}]})));
}
