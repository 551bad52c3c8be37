//! Users of IAM: whose keys prove who calls, and whose policies say what he may do.

use crate::{Harness, Want, run};
use serde_json::{Value, json};
use std::path::Path;
use wire::sigv4::Credentials;

fn allow(action: &str) -> String {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}).to_string()
}

/// A user with an inline policy that allows those actions, and his key.
async fn user(harness: &Harness, name: &str, action: &str) -> Credentials {
    let rows = vec![
        ("CreateUser", json!({"UserName": name}), Want::Ok(json!({}))),
        (
            "PutUserPolicy",
            json!({"UserName": name, "PolicyName": "own", "PolicyDocument": allow(action)}),
            Want::Ok(json!({})),
        ),
    ];
    run(harness, "iam", rows).await;
    let made = harness.call("iam", "CreateAccessKey", &json!({"UserName": name})).await.unwrap();
    let text = |member: &str| made["AccessKey"][member].as_str().unwrap().to_owned();
    Credentials { access_key: text("AccessKeyId"), secret_key: text("SecretAccessKey"), session_token: None }
}

/// Whether any file below a folder holds a text.
fn is_in_files(folder: &Path, text: &str) -> bool {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.into_iter().any(|path| {
        if path.is_dir() {
            return is_in_files(&path, text);
        }
        std::fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    })
}

#[tokio::test]
async fn a_users_key_proves_him_and_his_policies_say_what_he_may_do() {
    let harness = Harness::start().await;
    let ada = user(&harness, "ada", "ecs:List*").await;
    let asked = |operation: &'static str, input: Value| {
        let (harness, ada) = (&harness, &ada);
        async move { harness.call_as(ada, "us-east-1", ("ecs", operation), &input).await }
    };
    assert!(asked("ListClusters", json!({})).await.is_ok());
    let refused = asked("DeleteCluster", json!({"cluster": "a"})).await.unwrap_err();
    assert_eq!(refused.code, "AccessDeniedException");
    assert_eq!(
        refused.message,
        "User: arn:aws:iam::000000000000:user/ada is not authorized to perform: ecs:DeleteCluster on resource: \
         arn:aws:ecs:us-east-1:000000000000:cluster/a because no identity-based policy allows the ecs:DeleteCluster action"
    );
    // What is not served is not told to those who may not ask for it.
    assert_eq!(asked("DescribeDaemon", json!({"daemonArn": "x"})).await.unwrap_err().code, "AccessDeniedException");
    let who = harness.call_as(&ada, "eu-west-1", ("sts", "GetCallerIdentity"), &json!({})).await.unwrap();
    assert_eq!(who["Arn"], "arn:aws:iam::000000000000:user/ada");
    let query = harness.call_as(&ada, "us-east-1", ("iam", "ListUsers"), &json!({})).await.unwrap_err();
    assert_eq!(query.code, "AccessDenied");
    let ec2 = harness.call_as(&ada, "us-east-1", ("ec2", "DescribeVpcs"), &json!({})).await.unwrap_err();
    assert_eq!(ec2.code, "UnauthorizedOperation");

    let wrong = Credentials { secret_key: "x".repeat(40), ..ada.clone() };
    let refused = harness.call_as(&wrong, "us-east-1", ("ecs", "ListClusters"), &json!({})).await.unwrap_err();
    assert_eq!(refused.code, "InvalidSignatureException");
    // No session has begun with this key.
    let session = Credentials { session_token: Some("token".to_owned()), ..ada.clone() };
    let refused = harness.call_as(&session, "us-east-1", ("ecs", "ListClusters"), &json!({})).await.unwrap_err();
    assert_eq!(refused.code, "UnrecognizedClientException");

    let change = |status: &str| json!({"UserName": "ada", "AccessKeyId": ada.access_key, "Status": status});
    run(&harness, "iam", vec![("UpdateAccessKey", change("Inactive"), Want::Ok(json!({})))]).await;
    assert_eq!(asked("ListClusters", json!({})).await.unwrap_err().code, "UnrecognizedClientException");
    run(&harness, "iam", vec![("UpdateAccessKey", change("Active"), Want::Ok(json!({})))]).await;
    assert!(asked("ListClusters", json!({})).await.is_ok());
    let rows = vec![
        ("DeleteAccessKey", json!({"UserName": "ada", "AccessKeyId": ada.access_key}), Want::Ok(json!({}))),
        ("DeleteUserPolicy", json!({"UserName": "ada", "PolicyName": "own"}), Want::Ok(json!({}))),
        ("DeleteUser", json!({"UserName": "ada"}), Want::Ok(json!({}))),
    ];
    run(&harness, "iam", rows).await;
    assert_eq!(asked("ListClusters", json!({})).await.unwrap_err().code, "UnrecognizedClientException");
    assert!(is_in_files(harness.dir.path(), &ada.access_key), "its id is in the log");
    assert!(!is_in_files(harness.dir.path(), &ada.secret_key), "its secret is nowhere");
}

#[tokio::test]
async fn policies_that_change_hold_at_once() {
    let harness = Harness::start().await;
    let ada = user(&harness, "ada", "logs:*").await;
    let groups = || async { harness.call_as(&ada, "us-east-1", ("logs", "DescribeLogGroups"), &json!({})).await };
    assert!(groups().await.is_ok());
    let deny =
        json!({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "logs:Describe*", "Resource": "*"}});
    let made = json!({"PolicyName": "no", "PolicyDocument": deny.to_string()});
    let arn = "arn:aws:iam::000000000000:policy/no";
    let rows = vec![
        ("CreatePolicy", made, Want::Ok(json!({"Policy": {"Arn": arn}}))),
        ("AttachUserPolicy", json!({"UserName": "ada", "PolicyArn": arn}), Want::Ok(json!({}))),
    ];
    run(&harness, "iam", rows).await;
    let refused = groups().await.unwrap_err();
    assert!(refused.message.ends_with("with an explicit deny in an identity-based policy"), "{}", refused.message);
    let version = json!({"PolicyArn": arn, "PolicyDocument": allow("ecs:*"), "SetAsDefault": true});
    run(&harness, "iam", vec![("CreatePolicyVersion", version, Want::Ok(json!({})))]).await;
    assert!(groups().await.is_ok());
    let admin = "arn:aws:iam::aws:policy/AdministratorAccess";
    let attach = json!({"UserName": "ada", "PolicyArn": admin});
    run(&harness, "iam", vec![("AttachUserPolicy", attach, Want::Ok(json!({})))]).await;
    assert!(harness.call_as(&ada, "us-east-1", ("iam", "ListUsers"), &json!({})).await.is_ok());
}

#[tokio::test]
async fn what_is_wrong_is_told_in_iams_words() {
    let harness = Harness::start().await;
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"Service": "ecs-tasks.amazonaws.com"}}]})
    .to_string();
    let create = json!({"RoleName": "web", "AssumeRolePolicyDocument": trust});
    let encoded = "%7B%22Statement%22%3A%5B%7B%22Action%22%3A%22sts%3AAssumeRole%22%2C%22Effect%22%3A%22Allow%22%2C%22Principal\
                   %22%3A%7B%22Service%22%3A%22ecs-tasks.amazonaws.com%22%7D%7D%5D%2C%22Version%22%3A%222012-10-17%22%7D";
    let rows = vec![
        (
            "CreateRole",
            create.clone(),
            Want::Ok(json!({"Role": {"RoleName": "web", "AssumeRolePolicyDocument": encoded}})),
        ),
        ("CreateRole", create, Want::Err("EntityAlreadyExists", "Role with name web already exists.")),
        ("GetRole", json!({"RoleName": "x"}), Want::Err("NoSuchEntity", "The role with name x cannot be found.")),
        (
            "CreateRole",
            json!({"RoleName": "a b", "AssumeRolePolicyDocument": trust}),
            Want::Err("ValidationError", "failed to satisfy constraint"),
        ),
        (
            "CreateRole",
            json!({"RoleName": "b", "AssumeRolePolicyDocument": "no"}),
            Want::Err("MalformedPolicyDocument", "This policy contains invalid Json"),
        ),
        (
            "CreateRole",
            json!({"RoleName": "b", "AssumeRolePolicyDocument": trust, "PermissionsBoundary": "arn:aws:iam::aws:policy/X"}),
            Want::Err("ValidationError", "PermissionsBoundary"),
        ),
        (
            "PutRolePolicy",
            json!({"RoleName": "web", "PolicyName": "p", "PolicyDocument": "{}"}),
            Want::Err("MalformedPolicyDocument", "Syntax errors in policy."),
        ),
        (
            "AttachRolePolicy",
            json!({"RoleName": "web", "PolicyArn": "arn:aws:iam::aws:policy/Nothing"}),
            Want::Err("NoSuchEntity", "does not exist or is not attachable."),
        ),
        (
            "CreateAccessKey",
            json!({}),
            Want::Err("ValidationError", "Must specify userName when calling with non-User credentials"),
        ),
        ("ListRoles", json!({"Marker": "rubbish"}), Want::Err("ValidationError", "Invalid Marker.")),
        ("DeleteRole", json!({"RoleName": "web"}), Want::Ok(json!({}))),
    ];

    run(&harness, "iam", rows).await;
}
