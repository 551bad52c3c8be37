//! Auto Scaling groups, their machines and providers, and tasks that wait for instances: each change all or nothing.

// Tests may unwrap, also in what they share.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use model::*;
use state::{Command, Memory, Outcome, Rejected, ScalingChange, Store, audit::audit};
use std::collections::BTreeMap;

fn template() -> LaunchTemplate {
    let version = LaunchTemplateVersion {
        number: 1,
        description: None,
        data: LaunchTemplateData::default(),
        client_token: None,
        created_at: Timestamp(1),
        created_by: "me".to_owned(),
    };
    LaunchTemplate {
        scope: scope(),
        id: "lt-1".to_owned(),
        name: "web".to_owned(),
        default_version: 1,
        versions: vec![version],
        client_token: None,
        tags: Tags::default(),
        created_at: Timestamp(1),
        created_by: "me".to_owned(),
    }
}

fn group(name: &str) -> AutoScalingGroup {
    AutoScalingGroup {
        scope: scope(),
        name: name.to_owned(),
        id: "u".to_owned(),
        version: 0,
        template: TemplateChoice { id: "lt-1".to_owned(), name: "web".to_owned(), version: VersionChoice::Latest },
        min: 0,
        max: 5,
        desired: 2,
        subnets: vec!["subnet-0".to_owned()],
        health_check_grace: 0,
        termination_policies: vec![TerminationPolicy::Default],
        protects_new: false,
        tags: BTreeMap::new(),
        activities: Vec::new(),
        deleting: false,
        created_at: Timestamp(1),
    }
}

fn member(name: &str) -> GroupMember {
    GroupMember {
        name: name.to_owned(),
        template_id: "lt-1".to_owned(),
        template_name: "web".to_owned(),
        template_version: 1,
        protected: false,
        draining_since: None,
    }
}

fn of_group(name: &str, number: u64, last_octet: u8) -> Machine {
    Machine { group: Some(Box::new(member(name))), ..machine(number, last_octet) }
}

fn scaling(change: ScalingChange) -> Command {
    Command::ChangeScalingGroup(Box::new(change))
}

fn made(name: &str) -> Command {
    scaling(ScalingChange { on: None, ..ScalingChange::of(&group(name), Timestamp(2)) })
}

fn known(store: &Store, name: &str) -> AutoScalingGroup {
    AutoScalingGroup::clone(store.snapshot().scaling_group(&scope(), name).unwrap())
}

fn provider(name: &str, group: &str) -> AutoScalingProvider {
    AutoScalingProvider {
        scope: scope(),
        name: name.into(),
        group: group.to_owned(),
        group_arn: "arn".to_owned(),
        managed_scaling: ManagedScaling { enabled: true, ..ManagedScaling::default() },
        protects_tasks: false,
        drains: true,
        deleted: false,
        updated: false,
        tags: Tags::default(),
        created_at: Timestamp(1),
    }
}

fn store() -> Store {
    store_on(Memory::default())
}

fn store_on(backend: Memory) -> Store {
    let store = inline(backend);
    must(&store, Command::CreateLaunchTemplate(template()));
    must(&store, made("web"));
    store
}

fn sound(store: &Store) {
    assert_eq!(audit(&store.snapshot()), Vec::<String>::new());
}

#[test]
fn templates_have_names_of_their_own_and_count_their_versions() {
    let store = store();
    let other = LaunchTemplate { id: "lt-2".to_owned(), ..template() };
    assert_eq!(refused(&store, Command::CreateLaunchTemplate(other)), Rejected::LaunchTemplateExists("web".into()));
    let add = |id: &str| Command::AddLaunchTemplateVersion {
        scope: scope(),
        id: id.to_owned(),
        version: template().versions.remove(0),
    };
    let Outcome::LaunchTemplate(after) = must(&store, add("lt-1")).outcome else { panic!("no template") };
    assert_eq!((after.latest_version(), after.default_version), (2, 1));
    assert_eq!(refused(&store, add("lt-9")), Rejected::LaunchTemplateNotFound("lt-9".into()));
    must(&store, Command::DeleteLaunchTemplate { scope: scope(), id: "lt-1".to_owned() });
    assert!(store.snapshot().launch_template(&scope(), "lt-1").is_none());
}

#[test]
fn of_two_decisions_about_a_group_one_comes_through() {
    let store = store();
    assert_eq!(refused(&store, made("web")), Rejected::ScalingGroupExists("web".into()));
    let seen = known(&store, "web");
    let launch = |number: u64| {
        let start = vec![of_group("web", number, u8::try_from(number).unwrap())];
        scaling(ScalingChange { start, ..ScalingChange::of(&seen, Timestamp(3)) })
    };
    must(&store, launch(10));
    // A server that was killed and looks again, and one that looked at the same time.
    assert_eq!(refused(&store, launch(11)), Rejected::ScalingGroupChanged("web".into()));
    assert_eq!(refused(&store, launch(10)), Rejected::ScalingGroupChanged("web".into()));
    let members: Vec<_> = store.snapshot().members(&scope(), "web").map(|m| m.id.clone()).collect();
    assert_eq!(members, [format!("i-{:017x}", 10)]);
    sound(&store);
}

#[test]
fn a_change_that_cannot_be_made_whole_is_not_made() {
    let store = store();
    must(&store, Command::RunMachines { machines: vec![machine(1, 1)] });
    let seen = known(&store, "web");
    let change = || ScalingChange::of(&seen, Timestamp(3));
    let good = || of_group("web", 10, 10);
    for (change, why) in [
        (ScalingChange { start: vec![good(), of_group("web", 11, 1)], ..change() }, "AddressTaken"),
        (ScalingChange { start: vec![good(), good()], ..change() }, "MachineExists"),
        (ScalingChange { start: vec![good(), machine(12, 12)], ..change() }, "MachinesDiffer"),
        (ScalingChange { start: vec![good(), of_group("other", 12, 12)], ..change() }, "MachinesDiffer"),
        (ScalingChange { start: vec![good()], terminate: vec!["i-9".to_owned()], ..change() }, "MachineNotFound"),
        (ScalingChange { start: vec![good()], terminate: vec![machine(1, 1).id], ..change() }, "ScalingGroupChanged"),
        (ScalingChange { start: vec![good()], drain: vec![instance_arn("one", 1)], ..change() }, "InstanceNotFound"),
    ] {
        let refusal = format!("{:?}", refused(&store, scaling(change)));
        assert!(refusal.starts_with(why), "{refusal} is not {why}");
        assert_eq!(store.snapshot().members(&scope(), "web").count(), 0);
        assert_eq!(known(&store, "web"), seen);
    }
    sound(&store);
}

#[test]
fn a_machine_that_leaves_drains_or_goes_and_its_group_after_it() {
    let store = store();
    must(&store, Command::CreateCluster(cluster("one")));
    let own = instance("one", 1, 1024, 1024);
    must(&store, Command::RegisterContainerInstance { instance: own.clone() });
    let start = vec![of_group("web", 1, 1), of_group("web", 2, 2)];
    let (first, second) = (start[0].id.clone(), start[1].id.clone());
    must(&store, scaling(ScalingChange { start, ..ScalingChange::of(&known(&store, "web"), Timestamp(3)) }));

    let draining = GroupMember { draining_since: Some(Timestamp(4)), ..member("web") };
    must(
        &store,
        scaling(ScalingChange {
            members: vec![(first.clone(), draining)],
            drain: vec![own.arn.clone()],
            terminate: vec![second.clone()],
            reason: Some("why".to_owned()),
            ..ScalingChange::of(&known(&store, "web"), Timestamp(4))
        }),
    );
    let snapshot = store.snapshot();
    assert_eq!(snapshot.instance(&own.arn).unwrap().instance.status, InstanceStatus::Draining);
    assert_eq!(snapshot.machine(&scope(), &first).unwrap().state, MachineState::Pending);
    let gone = snapshot.machine(&scope(), &second).unwrap();
    assert_eq!((gone.state, gone.state_reason.as_deref()), (MachineState::ShuttingDown, Some("why")));
    assert_eq!(snapshot.members(&scope(), "web").count(), 1, "the one that drains is still of the group");

    // One that was found idle and has a task by now stays, and nothing else of the decision is done.
    must(&store, register("web"));
    let other = instance("one", 2, 1024, 1024);
    must(&store, Command::RegisterContainerInstance { instance: other.clone() });
    let idle = |store: &Store| ScalingChange {
        idle: vec![other.arn.clone()],
        terminate: vec![first.clone()],
        ..ScalingChange::of(&known(store, "web"), Timestamp(5))
    };
    must(&store, common::start(vec![task("one", 1, 2, definition_arn("web", 1), 1, 1)]));
    assert_eq!(refused(&store, scaling(idle(&store))), Rejected::ScalingGroupChanged("web".into()));
    assert_eq!(store.snapshot().machine(&scope(), &first).unwrap().state, MachineState::Pending);

    // What is on its way out is left there.
    let again = ScalingChange { terminate: vec![second], ..ScalingChange::of(&known(&store, "web"), Timestamp(5)) };
    must(&store, scaling(again));
    let end = ScalingChange { group: None, ..ScalingChange::of(&known(&store, "web"), Timestamp(6)) };
    must(&store, scaling(end.clone()));
    assert_eq!(refused(&store, scaling(end)), Rejected::ScalingGroupNotFound("web".into()));
    sound(&store);
}

fn attach(cluster: &str, provider: &str) -> Command {
    Command::PutClusterCapacityProviders {
        arn: cluster_arn(cluster),
        providers: vec![CapacityProvider::named(provider)],
        default_strategy: CapacityProviderStrategy::default(),
    }
}

#[test]
fn a_provider_has_a_group_of_its_own_and_stays_while_a_cluster_has_it() {
    let store = store();
    must(&store, Command::CreateCluster(cluster("one")));
    assert_eq!(refused(&store, attach("one", "spare")), Rejected::CapacityProviderNotFound("spare".into()));
    let create = |name: &str, group: &str| Command::CreateCapacityProvider(provider(name, group));
    assert_eq!(refused(&store, create("spare", "none")), Rejected::ScalingGroupNotFound("none".into()));
    must(&store, create("spare", "web"));
    assert_eq!(refused(&store, create("spare", "web")), Rejected::CapacityProviderExists("spare".into()));
    assert_eq!(refused(&store, create("other", "web")), Rejected::ScalingGroupTaken("web".into()));
    must(&store, attach("one", "spare"));
    let delete = || Command::DeleteCapacityProvider { scope: scope(), name: "spare".into() };
    let held = Rejected::CapacityProviderAssociated { cluster: cluster_arn("one"), provider: "spare".into() };
    assert_eq!(refused(&store, delete()), held);
    let none = Command::PutClusterCapacityProviders {
        arn: cluster_arn("one"),
        providers: Vec::new(),
        default_strategy: CapacityProviderStrategy::default(),
    };
    must(&store, none);
    must(&store, delete());
    assert_eq!(refused(&store, delete()), Rejected::CapacityProviderNotFound("spare".into()));
    must(&store, create("spare", "web"));
}

/// A cluster with the provider `spare`, whose group's only machine is the instance with that number.
fn with_provider(number: u64, backend: Memory) -> (Store, ContainerInstance) {
    let store = store_on(backend);
    must(&store, Command::CreateCluster(cluster("one")));
    must(&store, register("web"));
    must(&store, Command::CreateCapacityProvider(provider("spare", "web")));
    must(&store, attach("one", "spare"));
    let start = vec![of_group("web", number, 1)];
    let own = ContainerInstance { ec2_instance_id: Some(start[0].id.clone()), ..instance("one", number, 100, 100) };
    must(&store, scaling(ScalingChange { start, ..ScalingChange::of(&known(&store, "web"), Timestamp(3)) }));
    must(&store, Command::RegisterContainerInstance { instance: own.clone() });
    assert_eq!(store.snapshot().provider_of(&own), Some(CapacityProvider::named("spare")));
    (store, own)
}

fn waiting(number: u64) -> Task {
    Task {
        container_instance: None,
        waiting: Some(Box::default()),
        availability_zone: None,
        capacity_provider: Some(CapacityProvider::named("spare")),
        ..task("one", number, 0, definition_arn("web", 1), 60, 60)
    }
}

fn placed(task: &Task, on: &ContainerInstance) -> Task {
    Task { container_instance: Some(on.arn.id.clone()), waiting: None, version: task.version + 1, ..task.clone() }
}

#[test]
fn a_task_that_waits_holds_nothing_until_it_is_placed() {
    let backend = Memory::default();
    let (store, own) = with_provider(1, backend.clone());
    let (one, two) = (waiting(1), waiting(2));
    must(&store, start(vec![one.clone(), two.clone()]));
    sound(&store);
    let snapshot = store.snapshot();
    let row = snapshot.cluster(&cluster_arn("one")).unwrap();
    assert_eq!((row.waiting().count(), row.pending, snapshot.live_tasks_on(&own.arn).count()), (2, 2, 0));
    assert_eq!(row.waiting().next().unwrap().last_status(), TaskStatus::Provisioning);

    // There is room for one of them.
    let both = vec![placed(&one, &own), placed(&two, &own)];
    let full = refused(&store, Command::PlaceTasks { tasks: both });
    assert!(matches!(full, Rejected::NoRoom { index: 1, .. }), "{full:?}");
    must(&store, Command::PlaceTasks { tasks: vec![placed(&one, &own)] });
    sound(&store);
    let again = refused(&store, Command::PlaceTasks { tasks: vec![placed(&one, &own)] });
    assert_eq!(again, Rejected::TaskNotNew(one.arn.clone()));
    let snapshot = store.snapshot();
    assert_eq!(snapshot.live_tasks_on(&own.arn).map(|task| &task.arn).collect::<Vec<_>>(), [&one.arn]);
    assert_eq!(snapshot.instance(&own.arn).unwrap().remaining.cpu, CpuUnits(40));
    assert_eq!(snapshot.task(&one.arn).unwrap().last_status(), TaskStatus::Pending);

    // No agent has to say that the other one has stopped.
    let why = stop(StopCode::UserInitiated, "Task stopped by user");
    must(&store, Command::StopTask { arn: two.arn.clone(), why: why.clone(), at: Timestamp(9) });
    let stopped = store.snapshot().task(&two.arn).unwrap().clone();
    assert_eq!((stopped.last_status(), stopped.stop()), (TaskStatus::Stopped, Some(&why)));
    assert_eq!(store.snapshot().cluster(&cluster_arn("one")).unwrap().waiting().count(), 0);
    let late = refused(&store, Command::PlaceTasks { tasks: vec![placed(&two, &own)] });
    assert_eq!(late, Rejected::TaskNotNew(two.arn));
    sound(&store);
    let known = store.snapshot();
    drop(store);
    assert_eq!(*inline(backend).snapshot(), *known, "what is derived is the same when it is made anew");
}

#[test]
fn only_so_many_tasks_wait_and_only_for_a_provider() {
    let (store, _) = with_provider(1, Memory::default());
    must(&store, start((1..=300).map(waiting).collect()));
    assert_eq!(refused(&store, start(vec![waiting(301)])), Rejected::TooManyWaiting(cluster_arn("one")));
    let nobody_s = Task { capacity_provider: None, ..waiting(302) };
    let why = stop(StopCode::UserInitiated, "room");
    must(&store, Command::StopTask { arn: waiting(1).arn, why, at: Timestamp(9) });
    assert_eq!(refused(&store, start(vec![nobody_s.clone()])), Rejected::TaskNotNew(nobody_s.arn));
    must(&store, start(vec![waiting(301)]));
    sound(&store);
}

#[test]
fn all_of_it_is_there_after_a_restart() {
    let backend = Memory::default();
    let before = {
        let store = inline(backend.clone());
        must(&store, Command::CreateLaunchTemplate(template()));
        must(&store, made("web"));
        must(&store, Command::CreateCluster(cluster("one")));
        must(&store, register("web"));
        must(&store, Command::CreateCapacityProvider(provider("spare", "web")));
        must(&store, attach("one", "spare"));
        let start_one = vec![of_group("web", 1, 1)];
        must(
            &store,
            scaling(ScalingChange { start: start_one, ..ScalingChange::of(&known(&store, "web"), Timestamp(3)) }),
        );
        must(&store, start(vec![waiting(1)]));
        store.snapshot()
    };
    let after = inline(backend).snapshot();
    assert_eq!(*before, *after);
    assert_eq!(after.cluster(&cluster_arn("one")).unwrap().waiting().count(), 1);
    assert_eq!(after.members(&scope(), "web").count(), 1);
}
