//! Decisions about service discovery: whole or not at all, and on what was seen.

// Tests may unwrap, also in what they share.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use model::{
    discovery::{
        Discovery, Edit, Instance, InstanceId, Key, Namespace, NamespaceId, NamespaceKind, NewInstance, NewNamespace,
        NewService, OperationId, Record, Refusal, ServiceId,
    },
    *,
};
use state::{Command, CommitError, DiscoveryChange, Memory, Rejected, Store, audit::audit};

fn elsewhere() -> Scope {
    Scope { region: Region::parse("eu-west-1").unwrap(), ..scope() }
}

fn creation() -> Creation {
    Creation { token: None, request_sha256: "".into() }
}

/// The change that a law makes of what is stored now, with ids from `from` up.
fn change<T>(
    store: &Store,
    scope: &Scope,
    from: u128,
    law: impl FnOnce(&mut Edit<'_>) -> Result<T, Refusal>,
) -> (DiscoveryChange, T) {
    let snapshot = store.snapshot();
    let known = snapshot.discovery(scope).map(|discovery| Discovery::clone(discovery)).unwrap_or_default();
    let on = known.version;
    let mut next = from;
    let mut fresh = || {
        next += 1;
        next
    };
    let mut edit = Edit::new(known, scope.clone(), Timestamp(5), &mut fresh);
    let answer = law(&mut edit).unwrap();
    let (put, remove) = edit.finish().unwrap();
    (DiscoveryChange { scope: scope.clone(), on, put, remove, at: Timestamp(5) }, answer)
}

fn apply(store: &Store, change: DiscoveryChange) -> Result<(), Rejected> {
    match commit(store, Command::ChangeDiscovery(Box::new(change))) {
        Ok(_) => {
            assert_sound(&store.snapshot());
            Ok(())
        }
        Err(CommitError::Rejected(why)) => Err(why),
        Err(error) => panic!("{error}"),
    }
}

fn named(name: &str) -> NewNamespace {
    NewNamespace {
        name: name.to_owned(),
        kind: NamespaceKind::Http,
        description: None,
        creation: creation(),
        tags: Tags::default(),
    }
}

#[test]
fn a_change_is_refused_when_the_value_has_moved_and_leaves_no_trace() {
    let memory = Memory::default();
    let records = memory.clone();
    let store = inline(memory);
    let (first, _) = change(&store, &scope(), 0, |edit| edit.create_namespace(named("a")));
    let (second, _) = change(&store, &scope(), 100, |edit| edit.create_namespace(named("b")));
    apply(&store, first.clone()).unwrap();
    let before = store.snapshot();
    for stale in [first, second] {
        assert_eq!(apply(&store, stale), Err(Rejected::DiscoveryChanged(scope())));
        assert_eq!(store.snapshot(), before);
    }
    // Another scope's is another.
    let (there, _) = change(&store, &elsewhere(), 0, |edit| edit.create_namespace(named("a")));
    let stray = DiscoveryChange { scope: scope(), on: 1, ..there.clone() };
    assert_eq!(apply(&store, stray), Err(Rejected::DiscoveryChanged(scope())));
    apply(&store, there).unwrap();

    let namespace = store.snapshot().discovery(&scope()).unwrap().namespaces().next().unwrap().id.clone();
    let new = NewService {
        namespace,
        name: "web".to_owned(),
        description: None,
        dns: None,
        http_only: false,
        custom_health: false,
        creation: creation(),
        tags: Tags::default(),
    };
    let (service, made) = change(&store, &scope(), 50, |edit| edit.create_service(new));
    apply(&store, service).unwrap();
    let id = InstanceId::parse("i/1").unwrap();
    let attributes = [("a".to_owned(), "1".to_owned())].into();
    let instance = NewInstance { service: made.id.clone(), id: id.clone(), attributes, creation: creation() };
    let (registered, _) = change(&store, &scope(), 60, |edit| edit.register_instance(instance));
    apply(&store, registered).unwrap();
    assert_eq!(*inline(records.peek()).snapshot(), *store.snapshot(), "what is loaded is what was in memory");
    let (gone, _) = change(&store, &scope(), 70, |edit| edit.deregister_instance(&made.id, &id));
    apply(&store, gone).unwrap();
    let (gone, ()) = change(&store, &scope(), 80, |edit| edit.delete_service(&made.id, false));
    apply(&store, gone).unwrap();
    assert_eq!(*inline(records.peek()).snapshot(), *store.snapshot(), "what is loaded is what was in memory");
}

#[test]
fn an_audit_finds_what_no_law_would_have_let_happen() {
    let instance = Instance {
        scope: scope(),
        service: ServiceId::of(9),
        id: InstanceId::parse("i").unwrap(),
        attributes: [].into(),
        health: None,
        creation: creation(),
        operation: OperationId::of(1),
    };
    let namespace = |number| Namespace {
        scope: scope(),
        id: NamespaceId::of(number),
        name: "twin".to_owned(),
        kind: NamespaceKind::Http,
        description: None,
        created_at: Timestamp(1),
        creation: creation(),
        operation: OperationId::of(1),
        tags: Tags::default(),
    };
    for (put, says) in [
        (vec![Record::from(instance)], "is of a service that does not exist"),
        (vec![namespace(1).into(), namespace(2).into()], "another namespace has its name"),
    ] {
        let store = inline(Memory::default());
        let remove = vec![Key::Namespace(NamespaceId::of(77))];
        let change = DiscoveryChange { scope: scope(), on: 0, put, remove, at: Timestamp(1) };
        must(&store, Command::ChangeDiscovery(Box::new(change)));
        let found = audit(&store.snapshot());
        assert!(found.iter().any(|what| what.contains(says)), "{says}: {found:?}");
    }
}
