//! The ECS CLI's Fargate walkthrough as it is published: `up` makes no instances, the compose file is run as a service with
//! public addresses, and `ps` tells where it answers.

use crate::{
    harness::{Cluster, until},
    walkthrough::EcsCli,
};
use serde_json::json;

const COMPOSE: &str = r#"
version: '3'
services:
  web:
    image: IMAGE
    stop_grace_period: 2s
    command: sh -c "mkdir -p /tmp/w; echo served > /tmp/w/index.html; echo up; exec httpd -f -p 80 -h /tmp/w"
    ports:
      - "80:80"
    logging:
      driver: awslogs
      options:
        awslogs-group: tutorial
        awslogs-region: us-east-1
        awslogs-stream-prefix: web
"#;

const PARAMS: &str = r#"
version: 1
task_definition:
  task_execution_role: ecsTaskExecutionRole
  ecs_network_mode: awsvpc
  task_size:
    mem_limit: 0.5GB
    cpu_limit: 256
run_params:
  network_configuration:
    awsvpc_configuration:
      subnets:
        - "SUBNET_0"
        - "SUBNET_1"
      security_groups:
        - "GROUP"
      assign_public_ip: ENABLED
"#;

/// What `up` says it made: the word after each of these lines' beginnings.
fn made<'a>(said: &'a str, what: &str) -> Vec<&'a str> {
    said.lines().filter_map(|line| line.strip_prefix(what)).map(str::trim).collect()
}

/// Asks the web server at the address that `ps` tells.
fn answers(cli: &EcsCli<'_>, row: &[String]) {
    let address = row[2].strip_suffix("->80/tcp").unwrap_or_else(|| panic!("{row:?}"));
    assert!(address.starts_with("198.51.100.") && address.ends_with(":80"), "{row:?}");
    let ask = ["-fsS", "--retry", "20", "--retry-all-errors", "--retry-delay", "1", address];
    let answer = cli.cluster.client("curl", &ask);
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "served\n", "{row:?}");
}

#[test]
fn from_up_to_down() {
    let mut cluster = Cluster::start_with(0, |_| vec![("LONGSHORE_FARGATE_INSTANCES".to_owned(), "1".to_owned())]);
    let api = cluster.api();
    let cli = EcsCli::new(&cluster);
    let configure = ["configure", "--cluster", "tutorial", "--default-launch-type", "FARGATE"];
    cli.run(&[&configure[..], &["--config-name", "tutorial", "--region", "us-east-1"]].concat());
    for refused in [&["--size", "2"][..], &["--instance-type", "t3.small"], &["--keypair", "mine"]] {
        cli.failed(&[&["up", "--cluster-config", "tutorial"], refused].concat());
    }
    let said = cli.run(&["up", "--cluster-config", "tutorial", "--launch-type", "FARGATE"]);
    let [vpc] = made(&said, "VPC created:")[..] else { panic!("{said}") };
    let [first, second, ..] = made(&said, "Subnet created:")[..] else { panic!("{said}") };

    // As the walkthrough has it: the VPC's own security group is opened to the world.
    let filters =
        json!({"Filters": [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": ["default"]}]});
    let groups = api.ec2("DescribeSecurityGroups", &filters);
    let group = groups["SecurityGroups"][0]["GroupId"].as_str().unwrap();
    let world = json!({"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]});
    api.ec2("AuthorizeSecurityGroupIngress", &json!({"GroupId": group, "IpPermissions": [world]}));
    cli.write("docker-compose.yml", COMPOSE);
    let params = PARAMS.replace("SUBNET_0", first).replace("SUBNET_1", second).replace("GROUP", group);
    cli.write("ecs-params.yml", &params);

    let own = ["--cluster-config", "tutorial"];
    let compose = |verb: &[&str]| cli.run(&[&["compose", "--project-name", "tutorial"], verb, &own].concat());
    let listed = |verb: &[&str]| {
        let rows = cli.rows(&[&["compose", "--project-name", "tutorial"], verb, &own].concat());
        assert!(rows.iter().all(|row| row[1] == "RUNNING"), "{rows:?}");
        rows
    };
    compose(&["service", "up", "--create-log-groups"]);
    let rows = listed(&["service", "ps"]);
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((row[3].as_str(), row[4].as_str()), ("tutorial:1", "UNKNOWN"), "{row:?}");
    answers(&cli, row);
    let task = row[0].split('/').nth(1).unwrap();
    let logs = until("its log", || Some(cli.run(&["logs", "--task-id", task])).filter(|told| told.contains("up")));
    assert_eq!(logs, "up\n\n");

    compose(&["service", "scale", "2"]);
    let rows = listed(&["service", "ps", "--desired-status", "RUNNING"]);
    assert_eq!(rows.len(), 2, "{rows:?}");
    for row in &rows {
        answers(&cli, row);
    }

    compose(&["service", "rm", "--timeout", "2"]);
    // A task without a service, and one that ends by itself.
    compose(&["up"]);
    let rows = listed(&["ps", "--desired-status", "RUNNING"]);
    let [row] = &rows[..] else { panic!("{rows:?}") };
    answers(&cli, row);
    // It still runs, on no instance of the cluster.
    cli.run(&["down", "--force", "--cluster-config", "tutorial"]);
    assert!(cli.failed(&["ps", "--cluster-config", "tutorial"]).contains("Cluster 'tutorial' is not active"));
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

/// What Cloud Map knows under a name.
fn known_as(cluster: &Cluster, namespace: &str, name: &str) -> Vec<String> {
    let asked = json!({"NamespaceName": namespace, "ServiceName": name});
    let found = cluster.api().discovery("DiscoverInstances", &asked);
    let address =
        |instance: &serde_json::Value| instance["Attributes"]["AWS_INSTANCE_IPV4"].as_str().unwrap().to_owned();
    found["Instances"].as_array().unwrap().iter().map(address).collect()
}

/// The walkthrough of service discovery: a namespace and a name are made with the service, and deleted with it.
#[test]
fn a_service_has_a_name_while_it_is_there() {
    let cluster = Cluster::start_with(0, |_| vec![("LONGSHORE_FARGATE_INSTANCES".to_owned(), "1".to_owned())]);
    let api = cluster.api();
    let cli = EcsCli::new(&cluster);
    cli.run(&["configure", "--cluster", "tutorial", "--region", "us-east-1", "--default-launch-type", "FARGATE"]);
    let said = cli.run(&["up"]);
    let [vpc] = made(&said, "VPC created:")[..] else { panic!("{said}") };
    let [first, second, ..] = made(&said, "Subnet created:")[..] else { panic!("{said}") };
    let [group] = made(&said, "Security Group created:")[..] else { panic!("{said}") };
    cli.write("docker-compose.yml", COMPOSE);
    let params = PARAMS.replace("SUBNET_0", first).replace("SUBNET_1", second).replace("GROUP", group);
    cli.write("ecs-params.yml", &params);
    let compose = ["compose", "--project-name", "backend", "service"];
    let up = ["up", "--create-log-groups", "--enable-service-discovery", "--vpc", vpc];
    let said = cli.run(&[&compose[..], &up, &["--private-dns-namespace", "tutorial"]].concat());
    assert!(said.contains("Created the private DNS namespace") && said.contains("Created an ECS service"), "{said}");
    until("its name", || (known_as(&cluster, "tutorial", "backend").len() == 1).then_some(()));
    // Another service finds the namespace there, and takes only its own name away.
    let other = ["compose", "--project-name", "frontend", "service"];
    let up = ["create", "--enable-service-discovery", "--private-dns-namespace", "tutorial"];
    cli.run(&[&other[..], &up].concat());
    let said = cli.run(&[&other[..], &["rm", "--delete-namespace"]].concat());
    assert!(said.contains("was not made for this service and stays"), "{said}");
    let update = ["up", "--enable-service-discovery", "--private-dns-namespace", "tutorial", "--dns-ttl", "5"];
    cli.run(&[&compose[..], &update, &["--update-service-discovery"]].concat());
    let services = api.discovery("ListServices", &json!({}));
    assert_eq!(services["Services"][0]["DnsConfig"]["DnsRecords"], json!([{"Type": "A", "TTL": 5}]), "{services:#}");
    cli.run(&[&compose[..], &["rm", "--delete-namespace"]].concat());
    for (operation, list) in [("ListServices", "Services"), ("ListNamespaces", "Namespaces")] {
        assert_eq!(api.discovery(operation, &json!({}))[list], json!([]), "{operation}");
    }
}
