//! Decisions about users, roles and policies: whole or not at all, on what was seen, and there again after a start.

// Tests may unwrap, also in what they share.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use model::{
    iam::{AccessKey, Directory, Edit, InstanceProfile, Key, KeyStatus, Policy, PolicyVersion, Role, User},
    vault::Sealed,
    *,
};
use state::{Command, CommitError, IamChange, Memory, Rejected, Store, audit::audit};

fn account() -> AccountId {
    scope().account
}

fn user(name: &str) -> User {
    User {
        account: account(),
        name: name.into(),
        path: "/".into(),
        id: "AIDAABCDEFGHIJKLMNOPQ".into(),
        created_at: Timestamp(1),
        tags: Tags::default(),
        permissions: iam::Permissions::default(),
    }
}

fn key(id: &str, user: &str) -> AccessKey {
    AccessKey {
        account: account(),
        id: id.into(),
        user: user.into(),
        status: KeyStatus::Active,
        created_at: Timestamp(1),
        secret: Sealed { key: "k".into(), wrapped: "d3JhcHBlZA==".into(), text: "c2VhbGVk".into() },
    }
}

fn role(name: &str) -> Role {
    Role {
        account: account(),
        name: name.into(),
        path: "/team/".into(),
        id: "AROAABCDEFGHIJKLMNOPQ".into(),
        created_at: Timestamp(1),
        description: None,
        trust: "{}".into(),
        max_session_seconds: 3600,
        tags: Tags::default(),
        permissions: iam::Permissions::default(),
    }
}

fn policy(name: &str) -> Policy {
    Policy {
        account: account(),
        name: name.into(),
        path: "/".into(),
        id: "ANPAABCDEFGHIJKLMNOPQ".into(),
        description: None,
        created_at: Timestamp(1),
        updated_at: Timestamp(1),
        tags: Tags::default(),
        default_version: 1,
        last_version: 1,
        versions: vec![PolicyVersion { number: 1, document: "{}".into(), created_at: Timestamp(1) }],
    }
}

fn profile(name: &str, role: &str) -> InstanceProfile {
    InstanceProfile {
        account: account(),
        name: name.into(),
        path: "/".into(),
        id: "AIPAABCDEFGHIJKLMNOPQ".into(),
        created_at: Timestamp(1),
        tags: Tags::default(),
        role: Some(role.into()),
    }
}

/// The change that a decision makes of what is stored now.
fn change(store: &Store, decide: impl FnOnce(&mut Edit)) -> IamChange {
    let directory = store.snapshot().directory(&account()).map(|known| Directory::clone(known)).unwrap_or_default();
    let on = directory.version;
    let mut edit = Edit::new(directory);
    decide(&mut edit);
    let (put, remove) = edit.finish().unwrap();
    IamChange { account: account(), on, put, remove }
}

fn apply(store: &Store, change: IamChange) -> Result<(), Rejected> {
    match commit(store, Command::ChangeIam(Box::new(change))) {
        Ok(_) => Ok(()),
        Err(CommitError::Rejected(why)) => Err(why),
        Err(error) => panic!("{error}"),
    }
}

fn fill(edit: &mut Edit) {
    edit.put(user("ada"));
    edit.put(key("AKIAONE", "ada"));
    edit.put(role("web"));
    edit.put(policy("deploy"));
    edit.put(profile("machine", "web"));
}

#[test]
fn a_change_is_refused_when_the_directory_has_moved_and_is_there_after_a_start() {
    let memory = Memory::default();
    let store = inline(memory.clone());
    let stale = change(&store, |edit| edit.put(user("late")));
    apply(&store, change(&store, fill)).unwrap();
    assert_eq!(apply(&store, stale), Err(Rejected::IamChanged(account())));

    let mut foreign = change(&store, |edit| edit.put(user("eve")));
    foreign.put = vec![User { account: AccountId::parse("999999999999").unwrap(), ..user("eve") }.into()];
    assert_eq!(apply(&store, foreign), Err(Rejected::IamChanged(account())), "another account's record");
    assert_eq!(audit(&store.snapshot()), Vec::<String>::new());

    let again = inline(memory.peek());
    let snapshot = again.snapshot();
    assert_eq!(snapshot.directory(&account()), store.snapshot().directory(&account()));
    let directory = snapshot.directory(&account()).unwrap();
    assert_eq!(directory.version, 1);
    assert_eq!(snapshot.access_key("AKIAONE").unwrap().user, "ada");
    let role = directory.role_by_arn("arn:aws:iam::123456789012:role/team/web").unwrap();
    assert_eq!(role.name, "web");
    assert!(directory.role_by_arn("arn:aws:iam::123456789012:role/web").is_none(), "its path is part of its ARN");
    let machine = directory.profile("machine").unwrap();
    assert_eq!(directory.role_of_profile(machine).unwrap().id, role.id);

    apply(&again, change(&again, |edit| edit.remove(Key::AccessKey("AKIAONE".into())))).unwrap();
    assert!(again.snapshot().access_key("AKIAONE").is_none());
    assert_eq!(again.snapshot().directory(&account()).unwrap().records().count(), 4);
}

#[test]
fn the_audit_finds_what_nobody_may_bring_about() {
    type Spoil = Box<dyn Fn(&mut Edit)>;
    let cases: Vec<(Spoil, Option<&str>)> = vec![
        (Box::new(|edit| edit.put(user("grace"))), None),
        (Box::new(|edit| edit.remove(Key::User("ada".into()))), Some("user ada, who does not exist")),
        (Box::new(|edit| edit.remove(Key::Role("web".into()))), Some("its role does not exist")),
        (Box::new(|edit| edit.put(user("Ada"))), Some("has the name of")),
        (
            Box::new(|edit| edit.put(Policy { default_version: 2, ..policy("deploy") })),
            Some("its default version is missing"),
        ),
        (
            Box::new(|edit| {
                let mut ada = user("ada");
                ada.permissions.attached.insert("arn:aws:iam::123456789012:policy/gone".into());
                ada.permissions.attached.insert("arn:aws:iam::aws:policy/ReadOnlyAccess".into());
                edit.put(ada);
            }),
            Some("policy/gone does not exist"),
        ),
    ];
    for (spoil, words) in cases {
        let store = inline(Memory::default());
        apply(&store, change(&store, fill)).unwrap();
        apply(&store, change(&store, &*spoil)).unwrap();
        let wrong = audit(&store.snapshot());
        assert_eq!(wrong.len(), usize::from(words.is_some()), "{wrong:?}");
        assert!(words.is_none_or(|words| wrong[0].contains(words)), "{wrong:?}");
    }
}
