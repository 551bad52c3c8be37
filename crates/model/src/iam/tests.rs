use super::*;
use crate::{
    Tags, Timestamp,
    policy::{Document, Kind},
};

const ALLOW: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecs:*","Resource":"*"}}"#;
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole",
    "Principal":{"Service":"ecs-tasks.amazonaws.com"}}}"#;

fn account() -> AccountId {
    AccountId::parse("000000000000").unwrap()
}

fn user(name: &str) -> User {
    User {
        account: account(),
        name: name.into(),
        path: "/".into(),
        id: "AIDAABCDEFGHIJKLMNOPQ".into(),
        created_at: Timestamp(1),
        tags: Tags::default(),
        permissions: Permissions::default(),
    }
}

fn key(id: &str, user: &str) -> AccessKey {
    AccessKey {
        account: account(),
        id: id.into(),
        user: user.into(),
        status: KeyStatus::Active,
        created_at: Timestamp(1),
        secret: crate::vault::Sealed { key: "k".into(), wrapped: "a".into(), text: "b".into() },
    }
}

fn role(name: &str) -> Role {
    Role {
        account: account(),
        name: name.into(),
        path: "/".into(),
        id: "AROAABCDEFGHIJKLMNOPQ".into(),
        created_at: Timestamp(1),
        description: None,
        trust: TRUST.into(),
        max_session_seconds: 3600,
        tags: Tags::default(),
        permissions: Permissions::default(),
    }
}

fn policy(name: &str) -> Policy {
    let first = PolicyVersion { number: 1, document: ALLOW.into(), created_at: Timestamp(1) };
    Policy {
        account: account(),
        name: name.into(),
        path: "/team/".into(),
        id: "ANPAABCDEFGHIJKLMNOPQ".into(),
        description: None,
        created_at: Timestamp(1),
        updated_at: Timestamp(1),
        tags: Tags::default(),
        default_version: 1,
        last_version: 1,
        versions: vec![first],
    }
}

fn profile(name: &str) -> InstanceProfile {
    InstanceProfile {
        account: account(),
        name: name.into(),
        path: "/".into(),
        id: "AIPAABCDEFGHIJKLMNOPQ".into(),
        created_at: Timestamp(1),
        tags: Tags::default(),
        role: None,
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>, code: &str, words: &str) {
    let refusal = result.unwrap_err();
    assert_eq!((refusal.code(), refusal.to_string().as_str()), (code, words));
}

fn tags(pairs: &[(&str, &str)]) -> Result<Tags, Refusal> {
    parse_tags(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
}

#[test]
fn the_policies_of_aws_are_policies() {
    let mut ids = BTreeSet::new();
    for known in managed::POLICIES {
        Document::parse(known.document, Kind::Managed).unwrap_or_else(|e| panic!("{}: {e}", known.name));
        assert_eq!(managed::find(&known.arn()), Some(known));
        assert!(ids.insert(known.id()) && known.id().len() == 21, "{}", known.id());
    }
    assert!(managed::find("arn:aws:iam::aws:policy/AmazonECSTaskExecutionRolePolicy").is_none(), "its path is missing");
    assert!(managed::find("arn:aws:iam::000000000000:policy/AdministratorAccess").is_none());
}

#[test]
fn users_and_their_keys() {
    let mut edit = Edit::new(Directory::default());
    edit.create_user(user("ada")).unwrap();
    refused(edit.create_user(user("Ada")), "EntityAlreadyExists", "User with name Ada already exists.");
    refused(edit.create_access_key(key("AKIA1", "eve")), "NoSuchEntity", "The user with name eve cannot be found.");
    edit.create_access_key(key("AKIA1", "ada")).unwrap();
    edit.create_access_key(key("AKIA2", "ada")).unwrap();
    refused(
        edit.create_access_key(key("AKIA3", "ada")),
        "LimitExceeded",
        "Cannot exceed quota for AccessKeysPerUser: 2",
    );
    edit.set_access_key("ada", "AKIA2", KeyStatus::Inactive).unwrap();
    refused(
        edit.set_access_key("ada", "AKIA9", KeyStatus::Active),
        "NoSuchEntity",
        "The Access Key with id AKIA9 cannot be found.",
    );
    edit.update_user("ada", Some("grace"), Some("/navy/")).unwrap();
    assert_eq!(edit.directory().user("grace").unwrap().arn(), "arn:aws:iam::000000000000:user/navy/grace");
    assert_eq!(edit.directory().access_keys_of("grace").len(), 2);
    refused(edit.delete_user("ada"), "NoSuchEntity", "The user with name ada cannot be found.");
    refused(edit.delete_user("grace"), "DeleteConflict", "Cannot delete entity, must delete access keys first.");
    edit.delete_access_key("grace", "AKIA1").unwrap();
    edit.delete_access_key("grace", "AKIA2").unwrap();
    edit.put_inline(Holder::User("grace"), "own", ALLOW).unwrap();
    refused(edit.delete_user("grace"), "DeleteConflict", "Cannot delete entity, must delete policies first.");
    edit.delete_inline(Holder::User("grace"), "own").unwrap();
    refused(
        edit.delete_inline(Holder::User("grace"), "own"),
        "NoSuchEntity",
        "The user policy with name own cannot be found.",
    );
    edit.delete_user("grace").unwrap();
    assert!(audit(edit.directory()).is_empty());
}

#[test]
fn roles_and_profiles() {
    let mut edit = Edit::new(Directory::default());
    refused(
        edit.create_role(Role { trust: "{".into(), ..role("web") }),
        "MalformedPolicyDocument",
        "This policy contains invalid Json",
    );
    edit.create_role(role("web")).unwrap();
    refused(edit.create_role(role("WEB")), "EntityAlreadyExists", "Role with name WEB already exists.");
    edit.create_profile(profile("machine")).unwrap();
    refused(edit.add_role_to_profile("machine", "none"), "NoSuchEntity", "The role with name none cannot be found.");
    edit.add_role_to_profile("machine", "web").unwrap();
    refused(
        edit.add_role_to_profile("machine", "web"),
        "LimitExceeded",
        "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1",
    );
    let words = "Cannot delete entity, must remove roles from instance profile first.";
    refused(edit.delete_role("web"), "DeleteConflict", words);
    refused(edit.delete_profile("machine"), "DeleteConflict", words);
    edit.remove_role_from_profile("machine", "web").unwrap();
    edit.delete_profile("machine").unwrap();

    let execution = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy";
    edit.attach(Holder::Role("web"), execution).unwrap();
    refused(edit.delete_role("web"), "DeleteConflict", "Cannot delete entity, must detach all policies first.");
    refused(
        edit.attach(Holder::Role("web"), "arn:aws:iam::aws:policy/Nothing"),
        "NoSuchEntity",
        "Policy arn:aws:iam::aws:policy/Nothing does not exist or is not attachable.",
    );
    edit.detach(Holder::Role("web"), execution).unwrap();
    refused(edit.detach(Holder::Role("web"), execution), "NoSuchEntity", &format!("Policy {execution} was not found."));

    let big = |letters: usize| ALLOW.replace("ecs:*", &format!("ecs:{}", "A".repeat(letters)));
    refused(
        edit.put_inline(Holder::Role("web"), "big", &big(10_240)),
        "LimitExceeded",
        "Maximum policy size of 10240 bytes exceeded for role web",
    );
    edit.put_inline(Holder::Role("web"), "big", &format!("{}{}", " ".repeat(20_000), big(5_000))).unwrap();
    edit.tag_role("web", tags(&[("Team", "a")]).unwrap()).unwrap();
    edit.tag_role("web", tags(&[("team", "b")]).unwrap()).unwrap();
    assert_eq!(edit.directory().role("web").unwrap().tags, tags(&[("team", "b")]).unwrap());
    edit.untag_role("web", &["TEAM".to_owned()]).unwrap();
    assert!(edit.directory().role("web").unwrap().tags.0.is_empty());
    refused(
        tags(&[("Team", "a"), ("team", "b")]),
        "InvalidInput",
        "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
    );

    let linked = Role { path: "/aws-service-role/ecs.amazonaws.com/".into(), ..role("AWSServiceRoleForECS") };
    edit.create_role(linked).unwrap();
    refused(
        edit.delete_role("AWSServiceRoleForECS"),
        "UnmodifiableEntity",
        "Cannot perform the operation on the protected role 'AWSServiceRoleForECS' - this role is only modifiable by AWS",
    );
    edit.delete_service_linked_role("AWSServiceRoleForECS").unwrap();
    assert!(audit(edit.directory()).is_empty());
}

#[test]
fn managed_policies_and_their_versions() {
    let mut edit = Edit::new(Directory::default());
    edit.create_role(role("web")).unwrap();
    edit.create_policy(policy("deploy")).unwrap();
    refused(
        edit.create_policy(Policy { path: "/".into(), ..policy("deploy") }),
        "EntityAlreadyExists",
        "A policy called deploy already exists. Duplicate names are not allowed.",
    );
    let arn = "arn:aws:iam::000000000000:policy/team/deploy";
    edit.attach(Holder::Role("web"), arn).unwrap();
    assert_eq!(edit.directory().holders_of(arn).collect::<Vec<_>>(), [Holder::Role("web")]);
    for number in 2..=5 {
        assert_eq!(edit.add_policy_version(arn, ALLOW, number == 3, Timestamp(2)), Ok(number));
    }
    refused(
        edit.add_policy_version(arn, ALLOW, false, Timestamp(2)),
        "LimitExceeded",
        "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.",
    );
    refused(edit.delete_policy(arn), "DeleteConflict", "Cannot delete a policy attached to entities.");
    edit.detach(Holder::Role("web"), arn).unwrap();
    assert_eq!(edit.delete_policy(arn).unwrap_err().code(), "DeleteConflict");
    refused(edit.delete_policy_version(arn, "v3"), "DeleteConflict", "Cannot delete the default version of a policy.");
    edit.set_default_version(arn, "v5", Timestamp(3)).unwrap();
    for version in ["v1", "v2", "v3", "v4"] {
        edit.delete_policy_version(arn, version).unwrap();
    }
    refused(
        edit.delete_policy_version(arn, "v1"),
        "NoSuchEntity",
        &format!("Policy {arn} version v1 does not exist or is not attachable."),
    );
    assert_eq!(edit.add_policy_version(arn, ALLOW, true, Timestamp(4)), Ok(6), "no number comes twice");
    edit.delete_policy_version(arn, "v5").unwrap();
    edit.delete_policy(arn).unwrap();
    assert_eq!(edit.delete_policy("arn:aws:iam::aws:policy/ReadOnlyAccess").unwrap_err().code(), "AccessDenied");
    assert!(audit(edit.directory()).is_empty());
}
