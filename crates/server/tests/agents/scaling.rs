//! Launch templates, Auto Scaling groups of local instances, capacity providers of such groups, and tasks that make them grow. The
//! host only writes down what it is asked for; the test joins as the machines' agents.

use crate::agent::{Machine, Session, Token};
use crate::machines::start_recorded;
use crate::{Harness, code, ec2, ecs, list, ok, text, until};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

async fn scaling(harness: &Harness, operation: &str, input: Value) -> Value {
    ok(harness, "autoscaling", operation, input).await
}

/// A cluster `demo`, and a template whose instances join it.
async fn prepared(harness: &Harness) -> String {
    ecs(harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    crate::roles::profile(harness, "ecsInstanceRole").await;
    let data = STANDARD.encode("#!/bin/bash\necho ECS_CLUSTER=demo >> /etc/ecs/ecs.config\n");
    let made = ec2(
        harness,
        "CreateLaunchTemplate",
        json!({
            "LaunchTemplateName": "web", "ClientToken": "once",
            "TagSpecifications": [{"ResourceType": "launch-template", "Tags": [{"Key": "a", "Value": "b"}]}],
            "LaunchTemplateData": {
                "InstanceType": "t3.small", "ImageId": "ami-12345678", "UserData": data,
                "MetadataOptions": {"HttpTokens": "required"}, "IamInstanceProfile": {"Name": "ecsInstanceRole"},
                "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "web"}]}],
            },
        }),
    )
    .await;
    text(&made["LaunchTemplate"]["LaunchTemplateId"]).to_owned()
}

async fn subnets(harness: &Harness) -> String {
    let answer = ec2(harness, "DescribeSubnets", json!({})).await;
    let mut subnets: Vec<_> = list(&answer["Subnets"])
        .iter()
        .map(|subnet| (text(&subnet["AvailabilityZone"]).to_owned(), text(&subnet["SubnetId"]).to_owned()))
        .collect();
    subnets.sort();
    subnets.into_iter().map(|(_, id)| id).collect::<Vec<_>>().join(",")
}

fn merged(mut value: Value, more: &Value) -> Value {
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    value
}

async fn group(harness: &Harness, template: &str, more: Value) {
    let input = json!({
        "AutoScalingGroupName": "web", "MinSize": 0, "MaxSize": 5,
        "LaunchTemplate": {"LaunchTemplateId": template, "Version": "$Latest"}, "VPCZoneIdentifier": subnets(harness).await,
    });
    scaling(harness, "CreateAutoScalingGroup", merged(input, &more)).await;
}

/// The group's instances once they are as they should be.
async fn instances(harness: &Harness, what: &str, is: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let call = ("DescribeAutoScalingGroups", json!({"AutoScalingGroupNames": ["web"]}));
    let of = |answer: &Value| list(&answer["AutoScalingGroups"][0]["Instances"]).to_vec();
    let answer = until(harness, what, "autoscaling", call, |answer| is(&of(answer))).await;
    of(&answer)
}

fn all_in_service(instances: &[Value], count: usize) -> bool {
    instances.len() == count && instances.iter().all(|one| one["LifecycleState"] == "InService")
}

#[tokio::test]
async fn templates_say_what_instances_are_like_and_nothing_that_is_not_honoured() {
    let (_host, harness) = start_recorded().await;
    let id = prepared(&harness).await;
    let data = json!({"InstanceType": "t3.micro", "UserData": ""});
    let more = json!({"LaunchTemplateName": "web", "LaunchTemplateData": data, "VersionDescription": "smaller"});
    let more = merged(more, &json!({"ClientToken": "two"}));
    for _ in 0..2 {
        let version = ec2(&harness, "CreateLaunchTemplateVersion", more.clone()).await;
        assert_eq!(version["LaunchTemplateVersion"]["VersionNumber"], 2, "the same token makes no other one");
    }
    let other = merged(more, &json!({"LaunchTemplateData": {"InstanceType": "t3.large"}}));
    assert_eq!(code(&harness, "ec2", "CreateLaunchTemplateVersion", other).await, "IdempotentParameterMismatch");
    let described = ec2(&harness, "DescribeLaunchTemplates", json!({"LaunchTemplateNames": ["web"]})).await;
    let known = &described["LaunchTemplates"][0];
    assert_eq!((&known["DefaultVersionNumber"], &known["LatestVersionNumber"]), (&json!(1), &json!(2)));
    assert_eq!(known["Tags"], json!([{"Key": "a", "Value": "b"}]));
    for (versions, want) in [
        (json!(["$Latest"]), vec![2]),
        (json!(["$Default"]), vec![1]),
        (json!([]), vec![2, 1]),
        (json!(["1"]), vec![1]),
    ] {
        let asked = json!({"LaunchTemplateId": id, "Versions": versions});
        let answer = ec2(&harness, "DescribeLaunchTemplateVersions", asked).await;
        let numbers: Vec<_> = list(&answer["LaunchTemplateVersions"]).iter().map(|one| &one["VersionNumber"]).collect();
        assert_eq!(numbers, want.iter().map(|number| json!(number)).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    }
    let first =
        ec2(&harness, "DescribeLaunchTemplateVersions", json!({"LaunchTemplateId": id, "Versions": ["1"]})).await;
    let shown = &first["LaunchTemplateVersions"][0]["LaunchTemplateData"];
    assert_eq!(shown["IamInstanceProfile"]["Name"], "ecsInstanceRole");
    assert_eq!(shown["MetadataOptions"], json!({"HttpTokens": "required"}));
    assert_eq!(shown["TagSpecifications"][0]["ResourceType"], "instance");

    let create = |name: &str, data: Value| json!({"LaunchTemplateName": name, "LaunchTemplateData": data});
    for (operation, input, want) in [
        (
            "CreateLaunchTemplate",
            create("web", json!({"InstanceType": "t3.micro"})),
            "InvalidLaunchTemplateName.AlreadyExistsException",
        ),
        (
            "CreateLaunchTemplate",
            create("w", json!({"InstanceType": "t3.micro"})),
            "InvalidLaunchTemplateName.MalformedException",
        ),
        ("CreateLaunchTemplate", create("big", json!({"InstanceType": "z9.huge"})), "InvalidParameterValue"),
        ("CreateLaunchTemplate", create("ebs", json!({"EbsOptimized": true})), "UnsupportedOperation"),
        (
            "CreateLaunchTemplate",
            create("spot", json!({"InstanceMarketOptions": {"MarketType": "spot"}})),
            "UnsupportedOperation",
        ),
        ("CreateLaunchTemplate", create("bad", json!({"UserData": "%"})), "InvalidParameterValue"),
        ("DescribeLaunchTemplates", json!({"LaunchTemplateIds": ["lt-0"]}), "InvalidLaunchTemplateId.NotFound"),
        (
            "DescribeLaunchTemplates",
            json!({"LaunchTemplateNames": ["none"]}),
            "InvalidLaunchTemplateName.NotFoundException",
        ),
        (
            "DescribeLaunchTemplateVersions",
            json!({"LaunchTemplateId": id, "Versions": ["7"]}),
            "InvalidLaunchTemplateId.VersionNotFound",
        ),
        ("DeleteLaunchTemplate", json!({}), "MissingParameter"),
    ] {
        assert_eq!(code(&harness, "ec2", operation, input.clone()).await, want, "{operation} {input}");
    }
    ec2(&harness, "CreateTags", json!({"Resources": [id], "Tags": [{"Key": "c", "Value": "d"}]})).await;
    ec2(&harness, "DeleteLaunchTemplate", json!({"LaunchTemplateId": id})).await;
    assert_eq!(ec2(&harness, "DescribeLaunchTemplates", json!({})).await["LaunchTemplates"], json!([]));
}

#[tokio::test]
async fn a_group_keeps_its_size_and_goes_with_its_instances() {
    let (host, harness) = start_recorded().await;
    let template = prepared(&harness).await;
    let tags = json!([
        {"Key": "team", "Value": "blue", "PropagateAtLaunch": true},
        {"Key": "own", "Value": "yes", "PropagateAtLaunch": false},
    ]);
    group(&harness, &template, json!({"DesiredCapacity": 3, "Tags": tags})).await;
    let there = instances(&harness, "three instances", |all| all_in_service(all, 3)).await;
    let mut zones: Vec<_> = there.iter().map(|one| text(&one["AvailabilityZone"]).to_owned()).collect();
    zones.sort();
    assert_eq!(zones, ["us-east-1a", "us-east-1b", "us-east-1c"]);
    let ids: Vec<_> = there.iter().map(|one| text(&one["InstanceId"]).to_owned()).collect();
    let spec = host.spec(&ids[0]);
    assert_eq!((spec.machine.cluster.as_str(), spec.machine.instance_type.as_str()), ("demo", "t3.small"));
    let machine_tags: Vec<_> = spec.machine.tags.0.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(machine_tags, [("Name", "web"), ("aws:autoscaling:groupName", "web"), ("team", "blue")]);
    assert!(spec.machine.metadata_options.tokens_required);

    // One that is stopped or terminated behind its back is replaced.
    ec2(&harness, "TerminateInstances", json!({"InstanceIds": [ids[0]]})).await;
    ec2(&harness, "StopInstances", json!({"InstanceIds": [ids[1]]})).await;
    let fresh = |all: &[Value]| {
        all_in_service(all, 3)
            && !all.iter().any(|one| one["InstanceId"] == json!(ids[0]) || one["InstanceId"] == json!(ids[1]))
    };
    instances(&harness, "replacements", fresh).await;

    // A protected one stays.
    let keep = &ids[2];
    let protect = json!({"AutoScalingGroupName": "web", "InstanceIds": [keep], "ProtectedFromScaleIn": true});
    scaling(&harness, "SetInstanceProtection", protect).await;
    scaling(&harness, "SetDesiredCapacity", json!({"AutoScalingGroupName": "web", "DesiredCapacity": 1})).await;
    instances(&harness, "the protected one", |all| all.len() == 1 && all[0]["InstanceId"] == json!(keep)).await;

    let shrink = json!({"InstanceId": keep, "ShouldDecrementDesiredCapacity": true});
    let activity = scaling(&harness, "TerminateInstanceInAutoScalingGroup", shrink).await;
    assert_eq!(activity["Activity"]["StatusCode"], "InProgress");
    instances(&harness, "nobody", <[Value]>::is_empty).await;
    let call = ("DescribeScalingActivities", json!({"AutoScalingGroupName": "web"}));
    let is_done = |answer: &Value| list(&answer["Activities"]).iter().all(|one| one["StatusCode"] == "Successful");
    let all = until(&harness, "ends of activities", "autoscaling", call, is_done).await;
    let started = list(&all["Activities"]).iter().filter(|one| text(&one["Description"]).starts_with("Launching"));
    // What was terminated behind its back is none of its own doing.
    assert_eq!((started.count(), list(&all["Activities"]).len()), (5, 9));

    scaling(&harness, "DeleteAutoScalingGroup", json!({"AutoScalingGroupName": "web"})).await;
    let call = ("DescribeAutoScalingGroups", json!({}));
    until(&harness, "the group's end", "autoscaling", call, |answer| answer["AutoScalingGroups"] == json!([])).await;
    assert_eq!(host.left(), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_group_cannot_be_is_refused_in_aws_s_words() {
    let (_host, harness) = start_recorded().await;
    let template = prepared(&harness).await;
    let all = subnets(&harness).await;
    let good = json!({
        "AutoScalingGroupName": "web", "MinSize": 1, "MaxSize": 2, "VPCZoneIdentifier": all,
        "LaunchTemplate": {"LaunchTemplateId": template},
    });
    for more in [
        json!({"MaxSize": 0}),
        json!({"MaxSize": 501}),
        json!({"DesiredCapacity": 3}),
        json!({"HealthCheckType": "ELB"}),
        json!({"TerminationPolicies": ["ClosestToNextInstanceHour"]}),
        json!({"VPCZoneIdentifier": "subnet-0"}),
        json!({"VPCZoneIdentifier": ""}),
        json!({"LaunchTemplate": {"LaunchTemplateId": "lt-0"}}),
        json!({"LaunchTemplate": {"LaunchTemplateId": template, "Version": "9"}}),
        json!({"CapacityRebalance": true}),
        json!({"LaunchConfigurationName": "old"}),
    ] {
        let input = merged(good.clone(), &more);
        assert_eq!(code(&harness, "autoscaling", "CreateAutoScalingGroup", input).await, "ValidationError", "{more}");
    }
    scaling(&harness, "CreateAutoScalingGroup", good.clone()).await;
    assert_eq!(code(&harness, "autoscaling", "CreateAutoScalingGroup", good).await, "AlreadyExists");
    let there = instances(&harness, "one instance", |all| all_in_service(all, 1)).await;
    let id = there[0]["InstanceId"].clone();
    for (operation, input, want) in [
        ("SetDesiredCapacity", json!({"AutoScalingGroupName": "web", "DesiredCapacity": 3}), "ValidationError"),
        ("SetDesiredCapacity", json!({"AutoScalingGroupName": "web", "DesiredCapacity": 0}), "ValidationError"),
        ("SetDesiredCapacity", json!({"AutoScalingGroupName": "none", "DesiredCapacity": 0}), "ValidationError"),
        ("DeleteAutoScalingGroup", json!({"AutoScalingGroupName": "web"}), "ResourceInUse"),
        (
            "TerminateInstanceInAutoScalingGroup",
            json!({"InstanceId": id, "ShouldDecrementDesiredCapacity": true}),
            "ValidationError",
        ),
        (
            "TerminateInstanceInAutoScalingGroup",
            json!({"InstanceId": "i-0", "ShouldDecrementDesiredCapacity": true}),
            "ValidationError",
        ),
        ("EnableMetricsCollection", json!({"AutoScalingGroupName": "web", "Granularity": "1Minute"}), "InvalidAction"),
    ] {
        assert_eq!(code(&harness, "autoscaling", operation, input.clone()).await, want, "{operation} {input}");
    }
    scaling(&harness, "DeleteAutoScalingGroup", json!({"AutoScalingGroupName": "web", "ForceDelete": true})).await;
    let update = json!({"AutoScalingGroupName": "web", "MinSize": 1});
    let call = ("DescribeAutoScalingGroups", json!({}));
    until(&harness, "the group's end", "autoscaling", call, |answer| answer["AutoScalingGroups"] == json!([])).await;
    assert_eq!(code(&harness, "autoscaling", "UpdateAutoScalingGroup", update).await, "ValidationError");
}

/// Joins as the agent of a machine of the host.
async fn join(harness: &Harness, spec: &server::machines::MachineSpec) -> Session {
    let token = spec.token.as_deref().unwrap();
    let mut parts = token.split(':').map(str::to_owned);
    let token = Token { id: parts.next().unwrap(), code: parts.next().unwrap() };
    let mut machine = Machine::new(harness).await;
    machine.join(harness, &token, None).await.unwrap();
    machine.session(harness).await.0
}

async fn provider(harness: &Harness, more: Value) -> Value {
    let groups = scaling(harness, "DescribeAutoScalingGroups", json!({})).await;
    let arn = &groups["AutoScalingGroups"][0]["AutoScalingGroupARN"];
    let own = merged(json!({"autoScalingGroupArn": arn}), &more);
    let input = json!({"name": "spare", "autoScalingGroupProvider": own, "tags": [{"key": "a", "value": "b"}]});
    let made = ecs(harness, "CreateCapacityProvider", input).await;
    let put = json!({
        "cluster": "demo", "capacityProviders": ["spare"],
        "defaultCapacityProviderStrategy": [{"capacityProvider": "spare", "weight": 1}],
    });
    ecs(harness, "PutClusterCapacityProviders", put).await;
    made["capacityProvider"].clone()
}

async fn define(harness: &Harness) {
    let container = json!({"name": "app", "image": "busybox", "memory": 2000, "cpu": 10});
    ecs(harness, "RegisterTaskDefinition", json!({"family": "web", "containerDefinitions": [container]})).await;
}

/// What is refused of the provider `spare` of the group `web`, while tasks use it.
async fn misused(harness: &Harness) {
    let strategy =
        |items: Value| json!({"cluster": "demo", "taskDefinition": "web", "capacityProviderStrategy": items});
    let mixed =
        strategy(json!([{"capacityProvider": "spare", "weight": 1}, {"capacityProvider": "FARGATE", "weight": 1}]));
    assert_eq!(code(harness, "ecs", "RunTask", mixed).await, "InvalidParameterException");
    for (operation, input, want) in [
        (
            "PutClusterCapacityProviders",
            json!({"cluster": "demo", "capacityProviders": [], "defaultCapacityProviderStrategy": []}),
            "ResourceInUseException",
        ),
        (
            "PutClusterCapacityProviders",
            json!({"cluster": "demo", "capacityProviders": ["none"], "defaultCapacityProviderStrategy": []}),
            "InvalidParameterException",
        ),
        ("DeleteCapacityProvider", json!({"capacityProvider": "spare"}), "ClientException"),
        ("DeleteCapacityProvider", json!({"capacityProvider": "FARGATE"}), "InvalidParameterException"),
        (
            "CreateCapacityProvider",
            json!({"name": "aws-x", "autoScalingGroupProvider": {"autoScalingGroupArn": "web"}}),
            "InvalidParameterException",
        ),
        (
            "CreateCapacityProvider",
            json!({"name": "spare", "autoScalingGroupProvider": {"autoScalingGroupArn": "web"}}),
            "InvalidParameterException",
        ),
        (
            "CreateCapacityProvider",
            json!({"name": "twice", "autoScalingGroupProvider": {"autoScalingGroupArn": "web"}}),
            "InvalidParameterException",
        ),
        (
            "CreateCapacityProvider",
            json!({"name": "none", "autoScalingGroupProvider": {"autoScalingGroupArn": "none"}}),
            "InvalidParameterException",
        ),
        (
            "UpdateCapacityProvider",
            json!({"name": "spare", "autoScalingGroupProvider": {"managedTerminationProtection": "ENABLED"}}),
            "InvalidParameterException",
        ),
        (
            "UpdateCapacityProvider",
            json!({"name": "spare", "autoScalingGroupProvider": {"managedScaling": {"minimumScalingStepSize": 5, "maximumScalingStepSize": 4}}}),
            "InvalidParameterException",
        ),
    ] {
        assert_eq!(code(harness, "ecs", operation, input.clone()).await, want, "{operation} {input}");
    }
}

#[tokio::test]
async fn a_provider_is_a_group_s_and_its_tasks_are_on_its_instances() {
    let (host, harness) = start_recorded().await;
    let template = prepared(&harness).await;
    group(&harness, &template, json!({"DesiredCapacity": 1})).await;
    let made = provider(&harness, json!({"managedScaling": {"status": "DISABLED"}})).await;
    assert_eq!((&made["status"], &made["type"]), (&json!("ACTIVE"), &json!("EC2_AUTOSCALING")));
    assert_eq!(made["autoScalingGroupProvider"]["managedDraining"], "ENABLED");
    let arn = text(&made["capacityProviderArn"]).to_owned();
    let there = instances(&harness, "one instance", |all| all_in_service(all, 1)).await;
    let _own = join(&harness, &host.spec(text(&there[0]["InstanceId"]))).await;
    crate::instance(&harness, "demo", "us-east-1a", 4096).await;
    define(&harness).await;

    let answer = ecs(&harness, "RunTask", json!({"cluster": "demo", "taskDefinition": "web", "count": 2})).await;
    let tasks = list(&answer["tasks"]);
    assert_eq!(tasks.len(), 2, "{answer:#}");
    assert!(tasks.iter().all(|task| task["capacityProviderName"] == "spare" && task["launchType"] == "EC2"));
    let on = ecs(
        &harness,
        "DescribeContainerInstances",
        json!({"cluster": "demo", "containerInstances": [tasks[0]["containerInstanceArn"]]}),
    )
    .await;
    assert_eq!(on["containerInstances"][0]["capacityProviderName"], "spare");
    assert_eq!(
        on["containerInstances"][0]["runningTasksCount"].as_i64().unwrap()
            + on["containerInstances"][0]["pendingTasksCount"].as_i64().unwrap(),
        2
    );
    let many = json!({"cluster": "demo", "taskDefinition": "web", "count": 1});
    let full = ecs(&harness, "RunTask", many).await;
    assert_eq!(
        full["failures"][0]["reason"], "RESOURCE:MEMORY",
        "the other instance has room, and is none of the provider's"
    );

    misused(&harness).await;
    ecs(&harness, "TagResource", json!({"resourceArn": arn, "tags": [{"key": "c", "value": "d"}]})).await;
    let described =
        ecs(&harness, "DescribeCapacityProviders", json!({"capacityProviders": [arn], "include": ["TAGS"]})).await;
    assert_eq!(list(&described["capacityProviders"][0]["tags"]).len(), 2);
    let shown = ecs(&harness, "DescribeClusters", json!({"clusters": ["demo"], "include": ["ATTACHMENTS"]})).await;
    let shown = &shown["clusters"][0];
    let kinds: Vec<_> = list(&shown["attachments"]).iter().map(|one| &one["type"]).collect();
    assert_eq!((kinds, &shown["attachmentsStatus"]), (vec![&json!("managed_draining")], &json!("UPDATE_COMPLETE")));
    let names: Vec<_> = list(&ecs(&harness, "DescribeCapacityProviders", json!({})).await["capacityProviders"])
        .iter()
        .map(|one| text(&one["name"]).to_owned())
        .collect();
    assert_eq!(names, ["FARGATE", "FARGATE_SPOT", "spare"]);
}

#[tokio::test]
async fn tasks_wait_for_instances_that_come_for_them() {
    let (host, harness) = start_recorded().await;
    let template = prepared(&harness).await;
    group(&harness, &template, json!({"NewInstancesProtectedFromScaleIn": true})).await;
    let scaled = json!({
        "managedScaling": {"status": "ENABLED", "instanceWarmupPeriod": 0}, "managedTerminationProtection": "ENABLED",
    });
    provider(&harness, scaled).await;
    define(&harness).await;
    let service = json!({"cluster": "demo", "serviceName": "web", "taskDefinition": "web", "desiredCount": 3});
    ecs(&harness, "CreateService", service).await;
    let run = ecs(&harness, "RunTask", json!({"cluster": "demo", "taskDefinition": "web"})).await;
    let task = &run["tasks"][0];
    assert_eq!((&task["lastStatus"], &task["containerInstanceArn"]), (&json!("PROVISIONING"), &Value::Null), "{run:#}");
    assert_eq!(run["failures"], json!([]));
    let call = ("ListTasks", json!({"cluster": "demo", "serviceName": "web"}));
    until(&harness, "the service's tasks", "ecs", call, |answer| list(&answer["taskArns"]).len() == 3).await;

    // The first jump is to two instances, and both are protected as soon as tasks are on them.
    let there = instances(&harness, "two instances", |all| all_in_service(all, 2)).await;
    let mut sessions = Vec::new();
    for one in &there {
        sessions.push(join(&harness, &host.spec(text(&one["InstanceId"]))).await);
    }
    let call = ("DescribeTasks", json!({"cluster": "demo", "tasks": [task["taskArn"]]}));
    let placed = until(&harness, "a place", "ecs", call, |answer| answer["tasks"][0]["lastStatus"] == "PENDING").await;
    assert_eq!(placed["tasks"][0]["capacityProviderName"], "spare");
    instances(&harness, "protection", |all| all.iter().all(|one| one["ProtectedFromScaleIn"] == true)).await;

    // A task that still waits ends without an agent's word.
    let many = json!({"cluster": "demo", "taskDefinition": "web", "count": 10});
    ecs(
        &harness,
        "UpdateCapacityProvider",
        json!({"name": "spare", "autoScalingGroupProvider": {"managedScaling": {"instanceWarmupPeriod": 10000}}}),
    )
    .await;
    let more = ecs(&harness, "RunTask", many).await;
    let waits = list(&more["tasks"]).iter().find(|task| task["lastStatus"] == "PROVISIONING").unwrap();
    let stopped = ecs(&harness, "StopTask", json!({"cluster": "demo", "task": waits["taskArn"]})).await;
    assert_eq!(stopped["task"]["lastStatus"], "STOPPED", "{stopped:#}");

    ecs(&harness, "DeleteService", json!({"cluster": "demo", "service": "web", "force": true})).await;
    scaling(&harness, "DeleteAutoScalingGroup", json!({"AutoScalingGroupName": "web", "ForceDelete": true})).await;
    let call = ("DescribeAutoScalingGroups", json!({}));
    until(&harness, "the group's end", "autoscaling", call, |answer| answer["AutoScalingGroups"] == json!([])).await;
}
