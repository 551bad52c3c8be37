//! Every operator on every subject, every kind of error, as tables.

use super::{Expression, MAX_LENGTH, MAX_NESTING, Subject, value};
use model::Timestamp;
use std::cmp::Ordering;

/// An instance in us-east-1a, with stack=prod, rank=10 and a bare `ssd`, that registered at 2018-06-18T22:28:28.500Z.
struct Sample;

impl Subject for Sample {
    fn agent_connected(&self) -> bool {
        true
    }
    fn agent_version(&self) -> &str {
        "1.82.4"
    }
    fn attribute(&self, name: &str) -> Option<Option<&str>> {
        match name {
            "stack" => Some(Some("prod")),
            "rank" => Some(Some("10")),
            "ssd" => Some(None),
            "note" => Some(Some("two words (here)")),
            "a-b.c/d\\e_F" => Some(Some("x")),
            "ecs.availability-zone" => Some(Some("us-east-1a")),
            "ecs.instance-type" => Some(Some("t2.small")),
            _ => None,
        }
    }
    fn ec2_instance_id(&self) -> Option<&str> {
        Some("i-0abc")
    }
    fn registered_at(&self) -> Timestamp {
        Timestamp(1_529_360_908_500)
    }
    fn running_tasks(&self) -> u32 {
        3
    }
    fn any_group(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        ["service:web", "family:batch"].into_iter().any(test)
    }
}

/// A machine that has told nothing of itself.
struct Bare;

impl Subject for Bare {
    fn agent_connected(&self) -> bool {
        false
    }
    fn agent_version(&self) -> &str {
        ""
    }
    fn attribute(&self, _: &str) -> Option<Option<&str>> {
        None
    }
    fn ec2_instance_id(&self) -> Option<&str> {
        None
    }
    fn registered_at(&self) -> Timestamp {
        Timestamp(0)
    }
    fn running_tasks(&self) -> u32 {
        0
    }
    fn any_group(&self, _: &mut dyn FnMut(&str) -> bool) -> bool {
        false
    }
}

fn check(expression: &str, sample: bool, bare: bool) {
    let parsed = Expression::parse(expression).unwrap_or_else(|e| panic!("{expression}: {e}"));
    assert_eq!(parsed.matches(&Sample), sample, "{expression} on the sample");
    assert_eq!(parsed.matches(&Bare), bare, "{expression} on the bare machine");
    assert_eq!(parsed.to_string(), expression);
}

fn refused(expression: &str, text: &str) {
    match Expression::parse(expression) {
        Ok(parsed) => panic!("{expression} parsed: {parsed:?}"),
        Err(error) => assert_eq!(error.to_string(), text, "{expression}"),
    }
}

#[test]
fn attributes_know_every_operator_in_both_spellings() {
    for (symbol, word, argument, sample, bare) in [
        ("==", "equals", "prod", true, false),
        ("==", "equals", "Prod", false, false),
        ("!=", "not_equals", "prod", false, true),
        ("!=", "not_equals", "test", true, true),
        (">", "greater_than", "beta", true, false),
        (">", "greater_than", "prod", false, false),
        (">=", "greater_than_equal", "prod", true, false),
        ("<", "less_than", "zeta", true, false),
        ("<", "less_than", "prod", false, false),
        ("<=", "less_than_equal", "prod", true, false),
        ("in", "in", "[test, prod]", true, false),
        ("in", "in", "[test]", false, false),
        ("!in", "not_in", "[test,prod]", false, true),
        ("!in", "not_in", "[test]", true, true),
        ("=~", "matches", "pr.*", true, false),
        ("=~", "matches", "ro", false, false),
        ("!~", "not_matches", "pr.*", false, true),
        ("!~", "not_matches", "ro", true, true),
        ("exists", "exists", "", true, false),
        ("!exists", "not_exists", "", false, true),
    ] {
        check(&format!("attribute:stack {symbol} {argument}"), sample, bare);
        check(&format!("attribute:stack {word} {argument}"), sample, bare);
    }
}

#[test]
fn numbers_compare_as_numbers_and_the_rest_as_text() {
    for (expression, sample) in [
        ("attribute:rank > 9", true),
        ("attribute:rank >= 10.0", true),
        ("attribute:rank < 9", false),
        ("attribute:rank <= 10", true),
        ("attribute:rank > -1", true),
        // Text: "10" stands before "9x".
        ("attribute:rank < 9x", true),
        ("attribute:rank < inf", true),
        // Equality is of text.
        ("attribute:rank == 10.0", false),
    ] {
        check(expression, sample, false);
    }
}

#[test]
fn an_attribute_without_a_value_is_only_there() {
    for (expression, sample, bare) in [
        ("attribute:ssd exists", true, false),
        ("attribute:ssd !exists", false, true),
        ("attribute:ssd == ''", false, false),
        ("attribute:ssd != x", true, true),
        ("attribute:ssd =~ .*", false, false),
        ("attribute:ssd > 0", false, false),
        ("attribute:a-b.c/d\\e_F==x", true, false),
    ] {
        check(expression, sample, bare);
    }
}

#[test]
fn the_other_subjects_know_theirs() {
    for (expression, sample, bare) in [
        ("agentConnected == true", true, false),
        ("agentConnected != true", false, true),
        ("agentConnected in [true, false]", true, true),
        ("agentConnected !in [true]", false, true),
        ("agentConnected =~ t.+", true, false),
        ("agentConnected !~ t.+", false, true),
        ("ec2InstanceId == i-0abc", true, false),
        ("ec2InstanceId != i-0abc", false, true),
        ("ec2InstanceId in ['i-0abc', 'i-1']", true, false),
        ("ec2InstanceId !in [i-1]", true, true),
        ("ec2InstanceId =~ i-0[a-c]{3}", true, false),
        ("ec2InstanceId !~ i-1.*", true, true),
        ("agentVersion == 1.82.4", true, false),
        ("agentVersion == v1.82.4.0", true, false),
        ("agentVersion != 1.82.4", false, true),
        ("agentVersion > 1.9", true, false),
        ("agentVersion > 1.82.4", false, false),
        ("agentVersion >= 1.82.4", true, false),
        ("agentVersion < 1.100.0", true, false),
        ("agentVersion <= 1.82", false, false),
        ("runningTasksCount == 3", true, false),
        ("runningTasksCount != 3", false, true),
        ("runningTasksCount > 0", true, false),
        ("runningTasksCount >= 3", true, false),
        ("runningTasksCount < 1", false, true),
        ("runningTasksCount <= 0", false, true),
        ("task:group == service:web", true, false),
        ("task:group == family:batch", true, false),
        ("task:group != service:web", false, true),
        ("task:group in [service:db, service:web]", true, false),
        ("task:group !in [service:db]", true, true),
        ("task:group =~ service:.*", true, false),
        ("task:group !~ service:.*", false, true),
        ("task:group exists", true, false),
        ("task:group !exists", false, true),
    ] {
        check(expression, sample, bare);
    }
}

#[test]
fn registration_compares_by_the_second_in_every_documented_form() {
    for (expression, sample, bare) in [
        ("registeredAt == 2018-06-18T22:28:28+00:00", true, false),
        ("registeredAt == 2018-06-18T22:28:28Z", true, false),
        ("registeredAt == 2018-06-18T22:28:28", true, false),
        ("registeredAt == 2018-06-19T00:28:28+02:00", true, false),
        ("registeredAt == '2018-06-18T17:58:28-04:30'", true, false),
        ("registeredAt != 2018-06-18T22:28:28", false, true),
        ("registeredAt > 2018-06-18", true, false),
        ("registeredAt > 2018-06-19", false, false),
        ("registeredAt >= 2018-06-18T22:28:29Z", false, false),
        ("registeredAt < 2018-06-18", false, true),
        ("registeredAt <= 1970-01-01", false, true),
    ] {
        check(expression, sample, bare);
    }
}

#[test]
fn operators_bind_as_documented() {
    for (expression, sample, bare) in [
        // `and` binds tighter than `or`, `not` tighter than both.
        ("attribute:stack == prod or attribute:rank == 1 and attribute:ssd !exists", true, false),
        ("(attribute:stack == prod or attribute:rank == 1) and attribute:ssd !exists", false, false),
        ("not attribute:stack == test and agentConnected == true", true, false),
        ("not (attribute:stack == test and agentConnected == true)", true, true),
        ("not(task:group == service:web)", false, true),
        ("!(task:group == service:web)", false, true),
        ("!!attribute:stack exists", true, false),
        ("not not not attribute:stack exists", false, true),
        ("attribute:stack==prod&&agentConnected==true", true, false),
        ("attribute:stack==test||agentConnected==true", true, false),
        ("attribute:stack=~pr.*||agentConnected==true", true, false),
        ("((( attribute:stack == prod )))", true, false),
        ("attribute:x exists or attribute:y exists or attribute:stack in[prod]", true, false),
        ("  attribute:ecs.instance-type =~ t2.* and attribute:ecs.availability-zone != us-east-1d ", true, false),
        ("attribute:ecs.availability-zone in [us-east-1a, us-east-1b]", true, false),
        // Words may stand where values are meant.
        ("attribute:stack != and and attribute:stack != or", true, true),
    ] {
        check(expression, sample, bare);
    }
}

#[test]
fn values_and_patterns() {
    for (expression, sample) in [
        ("attribute:note == 'two words (here)'", true),
        ("attribute:note == \"two words (here)\"", true),
        ("attribute:note =~ 'two (words|more) .here.'", true),
        ("attribute:note in ['two words (here)', \"it's\"]", true),
        ("attribute:ecs.instance-type =~ [tm][0-9]\\.\\w+", true),
        ("attribute:ecs.instance-type =~ m5.*|t2.*", true),
        ("attribute:ecs.instance-type =~ t2|small", false),
        ("attribute:ecs.instance-type =~ '(?i)T2\\.SMALL'", true),
    ] {
        check(expression, sample, false);
    }
}

#[test]
fn errors_say_where_and_what_was_expected() {
    let subject = "a subject (agentConnected, agentVersion, attribute:<name>, ec2InstanceId, registeredAt, \
                   runningTasksCount or task:group)";
    let operator = "an operator (==, !=, >, >=, <, <=, in, !in, exists, !exists, =~ or !~)";
    let date = value::MOMENT_FORMS;
    for (expression, text) in [
        ("", format!("expected {subject} at position 1, found the end")),
        ("stack == prod", format!("expected {subject} at position 1, found 'stack'")),
        ("attribute == prod", format!("expected {subject} at position 1, found 'attribute'")),
        ("agentConnected == true and", format!("expected {subject} at position 27, found the end")),
        ("attribute: == prod", "expected the name of an attribute at position 12, found '=='".into()),
        ("attribute:stack", format!("expected {operator} at position 16, found the end")),
        ("attribute:stack = prod", format!("expected {operator} at position 17, found '='")),
        ("attribute:stack ==", "expected a value at position 19, found the end".into()),
        ("attribute:stack == [a]", "expected a value at position 20, found '[a]'".into()),
        ("attribute:stack == 'a", "expected a value that ends with the quote it begins with at position 20, found ''a'".into()),
        ("attribute:stack in prod", "expected a list such as [a, b] at position 20, found 'prod'".into()),
        ("attribute:stack in []", "expected a value at position 21, found ']'".into()),
        ("attribute:stack in [a b]", "expected ',' or ']' at position 23, found 'b]'".into()),
        ("attribute:stack in [a", "expected ',' or ']' at position 22, found the end".into()),
        ("attribute:stack == a b", "expected 'and', 'or' or the end at position 22, found 'b'".into()),
        ("(attribute:stack == a", "expected 'and', 'or' or ')' at position 22, found the end".into()),
        ("attribute:stack =~ t(2|3)", "expected a value without parentheses, or one in quotes at position 21, found '(2|3)'".into()),
        ("attribute:stack =~ 't('", "the pattern at position 20 is not valid: unclosed group".into()),
        ("attribute:stack =~ 'a)|(b'", "the pattern at position 20 is not valid: unopened group".into()),
        // Java's look-around is not there: our patterns match in linear time.
        (
            "attribute:stack =~ 't(?!2).*'",
            "the pattern at position 20 is not valid: look-around, including look-ahead and look-behind, is not supported"
                .into(),
        ),
        ("agentConnected == yes", "expected true or false at position 19, found 'yes'".into()),
        ("agentVersion == latest", "expected a version such as 1.82.0 at position 17, found 'latest'".into()),
        ("runningTasksCount == few", "expected a whole number at position 22, found 'few'".into()),
        ("registeredAt > yesterday", format!("expected {date} at position 16, found 'yesterday'")),
        (
            "agentVersion in [1]",
            "agentVersion does not take the operator at position 14, it takes ==, !=, >, >=, < and <=".into(),
        ),
        (
            "ec2InstanceId exists",
            "ec2InstanceId does not take the operator at position 15, it takes ==, !=, in, !in, =~ and !~".into(),
        ),
        (
            "task:group > a",
            "task:group does not take the operator at position 12, it takes ==, !=, in, !in, =~, !~, exists and !exists".into(),
        ),
        ("attribute:stäck == a", format!("expected {operator} at position 13, found 'äck'")),
    ] {
        refused(expression, &text);
    }
}

#[test]
fn what_only_javas_patterns_know_is_refused() {
    for pattern in ["t(?=2).*", "(?<!x)t2", "(t)\\1", "\\Qt2\\E"] {
        assert!(Expression::parse(&format!("attribute:stack =~ '{pattern}'")).is_err(), "{pattern}");
    }
    // The exception that docs/decisions/0004-placement.md names.
    check("attribute:stack =~ p.*+d", true, false);
}

#[test]
fn length_depth_and_patterns_are_bounded() {
    let value = "x".repeat(MAX_LENGTH - "attribute:a == ".len());
    check(&format!("attribute:a == {value}"), false, false);
    refused(&format!("attribute:a == {value}x"), "it has 2001 characters, at most 2000 are allowed");

    let nested = |levels: usize| format!("{}attribute:stack exists{}", "(".repeat(levels), ")".repeat(levels));
    check(&nested(MAX_NESTING), true, false);
    refused(&nested(MAX_NESTING + 1), "it is nested deeper than 32 levels at position 34");
    refused(&"!".repeat(1500), "it is nested deeper than 32 levels at position 34");

    let huge = Expression::parse("attribute:stack =~ '(.{1000}){1000}'").unwrap_err().to_string();
    assert!(huge.contains("size limit"), "{huge}");
}

#[test]
fn moments() {
    for (text, seconds) in [
        ("1970-01-01", Some(0)),
        ("1969-12-31T23:59:59Z", Some(-1)),
        ("2000-02-29", Some(951_782_400)),
        ("2100-03-01", Some(4_107_542_400)),
        ("2018-06-18T22:28:28", Some(1_529_360_908)),
        ("2018-06-18T22:28:28+00:00", Some(1_529_360_908)),
        ("2018-06-18T22:28:28-01:00", Some(1_529_364_508)),
        ("2018-02-29", None),
        ("1900-02-29", None),
        ("2018-13-01", None),
        ("2018-00-01", None),
        ("2018-06-31", None),
        ("2018-06-18T24:00:00", None),
        ("2018-06-18T22:28", None),
        ("2018-06-18T22:28:28.5Z", None),
        ("2018-06-18T22:28:28+0000", None),
        ("2018-06-18T22:28:28Zx", None),
        ("18-6-2018", None),
        ("2018-06-18T", None),
        ("", None),
        ("T", None),
    ] {
        assert_eq!(value::moment(text), seconds, "{text}");
    }
}

#[test]
fn versions() {
    for (a, b, ordering) in [
        ("1.0.0", "1.0.0", Ordering::Equal),
        ("1.0", "1.0.0", Ordering::Equal),
        ("v2", "1.9.9", Ordering::Greater),
        ("1.10", "1.9", Ordering::Greater),
        ("1.9", "1.10.1", Ordering::Less),
        ("1.0.1-dev", "1.0.1", Ordering::Greater),
    ] {
        assert_eq!(value::compare_versions(a, b), ordering, "{a} {b}");
        assert_eq!(value::compare_versions(b, a), ordering.reverse(), "{b} {a}");
    }
}

proptest::proptest! {
    /// Whatever a client sends, parsing answers; and what it accepts, matching answers.
    #[test]
    fn no_text_can_break_the_parser(text in "[a-z:=!~<>&|()\\[\\],'\" .*\\\\ä]{0,60}|(attribute:stack|task:group|not|!|\\(|\\)|and|or|==|in|\\[|\\]|,|=~|'|[a-z]| ){0,20}") {
        if let Ok(expression) = Expression::parse(&text) {
            expression.matches(&Sample);
            let negated = Expression::parse(&format!("not ({text})")).unwrap();
            proptest::prop_assert_eq!(expression.matches(&Sample), !negated.matches(&Sample));
        }
    }
}
