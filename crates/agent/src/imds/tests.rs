use super::*;
use crate::session::Questions;
use http_body_util::BodyExt;
use link::{Question, RoleCredentials};
use model::{MetadataOptions, vault::Plain};
use serde_json::Value;

fn facts(options: MetadataOptions) -> Facts {
    Facts {
        account: "123456789012".into(),
        region: "us-east-1".into(),
        availability_zone: "us-east-1a".into(),
        availability_zone_id: Some("use1-az1".into()),
        instance_id: "i-0123456789abcdef0".into(),
        instance_type: "t3.small".into(),
        image_id: "ami-1".into(),
        reservation_id: "r-1".into(),
        launch_index: 2,
        launched_at: Timestamp(1_790_000_000_123),
        private_ip: Ipv4Addr::new(172, 31, 0, 4),
        private_dns_name: "ip-172-31-0-4.ec2.internal".into(),
        mac: "02:4c:ac:1f:00:04".into(),
        vpc_id: "vpc-1".into(),
        vpc_cidr: "172.31.0.0/16".into(),
        subnet_id: "subnet-1".into(),
        subnet_cidr: Some("172.31.0.0/20".into()),
        security_groups: vec![("sg-1".into(), "default".into())],
        user_data: Some("IyEvYmlu\nL3NoCg==\n".into()),
        options,
        instance_profile: None,
    }
}

struct World {
    metadata: Arc<InstanceMetadata>,
    questions: Questions,
    effects: Effects,
    _dir: tempfile::TempDir,
}

fn world(options: MetadataOptions) -> World {
    world_of(facts(options))
}

fn world_of(facts: Facts) -> World {
    let (dir, effects) = (tempfile::tempdir().unwrap(), Effects::simulated(7, Timestamp(1_790_000_000_000)));
    let secret = Secret::open(dir.path(), &effects).unwrap();
    let questions = Questions::new(effects.clone());
    let roles = Roles::new(questions.clone(), secret.clone(), effects.clone());
    let metadata = InstanceMetadata::new(facts, secret, roles, effects.clone());
    World { metadata, questions, effects, _dir: dir }
}

impl World {
    /// Status and body; 0 where there is no answer.
    async fn ask(&self, method: Method, path: &str, headers: &[(&'static str, &str)], near: bool) -> (u16, String) {
        let headers = headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect();
        let Some(answer) = self.metadata.answer(&method, path, &headers, near).await else { return (0, String::new()) };
        let status = answer.status().as_u16();
        (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.ask(Method::GET, path, &[], true).await
    }

    async fn token(&self, seconds: &str, near: bool) -> (u16, String) {
        self.ask(Method::PUT, "/latest/api/token", &[(TTL_HEADER, seconds)], near).await
    }
}

#[tokio::test]
async fn an_instance_is_told_what_ec2_tells() {
    let world = world(MetadataOptions::default());
    let mac = "02:4c:ac:1f:00:04";
    let rows = [
        ("/", "latest"),
        ("/latest", "dynamic\nmeta-data\nuser-data"),
        ("/latest/meta-data/instance-id", "i-0123456789abcdef0"),
        ("/latest/meta-data/instance-type/", "t3.small"),
        ("/2021-07-15/meta-data/local-ipv4", "172.31.0.4"),
        ("/latest/meta-data/placement/", "availability-zone\navailability-zone-id\nregion"),
        ("/latest/meta-data/placement/region", "us-east-1"),
        ("/latest/meta-data/hostname", "ip-172-31-0-4.ec2.internal"),
        ("/latest/meta-data/security-groups", "default"),
        ("/latest/meta-data/services/domain", "amazonaws.com"),
        ("/latest/meta-data/network/interfaces/macs/", &format!("{mac}/")),
        (&format!("/latest/meta-data/network/interfaces/macs/{mac}/subnet-id"), "subnet-1"),
        (&format!("/latest/meta-data/network/interfaces/macs/{mac}/subnet-ipv4-cidr-block"), "172.31.0.0/20"),
        ("/latest/dynamic/instance-identity", "document"),
        ("/latest/user-data", "#!/bin/sh\n"),
    ];
    for (path, want) in rows {
        assert_eq!(world.get(path).await, (200, want.to_owned()), "{path}");
    }
    let (_, listing) = world.get("/latest/meta-data/").await;
    assert!(listing.starts_with("ami-id\nami-launch-index\n") && listing.contains("\nplacement/\n"), "{listing}");
    let (_, document) = world.get("/latest/dynamic/instance-identity/document").await;
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(
        (&document["accountId"], &document["pendingTime"]),
        (&"123456789012".into(), &"2026-09-21T14:13:20Z".into())
    );
    assert_eq!(document.as_object().unwrap().len(), 15);
    for missing in ["/latest/meta-data/iam/security-credentials/", "/latest/meta-data/outpost-arn", "/x/meta-data/mac"]
    {
        assert_eq!(world.get(missing).await.0, 404, "{missing}");
    }
    assert_eq!(world.ask(Method::POST, "/latest/meta-data/", &[], true).await.0, 405);
}

#[tokio::test(start_paused = true)]
async fn tokens_hold_as_long_as_they_say() {
    let world = world(MetadataOptions { tokens_required: true, ..MetadataOptions::default() });
    assert_eq!(world.get("/latest/meta-data/mac").await.0, 401);
    for bad in ["0", "21601", "", "-1", "soon"] {
        assert_eq!(world.token(bad, true).await.0, 400, "{bad}");
    }
    assert_eq!(world.ask(Method::PUT, "/latest/api/token", &[], true).await.0, 400);
    let proxied = [(TTL_HEADER, "60"), ("x-forwarded-for", "10.0.0.1")];
    assert_eq!(world.ask(Method::PUT, "/latest/api/token", &proxied, true).await.0, 403);

    let (status, token) = world.token("60", true).await;
    assert_eq!((status, token.len()), (200, 48));
    let world = &world;
    let with = |token: String| async move {
        world.ask(Method::GET, "/latest/meta-data/mac", &[(TOKEN_HEADER, &token)], true).await.0
    };
    assert_eq!(with(token.clone()).await, 200);
    // One that would hold for longer is not to be had by writing it.
    assert_eq!(with(format!("7{}", &token[1..])).await, 401);
    assert_eq!(with("nonsense".into()).await, 401);
    world.effects.sleep(Duration::from_secs(61)).await;
    assert_eq!(with(token).await, 401);
}

#[tokio::test]
async fn options_decide_who_is_let_in() {
    let hops = |hop_limit| MetadataOptions { hop_limit, ..MetadataOptions::default() };
    let one = world(hops(1));
    assert_eq!(one.token("60", true).await.0, 200);
    assert_eq!(one.token("60", false).await.0, 0, "the answer does not get that far");
    assert_eq!(one.ask(Method::GET, "/latest/meta-data/mac", &[], false).await.0, 200, "only tokens have a limit");
    assert_eq!(world(hops(2)).token("60", false).await.0, 200);
    let off = world(MetadataOptions { enabled: false, ..MetadataOptions::default() });
    assert_eq!((off.get("/latest/meta-data/mac").await.0, off.token("60", true).await.0), (403, 403));
}

#[tokio::test]
async fn an_instance_with_a_profile_has_its_roles_credentials() {
    let profile = ProfileFacts { arn: "arn:aws:iam::123456789012:instance-profile/p".into(), id: "AIPA1".into() };
    let world = world_of(Facts { instance_profile: Some(profile), ..facts(MetadataOptions::default()) });
    let (_, listing) = world.get("/latest/meta-data/").await;
    assert!(listing.contains("\niam/\n"), "{listing}");
    let credentials = RoleCredentials {
        role: "arn:aws:iam::123456789012:role/team/web".into(),
        access_key: "ASIA1".into(),
        secret: Plain::from("s".to_owned()),
        token: Plain::from("t".to_owned()),
        issued: Timestamp(1_790_000_000_000),
        expires: Timestamp(1_790_000_060_000),
    };
    let served = async {
        let asked = world.questions.next().await;
        assert_eq!(asked.question, Question::InstanceCredentials {});
        drop(asked.told.send(link::Answer::Credentials(credentials)));
    };
    let (name, ()) = tokio::join!(world.get("/latest/meta-data/iam/security-credentials/"), served);
    assert_eq!(name, (200, "web".to_owned()));
    let (status, told) = world.get("/latest/meta-data/iam/security-credentials/web").await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((status, &told["Code"], &told["AccessKeyId"]), (200, &"Success".into(), &"ASIA1".into()));
    assert_eq!((&told["Token"], &told["Expiration"]), (&"t".into(), &"2026-09-21T14:14:20Z".into()));
    let (_, info) = world.get("/latest/meta-data/iam/info").await;
    assert!(info.contains("instance-profile/p") && info.contains("AIPA1"), "{info}");
    for missing in ["iam/security-credentials/other", "iam/none", "iam/info/x"] {
        assert_eq!(world.get(&format!("/latest/meta-data/{missing}")).await.0, 404, "{missing}");
    }
}
