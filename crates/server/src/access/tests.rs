use super::*;
use crate::identity::Identity;
use model::{
    AccountId, Region, Scope, Timestamp,
    iam::{Permissions, User},
    policy::{Kind, MAX_TEXT},
};
use serde_json::json;
use std::sync::Arc;
use wire::schema::Shape;

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
            vec![
                "iam:AddRoleToInstanceProfile arn:aws:iam::000000000000:instance-profile/m".into(),
                "iam:PassRole arn:aws:iam::000000000000:role/web".into(),
            ],
        ),
        (
            "iam",
            "UpdateUser",
            json!({"UserName": "eve", "NewUserName": "ada", "NewPath": "/team/"}),
            vec![
                "iam:UpdateUser arn:aws:iam::000000000000:user/eve".into(),
                "iam:UpdateUser arn:aws:iam::000000000000:user/team/ada".into(),
            ],
        ),
        (
            "ec2",
            "RunInstances",
            json!({"UserData": "RUNTX0NMVVNURVI9cHJvZA==", "IamInstanceProfile": {"Name": "none"}}),
            vec![
                "ec2:RunInstances *".into(),
                "iam:PassRole arn:aws:iam::000000000000:role/*".into(),
                format!("ecs:RegisterContainerInstance {}", ecs("cluster/prod")),
            ],
        ),
        (
            "ec2",
            "RunInstances",
            json!({}),
            vec!["ec2:RunInstances *".into(), format!("ecs:RegisterContainerInstance {}", ecs("cluster/default"))],
        ),
        (
            "ec2",
            "CreateLaunchTemplateVersion",
            json!({"SourceVersion": "1", "LaunchTemplateData": {"InstanceType": "t3.micro"}}),
            vec!["ec2:CreateLaunchTemplateVersion *".into()],
        ),
        (
            "ssm",
            "CreateActivation",
            json!({"IamRole": "web", "Tags": [{"Key": "longshore:cluster", "Value": "prod"}]}),
            vec![
                "ssm:CreateActivation *".into(),
                format!("ecs:RegisterContainerInstance {}", ecs("cluster/prod")),
                "iam:PassRole arn:aws:iam::000000000000:role/web".into(),
            ],
        ),
        (
            "ssm",
            "CreateActivation",
            json!({}),
            vec!["ssm:CreateActivation *".into(), "ecs:RegisterContainerInstance *".into()],
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

/// Nobody's request becomes more questions than its operation could answer, and none holds what cannot be judged.
#[test]
fn what_can_be_asked_is_bounded() {
    let long = "a".repeat(MAX_TEXT + 1);
    for service in shapes::SERVICES {
        for operation in service.operations {
            let lists = operation.input.members.iter().filter(|member| matches!(member.shape, Shape::List(_)));
            for list in lists.map(|member| member.name) {
                for item in [json!("a"), json!({"targetId": "a", "key": "a", "Key": "a"})] {
                    let input = json!({ list: vec![item; 2_000] });
                    if bounds::of_input(service.protocol, &input).is_ok() {
                        let asks = asks(&Snapshot::default(), &caller(), (service, operation), &input);
                        assert!(asks.len() <= 4, "{} {} {list}: {}", service.name, operation.name, asks.len());
                    }
                }
            }
        }
    }
    let refused = |input: Value| bounds::of_input(Protocol::AwsJson11, &input).unwrap_err();
    assert_eq!(refused(json!({"tasks": vec!["a"; 101]})).message, "tasks may have at most 100 items.");
    assert_eq!(refused(json!({"tasks": [long]})).message, "Each of tasks may have at most 2048 bytes.");
    let error = refused(json!({"tasks": vec!["a"; 100], "cluster": long}));
    assert_eq!((error.code, &*error.message), ("ValidationException", "cluster may have at most 2048 bytes."));
    let hooks = json!({"deploymentConfiguration": {"lifecycleHooks": vec![json!({}); 21]}});
    assert_eq!(refused(hooks).message, "lifecycleHooks may have at most 20 items.");
    assert!(bounds::of_input(Protocol::AwsJson11, &json!({"tasks": vec!["a"; 100], "value": long})).is_ok());
    let ask = Ask::of("ssm:GetParameter", long);
    let refused = bounds::of_asks(Protocol::AwsJson11, &[ask]).unwrap_err();
    assert_eq!(refused.message, "What ssm:GetParameter is about may have at most 2048 bytes.");
    // What a hundred questions have in common is there once.
    let (service, input) = (service("ecs"), json!({"cluster": "a", "tasks": ["1", "2"]}));
    let asks = asks(&Snapshot::default(), &caller(), (service, service.operation("DescribeTasks").unwrap()), &input);
    assert!(Arc::ptr_eq(&asks[0].common, &asks[1].common) && !asks[0].common.is_empty());
}

#[test]
fn tags_that_differ_by_case_deceive_no_condition() {
    let tags = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        bounds::of_tags(Protocol::AwsJson11, &pairs)
    };
    assert!(tags(&[("env", "prod"), ("team", "prod"), ("env", "prod")]).is_ok());
    for wrong in [[("env", "dev"), ("Env", "prod")], [("env", "dev"), ("ENV", "dev")], [("env", "a"), ("env", "b")]] {
        let refused = tags(&wrong).unwrap_err();
        assert!(refused.message.contains("stands twice"), "{wrong:?}: {}", refused.message);
    }
}

/// What a session's policies say counts beside its role's own, and a deny of either counts more than what the other lacks.
#[test]
fn both_sets_of_policies_are_heard() {
    let documents = |effect: &str, action: &str| {
        let text = format!(r#"{{"Statement":{{"Effect":"{effect}","Action":"{action}","Resource":"*"}}}}"#);
        vec![Document::parse(&text, Kind::Inline).unwrap()]
    };
    let all = || documents("Allow", "*");
    for (own, session, expected) in [
        (all(), None, Ok(())),
        (all(), Some(all()), Ok(())),
        (all(), Some(documents("Allow", "ecs:*")), Err(Denial::NotAllowed)),
        (documents("Allow", "ecs:*"), Some(all()), Err(Denial::NotAllowed)),
        (documents("Allow", "ecs:*"), Some(documents("Deny", "logs:*")), Err(Denial::Explicit)),
        (documents("Deny", "logs:*"), Some(all()), Err(Denial::Explicit)),
    ] {
        let rights = Rights::of(own.into(), session.clone());
        let verdicts = verdicts_of(Some(&rights), &Ask::of("logs:GetLogEvents", "arn:aws:logs:::x"), &Keys::new());
        assert_eq!(verdicts.together(), expected, "{session:?}");
    }
}

#[test]
fn a_groups_two_arns_are_one_resource() {
    let about =
        About::Resource(vec!["arn:aws:logs:r:1:log-group:a:log-stream:".into(), "arn:aws:logs:r:1:log-group:a".into()]);
    let text = r#"{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},
        {"Effect":"Deny","Action":"*","NotResource":"arn:aws:logs:*:*:log-group:a:*"}]}"#;
    let documents = [Document::parse(text, Kind::Inline).unwrap()];
    assert_eq!(judge(&documents, &Ask::new("logs:DeleteLogGroup", about), &Keys::new()), Ok(()));
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
        (r#""Null":{"aws:TokenIssueTime":"true","aws:MultiFactorAuthPresent":"true"}"#, true),
    ] {
        assert_eq!(judge(&documents(condition), ask, &known).is_ok(), holds, "{condition}");
    }
}

/// A hook's task runs, so whoever names it needs the right to run it: a condition on the service's definition does not speak of it.
#[test]
fn whoever_names_a_hooks_task_is_asked_to_run_it() {
    let definition = |name: &str| format!("arn:aws:ecs:us-east-1:000000000000:task-definition/{name}");
    let allowed = |statements: &str, operation: &str, target: &str| {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
        let documents = [Document::parse(&text, Kind::Inline).unwrap()];
        let service = service("ecs");
        let hooks = json!([{"hookTargetArn": target}, {"hookTargetArn": target}, {"targetType": "PAUSE"}]);
        let input = json!({"cluster": "a", "service": "web", "serviceName": "web", "taskDefinition": "web:3",
            "deploymentConfiguration": {"strategy": "BLUE_GREEN", "lifecycleHooks": hooks}});
        let operation = service.operation(operation).unwrap();
        let asks = asks(&Snapshot::default(), &caller(), (service, operation), &input);
        let denied = asks.into_iter().find(|ask| judge(&documents, ask, &Keys::new()).is_err());
        denied.map_or(Ok(()), |ask| Err(format!("{} {}", ask.action, ask.told())))
    };
    let web = r#"{"Effect":"Allow","Action":["ecs:CreateService","ecs:UpdateService"],"Resource":"*",
        "Condition":{"ArnLike":{"ecs:task-definition":"arn:aws:ecs:*:*:task-definition/web:*"}}}"#;
    let run = |on: &str, condition: &str| {
        format!(r#"{web},{{"Effect":"Allow","Action":"ecs:RunTask","Resource":"{on}","Condition":{{{condition}}}}}"#)
    };
    let all = r#"{"Effect":"Allow","Action":"ecs:*","Resource":"*"}"#;
    let (smoke, url) = (definition("smoke:1"), "http://127.0.0.1/".to_owned());
    let refused = || Err(format!("ecs:RunTask {smoke}"));
    for (statements, target, want) in [
        (web.to_owned(), &url, Ok(())),
        (web.to_owned(), &smoke, refused()),
        (run("*", ""), &smoke, Ok(())),
        (run("arn:aws:ecs:*:*:task-definition/smoke:*", ""), &smoke, Ok(())),
        (run("arn:aws:ecs:*:*:task-definition/other:*", ""), &smoke, refused()),
        (run("*", r#""ArnLike":{"ecs:cluster":"arn:aws:ecs:*:*:cluster/a"}"#), &smoke, Ok(())),
        (run("*", r#""ArnLike":{"ecs:cluster":"arn:aws:ecs:*:*:cluster/b"}"#), &smoke, refused()),
        (run("*", r#""ArnLike":{"ecs:task-definition":"arn:aws:ecs:*:*:task-definition/smoke:*"}"#), &smoke, Ok(())),
        // The service's own definition is not the hook's.
        (run("*", r#""ArnLike":{"ecs:task-definition":"arn:aws:ecs:*:*:task-definition/web:*"}"#), &smoke, refused()),
        (all.to_owned(), &smoke, Ok(())),
        (format!(r#"{all},{{"Effect":"Deny","Action":"ecs:RunTask","Resource":"{smoke}"}}"#), &smoke, refused()),
    ] {
        for operation in ["CreateService", "UpdateService"] {
            assert_eq!(allowed(&statements, operation, target), want, "{operation} {target} {statements}");
        }
    }
}

#[test]
fn of_temporary_credentials_more_is_known() {
    let session = Caller { session_since: Some(Timestamp(1_795_809_600_000)), ..caller() };
    let known = keys::of_request(&session, Timestamp(1_795_809_700_000), &json!({}));
    assert_eq!(known.get("aws:TokenIssueTime"), ["1795809600"]);
    assert_eq!(known.get("aws:MultiFactorAuthPresent"), ["false"]);
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
        ("UpdateService", json!({"service": "web", "desiredCount": 2}), Vec::new()),
        (
            "UpdateService",
            json!({"service": "web", "deploymentConfiguration": {"lifecycleHooks": [
                {"hookTargetArn": "http://127.0.0.1/", "roleArn": "web"}, {"targetType": "PAUSE"},
            ]}}),
            vec![pass("web")],
        ),
    ] {
        assert_eq!(asked("ecs", operation, &input)[1..], want, "{operation} {input}");
    }
    let service = service("ecs");
    let input = json!({"taskRoleArn": "web"});
    let asks =
        asks(&Snapshot::default(), &caller(), (service, service.operation("RegisterTaskDefinition").unwrap()), &input);
    assert_eq!(asks[1].keys, [("iam:PassedToService".to_owned(), vec!["ecs-tasks.amazonaws.com".to_owned()])]);
}
