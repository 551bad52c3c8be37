use crate::{Harness, Want, arn, run};
use serde_json::json;

#[tokio::test]
async fn clusters_live_as_in_aws() {
    let harness = Harness::start().await;
    let demo = json!({
        "clusterArn": arn("cluster/demo"), "clusterName": "demo", "status": "ACTIVE",
        "registeredContainerInstancesCount": 0, "runningTasksCount": 0, "pendingTasksCount": 0, "activeServicesCount": 0,
        "statistics": [], "capacityProviders": [], "defaultCapacityProviderStrategy": [],
        "configuration": null, "serviceConnectDefaults": null, "attachments": null, "attachmentsStatus": null,
    });
    let mut created = demo.clone();
    created["tags"] = json!([{"key": "k", "value": "v"}]);
    created["settings"] = json!([{"name": "containerInsights", "value": "disabled"}]);
    let mut bare = demo.clone();
    bare["tags"] = json!([]);
    bare["settings"] = json!([]);
    run(
        &harness,
        "ecs",
        vec![
            (
                "DescribeClusters",
                json!({}),
                Want::Ok(json!({"clusters": [], "failures": [
                    {"arn": arn("cluster/default"), "reason": "MISSING", "detail": null}]})),
            ),
            (
                "CreateCluster",
                json!({"clusterName": "demo", "tags": [{"key": "k", "value": "v"}]}),
                Want::Ok(json!({"cluster": created.clone()})),
            ),
            ("CreateCluster", json!({"clusterName": "demo"}), Want::Ok(json!({"cluster": created.clone()}))),
            ("CreateCluster", json!({}), Want::Ok(json!({"cluster": {"clusterName": "default"}}))),
            ("CreateCluster", json!({"clusterName": "no spaces"}), Want::Err("InvalidParameterException", "Invalid cluster name 'no spaces': up to")),
            (
                "DescribeClusters",
                json!({"clusters": ["demo", "nope", arn("cluster/demo")]}),
                Want::Ok(json!({
                    "clusters": [bare.clone(), bare],
                    "failures": [{"arn": arn("cluster/nope"), "reason": "MISSING"}],
                })),
            ),
            (
                "DescribeClusters",
                json!({"clusters": ["demo"], "include": ["ATTACHMENTS", "CONFIGURATIONS", "SETTINGS", "TAGS"]}),
                Want::Ok(json!({"clusters": [{
                    "tags": created["tags"], "settings": created["settings"], "attachments": [], "configuration": null}]})),
            ),
            (
                "DescribeClusters",
                json!({"include": ["MOON"]}),
                Want::Err("InvalidParameterException", "failed to satisfy constraint"),
            ),
            ("ListClusters", json!({}), Want::Ok(json!({
                "clusterArns": [arn("cluster/default"), arn("cluster/demo")], "nextToken": null}))),
            (
                "UpdateClusterSettings",
                json!({"cluster": "demo", "settings": [{"name": "containerInsights", "value": "enhanced"}]}),
                Want::Ok(json!({"cluster": {"settings": [{"name": "containerInsights", "value": "enhanced"}]}})),
            ),
            (
                "UpdateCluster",
                json!({"cluster": "demo", "settings": [{"name": "containerInsights", "value": "loud"}]}),
                Want::Err("InvalidParameterException", "containerInsights"),
            ),
            ("UpdateCluster", json!({"cluster": "nope"}), Want::Err("ClusterNotFoundException", "Cluster not found.")),
            ("DeleteCluster", json!({"cluster": "nope"}), Want::Err("ClusterNotFoundException", "Cluster not found.")),
            ("DeleteCluster", json!({"cluster": "demo"}), Want::Ok(json!({"cluster": {"status": "INACTIVE"}}))),
            ("ListClusters", json!({}), Want::Ok(json!({"clusterArns": [arn("cluster/default")]}))),
            ("DescribeClusters", json!({"clusters": ["demo"]}), Want::Ok(json!({"clusters": [{"status": "INACTIVE"}]}))),
            (
                "UpdateCluster",
                json!({"cluster": "demo"}),
                Want::Err("ClusterNotFoundException", "The referenced cluster was inactive."),
            ),
            ("CreateCluster", json!({"clusterName": "demo"}), Want::Ok(json!({"cluster": {"status": "ACTIVE", "tags": []}}))),
        ],
    )
    .await;
}

#[tokio::test]
async fn statistics_are_told_when_asked_for() {
    let harness = Harness::start().await;
    harness.call("ecs", "CreateCluster", &json!({})).await.unwrap();
    let got = harness.call("ecs", "DescribeClusters", &json!({"include": ["STATISTICS"]})).await.unwrap();
    let names: Vec<_> = got["clusters"][0]["statistics"].as_array().unwrap().iter().map(|s| &s["name"]).collect();
    for name in
        ["runningEC2TasksCount", "pendingFargateTasksCount", "activeEC2ServiceCount", "drainingFargateServiceCount"]
    {
        assert!(names.contains(&&json!(name)), "{name} in {names:?}");
    }
    assert_eq!(got["clusters"][0]["statistics"][0]["value"], json!("0"), "values are text");
}

#[tokio::test]
async fn pages_cover_every_cluster_once() {
    let harness = Harness::start().await;
    for number in 0..5 {
        harness.call("ecs", "CreateCluster", &json!({"clusterName": format!("c{number}")})).await.unwrap();
    }
    let (mut seen, mut token) = (Vec::new(), json!(""));
    for page in 0.. {
        assert!(page < 3, "three pages of two are enough");
        let got = harness.call("ecs", "ListClusters", &json!({"maxResults": 2, "nextToken": token})).await.unwrap();
        seen.extend(got["clusterArns"].as_array().unwrap().clone());
        match got.get("nextToken") {
            Some(next) => token = next.clone(),
            None => break,
        }
    }
    let want: Vec<_> = (0..5).map(|number| json!(arn(&format!("cluster/c{number}")))).collect();
    assert_eq!(seen, want);
    let rows = vec![
        ("ListClusters", json!({"nextToken": "rubbish"}), Want::Err("InvalidParameterException", "Invalid token.")),
        ("ListClusters", json!({"maxResults": 101}), Want::Err("InvalidParameterException", "maxResults")),
        // A token of one list is none of another.
        ("ListTaskDefinitions", json!({"nextToken": token}), Want::Err("InvalidParameterException", "Invalid token.")),
    ];
    run(&harness, "ecs", rows).await;
}

#[tokio::test]
async fn regions_are_worlds_of_their_own() {
    let harness = Harness::start().await;
    let name = json!({"clusterName": "demo"});
    let there = harness.call_in("eu-west-1", "ecs", "CreateCluster", &name).await.unwrap();
    assert_eq!(there["cluster"]["clusterArn"], json!("arn:aws:ecs:eu-west-1:000000000000:cluster/demo"));
    let here = harness.call("ecs", "ListClusters", &json!({})).await.unwrap();
    assert_eq!(here["clusterArns"], json!([]));
    let foreign = json!({"cluster": there["cluster"]["clusterArn"]});
    let refused = harness.call("ecs", "DeleteCluster", &foreign).await.unwrap_err();
    assert_eq!(refused.code, "ClusterNotFoundException");
}

#[tokio::test]
async fn a_cluster_says_what_becomes_of_what_terminals_show() {
    let harness = Harness::start().await;
    let configured = |execute: serde_json::Value| json!({"executeCommandConfiguration": execute});
    let logs = |more: serde_json::Value| json!({"logging": "OVERRIDE", "logConfiguration": more});
    for (execute, words) in [
        (json!({"kmsKeyId": "alias/x"}), "configuration.executeCommandConfiguration.kmsKeyId"),
        (logs(json!({"s3BucketName": "b"})), "logConfiguration.s3BucketName"),
        (logs(json!({"cloudWatchLogGroupName": "g", "s3KeyPrefix": "p"})), "logConfiguration.s3KeyPrefix"),
        (logs(json!({"cloudWatchLogGroupName": "g", "s3EncryptionEnabled": true})), "s3EncryptionEnabled"),
        (
            logs(json!({"cloudWatchLogGroupName": "g", "cloudWatchEncryptionEnabled": true})),
            "cloudWatchEncryptionEnabled",
        ),
        (logs(json!({})), "must be specified when logging is OVERRIDE."),
        (json!({"logging": "OVERRIDE"}), "must be specified when logging is OVERRIDE."),
        (json!({"logging": "NONE", "logConfiguration": {"cloudWatchLogGroupName": "g"}}), "only be specified when"),
        (json!({"logging": "SOMETIMES"}), "SOMETIMES"),
    ] {
        let input = json!({"clusterName": "demo", "configuration": configured(execute)});
        let error = harness.call("ecs", "CreateCluster", &input).await.unwrap_err();
        assert!(error.code == "InvalidParameterException" && error.message.contains(words), "{error}");
    }
    // As Terraform says it.
    let given = logs(
        json!({"cloudWatchLogGroupName": "g", "cloudWatchEncryptionEnabled": false, "s3EncryptionEnabled": false}),
    );
    let input = json!({"clusterName": "demo", "configuration": configured(given.clone())});
    let made = harness.call("ecs", "CreateCluster", &input).await.unwrap();
    assert_eq!(made["cluster"]["configuration"], configured(given.clone()));
    let seen = async |include: &[&str]| {
        let asked = json!({"clusters": ["demo"], "include": include});
        harness.call("ecs", "DescribeClusters", &asked).await.unwrap()["clusters"][0]["configuration"].clone()
    };
    assert_eq!(seen(&["CONFIGURATIONS"]).await, configured(given.clone()));
    assert_eq!(seen(&[]).await, json!(null));
    let other = json!({"cluster": "demo", "settings": [{"name": "containerInsights", "value": "enabled"}]});
    harness.call("ecs", "UpdateCluster", &other).await.unwrap();
    assert_eq!(seen(&["CONFIGURATIONS"]).await, configured(given));
    let none = json!({"logging": "NONE"});
    let input = json!({"cluster": "demo", "configuration": configured(none.clone())});
    harness.call("ecs", "UpdateCluster", &input).await.unwrap();
    assert_eq!(seen(&["CONFIGURATIONS"]).await, configured(none));
}
