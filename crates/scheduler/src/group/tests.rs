//! The group's planner: stories as tables, laws over random histories.

use super::*;
use model::{AccountId, ClusterName, MetadataOptions, Region, Scope, Tags, TemplateChoice, VersionChoice};
use proptest::prelude::*;
use std::{cell::Cell, net::Ipv4Addr};

const SUBNETS: [(&str, &str); 4] = [("s-a", "z-a"), ("s-b", "z-b"), ("s-c", "z-c"), ("s-a2", "z-a")];

fn scope() -> Scope {
    Scope { account: AccountId::parse("000000000000").unwrap(), region: Region::parse("us-east-1").unwrap() }
}

fn group(desired: u32, subnets: &[&str], policies: &[TerminationPolicy]) -> AutoScalingGroup {
    AutoScalingGroup {
        scope: scope(),
        name: "web".to_owned(),
        id: "u".to_owned(),
        version: 1,
        template: TemplateChoice { id: "lt-1".to_owned(), name: "lt".to_owned(), version: VersionChoice::Latest },
        min: 0,
        max: 100,
        desired,
        subnets: subnets.iter().map(|subnet| (*subnet).to_owned()).collect(),
        health_check_grace: 60,
        termination_policies: policies.to_vec(),
        protects_new: false,
        tags: BTreeMap::new(),
        activities: Vec::new(),
        deleting: false,
        created_at: Timestamp(0),
    }
}

fn machine(id: &str, subnet: &str, launched: i64, version: u64) -> Machine {
    let zone = SUBNETS.iter().find(|(name, _)| *name == subnet).unwrap().1;
    Machine {
        scope: scope(),
        id: id.to_owned(),
        reservation_id: String::new(),
        instance_type: "t3.micro".to_owned(),
        availability_zone: zone.to_owned(),
        subnet_id: subnet.to_owned(),
        private_ip: Ipv4Addr::UNSPECIFIED,
        cluster: ClusterName::parse("default").unwrap(),
        attributes: model::Attributes::new(),
        reserved_memory: 0,
        user_data: None,
        metadata_options: MetadataOptions::default(),
        instance_profile: None,
        state: MachineState::Running,
        state_reason: None,
        state_changed_at: Timestamp(launched),
        runs: Vec::new(),
        image_id: String::new(),
        key_name: None,
        launched_at: Timestamp(launched),
        client_token: None,
        launch_index: 0,
        group: Some(Box::new(GroupMember {
            name: "web".to_owned(),
            template_id: "lt-1".to_owned(),
            template_name: "lt".to_owned(),
            template_version: version,
            protected: false,
            draining_since: None,
        })),
        tags: Tags::default(),
    }
}

fn look(group: &AutoScalingGroup, machines: &[Machine], busy: &[&str], now: i64) -> GroupPlan {
    let zones = SUBNETS.iter().map(|(subnet, zone)| (*subnet, (*zone).to_owned())).collect();
    let machines: Vec<&Machine> = machines.iter().collect();
    let is_busy = |machine: &Machine| busy.contains(&machine.id.as_str());
    plan(&GroupView { group, machines: &machines, zones: &zones, is_busy: &is_busy, now: Timestamp(now) })
}

fn ids(list: &[(String, Cause)]) -> Vec<&str> {
    list.iter().map(|(id, _)| id.as_str()).collect()
}

#[test]
fn machines_start_where_fewest_are() {
    let there = [machine("i-1", "s-a", 1, 1)];
    for (subnets, desired, want) in [
        (&["s-a", "s-b", "s-c"][..], 4, &["s-b", "s-c", "s-a"][..]),
        (&["s-b", "s-a"], 3, &["s-b", "s-b"]),
        (&["s-a", "s-a2", "s-b"], 4, &["s-b", "s-a2", "s-b"]),
        (&["s-a"], 1, &[]),
        (&["s-gone"], 3, &[]),
    ] {
        let plan = look(&group(desired, subnets, &[TerminationPolicy::Default]), &there, &[], 100_000);
        assert_eq!(plan.start, want, "{subnets:?} {desired}");
        assert!(plan.terminate.is_empty() && plan.drain.is_empty());
    }
}

#[test]
fn policies_choose_within_the_zone_that_has_most() {
    use TerminationPolicy::{Default, NewestInstance, OldestInstance, OldestLaunchTemplate};
    let mut there = [
        machine("i-old", "s-a", 1, 2),
        machine("i-mid", "s-a", 2, 1),
        machine("i-new", "s-a", 3, 2),
        machine("i-lone", "s-b", 0, 1),
    ];
    for (policies, desired, want) in [
        (&[Default][..], 3, &["i-mid"][..]),
        (&[OldestInstance], 3, &["i-old"]),
        (&[NewestInstance], 3, &["i-new"]),
        (&[OldestLaunchTemplate, NewestInstance], 2, &["i-mid", "i-new"]),
        (&[OldestInstance], 1, &["i-old", "i-mid", "i-lone"]),
        (&[Default], 4, &[]),
    ] {
        let plan = look(&group(desired, &["s-a", "s-b"], policies), &there, &[], 100_000);
        assert_eq!(ids(&plan.terminate), want, "{policies:?} {desired}");
    }
    there[0].group.as_mut().unwrap().protected = true;
    let all = look(&group(0, &["s-a", "s-b"], &[OldestInstance]), &there, &[], 100_000);
    assert_eq!(ids(&all.terminate), ["i-mid", "i-new", "i-lone"], "the protected one stays, whatever is wanted");
}

#[test]
fn what_does_not_run_is_replaced_after_its_grace() {
    let mut there = [machine("i-1", "s-a", 0, 1)];
    there[0].state = MachineState::Stopped;
    let group = group(1, &["s-a"], &[TerminationPolicy::Default]);
    let early = look(&group, &there, &[], 59_999);
    assert!(early.is_idle() && early.look_again == Some(Timestamp(60_000)));
    let late = look(&group, &there, &[], 60_000);
    assert_eq!((late.start.len(), late.terminate), (1, vec![("i-1".to_owned(), Cause::Unhealthy)]));
}

#[test]
fn tasks_move_before_their_machine_goes() {
    let mut there = [machine("i-1", "s-a", 0, 1), machine("i-2", "s-a", 1, 1)];
    let group = group(1, &["s-a"], &[TerminationPolicy::Default]);
    let plan = look(&group, &there, &["i-1"], 100_000);
    assert_eq!((plan.drain, plan.terminate), (vec![("i-1".to_owned(), Cause::TooMany)], vec![]));
    there[0].group.as_mut().unwrap().draining_since = Some(Timestamp(100_000));
    let waiting = look(&group, &there, &["i-1"], 200_000);
    assert!(waiting.is_idle() && waiting.look_again == Some(Timestamp(100_000 + DRAIN_MILLIS)));
    let drained = vec![("i-1".to_owned(), Cause::Drained)];
    assert_eq!(look(&group, &there, &[], 200_000).terminate, drained);
    assert_eq!(look(&group, &there, &["i-1"], 100_000 + DRAIN_MILLIS).terminate, drained);
}

#[test]
fn a_group_goes_after_its_machines() {
    let mut there = vec![machine("i-1", "s-a", 0, 1)];
    let mut group = group(1, &["s-a"], &[TerminationPolicy::Default]);
    group.deleting = true;
    let plan = look(&group, &there, &["i-1"], 1);
    assert_eq!((plan.gone, plan.terminate), (false, vec![("i-1".to_owned(), Cause::GroupDeleted)]));
    there[0].state = MachineState::ShuttingDown;
    assert!(look(&group, &there, &[], 2).is_idle());
    assert!(look(&group, &[], &[], 3).gone);
}

/// What happens to a group.
#[derive(Debug, Clone)]
enum Turn {
    Desire(u32),
    Lose(usize),
    Stop(usize),
    Protect(usize),
    Fill(usize),
    Wait,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        (0..12_u32).prop_map(Turn::Desire),
        (0..12_usize).prop_map(Turn::Lose),
        (0..12_usize).prop_map(Turn::Stop),
        (0..12_usize).prop_map(Turn::Protect),
        (0..12_usize).prop_map(Turn::Fill),
        Just(Turn::Wait),
    ];
    prop::collection::vec(turn, 1..40)
}

/// Carries a plan out, as the loop and the host do together.
fn carry_out(plan: &GroupPlan, machines: &mut Vec<Machine>, made: &Cell<u32>, now: i64) {
    for (id, _) in &plan.drain {
        let one = machines.iter_mut().find(|machine| machine.id == *id).unwrap();
        one.group.as_mut().unwrap().draining_since = Some(Timestamp(now));
    }
    machines.retain(|machine| !plan.terminate.iter().any(|(id, _)| *id == machine.id));
    for subnet in &plan.start {
        made.set(made.get() + 1);
        machines.push(machine(&format!("i-{}", made.get()), subnet, now, 1));
    }
}

proptest! {
    #[test]
    fn a_group_comes_to_its_size_and_rests(turns in turns(), subnets in prop::sample::subsequence(vec!["s-a", "s-b", "s-c"], 1..=3)) {
        let mut group = group(0, &subnets, &[TerminationPolicy::Default]);
        group.max = 8;
        let (mut machines, made, mut now) = (Vec::<Machine>::new(), Cell::new(0), 1_000_000);
        let mut busy: Vec<String> = Vec::new();
        for turn in turns {
            now += 10_000;
            let len = machines.len().max(1);
            match turn {
                Turn::Desire(count) => group.desired = count.min(group.max),
                Turn::Lose(at) if !machines.is_empty() => drop(machines.remove(at % len)),
                Turn::Stop(at) if !machines.is_empty() => machines[at % len].state = MachineState::Stopped,
                Turn::Protect(at) if !machines.is_empty() => machines[at % len].group.as_mut().unwrap().protected = true,
                Turn::Fill(at) if !machines.is_empty() => busy.push(machines[at % len].id.clone()),
                Turn::Lose(_) | Turn::Stop(_) | Turn::Protect(_) | Turn::Fill(_) | Turn::Wait => {}
            }
            let before = machines.clone();
            let names: Vec<&str> = busy.iter().map(String::as_str).collect();
            let plan = look(&group, &machines, &names, now);
            let protected = |id: &str| before.iter().any(|m| m.id == id && m.group.as_ref().unwrap().protected);
            let chosen = plan.terminate.iter().chain(&plan.drain).filter(|(_, cause)| *cause == Cause::TooMany);
            prop_assert!(chosen.into_iter().all(|(id, _)| !protected(id)), "scaling in leaves the protected alone");
            carry_out(&plan, &mut machines, &made, now);
            let staying = machines.iter().filter(|m| m.membership().unwrap().draining_since.is_none());
            prop_assert!(plan.start.is_empty() || staying.count() <= group.max as usize, "never more than the most");
        }
        // Everything that drains is done within the hour, and everything that was stopped has had its grace.
        for _ in 0..3 {
            now += DRAIN_MILLIS;
            let plan = look(&group, &machines, &[], now);
            carry_out(&plan, &mut machines, &made, now);
        }
        let protected = machines.iter().filter(|m| m.group.as_ref().unwrap().protected).count();
        prop_assert_eq!(machines.len(), (group.desired as usize).max(protected));
        prop_assert!(look(&group, &machines, &[], now).is_idle(), "what is as it shall be is left alone");
    }

    #[test]
    fn zones_are_in_balance(count in 0..40_u32, fewer in 0..40_u32) {
        let mut group = group(count, &["s-a", "s-b", "s-c"], &[TerminationPolicy::Default]);
        let (mut machines, made) = (Vec::new(), Cell::new(0));
        carry_out(&look(&group, &machines, &[], 1), &mut machines, &made, 1);
        group.desired = fewer.min(count);
        carry_out(&look(&group, &machines, &[], 2), &mut machines, &made, 2);
        let mut zones: BTreeMap<&str, usize> = SUBNETS.iter().map(|(_, zone)| (*zone, 0)).collect();
        for machine in &machines {
            *zones.get_mut(machine.availability_zone.as_str()).unwrap() += 1;
        }
        prop_assert_eq!(machines.len(), group.desired as usize);
        prop_assert!(zones.values().max().unwrap() - zones.values().min().unwrap() <= 1, "{:?}", zones);
    }
}
