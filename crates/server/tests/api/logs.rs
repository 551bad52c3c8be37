use crate::{Harness, Want, run};
use serde_json::json;

#[tokio::test]
async fn groups_streams_and_events() {
    let harness = Harness::start().await;
    let now = harness.effects.now().0;
    let arn = "arn:aws:logs:us-east-1:000000000000:log-group:/app";
    let event = |at: i64, text: &str| json!({"timestamp": at, "message": text});
    let group = json!({
        "logGroupName": "/app", "arn": format!("{arn}:*"), "logGroupArn": arn, "logGroupClass": "STANDARD",
        "metricFilterCount": 0, "retentionInDays": null,
    });
    let named = json!({"logGroupName": "/app"});
    let stream = json!({"logGroupName": "/app", "logStreamName": "s"});
    let events =
        json!({"logGroupName": "/app", "logStreamName": "s", "logEvents": [event(now, "one"), event(now, "two")]});
    let not_found = |text| Want::Err("ResourceNotFoundException", text);
    run(
        &harness,
        "logs",
        vec![
            ("DescribeLogGroups", json!({}), Want::Ok(json!({"logGroups": [], "nextToken": null}))),
            ("CreateLogGroup", json!({"logGroupName": "/app", "tags": {"k": "v"}}), Want::Ok(json!({}))),
            ("CreateLogGroup", named.clone(), Want::Err("ResourceAlreadyExistsException", "already exists")),
            (
                "CreateLogGroup",
                json!({"logGroupName": "x", "kmsKeyId": "k"}),
                Want::Err("InvalidParameterException", "kmsKeyId"),
            ),
            ("DescribeLogGroups", json!({"logGroupNamePrefix": "/a"}), Want::Ok(json!({"logGroups": [group]}))),
            ("PutRetentionPolicy", json!({"logGroupName": "/app", "retentionInDays": 7}), Want::Ok(json!({}))),
            (
                "PutRetentionPolicy",
                json!({"logGroupName": "/app", "retentionInDays": 8}),
                Want::Err("InvalidParameterException", ""),
            ),
            ("DescribeLogGroups", json!({}), Want::Ok(json!({"logGroups": [{"retentionInDays": 7}]}))),
            ("DeleteRetentionPolicy", named.clone(), Want::Ok(json!({}))),
            ("ListTagsForResource", json!({"resourceArn": arn}), Want::Ok(json!({"tags": {"k": "v"}}))),
            ("TagResource", json!({"resourceArn": arn, "tags": {"l": "w"}}), Want::Ok(json!({}))),
            ("UntagResource", json!({"resourceArn": arn, "tagKeys": ["k"]}), Want::Ok(json!({}))),
            ("ListTagsLogGroup", named.clone(), Want::Ok(json!({"tags": {"l": "w", "k": null}}))),
            ("PutLogEvents", events.clone(), not_found("The specified log stream does not exist.")),
            ("CreateLogStream", stream.clone(), Want::Ok(json!({}))),
            ("PutLogEvents", events, Want::Ok(json!({"rejectedLogEventsInfo": null}))),
            (
                "DescribeLogStreams",
                json!({"logGroupName": "/app", "orderBy": "LastEventTime", "descending": true}),
                Want::Ok(json!({"logStreams": [{
                    "logStreamName": "s", "arn": format!("{arn}:log-stream:s"), "firstEventTimestamp": now}]})),
            ),
            (
                "GetLogEvents",
                json!({"logGroupIdentifier": arn, "logStreamName": "s", "startFromHead": true}),
                Want::Ok(json!({"events": [event(now, "one"), event(now, "two")]})),
            ),
            (
                "FilterLogEvents",
                json!({"logGroupName": "/app", "logStreamNames": ["s"], "filterPattern": "two"}),
                Want::Ok(json!({"events": [{"message": "two", "logStreamName": "s", "timestamp": now}]})),
            ),
            (
                "GetLogEvents",
                json!({"logGroupName": "/nope", "logStreamName": "s"}),
                not_found("log group does not exist"),
            ),
            (
                "GetLogEvents",
                json!({"logStreamName": "s"}),
                Want::Err("InvalidParameterException", "logGroupIdentifier"),
            ),
            (
                "StartQuery",
                json!({"startTime": 0, "endTime": 1, "queryString": "x"}),
                Want::Err("UnsupportedOperationException", "StartQuery"),
            ),
            ("DeleteLogStream", stream, Want::Ok(json!({}))),
            ("DeleteLogGroup", named.clone(), Want::Ok(json!({}))),
            ("DeleteLogGroup", named, not_found("The specified log group does not exist.")),
        ],
    )
    .await;
}
