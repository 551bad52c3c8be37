//! AWS's published vectors, what botocore signs, and the law: what we sign we accept, and nothing else.

use http::Request;
use http::request::Parts;
use proptest::prelude::*;
use serde::Deserialize;

use super::{Credentials, Presented, Refusal, Scope, SigningKey, presign, sign};
use crate::Timestamp;
use crate::schema::Protocol;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2015-08-30T12:36:00Z, the moment of the published vectors.
const THEN: Timestamp = Timestamp::from_millis(1_440_938_160_000);

fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn verify(parts: &Parts, body: &[u8], service: &str, now: Timestamp) -> Result<Scope, Refusal> {
    let presented = Presented::parse(parts)?;
    if presented.scope.access_key != "AKIDEXAMPLE" {
        return Err(Refusal::UnknownKey);
    }
    let key = SigningKey::derive(SECRET, &presented.scope);
    presented.verify(parts, body, &key, service, now).map(|()| presented.scope)
}

/// A request of the published suite: `GET` or `POST` for `service` in us-east-1 with the suite's key and time.
fn vector(method: &str, uri: &str, more: &[(&str, &str)], body: &str, signed: &str, signature: &str) {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
         SignedHeaders={signed}, Signature={signature}"
    );
    let mut headers = vec![("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
    headers.extend_from_slice(more);
    headers.push(("authorization", &authorization));
    let parts = parts(method, uri, &headers);
    assert!(verify(&parts, body.as_bytes(), "service", THEN).is_ok(), "{method} {uri} {more:?}");
}

#[test]
fn published_vectors_verify() {
    let plain = "host;x-amz-date";
    vector("GET", "/", &[], "", plain, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    vector("POST", "/", &[], "", plain, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
    vector(
        "GET",
        "/?Param2=value2&Param1=value1",
        &[],
        "",
        plain,
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    );
    vector(
        "GET",
        "/",
        &[("my-header1", "value2"), ("my-header1", "value2"), ("my-header1", "value1")],
        "",
        "host;my-header1;x-amz-date",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    );
    vector(
        "GET",
        "/",
        &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
        "",
        "host;my-header1;my-header2;x-amz-date",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    );
    vector(
        "POST",
        "/",
        &[("content-type", "application/x-www-form-urlencoded")],
        "Param1=value1",
        "content-type;host;x-amz-date",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    );
}

#[derive(Deserialize)]
struct Signatures {
    access_key: String,
    now: f64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    service: String,
    method: String,
    url: String,
    body: String,
    token: Option<String>,
    headers: std::collections::BTreeMap<String, String>,
}

#[test]
fn what_botocore_signs_is_accepted() {
    let file: Signatures = serde_json::from_str(include_str!("../../tests/data/signatures.json")).unwrap();
    let now = Timestamp::from_seconds(file.now);
    assert_eq!(file.cases.len(), 14);
    for case in file.cases {
        let authority = case.url.parse::<http::Uri>().unwrap().authority().unwrap().to_string();
        let mut headers: Vec<(&str, &str)> = vec![("host", &authority)];
        headers.extend(case.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let asked = parts(&case.method, &case.url, &headers);
        let presented = Presented::parse(&asked).unwrap();
        assert_eq!(presented.session_token, case.token);
        assert_eq!((&presented.scope.access_key, &presented.scope.service), (&file.access_key, &case.service));
        let told = verify(&asked, case.body.as_bytes(), &case.service, now);
        assert!(told.is_ok(), "{} {}: {told:?}", case.method, case.url);
        let told = verify(&asked, b"another body", &case.service, now);
        assert_eq!(told, Err(Refusal::Mismatch), "{} {}", case.method, case.url);
    }
}

fn signed(token: Option<&str>) -> Parts {
    let headers = [
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", "AmazonEC2ContainerServiceV20141113.RunTask"),
    ];
    let mut parts = parts("POST", "http://127.0.0.1:4566/", &headers);
    sign(&mut parts, b"{}", &credentials(token), ("us-east-1", "ecs"), THEN).unwrap();
    parts
}

fn credentials(token: Option<&str>) -> Credentials {
    Credentials {
        access_key: "AKIDEXAMPLE".to_owned(),
        secret_key: SECRET.to_owned(),
        session_token: token.map(str::to_owned),
    }
}

#[test]
fn refusals_say_why() {
    let later = |seconds: i64| Timestamp::from_millis(THEN.as_millis() + seconds * 1000);
    let at = |now| verify(&signed(None), b"{}", "ecs", now);
    assert!(at(later(300)).is_ok() && at(later(-300)).is_ok());
    let expired =
        "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T124101Z - 5 min.)";
    assert_eq!(at(later(301)), Err(Refusal::Expired(expired.to_owned())));
    let early =
        "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T123059Z + 5 min.)";
    assert_eq!(at(later(-301)), Err(Refusal::NotCurrent(early.to_owned())));

    let scoped = verify(&signed(None), b"{}", "logs", THEN);
    assert!(matches!(scoped, Err(Refusal::NotCurrent(text)) if text.contains("correct service: 'logs'")));
    assert_eq!(Presented::parse(&parts("POST", "/", &[("host", "h")])), Err(Refusal::Missing));

    let with = |authorization: &str| {
        let mut parts = signed(None);
        parts.headers.insert("authorization", authorization.parse().unwrap());
        let Err(Refusal::Incomplete(text)) = verify(&parts, b"{}", "ecs", THEN) else { panic!("{authorization}") };
        text
    };
    assert_eq!(with("Bearer x"), "Unsupported AWS 'algorithm': 'Bearer'.");
    let lacking = with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/ecs/aws4_request");
    assert_eq!(
        lacking,
        "Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter."
    );
    let credential = with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/ecs, SignedHeaders=host, Signature=00");
    assert!(credential.starts_with("Credential must have exactly 5 slash-delimited elements"), "{credential}");
    let scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/ecs/aws4_request";
    let hostless = with(&format!("{scope}, SignedHeaders=x-amz-date;x-amz-target, Signature=00"));
    assert!(hostless.starts_with("'Host' or ':authority'"), "{hostless}");
    let aimless = with(&format!("{scope}, SignedHeaders=host;x-amz-date, Signature=00"));
    assert!(aimless.starts_with("'X-Amz-Target'"), "{aimless}");
}

#[test]
fn a_stated_body_hash_must_be_the_bodys() {
    let stated = |hash: &str| {
        let mut parts = parts("POST", "http://h/", &[("x-amz-content-sha256", hash)]);
        sign(&mut parts, b"{}", &credentials(None), ("us-east-1", "ecs"), THEN).unwrap();
        verify(&parts, b"{}", "ecs", THEN)
    };
    assert!(stated(&super::key::sha256_hex(b"{}")).is_ok());
    assert_eq!(stated(&super::key::sha256_hex(b"{ }")), Err(Refusal::Mismatch));
    // Stating it unsigned afterwards does not help: the text that was signed held the body's hash.
    let mut replayed = signed(None);
    replayed.headers.insert("x-amz-content-sha256", "UNSIGNED-PAYLOAD".parse().unwrap());
    assert_eq!(verify(&replayed, b"{\"count\":9}", "ecs", THEN), Err(Refusal::Mismatch));
}

#[test]
fn a_websocket_upgrade_signs_only_host_and_date() {
    let mut upgrade = parts("GET", "http://h/ws?agentHash=x&cluster=a%2Fb", &[]);
    sign(&mut upgrade, b"", &credentials(None), ("us-east-1", "ecs"), THEN).unwrap();
    upgrade.headers.insert("upgrade", "websocket".parse().unwrap());
    let scope = verify(&upgrade, b"", "ecs", THEN).unwrap();
    assert_eq!(scope, Scope::claimed(&upgrade).unwrap());
}

#[test]
fn a_presigned_link_lives_as_long_as_it_says() {
    let mut link = parts("GET", "http://127.0.0.1:4566/?Action=GetCallerIdentity&Version=2011-06-15", &[]);
    presign(&mut link, &credentials(Some("a+b/c=")), ("us-east-1", "sts"), THEN, 3600).unwrap();
    let at = |seconds: i64| verify(&link, b"", "sts", Timestamp::from_millis(THEN.as_millis() + seconds * 1000));
    assert!(at(0).is_ok() && at(3600).is_ok());
    assert!(matches!(at(3601), Err(Refusal::Expired(_))));
    let uri = link.uri.to_string();
    let longer: http::Uri = uri.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200").parse().unwrap();
    link.uri = longer;
    assert_eq!(verify(&link, b"", "sts", THEN), Err(Refusal::Mismatch));
}

#[test]
fn http2_names_its_host_in_the_uri() {
    let mut parts = signed(None);
    parts.headers.remove("host");
    assert!(verify(&parts, b"{}", "ecs", THEN).is_ok());
}

#[test]
fn each_protocol_has_its_own_code() {
    let check = |refusal: Refusal, protocol: Protocol, code: &str, status: u16| {
        let error = refusal.error(protocol);
        assert_eq!((&*error.code, error.status), (code, status), "{refusal:?} {protocol:?}");
    };
    check(Refusal::Missing, Protocol::AwsJson11, "MissingAuthenticationTokenException", 400);
    check(Refusal::UnknownKey, Protocol::AwsJson11, "UnrecognizedClientException", 400);
    check(Refusal::Mismatch, Protocol::AwsJson10, "InvalidSignatureException", 400);
    check(Refusal::Mismatch, Protocol::AwsQuery, "SignatureDoesNotMatch", 403);
    check(Refusal::UnknownKey, Protocol::AwsQuery, "InvalidClientTokenId", 403);
    check(Refusal::Mismatch, Protocol::Ec2Query, "AuthFailure", 401);
    check(Refusal::ExpiredToken, Protocol::Ec2Query, "RequestExpired", 400);
}

#[test]
fn secrets_are_not_debugged() {
    let key = SigningKey::derive(SECRET, &Scope::parse("A/20150830/r/s/aws4_request").unwrap());
    let text = format!("{key:?} {:?}", credentials(Some("token")));
    assert!(!text.contains("token") && !text.contains(SECRET) && text.contains("AKIDEXAMPLE"), "{text}");
}

proptest! {
    #[test]
    fn what_we_sign_we_accept(
        path in "/[a-zA-Z0-9_.~%-]{0,2}[a-z]{0,9}(/[a-z~ ]{1,5})?",
        query in proptest::collection::vec(("[a-zA-Z.]{1,8}", "\\PC{0,8}"), 0..5),
        body in proptest::collection::vec(any::<u8>(), 0..64),
        token in proptest::option::of("[A-Za-z0-9+/=]{1,40}"),
        header in "[ -~]{0,20}",
    ) {
        let path = path.replace('%', "%25").replace(' ', "%20");
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let uri = format!("http://localhost:4566{path}?{query}");
        let mut asked = parts("POST", &uri, &[("x-amz-meta", header.as_str())]);
        sign(&mut asked, &body, &credentials(token.as_deref()), ("us-east-1", "ecs"), THEN).unwrap();
        prop_assert!(verify(&asked, &body, "ecs", THEN).is_ok());
    }

    #[test]
    fn one_changed_byte_is_refused(at in 0usize..1000, flip in 1u8..=255) {
        let asked = signed(Some("session"));
        let body = b"{}";
        // Every byte of what the signature covers, and of the signature itself, in one row.
        let names = ["authorization", "content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target"];
        let lengths: Vec<usize> = names.iter().map(|name| asked.headers[*name].len()).collect();
        let mut at = at % (lengths.iter().sum::<usize>() + body.len());
        let mut changed = asked.clone();
        for (name, length) in names.iter().zip(&lengths) {
            if at < *length {
                let mut value = asked.headers[*name].as_bytes().to_vec();
                // Letters of another case mean the same in hexadecimal and in the names of headers.
                prop_assume!(!(*name == "authorization" && (value[at] ^ flip).eq_ignore_ascii_case(&value[at])));
                value[at] ^= flip;
                let text = String::from_utf8_lossy(&value).into_owned();
                prop_assume!(text.split_whitespace().ne(asked.headers[*name].to_str().unwrap().split_whitespace()));
                // Between the parameters blanks are free.
                prop_assume!(*name != "authorization" || asked.headers[*name].as_bytes()[at] != b' ');
                let Ok(value) = http::HeaderValue::from_bytes(&value) else { return Ok(()) };
                changed.headers.insert(*name, value);
                prop_assert!(verify(&changed, body, "ecs", THEN).is_err(), "{} {}", name, text);
                return Ok(());
            }
            at -= length;
        }
        let mut other = body.to_vec();
        other[at] ^= flip;
        prop_assert_eq!(verify(&changed, &other, "ecs", THEN), Err(Refusal::Mismatch));
    }
}
