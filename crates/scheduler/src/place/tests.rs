//! One row per reason, strategy and rule of placement.

use super::fixture::{GROUP, Row, Wanted, place, reservation, row, wanted};
use super::{Constraint, Held, Reason, Strategy, draw, lacking_everywhere, obstacle};
use model::{Attribute, CpuUnits, InstanceStatus, MemoryMib, Port, Protocol, resources::Lacking};

const AZ: &str = "ecs.availability-zone";

fn port(number: u16) -> Port {
    Port { protocol: Protocol::Tcp, number }
}

fn attribute(name: &str, value: Option<&str>) -> Attribute {
    Attribute { name: name.into(), value: value.map(Into::into) }
}

fn tasks_on(placed: &[usize], index: usize) -> usize {
    placed.iter().filter(|i| **i == index).count()
}

/// The one instance refuses the one task, and says why.
fn refused(row: &Row, wanted: &Wanted, reason: Reason, text: &str) {
    let plan = place(std::slice::from_ref(row), wanted, 1);
    assert!(plan.placed.is_empty(), "{text}");
    assert_eq!(plan.unplaced, wanted.count);
    assert_eq!(plan.held, [Held { instance: Some(0), reason }]);
    assert_eq!(reason.text(), text);
    assert_eq!(obstacle(&row.view(), &wanted.request()), Some(reason));
    let ordered = place(std::slice::from_ref(row), &wanted.clone().by(&["spread instanceId"]), 1);
    assert_eq!(ordered.held, plan.held, "the way of choosing does not change what stands in the way");
}

#[test]
fn every_reason_has_its_name() {
    let plain = wanted(1);
    refused(&row(0).left(127, 4096), &plain, Reason::Resource(Lacking::Cpu), "RESOURCE:CPU");
    refused(&row(0).left(2048, 255), &plain, Reason::Resource(Lacking::Memory), "RESOURCE:MEMORY");

    let mut on_port = wanted(1);
    on_port.reservation.ports.insert(port(80));
    let mut taken = row(0);
    taken.remaining.ports.insert(port(80));
    refused(&taken, &on_port, Reason::Resource(Lacking::Ports), "RESOURCE:PORTS");

    let mut with_gpu = wanted(1);
    with_gpu.reservation.gpus = 1;
    refused(&row(0), &with_gpu, Reason::Resource(Lacking::Gpu), "RESOURCE:GPU");

    let mut with_interface = wanted(1);
    with_interface.reservation.interfaces = 1;
    refused(&row(0), &with_interface, Reason::Resource(Lacking::Eni), "RESOURCE:ENI");

    let mut elsewhere = wanted(1);
    elsewhere.zones = vec!["us-east-1z".into()];
    refused(&row(0), &elsewhere, Reason::Location, "LOCATION");

    let mut away = row(0);
    away.instance.agent_connected = false;
    refused(&away, &plain, Reason::Agent, "AGENT");

    let mut needs = wanted(1);
    needs.required =
        vec![attribute("ecs.instance-type", None), attribute("ecs.capability.execution-role-ecr-pull", None)];
    refused(&row(0), &needs, Reason::Attribute(1), "ATTRIBUTE");
    needs.required = vec![attribute("ecs.instance-type", Some("m5.large"))];
    refused(&row(0), &needs, Reason::Attribute(0), "ATTRIBUTE");

    let text = "MemberOf placement constraint unsatisfied.";
    let member = wanted(1).member_of("attribute:ecs.instance-type exists").member_of("attribute:ssd exists");
    refused(&row(0), &member, Reason::MemberOf(1), text);

    let text = "DistinctInstance placement constraint unsatisfied.";
    refused(&row(0).hosting(GROUP, 1), &wanted(1).distinct(), Reason::DistinctInstance, text);
}

#[test]
fn what_nothing_here_can_do_is_told_apart_from_want_of_room() {
    let mut task = wanted(1);
    task.required = vec![attribute("cpu", Some("arm64")), attribute("shares", None)];
    task.zones = vec!["a".into()];
    let able = || row(0).with("cpu", "arm64").with("shares", "").with(AZ, "a");
    let unable = || row(1).with("cpu", "arm64").with(AZ, "a");
    let draining = || {
        let mut row = able();
        row.instance.status = InstanceStatus::Draining;
        row
    };
    for (rows, want) in [
        (vec![], None),
        (vec![unable()], Some(1)),
        // Whether there is room now does not matter.
        (vec![unable().left(0, 0), unable()], Some(1)),
        (vec![unable(), able().left(0, 0)], None),
        (vec![unable(), able().with(AZ, "b")], Some(1)),
        (vec![unable(), draining()], Some(1)),
        (vec![unable().with(AZ, "b")], None),
        (vec![unable(), able().with("cpu", "x86_64")], Some(0)),
    ] {
        let views: Vec<_> = rows.iter().map(Row::view).collect();
        assert_eq!(lacking_everywhere(&views, &task.request()), want, "{rows:?}");
    }
}

#[test]
fn reasons_come_in_the_order_of_the_filter() {
    let mut worst = row(0).left(0, 0).hosting(GROUP, 1);
    worst.instance.agent_connected = false;
    let mut all = wanted(1).distinct().member_of("attribute:ssd exists");
    all.required = vec![attribute("missing", None)];
    refused(&worst, &all, Reason::Resource(Lacking::Cpu), "RESOURCE:CPU");
    worst = worst.left(128, 0);
    refused(&worst, &all, Reason::Resource(Lacking::Memory), "RESOURCE:MEMORY");
    worst = worst.left(128, 256);
    refused(&worst, &all, Reason::Agent, "AGENT");
    worst.instance.agent_connected = true;
    refused(&worst, &all, Reason::Attribute(0), "ATTRIBUTE");
    worst = worst.with("missing", "no more");
    refused(&worst, &all, Reason::DistinctInstance, "DistinctInstance placement constraint unsatisfied.");
    worst.groups.clear();
    refused(&worst, &all, Reason::MemberOf(1), "MemberOf placement constraint unsatisfied.");
}

#[test]
fn only_active_instances_are_considered() {
    for status in [InstanceStatus::Draining, InstanceStatus::Inactive] {
        let mut gone = row(0);
        gone.instance.status = status;
        for wanted in [wanted(2), wanted(2).by(&["binpack cpu"])] {
            let plan = place(std::slice::from_ref(&gone), &wanted, 1);
            assert_eq!(plan.held, [Held { instance: None, reason: Reason::NoInstances }]);
            let plan = place(&[gone.clone(), row(1)], &wanted, 1);
            assert_eq!((plan.placed, plan.held), (vec![1, 1], vec![]));
        }
    }
    let plan = place(&[], &wanted(1), 1);
    assert_eq!(plan.held[0].reason.text(), "No Container Instances were found in your cluster.");
    assert_eq!(place(&[], &wanted(0), 1).held, []);
}

#[test]
fn what_did_not_fit_is_told_per_instance_with_the_batch_counted() {
    // One task fits on each; two are left over.
    let rows = [row(0).left(128, 4096), row(1).left(2048, 300), row(2).left(0, 0)];
    let plan = place(&rows, &wanted(4), 1);
    let mut placed = plan.placed.clone();
    placed.sort_unstable();
    assert_eq!((placed, plan.unplaced), (vec![0, 1], 2));
    let reasons: Vec<_> = plan.held.iter().map(|h| (h.instance, h.reason.text())).collect();
    assert_eq!(reasons, [(Some(0), "RESOURCE:CPU"), (Some(1), "RESOURCE:MEMORY"), (Some(2), "RESOURCE:CPU")]);
    assert_eq!(place(&rows, &wanted(2), 1).held, [], "nothing is held when all are placed");
}

#[test]
fn the_closest_instance_is_the_one_that_got_furthest() {
    let mut away = row(1);
    away.instance.agent_connected = false;
    let rows = [row(0).left(0, 0), away.clone(), away];
    let plan = place(&rows, &wanted(1), 1);
    assert_eq!(plan.closest().unwrap(), &Held { instance: Some(1), reason: Reason::Agent });
}

#[test]
fn a_static_port_admits_one_task_per_instance() {
    let mut web = wanted(5);
    web.reservation.ports.insert(port(80));
    let mut taken = row(2);
    taken.remaining.ports.insert(port(80));
    let mut udp = row(3);
    udp.remaining.ports.insert(Port { protocol: Protocol::Udp, number: 80 });
    let rows = [row(0), row(1), taken, udp];
    for web in [web.clone(), web.by(&["binpack memory"])] {
        let plan = place(&rows, &web, 1);
        assert_eq!([0, 1, 2, 3].map(|i| tasks_on(&plan.placed, i)), [1, 1, 0, 1]);
        assert!(plan.held.iter().all(|h| h.reason.text() == "RESOURCE:PORTS"));
        assert_eq!(plan.held.len(), 4);
    }
}

#[test]
fn distinct_instance_counts_the_group_and_the_batch() {
    let rows = [row(0), row(1).hosting(GROUP, 1), row(2).hosting("service:other", 3), row(3)];
    for strategy in [&[][..], &["spread instanceId"], &["binpack cpu"]] {
        let plan = place(&rows, &wanted(4).distinct().by(strategy), 7);
        let mut placed = plan.placed;
        placed.sort_unstable();
        assert_eq!(placed, [0, 2, 3]);
        assert_eq!((plan.unplaced, plan.held.len()), (1, 4));
    }
}

#[test]
fn an_expression_about_groups_sees_the_batch() {
    let rows = [row(0), row(1)];
    for strategy in [&[][..], &["binpack cpu"]] {
        let apart = wanted(3).member_of(&format!("not(task:group == {GROUP})")).by(strategy);
        let plan = place(&rows, &apart, 3);
        assert_eq!((plan.placed.len(), plan.unplaced), (2, 1));
        assert_ne!(plan.placed[0], plan.placed[1]);
        // Affinity to a group that is on one instance only.
        let rows = [row(0), row(1).hosting("service:db", 1)];
        let plan = place(&rows, &wanted(3).member_of("task:group == service:db").by(strategy), 3);
        assert_eq!(plan.placed, [1, 1, 1]);
        // Placed tasks do not run yet.
        let plan = place(&rows, &wanted(3).member_of("runningTasksCount < 1").by(strategy), 3);
        assert_eq!(plan.placed, [0, 0, 0]);
    }
}

#[test]
fn spread_over_zones_evens_out_what_is_there() {
    let rows = [
        row(0).with(AZ, "a").hosting(GROUP, 2),
        row(1).with(AZ, "a"),
        row(2).with(AZ, "b").hosting(GROUP, 1).hosting("service:other", 9),
        row(3).with(AZ, "c"),
    ];
    let plan = place(&rows, &wanted(3).by(&["spread attribute:ecs.availability-zone"]), 1);
    let mut placed = plan.placed;
    placed.sort_unstable();
    assert_eq!(placed, [2, 3, 3], "b has one and c none, a has two");
}

#[test]
fn tasks_on_full_instances_count_and_those_on_draining_ones_do_not() {
    let mut full = row(0).with(AZ, "a").hosting(GROUP, 1).left(0, 0);
    let rows = |first: &Row| [first.clone(), row(1).with(AZ, "a"), row(2).with(AZ, "b").hosting(GROUP, 1)];
    let spread = wanted(1).by(&["spread attribute:ecs.availability-zone", "binpack memory"]);
    full.groups.insert(GROUP.into(), 2);
    assert_eq!(place(&rows(&full), &spread, 1).placed, [2]);
    full.instance.status = InstanceStatus::Draining;
    assert_eq!(place(&rows(&full), &spread, 1).placed, [1]);
}

#[test]
fn instances_without_the_attribute_come_last() {
    let rows = [row(0), row(1).with(AZ, "a").left(256, 4096)];
    let plan = place(&rows, &wanted(4).by(&["spread attribute:ecs.availability-zone"]), 1);
    assert_eq!(plan.placed, [1, 1, 0, 0]);
}

#[test]
fn later_strategies_break_ties() {
    let rows = [
        row(0).with(AZ, "a").left(1000, 4000),
        row(1).with(AZ, "a").left(2000, 3000),
        row(2).with(AZ, "b").left(1000, 4000),
        row(3).with(AZ, "b").left(2000, 3000),
    ];
    for (strategies, expected) in [
        (&["spread attribute:ecs.availability-zone", "binpack memory"], [1, 3]),
        (&["spread attribute:ecs.availability-zone", "binpack cpu"], [0, 2]),
        (&["binpack cpu", "spread attribute:ecs.availability-zone"], [0, 0]),
    ] {
        let mut placed = place(&rows, &wanted(2).by(strategies), 5).placed;
        placed.sort_unstable();
        if strategies[0].starts_with("binpack") {
            // The first goes to either of the equals; the second stays with it, which now has the least.
            assert_eq!(placed[0], placed[1]);
            assert!([0, 2].contains(&placed[0]));
        } else {
            assert_eq!(placed, expected, "{strategies:?}");
        }
    }
}

#[test]
fn spread_over_two_attributes_and_over_hosts() {
    let at = |number, az: &str, rack: &str| row(number).with(AZ, az).with("rack", rack);
    let rows = [at(0, "a", "1"), at(1, "a", "2"), at(2, "b", "1"), at(3, "b", "2")];
    let by = ["spread attribute:ecs.availability-zone", "spread attribute:rack"];
    let plan = place(&rows, &wanted(2).by(&by), 9);
    let opposite = [3, 2, 1, 0];
    assert_eq!(plan.placed[1], opposite[plan.placed[0]], "the other zone, and there the other rack");
    for field in ["spread host", "spread instanceId"] {
        let mut placed = place(&rows, &wanted(4).by(&[field]), 9).placed;
        placed.sort_unstable();
        assert_eq!(placed, [0, 1, 2, 3]);
    }
}

#[test]
fn binpack_takes_the_fullest_that_still_fits() {
    let rows = [row(0).left(2048, 1000), row(1).left(2048, 500), row(2).left(2048, 200)];
    assert_eq!(place(&rows, &wanted(3).by(&["binpack memory"]), 1).placed, [1, 0, 0]);
}

#[test]
fn tasks_that_want_nothing_of_what_is_packed_stay_together() {
    let mut idle = wanted(5).by(&["binpack cpu"]);
    idle.reservation = reservation(0, 10);
    let rows: Vec<_> = (0..5).map(row).collect();
    let placed = place(&rows, &idle, 11).placed;
    assert!(placed.iter().all(|i| *i == placed[0]));
}

#[test]
fn the_cheaper_type_wins_a_tie_and_only_a_tie() {
    let typed = |number, name: &str| row(number).with("ecs.instance-type", name).with(AZ, "a");
    let rows = [typed(0, "m5.large"), typed(1, "t3.micro"), typed(2, "m5.4xlarge")];
    for strategy in ["spread attribute:ecs.availability-zone", "spread instanceId", "binpack memory"] {
        for seed in 0..20 {
            assert_eq!(place(&rows, &wanted(1).by(&[strategy]), seed).placed, [1], "{strategy}");
        }
    }
    let tighter = [rows[0].clone().left(1024, 1024), rows[1].clone()];
    assert_eq!(place(&tighter, &wanted(1).by(&["binpack memory"]), 1).placed, [0]);
    for strategy in [&[][..], &["random"], &["spread attribute:ecs.availability-zone", "random"]] {
        let seen = |index| (0..50).any(|seed| place(&rows, &wanted(1).by(strategy), seed).placed == [index]);
        assert!((0..3).all(seen), "chance was asked for, so price has no say");
    }
}

#[test]
fn chance_is_fair_and_repeatable() {
    let rows: Vec<_> = (0..10).map(|n| row(n).with(AZ, "a").left(u32::MAX, u32::MAX)).collect();
    for strategy in
        [&[][..], &["spread attribute:ecs.availability-zone"], &["spread attribute:ecs.availability-zone", "random"]]
    {
        let wanted = wanted(10_000).by(strategy);
        let placed = place(&rows, &wanted, 42).placed;
        for index in 0..10 {
            let tasks = tasks_on(&placed, index);
            assert!((850..1150).contains(&tasks), "instance {index} got {tasks} of 10,000 under {strategy:?}");
        }
        assert_eq!(placed, place(&rows, &wanted, 42).placed);
        assert_ne!(placed, place(&rows, &wanted, 43).placed);
    }
}

#[test]
fn draws_are_fair_among_those_that_fit_and_given_up_where_few_do() {
    let fits = |index: usize| index.is_multiple_of(3);
    let rows: Vec<_> = (0..9).map(|n| row(n).left(if fits(n) { 2048 } else { 0 }, 4096)).collect();
    let view = |at: usize| Some(rows[at].view());
    let drawn: Vec<_> = (0..3_000).map(|seed| draw(9, view, &wanted(1).request(), seed).unwrap()[0]).collect();
    for index in 0..9 {
        let tasks = tasks_on(&drawn, index);
        assert!(if fits(index) { (850..1150).contains(&tasks) } else { tasks == 0 }, "instance {index} got {tasks}");
    }
    // Ten tasks for three instances that may have one each.
    assert_eq!(draw(9, view, &wanted(10).distinct().request(), 1), None);
    assert_eq!(draw(9, view, &wanted(1).by(&["spread instanceId"]).request(), 1), None, "not a matter of chance");
    assert_eq!(draw(0, view, &wanted(1).request(), 1), None);
}

#[test]
fn wire_forms_are_read_or_refused_with_a_reason() {
    for (kind, field, expected) in [
        ("random", None, "random"),
        ("random", Some("whatever"), "random"),
        ("binpack", Some("cpu"), "binpack Cpu"),
        ("binpack", Some("MEMORY"), "binpack Memory"),
        ("spread", Some("host"), "spread instanceId"),
        ("spread", Some("attribute:rack"), "spread attribute:rack"),
        (
            "binpack",
            Some("gpu"),
            "Invalid placement strategy field 'gpu' for type 'binpack': it must be cpu or memory.",
        ),
        (
            "spread",
            Some("rack"),
            "Invalid placement strategy field 'rack' for type 'spread': it must be instanceId, host or attribute:<name>.",
        ),
        (
            "spread",
            None,
            "Invalid placement strategy field '' for type 'spread': it must be instanceId, host or attribute:<name>.",
        ),
        ("tight", None, "Invalid placement strategy type 'tight'."),
    ] {
        let text = match Strategy::parse(kind, field) {
            Ok(strategy @ Strategy::Random) => strategy.kind().to_owned(),
            Ok(strategy @ Strategy::Spread(_)) => {
                let Strategy::Spread(field) = &strategy else { unreachable!() };
                format!("{} {field}", strategy.kind())
            }
            Ok(Strategy::Binpack(what)) => format!("binpack {what:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(text, expected);
    }
    for (kind, expression, expected) in [
        ("distinctInstance", None, "DistinctInstance"),
        ("distinctInstance", Some("a"), "A distinctInstance placement constraint does not take an expression."),
        ("memberOf", None, "The expression of a memberOf placement constraint must not be empty."),
        ("memberOf", Some("task:group exists"), "MemberOf"),
        (
            "memberOf",
            Some("stack"),
            "Invalid expression 'stack': expected a subject (agentConnected, agentVersion, attribute:<name>, \
             ec2InstanceId, registeredAt, runningTasksCount or task:group) at position 1, found 'stack'.",
        ),
        ("memberof", Some("a"), "Invalid placement constraint type 'memberof'."),
    ] {
        let text = match Constraint::parse(kind, expression) {
            Ok(constraint) => format!("{constraint:?}"),
            Err(error) => error.to_string(),
        };
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn the_largest_amounts_do_not_overflow() {
    let rows = [row(0).left(u32::MAX, u32::MAX)];
    let mut huge = wanted(3);
    huge.reservation.cpu = CpuUnits(u32::MAX);
    huge.reservation.memory = MemoryMib(u32::MAX);
    for huge in [huge.clone(), huge.by(&["binpack cpu", "binpack memory"])] {
        assert_eq!(place(&rows, &huge, 1).placed, [0]);
    }
}
