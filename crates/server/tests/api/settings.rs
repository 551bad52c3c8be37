use crate::{Harness, Want, run};
use serde_json::json;

#[tokio::test]
async fn account_settings_fall_from_principal_to_account_to_default() {
    let harness = Harness::start().await;
    let root = "arn:aws:iam::000000000000:root";
    let user = "arn:aws:iam::000000000000:user/u";
    let is = |name: &str, value: &str, principal: &str| json!({"name": name, "value": value, "principalArn": principal, "type": "user"});
    let insights = "containerInsights";
    run(
        &harness,
        "ecs",
        vec![
            // The ECS CLI's question before it tags anything: an absent answer is fatal to it.
            (
                "ListAccountSettings",
                json!({"effectiveSettings": true, "name": "taskLongArnFormat"}),
                Want::Ok(json!({"settings": [is("taskLongArnFormat", "enabled", root)], "nextToken": null})),
            ),
            ("ListAccountSettings", json!({}), Want::Ok(json!({"settings": []}))),
            (
                "PutAccountSettingDefault",
                json!({"name": insights, "value": "enabled"}),
                Want::Ok(json!({"setting": is(insights, "enabled", root)})),
            ),
            (
                "PutAccountSetting",
                json!({"name": insights, "value": "enhanced", "principalArn": user}),
                Want::Ok(json!({"setting": is(insights, "enhanced", user)})),
            ),
            ("ListAccountSettings", json!({}), Want::Ok(json!({"settings": [is(insights, "enabled", root)]}))),
            (
                "ListAccountSettings",
                json!({"principalArn": user}),
                Want::Ok(json!({"settings": [is(insights, "enhanced", user)]})),
            ),
            (
                "CreateCluster",
                json!({}),
                Want::Ok(json!({"cluster": {"settings": [{"name": insights, "value": "enabled"}]}})),
            ),
            (
                "DeleteAccountSetting",
                json!({"name": insights, "principalArn": user}),
                Want::Ok(json!({"setting": is(insights, "enabled", user)})),
            ),
            (
                "DeleteAccountSetting",
                json!({"name": insights}),
                Want::Ok(json!({"setting": is(insights, "disabled", root)})),
            ),
            (
                "PutAccountSetting",
                json!({"name": insights, "value": "7"}),
                Want::Err("InvalidParameterException", "containerInsights"),
            ),
            ("PutAccountSetting", json!({"name": "moon", "value": "7"}), Want::Err("InvalidParameterException", "")),
            (
                "PutAccountSetting",
                json!({"name": "guardDutyActivate", "value": "on"}),
                Want::Err("InvalidParameterException", "read-only"),
            ),
        ],
    )
    .await;
    let first = harness.call("ecs", "ListAccountSettings", &json!({"effectiveSettings": true})).await.unwrap();
    assert_eq!(first["settings"].as_array().unwrap().len(), 10, "AWS shows ten to a page");
    let input = json!({"effectiveSettings": true, "nextToken": first["nextToken"]});
    let second = harness.call("ecs", "ListAccountSettings", &input).await.unwrap();
    assert_eq!(second["settings"], json!([is("taskLongArnFormat", "enabled", root)]));
    assert!(second.get("nextToken").is_none());
}
