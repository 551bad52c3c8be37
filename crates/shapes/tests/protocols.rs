//! Our codecs against botocore's, for every operation of every service: what it writes we read, what we write as its
//! client's peer it reads (answers.json, checked by data/generate.py --check), and both ways for our own client.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use shapes::{SERVICES, ec2, ecs, logs};
use wire::client::{decode_response, encode_request};
use wire::schema::{Operation, Protocol, Service};
use wire::{Structure, WireError, decode, encode, encode_error, from_value, to_value};

const REQUEST_ID: &str = "00000000-0000-4000-8000-000000000000";

#[derive(Deserialize)]
struct Request {
    service: String,
    operation: String,
    target: Option<String>,
    /// Text for JSON services, pairs for form services.
    body: Value,
    input: Value,
}

#[derive(Deserialize)]
struct Output {
    service: String,
    operation: String,
    output: Value,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Answer {
    service: String,
    operation: String,
    body: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

fn data<T: for<'de> Deserialize<'de>>(name: &str) -> Vec<T> {
    serde_json::from_str(&std::fs::read_to_string(path(name)).unwrap()).unwrap()
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn find(service: &str, operation: &str) -> (&'static Service, &'static Operation) {
    let service = SERVICES.into_iter().find(|known| known.name == service).unwrap();
    (service, service.operation(operation).unwrap())
}

/// A form body as botocore's HTTP layer writes it.
fn form(pairs: &Value) -> String {
    let pairs: Vec<(String, String)> = serde_json::from_value(pairs.clone()).unwrap();
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn sorted_pairs(form: &[u8]) -> Vec<(String, String)> {
    // Ours writes the milliseconds of a time always, theirs only where there are some.
    let pairs = form_urlencoded::parse(form).into_owned();
    let mut pairs: Vec<_> = pairs.map(|(name, value)| (name, value.replace(":00.000Z", ":00Z"))).collect();
    pairs.sort();
    pairs
}

#[test]
fn every_request_botocore_writes_is_read() {
    let requests: Vec<Request> = data("requests.json");
    assert_eq!(requests.len(), SERVICES.iter().map(|service| service.operations.len()).sum::<usize>());
    for case in requests {
        let (service, operation) = find(&case.service, &case.operation);
        let body = case.body.as_str().map_or_else(|| form(&case.body), str::to_owned);
        let read = decode(service, operation, body.as_bytes()).unwrap();
        assert_eq!(read, case.input, "{} {}", service.name, operation.name);

        let ours = encode_request(service, operation, &case.input);
        assert_eq!(ours.target, case.target, "{} {}", service.name, operation.name);
        if service.protocol.is_json() {
            assert_eq!(serde_json::from_slice::<Value>(&ours.body).unwrap(), case.input);
        } else {
            let (ours, theirs) = (sorted_pairs(&ours.body), sorted_pairs(body.as_bytes()));
            assert_eq!(ours, theirs, "{} {}", service.name, operation.name);
        }
    }
}

#[test]
fn every_answer_we_write_is_what_botocore_read() {
    let mut answers = Vec::new();
    for case in data::<Output>("outputs.json") {
        let (service, operation) = find(&case.service, &case.operation);
        let reply = encode(service, operation, &case.output, REQUEST_ID);
        assert_eq!(reply.status, 200);
        let read = decode_response(service, operation, 200, &reply.body).unwrap();
        assert_eq!(read, case.output, "{} {}", service.name, operation.name);
        answers.push(answer(service, operation, &reply, None));
    }
    for error in errors() {
        for (service, operation) in [("ecs", "RunTask"), ("sts", "GetCallerIdentity"), ("ec2", "DescribeRegions")] {
            let (service, operation) = find(service, operation);
            let reply = encode_error(service.protocol, &error, REQUEST_ID);
            let read = decode_response(service, operation, reply.status, &reply.body).unwrap_err();
            assert_eq!((&read.code, &read.message, read.status), (&error.code, &error.message, error.status));
            answers.push(answer(service, operation, &reply, Some(&error)));
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let rows: Vec<String> = answers.iter().map(|answer| serde_json::to_string(answer).unwrap()).collect();
        std::fs::write(path("answers.json"), format!("[\n{}\n]\n", rows.join(",\n"))).unwrap();
    }
    let golden: Vec<Answer> = data("answers.json");
    assert_eq!(golden.len(), answers.len(), "UPDATE_GOLDEN=1, then data/generate.py --check");
    for (golden, ours) in golden.iter().zip(&answers) {
        assert_eq!(golden, ours);
    }
}

fn errors() -> Vec<WireError> {
    vec![
        WireError::of(&ecs::SERVICE, "ClusterNotFoundException", "Cluster not found."),
        WireError::of(&ecs::SERVICE, "ServerException", "é < & > \"quoted\""),
    ]
}

fn answer(service: &Service, operation: &Operation, reply: &wire::Reply, error: Option<&WireError>) -> Answer {
    Answer {
        service: service.name.to_owned(),
        operation: operation.name.to_owned(),
        body: String::from_utf8(reply.body.to_vec()).unwrap(),
        status: error.map(|_| reply.status),
        error: error.map(|error| json!({"Code": error.code, "Message": error.message})),
    }
}

fn round_trip<T: Structure>(service: &str, operation: &str, file: &str) {
    let input: Value = if file == "requests.json" {
        let mut cases = data::<Request>(file).into_iter();
        cases.find(|case| (&*case.service, &*case.operation) == (service, operation)).unwrap().input
    } else {
        let mut cases = data::<Output>(file).into_iter();
        cases.find(|case| (&*case.service, &*case.operation) == (service, operation)).unwrap().output
    };
    let typed: T = from_value(input.clone()).unwrap();
    assert_eq!(to_value(&typed), input, "{service} {operation}");
}

#[test]
fn typed_structures_hold_everything() {
    let (asked, told) = ("requests.json", "outputs.json");
    round_trip::<ecs::RegisterTaskDefinitionRequest>("ecs", "RegisterTaskDefinition", asked);
    round_trip::<ecs::RegisterTaskDefinitionResponse>("ecs", "RegisterTaskDefinition", told);
    round_trip::<ecs::RunTaskRequest>("ecs", "RunTask", asked);
    round_trip::<ecs::DescribeTasksResponse>("ecs", "DescribeTasks", told);
    round_trip::<ecs::CreateServiceRequest>("ecs", "CreateService", asked);
    round_trip::<ecs::DescribeServicesResponse>("ecs", "DescribeServices", told);
    round_trip::<ecs::RegisterContainerInstanceRequest>("ecs", "RegisterContainerInstance", asked);
    round_trip::<logs::PutLogEventsRequest>("logs", "PutLogEvents", asked);
    round_trip::<logs::GetLogEventsResponse>("logs", "GetLogEvents", told);
    round_trip::<ec2::RunInstancesRequest>("ec2", "RunInstances", asked);
    round_trip::<ec2::DescribeInstancesResult>("ec2", "DescribeInstances", told);
}

#[test]
fn typed_structures_are_serdes_too() {
    let text = r#"{"cluster":"c","unknown":[1],"services":["a"],"include":null}"#;
    let typed: ecs::DescribeServicesRequest = serde_json::from_str(text).unwrap();
    assert_eq!(typed.services.as_deref(), Some(&["a".to_owned()][..]));
    assert_eq!(typed.include, None);
    assert_eq!(serde_json::to_string(&typed).unwrap(), r#"{"cluster":"c","services":["a"]}"#);
    let error = serde_json::from_str::<ecs::DescribeServicesRequest>(r#"{"services":"a"}"#).unwrap_err();
    assert!(error.to_string().contains("services: expected a list"), "{error}");
}

#[test]
fn wrong_kinds_are_refused_in_awss_words() {
    let check = |operation: &str, body: Value, text: &str| {
        let (service, operation) = find("ecs", operation);
        let error = decode(service, operation, body.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.code, "SerializationException");
        assert!(error.message.contains(text), "{body}: {}", error.message);
    };
    check("RunTask", json!({"count": "1"}), "class java.lang.String can not be converted to an Integer");
    check("RunTask", json!({"cluster": 1}), "TruncatingBigNumber can not be converted to a String");
    check("RunTask", json!({"cluster": {}}), "Start of structure or map found where not expected.");
    check("RunTask", json!({"tags": {}}), "Start of structure or map found where not expected.");
    check("RunTask", json!({"cluster": []}), "Start of list found where not expected.");
    check("DescribeTasks", json!({"tasks": "a"}), "Unrecognized collection type class java.lang.String");
    check("RunTask", json!({"enableECSManagedTags": "true"}), "can not be converted to a Boolean");
    check("RunTask", json!({"count": 1u64 << 40}), "can not be converted to an Integer");
    check("RunTask", json!([]), "Start of list found where not expected.");

    let (service, operation) = find("ecs", "RunTask");
    let broken = decode(service, operation, b"{\"cluster\": ").unwrap_err();
    assert_eq!(broken.code, "SerializationException");
    let lenient = decode(service, operation, br#"{"count": 2.9, "x": {"y": 1}, "cluster": null, "tags": []}"#);
    assert_eq!(lenient.unwrap(), json!({"count": 2, "tags": []}));
    check("RunTask", json!({"tags": [null]}), "Null found in a list where not expected.");
    assert_eq!(decode(service, operation, b"").unwrap(), json!({}));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(decode(service, operation, deep.as_bytes()).is_err());
}

#[test]
fn forms_are_read_leniently_and_safely() {
    let (service, operation) = find("ec2", "RunInstances");
    let read = |body: &str| decode(service, operation, body.as_bytes());
    let order =
        read("Action=RunInstances&SecurityGroupId.10=c&SecurityGroupId.2=b&SecurityGroupId.1=a&MinCount=1").unwrap();
    assert_eq!(order, json!({"SecurityGroupIds": ["a", "b", "c"], "MinCount": 1}));
    let nested =
        read("TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=k&TagSpecification.1.Tag.1.Value=");
    assert_eq!(
        nested.unwrap(),
        json!({"TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "k", "Value": ""}]}]})
    );
    let error = read("MinCount=one").unwrap_err();
    assert_eq!(error.code, "InvalidParameterValue");
    assert!(error.message.contains("MinCount"), "{}", error.message);
    assert_eq!(read("MinCount=&EbsOptimized=").unwrap(), json!({}));
    assert!(read(&"A.".repeat(100_000)).is_err());
}

#[test]
fn ec2_and_query_envelopes_are_awss() {
    let (service, operation) = find("ec2", "DescribeRegions");
    let output = json!({"Regions": [{"RegionName": "eu-west-1", "Endpoint": "e"}]});
    let reply = encode(service, operation, &output, "id");
    assert_eq!(
        std::str::from_utf8(&reply.body).unwrap(),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <DescribeRegionsResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15\"><requestId>id</requestId>\
         <regionInfo><item><regionEndpoint>e</regionEndpoint><regionName>eu-west-1</regionName></item></regionInfo>\
         </DescribeRegionsResponse>"
    );
    let (service, operation) = find("sts", "GetCallerIdentity");
    let reply = encode(service, operation, &json!({"Account": "1", "Arn": "arn:aws:iam::1:root"}), "id");
    assert_eq!(
        std::str::from_utf8(&reply.body).unwrap(),
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Account>1</Account><Arn>arn:aws:iam::1:root</Arn></GetCallerIdentityResult>\
         <ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    );
    assert_eq!((reply.content_type, service.protocol), ("text/xml", Protocol::AwsQuery));
}

#[test]
fn errors_carry_their_extra_members_and_model_status() {
    let error = WireError::of(&ecs::SERVICE, "ConflictException", "c").with("resourceIds", vec!["arn"]);
    let reply = encode_error(Protocol::AwsJson11, &error, "id");
    let body: Map<String, Value> = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(Value::Object(body), json!({"__type": "ConflictException", "message": "c", "resourceIds": ["arn"]}));
    assert_eq!(WireError::of(&ecs::SERVICE, "ServerException", "").status, 500);
    assert_eq!(WireError::of(&ecs::SERVICE, "ThrottlingException", "").status, 400);
    let page = decode_response(&ecs::SERVICE, find("ecs", "RunTask").1, 502, b"<html>Bad gateway</html>").unwrap_err();
    assert_eq!((&*page.code, page.status), ("HTTP502", 502));
}
