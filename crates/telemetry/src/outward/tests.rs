//! Lines in each form, byte for byte where there are few, and read back where there are many.

use crate::{
    Line,
    driver::{Identity, Options, Outward},
    outward::{forward, gelf, journal, splunk, syslog},
};
use model::{LogDriver, LogMode};
use serde_json::{Value, json};
use std::io::Read;

fn identity() -> Identity {
    Identity {
        id: "ffeeddcc-web-00112233445566778899".into(),
        name: "ffeeddcc-web-00112233445566778899".into(),
        image: "nginx:1.27".into(),
        image_id: "sha256:abcdef0123456789".into(),
        command: "nginx -g".into(),
        hostname: "host-1".into(),
        labels: [("team".to_owned(), "blue".to_owned())].into(),
        env: vec![("MODE".to_owned(), "prod".to_owned())],
        created: "2026-01-02T03:04:05Z".into(),
    }
}

fn options(driver: LogDriver, pairs: &[(&str, &str)]) -> Outward {
    let options: Options = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Outward::parse(driver, &options, LogMode::NonBlocking, None).unwrap()
}

fn line(text: &str) -> Line {
    // 2026-01-02T03:04:05.678Z
    Line { timestamp_millis: 1_767_323_045_678, message: text.to_owned(), end: 0 }
}

#[test]
fn syslog_in_all_its_forms() {
    let check = |pairs: &[(&str, &str)], want: &str| {
        let Outward::Syslog(options) = options(LogDriver::Syslog, pairs) else { unreachable!() };
        let mut out = Vec::new();
        syslog::Writer::new(&options, &identity(), 7).write(&line("hello"), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), want);
    };
    let tag = ("tag", "{{.ID}}/a b");
    check(&[tag], "<30>Jan  2 03:04:05 001122334455/a_b[7]: hello\n");
    check(&[("syslog-facility", "local7")], "<190>Jan  2 03:04:05 001122334455[7]: hello\n");
    check(&[("syslog-format", "rfc3164")], "<30>Jan  2 03:04:05 host-1 001122334455[7]: hello\n");
    let (newer, tcp) = (("syslog-format", "rfc5424"), ("syslog-address", "tcp://x:1"));
    check(&[newer, tcp], "<30>1 2026-01-02T03:04:05Z host-1 001122334455 7 001122334455 - hello\n");
    let nameless = ("tag", "{{index .ContainerLabels \"none\"}}");
    check(&[newer, tcp, nameless], "<30>1 2026-01-02T03:04:05Z host-1 - 7 - - hello\n");
    let micro = ("syslog-format", "rfc5424micro");
    let tls = ("syslog-address", "tcp+tls://x:1");
    check(&[micro, tls], "77 <30>1 2026-01-02T03:04:05.678000Z host-1 001122334455 7 001122334455 - hello\n");
}

#[test]
fn a_datagram_is_never_longer_than_it_may_be() {
    let Outward::Syslog(options) = options(LogDriver::Syslog, &[("syslog-address", "udp://x:1")]) else {
        unreachable!()
    };
    let mut out = Vec::new();
    syslog::Writer::new(&options, &identity(), 7).write(&line(&"ä".repeat(100_000)), &mut out);
    assert!(out.len() <= super::MAX_DATAGRAM && out.len() > super::MAX_DATAGRAM - 3);
    assert!(String::from_utf8(out).is_ok());
}

#[test]
fn records_of_the_forward_protocol() {
    let pairs = [("fluentd-sub-second-precision", "true"), ("labels", "team"), ("env", "MODE"), ("tag", "web")];
    let Outward::Fluentd(options) = options(LogDriver::Fluentd, &pairs) else { unreachable!() };
    let writer = forward::Writer::new(&options, &identity(), None);
    let bytes = writer.write(&[line("one"), line("two")], Some("c1"));
    let mut rest = &bytes[..];
    let mut buffer = [0; 64];
    assert_eq!(rmp::decode::read_array_len(&mut rest).unwrap(), 3);
    assert_eq!(rmp::decode::read_str(&mut rest, &mut buffer).unwrap(), "web");
    assert_eq!(rmp::decode::read_array_len(&mut rest).unwrap(), 2);
    for text in ["one", "two"] {
        assert_eq!(rmp::decode::read_array_len(&mut rest).unwrap(), 2);
        let meta = rmp::decode::read_ext_meta(&mut rest).unwrap();
        assert_eq!((meta.typeid, meta.size), (0, 8));
        let (time, after) = rest.split_at(8);
        assert_eq!(time, [1_767_323_045u32.to_be_bytes(), 678_000_000u32.to_be_bytes()].concat());
        rest = after;
        let mut record = std::collections::BTreeMap::new();
        for _ in 0..rmp::decode::read_map_len(&mut rest).unwrap() {
            let name = rmp::decode::read_str(&mut rest, &mut buffer).unwrap().to_owned();
            record.insert(name, rmp::decode::read_str(&mut rest, &mut buffer).unwrap().to_owned());
        }
        let want = [
            ("MODE", "prod"),
            ("container_id", "ffeeddcc-web-00112233445566778899"),
            ("container_name", "/ffeeddcc-web-00112233445566778899"),
            ("log", text),
            ("source", "stdout"),
            ("team", "blue"),
        ];
        assert_eq!(record, want.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
    assert_eq!(rmp::decode::read_map_len(&mut rest).unwrap(), 1);
    assert_eq!(rmp::decode::read_str(&mut rest, &mut buffer).unwrap(), "chunk");
    assert_eq!(rmp::decode::read_str(&mut rest, &mut buffer).unwrap(), "c1");
    assert!(rest.is_empty());
}

#[test]
fn a_record_has_the_line_once() {
    let Outward::Fluentd(options) = options(LogDriver::Fluentd, &[("labels", "log,source,team")]) else {
        unreachable!()
    };
    let mut identity = identity();
    identity.labels.extend([("log", "label"), ("source", "label")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    let writer = forward::Writer::new(&options, &identity, None);
    let lines = vec![line("one"); 10];
    let bytes = writer.write(&lines, None);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert_eq!((text.matches("\u{fffd}log").count(), text.matches("label").count()), (10, 0), "{text}");
    // What is counted is what is sent.
    let each = bytes.len() / 10;
    assert_eq!(writer.fit(&lines, each * 5), 5);
    assert_eq!(writer.fit(&lines, 1), 1);
}

#[test]
fn an_endless_acknowledgement_is_none() {
    // A map that says it has very many entries, which are small.
    let mut bytes = vec![0xdf, 0xff, 0xff, 0xff, 0xff];
    for _ in 0..forward::MAX_ACK {
        bytes.extend_from_slice(&[0xa1, b'k', 0xa1, b'v']);
        let want = (bytes.len() >= forward::MAX_ACK).then_some(false);
        assert_eq!(forward::acknowledges(&bytes, "c1"), want, "{}", bytes.len());
    }
}

#[test]
fn acknowledgements_are_known() {
    let mut bytes = Vec::new();
    rmp::encode::write_map_len(&mut bytes, 1).unwrap();
    rmp::encode::write_str(&mut bytes, "ack").unwrap();
    rmp::encode::write_str(&mut bytes, "c1").unwrap();
    assert_eq!(forward::acknowledges(&bytes, "c1"), Some(true));
    assert_eq!(forward::acknowledges(&bytes, "c2"), Some(false));
    for upto in 0..bytes.len() {
        assert_eq!(forward::acknowledges(&bytes[..upto], "c1"), None, "{upto} bytes of it");
    }
}

#[test]
fn graylogs_messages_in_one_piece_and_in_many() {
    let unpack = |datagrams: Vec<Vec<u8>>| -> Value {
        let whole: Vec<u8> = match &datagrams[..] {
            [one] => one.clone(),
            many => {
                for (number, piece) in many.iter().enumerate() {
                    assert_eq!(piece[..10], [0x1e, 0x0f, 1, 2, 3, 4, 5, 6, 7, 8]);
                    assert_eq!((usize::from(piece[10]), usize::from(piece[11])), (number, many.len()));
                    assert!(piece.len() <= 1_420);
                }
                many.iter().flat_map(|piece| piece[12..].to_vec()).collect()
            }
        };
        let mut json = String::new();
        match whole[..2] {
            [0x1f, 0x8b] => flate2::read::GzDecoder::new(&whole[..]).read_to_string(&mut json),
            [b'{', _] => (&whole[..]).read_to_string(&mut json),
            _ => flate2::read::ZlibDecoder::new(&whole[..]).read_to_string(&mut json),
        }
        .unwrap();
        serde_json::from_str(&json).unwrap()
    };
    let id = [1, 2, 3, 4, 5, 6, 7, 8];
    let udp = ("gelf-address", "udp://x:1");
    for kind in ["gzip", "zlib", "none"] {
        let pairs = [udp, ("gelf-compression-type", kind), ("labels", "team"), ("tag", "t")];
        let Outward::Gelf(options) = options(LogDriver::Gelf, &pairs) else { unreachable!() };
        let writer = gelf::Writer::new(&options, &identity());
        let got = unpack(writer.datagrams(&line("hello"), id));
        let want = json!({
            "version": "1.1", "host": "host-1", "short_message": "hello", "timestamp": 1_767_323_045.678, "level": 6,
            "_container_id": "ffeeddcc-web-00112233445566778899", "_container_name": "ffeeddcc-web-00112233445566778899",
            "_image_id": "sha256:abcdef0123456789", "_image_name": "nginx:1.27", "_command": "nginx -g", "_tag": "t",
            "_created": "2026-01-02T03:04:05Z", "_team": "blue",
        });
        assert_eq!(got, want);
    }
    let Outward::Gelf(options) = options(LogDriver::Gelf, &[udp, ("gelf-compression-type", "none")]) else {
        unreachable!()
    };
    let writer = gelf::Writer::new(&options, &identity());
    let long = "x".repeat(100_000);
    let pieces = writer.datagrams(&line(&long), id);
    assert!(pieces.len() > 64);
    assert_eq!(unpack(pieces)["short_message"], long);
    // More than fits 128 pieces loses its end.
    let got = unpack(writer.datagrams(&line(&"x".repeat(200_000)), id));
    assert_eq!(got["short_message"].as_str().unwrap().len(), 100_000);
}

#[test]
fn splunks_events() {
    let must = [("splunk-url", "https://x:1"), ("splunk-token", "t")];
    let events = |pairs: &[(&str, &str)], lines: &[Line]| {
        let all: Vec<_> = must.iter().chain(pairs).copied().collect();
        let Outward::Splunk(options) = options(LogDriver::Splunk, &all) else { unreachable!() };
        let (body, count) = splunk::Writer::new(&options, &identity()).write(lines);
        let mut json = Vec::new();
        match body.get(..2) {
            Some([0x1f, 0x8b]) => drop(flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut json).unwrap()),
            Some(_) | None => json = body,
        }
        let all: Vec<Value> = serde_json::Deserializer::from_slice(&json).into_iter().map(Result::unwrap).collect();
        (all, count)
    };
    let one = [line("{\"a\": 1}")];
    let (inline, _) = events(&[("splunk-index", "main"), ("labels", "team"), ("tag", "t")], &one);
    let event = json!({"line": "{\"a\": 1}", "source": "stdout", "tag": "t", "attrs": {"team": "blue"}});
    assert_eq!(inline, [json!({"host": "host-1", "index": "main", "time": "1767323045.678", "event": event})]);
    let (parsed, _) = events(&[("splunk-format", "json"), ("splunk-gzip", "true"), ("tag", "")], &one);
    assert_eq!(parsed[0]["event"], json!({"line": {"a": 1}, "source": "stdout"}));
    let precise = [line(" {\"b\": 12345678901234567890123, \"a\": 1.10, \"a\": 2} ")];
    let all = [must[0], must[1], ("splunk-format", "json")];
    let Outward::Splunk(parsed) = options(LogDriver::Splunk, &all) else { unreachable!() };
    let (body, _) = splunk::Writer::new(&parsed, &identity()).write(&precise);
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("\"line\":{\"b\": 12345678901234567890123, \"a\": 1.10, \"a\": 2},\"source\""), "{body}");
    let lines = [line("one"), line("  "), line("two")];
    let (raw, count) = events(&[("splunk-format", "raw"), ("env", "MODE"), ("tag", "t")], &lines);
    assert_eq!(
        (raw[0]["event"].as_str(), raw[1]["event"].as_str()),
        (Some("t MODE=prod one"), Some("t MODE=prod two"))
    );
    assert_eq!((raw.len(), count), (2, 3));
    let many = vec![line("x"); 1_500];
    assert_eq!(events(&[], &many).1, 1_000);
}

#[test]
fn entries_of_the_journal() {
    let Outward::Journald(options) = options(LogDriver::Journald, &[("labels", "team"), ("tag", "t")]) else {
        unreachable!()
    };
    let writer = journal::Writer::new(&options, &identity());
    let text = String::from_utf8(writer.write(&line("hello"))).unwrap();
    let want = "PRIORITY=6\nCONTAINER_ID=001122334455\nCONTAINER_ID_FULL=ffeeddcc-web-00112233445566778899\n\
                CONTAINER_NAME=ffeeddcc-web-00112233445566778899\nCONTAINER_TAG=t\nIMAGE_NAME=nginx:1.27\n\
                SYSLOG_IDENTIFIER=t\nTEAM=blue\nSYSLOG_TIMESTAMP=2026-01-02T03:04:05.678000Z\nMESSAGE=hello\n";
    assert_eq!(text, want);
    let two = writer.write(&line("a\nb"));
    assert!(two.ends_with(b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n"));
}
