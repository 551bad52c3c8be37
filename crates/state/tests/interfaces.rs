//! Tasks' network interfaces: an address is one task's, as long as it lives and while it rests afterwards, whatever comes at
//! the same moment and however often the store is read anew.

// Tests may unwrap, also in what they share.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use model::{
    attachment::REST_MILLIS,
    network::{Edit, InterfaceId, Key, SecurityGroupId, SubnetId, VpcId},
    vpc::DefaultVpc,
    *,
};
use proptest::prelude::*;
use state::{Command, CommitError, Memory, NetworkChange, PublicHolder, Rejected, Store};
use std::{collections::BTreeMap, net::Ipv4Addr};

fn default() -> DefaultVpc {
    DefaultVpc::of(&scope(), "172.31.0.0/16".parse().unwrap())
}

fn subnet() -> SubnetId {
    SubnetId::parse(default().subnets[0].id.as_str()).unwrap()
}

/// The network as it will be stored, or what a law changes of it.
fn change(store: &Store, law: impl FnOnce(&mut Edit<'_>)) -> NetworkChange {
    let snapshot = store.snapshot();
    let known = snapshot.network(&scope());
    let (on, network) = known.map_or_else(|| (0, default().network(&scope())), |n| (n.version, (**n).clone()));
    let mut next = 0x1000;
    let mut fresh = || {
        next += 1;
        next
    };
    let mut edit = Edit::new(network, scope(), Timestamp(1), &mut fresh);
    law(&mut edit);
    let (put, remove) = edit.finish().unwrap();
    NetworkChange { scope: scope(), on, put, remove, at: Timestamp(1) }
}

/// A store with a stored network, and an instance with room for this many interfaces.
fn world(memory: Memory, interfaces: u32) -> (Store, TaskDefinitionArn) {
    let store = inline(memory);
    commit(&store, Command::CreateCluster(cluster("shop"))).unwrap();
    commit(&store, register("web")).unwrap();
    let mut roomy = instance("shop", 1, 65_536, 65_536);
    roomy.registered.interfaces = interfaces;
    commit(&store, Command::RegisterContainerInstance { instance: roomy }).unwrap();
    commit(&store, Command::ChangeNetwork(Box::new(change(&store, |edit| edit.adopt())))).unwrap();
    let definition = TaskDefinitionArn { scope: scope(), family: family("web"), revision: 1 };
    (store, definition)
}

fn attached(definition: &TaskDefinitionArn, number: u64, last: u8, at: i64) -> Task {
    let mut task = task("shop", number, 1, definition.clone(), 1, 6);
    task.reservation.interfaces = 1;
    task.times.created = Timestamp(at);
    let interface = InterfaceId::of(number.into());
    task.attachment = Some(Box::new(Attachment {
        id: format!("00000000-0000-4000-8000-{number:012x}").into(),
        mac: network::mac(&interface).into(),
        interface,
        vpc: VpcId::parse(default().id.as_str()).unwrap(),
        subnet: subnet(),
        address: [172, 31, 0, last].into(),
        groups: vec![SecurityGroupId::parse(default().security_group_id.as_str()).unwrap()],
        public_ip: None,
        state: AttachmentState::Precreated,
        lost: false,
    }));
    task
}

fn with(mut task: Task, change: impl FnOnce(&mut Attachment)) -> Task {
    change(task.attachment.as_mut().unwrap());
    task
}

fn tried(store: &Store, tasks: Vec<Task>) -> Result<(), Rejected> {
    let outcome = commit(store, start(tasks));
    assert_sound(&store.snapshot());
    match outcome {
        Ok(_) => Ok(()),
        Err(CommitError::Rejected(why)) => Err(why),
        Err(error) => panic!("{error}"),
    }
}

fn stop(store: &Store, number: u64, at: i64) {
    let why = Stop { code: StopCode::UserInitiated, reason: "enough".into() };
    let seen = vec![seen(task_arn("shop", number), ObservedStatus::Stopped(why))];
    commit(store, Command::Observe { instance: instance_arn("shop", 1), seen, at: Timestamp(at) }).unwrap();
}

fn taken(last: u8) -> Result<(), Rejected> {
    Err(Rejected::AddressTaken([172, 31, 0, last].into()))
}

#[test]
fn an_address_is_one_tasks() {
    let (store, definition) = world(Memory::default(), 100);
    let of = |number, last| attached(&definition, number, last, 5);
    let elsewhere = Err(Rejected::NetworkChanged(scope()));
    assert_eq!(tried(&store, vec![of(1, 10), of(2, 10)]), taken(10), "two of one decision");
    assert_eq!(tried(&store, vec![of(1, 10), of(2, 11)]), Ok(()));
    assert_eq!(tried(&store, vec![of(3, 10)]), taken(10), "one of another decision");
    for (what, task) in [
        ("an address the subnet keeps for itself", of(3, 1)),
        ("another VPC", with(of(3, 12), |a| a.vpc = VpcId::of(9))),
        ("a subnet that is not there", with(of(3, 12), |a| a.subnet = SubnetId::of(9))),
        ("a group that is not there", with(of(3, 12), |a| a.groups = vec![SecurityGroupId::of(9)])),
    ] {
        assert_eq!(tried(&store, vec![task]), elsewhere, "{what}");
    }
    // What stands on the network holds it, though it does not move its version.
    let late = |key: Key| NetworkChange { scope: scope(), on: 1, put: Vec::new(), remove: vec![key], at: Timestamp(6) };
    for key in [Key::Subnet(subnet()), Key::SecurityGroup(of(1, 10).attachment.unwrap().groups[0].clone())] {
        let refused = commit(&store, Command::ChangeNetwork(Box::new(late(key))));
        assert!(matches!(refused, Err(CommitError::Rejected(Rejected::NetworkChanged(_)))), "{refused:?}");
    }
    let snapshot = store.snapshot();
    let shown = snapshot.network(&scope()).unwrap().interface(&InterfaceId::of(1)).unwrap();
    assert_eq!((shown.addresses[0], shown.task.as_ref()), ([172, 31, 0, 10].into(), Some(&task_arn("shop", 1))));
}

#[test]
fn a_released_address_rests_and_one_that_nobody_saw_go_rests_longer() {
    let memory = Memory::default();
    let (store, definition) = world(memory.clone(), 100);
    assert_eq!(tried(&store, vec![attached(&definition, 1, 10, 5), attached(&definition, 2, 11, 5)]), Ok(()));
    stop(&store, 1, 1000);
    let why = Stop { code: StopCode::UserInitiated, reason: "its instance is gone".into() };
    let lost = Command::EndTasks { tasks: vec![task_arn("shop", 2)], why, at: Timestamp(1000) };
    commit(&store, lost).unwrap();
    let soon = 1000 + REST_MILLIS - 1;
    // A server that begins anew knows it too.
    for store in [&store, &inline(memory.peek())] {
        assert_eq!(tried(store, vec![attached(&definition, 3, 10, soon)]), taken(10));
        assert_eq!(tried(store, vec![attached(&definition, 3, 11, soon + 86_400_000)]), taken(11));
    }
    assert_eq!(tried(&store, vec![attached(&definition, 3, 10, soon + 1)]), Ok(()));
    commit(&store, Command::ForgetTasks { tasks: vec![task_arn("shop", 1), task_arn("shop", 2)] }).unwrap();
    assert_eq!(tried(&store, vec![attached(&definition, 4, 10, soon + 2)]), taken(10), "it is another one's by now");
    assert_eq!(tried(&store, vec![attached(&definition, 4, 11, soon + 2)]), Ok(()));
    assert_eq!(*inline(memory.peek()).snapshot(), *store.snapshot(), "what is loaded is what was in memory");
}

#[test]
fn a_public_address_is_a_tasks_as_long_as_it_lives_and_room_for_interfaces_is_counted() {
    let (store, definition) = world(Memory::default(), 1);
    let public: Ipv4Addr = [198, 51, 100, 1].into();
    let of = |number, last| with(attached(&definition, number, last, 5), |a| a.public_ip = Some(public));
    assert_eq!(tried(&store, vec![of(1, 10)]), Ok(()));
    assert_eq!(store.snapshot().public_holder(public), Some(&PublicHolder::Task(task_arn("shop", 1))));
    let full = tried(&store, vec![attached(&definition, 2, 11, 5)]);
    assert!(matches!(full, Err(Rejected::NoRoom { lacking: resources::Lacking::Eni, .. })), "{full:?}");
    let take = |edit: &mut Edit<'_>| {
        edit.allocate_address("198.51.100.0/24".parse().unwrap(), &|_| false, Tags::default()).unwrap();
    };
    let refused = commit(&store, Command::ChangeNetwork(Box::new(change(&store, take))));
    assert!(matches!(refused, Err(CommitError::Rejected(Rejected::AddressTaken(a))) if a == public), "{refused:?}");
    stop(&store, 1, 10);
    assert_eq!(store.snapshot().public_holder(public), None);
    assert_eq!(tried(&store, vec![of(2, 11)]), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is tried, in whatever order, and with the store read anew in between.
    #[test]
    fn no_address_is_ever_two_tasks(steps in proptest::collection::vec((0u8..6, 10u8..14, 0i64..60_000), 1..60)) {
        let mut memory = Memory::default();
        let (mut store, definition) = world(memory.clone(), 3);
        let (mut now, mut number) = (10, 0);
        let mut released: BTreeMap<u8, i64> = BTreeMap::new();
        for (what, last, pause) in steps {
            let snapshot = store.snapshot();
            let tasks = (1..=number).filter_map(|number| Some((number, snapshot.task(&task_arn("shop", number))?)));
            let live: Vec<(u64, u8)> = tasks
                .filter(|(_, task)| task.holds_resources())
                .map(|(number, task)| (number, task.attachment.as_ref().unwrap().address.octets()[3]))
                .collect();
            match what {
                0..=2 => {
                    number += 1;
                    let held = live.iter().any(|(_, other)| *other == last);
                    let rests = released.get(&last).is_some_and(|at| now < at + REST_MILLIS);
                    let done = tried(&store, vec![attached(&definition, number, last, now)]);
                    prop_assert_eq!(done.is_ok(), !held && !rests && live.len() < 3, "{:?}", done);
                }
                3 => {
                    if let Some((gone, last)) = live.first() {
                        stop(&store, *gone, now);
                        released.insert(*last, now);
                    }
                }
                4 => {
                    memory = memory.peek();
                    store = inline(memory.clone());
                }
                _ => now += pause,
            }
            assert_sound(&store.snapshot());
        }
    }
}
