use super::*;
use std::{fs, os::unix::fs::PermissionsExt};

const HOUR: Duration = Duration::from_secs(3600);

fn account() -> AccountId {
    AccountId::parse("123456789012").unwrap()
}

fn role() -> Of {
    Of::Role(RoleSession {
        role: "web".into(),
        id: "AROAAAAAAAAAAAAAAAAAA".into(),
        name: "session".into(),
        policy: Some(r#"{"Version":"2012-10-17","Statement":[]}"#.into()),
        policy_arns: Vec::new(),
        source_identity: None,
    })
}

struct World {
    tokens: Tokens,
    effects: Effects,
    dir: tempfile::TempDir,
}

fn world() -> World {
    let (dir, effects) = (tempfile::tempdir().unwrap(), Effects::simulated(7, Timestamp(1_790_000_000_000)));
    World { tokens: Tokens::open(dir.path(), &effects).unwrap(), effects, dir }
}

impl World {
    fn issue(&self, life: Duration) -> (Issued, Session) {
        self.tokens.issue(&account(), role(), life, &self.effects)
    }

    fn look(&self, access_key: &str, token: &str) -> Result<Session, Untrue> {
        self.tokens.look(access_key, token, self.effects.now())
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_says_whose_session_it_is_until_it_ends() {
    let world = world();
    let (issued, session) = world.issue(HOUR);
    assert_eq!((issued.access_key.len(), issued.secret.reveal().len()), (20, 40));
    assert_eq!(world.look(&issued.access_key, issued.token.reveal()), Ok(session.clone()));
    assert_eq!((session.secret, session.expires), (issued.secret, issued.expires));
    world.effects.sleep(HOUR - Duration::from_millis(1)).await;
    assert!(world.look(&issued.access_key, issued.token.reveal()).is_ok());
    world.effects.sleep(Duration::from_millis(1)).await;
    assert_eq!(world.look(&issued.access_key, issued.token.reveal()), Err(Untrue::Expired));
    let (endless, _) = world.issue(Duration::MAX);
    assert_eq!(endless.expires.0 - world.effects.now().0, 36 * 3_600_000);
}

#[tokio::test]
async fn a_token_opens_for_no_other_key_and_not_changed() {
    let world = world();
    let ((one, _), (other, _)) = (world.issue(HOUR), world.issue(HOUR));
    let token = one.token.reveal();
    assert_eq!(world.look(&other.access_key, token), Err(Untrue::Unknown));
    for at in 0..token.len() {
        let mut bytes = token.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        // The last letters of base64 hold bits that nothing hangs on, and are refused all the same.
        assert_eq!(world.look(&one.access_key, &changed), Err(Untrue::Unknown), "changed at {at}");
    }
    for wrong in ["", "LSs1", "LSs1aaaaaaaa", &token[..token.len() - 4], &"A".repeat(MAX_TOKEN + 1)] {
        assert_eq!(world.look(&one.access_key, wrong), Err(Untrue::Unknown));
    }
    // Another server has other keys.
    let (dir, effects) = (tempfile::tempdir().unwrap(), Effects::simulated(8, Timestamp(1_790_000_000_000)));
    let strangers = Tokens::open(dir.path(), &effects).unwrap();
    assert_eq!(strangers.look(&one.access_key, token, world.effects.now()), Err(Untrue::Unknown));
}

#[tokio::test(start_paused = true)]
async fn keys_change_without_ending_a_session_and_outlive_the_server() {
    let world = world();
    let path = world.dir.path().join(keys::FILE);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let count = || {
        serde_json::from_slice::<serde_json::Value>(&fs::read(&path).unwrap()).unwrap()["keys"]
            .as_array()
            .unwrap()
            .len()
    };
    let (first, session) = world.issue(LONGEST);
    world.effects.sleep(Duration::from_secs(7 * 24 * 3600 - 3600)).await;
    let (before, _) = world.issue(LONGEST);
    world.effects.sleep(HOUR).await;
    let (after, _) = world.issue(LONGEST);
    assert_eq!(count(), 2);
    assert!(first.token.reveal()[..12] == before.token.reveal()[..12]);
    assert!(after.token.reveal()[..12] != before.token.reveal()[..12], "another key seals");
    let again = Tokens::open(world.dir.path(), &world.effects).unwrap();
    for issued in [&before, &after] {
        let looked = again.look(&issued.access_key, issued.token.reveal(), world.effects.now());
        assert_eq!(looked.map(|session| session.of), Ok(session.of.clone()));
    }
    world.effects.sleep(Duration::from_secs(7 * 24 * 3600)).await;
    world.issue(HOUR);
    assert_eq!(count(), 2, "what nothing holds of is gone");
    assert_eq!(world.look(&before.access_key, before.token.reveal()), Err(Untrue::Unknown));
    assert_eq!(world.look(&after.access_key, after.token.reveal()), Err(Untrue::Expired));
    fs::write(&path, r#"{"version":9,"keys":[]}"#).unwrap();
    assert!(matches!(Tokens::open(world.dir.path(), &world.effects), Err(TokenKeysError::Form(_))));
}

#[tokio::test(start_paused = true)]
async fn the_old_key_goes_on_while_no_other_can_be_written() {
    let world = world();
    let (first, _) = world.issue(HOUR);
    fs::remove_dir_all(world.dir.path()).unwrap();
    world.effects.sleep(Duration::from_secs(8 * 24 * 3600)).await;
    let (second, _) = world.issue(HOUR);
    assert_eq!(first.token.reveal()[..12], second.token.reveal()[..12]);
    assert!(world.look(&second.access_key, second.token.reveal()).is_ok());
    fs::create_dir(world.dir.path()).unwrap();
    let (third, _) = world.issue(HOUR);
    assert!(third.token.reveal()[..12] != second.token.reveal()[..12], "another one as soon as it can be written");
    assert!(world.look(&second.access_key, second.token.reveal()).is_ok());
}

#[test]
fn the_file_of_keys_is_read_by_other_versions() {
    let (dir, effects) = (tempfile::tempdir().unwrap(), Effects::simulated(7, Timestamp(1_790_000_000_000)));
    let path = dir.path().join(keys::FILE);
    Tokens::open(dir.path(), &effects).unwrap();
    let golden = include_str!("session-keys.golden.json");
    assert_eq!(fs::read_to_string(&path).unwrap(), golden.trim_end());
    fs::write(&path, golden).unwrap();
    Tokens::open(dir.path(), &effects).unwrap();
}

#[test]
fn what_is_sealed_is_read_by_other_versions() {
    let session = Session {
        account: account(),
        of: role(),
        secret: Plain::from("secret".to_owned()),
        issued: Timestamp(1),
        expires: Timestamp(2),
    };
    let written = String::from_utf8(session.write()).unwrap();
    let golden = r#"{"v":1,"d":{"account":"123456789012","of":{"role":{"role":"web","id":"AROAAAAAAAAAAAAAAAAAA","name":"session","policy":"{\"Version\":\"2012-10-17\",\"Statement\":[]}"}},"secret":"secret","issued":1,"expires":2}}"#;
    assert_eq!(written, golden);
    assert_eq!(Session::read(golden.as_bytes()), Some(session.clone()));
    assert_eq!(Session::read(golden.replacen("\"v\":1", "\"v\":2", 1).as_bytes()), None);
    assert!(!format!("{session:?}").contains("secret\")"), "{session:?}");
}

#[test]
fn access_keys_say_whose_they_are() {
    for number in ["000000000000", "123456789012", "999999999999"] {
        let account = AccountId::parse(number).unwrap();
        for chance in [[0; 5], [255; 5], [1, 2, 3, 4, 5]] {
            let key = access_key(&account, chance);
            assert!(is_temporary(&key) && key.len() == 20, "{key}");
            assert_eq!(account_in(&key), Some(account.clone()), "{key}");
        }
    }
    for wrong in ["AKIAAAAAAAAAAAAAAAAA", "ASIA", "ASIA0000000000000000", ""] {
        assert_eq!(account_in(wrong), None, "{wrong}");
    }
}
