use super::*;
use crate::identity::Identity;
use model::{
    AccountId, Region, Scope, Timestamp,
    iam::{Permissions, User},
    policy::Kind,
};
use serde_json::json;
use std::sync::Arc;

fn caller() -> Caller {
    let scope =
        Scope { account: AccountId::parse("000000000000").unwrap(), region: Region::parse("us-east-1").unwrap() };
    let user = User {
        account: scope.account.clone(),
        name: "ada".into(),
        path: "/team/".into(),
        id: "AIDAABCDEFGHIJKLMNOPQ".into(),
        created_at: Timestamp(1),
        tags: Tags([("team".to_owned(), "web".to_owned())].into()),
        permissions: Permissions::default(),
    };
    let peer = Some(crate::Peer { address: "10.1.2.3".parse().unwrap(), secure: true });
    let root = Caller::root(scope, "AKIAABCDEFGHIJKLMNOP");
    Caller { principal: user.arn(), identity: Identity::User(Arc::new(user)), peer, ..root }
}

fn service(name: &str) -> &'static Service {
    shapes::SERVICES.iter().find(|service| service.name == name).unwrap()
}

/// What a call asks, as `action resource`, on a server where nothing has been made.
fn asked(name: &str, operation: &str, input: &Value) -> Vec<String> {
    let service = service(name);
    let operation = service.operation(operation).unwrap();
    let asks = asks(&Snapshot::default(), &caller(), (service, operation), input);
    asks.iter().map(|ask| format!("{} {}", ask.action, ask.told())).collect()
}

#[test]
fn what_operations_are_about() {
    let ecs = |rest: &str| format!("arn:aws:ecs:us-east-1:000000000000:{rest}");
    let task = "0123456789abcdef0123456789abcdef";
    let rows: Vec<(&str, &str, Value, Vec<String>)> = vec![
        ("ecs", "ListClusters", json!({}), vec!["ecs:ListClusters *".into()]),
        ("ecs", "CreateCluster", json!({"clusterName": "a"}), vec!["ecs:CreateCluster *".into()]),
        ("ecs", "DescribeClusters", json!({}), vec![format!("ecs:DescribeClusters {}", ecs("cluster/default"))]),
        (
            "ecs",
            "DescribeClusters",
            json!({"clusters": ["a", ecs("cluster/b")]}),
            vec![
                format!("ecs:DescribeClusters {}", ecs("cluster/a")),
                format!("ecs:DescribeClusters {}", ecs("cluster/b")),
            ],
        ),
        ("ecs", "DeleteCluster", json!({"cluster": "a"}), vec![format!("ecs:DeleteCluster {}", ecs("cluster/a"))]),
        (
            "ecs",
            "UpdateService",
            json!({"cluster": "a", "service": "web"}),
            vec![format!("ecs:UpdateService {}", ecs("service/a/web"))],
        ),
        (
            "ecs",
            "CreateService",
            json!({"serviceName": "web"}),
            vec![format!("ecs:CreateService {}", ecs("service/default/web"))],
        ),
        (
            "ecs",
            "StopTask",
            json!({"cluster": "a", "task": task}),
            vec![format!("ecs:StopTask {}", ecs(&format!("task/a/{task}")))],
        ),
        (
            "ecs",
            "ExecuteCommand",
            json!({"cluster": "a", "task": task, "command": "sh"}),
            vec![
                format!("ecs:ExecuteCommand {}", ecs("cluster/a")),
                format!("ecs:ExecuteCommand {}", ecs(&format!("task/a/{task}"))),
            ],
        ),
        (
            "ecs",
            "RunTask",
            json!({"taskDefinition": "web:3"}),
            vec![format!("ecs:RunTask {}", ecs("task-definition/web:3"))],
        ),
        (
            "ecs",
            "RegisterTaskDefinition",
            json!({"family": "web"}),
            vec![format!("ecs:RegisterTaskDefinition {}", ecs("task-definition/web:*"))],
        ),
        (
            "ecs",
            "TagResource",
            json!({"resourceArn": ecs("cluster/a")}),
            vec![format!("ecs:TagResource {}", ecs("cluster/a"))],
        ),
        (
            "logs",
            "GetLogEvents",
            json!({"logGroupName": "/a", "logStreamName": "s"}),
            vec!["logs:GetLogEvents arn:aws:logs:us-east-1:000000000000:log-group:/a:log-stream:s".into()],
        ),
        (
            "logs",
            "CreateLogGroup",
            json!({"logGroupName": "/a"}),
            vec!["logs:CreateLogGroup arn:aws:logs:us-east-1:000000000000:log-group:/a:log-stream:".into()],
        ),
        (
            "secretsmanager",
            "GetSecretValue",
            json!({"SecretId": "db"}),
            vec!["secretsmanager:GetSecretValue arn:aws:secretsmanager:us-east-1:000000000000:secret:db-??????".into()],
        ),
        (
            "secretsmanager",
            "BatchGetSecretValue",
            json!({"SecretIdList": ["a"]}),
            vec![
                "secretsmanager:BatchGetSecretValue *".into(),
                "secretsmanager:GetSecretValue arn:aws:secretsmanager:us-east-1:000000000000:secret:a-??????".into(),
            ],
        ),
        (
            "ssm",
            "GetParameters",
            json!({"Names": ["/a/b:3", "c"]}),
            vec![
                "ssm:GetParameters arn:aws:ssm:us-east-1:000000000000:parameter/a/b".into(),
                "ssm:GetParameters arn:aws:ssm:us-east-1:000000000000:parameter/c".into(),
            ],
        ),
        (
            "ssm",
            "GetParametersByPath",
            json!({"Path": "/a"}),
            vec!["ssm:GetParametersByPath arn:aws:ssm:us-east-1:000000000000:parameter/a/".into()],
        ),
        (
            "servicediscovery",
            "GetService",
            json!({"Id": "srv-1"}),
            vec!["servicediscovery:GetService arn:aws:servicediscovery:us-east-1:000000000000:service/srv-1".into()],
        ),
        (
            "iam",
            "CreateRole",
            json!({"RoleName": "web", "Path": "/a/"}),
            vec!["iam:CreateRole arn:aws:iam::000000000000:role/a/web".into()],
        ),
        (
            "iam",
            "CreateServiceLinkedRole",
            json!({"AWSServiceName": "ecs.amazonaws.com"}),
            vec![
                "iam:CreateServiceLinkedRole \
                 arn:aws:iam::000000000000:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"
                    .into(),
            ],
        ),
        (
            "iam",
            "GetServiceLinkedRoleDeletionStatus",
            json!({"DeletionTaskId": "task/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS/1-2"}),
            vec![
                "iam:GetServiceLinkedRoleDeletionStatus \
                 arn:aws:iam::000000000000:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"
                    .into(),
            ],
        ),
        ("iam", "ListRoles", json!({}), vec!["iam:ListRoles arn:aws:iam::000000000000:role/".into()]),
        (
            "iam",
            "AddRoleToInstanceProfile",
            json!({"RoleName": "web", "InstanceProfileName": "m"}),
            vec!["iam:AddRoleToInstanceProfile arn:aws:iam::000000000000:instance-profile/m".into()],
        ),
        ("iam", "GetUser", json!({}), vec!["iam:GetUser arn:aws:iam::000000000000:user/ada".into()]),
        (
            "ec2",
            "TerminateInstances",
            json!({"InstanceIds": ["i-1"]}),
            vec!["ec2:TerminateInstances arn:aws:ec2:us-east-1:000000000000:instance/i-1".into()],
        ),
        ("ec2", "CreateVpc", json!({}), vec!["ec2:CreateVpc *".into()]),
        ("sts", "GetCallerIdentity", json!({}), vec![]),
        ("ce", "GetCostAndUsage", json!({}), vec!["ce:GetCostAndUsage *".into()]),
    ];
    for (service, operation, input, want) in rows {
        assert_eq!(asked(service, operation, &input), want, "{service} {operation} {input}");
    }
}

/// An operation that the tables forget would ask nothing: each asks something, whatever it is given.
#[test]
fn every_operation_but_those_of_everybody_asks() {
    let everybodys = ["AssumeRole", "GetCallerIdentity", "GetSessionToken"];
    for service in shapes::SERVICES {
        for operation in service.operations {
            let asks = asks(&Snapshot::default(), &caller(), (service, operation), &json!({}));
            assert_eq!(asks.is_empty(), everybodys.contains(&operation.name), "{} {}", service.name, operation.name);
        }
    }
}

#[test]
fn what_conditions_can_ask() {
    let documents = |condition: &str| {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{{{condition}}}}}}}"#
        );
        vec![Document::parse(&text, Kind::Inline).unwrap()]
    };
    let input = json!({
        "cluster": "a", "taskDefinition": "web:3", "enableExecuteCommand": true, "launchType": "EC2",
        "capacityProviderStrategy": [{"capacityProvider": "FARGATE"}],
        "tags": [{"key": "env", "value": "prod"}, {"key": "team", "value": "web"}],
    });
    let service = service("ecs");
    let operation = service.operation("RunTask").unwrap();
    let caller = caller();
    let ask = &asks(&Snapshot::default(), &caller, (service, operation), &input)[0];
    let known = keys::of_request(&caller, Timestamp(1_795_809_600_000), &input);
    for (condition, holds) in [
        (r#""ArnEquals":{"ecs:cluster":"arn:aws:ecs:us-east-1:000000000000:cluster/a"}"#, true),
        (r#""ArnEquals":{"ecs:cluster":"arn:aws:ecs:us-east-1:000000000000:cluster/b"}"#, false),
        (r#""ArnLike":{"ecs:task-definition":"arn:aws:ecs:*:*:task-definition/web:*"}"#, true),
        (r#""StringEquals":{"ecs:enable-execute-command":"true"}"#, true),
        (r#""ArnLike":{"ecs:capacity-provider":"arn:aws:ecs:*:*:capacity-provider/FARGATE"}"#, true),
        (r#""StringEquals":{"aws:RequestTag/env":"prod"}"#, true),
        (r#""StringEquals":{"aws:RequestTag/team":"${aws:PrincipalTag/team}"}"#, true),
        (r#""ForAllValues:StringEquals":{"aws:TagKeys":["env","team"]}"#, true),
        (r#""ForAllValues:StringEquals":{"aws:TagKeys":["env"]}"#, false),
        (
            r#""StringEquals":{"aws:username":"ada","aws:PrincipalType":"User","aws:PrincipalAccount":"000000000000"}"#,
            true,
        ),
        (r#""ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/team/*"}"#, true),
        (r#""IpAddress":{"aws:SourceIp":"10.0.0.0/8"}"#, true),
        (r#""Bool":{"aws:SecureTransport":"true"}"#, true),
        (r#""DateGreaterThan":{"aws:CurrentTime":"2026-11-27T19:59:59Z"}"#, true),
        (r#""DateLessThan":{"aws:CurrentTime":"2026-11-27T20:00:00Z"}"#, false),
        (r#""NumericEquals":{"aws:EpochTime":"1795809600"}"#, true),
        (r#""StringEquals":{"aws:RequestedRegion":"us-east-1"}"#, true),
        (r#""Null":{"aws:ResourceTag/env":"true"}"#, true),
    ] {
        assert_eq!(judge(&documents(condition), ask, &known).is_ok(), holds, "{condition}");
    }
}

#[test]
fn refusals_are_in_the_words_of_each_protocol() {
    let ask = Ask::of("ecs:RunTask", "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1");
    let said = |protocol, denial| refusal(&caller(), protocol, &ask, denial);
    let json = said(Protocol::AwsJson11, Denial::NotAllowed);
    assert_eq!((json.code, json.status), ("AccessDeniedException", 400));
    assert_eq!(
        json.message,
        "User: arn:aws:iam::000000000000:user/team/ada is not authorized to perform: ecs:RunTask on resource: \
         arn:aws:ecs:us-east-1:000000000000:task-definition/web:1 because no identity-based policy allows the ecs:RunTask \
         action"
    );
    let query = said(Protocol::AwsQuery, Denial::Explicit);
    assert_eq!((query.code, query.status), ("AccessDenied", 403));
    assert!(query.message.ends_with("web:1 with an explicit deny in an identity-based policy"), "{}", query.message);
    let ec2 = said(Protocol::Ec2Query, Denial::NotAllowed);
    assert_eq!((ec2.code, ec2.status), ("UnauthorizedOperation", 403));
    assert!(ec2.message.starts_with("You are not authorized to perform this operation. User: "), "{}", ec2.message);
}

#[test]
fn whoever_gives_a_role_away_is_asked_for_it() {
    let pass = |name: &str| format!("iam:PassRole arn:aws:iam::000000000000:role/{name}");
    let both = json!({"taskRoleArn": "web", "executionRoleArn": "arn:aws:iam::000000000000:role/team/pulls"});
    for (operation, input, want) in [
        ("RegisterTaskDefinition", both.clone(), vec![pass("web"), pass("team/pulls")]),
        ("RunTask", json!({"taskDefinition": "web", "overrides": both}), vec![pass("web"), pass("team/pulls")]),
        ("StartTask", json!({"taskDefinition": "web", "overrides": {"taskRoleArn": "web"}}), vec![pass("web")]),
        ("RunTask", json!({"taskDefinition": "web"}), Vec::new()),
    ] {
        assert_eq!(asked("ecs", operation, &input)[1..], want, "{operation} {input}");
    }
    let service = service("ecs");
    let input = json!({"taskRoleArn": "web"});
    let asks =
        asks(&Snapshot::default(), &caller(), (service, service.operation("RegisterTaskDefinition").unwrap()), &input);
    assert_eq!(asks[1].keys, [("iam:PassedToService".to_owned(), vec!["ecs-tasks.amazonaws.com".to_owned()])]);
}
