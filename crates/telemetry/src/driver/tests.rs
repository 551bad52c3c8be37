//! Options as tables.

use super::*;

fn options(pairs: &[(&str, &str)]) -> Options {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn awslogs(pairs: &[(&str, &str)]) -> Result<Awslogs, OptionError> {
    let mut all = options(pairs);
    all.entry(GROUP.to_owned()).or_insert_with(|| "g".to_owned());
    Awslogs::parse(&all, LogMode::NonBlocking)
}

#[test]
fn what_is_not_given_is_as_documented() {
    let plain = awslogs(&[]).unwrap();
    assert_eq!((plain.group.as_str(), plain.region, plain.stream_prefix, plain.create_group), ("g", None, None, false));
    assert!(plain.start.is_none());
    assert_eq!((plain.flush_after, plain.mode, plain.backlog), (FLUSH_AFTER, LogMode::NonBlocking, 10 << 20));
}

#[test]
fn modes_and_buffers() {
    let check = |pairs: &[(&str, &str)], default, want: Result<(LogMode, u64), &str>| {
        let mut all = options(pairs);
        all.insert(GROUP.to_owned(), "g".to_owned());
        let got =
            Awslogs::parse(&all, default).map(|read| (read.mode, read.backlog)).map_err(|error| error.to_string());
        assert_eq!(got, want.map_err(str::to_owned), "{pairs:?}");
    };
    let (blocking, non_blocking) = (LogMode::Blocking, LogMode::NonBlocking);
    check(&[("mode", "blocking")], non_blocking, Ok((blocking, 1 << 30)));
    check(&[("mode", "non-blocking")], blocking, Ok((non_blocking, 10 << 20)));
    check(&[], blocking, Ok((blocking, 1 << 30)));
    check(&[("max-buffer-size", "25m")], non_blocking, Ok((non_blocking, 25 << 20)));
    check(&[("max-buffer-size", "25m")], blocking, Ok((blocking, 1 << 30)));
    let only = "logger: max-buffer-size option is only supported with 'mode=non-blocking'";
    check(&[("mode", "blocking"), ("max-buffer-size", "25m")], non_blocking, Err(only));
    check(&[("mode", "fast")], blocking, Err("logger: logging mode not supported: fast"));
    let size = "error parsing option max-buffer-size: invalid size: 'much'";
    check(&[("max-buffer-size", "much")], blocking, Err(size));
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    let check = |pairs: &[(&str, &str)], want: &str| {
        let got = awslogs(pairs).expect_err(want).to_string();
        assert!(got.starts_with(want), "{pairs:?}: {got}");
    };
    check(&[("awslogs-group", "")], "Log driver awslogs requires options: awslogs-group");
    check(&[("awslogs-colour", "red")], "Log driver awslogs disallows options: awslogs-colour");
    check(&[("max-size", "1m")], "Log driver awslogs disallows options: max-size");
    check(&[("awslogs-create-group", "yes")], "must specify valid value for log opt 'awslogs-create-group': 'yes'");
    for bad in ["0", "-1", "soon"] {
        check(&[(FLUSH, bad)], "must specify a positive integer for log opt 'awslogs-force-flush-interval-seconds': ");
    }
    check(
        &[(DATETIME, "%Y"), (MULTILINE, "^x")],
        "you cannot configure log opt 'awslogs-datetime-format' and 'awslogs-multiline-pattern' at the same time",
    );
    check(&[(MULTILINE, "(")], "awslogs could not parse multiline pattern key \"(\": ");
    check(&[(DATETIME, "%Q")], "log opt 'awslogs-datetime-format' has an unknown code '%Q'");
    check(&[(DATETIME, "%Y%")], "log opt 'awslogs-datetime-format' has an unknown code '%'");
    let format = awslogs(&[("awslogs-format", "json/emf")]).unwrap_err();
    assert_eq!(format, OptionError::NotHonoured("awslogs-format".to_owned()));
}

#[test]
fn datetime_formats_match_what_they_describe() {
    let check = |format: &str, matching: &[&str], others: &[&str]| {
        let start = awslogs(&[(DATETIME, format)]).unwrap().start.unwrap();
        for line in matching {
            assert!(start.is_match(line.as_bytes()), "{format} on {line}: {start}");
        }
        for line in others {
            assert!(!start.is_match(line.as_bytes()), "{format} on {line}: {start}");
        }
    };
    // The example of AWS's documentation.
    check(r"\[%b %d, %Y %H:%M:%S\]", &["[May 01, 2017 19:00:01] A message"], &["May 01, 2017 19:00:01", "Another"]);
    check("%Y-%m-%d", &["2017-01-01 x", "x 2017-12-31"], &["2017-13-01", "2017-01-32", "17-01-01"]);
    check("^%d/%b/%Y:%H:%M:%S %z", &["10/Oct/2000:13:55:36 -0700"], &["10/Okt/2000:13:55:36 -0700", " 10/Oct/2000"]);
    check("%A %B", &["Wednesday September"], &["Wed Sep", "Wednesday Sept"]);
    check("^%a %w", &["Sun 0"], &["Sun 7", "Sunday 0"]);
    check("%I:%M %p", &["11:59 PM"], &["13:00 PM", "11:59 XM"]);
    check("%y%j", &["26366", "26001"], &["26367", "26"]);
    check("%S%L", &["59.123"], &["59,123", "60.123"]);
    check("%f %Z", &["000001 CET", "123456 UT"], &["12345 CET", "123456 cet"]);
    check("100%%", &["100% done"], &["100 done"]);
}

#[test]
fn files_keep_what_docker_would() {
    let check = |pairs: &[(&str, &str)], want: Result<u64, &str>| {
        let got = JsonFile::parse(&options(pairs)).map(|read| read.keep).map_err(|error| error.to_string());
        assert_eq!(got, want.map_err(str::to_owned), "{pairs:?}");
    };
    check(&[], Ok(LOCAL_BYTES));
    check(&[("max-size", "10m")], Ok(10_000_000));
    check(&[("max-size", "10m"), ("max-file", "3")], Ok(30_000_000));
    check(&[("max-size", "-1"), ("max-file", "2")], Ok(2 * LOCAL_BYTES));
    check(&[("max-size", "1")], Ok(LEAST_LOCAL_BYTES));
    check(&[("max-size", "0")], Err("invalid size: '0' (log opt 'max-size')"));
    check(&[("max-size", "big")], Err("invalid size: 'big' (log opt 'max-size')"));
    check(&[("max-file", "0")], Err("max-file cannot be less than 1: '0'"));
    check(&[("compress", "true")], Err("compress"));
    check(&[("awslogs-group", "g")], Err("Log driver json-file disallows options: awslogs-group"));
}

#[test]
fn secret_options_are_checked_as_far_as_they_are_known() {
    let check = |driver, pairs: &[(&str, &str)], secret: &[&str], want: Result<(), &str>| {
        let got = super::check(driver, &options(pairs), secret.iter().copied()).map_err(|error| error.to_string());
        assert_eq!(got, want.map_err(str::to_owned), "{pairs:?} {secret:?}");
    };
    use LogDriver::{Awsfirelens, Splunk, Syslog};
    let url = ("splunk-url", "https://x:1");
    check(Splunk, &[url], &["splunk-token"], Ok(()));
    check(Splunk, &[], &["splunk-token"], Err("Log driver splunk requires options: splunk-url"));
    check(Splunk, &[url], &["splunk-token", "splunk-index"], Ok(()));
    check(Splunk, &[url], &["colour"], Err("Log driver splunk disallows options: colour"));
    check(Splunk, &[], &["splunk-url"], Err("splunk-url as a secret option"));
    for told in ["splunk-capath", "splunk-caname"] {
        check(Splunk, &[url], &["splunk-token", told], Err(&format!("{told} as a secret option")));
    }
    check(Syslog, &[], &["syslog-tls-key"], Err("syslog-tls-key as a secret option"));
    // A secret does not hide what is wrong with the others, or missing.
    check(Splunk, &[url], &["splunk-index"], Err("Log driver splunk requires options: splunk-token"));
    let format = "Unknown format specified xml, supported formats are inline, json and raw";
    check(Splunk, &[url, ("splunk-format", "xml")], &["splunk-token", "splunk-index"], Err(format));
    check(Syslog, &[("syslog-facility", "x")], &["tag"], Err("invalid syslog facility"));
    check(LogDriver::Gelf, &[], &["tag"], Err("gelf-address is a required parameter"));
    for never in ["include-pattern", "log-driver-buffer-limit"] {
        check(Awsfirelens, &[], &[never], Err(&format!("{never} as a secret option")));
    }
    check(Syslog, &[], &["syslog-address"], Err("syslog-address as a secret option"));
    check(Awsfirelens, &[("Name", "http")], &["apiKey"], Ok(()));
}
