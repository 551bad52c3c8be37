use super::*;
use serde_json::json;

#[test]
fn amounts_are_read_and_shown_as_they_are() {
    for (text, shown, short) in [
        ("0", "0.0000000000", "0.0000"),
        ("1.5", "1.5000000000", "1.5000"),
        ("0.0000500000", "0.0000500000", "0.0001"),
        ("0.0000499999", "0.0000499999", "0.0000"),
        ("12.9999999999", "12.9999999999", "13.0000"),
    ] {
        let amount: Amount = text.parse().unwrap();
        assert_eq!((amount.to_string().as_str(), amount.short().as_str()), (shown, short), "{text}");
    }
    for wrong in ["", "-1", "1e3", "1.x", "one"] {
        assert!(wrong.parse::<Amount>().is_err(), "{wrong}");
    }
}

#[test]
fn what_can_be_summed_by_is_asked_by_dimension_or_tag() {
    for (text, asked) in [
        ("cluster", Some("TAG aws:ecs:clusterName, DIMENSION USAGE_TYPE")),
        ("service", Some("TAG aws:ecs:serviceName, DIMENSION USAGE_TYPE")),
        ("tag:team", Some("TAG team, DIMENSION USAGE_TYPE")),
        ("instance-type", Some("DIMENSION INSTANCE_TYPE, DIMENSION USAGE_TYPE")),
        ("usage-type", Some("DIMENSION USAGE_TYPE")),
        ("day", Some("DIMENSION USAGE_TYPE")),
        ("tag:", None),
        ("month", None),
    ] {
        let said = text.parse::<By>().ok().map(|by| {
            let groups = by
                .groups()
                .into_iter()
                .map(|group| format!("{} {}", group.r#type.unwrap_or_default(), group.key.unwrap_or_default()));
            groups.collect::<Vec<_>>().join(", ")
        });
        assert_eq!(said.as_deref(), asked, "{text}");
    }
}

fn bill(by: &By, groups: &[(&str, &str, &str, &str)]) -> Bill {
    let groups: Vec<_> = groups
        .iter()
        .map(|(key, cost, hours, unit)| {
            json!({
                "Keys": [key, "some type"],
                "Metrics": {
                    "UnblendedCost": {"Amount": cost, "Unit": "USD"}, "UsageQuantity": {"Amount": hours, "Unit": unit},
                },
            })
        })
        .collect();
    let answer = json!({
        "ResultsByTime": [{"TimePeriod": {"Start": "2026-11-01", "End": "2026-12-01"}, "Groups": groups}],
        "DimensionValueAttributes": [{"Value": "BoxUsage:x9.huge", "Attributes": {"price": "none"}}],
    });
    let mut bill = Bill::default();
    bill.take(by, wire::from_value(answer).unwrap()).unwrap();
    bill
}

#[test]
fn rows_make_up_the_whole() {
    let by: By = "tag:team".parse().unwrap();
    let bill = bill(
        &by,
        &[
            ("team$a,b", "1.0000000001", "2.0000000000", "vCPU-Hours"),
            ("team$a,b", "0.5000000000", "4.0000000000", "GB-Hours"),
            ("team$=x", "0.2500000000", "8.0000000000", "Hrs"),
            ("team$", "0.1250000000", "1.0000000000", "Hrs"),
        ],
    );
    assert_eq!(
        show::csv(&bill),
        [
            "name,usd,vcpuHours,gbHours,instanceHours",
            "-,0.1250000000,0.0000000000,0.0000000000,1.0000000000",
            "'=x,0.2500000000,0.0000000000,0.0000000000,8.0000000000",
            "\"a,b\",1.5000000001,2.0000000000,4.0000000000,0.0000000000",
        ]
    );
    let day = |text: &str| text.parse::<Date>().unwrap();
    let json = show::json(&bill, day("2026-11-01"), day("2026-12-01"));
    assert_eq!(json["total"]["usd"], "1.8750000001");
    assert_eq!(json["total"]["instanceHours"], "9.0000000000");
    let names: Vec<_> = json["rows"].as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["-", "=x", "a,b"], "what is of none is called as in the table");
    assert_eq!(json["withoutPrice"], json!(["BoxUsage:x9.huge"]));
}

#[test]
fn by_day_the_name_is_the_day() {
    let bill =
        bill(&By::Day, &[("USE1-Fargate-GB-Hours", "1", "1", "GB-Hours"), ("BoxUsage:t3.nano", "1", "1", "Hrs")]);
    assert_eq!(bill.lines.keys().collect::<Vec<_>>(), ["2026-11-01"]);
    assert_eq!(bill.total().cost.to_string(), "2.0000000000");
}
