//! Decisions about secrets and parameters: whole or not at all, on what was seen, and there again after a start.

// Tests may unwrap, also in what they share.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use model::{
    vault::{Edit, Key, Parameter, ParameterKind, ParameterVersion, Sealed, Secret, Value, ValueKey, Vault},
    *,
};
use state::{Command, CommitError, Memory, Rejected, Store, VaultChange, audit::audit};

fn secret(name: &str) -> Secret {
    Secret {
        scope: scope(),
        name: name.into(),
        suffix: "AbCdEf".into(),
        description: None,
        created_at: Timestamp(1),
        changed_at: Timestamp(1),
        delete_at: None,
        tags: Tags::default(),
        versions: Vec::new(),
    }
}

fn sealed(key: ValueKey) -> Value {
    let sealed = Sealed { key: "k".into(), wrapped: "d3JhcHBlZA==".into(), text: "c2VhbGVk".into() };
    Value { scope: scope(), owner: key.owner, version: key.version, sealed }
}

/// The change that a decision makes of what is stored now.
fn change(store: &Store, decide: impl FnOnce(&mut Edit)) -> VaultChange {
    let vault = store.snapshot().vault(&scope()).map(|vault| Vault::clone(vault)).unwrap_or_default();
    let on = vault.version;
    let mut edit = Edit::new(vault);
    decide(&mut edit);
    let (put, remove) = edit.finish().unwrap();
    VaultChange { scope: scope(), on, put, remove }
}

fn apply(store: &Store, change: VaultChange) -> Result<(), Rejected> {
    match commit(store, Command::ChangeVault(Box::new(change))) {
        Ok(_) => Ok(()),
        Err(CommitError::Rejected(why)) => Err(why),
        Err(error) => panic!("{error}"),
    }
}

fn with_value(edit: &mut Edit, name: &str, version: &str) {
    let mut made = edit.vault().secret(name).map_or_else(|| secret(name), |known| Secret::clone(known));
    made.add(version, &[], Timestamp(2)).unwrap();
    edit.put(sealed(made.value_key(version)));
    edit.put(made);
}

#[test]
fn a_change_is_refused_when_the_vault_has_moved_and_is_there_after_a_start() {
    let memory = Memory::default();
    let records = memory.clone();
    let store = inline(memory);
    let (first, second) = (change(&store, |e| with_value(e, "a", "1")), change(&store, |e| with_value(e, "b", "1")));
    apply(&store, first.clone()).unwrap();
    let before = store.snapshot();
    for stale in [first, second] {
        assert_eq!(apply(&store, stale), Err(Rejected::VaultChanged(scope())));
        assert_eq!(store.snapshot(), before);
    }
    apply(
        &store,
        change(&store, |edit| {
            with_value(edit, "a", "2");
            let version = ParameterVersion {
                number: 1,
                modified_at: Timestamp(3),
                modified_by: "me".into(),
                description: None,
                allowed_pattern: None,
                labels: Vec::new(),
            };
            let parameter = Parameter {
                scope: scope(),
                name: "/p".into(),
                kind: ParameterKind::String,
                tags: Tags::default(),
                versions: vec![version],
            };
            edit.put(sealed(parameter.value_key(1)));
            edit.put(parameter);
        }),
    )
    .unwrap();
    assert_eq!(audit(&store.snapshot()), Vec::<String>::new());
    let again = inline(records.peek());
    assert_eq!(again.snapshot().vault(&scope()), store.snapshot().vault(&scope()));
    let gone = Secret::clone(again.snapshot().vault(&scope()).unwrap().secret("a").unwrap());
    apply(&again, change(&again, |edit| edit.remove_secret(&gone))).unwrap();
    let snapshot = again.snapshot();
    assert_eq!(snapshot.vault(&scope()).unwrap().records().count(), 2, "its values went with it");
    assert_eq!(audit(&snapshot), Vec::<String>::new());
}

#[test]
fn the_audit_notices_values_without_owners_and_owners_without_values() {
    for (spoil, words) in [
        (Box::new(|edit: &mut Edit| with_value(edit, "b", "1")) as Box<dyn Fn(&mut Edit)>, None),
        (
            Box::new(|edit: &mut Edit| {
                edit.put(sealed(ValueKey { owner: "secret:x-AbCdEf".into(), version: "1".into() }))
            }),
            Some("is nobody's"),
        ),
        (Box::new(|edit: &mut Edit| edit.remove(Key::Value(secret("a").value_key("1")))), Some("is missing")),
    ] {
        let store = inline(Memory::default());
        apply(&store, change(&store, |edit| with_value(edit, "a", "1"))).unwrap();
        apply(&store, change(&store, &*spoil)).unwrap();
        let wrong = audit(&store.snapshot());
        assert_eq!(wrong.len(), usize::from(words.is_some()), "{wrong:?}");
        assert!(words.is_none_or(|words| wrong[0].contains(words)), "{wrong:?}");
    }
}
