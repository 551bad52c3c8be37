//! What each target is begun with: bytes that it takes, and what once broke one.

use crate::requests::choice;
use std::path::Path;
use std::time::Duration;
use wire::data_channel::{Channel, Payload, Side, Stamp, close};

/// The files of a folder beside this crate.
fn files(folder: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let listed = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut names: Vec<_> = listed.map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    names.into_iter().map(|name| std::fs::read(name).expect("a file that was listed")).collect()
}

pub(crate) fn definitions() -> Vec<Vec<u8>> {
    files("seeds")
}

fn requests(bodies: &[(&str, &str, &str)]) -> Vec<Vec<u8>> {
    bodies
        .iter()
        .map(|(service, operation, body)| [&choice(service, operation)[..], body.as_bytes()].concat())
        .collect()
}

pub(crate) fn json_requests() -> Vec<Vec<u8>> {
    let mut all = requests(&[
        ("ecs", "RunTask", r#"{"cluster":"c","count":3,"taskDefinition":"web:1","tags":[{"key":"a","value":"b"}]}"#),
        (
            "ecs",
            "CreateService",
            r#"{"serviceName":"s","desiredCount":2,"deploymentConfiguration":{"maximumPercent":200}}"#,
        ),
        (
            "ecs",
            "SubmitTaskStateChange",
            r#"{"task":"t","status":"STOPPED","pullStartedAt":1790000000.5,"executionStoppedAt":"x"}"#,
        ),
        (
            "logs",
            "PutLogEvents",
            r#"{"logGroupName":"g","logStreamName":"s","logEvents":[{"timestamp":1790000000000,"message":"m"}]}"#,
        ),
        (
            "secretsmanager",
            "CreateSecret",
            r#"{"Name":"n","SecretBinary":"AAEC","ClientRequestToken":"0123456789abcdef0123456789abcdef"}"#,
        ),
        ("ssm", "PutParameter", r#"{"Name":"/a/b","Value":"v","Type":"SecureString","Overwrite":true}"#),
        (
            "ce",
            "GetCostAndUsage",
            r#"{"TimePeriod":{"Start":"2026-11-01","End":"2026-12-01"},"Granularity":"DAILY","Metrics":["UnblendedCost"],"Filter":{"Not":{"Dimensions":{"Key":"SERVICE","Values":["x"]}}}}"#,
        ),
    ]);
    let register = choice("ecs", "RegisterTaskDefinition");
    all.extend(definitions().into_iter().map(|body| [&register[..], &body].concat()));
    all
}

pub(crate) fn form_requests() -> Vec<Vec<u8>> {
    requests(&[
        (
            "ec2",
            "RunInstances",
            "Action=RunInstances&Version=2016-11-15&ImageId=ami-1&MinCount=1&MaxCount=2&TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=a&TagSpecification.1.Tag.1.Value=b%20c&UserData=IyE%3D",
        ),
        (
            "ec2",
            "AuthorizeSecurityGroupIngress",
            "GroupId=sg-1&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=80&IpPermissions.1.ToPort=80&IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0%2F0",
        ),
        ("ec2", "DescribeVpcs", "Filter.1.Name=tag%3Aa&Filter.1.Value.1=b&Filter.1.Value.2=c&MaxResults=5"),
        (
            "autoscaling",
            "CreateAutoScalingGroup",
            "AutoScalingGroupName=g&MinSize=0&MaxSize=3&VPCZoneIdentifier=subnet-1&LaunchTemplate.LaunchTemplateName=t&LaunchTemplate.Version=1&Tags.member.1.Key=a&Tags.member.1.PropagateAtLaunch=true",
        ),
        ("sts", "GetCallerIdentity", "Action=GetCallerIdentity&Version=2011-06-15"),
    ])
}

pub(crate) fn signatures() -> Vec<Vec<u8>> {
    let header = "/\nhost:ecs.us-east-1.amazonaws.com\nx-amz-date:20260921T123320Z\nx-amz-target:AmazonEC2ContainerServiceV20141113.ListClusters\n\
        content-type:application/x-amz-json-1.1\nauthorization:AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260921/us-east-1/ecs/aws4_request, \
        SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=0000000000000000000000000000000000000000000000000000000000000000\n\n{}";
    let query = "/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20260921%2Fus-east-1%2Fsts%2Faws4_request&\
        X-Amz-Date=20260921T123320Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00\nhost:localhost:4566\n\n";
    let form = "/\nhost:localhost\ncontent-type:application/x-www-form-urlencoded; charset=utf-8\ndate:Mon, 21 Sep 2026 12:33:20 GMT\n\
        x-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-security-token:token\n\nAction=DescribeVpcs&Version=2016-11-15";
    [header, query, form].map(|text| text.as_bytes().to_vec()).to_vec()
}

pub(crate) fn data_channel() -> Vec<Vec<u8>> {
    let stamp = Stamp::new("0f0e0d0c-0b0a-0908-0706-050403020100", 1_790_000_000_000);
    let (mut terminal, mut person) = (Channel::new(Side::Terminal), Channel::new(Side::Person));
    let typed = person.send(Payload::Output, b"ls\r", stamp, Duration::ZERO);
    let size = person.send(Payload::Size, br#"{"cols":80,"rows":24}"#, stamp, Duration::ZERO);
    let acknowledged = terminal.take(&typed, stamp).expect("our own message").reply.expect("an acknowledgement");
    vec![typed, size, acknowledged, close("ecs-execute-command-1", "bye", Some(3), stamp, "2026-09-21T12:33:20Z")]
}

pub(crate) fn link_messages() -> Vec<Vec<u8>> {
    files("../link/tests/golden")
}

pub(crate) fn cluster_queries() -> Vec<Vec<u8>> {
    let all = [
        "attribute:ecs.instance-type =~ t3.* and not (task:group == service:web or agentVersion >= 1.2.3)",
        "runningTasksCount < 3 and registeredAt > 2026-01-01T00:00:00+0000",
        "attribute:stack in [prod, 'pre prod'] and attribute:gpu exists",
        "ec2InstanceId !in [i-1, i-2] and agentConnected == true",
    ];
    all.map(|text| text.as_bytes().to_vec()).to_vec()
}

pub(crate) fn filter_patterns() -> Vec<Vec<u8>> {
    let all = [
        "ERROR -debug \"two words\" ?one ?other\nERROR two words other",
        "{ ($.a.b[0] = 1 || $.c != \"x*\") && $.d IS NULL && $.e NOT EXISTS }\n{\"a\":{\"b\":[1]},\"d\":null}",
        "[ip, user, time, request = *GET*, status = 4*, bytes > 10]\n10.0.0.1 me [now] \"GET /\" 404 11",
        "%[0-9]+ms%\ntook 17ms",
    ];
    all.map(|text| text.as_bytes().to_vec()).to_vec()
}
