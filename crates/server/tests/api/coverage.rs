//! What the coverage table says is what the server does.

use crate::Harness;
use serde_json::{Value, json};

#[tokio::test]
async fn every_operation_that_is_said_to_work_has_a_handler_and_no_other_has() {
    let harness = Harness::start().await;
    for row in server::coverage() {
        let works = json!(row.status) == json!("works");
        assert!(works || row.unsupported_members.is_empty(), "{row:?}");
        let scope = model::Scope {
            account: model::AccountId::parse("000000000000").unwrap(),
            region: model::Region::parse("us-east-1").unwrap(),
        };
        let caller = server::Caller::root(scope, "x");
        let service = crate::client::service(row.service);
        let operation = service.operation(row.operation).unwrap();
        let answer = server::api::dispatch(harness.server.context(), &caller, service, operation, json!({})).await;
        let text = answer.err().map(|error| error.message).unwrap_or_default();
        assert!(!text.contains("has no handler"), "{} {}: {text}", row.service, row.operation);
        assert_eq!(!works, text.contains("does not serve"), "{} {}: {text}", row.service, row.operation);
    }
}

#[test]
fn the_table_names_members_that_are_refused() {
    let rows = server::coverage();
    let row = |operation: &str| rows.iter().find(|row| row.service == "ecs" && row.operation == operation).unwrap();
    assert_eq!(rows.iter().filter(|row| row.service == "ecs").count(), 88, "every operation of the model is listed");
    let register = row("RegisterTaskDefinition");
    for (member, refused) in [
        ("containerDefinitions.firelensConfiguration", false),
        ("containerDefinitions.logConfiguration.secretOptions", false),
        ("containerDefinitions.linuxParameters.devices", false),
        ("volumes.efsVolumeConfiguration.authorizationConfig", false),
        ("volumes.efsVolumeConfiguration.fileSystemId", false),
        ("volumes.host", false),
        ("taskRoleArn", false),
        ("containerDefinitions.image", false),
        ("containerDefinitions", false),
        ("containerDefinitions.logConfiguration.options", false),
    ] {
        assert_eq!(register.unsupported_members.iter().any(|m| m == member), refused, "{member}");
    }
    for (operation, member, refused) in [
        ("CreateService", "loadBalancers", true),
        ("CreateService", "deploymentConfiguration.canaryConfiguration", true),
        ("CreateService", "deploymentConfiguration.maximumPercent", false),
        ("UpdateService", "forceNewDeployment", false),
    ] {
        let said = row(operation).unsupported_members.iter().any(|m| m == member);
        assert_eq!(said, refused, "{operation} {member}");
    }
    assert_eq!(json!(row("DescribeDaemon").status), Value::from("refused"));
}
