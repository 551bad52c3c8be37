//! Log drivers that send output elsewhere, with real receivers: what comes there, what a killed agent costs, and that a receiver
//! that takes nothing holds up nobody.

use crate::{
    harness::{Cluster, until},
    receivers::{Receiver, certificates, digest, free_port, host_address, rsyslog},
    secrets::found,
};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::MetadataExt, path::Path, process::Command};

/// A role that may read what log options name.
pub(crate) fn role(cluster: &Cluster) -> String {
    let reads = ["secretsmanager:GetSecretValue", "ssm:GetParameters", "s3:GetObject"];
    cluster.api().task_role("logs", &json!([{"Effect": "Allow", "Action": reads, "Resource": "*"}]))
}

fn define(cluster: &Cluster, family: &str, script: &str, log: &Value) {
    let container = json!({
        "name": "main", "image": cluster.image, "memory": 32, "stopTimeout": 2, "command": ["sh", "-c", script],
        "dockerLabels": {"team": "blue"}, "environment": [{"name": "MODE", "value": "prod"}], "logConfiguration": log,
    });
    let definition = json!({"family": family, "executionRoleArn": role(cluster), "containerDefinitions": [container]});
    cluster.api().ecs("RegisterTaskDefinition", &definition);
}

fn driver(name: &str, options: &Value) -> Value {
    json!({"logDriver": name, "options": options})
}

/// Prints so many numbered lines and ends.
fn count(to: u32) -> String {
    format!("i=0; while [ $i -lt {to} ]; do echo \"line $i\"; i=$((i+1)); done")
}

/// Prints numbered lines, some each tenth of a second, until it is stopped.
const ENDLESS: &str = "trap 'exit 0' TERM; i=0; while :; do n=0; while [ $n -lt 20 ]; do echo \"line $i\"; i=$((i+1)); n=$((n+1)); done; sleep 0.1; done";

fn end(mut cluster: Cluster) {
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

#[test]
fn rsyslog_takes_output_over_udp_tcp_and_tls() {
    let cluster = Cluster::start(1);
    let (address, ports) = (host_address(), [free_port(), free_port(), free_port()]);
    let files = certificates(&cluster.path(""), &address);
    let receiver = rsyslog(&cluster, ports, &files);
    let [udp, tcp, tls] = ports;
    let ca = files[0].to_str().unwrap();
    let all = [
        (
            "udp",
            json!({"syslog-address": format!("udp://{address}:{udp}"), "syslog-facility": "local3", "syslog-format": "rfc3164", "tag": "udp"}),
        ),
        (
            "tcp",
            json!({"syslog-address": format!("tcp://{address}:{tcp}"), "syslog-format": "rfc5424", "tag": "tcp-{{.Name}}"}),
        ),
        (
            "tls",
            json!({"syslog-address": format!("tcp+tls://{address}:{tls}"), "syslog-format": "rfc5424micro", "syslog-tls-ca-cert": ca, "tag": "tls"}),
        ),
        (
            "any",
            json!({"syslog-address": format!("tcp+tls://{address}:{tls}"), "syslog-tls-skip-verify": "true", "syslog-format": "rfc3164", "tag": "any"}),
        ),
    ];
    let lines = || fs::read_to_string(&receiver.out).unwrap_or_default();
    for (family, options) in &all {
        define(&cluster, family, &count(100), &driver("syslog", options));
        let arn = cluster.run(family, 1).remove(0);
        let task = cluster.wait(&arn, "STOPPED");
        assert_eq!(task["containers"][0]["exitCode"], 0, "{task:#}\n{}", cluster.log());
        let of_it = |text: &str| text.lines().filter(|line| line.contains(&format!("|{family}"))).count();
        until(&format!("{family}: {:?}", of_it(&lines())), || (of_it(&lines()) >= 100).then_some(()));
        let text = lines();
        let own: Vec<_> = text.lines().filter(|line| line.contains(&format!("|{family}"))).collect();
        let numbers: Vec<_> = own.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap()).collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "{family}: in order, none twice");
        let (facility, version) = match *family {
            "udp" => ("local3", "0"),
            "any" => ("daemon", "0"),
            _ => ("daemon", "1"),
        };
        let words: Vec<_> = own[0].split('|').collect();
        assert_eq!((words[0], words[1], words[4]), (facility, "info", version), "{}", own[0]);
    }
    // A server whose authority nobody knows is not believed, and the container does not start.
    let unknown = json!({"syslog-address": format!("tcp+tls://{address}:{tls}")});
    define(&cluster, "unknown", &count(1), &driver("syslog", &unknown));
    let arn = cluster.run("unknown", 1).remove(0);
    let task = cluster.wait(&arn, "STOPPED");
    let reason = task["containers"][0]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("CannotStartContainerError: failed to initialize logging driver: dial tcp+tls://"),
        "{reason}"
    );
    assert!(reason.contains("certificate"), "{reason}");
    drop(receiver);
    end(cluster);
}

#[test]
fn a_killed_agent_goes_on_where_it_was() {
    let cluster = Cluster::start(1);
    let (address, port) = (host_address(), free_port());
    let mut receiver = Receiver::python(&cluster, "forward", &format!("0.0.0.0:{port}"), &[]);
    let options = json!({
        "fluentd-address": format!("{address}:{port}"), "fluentd-async": "true", "fluentd-request-ack": "true",
        "fluentd-sub-second-precision": "true", "fluentd-retry-wait": "200ms",
        "tag": "app.{{.ImageName}}", "labels": "team", "env": "MODE",
    });
    define(&cluster, "told", ENDLESS, &driver("fluentd", &options));
    let arn = cluster.run("told", 1).remove(0);
    cluster.wait(&arn, "RUNNING");
    for seen in [50, 150, 250] {
        receiver.wait_for(&cluster, seen);
        let (_, pid) = cluster.agents().into_iter().next().unwrap();
        Cluster::kill(pid);
        until("another agent", || cluster.agents().into_values().find(|now| *now != pid));
    }
    // A receiver that goes and comes: what was written in between comes too.
    let before = receiver.got().len();
    drop(receiver);
    receiver = Receiver::python(&cluster, "forward", &format!("0.0.0.0:{port}"), &[]);
    receiver.wait_for(&cluster, before + 200);
    cluster.api().ecs("StopTask", &json!({"task": arn}));
    cluster.wait(&arn, "STOPPED");
    let number =
        |event: &Value| event["record"]["log"].as_str().unwrap().strip_prefix("line ").unwrap().parse::<u32>().unwrap();
    let mut last = None;
    until("the rest", || {
        let now = receiver.got().len();
        (last.replace(now) == Some(now)).then_some(())
    });
    let got = receiver.got();
    let numbers: Vec<_> = got.iter().map(number).collect();
    let mut each = numbers.clone();
    each.sort_unstable();
    each.dedup();
    let want: Vec<_> = (0..=*each.last().unwrap()).collect();
    assert_eq!(each, want, "nothing is lost");
    // Three agents and one receiver have gone: what was on its way to each came twice, and nothing else.
    let back: Vec<_> = numbers.windows(2).filter(|pair| pair[1] <= pair[0]).collect();
    assert!(back.len() <= 4, "of {} lines some came twice that were with the receiver: {back:?}", numbers.len());
    let event = &got[0];
    let image = &cluster.image;
    assert_eq!(event["tag"], format!("app.{image}"));
    let record = &event["record"];
    assert_eq!(
        (&record["team"], &record["MODE"], &record["source"]),
        (&json!("blue"), &json!("prod"), &json!("stdout"))
    );
    assert!(record["container_name"].as_str().unwrap().starts_with('/'));
    assert!(event["at"].as_f64().unwrap().fract() > 0.0 || got[1]["at"].as_f64().unwrap().fract() > 0.0);
    drop(receiver);
    end(cluster);
}

#[test]
#[allow(clippy::disallowed_methods)] // Real processes take real time.
fn a_receiver_that_takes_nothing_holds_up_nobody() {
    let cluster = Cluster::start(1);
    let (address, port) = (host_address(), free_port());
    // Nobody there: with a driver that needs a connection the container does not start.
    let strict = json!({"fluentd-address": format!("{address}:{port}")});
    define(&cluster, "strict", ENDLESS, &driver("fluentd", &strict));
    let arn = cluster.run("strict", 1).remove(0);
    let task = cluster.wait(&arn, "STOPPED");
    let reason = task["containers"][0]["reason"].as_str().unwrap();
    let want = format!(
        "CannotStartContainerError: failed to initialize logging driver: dial tcp://{address}:{port}: Connection refused"
    );
    assert!(reason.starts_with(&want), "{reason}");

    // One that may wait does; what waits has its bound, and the task stops at once.
    let patient = json!({
        "fluentd-address": format!("{address}:{port}"), "fluentd-async": "true", "fluentd-retry-wait": "200ms",
        "mode": "non-blocking", "max-buffer-size": "256k",
    });
    let loud = "trap 'echo the end; exit 0' TERM; x=$(printf %0180d 0); i=0; while :; do n=0; while [ $n -lt 500 ]; do echo \"line $i $x\"; \
                i=$((i+1)); n=$((n+1)); done; sleep 0.1; done";
    define(&cluster, "patient", loud, &driver("fluentd", &patient));
    let arn = cluster.run("patient", 1).remove(0);
    cluster.wait(&arn, "RUNNING");
    let name = format!("{}.log", cluster.task(&arn)["containers"][0]["runtimeId"].as_str().unwrap());
    let file = until("the output's file", || find(&cluster.path("data/instances"), &name));
    until("much output", || (fs::metadata(&file).unwrap().len() > 4 << 20).then_some(()));
    until("the oldest to be dropped", || {
        let takes = fs::metadata(&file).unwrap().blocks() * 512;
        (takes < 3 << 20 && cluster.log().contains("the oldest is dropped")).then_some(())
    });
    assert!(cluster.log().contains("its receiver takes nothing"), "and that is told");
    // A receiver that stands still: connections are taken by its kernel, and nothing is read.
    let receiver = Receiver::python(&cluster, "forward", &format!("0.0.0.0:{port}"), &[]);
    receiver.wait_for(&cluster, 500);
    receiver.freeze(true);
    let begun = std::time::Instant::now();
    cluster.api().ecs("StopTask", &json!({"task": arn}));
    cluster.wait(&arn, "STOPPED");
    assert!(begun.elapsed().as_secs() < 20, "the stop waited for the receiver");
    receiver.freeze(false);
    // What was written last comes still, although the task has stopped.
    until("the last line", || receiver.got().iter().any(|event| event["record"]["log"] == "the end").then_some(()));
    drop(receiver);
    end(cluster);
}

fn find(dir: &Path, name: &str) -> Option<std::path::PathBuf> {
    fs::read_dir(dir).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if entry.file_name() == name {
            return Some(path);
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) { find(&path, name) } else { None }
    })
}

#[test]
fn graylogs_format_over_udp_and_tcp() {
    let cluster = Cluster::start(1);
    let (address, udp, tcp) = (host_address(), free_port(), free_port());
    let receivers = [
        Receiver::python(&cluster, "gelf-udp", &format!("0.0.0.0:{udp}"), &[]),
        Receiver::python(&cluster, "gelf-tcp", &format!("0.0.0.0:{tcp}"), &[]),
    ];
    until("the receiver at TCP", || std::net::TcpStream::connect(("127.0.0.1", tcp)).ok());
    // Longer than a datagram of the format, so that it comes in pieces.
    let script = "head -c 6000 /dev/urandom | busybox base64 | busybox tr -d '\\n'; echo; echo last";
    for (family, options) in [
        (
            "udp",
            json!({"gelf-address": format!("udp://{address}:{udp}"), "gelf-compression-type": "zlib", "labels": "team"}),
        ),
        ("tcp", json!({"gelf-address": format!("tcp://{address}:{tcp}"), "labels": "team", "tag": "t-{{.Name}}"})),
    ] {
        define(&cluster, family, script, &driver("gelf", &options));
        let arn = cluster.run(family, 1).remove(0);
        let task = cluster.wait(&arn, "STOPPED");
        assert_eq!(task["containers"][0]["exitCode"], 0, "{task:#}\n{}", cluster.log());
    }
    for receiver in &receivers {
        let got = receiver.wait_for(&cluster, 2);
        assert_eq!(got[0]["short_message"].as_str().unwrap().len(), 8_000);
        assert_eq!(
            (&got[1]["short_message"], &got[1]["_team"], &got[1]["level"]),
            (&json!("last"), &json!("blue"), &json!(6))
        );
        assert!(got[1]["timestamp"].as_f64().unwrap() > 1e9);
    }
    drop(receivers);
    end(cluster);
}

#[test]
fn splunk_takes_output_with_a_token_that_lies_nowhere() {
    let cluster = Cluster::start(1);
    let (address, port) = (host_address(), free_port());
    let [ca, cert, key] = certificates(&cluster.path(""), &address);
    // In every value that must not be found anywhere.
    let token = "token-fLoEs7Qz";
    let header = digest(&format!("Splunk {token}"));
    let files = [header.as_str(), cert.to_str().unwrap(), key.to_str().unwrap()];
    let mut receiver = Receiver::python(&cluster, "splunk", &format!("0.0.0.0:{port}"), &files);
    until("the receiver", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    let api = cluster.api();
    let secret =
        api.secrets("CreateSecret", &json!({"Name": "splunk", "SecretString": json!({"token": token}).to_string()}));
    let arn = secret["ARN"].as_str().unwrap().to_owned();
    api.ssm("PutParameter", &json!({"Name": "/splunk/token", "Type": "SecureString", "Value": token}));
    for (family, format, from) in
        [("asm", "json", format!("{arn}:token::")), ("ssm", "raw", "/splunk/token".to_owned())]
    {
        let log = json!({
            "logDriver": "splunk",
            "options": {
                "splunk-url": format!("https://{address}:{port}"), "splunk-capath": ca, "splunk-format": format,
                "splunk-gzip": "true", "splunk-index": "main", "splunk-sourcetype": family, "tag": "t", "env": "MODE",
            },
            "secretOptions": [{"name": "splunk-token", "valueFrom": from}],
        });
        define(
            &cluster,
            family,
            "trap 'exit 0' TERM; echo '{\"a\": 1}'; echo plain; while :; do sleep 0.1; done",
            &log,
        );
        let task = cluster.run(family, 1).remove(0);
        cluster.wait(&task, "RUNNING");
        let of_it = |got: Vec<Value>| got.into_iter().filter(|event| event["sourcetype"] == family).collect::<Vec<_>>();
        let got = until("events", || Some(of_it(receiver.got())).filter(|got| got.len() >= 2));
        match format {
            "json" => assert_eq!(
                got[0]["event"],
                json!({"line": {"a": 1}, "source": "stdout", "tag": "t", "attrs": {"MODE": "prod"}})
            ),
            _ => assert_eq!(got[1]["event"], "t MODE=prod plain"),
        }
        assert_eq!(got[0]["index"], "main");
        assert_eq!(found(&cluster), Vec::<String>::new(), "while it runs");
        // Another agent asks for it again.
        let (_, pid) = cluster.agents().into_iter().next().unwrap();
        Cluster::kill(pid);
        until("another agent", || cluster.agents().into_values().find(|now| *now != pid));
        api.ecs("StopTask", &json!({"task": task}));
        cluster.wait(&task, "STOPPED");
    }
    let splunk = |family: &str, from: &str| {
        let options = json!({
            "splunk-url": format!("https://{address}:{port}"), "splunk-capath": ca, "splunk-sourcetype": family,
        });
        json!({"logDriver": "splunk", "options": options, "secretOptions": [{"name": "splunk-token", "valueFrom": from}]})
    };
    // What is left of a task that has stopped comes still, also from another agent, which asks for the token then.
    let script = "trap 'echo last; exit 0' TERM; echo first; while :; do sleep 0.1; done";
    define(&cluster, "late", script, &splunk("late", "/splunk/token"));
    let task = cluster.run("late", 1).remove(0);
    let lines = |receiver: &Receiver| -> Vec<Value> {
        let late = receiver.got().into_iter().filter(|event| event["sourcetype"] == "late");
        late.map(|event| event["event"]["line"].clone()).collect()
    };
    until("the first line", || (lines(&receiver) == ["first"]).then_some(()));
    drop(receiver);
    api.ecs("StopTask", &json!({"task": task}));
    cluster.wait(&task, "STOPPED");
    let (_, pid) = cluster.agents().into_iter().next().unwrap();
    Cluster::kill(pid);
    until("another agent", || cluster.agents().into_values().find(|now| *now != pid));
    receiver = Receiver::python(&cluster, "splunk", &format!("0.0.0.0:{port}"), &files);
    until("the last line", || (lines(&receiver) == ["first", "last"]).then_some(()));
    // A collector that does not know the token, and says what it was sent, is told in the log, without it.
    api.ssm("PutParameter", &json!({"Name": "/splunk/wrong", "Type": "SecureString", "Value": "wrong-fLoEs7Qz"}));
    define(&cluster, "wrong", ENDLESS, &splunk("wrong", "/splunk/wrong"));
    let task = cluster.run("wrong", 1).remove(0);
    cluster.wait(&task, "RUNNING");
    until("the answer in the log", || {
        let log = cluster.log();
        (log.contains("failed to send event - 403 Forbidden") && log.contains("Splunk ***")).then_some(())
    });
    assert_eq!(found(&cluster), Vec::<String>::new(), "the answer is told without the token");
    api.ecs("StopTask", &json!({"task": task}));
    cluster.wait(&task, "STOPPED");
    // One that is not there stops the start.
    let nobody = json!({"splunk-url": format!("http://{address}:{}", free_port()), "splunk-token": "x"});
    define(&cluster, "nobody", &count(1), &driver("splunk", &nobody));
    let task = cluster.run("nobody", 1).remove(0);
    let reason = cluster.wait(&task, "STOPPED")["containers"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("failed to initialize logging driver"), "{reason}");
    assert_eq!(found(&cluster), Vec::<String>::new());
    drop(receiver);
    end(cluster);
}

/// systemd's journal itself, in a mount namespace of the test's own.
#[test]
fn the_journal_takes_entries() {
    testkit::isolate_mounts().unwrap();
    for folder in ["/run/systemd", "/run/log"] {
        fs::create_dir_all(folder).unwrap();
        assert!(Command::new("mount").args(["-t", "tmpfs", "none", folder]).status().unwrap().success());
    }
    for folder in ["/run/systemd/journal", "/run/log/journal"] {
        fs::create_dir_all(folder).unwrap();
    }
    let journal = Receiver::start(Command::new("/lib/systemd/systemd-journald"), "/run/log/journal".into());
    until("the journal", || Path::new("/run/systemd/journal/socket").exists().then_some(()));
    let cluster = Cluster::start(1);
    let options = json!({"tag": "web/{{.ID}}", "labels": "team", "env": "MODE"});
    // The second line is longer than a datagram of a socket may be.
    let script = "echo first; head -c 250000 /dev/zero | busybox tr '\\0' x; echo; echo last";
    define(&cluster, "told", script, &driver("journald", &options));
    let arn = cluster.run("told", 1).remove(0);
    let task = cluster.wait(&arn, "STOPPED");
    let id = task["containers"][0]["runtimeId"].as_str().unwrap();
    let entries = || -> Vec<Value> {
        let matching = format!("CONTAINER_ID_FULL={id}");
        let all = ["--no-pager", "-o", "json", "--all", "-D", "/run/log/journal", &matching];
        let out = Command::new("journalctl").args(all).output().unwrap();
        String::from_utf8(out.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let found = until("the entries", || Some(entries()).filter(|found| found.len() >= 3));
    let messages: Vec<_> = found.iter().map(|entry| entry["MESSAGE"].as_str().unwrap()).collect();
    assert_eq!((messages[0], messages[1].len(), messages[2]), ("first", 250_000, "last"));
    let entry = &found[0];
    assert_eq!((&entry["TEAM"], &entry["MODE"], &entry["PRIORITY"]), (&json!("blue"), &json!("prod"), &json!("6")));
    assert!(entry["CONTAINER_TAG"].as_str().unwrap().starts_with("web/"));
    assert_eq!(entry["SYSLOG_IDENTIFIER"], entry["CONTAINER_TAG"]);
    drop(journal);
    end(cluster);
}
