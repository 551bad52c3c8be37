//! Filter patterns as tables: what AWS's documentation shows, and the edges it does not.

use super::*;

fn check(pattern: &str, rows: &[(&str, bool)]) {
    let parsed = Pattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    for (message, want) in rows {
        assert_eq!(parsed.matches(message), *want, "{pattern} on {message}");
    }
}

#[test]
fn terms() {
    for all in ["", "  ", "\"\""] {
        check(all, &[("anything", true), ("", true)]);
    }
    check("ERROR", &[("[ERROR 400] BAD", true), ("error", false), ("UNERRORED", true)]);
    check("ERROR ARGUMENTS", &[("ARGUMENTS then ERROR", true), ("ERROR", false)]);
    check("\"INTERNAL SERVER ERROR\"", &[("500 INTERNAL SERVER ERROR", true), ("INTERNAL ERROR SERVER", false)]);
    check(r#""say \"hi\" \\ \n""#, &[(r#"they say "hi" \ \n there"#, true), ("say hi", false)]);
    check("?ERROR ?WARN", &[("a WARN", true), ("an ERROR", true), ("INFO", false)]);
    check("ERROR -EXITING", &[("ERROR 1", true), ("ERROR EXITING", false), ("fine", false)]);
    check("-EXITING", &[("fine", true), ("EXITING", false)]);
    check("-\"health check\" GET", &[("GET /", true), ("GET health check", false)]);
    check("?WARN ERROR", &[("ERROR", true), ("WARN", false)]);
    check("\"a-b\"c", &[("a-b and c", true), ("a-b", false)]);
    check("größe_1", &[("die größe_1", true)]);
    check(r"%ER+OR \d\d%", &[("ERRROR 42", true), ("ERROR x", false)]);
    check("-%^DEBUG%", &[("DEBUG x", false), ("a DEBUG", true)]);
}

#[test]
fn json_comparisons() {
    check(
        "{ $.level = \"error\" }",
        &[
            (r#"{"level":"error"}"#, true),
            (r#"{"level":"Error"}"#, false),
            (r#"{"other":"error"}"#, false),
            ("level error", false),
            (r#"{"level":"error""#, false),
        ],
    );
    check("{$.a.b=x}", &[(r#"{"a":{"b":"x"}}"#, true), (r#"{"a":"b"}"#, false)]);
    check("{ $.ip = 123.123.* }", &[(r#"{"ip":"123.123.4.5"}"#, true), (r#"{"ip":"1.123.123.4"}"#, false)]);
    check("{ $.ip != 123.123.* }", &[(r#"{"ip":"9.9.9.9"}"#, true), (r#"{"ip":"123.123.1.1"}"#, false), ("{}", false)]);
    check("{ $.n > 5 }", &[(r#"{"n":6}"#, true), (r#"{"n":5}"#, false), (r#"{"n":"6"}"#, false)]);
    check("{ $.n <= -1.5e1 }", &[(r#"{"n":-15}"#, true), (r#"{"n":-14.9}"#, false)]);
    check("{ $.n = 400 }", &[(r#"{"n":400.0}"#, true), (r#"{"n":"400"}"#, true), (r#"{"n":4000}"#, false)]);
    check("{ $.n = 4* }", &[(r#"{"n":404}"#, true), (r#"{"n":500}"#, false)]);
    check("{ $.ok = true }", &[(r#"{"ok":true}"#, true), (r#"{"ok":false}"#, false)]);
    check("{ $.m = \"*a*b*\" }", &[(r#"{"m":"xaxbx"}"#, true), (r#"{"m":"ba"}"#, false)]);
    check("{ $.m = \"a*a\" }", &[(r#"{"m":"aa"}"#, true), (r#"{"m":"a"}"#, false)]);
    check("{ $.m = %^v[0-9]+$% }", &[(r#"{"m":"v12"}"#, true), (r#"{"m":"v"}"#, false)]);
    check("{ $.m = \"say \\\"}\\\"\" }", &[(r#"{"m":"say \"}\""}"#, true)]);
}

#[test]
fn json_presence_and_places() {
    check("{ $.x IS NULL }", &[(r#"{"x":null}"#, true), ("{}", false), (r#"{"x":0}"#, false)]);
    check("{ $.x NOT EXISTS }", &[("{}", true), (r#"{"x":null}"#, false)]);
    check("{ $.x EXISTS }", &[("{}", false), (r#"{"x":null}"#, true)]);
    check("{ $.x IS TRUE }", &[(r#"{"x":true}"#, true), (r#"{"x":"true"}"#, false)]);
    check("{ $.x is false }", &[(r#"{"x":false}"#, true)]);
    check("{ $.l[1].k = v }", &[(r#"{"l":[{},{"k":"v"}]}"#, true), (r#"{"l":[{"k":"v"}]}"#, false)]);
    check("{ $.l[*] = v }", &[(r#"{"l":["a","v"]}"#, true), (r#"{"l":[]}"#, false), (r#"{"l":"v"}"#, false)]);
    check("{ $[0] = 1 }", &[("[1,2]", true), ("[2]", false)]);
    check("{ $.['a.b'] = 1 && $[\"c d\"] = 2 }", &[(r#"{"a.b":1,"c d":2}"#, true)]);
}

#[test]
fn json_logic() {
    let rows = |a: i32, b: i32, c: i32| format!("{{\"a\":{a},\"b\":{b},\"c\":{c}}}");
    for bits in 0..8 {
        let (a, b, c) = (bits & 1, bits >> 1 & 1, bits >> 2 & 1);
        let message = rows(a, b, c);
        let (a, b, c) = (a == 1, b == 1, c == 1);
        check("{ $.a = 1 && $.b = 1 || $.c = 1 }", &[(&message, a && b || c)]);
        check("{ $.c = 1 || $.a = 1 && $.b = 1 }", &[(&message, c || a && b)]);
        check("{ ($.a = 1) && (($.b = 1) || ($.c=1)) }", &[(&message, a && (b || c))]);
    }
}

#[test]
fn fields() {
    let apache = |status: &str, bytes: &str| {
        format!("127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] \"GET /index.html HTTP/1.0\" {status} {bytes}")
    };
    let (found, missing, broken) = (apache("200", "1534"), apache("404", "0"), apache("500", "5324"));
    let check_all = |pattern: &str, want: [bool; 3]| {
        check(pattern, &[(found.as_str(), want[0]), (missing.as_str(), want[1]), (broken.as_str(), want[2])]);
    };
    check_all("[ip, user, username, timestamp, request, status_code, bytes]", [true; 3]);
    check_all("[ip, user, username, timestamp, request, status_code]", [false; 3]);
    check_all("[ip, user, username, timestamp, request =*.html*, status_code = 4*, bytes]", [false, true, false]);
    check_all("[..., status_code = 4* || status_code = 5*, bytes]", [false, true, true]);
    check_all("[..., status_code != 4* && status_code != 500, bytes]", [true, false, false]);
    check_all("[ip = %^127\\.0%, ..., bytes > 1000]", [true, false, true]);
    check_all("[ip, user, username, ...]", [true; 3]);
    check_all("[ip, user, username = \"fran?\", ...]", [false; 3]);
    check_all("[..., request = \"GET /index.html HTTP/1.0\", s, b<=1534]", [true, true, false]);
    check_all("[...]", [true; 3]);
    check(
        "[level = ERROR, message]",
        &[("ERROR boom", true), ("ERROR it went", false), ("  ERROR  boom  ", true), ("ERROR", false)],
    );
    check("[a, b = 7]", &[("x 7", true), ("x 7.0", true), ("x 70", false), ("x seven", false)]);
    check("[a = \"\", b]", &[("\"\" b", true), ("[] b", true), ("[open b", false)]);
}

#[test]
fn what_cannot_be_read_is_refused() {
    let nested = format!("{{ {}$.a = 1{} }}", "(".repeat(40), ")".repeat(40));
    for pattern in [
        "foo-bar",
        "a@b.c",
        "\"open",
        "?",
        "-",
        "%open",
        "%(%",
        "[a, b",
        "[]",
        "[a,]",
        "[a b]",
        "[..., a, ...]",
        "[a = ]",
        "[a > x]",
        "[a = 1 && b = 2]",
        "[a = 1 &&]",
        "{ $.a = 1",
        "{}",
        "{ a = 1 }",
        "{ $.a }",
        "{ $.a = }",
        "{ $.a > x }",
        "{ $.a = 1 && }",
        "{ ($.a = 1 }",
        "{ $.a = 1 ) }",
        "{ $.a IS }",
        "{ $.a NOT 1 }",
        "{ $.l[x] = 1 }",
        "{ $.l[0 = 1 }",
        "{ $. = 1 }",
        &nested,
        &"x".repeat(1025),
    ] {
        let error = Pattern::parse(pattern).expect_err(pattern);
        assert_eq!(error.code(), "InvalidParameterException", "{pattern}");
    }
    let said = Pattern::parse("foo-bar").unwrap_err().to_string();
    assert_eq!(said, "Invalid filter pattern: Invalid character(s) in term 'foo-bar'");
}
