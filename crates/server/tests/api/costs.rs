//! Cost Explorer's requests: what is asked wrongly, and what comes of nothing.

use crate::{Harness, Want, run};
use serde_json::{Value, json};

fn with(more: &Value) -> Value {
    let mut input = json!({
        "TimePeriod": {"Start": "2026-01-30", "End": "2026-02-02"},
        "Granularity": "MONTHLY",
        "Metrics": ["UNBLENDED_COST", "UsageQuantity"],
    });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    input
}

#[tokio::test]
async fn nothing_costs_nothing_in_every_part() {
    let harness = Harness::start().await;
    let part = |start: &str, end: &str| {
        json!({
            "TimePeriod": {"Start": start, "End": end}, "Groups": [],
            "Total": {
                "UnblendedCost": {"Amount": "0.0000000000", "Unit": "USD"},
                "UsageQuantity": {"Amount": "0.0000000000", "Unit": "N/A"},
            },
        })
    };
    let months = json!([part("2026-01-30", "2026-02-01"), part("2026-02-01", "2026-02-02")]);
    let daily =
        json!([part("2026-01-30", "2026-01-31"), part("2026-01-31", "2026-02-01"), part("2026-02-01", "2026-02-02"),]);
    let group = json!([{"Type": "DIMENSION", "Key": "SERVICE"}, {"Type": "TAG", "Key": "team"}]);
    let hour = json!({"Start": "2026-01-30T01:00:00Z", "End": "2026-01-30T02:00:00Z"});
    run(
        &harness,
        "ce",
        vec![
            ("GetCostAndUsage", with(&json!({})), Want::Ok(json!({"ResultsByTime": months, "NextPageToken": null}))),
            ("GetCostAndUsage", with(&json!({"Granularity": "DAILY"})), Want::Ok(json!({"ResultsByTime": daily}))),
            (
                "GetCostAndUsage",
                with(&json!({"Granularity": "HOURLY", "TimePeriod": hour})),
                Want::Ok(json!({"ResultsByTime": [{"TimePeriod": hour}]})),
            ),
            (
                "GetCostAndUsage",
                with(&json!({"GroupBy": group})),
                Want::Ok(json!({
                    "GroupDefinitions": group, "DimensionValueAttributes": [],
                    "ResultsByTime": [{"Total": {}, "Groups": []}, {"Total": {}, "Groups": []}],
                })),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_not_honoured_is_refused_by_its_name() {
    let harness = Harness::start().await;
    let is = |key: &str| json!({"Dimensions": {"Key": key, "Values": ["a"]}});
    let rows: Vec<(Value, &'static str)> = vec![
        (json!({"Granularity": "YEARLY"}), "granularity"),
        (json!({"TimePeriod": {"Start": "2026-02-02", "End": "2026-02-02"}}), "before end date"),
        (json!({"Metrics": []}), "Metrics"),
        (json!({"Metrics": ["NormalizedUsageAmount"]}), "NormalizedUsageAmount"),
        (json!({"GroupBy": [{"Type": "DIMENSION", "Key": "TENANCY"}]}), "TENANCY"),
        (json!({"GroupBy": [{"Type": "COST_CATEGORY", "Key": "a"}]}), "COST_CATEGORY"),
        (
            json!({"GroupBy": [{"Type": "TAG", "Key": "a"}, {"Type": "TAG", "Key": "b"}, {"Type": "TAG", "Key": "c"}]}),
            "two",
        ),
        (json!({"Filter": is("TENANCY")}), "TENANCY"),
        (json!({"Filter": {}}), "exactly one"),
        (json!({"Filter": {"Not": is("SERVICE"), "Dimensions": is("SERVICE")["Dimensions"]}}), "exactly one"),
        (json!({"Filter": {"And": [is("SERVICE")]}}), "at least two"),
        (json!({"Filter": {"CostCategories": {"Key": "a", "Values": ["b"]}}}), "CostCategories"),
        (
            json!({"Filter": {"Dimensions": {"Key": "SERVICE", "Values": ["a"], "MatchOptions": ["CONTAINS"]}}}),
            "CONTAINS",
        ),
        (json!({"Filter": {"Tags": {"Key": "team"}}}), "Values"),
        (json!({"BillingViewArn": "arn:aws:billing::123456789012:billingview/primary"}), "BillingViewArn"),
    ];
    let rows =
        rows.into_iter().map(|(more, says)| ("GetCostAndUsage", with(&more), Want::Err("ValidationException", says)));
    run(&harness, "ce", rows.collect()).await;
    let token = with(&json!({"NextPageToken": "bm90IG91cnM"}));
    run(&harness, "ce", vec![("GetCostAndUsage", token, Want::Err("InvalidNextTokenException", "token"))]).await;
}

#[tokio::test]
async fn a_price_list_that_is_none_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("prices.json");
    let harness = Harness::start_with(|config| config.data_dir = dir.path().to_owned()).await;
    let published = std::fs::read_to_string(&file).unwrap();
    assert!(published.contains("\"Fargate-vCPU-Hours:perCPU\": \"0.04048\""), "{published}");
    std::fs::write(&file, published.replace("0.04048", "cheap")).unwrap();
    let ask = || with(&json!({}));
    run(&harness, "ce", vec![("GetCostAndUsage", ask(), Want::Err("DataUnavailableException", "'cheap' is no price"))])
        .await;
    std::fs::write(&file, published).unwrap();
    run(&harness, "ce", vec![("GetCostAndUsage", ask(), Want::Ok(json!({})))]).await;
}
