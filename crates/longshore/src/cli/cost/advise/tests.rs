use super::*;
use judge::{To, Why};
use serde_json::json;

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

/// Costs as it ran, on EC2, on Fargate and on Spot; `-` is not known.
fn facts(costs: [&str; 4]) -> Facts {
    let [as_run, on_ec2, on_fargate, on_spot] = costs.map(|text| (text != "-").then(|| amount(text)));
    Facts {
        as_run,
        on_ec2,
        on_fargate,
        on_spot,
        instances: on_ec2.map(|_| "2 x t3.small".to_owned()),
        ran: Some(amount("8.77")),
        break_even: Some(amount("42.13")),
        ..Facts::default()
    }
}

#[test]
fn what_is_cheaper_elsewhere_is_moved_and_nothing_else() {
    for (launch_type, costs, spot, says) in [
        ("FARGATE", ["10", "6", "10", "3"], false, "move to EC2 (2 x t3.small): saves 4.0000 USD (40 %)"),
        ("FARGATE", ["10", "6", "10", "3"], true, "move to Fargate Spot: saves 7.0000 USD (70 %)"),
        ("FARGATE", ["10", "12", "10", "3"], false, "stay"),
        ("FARGATE", ["3", "12", "10", "3"], true, "stay"),
        ("FARGATE", ["10", "-", "10", "-"], true, "stay"),
        ("FARGATE", ["10", "9.96", "10", "9.97"], true, "stay"),
        ("FARGATE", ["0", "0", "0", "0"], true, "stay"),
        ("FARGATE", ["0.00015", "0.00006", "0.00015", "1"], true, "stay"),
        (
            "FARGATE",
            ["0.00015", "0.00005", "0.00015", "1"],
            true,
            "move to EC2 (2 x t3.small): saves 0.0001 USD (67 %)",
        ),
        ("EC2", ["10", "10", "5.9", "3"], false, "move to Fargate: saves 4.1000 USD (41 %)"),
        ("EC2", ["10", "5", "5", "5"], true, "stay on EC2, on less (2 x t3.small): saves 5.0000 USD (50 %)"),
        ("EC2", ["-", "5", "5", "5"], true, "not known"),
        ("EXTERNAL", ["10", "-", "-", "-"], true, "stay"),
    ] {
        let verdict = judge(&facts(costs), launch_type, spot);
        assert!(verdict.to_string().starts_with(says), "{launch_type} {costs:?}: {verdict}");
        let given = |cost: Option<Amount>| cost.is_some_and(|cost| facts(costs).as_run.is_some_and(|ran| cost <= ran));
        let facts = facts(costs);
        let allowed = match verdict {
            Verdict::Move { to: To::Ec2(_) | To::Fewer(_), .. } => given(facts.on_ec2),
            Verdict::Move { to: To::Fargate, .. } => given(facts.on_fargate),
            Verdict::Move { to: To::Spot, .. } => spot && given(facts.on_spot),
            Verdict::Stay | Verdict::Unknown | Verdict::None => true,
        };
        assert!(allowed, "a move that costs more: {launch_type} {costs:?}");
    }
    let Verdict::Move { why, .. } = judge(&facts(["10", "10", "5", "3"]), "EC2", false) else { panic!("it moves") };
    assert_eq!(why, Some(Why { ran: 9, pays_from: 42 }));
}

fn metrics(pairs: &[(&str, &str, &str)]) -> BTreeMap<String, ce::MetricValue> {
    let metric = |(name, amount, unit): &(&str, &str, &str)| {
        let value = ce::MetricValue { amount: Some((*amount).to_owned()), unit: Some((*unit).to_owned()) };
        ((*name).to_owned(), value)
    };
    pairs.iter().map(metric).collect()
}

#[test]
fn parts_are_summed_and_what_one_of_them_does_not_know_nobody_knows() {
    let october = [
        ("longshore:AsRunCost", "1.5", "USD"),
        ("longshore:EC2Cost", "1", "USD"),
        ("longshore:FargateCost", "2", "USD"),
        ("longshore:TimeShare", "10", "Percent"),
        ("longshore:EC2Instances", "1", "1 x t3.nano"),
    ];
    let november = [
        ("longshore:AsRunCost", "0.5", "USD"),
        ("longshore:FargateCost", "1", "USD"),
        ("longshore:FargateSpotCost", "1", "USD"),
        ("longshore:TimeShare", "20", "Percent"),
        ("longshore:IdleHours", "7", "Hrs"),
    ];
    let mut facts = Facts::default();
    facts.add(&metrics(&october)).unwrap();
    facts.add(&metrics(&november)).unwrap();
    assert_eq!((facts.as_run, facts.on_fargate), (Some(amount("2")), Some(amount("3"))));
    assert_eq!((facts.on_ec2, facts.on_spot), (None, None));
    assert_eq!((facts.ran, facts.instances.as_deref()), (Some(amount("20")), Some("1 x t3.nano")));
    assert_eq!(facts.idle_hours, amount("7"));
}

fn report() -> Report {
    let mut report = Report { total: facts(["24.5", "15", "21", "7"]), ..Report::default() };
    let rows = [
        ("", "EC2", ["2.25", "-", "-", "-"]),
        ("shop/family/nightly", "EC2", ["10", "10", "5.9", "3"]),
        ("shop/service/a-service-with-a-rather-long-name", "FARGATE", ["12.25", "5", "12.25", "4"]),
    ];
    for (workload, launch_type, costs) in rows {
        let mut facts = if workload.is_empty() {
            Facts { as_run: Some(amount(costs[0])), ..Facts::default() }
        } else {
            facts(costs)
        };
        if workload.contains("nightly") {
            facts.size = Some(Size {
                reserved: 1024,
                peak: 130,
                cpu_average: Some(amount("12.5")),
                would_do: Some((256, "256 MiB".to_owned())),
                ..Size::default()
            });
        }
        report.add_row(&[workload.to_owned(), launch_type.to_owned()], facts, false);
    }
    let idle = Facts { idle: amount("2.25"), idle_hours: amount("54"), hours: amount("720"), ..Facts::default() };
    report.add_instance(&["i-0123456789abcdef0".to_owned(), "t3.medium".to_owned()], idle);
    report.add_instance(&["i-1123456789abcdef0".to_owned(), "t3.medium".to_owned()], Facts::default());
    report
}

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

#[test]
fn the_table_fits_and_says_what_to_do_below_each_row() {
    let (from, to) = (day("2026-11-01"), day("2026-12-01"));
    for width in [80, 120] {
        let lines = show::table(&report(), from, to, Some(width));
        let plain: Vec<String> = lines.iter().map(|line| console::strip_ansi_codes(line).into_owned()).collect();
        for line in &plain {
            assert!(console::measure_text_width(line) <= width, "{width}: {line}");
        }
        let text = plain.join("\n");
        assert!(text.contains("    → move to Fargate: saves 4.1000 USD (41 %)"), "{text}");
        let size = "    → reserved 1024 MiB, used at most 130: 256 MiB would do";
        assert_eq!(text.matches("would do").count(), 1, "{text}");
        assert!(text.contains(size), "{text}");
        assert!(text.contains("i-0123456789abcdef0  t3.medium  54.0000"), "{text}");
        assert!(!text.contains("i-1123456789abcdef0"), "{text}");
    }
    let empty = show::table(&Report::default(), from, to, None);
    assert_eq!(empty, ["Nothing ran from 2026-11-01 up to 2026-12-01."]);
}

#[test]
fn scripts_get_all_digits() {
    let json = show::json(&report(), day("2026-11-01"), day("2026-12-01"));
    assert_eq!(json["rows"][1]["advice"], "move-to-fargate");
    assert_eq!(json["rows"][1]["saves"], "4.1000000000");
    assert_eq!(json["rows"][0]["onEc2"], json!(null));
    assert_eq!(json["rows"][1]["size"]["advice"], "oversized");
    assert_eq!(json["rows"][1]["size"]["memoryPeakMib"], 130);
    assert_eq!(json["rows"][2]["size"], json!(null), "nobody measured it");
    assert_eq!(json["total"]["usd"], "24.5000000000");
    assert_eq!(json["idleInstances"][0]["idleUsd"], "2.2500000000");
    let csv = show::csv(&report());
    assert_eq!(csv[1], ",EC2,2.2500000000,,,,,,,,,,,,,,,");
    assert_eq!(
        csv[2],
        "shop/family/nightly,EC2,10.0000000000,10.0000000000,5.9000000000,3.0000000000,8.7700000000,42.1300000000,\
         2 x t3.small,move-to-fargate,4.1000000000,1024,130,12.5000000000,,256 MiB,oversized,"
    );
}

#[test]
fn sizes_are_judged_by_what_was_used() {
    let on_fargate = Some("0.25 vCPU with 512 MiB");
    for (reserved, peak, average, would_do, saves, says) in [
        (1024, 130, None, None, None, "reserved 1024 MiB, used at most 130: 192 MiB would do"),
        (256, 130, None, None, None, ""),
        (384, 147, None, None, None, "reserved 384 MiB, used at most 147: 192 MiB would do"),
        (383, 147, None, None, None, ""),
        (512, 497, None, None, None, "used 97 % of its memory (497 of 512 MiB): it needs more"),
        (512, 460, None, None, None, ""),
        (512, 600, None, None, None, "used 117 % of its memory (600 of 512 MiB): it needs more"),
        (512, 500, Some("95"), None, None, "used 97 % of its memory (500 of 512 MiB): it needs more"),
        (512, 300, Some("95"), None, None, "used 95 % of its CPU all the time: it may run faster with more"),
        (0, 300, None, None, None, ""),
        (
            2048,
            130,
            Some("3"),
            on_fargate,
            Some("1.5"),
            "reserved 2048 MiB, used at most 130 and 12 % of its CPU: 0.25 vCPU with 512 MiB would do, saves 1.5000 USD",
        ),
        (2048, 130, Some("3"), on_fargate, Some("0.00001"), ""),
        (2048, 130, Some("3"), on_fargate, None, ""),
    ] {
        // As the server reckons it on instances.
        let memory = (peak * 13_u32).div_ceil(10).div_ceil(32) * 32;
        let called = would_do.map_or_else(|| format!("{memory} MiB"), str::to_owned);
        let size = Size {
            reserved,
            peak,
            cpu_average: average.map(amount),
            cpu_peak: Some(amount("12")),
            would_do: Some((memory, called)),
            saves: saves.map(amount),
        };
        assert_eq!(size.to_string(), says, "{size:?}");
        assert_eq!(size.judge().word() == "fits", says.is_empty(), "{size:?}");
    }
}

#[test]
fn a_size_is_that_of_the_last_part_in_which_it_was_measured() {
    let part = |reserved, peak, size| {
        metrics(&[
            ("longshore:MemoryReserved", reserved, "MiB"),
            ("longshore:MemoryPeak", peak, "MiB"),
            ("longshore:FittingSize", size, "MiB"),
        ])
    };
    let mut facts = Facts::default();
    for metrics in [part("1024", "900", "1184"), part("2048", "100", "160"), metrics(&[])] {
        facts.add(&metrics).unwrap();
    }
    let size = facts.size.unwrap();
    assert_eq!((size.reserved, size.peak, size.would_do), (2048, 100, Some((160, "160 MiB".to_owned()))));
    assert_eq!(Size::of(&metrics(&[])).unwrap(), None);
}
