//! The ECS CLI's walkthrough, with our binary under both of its names.

use crate::harness::{Cluster, longshore};
use std::fs;

const COMPOSE: &str = r#"
version: "3"
services:
  web:
    image: IMAGE
    command: sh -c "mkdir -p /tmp/w; echo served > /tmp/w/index.html; echo up; exec httpd -f -p 8000 -h /tmp/w"
    ports: ["9000:8000"]
    logging:
      driver: awslogs
      options:
        awslogs-group: walk
        awslogs-region: us-east-1
        awslogs-stream-prefix: w
"#;

#[test]
fn from_configure_to_down() {
    let mut cluster = Cluster::start(1);
    let ecs_cli = cluster.path("ecs-cli");
    std::os::unix::fs::symlink(longshore(), &ecs_cli).unwrap();
    let ecs_cli = ecs_cli.display().to_string();
    fs::write(cluster.path("docker-compose.yml"), COMPOSE.replace("IMAGE", &cluster.image)).unwrap();
    let run = |arguments: &[&str]| {
        let out = cluster.client(&ecs_cli, arguments);
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(
            out.status.success(),
            "{arguments:?}: {said}{}\n{}",
            String::from_utf8_lossy(&out.stderr),
            cluster.log()
        );
        said
    };
    run(&["configure", "--cluster", "walk", "--region", "us-east-1", "--default-launch-type", "EC2"]);
    run(&["up", "--capability-iam", "--size", "2", "--instance-type", "t3.small"]);
    let compose = |verb: &[&str]| run(&[&["compose", "--project-name", "site"], verb].concat());
    let said = compose(&["up", "--create-log-groups"]);
    assert!(said.contains("msg=\"Using ECS task definition\" TaskDefinition=\"site:1\""), "{said}");
    assert!(said.contains("Started container..."), "{said}");
    compose(&["scale", "2"]);
    let table = run(&["ps", "--desired-status", "RUNNING"]);
    let mut lines = table.lines();
    let header: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["Name", "State", "Ports", "TaskDefinition", "Health"]);
    let rows: Vec<_> = lines.collect();
    assert_eq!(rows.len(), 2, "{table}");
    for row in &rows {
        let cells: Vec<_> = row.split_whitespace().collect();
        assert_eq!((cells[1], cells[3], cells[4]), ("RUNNING", "site:1", "UNKNOWN"), "{row}");
        assert!(cells[0].starts_with("walk/") && cells[0].ends_with("/web"), "{row}");
        let address = cells[2].strip_suffix("->8000/tcp").unwrap();
        let answer =
            cluster.client("curl", &["-fsS", "--retry", "20", "--retry-all-errors", "--retry-delay", "1", address]);
        assert_eq!(String::from_utf8_lossy(&answer.stdout), "served\n", "{row}");
    }
    let task = rows[0].split('/').nth(1).unwrap();
    let logs =
        crate::harness::until("log lines", || Some(run(&["logs", "--task-id", task])).filter(|l| l.contains("up")));
    assert_eq!(logs, "up\n\n");
    let again = compose(&["up"]);
    assert!(again.contains("TaskDefinition=\"site:1\""), "the same file makes no second revision: {again}");
    compose(&["down"]);
    assert_eq!(run(&["ps", "--desired-status", "RUNNING"]), "");
    run(&["down", "--force"]);
    let out = cluster.client(&ecs_cli, &["ps"]);
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(!out.status.success() && said.contains("level=fatal"), "{said}");
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}
