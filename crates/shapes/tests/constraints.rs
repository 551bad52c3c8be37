//! The models' constraints, in AWS's words, and the naming of what a request carries.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shapes::{SERVICES, ec2, ecs, logs, ssm};
use wire::schema::{Service, Shape, Struct};
use wire::{present, validate, validation_error};

fn input(service: &'static Service, operation: &str) -> &'static Struct {
    service.operation(operation).unwrap().input
}

fn refused(service: &'static Service, operation: &str, value: &Value) -> (String, String) {
    let violations = validate(value, input(service, operation));
    let error = validation_error(service, &violations).unwrap_or_else(|| panic!("{value} was accepted"));
    (error.code.into_owned(), error.message)
}

#[test]
fn broken_constraints_are_told_in_awss_words() {
    let check = |service, operation: &str, value: Value, code: &str, message: &str| {
        let told = refused(service, operation, &value);
        assert_eq!((told.0.as_str(), told.1.as_str()), (code, message));
    };
    let invalid = "InvalidParameterException";
    check(
        &ecs::SERVICE,
        "RunTask",
        json!({"launchType": "FOO", "taskDefinition": "web"}),
        invalid,
        "1 validation error detected: Value 'FOO' at 'launchType' failed to satisfy constraint: \
         Member must satisfy enum value set: [EC2, FARGATE, EXTERNAL, MANAGED_INSTANCES]",
    );
    check(
        &ecs::SERVICE,
        "RegisterTaskDefinition",
        json!({"networkMode": "lan"}),
        invalid,
        "3 validation errors detected: \
         Value null at 'containerDefinitions' failed to satisfy constraint: Member must not be null; \
         Value null at 'family' failed to satisfy constraint: Member must not be null; \
         Value 'lan' at 'networkMode' failed to satisfy constraint: \
         Member must satisfy enum value set: [bridge, host, awsvpc, none]",
    );
    check(
        &ecs::SERVICE,
        "RegisterTaskDefinition",
        json!({"family": "f", "containerDefinitions": [{}, {"ulimits": [{"name": "nofile", "softLimit": 1}]}]}),
        invalid,
        "1 validation error detected: Value null at 'containerDefinitions.2.member.ulimits.1.member.hardLimit' \
         failed to satisfy constraint: Member must not be null",
    );
    check(
        &logs::SERVICE,
        "CreateLogGroup",
        json!({"logGroupName": "a b"}),
        invalid,
        "1 validation error detected: Value 'a b' at 'logGroupName' failed to satisfy constraint: \
         Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+",
    );
    check(
        &logs::SERVICE,
        "GetLogEvents",
        json!({"logStreamName": "", "limit": 10001}),
        invalid,
        "2 validation errors detected: \
         Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000; \
         Value '' at 'logStreamName' failed to satisfy constraint: Member must have length greater than or equal to 1",
    );
    check(
        &ssm::SERVICE,
        "GetParameter",
        json!({}),
        "ValidationException",
        "1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must not be null",
    );
    check(
        &ec2::SERVICE,
        "RunInstances",
        json!({"MinCount": 1}),
        "MissingParameter",
        "The request must contain the parameter MaxCount",
    );
    let long = "x".repeat(129);
    let (_, message) = refused(&ecs::SERVICE, "TagResource", &json!({"resourceArn": "a", "tags": [{"key": long}]}));
    assert!(message.contains("at 'tags.1.member.key'") && message.contains("less than or equal to 128"), "{message}");
    let many = json!({"logGroupIdentifiers": vec!["g"; 51]});
    let (_, message) = refused(&logs::SERVICE, "DescribeLogGroups", &many);
    assert!(message.ends_with("Member must have length less than or equal to 50"), "{message}");
}

#[test]
fn what_nobody_set_is_not_checked() {
    let empty = json!({
        "family": "f", "containerDefinitions": [{"name": "a", "repositoryCredentials": {"credentialsParameter": ""}}],
        "networkMode": "", "volumes": [], "runtimePlatform": {}, "proxyConfiguration": {"type": "", "properties": []},
    });
    assert_eq!(validate(&empty, input(&ecs::SERVICE, "RegisterTaskDefinition")), []);
    assert_eq!(validation_error(&ecs::SERVICE, &[]), None);
}

#[test]
fn present_members_are_named() {
    let value = json!({
        "family": "f", "cpu": "", "networkMode": null, "volumes": [], "unknown": 1,
        "containerDefinitions": [
            {"name": "a", "privileged": false, "cpu": 0, "linuxParameters": {"initProcessEnabled": true, "devices": []}},
            {"name": "b", "linuxParameters": {"devices": [{"hostPath": "/dev/kvm"}]}, "dockerLabels": {"k": "v"}},
            {"name": "c", "healthCheck": {"command": [], "retries": 0}, "dockerLabels": {}, "ulimits": [], "secrets": [null]},
            {"name": "d", "extraHosts": [{}], "links": [""], "environment": [{"name": "", "value": ""}]},
        ],
    });
    let paths = present(&value, input(&ecs::SERVICE, "RegisterTaskDefinition"));
    assert_eq!(
        paths,
        [
            "containerDefinitions",
            "containerDefinitions.dockerLabels",
            "containerDefinitions.environment",
            "containerDefinitions.extraHosts",
            "containerDefinitions.links",
            "containerDefinitions.linuxParameters",
            "containerDefinitions.linuxParameters.devices",
            "containerDefinitions.linuxParameters.devices.hostPath",
            "containerDefinitions.linuxParameters.initProcessEnabled",
            "containerDefinitions.name",
            "family",
        ]
    );
}

/// Every shape an input or output reaches, once.
fn visit(shape: Shape, seen: &mut BTreeSet<*const Struct>, each: &mut dyn FnMut(Shape)) {
    each(shape);
    match shape {
        Shape::Structure(structure) => {
            let members = if seen.insert(structure) { structure.members } else { &[] };
            members.iter().for_each(|member| visit(member.shape, seen, each));
        }
        Shape::List(list) => visit(list.item, seen, each),
        Shape::Map(map) => {
            visit(map.key, seen, each);
            visit(map.value, seen, each);
        }
        _ => {}
    }
}

#[test]
fn the_tables_hold_what_look_ups_rely_on() {
    for service in SERVICES {
        assert!(service.operations.is_sorted_by_key(|operation| operation.name), "{}", service.name);
        let mut seen = BTreeSet::new();
        for operation in service.operations {
            for structure in [Some(operation.input), operation.output].into_iter().flatten() {
                visit(Shape::Structure(structure), &mut seen, &mut |shape| match shape {
                    Shape::Structure(structure) => {
                        assert!(structure.members.is_sorted_by_key(|member| member.name), "{}", structure.name);
                    }
                    Shape::String(text) => {
                        if let Some(pattern) = &text.pattern {
                            // Cost categories' names look around; no operation of ours takes them.
                            let known = pattern.regex().is_some() || pattern.source.contains("(?<! )");
                            assert!(known, "{}: {}", service.name, pattern.source);
                        }
                    }
                    _ => {}
                });
            }
        }
    }
    assert_eq!(ecs::SERVICE.operations.len(), 88);
}
