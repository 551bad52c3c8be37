//! What snapshots answer: lists in order, pages that go on where they ended, and each command's particular rules.

mod common;
use common::*;
use model::*;
use state::{Command, Desire, Memory, Order, Outcome, Rejected, Resource, Snapshot, Store, TaskFilter};
use std::{collections::BTreeMap, sync::Arc};

fn store() -> Store {
    furnished(Memory::default(), 3)
}

fn observe(store: &Store, on: u64, number: u64, status: ObservedStatus, at: i64) -> Vec<TaskArn> {
    let seen = vec![seen(task_arn("one", number), status)];
    let command = Command::Observe { instance: instance_arn("one", on), seen, at: Timestamp(at) };
    let Outcome::Observed { unknown } = must(store, command).outcome else { panic!("an observation is answered so") };
    unknown
}

/// Reads a list in pages of `size` and checks that they join to the whole.
fn paged<T: Clone + PartialEq + std::fmt::Debug>(size: usize, page: impl Fn(Option<&T>, usize) -> Vec<T>) -> Vec<T> {
    let whole = page(None, usize::MAX);
    let mut read: Vec<T> = Vec::new();
    loop {
        let next = page(read.last(), size);
        read.extend_from_slice(&next);
        if next.len() < size {
            assert_eq!(read, whole);
            return whole;
        }
    }
}

#[test]
fn lists_are_ordered_and_resume_where_they_ended() {
    let store = store();
    for name in ["zeta", "alpha", "mid"] {
        must(&store, Command::CreateCluster(cluster(name)));
    }
    let s = store.snapshot();
    let names = paged(1, |after: Option<&ClusterName>, n| {
        s.clusters(&scope(), after).take(n).map(|c| c.cluster.arn.name.clone()).collect()
    });
    assert_eq!(names.iter().map(ClusterName::as_str).collect::<Vec<_>>(), ["alpha", "mid", "one", "zeta"]);
    let arn = cluster_arn("one");
    let ids = paged(2, |after: Option<&ContainerInstanceId>, n| {
        s.instances(&arn, after).take(n).map(|r| r.instance.arn.id.clone()).collect()
    });
    assert_eq!(ids, (0..3).map(|n| instance_arn("one", n).id).collect::<Vec<_>>());
    let other = Scope { region: Region::parse("us-east-1").unwrap(), ..scope() };
    assert_eq!(s.clusters(&other, None).count(), 0, "regions are apart");
}

#[test]
fn definitions_are_listed_by_family_then_number_both_ways() {
    let store = store();
    for _ in 0..11 {
        must(&store, register("web"));
    }
    must(&store, register("web-2"));
    must(&store, register("app"));
    must(&store, Command::DeregisterTaskDefinition { arn: definition_arn("web", 12), at: Timestamp(1) });
    let s = store.snapshot();
    let list = |order, only: Option<&Family>, size| {
        paged(size, |after: Option<&(Family, u32)>, n| {
            let after = after.map(|(f, r)| (f, *r));
            let page = s.task_definitions(&scope(), only, TaskDefinitionStatus::Active, order, after);
            page.take(n).map(|d| (d.arn.family.clone(), d.arn.revision)).collect()
        })
    };
    let web = |r: u32| (family("web"), r);
    let mut expected = vec![(family("app"), 1)];
    expected.extend((1..12).map(web));
    expected.push((family("web-2"), 1));
    for size in [1, 2, 5, 100] {
        assert_eq!(list(Order::Ascending, None, size), expected);
        assert_eq!(list(Order::Descending, None, size), expected.iter().rev().cloned().collect::<Vec<_>>());
        assert_eq!(list(Order::Descending, Some(&family("web")), size), (1..12).rev().map(web).collect::<Vec<_>>());
        assert_eq!(list(Order::Ascending, Some(&family("web")), size), (1..12).map(web).collect::<Vec<_>>());
    }
    assert_eq!(list(Order::Ascending, Some(&family("nobody")), 5), []);
    assert_eq!(s.latest_active(&scope(), &family("web")).unwrap().arn.revision, 11);
}

#[test]
fn revisions_are_never_given_twice() {
    let store = store();
    let arn = definition_arn("web", 1);
    let at = Timestamp(5);
    let forget = Command::ForgetTaskDefinition { arn: arn.clone() };
    let delete = Command::DeleteTaskDefinition { arn: arn.clone(), at };
    assert_eq!(refused(&store, delete.clone()), Rejected::TaskDefinitionStillActive(arn.clone()));
    must(&store, start(vec![task("one", 1, 0, arn.clone(), 1, 1)]));
    must(&store, Command::DeregisterTaskDefinition { arn: arn.clone(), at });
    let new = start(vec![task("one", 2, 0, arn.clone(), 1, 1)]);
    assert_eq!(refused(&store, new), Rejected::TaskDefinitionNotActive(arn.clone()));
    assert_eq!(refused(&store, forget.clone()), Rejected::TaskDefinitionNotDeleting(arn.clone()));
    must(&store, delete);
    assert_eq!(refused(&store, forget.clone()), Rejected::TaskDefinitionInUse(arn.clone()));
    observe(&store, 0, 1, ObservedStatus::Stopped(Stop::essential_exited()), 6);
    must(&store, forget);
    assert_eq!(store.snapshot().task_definition(&arn), None);
    let Outcome::TaskDefinition(next) = must(&store, register("web")).outcome else { panic!() };
    assert_eq!(next.arn.revision, 2);
}

fn numbers(snapshot: &Snapshot, filter: &TaskFilter) -> Vec<u64> {
    let arn = cluster_arn("one");
    let whole = paged(2, |after: Option<&TaskId>, n| {
        let filter = TaskFilter { after: after.cloned(), ..filter.clone() };
        snapshot.tasks(&arn, &filter).take(n).map(|t| t.arn.id.clone()).collect()
    });
    assert!(whole.is_sorted(), "by id");
    let mut numbers: Vec<u64> =
        whole.iter().map(|id| (0..100).find(|n| task_arn("one", *n).id == *id).expect("one of ours")).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn tasks_are_listed_by_every_filter() {
    let store = store();
    must(&store, register("job"));
    let definitions = [definition_arn("web", 1), definition_arn("job", 1)];
    for n in 0..12_u64 {
        let mut task = task("one", n, n % 3, definitions[usize::from(n % 2 == 1)].clone(), 1, 1);
        task.started_by = (n % 4 == 0).then(|| "cron".into());
        if n >= 10 {
            (task.group, task.launch_type) = ("batch:shop".into(), LaunchType::External);
        }
        must(&store, start(vec![task]));
    }
    for n in [3, 4, 5] {
        observe(&store, n % 3, n, ObservedStatus::Stopped(Stop::essential_exited()), 100 - n.cast_signed());
    }
    observe(&store, 0, 6, ObservedStatus::Stopping(Stop::essential_exited()), 50);
    let user = stop(StopCode::UserInitiated, "Task stopped by user");
    must(&store, Command::StopTask { arn: task_arn("one", 7), why: user, at: Timestamp(51) });

    let s = store.snapshot();
    let all = TaskFilter { desired: Desire::Any, ..TaskFilter::default() };
    assert_eq!(numbers(&s, &all), (0..12).collect::<Vec<_>>());
    assert_eq!(numbers(&s, &TaskFilter::default()), [0, 1, 2, 8, 9, 10, 11], "RUNNING is the default");
    let stopped = TaskFilter { desired: Desire::Stopped, ..TaskFilter::default() };
    assert_eq!(numbers(&s, &stopped), [3, 4, 5, 6, 7], "stopping ones are STOPPED");
    let by_family = |f, desired| TaskFilter { family: Some(family(f)), desired, ..TaskFilter::default() };
    assert_eq!(numbers(&s, &by_family("job", Desire::Running)), [1, 9, 11]);
    assert_eq!(numbers(&s, &by_family("job", Desire::Stopped)), [3, 5, 7]);
    let on = Some(instance_arn("one", 1).id);
    assert_eq!(numbers(&s, &TaskFilter { container_instance: on.clone(), ..TaskFilter::default() }), [1, 10]);
    let both = TaskFilter { container_instance: on, family: Some(family("web")), ..all.clone() };
    assert_eq!(numbers(&s, &both), [4, 10]);
    assert_eq!(numbers(&s, &TaskFilter { started_by: Some("cron".into()), ..all.clone() }), [0, 4, 8]);
    assert_eq!(numbers(&s, &TaskFilter { group: Some("batch:shop".into()), ..all.clone() }), [10, 11]);
    assert_eq!(numbers(&s, &TaskFilter { launch_type: Some(LaunchType::External), ..all.clone() }), [10, 11]);
    assert_eq!(numbers(&s, &TaskFilter { family: Some(family("none")), ..all }), Vec::<u64>::new());

    let arn = cluster_arn("one");
    let old: Vec<_> = s.stopped_before(&arn, Timestamp(97)).map(|t| t.stopped_at().unwrap().0).collect();
    assert_eq!(old, [95, 96], "the longest stopped first");
    let row = s.cluster(&arn).unwrap();
    assert_eq!((row.registered_instances(), row.running, row.pending, row.live_tasks()), (3, 0, 8, 9));
}

#[test]
fn an_instance_shows_what_its_tasks_leave() {
    let store = store();
    let mut web = task("one", 1, 0, definition_arn("web", 1), 1000, 600);
    web.reservation.ports.insert(tcp(8080));
    must(&store, start(vec![web.clone()]));
    let row = store.snapshot().instance(&instance_arn("one", 0)).unwrap().clone();
    assert_eq!((row.remaining.cpu, row.remaining.memory), (CpuUnits(24), MemoryMib(400)));
    assert_eq!(row.remaining.ports, [tcp(22), tcp(8080)].into());
    assert_eq!((row.running, row.pending, row.live), (0, 1, 1));
    assert_eq!(row.groups, BTreeMap::from([(Arc::from("family:web"), 1)]));

    let mut second = task("one", 2, 0, definition_arn("web", 1), 1, 1);
    second.reservation.ports.insert(tcp(8080));
    let lacking = model::resources::Lacking::Ports;
    let no_room = Rejected::NoRoom { index: 1, instance: instance_arn("one", 0), lacking };
    let other = task("one", 3, 1, definition_arn("web", 1), 1, 1);
    assert_eq!(refused(&store, start(vec![other, second])), no_room);

    let half = |number| task("one", number, 2, definition_arn("web", 1), 600, 1);
    let lacking = model::resources::Lacking::Cpu;
    let no_room = Rejected::NoRoom { index: 1, instance: instance_arn("one", 2), lacking };
    assert_eq!(refused(&store, start(vec![half(4), half(5)])), no_room, "the first of a command counts for the second");

    observe(&store, 0, 1, ObservedStatus::Running, 5);
    let row = store.snapshot().instance(&instance_arn("one", 0)).unwrap().clone();
    assert_eq!((row.running, row.pending), (1, 0));
    // It comes back smaller than what its task holds: nothing is left, and nothing is owed when the task has ended.
    must(&store, Command::RegisterContainerInstance { instance: instance("one", 0, 512, 512) });
    let row = store.snapshot().instance(&instance_arn("one", 0)).unwrap().clone();
    assert_eq!((row.remaining.cpu, row.remaining.memory), (CpuUnits(0), MemoryMib(0)));
    assert_eq!(state::audit::over_capacity(&store.snapshot()).len(), 1);
    observe(&store, 0, 1, ObservedStatus::Stopped(Stop::essential_exited()), 6);
    let row = store.snapshot().instance(&instance_arn("one", 0)).unwrap().clone();
    assert_eq!(row.remaining, row.instance.registered);
    assert_sound(&store.snapshot());
}

#[test]
fn an_instance_that_returns_is_the_one_it_was() {
    let store = store();
    let arn = instance_arn("one", 0);
    let attribute = |name: &str, value: &str| Attribute { name: name.into(), value: Some(value.into()) };
    let put = |a: Attribute| Command::PutAttributes { attributes: vec![(arn.clone(), a)] };
    must(&store, put(attribute("stack", "blue")));
    let reserved = refused(&store, put(attribute("ecs.os-type", "plan9")));
    assert_eq!(reserved, Rejected::AttributeReserved("ecs.os-type".into()));
    let tags = Tags(BTreeMap::from([("a".into(), "b".into())]));
    must(&store, Command::TagResource { resource: Resource::ContainerInstance(arn.clone()), tags: tags.clone() });
    must(&store, Command::SetInstanceStatus { arn: arn.clone(), status: InstanceStatus::Draining });
    let mut again = instance("one", 0, 2048, 2000);
    again.registered_at = Timestamp(99);
    again.attributes.insert("ecs.os-type".into(), Some("bsd".into()));
    must(&store, Command::RegisterContainerInstance { instance: again });
    let known = store.snapshot().instance(&arn).unwrap().instance.clone();
    assert_eq!((known.status, known.registered_at, &known.tags), (InstanceStatus::Draining, Timestamp(1), &tags));
    assert_eq!((known.attribute("stack"), known.attribute("ecs.os-type")), (Some("blue"), Some("bsd")));
    assert_eq!((known.registered.cpu, known.version), (CpuUnits(2048), 4));

    for n in 1..10 {
        must(&store, put(attribute(&format!("a{n}"), "x")));
    }
    assert_eq!(refused(&store, put(attribute("one-more", "x"))), Rejected::TooManyAttributes(arn.clone()));
    let delete = |value: &str| Command::DeleteAttributes { attributes: vec![(arn.clone(), attribute("a1", value))] };
    must(&store, delete("not x"));
    refused(&store, put(attribute("one-more", "x")));
    must(&store, delete("x"));
    must(&store, put(attribute("one-more", "x")));
}

#[test]
fn an_instance_stays_that_of_its_machine() {
    let store = store();
    let arn = instance_arn("one", 0);
    let of = |machine: Option<&str>| {
        let ec2_instance_id = machine.map(str::to_owned);
        let instance = ContainerInstance { ec2_instance_id, ..instance("one", 0, 1024, 1024) };
        Command::RegisterContainerInstance { instance }
    };
    let machine = || store.snapshot().instance(&arn).unwrap().instance.ec2_instance_id.clone();
    must(&store, of(Some("i-1")));
    assert_eq!(refused(&store, of(Some("i-2"))), Rejected::OtherMachine(arn.clone()));
    must(&store, of(None));
    assert_eq!(machine().as_deref(), Some("i-1"), "who does not say takes nothing away");
    must(&store, of(Some("i-1")));
}

#[test]
fn leaving_by_force_ends_tasks() {
    let store = store();
    let arn = instance_arn("one", 0);
    must(&store, start(vec![task("one", 1, 0, definition_arn("web", 1), 1, 1)]));
    let leave = |force| Command::DeregisterContainerInstance { arn: arn.clone(), force, at: Timestamp(7) };
    assert_eq!(refused(&store, leave(false)), Rejected::InstanceHasTasks(arn.clone()));
    assert_eq!(
        refused(&store, Command::DeleteCluster { arn: cluster_arn("one") }),
        Rejected::ClusterContainsContainerInstances(cluster_arn("one"))
    );
    must(&store, Command::SetAgentConnected { arn: arn.clone(), connected: false, at: Timestamp(3) });
    must(&store, leave(true));
    let s = store.snapshot();
    let task = s.task(&task_arn("one", 1)).unwrap();
    let why = stop(StopCode::UserInitiated, "Container instance deregistration forced by user");
    assert_eq!(task.phase, Phase::Stopped { at: Timestamp(7), why });
    let instance = &s.instance(&arn).unwrap().instance;
    assert_eq!((instance.status, instance.agent_connected), (InstanceStatus::Inactive, false));
    assert_eq!(instance.agent_changed_at, Timestamp(7), "an agent that was away says nothing of when it was let go");
    let again = Command::RegisterContainerInstance { instance: common::instance("one", 0, 1024, 1024) };
    assert_eq!(refused(&store, again), Rejected::InstanceInactive(arn));
    assert_sound(&s);
}

#[test]
fn a_client_token_starts_tasks_once() {
    let store = store();
    let run = |number, request: &str, at| Command::StartTasks {
        tasks: vec![task("one", number, 0, definition_arn("web", 1), 1, 1)],
        token: Some(token("t", request, at)),
    };
    must(&store, run(1, "same", 10));
    let first = vec![task_arn("one", 1)];
    assert_eq!(must(&store, run(2, "same", 11)).outcome, Outcome::Replayed(first.clone()));
    assert_eq!(refused(&store, run(2, "different", 11)), Rejected::TokenConflict(first));
    must(&store, Command::ForgetTokens { scope: scope(), before: Timestamp(10) });
    refused(&store, run(2, "different", 11));
    must(&store, Command::ForgetTokens { scope: scope(), before: Timestamp(11) });
    must(&store, run(2, "different", 12));
}

#[test]
fn reports_reach_only_the_instances_own_tasks() {
    let store = store();
    must(&store, start(vec![task("one", 1, 0, definition_arn("web", 1), 1, 1)]));
    assert_eq!(observe(&store, 1, 1, ObservedStatus::Running, 5), [task_arn("one", 1)], "it is not placed there");
    assert_eq!(observe(&store, 0, 2, ObservedStatus::Running, 5), [task_arn("one", 2)]);
    assert_eq!(observe(&store, 0, 1, ObservedStatus::Stopped(Stop::essential_exited()), 6), []);
    let before = store.snapshot();
    assert_eq!(observe(&store, 0, 1, ObservedStatus::Running, 7), []);
    assert!(Arc::ptr_eq(&before, &store.snapshot()), "a late report changes nothing");
}

#[test]
fn machines_are_made_once_and_share_no_address() {
    let store = store();
    let with_token = |number, address| {
        let mut machine = machine(number, address);
        machine.client_token = Some("once".into());
        Command::RunMachines { machines: vec![machine] }
    };
    must(&store, with_token(1, 7));
    let Outcome::Machines { machines, replayed: true } = must(&store, with_token(2, 8)).outcome else { panic!() };
    assert_eq!(machines[0].id, machine(1, 7).id);
    let another = Command::RunMachines { machines: vec![machine(3, 9), machine(4, 7)] };
    assert_eq!(refused(&store, another.clone()), Rejected::AddressTaken([10, 0, 0, 7].into()));
    let id = machine(1, 7).id;
    let to = |state| Command::SetMachineState { scope: scope(), id: id.clone(), state, reason: None, at: Timestamp(3) };
    must(&store, to(MachineState::Terminated));
    must(&store, another);
    let from = MachineState::Terminated;
    let state = MachineState::Running;
    assert_eq!(refused(&store, to(state)), Rejected::MachineState { id: id.clone(), from, to: state });
    must(&store, Command::ForgetMachines { scope: scope(), ids: vec![id.clone(), machine(4, 7).id] });
    let s = store.snapshot();
    assert_eq!(s.machines(&scope(), None).map(|m| m.id.clone()).collect::<Vec<_>>(), [3, 4].map(|n| machine(n, 0).id));
    assert_eq!(s.machine_at([10, 0, 0, 7].into()).unwrap().id, machine(4, 7).id);
}

#[test]
fn the_last_times_that_a_machine_ran_are_known() {
    let store = store();
    must(&store, Command::RunMachines { machines: vec![machine(1, 7)] });
    let id = machine(1, 7).id;
    let enter = |state, at| {
        let (id, at) = (id.clone(), Timestamp(at));
        must(&store, Command::SetMachineState { scope: scope(), id: id.clone(), state, reason: None, at });
        let snapshot = store.snapshot();
        let machine = snapshot.machine(&scope(), &id).unwrap();
        (machine.running_since().map(|at| at.0), machine.runs.last().map(|run| (run.from.0, run.to.0)))
    };
    use MachineState::{Pending, Running, ShuttingDown, Stopped, Stopping, Terminated};
    for (state, at, running, last) in [
        (Running, 10, Some(10), None),
        (Stopping, 25, None, Some((10, 25))),
        (Stopped, 26, None, Some((10, 25))),
        (Pending, 30, None, Some((10, 25))),
        (Running, 40, Some(40), Some((10, 25))),
        // The clock was set back.
        (ShuttingDown, 35, None, Some((40, 40))),
        (Terminated, 50, None, Some((40, 40))),
    ] {
        assert_eq!(enter(state, at), (running, last), "{state:?}");
    }
    let mut machine = machine(2, 8);
    for at in 0..100 {
        machine.enter(if at % 2 == 0 { Running } else { Stopped }, Timestamp(at));
    }
    assert_eq!((machine.runs.len(), machine.runs[0].to.0), (model::machine::MAX_RUNS, 85));
}

#[test]
fn a_join_token_has_its_limits() {
    let store = store();
    let activation = Activation {
        scope: scope(),
        id: "a".into(),
        code_sha256: "00".into(),
        cluster: Some(cluster_arn("one").name),
        ec2_instance_id: None,
        description: None,
        registration_limit: 1,
        registrations: Vec::new(),
        created_at: Timestamp(1),
        expires_at: Timestamp(100),
        tags: Tags::default(),
    };
    must(&store, Command::CreateActivation(activation.clone()));
    assert_eq!(refused(&store, Command::CreateActivation(activation)), Rejected::ActivationExists("a".into()));
    let join = |key: &str, cluster: &str, at| Command::RegisterWithActivation {
        scope: scope(),
        id: "a".into(),
        key_sha256: key.into(),
        cluster: cluster_arn(cluster).name,
        container_instance: instance_arn("one", 77).id,
        at: Timestamp(at),
    };
    assert_eq!(refused(&store, join("k", "two", 5)), Rejected::ActivationForAnotherCluster("a".into()));
    assert_eq!(refused(&store, join("k", "one", 100)), Rejected::ActivationExpired("a".into()));
    must(&store, join("k", "one", 99));
    let again = must(&store, join("k", "one", 1000)).outcome;
    assert!(matches!(again, Outcome::Registration { replayed: true, .. }), "a lost answer is given again");
    assert_eq!(refused(&store, join("other", "one", 50)), Rejected::ActivationUsedUp("a".into()));
    must(&store, Command::DeleteActivation { scope: scope(), id: "a".into() });
    assert_eq!(refused(&store, join("k", "one", 50)), Rejected::ActivationNotFound("a".into()));
}

#[test]
fn settings_and_tags_are_kept() {
    let store = store();
    let setting = |principal: Option<&str>, value: &str| AccountSetting {
        name: SettingName::ContainerInsights,
        value: value.into(),
        principal: principal.map(str::to_owned),
    };
    for s in [setting(None, "enabled"), setting(Some("ada"), "enhanced")] {
        must(&store, Command::PutAccountSetting { scope: scope(), setting: s });
    }
    let value = |principal| {
        let s = store.snapshot();
        s.setting(&scope(), SettingName::ContainerInsights, principal).map(|s| s.value.clone())
    };
    assert_eq!((value(None), value(Some("ada"))), (Some("enabled".into()), Some("enhanced".into())));
    let (name, principal) = (SettingName::ContainerInsights, Some("ada".to_owned()));
    must(&store, Command::DeleteAccountSetting { scope: scope(), name, principal });
    assert_eq!((value(None), value(Some("ada"))), (Some("enabled".into()), None));

    let resource = Resource::Cluster(cluster_arn("one"));
    let many = Tags((0..50).map(|n| (format!("k{n}"), String::new())).collect());
    must(&store, Command::TagResource { resource: resource.clone(), tags: many });
    let more = Tags(BTreeMap::from([("one-more".into(), String::new())]));
    let refusal = refused(&store, Command::TagResource { resource: resource.clone(), tags: more.clone() });
    assert_eq!(refusal, Rejected::Tags(model::tags::InvalidTags::TooMany));
    must(&store, Command::UntagResource { resource: resource.clone(), keys: vec!["k7".into(), "absent".into()] });
    must(&store, Command::TagResource { resource, tags: more });
}

#[test]
fn changes_of_tasks_are_those_that_happened() {
    let store = store();
    let on = |n| task("one", n, 0, definition_arn("web", 1), 1, 1);
    must(&store, start(vec![on(1), on(2), on(3)]));
    let number = |task: &Task| (1..9).find(|n| task_arn("one", *n) == task.arn).unwrap();
    let since = |before: &Snapshot, after: &Snapshot| {
        let (before, after) =
            (before.cluster(&cluster_arn("one")).unwrap(), after.cluster(&cluster_arn("one")).unwrap());
        let changes = after.changes_since(before).tasks();
        let mut told: Vec<_> =
            changes.map(|(was, is)| (number(is), was.map(|t| t.last_status()), is.last_status())).collect();
        told.sort_unstable();
        told
    };
    use TaskStatus::{Pending, Running, Stopped};
    let one = store.snapshot();
    assert_eq!(since(&one, &one), []);
    observe(&store, 0, 1, ObservedStatus::Running, 5);
    must(&store, start(vec![on(4)]));
    let two = store.snapshot();
    assert_eq!(since(&one, &two), [(1, Some(Pending), Running), (4, None, Pending)]);
    observe(&store, 0, 2, ObservedStatus::Stopped(Stop::essential_exited()), 6);
    observe(&store, 0, 4, ObservedStatus::Stopped(Stop::essential_exited()), 6);
    let three = store.snapshot();
    assert_eq!(since(&two, &three), [(2, Some(Pending), Stopped), (4, Some(Pending), Stopped)]);
    assert_eq!(since(&one, &three), [(1, Some(Pending), Running), (2, Some(Pending), Stopped), (4, None, Stopped)]);
    must(&store, Command::ForgetTasks { tasks: vec![task_arn("one", 2)] });
    assert_eq!(since(&three, &store.snapshot()), [], "what is forgotten has not changed");
}
