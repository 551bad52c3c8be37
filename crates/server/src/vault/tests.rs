use super::*;
use model::{AccountId, Region};
use std::os::unix::fs::PermissionsExt;

fn scope(region: &str) -> Scope {
    Scope { account: AccountId::parse("123456789012").unwrap(), region: Region::parse(region).unwrap() }
}

fn key(version: &str) -> ValueKey {
    ValueKey { owner: "secret:db-AbCdEf".into(), version: version.into() }
}

fn text(content: &str) -> Content {
    Content::Text(Plain::from(content.to_owned()))
}

fn opens_as(vault: &Vault, value: &Value, want: &Content) -> bool {
    vault.reveal(value).is_ok_and(|found| found == *want)
}

#[tokio::test]
async fn what_is_sealed_opens_as_itself_and_as_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let effects = Effects::real();
    let vault = Vault::open(Keeper::new(dir.path(), None), &effects).unwrap();
    for content in [text("hunter2"), text(""), Content::Bytes(vec![0, 255, 1])] {
        let value = vault.sealer().seal(&scope("eu-west-1"), key("1"), &content, &effects);
        assert!(opens_as(&vault, &value, &content));
        let stored = serde_json::to_string(&value).unwrap() + &format!("{value:?}");
        assert!(!stored.contains("hunter2"));
        for other in [
            Value { version: "2".into(), ..value.clone() },
            Value { owner: "secret:x-AbCdEf".into(), ..value.clone() },
            Value { scope: scope("us-east-1"), ..value.clone() },
            Value { sealed: Sealed { text: value.sealed.wrapped.clone(), ..value.sealed.clone() }, ..value.clone() },
            Value { sealed: Sealed { key: "0".into(), ..value.sealed.clone() }, ..value.clone() },
        ] {
            assert!(vault.reveal(&other).is_err(), "{other:?}");
        }
    }
    let mode = fs::metadata(dir.path().join(keys::KEYS_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_new_key_wraps_what_the_old_one_did_and_then_the_old_one_goes() {
    let dir = tempfile::tempdir().unwrap();
    let effects = Effects::real();
    let keeper = Keeper::new(dir.path(), None);
    let vault = Vault::open(keeper.clone(), &effects).unwrap();
    let (before, content) = (vault.current(), text("hunter2"));
    let value = vault.sealer().seal(&scope("eu-west-1"), key("1"), &content, &effects);
    let sealing = vault.sealer();
    let fresh = keeper.rotate(&effects).unwrap();
    assert_eq!((vault.current(), keeper.count().unwrap()), (before.clone(), 2), "it has not looked yet");
    vault.refresh().unwrap();
    assert_eq!(vault.current(), fresh);
    assert!(vault.has_old_keys() && opens_as(&vault, &value, &content));
    let wrapped = vault.rewrap(&value, &effects).unwrap().unwrap();
    assert_eq!((&wrapped.sealed.key, &wrapped.sealed.text), (&fresh, &value.sealed.text));
    assert_eq!(vault.rewrap(&wrapped, &effects).unwrap(), None);
    // A server that was killed here finds both keys again.
    assert!(opens_as(&Vault::open(keeper.clone(), &effects).unwrap(), &value, &content));
    assert!(!vault.is_settled());
    assert_eq!(sealing.seal(&scope("eu-west-1"), key("2"), &content, &effects).sealed.key, before);
    drop(sealing);
    assert!(vault.is_settled());
    vault.forget_old(&effects).unwrap();
    assert_eq!(keeper.count().unwrap(), 1);
    let again = Vault::open(keeper, &effects).unwrap();
    for vault in [&vault, &again] {
        assert!(opens_as(vault, &wrapped, &content) && vault.reveal(&value).is_err() && !vault.knows(&before));
    }
}

#[tokio::test]
async fn an_access_keys_secret_opens_for_that_key_alone_and_is_wrapped_anew() {
    let dir = tempfile::tempdir().unwrap();
    let effects = Effects::real();
    let keeper = Keeper::new(dir.path(), None);
    let vault = Vault::open(keeper.clone(), &effects).unwrap();
    let account = scope("eu-west-1").account;
    let secret = Plain::from("hunter2".to_owned());
    let key = AccessKey {
        secret: vault.sealer().seal_key(&account, "AKIAONE", &secret, &effects),
        account,
        id: "AKIAONE".into(),
        user: "ada".into(),
        status: model::iam::KeyStatus::Active,
        created_at: model::Timestamp(1),
    };
    let opens = |vault: &Vault, key: &AccessKey| vault.reveal_key(key).is_ok_and(|found| found == secret);
    assert!(opens(&vault, &key));
    assert!(!(serde_json::to_string(&key).unwrap() + &format!("{key:?}")).contains("hunter2"));
    let other = AccountId::parse("999999999999").unwrap();
    for other in [AccessKey { id: "AKIATWO".into(), ..key.clone() }, AccessKey { account: other, ..key.clone() }] {
        assert!(vault.reveal_key(&other).is_err(), "{other:?}");
    }
    assert_eq!(vault.rewrap_key(&key, &effects).unwrap(), None);
    keeper.rotate(&effects).unwrap();
    vault.refresh().unwrap();
    let wrapped = vault.rewrap_key(&key, &effects).unwrap().unwrap();
    vault.forget_old(&effects).unwrap();
    assert!(opens(&vault, &wrapped) && !opens(&vault, &key));
}

#[tokio::test]
async fn a_passphrase_seals_the_keys() {
    let dir = tempfile::tempdir().unwrap();
    let effects = Effects::real();
    let (right, wrong) = (dir.path().join("right"), dir.path().join("wrong"));
    fs::write(&right, "correct horse\n").unwrap();
    fs::write(&wrong, "battery staple\n").unwrap();
    // Chosen after the first start: the keys stay the same.
    let plain = Vault::open(Keeper::new(dir.path(), None), &effects).unwrap();
    let content = text("hunter2");
    let value = plain.sealer().seal(&scope("eu-west-1"), key("1"), &content, &effects);
    let open = |file: Option<&std::path::Path>| Vault::open(Keeper::new(dir.path(), file), &effects);
    assert!(opens_as(&open(Some(&right)).unwrap(), &value, &content));
    let on_disk = fs::read_to_string(dir.path().join(keys::KEYS_FILE)).unwrap();
    assert!(on_disk.contains("sealed") && !on_disk.contains(&plain.current()));
    assert!(matches!(open(Some(&wrong)), Err(KeysError::PassphraseWrong(_))));
    assert!(matches!(open(None), Err(KeysError::PassphraseMissing(_))));
    fs::write(&wrong, "\n").unwrap();
    assert!(matches!(open(Some(&wrong)), Err(KeysError::PassphraseEmpty(_))));
    assert!(opens_as(&open(Some(&right)).unwrap(), &value, &content));
}

#[tokio::test]
async fn a_foreign_file_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(keys::KEYS_FILE);
    for text in [r#"{"version":9}"#, r#"{"version":1}"#, "rubbish", r#"{"version":1,"keys":{"current":"a","all":{}}}"#]
    {
        fs::write(&path, text).unwrap();
        let opened = Vault::open(Keeper::new(dir.path(), None), &Effects::real());
        assert!(matches!(opened, Err(KeysError::Form(_))), "{text}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}
