//! From a request's head to the operation it asks for.

#![allow(clippy::unwrap_used)]

use http::Request;
use http::request::Parts;
use shapes::SERVICES;
use wire::schema::Protocol;
use wire::{guess_protocol, route};

fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let request = headers.iter().fold(Request::builder().method(method).uri(uri), |r, (k, v)| r.header(*k, *v));
    request.body(()).unwrap().into_parts().0
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");

#[test]
fn targets_and_actions_find_their_operation() {
    let check = |parts: &Parts, body: &str, service: &str, operation: &str| {
        let routed = route(parts, body.as_bytes(), &SERVICES).unwrap();
        assert_eq!((routed.service.name, routed.operation.name), (service, operation));
        assert_eq!(guess_protocol(parts, &SERVICES).is_json(), routed.service.protocol.is_json());
    };
    let target = |target| parts("POST", "/", &[("x-amz-target", target)]);
    check(&target("AmazonEC2ContainerServiceV20141113.RunTask"), "{}", "ecs", "RunTask");
    check(&target("Logs_20140328.PutLogEvents"), "{}", "logs", "PutLogEvents");
    check(&parts("POST", "/", &[FORM]), "Action=GetCallerIdentity&Version=2011-06-15", "sts", "GetCallerIdentity");
    check(&parts("POST", "/", &[FORM]), "Version=2016-11-15&Action=DescribeVpcs", "ec2", "DescribeVpcs");
    let old = "AWS4-HMAC-SHA256 Credential=AKID/20261117/eu-west-1/ec2/aws4_request, SignedHeaders=host, Signature=0";
    let signed = parts("POST", "/", &[FORM, ("authorization", old)]);
    check(&signed, "Version=2014-10-01&Action=DescribeVpcs", "ec2", "DescribeVpcs");
    assert_eq!(guess_protocol(&signed, &SERVICES), Protocol::Ec2Query);
}

#[test]
fn a_link_carries_its_parameters_in_the_query() {
    let link = parts("GET", "/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60", &[]);
    let routed = route(&link, b"", &SERVICES).unwrap();
    assert_eq!(routed.operation.name, "GetCallerIdentity");
    assert_eq!(routed.payload(&link, b""), b"Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60");
}

#[test]
fn unknown_operations_are_refused() {
    let check = |parts: &Parts, body: &str, code: &str, message: &str| {
        let error = route(parts, body.as_bytes(), &SERVICES).unwrap_err();
        assert_eq!((&*error.code, error.status), (code, 400));
        assert!(error.message.contains(message), "{}", error.message);
    };
    let target = |target| parts("POST", "/", &[("x-amz-target", target)]);
    check(&target("AmazonEC2ContainerServiceV20141113.Fly"), "{}", "UnknownOperationException", "Fly");
    check(&target("Nobody.RunTask"), "{}", "UnknownOperationException", "");
    check(&target(".GetCallerIdentity"), "{}", "UnknownOperationException", "");
    check(&target("RunTask"), "{}", "UnknownOperationException", "");
    let form = parts("POST", "/", &[FORM]);
    let fly = "The action Fly is not valid for this web service.";
    check(&form, "Action=Fly&Version=2016-11-15", "InvalidAction", fly);
    check(&form, "Action=Fly&Version=1", "InvalidAction", "Could not find operation Fly for version 1");
    check(&form, "Version=1", "MissingAction", "");
    check(&parts("GET", "/", &[]), "", "MissingAction", "");
}
