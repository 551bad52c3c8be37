use super::*;
use proptest::prelude::*;

const HEAD: &str = r#"{"Version":"2012-10-17","Statement":"#;

fn keys(pairs: &[(&str, &str)]) -> Keys {
    let mut keys = Keys::new();
    for (key, value) in pairs {
        keys.set(key, *value);
    }
    keys
}

fn identity(statements: &str) -> Document {
    Document::parse(&format!("{HEAD}{statements}}}"), Kind::Inline).unwrap_or_else(|e| panic!("{statements}: {e}"))
}

fn asks(document: &Document, action: &str, resource: &str, keys: &Keys) -> Result<(), Denial> {
    decide([document], &Request { action, resource: resource.into(), keys })
}

#[test]
fn an_explicit_deny_wins_and_what_nothing_allows_is_denied() {
    let allow = identity(r#"{"Effect":"Allow","Action":["ecs:*","logs:Get*"],"Resource":"*"}"#);
    let deny = identity(r#"{"Effect":"Deny","Action":"ecs:DeleteCluster","Resource":"*"}"#);
    let keys = Keys::new();
    let check = |documents: &[&Document], action: &str, expected: Result<(), Denial>| {
        let request = Request { action, resource: Resource::None, keys: &keys };
        assert_eq!(decide(documents.iter().copied(), &request), expected, "{action}");
        assert_eq!(decide(documents.iter().rev().copied(), &request), expected, "{action}, in the other order");
    };
    check(&[], "ecs:RunTask", Err(Denial::NotAllowed));
    check(&[&allow], "ecs:RunTask", Ok(()));
    check(&[&allow], "ECS:runtask", Ok(()));
    check(&[&allow], "logs:GetLogEvents", Ok(()));
    check(&[&allow], "logs:PutLogEvents", Err(Denial::NotAllowed));
    check(&[&allow, &deny], "ecs:DeleteCluster", Err(Denial::Explicit));
    check(&[&deny], "ecs:DeleteCluster", Err(Denial::Explicit));
    check(&[&deny], "ecs:RunTask", Err(Denial::NotAllowed));
    let but = identity(r#"{"Effect":"Allow","NotAction":["iam:*","sts:*"],"Resource":"*"}"#);
    check(&[&but], "iam:CreateUser", Err(Denial::NotAllowed));
    check(&[&but], "ecs:RunTask", Ok(()));
}

#[test]
fn what_is_not_known_exactly_is_denied_with_all_of_its_kind() {
    let keys = Keys::new();
    let some = Request { action: "ec2:StopInstances", resource: Resource::Some { service: "ec2" }, keys: &keys };
    for (resource, allowed, denied) in [
        (r#""Resource":"*""#, true, true),
        (r#""Resource":"arn:aws:ec2:*:*:instance/i-1""#, false, true),
        (r#""Resource":"arn:aws:*""#, false, true),
        (r#""Resource":"arn:aws:ecs:*:*:cluster/x""#, false, false),
        // It may be just that one.
        (r#""NotResource":"arn:aws:ec2:*:*:instance/i-1""#, false, true),
    ] {
        let of = |effect: &str| identity(&format!(r#"{{"Effect":"{effect}","Action":"*",{resource}}}"#));
        assert_eq!(decide([&of("Allow")], &some).is_ok(), allowed, "{resource}");
        assert_eq!(decide([&of("Deny")], &some) == Err(Denial::Explicit), denied, "{resource}");
    }
}

#[test]
fn what_has_two_arns_is_named_by_either_and_excepted_by_either() {
    let keys = Keys::new();
    let arns = ["arn:aws:logs:r:1:log-group:a:log-stream:".to_owned(), "arn:aws:logs:r:1:log-group:a".to_owned()];
    let request = Request { action: "logs:DeleteLogGroup", resource: Resource::Arns(&arns), keys: &keys };
    for (resource, concerned) in [
        (r#""Resource":"arn:aws:logs:r:1:log-group:a""#, true),
        (r#""Resource":"arn:aws:logs:r:1:log-group:a:*""#, true),
        (r#""Resource":"arn:aws:logs:r:1:log-group:b""#, false),
        (r#""NotResource":"arn:aws:logs:r:1:log-group:a""#, false),
        (r#""NotResource":"arn:aws:logs:r:1:log-group:a:*""#, false),
        (r#""NotResource":"arn:aws:logs:r:1:log-group:b*""#, true),
    ] {
        let of = |effect: &str| identity(&format!(r#"{{"Effect":"{effect}","Action":"*",{resource}}}"#));
        assert_eq!(decide([&of("Allow")], &request).is_ok(), concerned, "{resource}");
        assert_eq!(decide([&of("Deny")], &request) == Err(Denial::Explicit), concerned, "{resource}");
    }
}

#[test]
fn nothing_allows_what_is_too_long_to_be_matched() {
    let all = identity(r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#);
    let arn = |length: usize| format!("arn:aws:ecs:::{}", "a".repeat(length - "arn:aws:ecs:::".len()));
    assert_eq!(asks(&all, "x:Y", &arn(MAX_TEXT), &Keys::new()), Ok(()));
    assert_eq!(asks(&all, "x:Y", &arn(MAX_TEXT + 1), &Keys::new()), Err(Denial::NotAllowed));
    let long = keys(&[("aws:RequestTag/a", &"a".repeat(MAX_TEXT + 1))]);
    assert_eq!(asks(&all, "x:Y", "*", &long), Err(Denial::NotAllowed));
    let trust = r#"{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"sts:*"}"#;
    let trust = Document::parse(&format!("{HEAD}{trust}}}"), Kind::Trust).unwrap();
    let who = Presenter::Identity { account: "000000000000", arns: &[] };
    assert!(trust.trusts(who, "sts:AssumeRole", &Keys::new()).is_ok());
    assert_eq!(trust.trusts(who, "sts:AssumeRole", &long), Err(Denial::NotAllowed));
    // Many times what is as long as can be: no text is that long, so nothing is laid out.
    let many = "${aws:username}*".repeat(1_000);
    let many = identity(&format!(r#"{{"Effect":"Allow","Action":"*","Resource":"arn:aws:ecs:::{many}"}}"#));
    let ada = keys(&[("aws:username", &"a".repeat(MAX_TEXT))]);
    assert_eq!(asks(&many, "x:Y", &arn(MAX_TEXT), &ada), Err(Denial::NotAllowed));
}

#[test]
fn resources_and_variables() {
    let ada = keys(&[("aws:username", "ada"), ("aws:PrincipalTag/Team", "a*b")]);
    for (resources, resource, matches) in [
        (r#""Resource":"*""#, "arn:aws:ecs:r:1:cluster/a", true),
        (r#""Resource":"arn:aws:ecs:*:*:cluster/a*""#, "arn:aws:ecs:r:1:cluster/ab", true),
        (r#""Resource":"arn:aws:ecs:*:*:cluster/a*""#, "arn:aws:ecs:r:1:cluster/ba", false),
        (r#""Resource":"arn:aws:ecs:*:*:cluster/?""#, "arn:aws:ecs:r:1:cluster/ab", false),
        (r#""Resource":"arn:aws:ecs:*:*:Cluster/a""#, "arn:aws:ecs:r:1:cluster/a", false),
        (r#""Resource":["arn:aws:s3:::x","arn:aws:ecs:*"]"#, "arn:aws:ecs:r:1:cluster/a", true),
        (r#""NotResource":"arn:aws:ecs:*:*:cluster/prod*""#, "arn:aws:ecs:r:1:cluster/prod-1", false),
        (r#""NotResource":"arn:aws:ecs:*:*:cluster/prod*""#, "arn:aws:ecs:r:1:cluster/dev", true),
        (r#""Resource":"arn:aws:iam::*:user/${aws:username}""#, "arn:aws:iam::1:user/ada", true),
        (r#""Resource":"arn:aws:iam::*:user/${AWS:UserName}""#, "arn:aws:iam::1:user/ada", true),
        (r#""Resource":"arn:aws:iam::*:user/${aws:username}""#, "arn:aws:iam::1:user/eve", false),
        (r#""Resource":"arn:aws:iam::*:user/${aws:userid}""#, "arn:aws:iam::1:user/ada", false),
        (r#""Resource":"arn:aws:iam::*:user/${aws:userid, 'eve'}""#, "arn:aws:iam::1:user/eve", true),
        (r#""Resource":"arn:aws:ecs:::${aws:PrincipalTag/team}""#, "arn:aws:ecs:::a*b", true),
        (r#""Resource":"arn:aws:ecs:::${aws:PrincipalTag/team}""#, "arn:aws:ecs:::axb", false),
        (r#""Resource":"arn:aws:ecs:::a${*}b${$}""#, "arn:aws:ecs:::a*b$", true),
        (r#""Resource":"arn:aws:ecs:::a${*}b""#, "arn:aws:ecs:::axb", false),
    ] {
        let document = identity(&format!(r#"{{"Effect":"Allow","Action":"*",{resources}}}"#));
        assert_eq!(asks(&document, "x:Y", resource, &ada).is_ok(), matches, "{resources} {resource}");
    }
    let old = r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:ecs:::${aws:username}"}}"#;
    let old = Document::parse(old, Kind::Inline).unwrap();
    assert!(asks(&old, "x:Y", "arn:aws:ecs:::ada", &ada).is_err(), "the older version has no variables");
    assert!(asks(&old, "x:Y", "arn:aws:ecs:::${aws:username}", &ada).is_ok());
}

#[test]
fn conditions() {
    let mut known = keys(&[
        ("aws:RequestedRegion", "eu-central-1"),
        ("aws:SourceIp", "10.1.2.3"),
        ("aws:SecureTransport", "false"),
        ("aws:CurrentTime", "2026-11-27T20:00:00Z"),
        ("aws:PrincipalArn", "arn:aws:iam::1:role/team/web"),
        ("aws:username", "ada"),
        ("aws:ResourceTag/owner", "ada"),
        ("n:count", "10"),
    ]);
    known.set_all("aws:TagKeys", ["env".to_owned(), "team".to_owned()]);
    for (condition, holds) in [
        (r#""StringEquals":{"aws:RequestedRegion":["us-east-1","eu-central-1"]}"#, true),
        (r#""StringEquals":{"AWS:requestedregion":"eu-central-1"}"#, true),
        (r#""StringEquals":{"aws:RequestedRegion":"EU-CENTRAL-1"}"#, false),
        (r#""StringEquals":{"aws:RequestedRegion":"eu-*"}"#, false),
        (r#""StringEquals":{"aws:ResourceTag/owner":"${aws:username}"}"#, true),
        (r#""StringEquals":{"x:absent":""}"#, false),
        (r#""StringEqualsIfExists":{"x:absent":"a"}"#, true),
        (r#""StringEqualsIfExists":{"aws:username":"eve"}"#, false),
        (r#""StringNotEquals":{"aws:username":["eve","mallory"]}"#, true),
        (r#""StringNotEquals":{"aws:username":["eve","ada"]}"#, false),
        (r#""StringNotEquals":{"x:absent":"a"}"#, true),
        (r#""StringEqualsIgnoreCase":{"aws:username":"ADA"}"#, true),
        (r#""StringNotEqualsIgnoreCase":{"aws:username":"ADA"}"#, false),
        (r#""StringLike":{"aws:username":"a?a"}"#, true),
        (r#""StringLike":{"aws:username":["b*","*da"]}"#, true),
        (r#""StringNotLike":{"aws:username":"a*"}"#, false),
        (r#""ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/*"}"#, true),
        (r#""ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::1:role/team/*"}"#, true),
        (r#""ArnLike":{"aws:PrincipalArn":"arn:aws:iam:*:role/team/web"}"#, false),
        (r#""ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::2:role/*"}"#, true),
        (r#""NumericLessThan":{"n:count":"10"}"#, false),
        (r#""NumericLessThanEquals":{"n:count":10}"#, true),
        (r#""NumericGreaterThan":{"n:count":"9.5"}"#, true),
        (r#""NumericNotEquals":{"n:count":"10.0"}"#, false),
        (r#""NumericEquals":{"aws:username":"10"}"#, false),
        (r#""DateGreaterThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"}"#, true),
        (r#""DateLessThan":{"aws:CurrentTime":"1795809600"}"#, false),
        (r#""DateEquals":{"aws:CurrentTime":"2026-11-27T20:00:00Z"}"#, true),
        (r#""Bool":{"aws:SecureTransport":false}"#, true),
        (r#""Bool":{"aws:SecureTransport":"true"}"#, false),
        (r#""Bool":{"x:absent":"false"}"#, false),
        (r#""BoolIfExists":{"x:absent":"false"}"#, true),
        (r#""IpAddress":{"aws:SourceIp":["192.168.0.0/16","10.1.0.0/16"]}"#, true),
        (r#""IpAddress":{"aws:SourceIp":"10.1.2.4"}"#, false),
        (r#""NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}"#, false),
        (r#""Null":{"x:absent":"true"}"#, true),
        (r#""Null":{"aws:username":"true"}"#, false),
        (r#""Null":{"aws:username":"false"}"#, true),
        (r#""ForAllValues:StringEquals":{"aws:TagKeys":["env","team","x"]}"#, true),
        (r#""ForAllValues:StringEquals":{"aws:TagKeys":["env"]}"#, false),
        (r#""ForAllValues:StringEquals":{"x:absent":["env"]}"#, true),
        (r#""ForAllValues:StringNotEquals":{"aws:TagKeys":["x"]}"#, true),
        (r#""ForAllValues:StringNotEquals":{"aws:TagKeys":["x","env"]}"#, false),
        (r#""ForAnyValue:StringEquals":{"aws:TagKeys":["env"]}"#, true),
        (r#""ForAnyValue:StringEquals":{"x:absent":["env"]}"#, false),
        (r#""ForAnyValue:StringNotEquals":{"aws:TagKeys":["env"]}"#, true),
        (r#""ForAnyValue:StringLike":{"aws:TagKeys":["e*"]}"#, true),
        (r#""StringLike":{"aws:username":"${aws:TagKeys}"}"#, false),
        // All operators and all keys have to hold.
        (r#""StringEquals":{"aws:username":"ada","n:count":"10"}"#, true),
        (r#""StringEquals":{"aws:username":"ada","n:count":"11"}"#, false),
        (r#""StringEquals":{"aws:username":"ada"},"Bool":{"aws:SecureTransport":"true"}"#, false),
    ] {
        let document =
            identity(&format!(r#"{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{{{condition}}}}}"#));
        assert_eq!(asks(&document, "x:Y", "*", &known).is_ok(), holds, "{condition}");
    }
}

#[test]
fn what_is_no_policy() {
    let statement = |text: &str| format!("{HEAD}{text}}}");
    let allow = |rest: &str| statement(&format!(r#"{{"Effect":"Allow",{rest}}}"#));
    let whole = r#""Action":"ecs:*","Resource":"*""#;
    for (text, why) in [
        ("no json".to_owned(), Malformed::Syntax),
        ("[]".to_owned(), Malformed::Syntax),
        (r#"{"Version":"2012-10-17"}"#.to_owned(), Malformed::Syntax),
        (r#"{"Version":"2013-10-17","Statement":[]}"#.to_owned(), Malformed::Syntax),
        (statement("[]"), Malformed::Syntax),
        (format!(r#"{{"Extra":1,"Statement":{{"Effect":"Allow",{whole}}}}}"#), Malformed::Syntax),
        (format!(r#"{{"Id":1,"Statement":{{"Effect":"Allow",{whole}}}}}"#), Malformed::Syntax),
        (statement(&format!("{{{whole}}}")), Malformed::Syntax),
        (statement(&format!(r#"{{"Effect":"allow",{whole}}}"#)), Malformed::Syntax),
        (allow(&format!(r#"{whole},"Actions":"*""#)), Malformed::Syntax),
        (allow(&format!(r#"{whole},"Effect":"Deny""#)), Malformed::Syntax),
        (allow(&format!(r#"{whole},"NotAction":"*""#)), Malformed::Syntax),
        (allow(r#""Resource":"*""#), Malformed::NoActions),
        (allow(r#""Action":[],"Resource":"*""#), Malformed::NoActions),
        (allow(r#""Action":"ecs:*""#), Malformed::NoResources),
        (allow(r#""Action":"ecs:*","Resource":[]"#), Malformed::NoResources),
        (allow(r#""Action":[1],"Resource":"*""#), Malformed::Syntax),
        (allow(r#""Action":"RunTask","Resource":"*""#), Malformed::NoVendor),
        (allow(r#""Action":"ecs:Run:Task","Resource":"*""#), Malformed::Colons),
        (allow(r#""Action":"e s:x","Resource":"*""#), Malformed::Vendor("e s".into())),
        (allow(r#""Action":"ecs:*","Resource":"web""#), Malformed::Resource("web".into())),
        (
            allow(r#""Action":"ecs:*","Resource":"arn:aws-cn:ecs:::x""#),
            Malformed::Partition("aws-cn".into(), "arn:aws-cn:ecs:::x".into()),
        ),
        (allow(r#""Action":"ecs:*","Resource":"arn:aws:ecs:::${a""#), Malformed::Syntax),
        (allow(&format!(r#"{whole},"Principal":"*""#)), Malformed::ForeignPrincipal),
        (allow(&format!(r#"{whole},"Condition":{{"StringEqualz":{{"aws:a":"b"}}}}"#)), Malformed::Syntax),
        (allow(&format!(r#"{whole},"Condition":{{"ForSome:StringEquals":{{"aws:a":"b"}}}}"#)), Malformed::Syntax),
        (allow(&format!(r#"{whole},"Condition":{{"NullIfExists":{{"aws:a":"true"}}}}"#)), Malformed::Syntax),
        (allow(&format!(r#"{whole},"Condition":{{"Bool":{{"aws:a":"yes"}}}}"#)), Malformed::Syntax),
        (allow(&format!(r#"{whole},"Condition":{{"NumericEquals":{{"aws:a":"ten"}}}}"#)), Malformed::Syntax),
        (allow(&format!(r#"{whole},"Condition":{{"DateEquals":{{"aws:a":"today"}}}}"#)), Malformed::Syntax),
        (allow(&format!(r#"{whole},"Condition":{{"IpAddress":{{"aws:a":"10.0.0.0/33"}}}}"#)), Malformed::Syntax),
        (allow(&format!(r#"{whole},"Condition":{{"StringEquals":{{"a":"b"}}}}"#)), Malformed::NoVendor),
        (allow(&format!(r#"{whole},"Condition":{{"StringEquals":{{"aws:a":[]}}}}"#)), Malformed::Syntax),
        (
            statement(&format!(r#"[{{"Sid":"a","Effect":"Allow",{whole}}},{{"Sid":"a","Effect":"Deny",{whole}}}]"#)),
            Malformed::SameSid,
        ),
    ] {
        assert_eq!(Document::parse(&text, Kind::Inline), Err(why), "{text}");
    }
    let old = format!(r#"{{"Version":"2008-10-17","Statement":{{"Effect":"Allow",{whole}}}}}"#);
    assert_eq!(Document::parse(&old, Kind::Managed), Err(Malformed::OldVersion));
    assert!(Document::parse(&old, Kind::Inline).is_ok());
}

#[test]
fn trust() {
    let parse = |text: &str| Document::parse(&format!("{HEAD}{text}}}"), Kind::Trust);
    let of =
        |principal: &str| parse(&format!(r#"{{"Effect":"Allow","Principal":{principal},"Action":"sts:AssumeRole"}}"#));
    let web = Presenter::Identity {
        account: "000000000000",
        arns: &["arn:aws:sts::000000000000:assumed-role/web/x", "arn:aws:iam::000000000000:role/web"],
    };
    let tasks = Presenter::Service("ecs-tasks.amazonaws.com");
    for (principal, who, trusted) in [
        (r#"{"Service":"ecs-tasks.amazonaws.com"}"#, tasks, Ok(Trusted::ByName)),
        (r#"{"Service":["ec2.amazonaws.com","ecs-tasks.amazonaws.com"]}"#, tasks, Ok(Trusted::ByName)),
        (r#"{"Service":"ec2.amazonaws.com"}"#, tasks, Err(Denial::NotAllowed)),
        (r#"{"Service":"ecs-tasks.amazonaws.com"}"#, web, Err(Denial::NotAllowed)),
        (r#""*""#, web, Ok(Trusted::ByAccount)),
        (r#""*""#, tasks, Err(Denial::NotAllowed)),
        (r#"{"AWS":"000000000000"}"#, web, Ok(Trusted::ByAccount)),
        (r#"{"AWS":"arn:aws:iam::000000000000:root"}"#, web, Ok(Trusted::ByAccount)),
        (
            r#"{"AWS":["arn:aws:iam::000000000000:root","arn:aws:iam::000000000000:role/web"]}"#,
            web,
            Ok(Trusted::ByName),
        ),
        (r#"{"AWS":"arn:aws:sts::000000000000:assumed-role/web/x"}"#, web, Ok(Trusted::ByName)),
        (r#"{"AWS":"arn:aws:iam::000000000000:role/we"}"#, web, Err(Denial::NotAllowed)),
        (r#"{"AWS":"111111111111"}"#, web, Err(Denial::NotAllowed)),
    ] {
        let document = of(principal).unwrap_or_else(|e| panic!("{principal}: {e}"));
        assert_eq!(document.trusts(who, "sts:AssumeRole", &Keys::new()), trusted, "{principal}");
        assert_eq!(document.trusts(who, "sts:TagSession", &Keys::new()), Err(Denial::NotAllowed), "{principal}");
    }
    let both = parse(
        r#"[{"Effect":"Allow","Principal":"*","Action":"sts:*"},{"Effect":"Deny","Principal":"*","Action":"sts:AssumeRole",
            "Condition":{"StringNotEquals":{"sts:ExternalId":"x"}}}]"#,
    )
    .unwrap();
    assert_eq!(both.trusts(web, "sts:AssumeRole", &Keys::new()), Err(Denial::Explicit));
    assert_eq!(both.trusts(web, "sts:AssumeRole", &keys(&[("sts:ExternalId", "x")])), Ok(Trusted::ByAccount));

    // Who shuts everybody out shuts services out.
    let shut = parse(
        r#"[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"},
            {"Effect":"Deny","Principal":"*","Action":"sts:AssumeRole","Condition":{"Null":{"aws:SourceAccount":"true"}}}]"#,
    )
    .unwrap();
    assert_eq!(shut.trusts(tasks, "sts:AssumeRole", &Keys::new()), Err(Denial::Explicit));
    let here = keys(&[("aws:SourceAccount", "000000000000")]);
    assert_eq!(shut.trusts(tasks, "sts:AssumeRole", &here), Ok(Trusted::ByName));

    for (principal, why) in [
        (r#"{"AWS":"web"}"#, r#"Invalid principal in policy: "AWS":"web""#),
        (
            r#"{"AWS":"arn:aws:iam::000000000000:role/*"}"#,
            r#"Invalid principal in policy: "AWS":"arn:aws:iam::000000000000:role/*""#,
        ),
        (r#"{"Service":"ecs"}"#, r#"Invalid principal in policy: "Service":"ecs""#),
        (r#"{}"#, "Missing required field Principal"),
    ] {
        assert_eq!(of(principal).unwrap_err().to_string(), why);
    }
    let head = r#"{"Effect":"Allow","Principal":"*","#;
    for (rest, why) in [
        (r#""Action":"ecs:RunTask"}"#, "AssumeRole policy may only specify STS AssumeRole actions."),
        (r#""Action":"*"}"#, "AssumeRole policy may only specify STS AssumeRole actions."),
        (r#""Action":"sts:AssumeRole","Resource":"*"}"#, "Has prohibited field Resource"),
    ] {
        assert_eq!(parse(&format!("{head}{rest}")).unwrap_err().to_string(), why);
    }
    assert_eq!(Document::parse("{", Kind::Trust).unwrap_err().to_string(), "This policy contains invalid Json");
}

/// Matching as a child would do it.
fn slow(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len()).any(|at| slow(rest, &text[at..])),
        Some(('?', rest)) => !text.is_empty() && slow(rest, &text[1..]),
        Some((c, rest)) => text.first() == Some(c) && slow(rest, &text[1..]),
    }
}

proptest! {
    #[test]
    fn wildcards_match_what_they_mean(pattern in "[ab*?]{0,9}", text in "[ab]{0,9}") {
        let how = pattern::Reading { wildcards: true, variables: true };
        let read = Pattern::read(&pattern, how).unwrap();
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(read.matches(&text, &Keys::new()), slow(&chars(&pattern), &chars(&text)));
    }

    #[test]
    fn reading_never_fails_otherwise_than_by_refusing(text in r#"[{}\[\]":,a-z0-9$*]{0,60}"#) {
        for kind in [Kind::Inline, Kind::Managed, Kind::Trust] {
            drop(Document::parse(&text, kind));
        }
    }

    /// A deny of anything that is asked for beats whatever else is said, and an allow more never takes anything away.
    #[test]
    fn a_deny_wins_whatever_stands_beside_it(allows in proptest::collection::vec("(ecs|logs):[A-C*]{1,2}", 0..5), at in 0usize..6) {
        let allow = |action: &String| identity(&format!(r#"{{"Effect":"Allow","Action":"{action}","Resource":"*"}}"#));
        let mut documents: Vec<Document> = allows.iter().map(allow).collect();
        let keys = Keys::new();
        let request = Request { action: "ecs:A", resource: Resource::None, keys: &keys };
        let before = decide(&documents, &request);
        documents.push(allow(&"ecs:A".to_owned()));
        prop_assert_eq!(decide(&documents, &request), Ok(()));
        prop_assert!(before != Err(Denial::Explicit));
        let deny = identity(r#"{"Effect":"Deny","Action":"ecs:?","Resource":"*"}"#);
        documents.insert(at.min(documents.len()), deny);
        prop_assert_eq!(decide(&documents, &request), Err(Denial::Explicit));
    }
}
