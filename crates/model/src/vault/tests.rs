use super::{
    env_file::{Place, added, variables},
    *,
};
use crate::{AccountId, Region, Tags, Timestamp};

fn scope() -> Scope {
    Scope { account: AccountId::parse("123456789012").unwrap(), region: Region::parse("eu-central-1").unwrap() }
}

fn secret(name: &str, suffix: &str) -> Secret {
    Secret {
        scope: scope(),
        name: name.into(),
        suffix: suffix.into(),
        description: None,
        created_at: Timestamp(1),
        changed_at: Timestamp(1),
        delete_at: None,
        tags: Tags::default(),
        versions: Vec::new(),
    }
}

fn stages(secret: &Secret) -> Vec<(&str, Vec<&str>)> {
    secret.versions.iter().map(|v| (v.id.as_str(), v.stages.iter().map(String::as_str).collect())).collect()
}

#[test]
fn the_newest_value_is_current_and_the_one_before_previous() {
    let mut secret = secret("db", "AbCdEf");
    for id in ["a", "b", "c"] {
        assert_eq!(secret.add(id, &[], Timestamp(2)), Ok(vec![]));
    }
    assert_eq!(stages(&secret), [("a", vec![]), ("b", vec![PREVIOUS]), ("c", vec![CURRENT])]);
    secret.add("d", &[PENDING.to_owned()], Timestamp(3)).unwrap();
    assert_eq!(secret.asked(None, None).unwrap().id, "c");
    assert_eq!(secret.asked(None, Some(PENDING)).unwrap().id, "d");
    assert_eq!(secret.asked(Some("b"), Some(CURRENT)), Err(SecretRefusal::StageOfAnother));
    assert_eq!(secret.asked(Some("x"), None), Err(SecretRefusal::NoVersion("x".into())));
    assert_eq!(secret.asked(None, Some("mine")), Err(SecretRefusal::NoStage("mine".into())));
    // The first is current, whatever it is given.
    let mut first = self::secret("x", "AbCdEf");
    first.add("a", &["mine".to_owned()], Timestamp(2)).unwrap();
    assert_eq!(stages(&first), [("a", vec![CURRENT, "mine"])]);
}

#[test]
fn labels_move_as_they_may() {
    let made = || {
        let mut secret = secret("db", "AbCdEf");
        for id in ["a", "b", "c"] {
            secret.add(id, &[], Timestamp(2)).unwrap();
        }
        secret
    };
    // (label, from, to), and what the versions a, b and c have then; nothing where it is refused.
    type Row = (&'static str, Option<&'static str>, Option<&'static str>, Option<[&'static [&'static str]; 3]>);
    let rows: [Row; 9] = [
        (CURRENT, Some("c"), Some("a"), Some([&[CURRENT], &[], &[PREVIOUS]])),
        (CURRENT, Some("c"), Some("b"), Some([&[], &[CURRENT], &[PREVIOUS]])),
        (CURRENT, None, Some("a"), None),
        (CURRENT, Some("b"), Some("a"), None),
        (CURRENT, Some("c"), None, None),
        (PREVIOUS, Some("b"), None, Some([&[], &[], &[CURRENT]])),
        ("mine", None, Some("a"), Some([&["mine"], &[PREVIOUS], &[CURRENT]])),
        ("mine", None, None, None),
        ("mine", Some("a"), Some("b"), None),
    ];
    for (stage, from, to, want) in rows {
        let mut secret = made();
        let done = secret.move_stage(stage, from, to, Timestamp(3));
        assert_eq!(done.is_ok(), want.is_some(), "{stage} {from:?} {to:?}: {done:?}");
        if let Some(want) = want {
            let got: Vec<Vec<&str>> = stages(&secret).into_iter().map(|(_, stages)| stages).collect();
            assert_eq!(got, want.map(<[_]>::to_vec), "{stage} {from:?} {to:?}");
        }
    }
}

#[test]
fn old_versions_without_labels_go() {
    let mut secret = secret("db", "AbCdEf");
    secret.add("kept", &["keep".to_owned()], Timestamp(1)).unwrap();
    let mut gone = Vec::new();
    for n in 0..MAX_VERSIONS + 5 {
        gone.extend(secret.add(&format!("v{n}"), &[], Timestamp(2)).unwrap());
    }
    assert_eq!(secret.versions.len(), MAX_VERSIONS);
    assert_eq!(gone, ["v0", "v1", "v2", "v3", "v4", "v5"]);
    assert_eq!(secret.asked(None, Some("keep")).unwrap().id, "kept");
}

#[test]
fn secrets_are_found_by_name_and_by_whole_and_partial_arn() {
    let mut vault = Vault::default();
    for (name, suffix) in [("prod/db", "AbCdEf"), ("prod/db-Backup", "GhIjKl")] {
        vault.put(secret(name, suffix).into());
    }
    let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:";
    let rows = [
        ("prod/db".to_owned(), Some("prod/db")),
        (format!("{arn}prod/db-AbCdEf"), Some("prod/db")),
        (format!("{arn}prod/db"), Some("prod/db")),
        (format!("{arn}prod/db-Backup"), Some("prod/db-Backup")),
        (format!("{arn}prod/db-Backup-GhIjKl"), Some("prod/db-Backup")),
        (format!("{arn}prod/db-XXXXXX"), None),
        ("db".to_owned(), None),
        (arn.replace("eu-central-1", "us-east-1") + "prod/db", None),
        ("arn:aws:s3:::x".to_owned(), None),
    ];
    for (id, want) in rows {
        assert_eq!(find(&vault, &scope(), &id).ok().map(|s| s.name.as_str()), want, "{id}");
    }
    assert_eq!(find(&vault, &scope(), "prod/db").unwrap().arn(), format!("{arn}prod/db-AbCdEf"));
}

#[test]
fn names_of_parameters_follow_the_rules() {
    let deep = "/a".repeat(16);
    for (name, code) in [
        ("web", None),
        ("/web/db.host-1_x", None),
        ("web/db", Some("ValidationException")),
        ("aws.x", Some("ValidationException")),
        ("SSM-x", Some("ValidationException")),
        ("/ssm/x", Some("ValidationException")),
        ("/aws/x", Some("AccessDeniedException")),
        ("/awsx", None),
        ("/a//b", Some("ValidationException")),
        ("/", Some("ValidationException")),
        ("/a b", Some("ValidationException")),
        (deep.as_str(), Some("HierarchyLevelLimitExceededException")),
    ] {
        assert_eq!(check_name(name).err().map(|e| e.code()), code, "{name}");
    }
}

#[test]
fn parameters_are_selected_by_version_and_label() {
    let version = |n: u64| Some(Selector::Version(n));
    let label = |l: &str| Some(Selector::Label(l.to_owned()));
    let arn = "arn:aws:ssm:eu-central-1:123456789012:parameter/a/b";
    for (text, want) in [
        ("/a/b", ("/a/b", None)),
        ("/a/b:3", ("/a/b", version(3))),
        ("x:prod", ("x", label("prod"))),
        (arn, (arn, None)),
        (format!("{arn}:2").as_str(), (arn, version(2))),
    ] {
        assert_eq!(selected(text), want, "{text}");
    }
    assert_eq!(names_in(&scope(), arn), ["/a/b"]);
    assert_eq!(names_in(&scope(), "arn:aws:ssm:eu-central-1:123456789012:parameter/a"), ["a", "/a"]);
    assert!(names_in(&scope(), "arn:aws:ssm:us-east-1:123456789012:parameter/a").is_empty());
}

fn parameter() -> Parameter {
    let (scope, kind) = (scope(), ParameterKind::String);
    Parameter { scope, name: "/web".into(), kind, tags: Tags::default(), versions: vec![put(1)] }
}

fn put(number: u64) -> ParameterVersion {
    ParameterVersion {
        number,
        modified_at: Timestamp(1),
        modified_by: "me".into(),
        description: None,
        allowed_pattern: None,
        labels: Vec::new(),
    }
}

#[test]
fn a_hundred_versions_are_kept_and_labelled_ones_are_in_the_way() {
    let mut parameter = parameter();
    for number in 2..=MAX_HISTORY as u64 {
        assert_eq!(parameter.add(put(number)), Ok(None));
    }
    assert_eq!(parameter.add(put(101)), Ok(Some(1)));
    assert_eq!(parameter.label(2, &["prod".to_owned()]), Ok(vec![]));
    assert_eq!(parameter.add(put(102)).map_err(|e| e.code()), Err("ParameterMaxVersionLimitExceeded"));
    assert_eq!(parameter.label(3, &["prod".to_owned()]), Ok(vec![]));
    assert_eq!(parameter.asked(Some(&Selector::Label("prod".into()))).map(|v| v.number), Ok(3));
    assert_eq!(parameter.label(3, &["1st".to_owned(), "awsx".to_owned()]), Ok(vec!["1st".into(), "awsx".into()]));
    assert_eq!(parameter.add(put(102)), Ok(Some(2)));
}

#[test]
fn what_value_from_names() {
    let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-AbCdEf";
    let secret = |json_key: &str, stage: &str, version: &str| {
        let given = |t: &str| Some(t.to_owned()).filter(|t| !t.is_empty());
        SecretReference::Secret {
            scope: scope(),
            arn: arn.into(),
            json_key: given(json_key),
            stage: given(stage),
            version: given(version),
        }
    };
    let parameter = |name: &str, scope| SecretReference::Parameter { scope, name: name.into() };
    let own = "arn:aws:ssm:eu-central-1:123456789012:parameter/web/db";
    for (text, want) in [
        (arn, Some(secret("", "", ""))),
        (format!("{arn}:user::").as_str(), Some(secret("user", "", ""))),
        (format!("{arn}:user:AWSPREVIOUS:").as_str(), Some(secret("user", "AWSPREVIOUS", ""))),
        (format!("{arn}:::v").as_str(), Some(secret("", "", "v"))),
        (format!("{arn}:user").as_str(), None),
        ("/web/db", Some(parameter("/web/db", None))),
        ("db:3", Some(parameter("db:3", None))),
        (own, Some(parameter(own, Some(scope())))),
        ("", None),
        ("a b", None),
        ("arn:aws:s3:::bucket/x", None),
        ("arn:aws:secretsmanager:eu-central-1:123456789012:secret:", None),
    ] {
        assert_eq!(SecretReference::parse(text).ok(), want, "{text}");
    }
}

#[test]
fn environment_files_are_read_as_the_original_does() {
    let text = "A=1\n#B=2\n C=3\nD\nE=\n=F\nG=a=b \nA=4\r\n";
    let read = variables(text);
    let want = [(" C", "3"), ("A", "4"), ("G", "a=b ")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(read.into_iter().collect::<Vec<_>>(), want);
    let file = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let own = [("A".to_owned(), "own".to_owned())];
    let all = added(&own, [file(&[("A", "1"), ("B", "1")]), file(&[("B", "2"), ("C", "2")])]);
    assert_eq!(all, file(&[("B", "1"), ("C", "2")]));
}

#[test]
fn no_environment_file_leads_elsewhere() {
    let place = |bucket: &str, key: &str| Some(Place { bucket: bucket.into(), key: key.into() });
    for (arn, want) in [
        ("arn:aws:s3:::config/web/prod.env", place("config", "web/prod.env")),
        ("arn:aws:s3:::config/.env", place("config", ".env")),
        ("arn:aws:s3:::config/../x.env", None),
        ("arn:aws:s3:::config/a/../../x.env", None),
        ("arn:aws:s3:::config//etc/x.env", None),
        ("arn:aws:s3:::config/./x.env", None),
        ("arn:aws:s3:::../x.env", None),
        ("arn:aws:s3:::config/a\\x.env", None),
        ("arn:aws:s3:::config/x.txt", None),
        ("arn:aws:s3:::config", None),
        ("arn:aws:ec2:::config/x.env", None),
        ("config/x.env", None),
    ] {
        assert_eq!(Place::parse(arn).ok(), want, "{arn}");
    }
}

#[test]
fn nothing_shows_what_is_plain() {
    let plain = Plain::from("hunter2".to_owned());
    assert_eq!(format!("{plain:?}"), "***");
    assert_eq!(plain.reveal(), "hunter2");
}
