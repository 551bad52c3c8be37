//! Decisions about networks: whole or not at all, on what was seen, and never two for one address.

// Tests may unwrap, also in what they share.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use model::{
    network::{
        Address, AllocationId, Edit, InterfaceId, Key, Network, NewInterface, NewSubnet, Record, Refusal, SubnetId,
    },
    vpc::DefaultVpc,
    *,
};
use state::{
    Command, CommitError, Memory, NetworkChange, Outcome, PublicHolder, Rejected, Resource, Store, audit::audit,
};

fn elsewhere() -> Scope {
    Scope { region: Region::parse("eu-west-1").unwrap(), ..scope() }
}

fn default(scope: &Scope) -> DefaultVpc {
    DefaultVpc::of(scope, "172.31.0.0/16".parse().unwrap())
}

/// The change that a law makes of what is stored now, with ids from `from` up.
fn change<T>(
    store: &Store,
    scope: &Scope,
    from: u128,
    law: impl FnOnce(&mut Edit<'_>) -> Result<T, Refusal>,
) -> (NetworkChange, T) {
    let snapshot = store.snapshot();
    let known = snapshot.network(scope).map(|network| Network::clone(network));
    let on = known.as_ref().map_or(0, |network| network.version);
    let network = known.unwrap_or_else(|| default(scope).network(scope));
    let mut next = from;
    let mut fresh = || {
        next += 1;
        next
    };
    let mut edit = Edit::new(network, scope.clone(), Timestamp(5), &mut fresh);
    let answer = law(&mut edit).unwrap();
    let (put, remove) = edit.finish().unwrap();
    (NetworkChange { scope: scope.clone(), on, put, remove, at: Timestamp(5) }, answer)
}

fn apply(store: &Store, change: NetworkChange) -> Result<(), Rejected> {
    match commit(store, Command::ChangeNetwork(Box::new(change))) {
        Ok(done) => {
            assert_eq!(done.outcome, Outcome::Done);
            assert_sound(&store.snapshot());
            Ok(())
        }
        Err(CommitError::Rejected(why)) => Err(why),
        Err(error) => panic!("{error}"),
    }
}

fn refused(store: &Store, command: Command) -> Rejected {
    match commit(store, command) {
        Err(CommitError::Rejected(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn interface(subnet: &SubnetId, last: u8) -> NewInterface {
    NewInterface {
        subnet: subnet.clone(),
        groups: Vec::new(),
        primary: Some([172, 31, 0, last].into()),
        secondary: Vec::new(),
        more: 0,
        description: String::new(),
        creation: Creation { token: None, request_sha256: "".into() },
        tags: Tags::default(),
    }
}

fn at(subnet: &str, number: u64, last: u8) -> Command {
    let machine =
        Machine { subnet_id: subnet.to_owned(), private_ip: [172, 31, 0, last].into(), ..machine(number, last) };
    Command::RunMachines { machines: vec![machine] }
}

#[test]
fn a_change_is_refused_when_the_network_has_moved_and_leaves_no_trace() {
    let memory = Memory::default();
    let records = memory.clone();
    let store = inline(memory);
    assert!(store.snapshot().network(&scope()).is_none());
    let make = |edit: &mut Edit<'_>| edit.create_vpc("10.0.0.0/16".parse().unwrap(), Tags::default());
    let (first, _) = change(&store, &scope(), 0, make);
    let (second, _) = change(&store, &scope(), 100, make);
    apply(&store, first.clone()).unwrap();
    let before = store.snapshot();
    for stale in [first, second] {
        assert_eq!(apply(&store, stale), Err(Rejected::NetworkChanged(scope())));
        assert_eq!(store.snapshot(), before);
    }
    let (third, _) = change(&store, &scope(), 100, make);
    apply(&store, third).unwrap();
    let network = store.snapshot().network(&scope()).unwrap().clone();
    assert_eq!((network.version, network.vpcs().count()), (2, 3));
    // Another scope's network is another.
    let (there, _) = change(&store, &elsewhere(), 0, make);
    let stray = NetworkChange { scope: scope(), on: 2, ..there.clone() };
    assert_eq!(apply(&store, stray), Err(Rejected::NetworkChanged(scope())));
    apply(&store, there).unwrap();
    assert_eq!(*inline(records.peek()).snapshot(), *store.snapshot(), "what is loaded is what was in memory");
}

#[test]
fn a_public_address_is_one_scopes() {
    let store = inline(Memory::default());
    let take = |edit: &mut Edit<'_>| {
        Ok(edit.allocate_address("198.51.100.0/24".parse().unwrap(), &|_| false, Tags::default())?.id.clone())
    };
    let (here, id) = change(&store, &scope(), 0, take);
    let (there, other) = change(&store, &elsewhere(), 0, take);
    apply(&store, here).unwrap();
    let address = "198.51.100.1".parse().unwrap();
    assert_eq!(apply(&store, there.clone()), Err(Rejected::AddressTaken(address)));
    assert_eq!(store.snapshot().public_holder(address), Some(&PublicHolder::Allocation(scope(), id.clone())));
    let (release, ()) = change(&store, &scope(), 9, |edit| edit.release_address(&id));
    apply(&store, release).unwrap();
    assert_eq!(store.snapshot().public_holder(address), None);
    apply(&store, there).unwrap();
    assert_eq!(store.snapshot().public_holder(address), Some(&PublicHolder::Allocation(elsewhere(), other)));
}

#[test]
fn instances_and_interfaces_never_have_one_address() {
    let store = inline(Memory::default());
    let subnet = SubnetId::parse(default(&scope()).subnets[0].id.as_str()).unwrap();
    // While nobody has changed the network, instances come into subnets that are not stored.
    must(&store, at(subnet.as_str(), 1, 10));
    let (clash, _) = change(&store, &scope(), 0, |edit| edit.create_interface(interface(&subnet, 10)));
    assert_eq!(apply(&store, clash), Err(Rejected::AddressTaken([172, 31, 0, 10].into())));
    let (good, _) = change(&store, &scope(), 0, |edit| edit.create_interface(interface(&subnet, 11)));
    apply(&store, good).unwrap();
    for (command, want) in [
        (at(subnet.as_str(), 2, 11), Rejected::AddressTaken([172, 31, 0, 11].into())),
        (at("subnet-0", 2, 12), Rejected::SubnetNotFound("subnet-0".to_owned())),
    ] {
        assert_eq!(refused(&store, command), want);
    }
    // A subnet with an instance stays, also where the decision did not see the instance.
    let (empty, ()) = change(&store, &scope(), 50, |edit| edit.delete_interface(&InterfaceId::of(1)));
    apply(&store, empty).unwrap();
    let (gone, ()) = change(&store, &scope(), 50, |edit| edit.delete_subnet(&subnet));
    assert_eq!(apply(&store, gone.clone()), Err(Rejected::NetworkChanged(scope())));
    let state = MachineState::Terminated;
    let id = machine(1, 0).id;
    must(&store, Command::SetMachineState { scope: scope(), id, state, reason: None, at: Timestamp(9) });
    apply(&store, gone).unwrap();
}

#[test]
fn instances_carry_tags() {
    let store = inline(Memory::default());
    must(&store, at("subnet-0", 1, 10));
    let id = machine(1, 0).id;
    let resource = Resource::Machine { scope: scope(), id: id.clone() };
    let tags = Tags::parse_any([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]).unwrap();
    must(&store, Command::TagResource { resource: resource.clone(), tags });
    must(&store, Command::UntagResource { resource, keys: vec!["a".to_owned(), "z".to_owned()] });
    let left: Vec<_> = store.snapshot().machine(&scope(), &id).unwrap().tags.0.clone().into_iter().collect();
    assert_eq!(left, [("b".to_owned(), "2".to_owned())]);
    let resource = Resource::Machine { scope: scope(), id: "i-0".to_owned() };
    let command = Command::UntagResource { resource, keys: Vec::new() };
    assert_eq!(refused(&store, command), Rejected::MachineNotFound("i-0".to_owned()));
}

#[test]
fn an_audit_finds_what_no_law_would_have_let_happen() {
    let store = inline(Memory::default());
    let (base, vpc) = change(&store, &scope(), 0, |edit| {
        let vpc = edit.create_vpc("10.0.0.0/16".parse().unwrap(), Tags::default())?;
        let (id, cidr) = (vpc.id.clone(), "10.0.1.0/24".parse().unwrap());
        let zone = "eu-central-1a".to_owned();
        edit.create_subnet(NewSubnet { vpc: id, cidr, availability_zone: zone, tags: Tags::default() })?;
        Ok(vpc)
    });
    apply(&store, base).unwrap();
    let network = store.snapshot().network(&scope()).unwrap().clone();
    let subnet = network.subnets_of(&vpc.id).next().unwrap().clone();
    let twin = network::Subnet { id: SubnetId::of(77), ..network::Subnet::clone(&subnet) };
    let address = Address {
        scope: scope(),
        id: AllocationId::of(78),
        public_ip: [198, 51, 100, 1].into(),
        association: Some(network::AddressAssociation {
            id: network::AddressAssociationId::of(1),
            interface: InterfaceId::of(999),
            private_ip: [10, 0, 1, 4].into(),
        }),
        tags: Tags::default(),
    };
    let group = network.default_group(&vpc.id).unwrap().id.clone();
    for (put, remove, says) in [
        (vec![Record::from(twin)], vec![], "have addresses in common"),
        (vec![Record::from(address)], vec![], "leads to an interface that does not exist"),
        (vec![], vec![Key::Vpc(vpc.id.clone())], "is in a VPC that does not exist"),
        (vec![], vec![Key::SecurityGroup(group)], "0 default security groups"),
    ] {
        let memory = Memory::default();
        let store = inline(memory);
        let stored: Vec<Record> = network.records().collect();
        for (on, put, remove) in [(0, stored, vec![]), (1, put, remove)] {
            let change = NetworkChange { scope: scope(), on, put, remove, at: Timestamp(1) };
            must(&store, Command::ChangeNetwork(Box::new(change)));
        }
        let found = audit(&store.snapshot());
        assert!(found.iter().any(|what| what.contains(says)), "{says}: {found:?}");
    }
}
