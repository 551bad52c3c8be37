//! Tasks with a network interface of their own: real containers on several instances, who may talk to whom, and what is left.

use crate::{
    api::Api,
    harness::{Cluster, processes, until},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, process::Command};

/// A VPC of one's own with a subnet in each zone.
pub(crate) struct Vpc<'a> {
    api: &'a Api,
    pub(crate) id: String,
    subnets: Vec<String>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

impl<'a> Vpc<'a> {
    pub(crate) fn new(api: &'a Api, network: &str) -> Self {
        let made = api.ec2("CreateVpc", &json!({"CidrBlock": format!("{network}.0.0/16")}));
        let id = text(&made["Vpc"]["VpcId"]);
        let zones = api.ec2("DescribeAvailabilityZones", &json!({}));
        let zones = zones["AvailabilityZones"].as_array().unwrap().iter().enumerate();
        let subnets = zones.map(|(number, zone)| {
            let cidr = format!("{network}.{}.0/24", number + 1);
            let asked = json!({"VpcId": id, "CidrBlock": cidr, "AvailabilityZone": zone["ZoneName"]});
            text(&api.ec2("CreateSubnet", &asked)["Subnet"]["SubnetId"])
        });
        let subnets = subnets.collect();
        Self { api, id, subnets }
    }

    /// A group that nobody may talk to yet, and that may talk to everybody.
    pub(crate) fn group(&self, name: &str) -> String {
        let asked = json!({"GroupName": name, "Description": name, "VpcId": self.id});
        text(&self.api.ec2("CreateSecurityGroup", &asked)["GroupId"])
    }

    pub(crate) fn rule(&self, operation: &str, group: &str, port: u16, from: &str) {
        let pairs = json!([{"GroupId": from}]);
        let permission = json!({"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "UserIdGroupPairs": pairs});
        self.api.ec2(operation, &json!({"GroupId": group, "IpPermissions": [permission]}));
    }

    pub(crate) fn configuration(&self, groups: &[&str]) -> Value {
        json!({"awsvpcConfiguration": {"subnets": self.subnets, "securityGroups": groups}})
    }

    /// A task of that family, running.
    pub(crate) fn run(&self, cluster: &Cluster, family: &str, groups: &[&str]) -> Running {
        let input = json!({"taskDefinition": family, "networkConfiguration": self.configuration(groups)});
        let answer = self.api.ecs("RunTask", &input);
        assert_eq!(answer["failures"], json!([]), "{answer:#}");
        let arn = text(&answer["tasks"][0]["taskArn"]);
        Running::of(&cluster.wait(&arn, "RUNNING"))
    }
}

pub(crate) struct Running {
    pub(crate) arn: String,
    pub(crate) instance: String,
    interface: String,
    pub(crate) address: String,
}

impl Running {
    pub(crate) fn of(task: &Value) -> Self {
        let details = task["attachments"][0]["details"].as_array().unwrap();
        let details: BTreeMap<String, String> = details.iter().map(|d| (text(&d["name"]), text(&d["value"]))).collect();
        let of = |name: &str| details[name].clone();
        let (interface, address) = (of("networkInterfaceId"), of("privateIPv4Address"));
        // Tasks of Fargate show none.
        let instance = task["containerInstanceArn"].as_str().unwrap_or_default().to_owned();
        Self { arn: text(&task["taskArn"]), instance, interface, address }
    }

    /// What a program says inside the task's network.
    pub(crate) fn inside(&self, program: &[&str]) -> Option<String> {
        let pid = pid_at(&self.address)?;
        let net = format!("--net=/proc/{pid}/ns/net");
        let out = Command::new("nsenter").arg(net).args(program).output().unwrap();
        out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// Whether a new connection to a port is answered.
    pub(crate) fn reaches(&self, other: &Running, port: u16) -> bool {
        let script = format!("echo ask | busybox nc -w 1 {} {port}", other.address);
        self.inside(&["sh", "-c", &script]).is_some_and(|said| said.contains("answer"))
    }
}

/// A process of the cluster's containers whose network has that address.
pub(crate) fn pid_at(address: &str) -> Option<u32> {
    let answers = |words: &Vec<String>| words.iter().any(|word| word.contains(SERVES));
    let has = |pid: &u32| {
        let net = format!("--net=/proc/{pid}/ns/net");
        let out = Command::new("nsenter").args([&net, "ip", "-o", "-4", "addr"]).output().unwrap();
        String::from_utf8_lossy(&out.stdout).contains(&format!("inet {address}/"))
    };
    processes().into_iter().filter(|(_, words)| answers(words)).map(|(pid, _)| pid).find(has)
}

/// Answers each connection on two ports.
const SERVES: &str = "echo answer";

pub(crate) fn define(cluster: &Cluster, api: &Api) {
    let script = "trap exit TERM; for p in 80 81; do nc -ll -p $p -e echo answer & done; while :; do sleep 0.1; done";
    let container = |name: &str, script: &str| json!({"name": name, "image": cluster.image, "memory": 16, "stopTimeout": 2, "command": ["sh", "-c", script]});
    let beside = "trap exit TERM; while :; do sleep 0.1; done";
    let containers = json!([container("main", script), container("beside", beside)]);
    let definition = json!({"family": "web", "networkMode": "awsvpc", "containerDefinitions": containers});
    api.ecs("RegisterTaskDefinition", &definition);
}

#[test]
fn tasks_talk_across_instances_as_their_groups_say() {
    let cluster = Cluster::start(2);
    let api = cluster.api();
    define(&cluster, &api);
    let vpc = Vpc::new(&api, "10.7");
    let (clients, servers) = (vpc.group("clients"), vpc.group("servers"));
    vpc.rule("AuthorizeSecurityGroupIngress", &servers, 80, &clients);
    let server = vpc.run(&cluster, "web", &[&servers]);
    // Two fit onto an instance, so that one of three is elsewhere.
    let asking: Vec<_> = (0..3).map(|_| vpc.run(&cluster, "web", &[&clients])).collect();
    assert!(asking.iter().any(|task| task.instance != server.instance), "all are on one instance");
    for task in &asking {
        until("an answer", || task.reaches(&server, 80).then_some(()));
        assert!(!task.reaches(&server, 81), "no rule lets that port in");
        assert!(!server.reaches(task, 80), "nobody may talk to clients");
    }
    vpc.rule("RevokeSecurityGroupIngress", &servers, 80, &clients);
    for task in &asking {
        until("no answer", || (!task.reaches(&server, 80)).then_some(()));
    }
    vpc.rule("AuthorizeSecurityGroupIngress", &servers, 81, &clients);
    for task in &asking {
        until("an answer on the other port", || task.reaches(&server, 81).then_some(()));
    }
}

/// The address that a server on the test's own host, which stands for the internet, sees a task come from.
fn seen_outside(task: &Running, port: u16) -> Option<String> {
    let listener = std::net::TcpListener::bind(("0.0.0.0", port)).unwrap();
    // Whoever comes is told to go at once, and the last to come is this thread itself: then nobody else will.
    let first = std::thread::scope(|scope| {
        let accepting = scope.spawn(|| listener.accept().unwrap().1.ip());
        task.inside(&["sh", "-c", &format!("echo ask | busybox nc -w 2 192.0.2.1 {port}")]);
        let own = std::net::TcpStream::connect(("127.0.0.1", port));
        let first = accepting.join().unwrap();
        drop(own);
        first
    });
    (!first.is_loopback()).then(|| first.to_string())
}

#[test]
fn the_internet_is_reached_by_a_public_address_or_through_a_gateway_and_not_else() {
    // Only tasks of Fargate have public addresses; under runc, so that its network can be entered.
    let fargate = [("LONGSHORE_FARGATE_INSTANCES", "1"), ("LONGSHORE_RUNTIME", "runc")];
    let fargate = fargate.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let cluster = Cluster::start_with(2, |_| fargate.clone());
    let api = cluster.api();
    // Somewhere outside.
    let words = ["addr", "add", "192.0.2.1/32", "dev", "lo"];
    assert!(Command::new("ip").args(words).status().unwrap().success());
    define(&cluster, &api);
    let vpc = Vpc::new(&api, "10.7");
    let all = vpc.group("all");
    let closed = vpc.run(&cluster, "web", &[&all]);
    assert_eq!(seen_outside(&closed, 8001), None, "no route leads out");

    let gateway = text(&api.ec2("CreateInternetGateway", &json!({}))["InternetGateway"]["InternetGatewayId"]);
    api.ec2("AttachInternetGateway", &json!({"InternetGatewayId": gateway, "VpcId": vpc.id}));
    let filter = json!({"Filters": [{"Name": "vpc-id", "Values": [vpc.id]}]});
    let table = text(&api.ec2("DescribeRouteTables", &filter)["RouteTables"][0]["RouteTableId"]);
    let route =
        |target: &str, id: &str| json!({"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0", target: id});
    api.ec2("CreateRoute", &route("GatewayId", &gateway));
    let mut configuration = vpc.configuration(&[&all]);
    configuration["awsvpcConfiguration"]["assignPublicIp"] = json!("ENABLED");
    let mut definition = api.ecs("DescribeTaskDefinition", &json!({"taskDefinition": "web"}))["taskDefinition"].clone();
    definition.as_object_mut().unwrap().retain(|name, _| ["networkMode", "containerDefinitions"].contains(&&**name));
    let size = json!({"family": "open", "cpu": "256", "memory": "512", "requiresCompatibilities": ["FARGATE"]});
    definition.as_object_mut().unwrap().extend(size.as_object().unwrap().clone());
    api.ecs("RegisterTaskDefinition", &definition);
    let input = json!({"taskDefinition": "open", "launchType": "FARGATE", "networkConfiguration": configuration});
    // Until its machine's agent has joined there is no room on Fargate.
    let arn =
        until("room on Fargate", || api.ecs("RunTask", &input)["tasks"][0]["taskArn"].as_str().map(str::to_owned));
    let open = Running::of(&cluster.wait(&arn, "RUNNING"));
    let interfaces = api.ec2("DescribeNetworkInterfaces", &json!({"NetworkInterfaceIds": [open.interface]}));
    let public = text(&interfaces["NetworkInterfaces"][0]["Association"]["PublicIp"]);
    assert!(public.starts_with("198.51.100."), "{public}");
    until("the way out", || (seen_outside(&open, 8002) == Some(public.clone())).then_some(()));
    assert_eq!(seen_outside(&closed, 8003), None, "who has no public address is not let out");

    // Who asks for the public address from outside is let in as the group says.
    let ask = || {
        let out = Command::new("sh").args(["-c", &format!("echo ask | busybox nc -w 1 {public} 80")]).output().unwrap();
        String::from_utf8_lossy(&out.stdout).contains("answer")
    };
    assert!(!ask());
    let world = json!({"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "198.51.100.0/32"}]});
    api.ec2("AuthorizeSecurityGroupIngress", &json!({"GroupId": all, "IpPermissions": [world]}));
    until("an answer to the outside", || ask().then_some(()));

    // A gateway's public address stands for all that go through it. Its own subnet is led to the internet gateway.
    let asked = json!({"VpcId": vpc.id, "CidrBlock": "10.7.9.0/24"});
    let subnet = text(&api.ec2("CreateSubnet", &asked)["Subnet"]["SubnetId"]);
    let own = text(&api.ec2("CreateRouteTable", &json!({"VpcId": vpc.id}))["RouteTable"]["RouteTableId"]);
    api.ec2("AssociateRouteTable", &json!({"RouteTableId": own, "SubnetId": subnet}));
    let out = json!({"RouteTableId": own, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": gateway});
    api.ec2("CreateRoute", &out);
    let allocation = text(&api.ec2("AllocateAddress", &json!({"Domain": "vpc"}))["AllocationId"]);
    let asked = json!({"SubnetId": subnet, "AllocationId": allocation});
    let nat = api.ec2("CreateNatGateway", &asked)["NatGateway"].clone();
    let through = text(&nat["NatGatewayAddresses"][0]["PublicIp"]);
    api.ec2("ReplaceRoute", &route("NatGatewayId", &text(&nat["NatGatewayId"])));
    for (task, port) in [(&closed, 8004), (&open, 8005)] {
        until("the way through the gateway", || (seen_outside(task, port) == Some(through.clone())).then_some(()));
    }
}

#[test]
fn vpcs_of_the_same_addresses_never_meet_and_nothing_is_left_of_them() {
    let cluster = Cluster::start(1);
    let api = cluster.api();
    define(&cluster, &api);
    let vpcs = [Vpc::new(&api, "10.7"), Vpc::new(&api, "10.7")];
    let tasks: Vec<_> = vpcs
        .iter()
        .map(|vpc| {
            let all = vpc.group("all");
            vpc.rule("AuthorizeSecurityGroupIngress", &all, 80, &all);
            vpc.run(&cluster, "web", &[&all])
        })
        .collect();
    // Each reaches itself alone at the address; the other one's, if it is another, nobody has there.
    for (one, other) in [(&tasks[0], &tasks[1]), (&tasks[1], &tasks[0])] {
        assert!(one.reaches(one, 80));
        assert!(one.address == other.address || !one.reaches(other, 80));
    }
    // The router answers: names of its own VPC, and who asks.
    let [task, _] = &tasks[..] else { unreachable!("two were run") };
    let name = format!("ip-{}.ec2.internal", task.address.replace('.', "-"));
    let resolved = task.inside(&["busybox", "nslookup", "-type=a", &name, "10.7.0.2"]);
    assert!(resolved.as_ref().is_some_and(|said| said.contains(&format!("Address: {}", task.address))), "{resolved:?}");
    let told = task.inside(&["busybox", "wget", "-q", "-O", "-", "http://169.254.170.2/v2/metadata"]);
    let told: Value = serde_json::from_str(&told.expect("an answer")).unwrap();
    assert_eq!(told["TaskARN"], task.arn);
    let network = &told["Containers"][0]["Networks"][0];
    assert_eq!((&network["NetworkMode"], &network["IPv4Addresses"][0]), (&json!("awsvpc"), &json!(task.address)));
    let instance = ["busybox", "wget", "-q", "-O", "-", "http://169.254.169.254/latest/meta-data/instance-id"];
    assert_eq!(task.inside(&instance), cluster.agents().into_keys().next());
    // A connection lives on while its agent is killed and comes back.
    let before = pid_at(&task.address);
    for pid in cluster.agents().into_values() {
        Cluster::kill(pid);
    }
    cluster.until_connected(&api, 1);
    assert_eq!(pid_at(&task.address), before);
    until("an answer again", || task.reaches(task, 80).then_some(()));
    for task in &tasks {
        api.ecs("StopTask", &json!({"task": task.arn}));
    }
    for task in &tasks {
        let stopped = cluster.wait(&task.arn, "STOPPED");
        assert_eq!(stopped["attachments"][0]["status"], "DELETED", "{stopped:#}");
    }
    let mut left = Vec::new();
    until("all is gone", || {
        left = cluster.left_of_tasks();
        left.is_empty().then_some(())
    });
    for vpc in &vpcs {
        for subnet in &vpc.subnets {
            api.ec2("DeleteSubnet", &json!({"SubnetId": subnet}));
        }
    }
}

#[test]
fn tasks_are_kept_from_their_instances_metadata_where_its_agent_is_told_so() {
    let cluster = Cluster::start_with(1, |_| vec![("ECS_AWSVPC_BLOCK_IMDS".to_owned(), "true".to_owned())]);
    let api = cluster.api();
    define(&cluster, &api);
    let vpc = Vpc::new(&api, "10.7");
    let task = vpc.run(&cluster, "web", &[&vpc.group("all")]);
    let answers = |at: &str| task.inside(&["sh", "-c", &format!("busybox nc -w 2 {at} 80 </dev/null")]).is_some();
    until("its own metadata", || answers("169.254.170.2").then_some(()));
    assert!(!answers("169.254.169.254"), "its instance's");
}

/// Runs a program in each router of this VPC, wherever it stands.
fn in_routers(cluster: &Cluster, vpc: &Vpc<'_>, program: &[&str]) -> usize {
    let routers = cluster.routers(&vpc.id);
    for router in &routers {
        let out = Command::new("nsenter").arg(format!("--net={}", router.display())).args(program).output().unwrap();
        assert!(out.status.success(), "{program:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
    routers.len()
}

#[test]
fn what_somebody_else_breaks_in_a_vpc_is_made_good() {
    let cluster = Cluster::start(2);
    let api = cluster.api();
    define(&cluster, &api);
    let vpc = Vpc::new(&api, "10.7");
    let all = vpc.group("all");
    vpc.rule("AuthorizeSecurityGroupIngress", &all, 80, &all);
    // Two fit onto an instance.
    let tasks: Vec<_> = (0..3).map(|_| vpc.run(&cluster, "web", &[&all])).collect();
    let other = tasks.iter().find(|task| task.instance != tasks[0].instance).expect("all are on one instance");
    until("an answer", || tasks[0].reaches(other, 80).then_some(()));
    assert!(!tasks[0].reaches(other, 81), "no rule lets that port in");
    // Without rules everything passes, and nothing else changes.
    assert_eq!(in_routers(&cluster, &vpc, &["nft", "flush", "ruleset"]), 2);
    assert!(tasks[0].reaches(other, 81), "the rules were not what kept it shut");
    until("the rules again", || (!tasks[0].reaches(other, 81)).then_some(()));
    until("an answer", || tasks[0].reaches(other, 80).then_some(()));
    assert_eq!(in_routers(&cluster, &vpc, &["ip", "link", "del", "vx"]), 2);
    assert!(!tasks[0].reaches(other, 80), "there is another way than the overlay");
    until("the overlay again", || tasks[0].reaches(other, 80).then_some(()));
}

#[test]
fn a_service_is_found_by_its_name_as_its_tasks_come_and_go() {
    let cluster = Cluster::start(2);
    let api = cluster.api();
    define(&cluster, &api);
    let vpc = Vpc::new(&api, "10.7");
    let all = vpc.group("all");
    let made = api.discovery("CreatePrivateDnsNamespace", &json!({"Name": "internal", "Vpc": vpc.id}));
    let operation = api.discovery("GetOperation", &json!({"OperationId": made["OperationId"]}));
    let namespace = text(&operation["Operation"]["Targets"]["NAMESPACE"]);
    let records = json!([{"Type": "A", "TTL": 1}]);
    let asked = json!({"Name": "web", "NamespaceId": namespace, "DnsConfig": {"DnsRecords": records}});
    let registry = text(&api.discovery("CreateService", &asked)["Service"]["Arn"]);
    let asking = vpc.run(&cluster, "web", &[&all]);
    let addresses = || {
        let said = asking.inside(&["busybox", "nslookup", "-type=a", "web.internal", "10.7.0.2"]).unwrap_or_default();
        let answer = said.lines().skip_while(|line| !line.starts_with("Name:"));
        let found = answer.filter_map(|line| line.strip_prefix("Address: ")).map(str::to_owned);
        found.collect::<std::collections::BTreeSet<_>>()
    };
    assert!(addresses().is_empty());
    let service = json!({
        "serviceName": "web", "taskDefinition": "web", "desiredCount": 2, "networkConfiguration": vpc.configuration(&[&all]),
        "serviceRegistries": [{"registryArn": registry}],
    });
    api.ecs("CreateService", &service);
    let running = || {
        let arns = api.ecs("ListTasks", &json!({"serviceName": "web"}))["taskArns"].clone();
        if arns.as_array().unwrap().is_empty() {
            return std::collections::BTreeSet::new();
        }
        let tasks = api.ecs("DescribeTasks", &json!({"tasks": arns}))["tasks"].as_array().unwrap().clone();
        tasks.iter().filter(|task| task["lastStatus"] == "RUNNING").map(|task| Running::of(task).address).collect()
    };
    until("both names", || (addresses().len() == 2 && addresses() == running()).then_some(()));
    let before = addresses();
    api.ecs("UpdateService", &json!({"service": "web", "desiredCount": 1}));
    until("one name less", || (addresses().len() == 1 && addresses().is_subset(&before)).then_some(()));
    api.ecs("UpdateService", &json!({"service": "web", "desiredCount": 0}));
    until("none", || addresses().is_empty().then_some(()));
}

#[test]
fn two_hundred_tasks_come_and_go_and_leave_nothing() {
    // Seven tasks with an interface fit onto each.
    let cluster = Cluster::start_as(2, "m5.4xlarge");
    let api = cluster.api();
    define(&cluster, &api);
    let vpc = Vpc::new(&api, "10.7");
    let all = vpc.group("all");
    let configuration = vpc.configuration(&[&all]);
    let mut addresses = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let input = json!({"taskDefinition": "web", "count": 10, "networkConfiguration": configuration});
        let answer = api.ecs("RunTask", &input);
        assert_eq!(answer["failures"], json!([]), "{answer:#}");
        let arns: Vec<Value> = answer["tasks"].as_array().unwrap().iter().map(|t| t["taskArn"].clone()).collect();
        let described = || api.ecs("DescribeTasks", &json!({"tasks": arns}))["tasks"].as_array().unwrap().clone();
        let all_are = |status: &str| described().iter().all(|task| task["lastStatus"] == status);
        until("ten tasks", || all_are("RUNNING").then_some(()));
        let running = described();
        addresses.extend(running.iter().map(|task| Running::of(task).address));
        for arn in &arns {
            api.ecs("StopTask", &json!({"task": arn}));
        }
        until("ten stopped tasks", || all_are("STOPPED").then_some(()));
    }
    assert!(addresses.len() > 100, "an address is given again late: {}", addresses.len());
    until("all is gone", || cluster.left_of_tasks().is_empty().then_some(()));
}

/// One task's network is made while another's goes, in every order that there is.
#[test]
#[allow(clippy::disallowed_methods)] // When a task is stopped while it starts is what is tested.
fn tasks_that_are_stopped_while_they_start_leave_nothing_and_are_no_others_error() {
    let cluster = Cluster::start_as(1, "m5.4xlarge");
    let api = cluster.api();
    api.ecs("PutAccountSettingDefault", &json!({"name": "awsvpcTrunking", "value": "enabled"}));
    // The instance holds as many from its next session on.
    cluster.agents().into_values().for_each(Cluster::kill);
    define(&cluster, &api);
    let vpc = Vpc::new(&api, "10.7");
    let configuration = vpc.configuration(&[&vpc.group("all")]);
    let mut tasks = Vec::new();
    for burst in 0..20 {
        let input = json!({"taskDefinition": "web", "count": 3, "networkConfiguration": configuration});
        let arns: Vec<String> = until("room for a task", || {
            let placed = api.ecs("RunTask", &input)["tasks"].as_array().unwrap().clone();
            (!placed.is_empty()).then(|| placed.iter().map(|task| text(&task["taskArn"])).collect())
        });
        std::thread::sleep(std::time::Duration::from_millis(burst * 67 % 250));
        for arn in &arns {
            api.ecs("StopTask", &json!({"task": arn, "reason": "enough"}));
        }
        tasks.extend(arns);
    }
    let stopped = until("stopped tasks", || {
        let all = api.ecs("DescribeTasks", &json!({"tasks": tasks}))["tasks"].as_array().unwrap().clone();
        all.iter().all(|task| task["lastStatus"] == "STOPPED").then_some(all)
    });
    for task in stopped {
        let why = (&task["stopCode"], &task["stoppedReason"]);
        assert_eq!(why, (&json!("UserInitiated"), &json!("enough")), "{task:#}\n{}", cluster.log());
    }
    let is_namespace = |left: &String| left.contains(": namespace ");
    until("no namespace", || (!cluster.left_of_tasks().iter().any(is_namespace)).then_some(()));
    let log = cluster.log();
    for trouble in ["a VPC is not as it is to be", "a task's network interface could not be made"] {
        assert!(!log.contains(trouble), "{log}");
    }
}
