//! What compose files, ecs-params and files of variables may say, and how what they may not is refused.

use super::{Desk, lines, text};
use serde_json::{Value, json};
use std::process::Output;

/// What was registered of a container's variables.
fn environment(definition: &Value) -> Vec<(String, String)> {
    let all = definition["containerDefinitions"][0]["environment"].as_array().unwrap();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    all.iter().map(|pair| (word(&pair["name"]), word(&pair["value"]))).collect()
}

fn stderr(out: &Output) -> String {
    text(&out.stderr)
}

#[test]
fn numbers_are_registered_as_they_are_read_and_never_made_up() {
    for version in ["version: '2'\n", "version: '3'\n", ""] {
        let desk = Desk::new();
        let file = format!(
            "{version}services:\n  app:\n    image: busybox\n    user: 0123\n    hostname: 08\n    labels: {{zip: 01234, big: 09999}}\n    \
             ports: [080, 8080]\n    environment:\n      ACCOUNT: 012345678901\n      C: 0777\n      O: 08\n      B: 1e3\n      D: 1.0\n      \
             Q: '0777'\n      V: 1.5\n      N: -3\n"
        );
        desk.write("docker-compose.yml", &file);
        let out = desk.own(&["compose", "-p", "p", "create"]);
        assert!(out.status.success(), "{}", stderr(&out));
        let sent = desk.endpoint.one("RegisterTaskDefinition");
        let wanted = [
            ("ACCOUNT", "012345678901"),
            ("B", "1000"),
            ("C", "511"),
            ("D", "1"),
            ("N", "-3"),
            ("O", "08"),
            ("Q", "0777"),
            ("V", "1.5"),
        ];
        assert_eq!(environment(&sent), wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let container = &sent["containerDefinitions"][0];
        assert_eq!((&container["user"], &container["hostname"]), (&json!("83"), &json!("08")));
        assert_eq!(container["dockerLabels"], json!({"zip": "668", "big": "09999"}));
        let ports: Vec<_> = container["portMappings"].as_array().unwrap().iter().map(|m| &m["containerPort"]).collect();
        assert_eq!(ports, [80, 8080]);
        // Whoever meant the digits learns of it.
        let said = stderr(&out);
        let changed = said.lines().filter(|line| line.contains("Put it in quotes")).count();
        assert_eq!(changed, 5, "{said}");
        let line = if version.is_empty() { 10 } else { 11 };
        let place = format!(
            "file=docker-compose.yml line={line} option name=services.app.environment.C written=0777 read as=511"
        );
        assert!(said.contains(&place), "{said}");
    }
}

#[test]
fn a_value_that_is_no_text_is_refused_by_its_key() {
    let desk = Desk::new();
    for (service, words) in [
        ("environment: {D: [1]}", "D must be a text or a number"),
        ("labels: {l: {m: 1}}", "l must be a text or a number"),
        ("hostname: [h]", "hostname must be a text or a number"),
        ("user: {u: 1}", "user must be a text or a number"),
        ("logging: json-file", "must be a mapping"),
        ("logging: {driver: [x]}", "driver must be a text or a number"),
        ("ports: ['80:80:80:80']", "80:80 is not an IP address"),
        ("ports: ['foo:80:80']", "foo is not an IP address"),
        ("ports: ['80/icmp']", "the protocol must be tcp or udp"),
    ] {
        desk.write("docker-compose.yml", &format!("services:\n  app:\n    image: b\n    {service}\n"));
        let out = desk.own(&["compose", "-p", "p", "create"]);
        assert_eq!(out.status.code(), Some(1), "{service}");
        assert!(stderr(&out).contains(words), "{service}: {}", stderr(&out));
    }
    assert_eq!(desk.endpoint.count(), 0, "nothing is sent");
}

#[test]
fn defaults_may_have_defaults() {
    let desk = Desk::new();
    desk.write("docker-compose.yml", "services: {app: {image: 'busybox:${A:-${B:-x}}', ports: ['0:80', '81/TCP']}}");
    let out = desk.own(&["compose", "-p", "p", "create"]);
    assert!(out.status.success(), "{}", stderr(&out));
    let container = &desk.endpoint.one("RegisterTaskDefinition")["containerDefinitions"][0];
    assert_eq!(container["image"], "busybox:x");
    let mapping = |port| json!({"hostPort": 0, "containerPort": port, "protocol": "tcp"});
    assert_eq!(container["portMappings"], json!([mapping(80), mapping(81)]));
}

#[test]
fn files_of_variables_are_read_as_docker_reads_them() {
    let desk = Desk::new();
    desk.write("docker-compose.yml", "version: '3'\nservices: {app: {image: b, env_file: [app.env]}}");
    desk.write("app.env", "A=1\nexport B=2\n");
    let out = desk.own(&["compose", "-p", "p", "create"]);
    let words = "app.env, line 2: poorly formatted environment: variable 'export B' contains whitespaces";
    assert!(out.status.code() == Some(1) && stderr(&out).contains(words), "{}", stderr(&out));
    assert_eq!(desk.endpoint.count(), 0, "nothing is sent");
    desk.write("app.env", "A= 1 \n");
    let files = "[{path: app.env}, {path: missing.env, required: false}]";
    desk.write("docker-compose.yml", &format!("services: {{app: {{image: b, env_file: {files}}}}}"));
    assert!(desk.own(&["compose", "-p", "p", "create"]).status.success());
    let sent = desk.endpoint.one("RegisterTaskDefinition");
    assert_eq!(environment(&sent), [("A".to_owned(), " 1 ".to_owned())]);
    for (files, words) in [
        ("[{path: missing.env}]", "missing.env"),
        ("[{required: false}]", "an env_file needs a path"),
        ("[{path: app.env, format: raw}]", "format of an env_file cannot be honoured"),
        ("[[a]]", "env_file must contain paths"),
    ] {
        desk.write("docker-compose.yml", &format!("services: {{app: {{image: b, env_file: {files}}}}}"));
        let out = desk.own(&["compose", "-p", "p", "create"]);
        assert!(out.status.code() == Some(1) && stderr(&out).contains(words), "{files}: {}", stderr(&out));
    }
}

#[test]
fn what_ecs_params_says_in_vain_is_told() {
    let desk = Desk::new();
    desk.write("docker-compose.yml", "version: '3'\nservices: {app: {image: b}}");
    desk.write(
        "ecs-params.yml",
        "version: 2\ntask_definition:\n  bogus: 1\n  services: {app: {essential: true, cpus: 1}}\n",
    );
    let out = desk.own(&["compose", "-p", "p", "create"]);
    assert!(out.status.success(), "{}", stderr(&out));
    let skipped = "warning: Skipping unsupported YAML option of the ecs-params file...";
    let wanted = format!(
        "{skipped} option name=task_definition.bogus file=ecs-params.yml\n\
         {skipped} option name=task_definition.services.app.cpus file=ecs-params.yml\n\
         warning: The ecs-params file is read as version 1, the only one there is version=2 file=ecs-params.yml\n"
    );
    assert_eq!(stderr(&out), wanted);
    // As the original's, on standard output.
    let out = desk.run(&["compose", "-p", "p", "create"]);
    let line = "level=warning msg=\"Skipping unsupported YAML option of the ecs-params file...\" option \
                name=task_definition.bogus file=ecs-params.yml";
    assert!(lines(&out).contains(&line.to_owned()), "{:?}", lines(&out));
    for (params, words) in [
        ("task_definition: [awsvpc]", "ecs-params.yml: task_definition must be a mapping"),
        (
            "task_definition: {services: {app: {essential: perhaps}}}",
            "task_definition.services.app.essential must be true or",
        ),
        ("task_definition: {pid_mode: a, pid_mode: b}", "ecs-params.yml, line 1: the key 'pid_mode' is there twice"),
    ] {
        desk.write("ecs-params.yml", params);
        let out = desk.own(&["compose", "-p", "p", "create"]);
        assert!(out.status.code() == Some(1) && stderr(&out).contains(words), "{params}: {}", stderr(&out));
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said_where_and_without_what_a_terminal_obeys() {
    let desk = Desk::new();
    for (file, words) in [
        (
            "services:\n  app: {image: a}\n  app: {image: b}\n",
            "docker-compose.yml, line 3: the key 'app' is there twice",
        ),
        ("services: {app: {image: a}}\n---\nb: 1\n", "docker-compose.yml, line 3: a second YAML document begins here"),
        ("services: &s\n  app: *s\n", "docker-compose.yml, line 2: an alias stands inside of what it names"),
        ("services: {app: {image: a, \"\\e[2Jkey\": 1, \"\\e[2Jkey\": 2}}", "the key '^[[2Jkey' is there twice"),
        ("services: {app: {image: a, ports: [\"\\e[31m:80\"]}}", "is not a port"),
        ("services: {app: {image: a, \"\\e]0;t\\a\": 1}}", "Unsupported config option for a service: '^[]0;t^G'"),
    ] {
        desk.write("docker-compose.yml", file);
        for out in [desk.own(&["compose", "-p", "p", "create"]), desk.run(&["compose", "-p", "p", "create"])] {
            let said = text(&out.stdout) + &stderr(&out);
            assert!(out.status.code() == Some(1) && said.contains(words), "{file:?}: {said:?}");
            assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{file:?}: {said:?}");
        }
    }
}

#[test]
fn no_file_is_read_without_end() {
    let desk = Desk::new();
    let endless = "/dev/zero is larger than 4 MiB";
    let failed = |arguments: &[&str]| {
        let out = desk.own(&[&["compose", "-p", "p"], arguments].concat());
        assert!(out.status.code() == Some(1) && stderr(&out).contains(endless), "{arguments:?}: {}", stderr(&out));
    };
    failed(&["-f", "/dev/zero", "create"]);
    desk.write("docker-compose.yml", "services: {app: {image: b}}");
    failed(&["--ecs-params", "/dev/zero", "create"]);
    failed(&["--registry-creds", "/dev/zero", "create"]);
    desk.write("docker-compose.yml", "services: {app: {image: b, env_file: /dev/zero}}");
    failed(&["create"]);
    desk.write("docker-compose.yml", "app: {extends: {file: /dev/zero, service: b}}");
    failed(&["create"]);
}

#[test]
fn a_folder_whose_name_no_family_can_have_is_told_with_a_way_out() {
    let desk = Desk::new();
    desk.write("my app/docker-compose.yml", "services: {app: {image: b}}");
    let compose = ["compose", "-f", "my app/docker-compose.yml"];
    let out = desk.own(&[&compose[..], &["create"]].concat());
    let said = stderr(&out);
    assert!(out.status.code() == Some(1) && said.contains("'my app', is the folder's"), "{said}");
    assert!(said.contains("--project-name my-app (-p)"), "{said}");
    assert_eq!(desk.endpoint.count(), 0, "nothing is sent");
    assert!(desk.own(&[&compose[..], &["--project-name", "my-app", "create"]].concat()).status.success());
    assert_eq!(desk.endpoint.one("RegisterTaskDefinition")["family"], "my-app");
}
