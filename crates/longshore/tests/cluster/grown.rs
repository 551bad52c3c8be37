//! A capacity provider of an Auto Scaling group on a real machine: a service brings the instances that it needs, a server that is
//! killed neither loses nor doubles one, and tasks move before their instance goes.

use crate::{
    api::Api,
    harness::{Cluster, until},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const CLUSTER: &str = "grown";

fn instances(api: &Api) -> Vec<Value> {
    let answer = api.scaling("DescribeAutoScalingGroups", &json!({"AutoScalingGroupNames": ["grown"]}));
    answer["AutoScalingGroups"][0]["Instances"].as_array().cloned().unwrap_or_default()
}

fn ids(instances: &[Value]) -> BTreeSet<String> {
    instances.iter().map(|one| one["InstanceId"].as_str().unwrap().to_owned()).collect()
}

/// The group's instances, once there are so many and all are in service.
fn in_service(api: &Api, wanted: usize) -> BTreeSet<String> {
    until(&format!("{wanted} instances in service"), || {
        let there = instances(api);
        let well = there.len() == wanted && there.iter().all(|one| one["LifecycleState"] == "InService");
        well.then(|| ids(&there))
    })
}

fn running(api: &Api, wanted: i64) -> Vec<Value> {
    until(&format!("{wanted} tasks"), || {
        let asked = json!({"cluster": CLUSTER, "services": ["web"]});
        let service = api.ecs("DescribeServices", &asked)["services"][0].clone();
        if service["runningCount"] != wanted || service["pendingCount"] != 0 {
            return None;
        }
        let arns = api.ecs("ListTasks", &json!({"cluster": CLUSTER, "serviceName": "web"}))["taskArns"].clone();
        let tasks = api.ecs("DescribeTasks", &json!({"cluster": CLUSTER, "tasks": arns}))["tasks"].clone();
        let tasks = tasks.as_array().cloned()?;
        (tasks.len() == usize::try_from(wanted).ok()?).then_some(tasks)
    })
}

/// A cluster, a group that starts empty, its provider, and a definition of which one task fills an instance.
fn prepare(cluster: &Cluster, api: &Api) {
    api.ecs("CreateCluster", &json!({"clusterName": CLUSTER}));
    let data = STANDARD.encode(format!("#!/bin/bash\necho ECS_CLUSTER={CLUSTER} >> /etc/ecs/ecs.config\n"));
    let template = json!({
        "LaunchTemplateName": "grown", "LaunchTemplateData": {"InstanceType": "t3.micro", "UserData": data},
    });
    api.ec2("CreateLaunchTemplate", &template);
    let subnets = api.ec2("DescribeSubnets", &json!({}))["Subnets"].clone();
    let subnets: Vec<_> =
        subnets.as_array().unwrap().iter().map(|subnet| subnet["SubnetId"].as_str().unwrap().to_owned()).collect();
    let group = json!({
        "AutoScalingGroupName": "grown", "MinSize": 0, "MaxSize": 3, "VPCZoneIdentifier": subnets.join(","),
        "LaunchTemplate": {"LaunchTemplateName": "grown"},
    });
    api.scaling("CreateAutoScalingGroup", &group);
    let provider = json!({
        "name": "grown",
        "autoScalingGroupProvider": {
            "autoScalingGroupArn": api.scaling("DescribeAutoScalingGroups", &json!({}))["AutoScalingGroups"][0]["AutoScalingGroupARN"],
            "managedScaling": {"status": "ENABLED", "instanceWarmupPeriod": 1},
        },
    });
    api.ecs("CreateCapacityProvider", &provider);
    let put = json!({"cluster": CLUSTER, "capacityProviders": ["grown"], "defaultCapacityProviderStrategy": []});
    api.ecs("PutClusterCapacityProviders", &put);
    let container = json!({
        "name": "main", "image": cluster.image, "memory": 600, "stopTimeout": 1,
        "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 600 & wait"],
    });
    api.ecs("RegisterTaskDefinition", &json!({"family": "web", "containerDefinitions": [container]}));
}

#[test]
fn a_service_brings_its_instances_and_they_go_with_it() {
    let mut cluster = Cluster::start(0);
    let api = cluster.api();
    prepare(&cluster, &api);
    let service = json!({
        "cluster": CLUSTER, "serviceName": "web", "taskDefinition": "web", "desiredCount": 2,
        "capacityProviderStrategy": [{"capacityProvider": "grown", "weight": 1}],
        "deploymentConfiguration": {"minimumHealthyPercent": 100, "maximumPercent": 200},
    });
    api.ecs("CreateService", &service);
    let two = in_service(&api, 2);
    let tasks = running(&api, 2);
    let on: BTreeSet<_> = tasks.iter().map(|task| task["containerInstanceArn"].as_str().unwrap().to_owned()).collect();
    assert_eq!(on.len(), 2, "each task has an instance of its own: {tasks:#?}");
    assert!(tasks.iter().all(|task| task["capacityProviderName"] == "grown"));

    // A server that is killed while its group grows.
    api.scaling("SetDesiredCapacity", &json!({"AutoScalingGroupName": "grown", "DesiredCapacity": 3}));
    cluster.kill_server();
    cluster.launch_server();
    let api = cluster.api();
    let three = in_service(&api, 3);
    assert!(two.is_subset(&three), "none was lost: {two:?} {three:?}");
    let all = api.ec2("DescribeInstances", &json!({}))["Reservations"].clone();
    let all: Vec<_> = all.as_array().unwrap().iter().flat_map(|one| one["Instances"].as_array().unwrap()).collect();
    assert_eq!(all.len(), 3, "none was doubled: {all:#?}");
    running(&api, 2);

    // Tasks move before their instances go.
    api.ecs("UpdateService", &json!({"cluster": CLUSTER, "service": "web", "desiredCount": 1}));
    running(&api, 1);
    api.scaling("SetDesiredCapacity", &json!({"AutoScalingGroupName": "grown", "DesiredCapacity": 1}));
    let left = in_service(&api, 1);
    let tasks = running(&api, 1);
    let asked = json!({"cluster": CLUSTER, "containerInstances": [tasks[0]["containerInstanceArn"]]});
    let on = api.ecs("DescribeContainerInstances", &asked)["containerInstances"][0].clone();
    assert_eq!(ids(&[json!({"InstanceId": on["ec2InstanceId"]})]), left);
    assert_eq!((&on["status"], &on["capacityProviderName"]), (&json!("ACTIVE"), &json!("grown")));

    api.ecs("DeleteService", &json!({"cluster": CLUSTER, "service": "web", "force": true}));
    api.scaling("DeleteAutoScalingGroup", &json!({"AutoScalingGroupName": "grown", "ForceDelete": true}));
    until("the group's end", || {
        let groups = api.scaling("DescribeAutoScalingGroups", &json!({}))["AutoScalingGroups"].clone();
        (groups == json!([])).then_some(())
    });
    assert!(cluster.agents().is_empty(), "{:?}", cluster.agents());
    assert!(cluster.stop_server(), "the server did not end well:\n{}", cluster.log());
    assert_eq!(cluster.traces(), Vec::<String>::new(), "something is left behind");
}
