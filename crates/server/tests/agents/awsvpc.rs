//! Tasks with a network interface of their own: what clients see of its life, and what agents are told of their VPCs.

use crate::agent::{Machine, Session, hello, token};
use crate::{Harness, code, ec2, ecs, list, text};
use link::{Assignments, Networks, ServerMessage, Views};
use model::{
    AttachmentState, ContainerObservation, ContainerStatus, ObservedStatus, Stop, StopCode, TaskObservation,
    WireguardKey, fargate::POOL_CLUSTER, network::VpcId,
};
use serde_json::{Value, json};

/// An agent that makes interfaces, in a zone, and all it was told of VPCs.
pub(crate) struct Agent {
    session: Session,
    pub(crate) views: Views,
}

impl Agent {
    pub(crate) async fn join(harness: &Harness, zone: &str, host: [u8; 4]) -> (Self, String) {
        Self::join_with(harness, zone, host, None, false).await
    }

    /// As [`Self::join`], on a machine given to Fargate.
    async fn join_fargate(harness: &Harness, zone: &str, host: [u8; 4]) -> Self {
        Self::join_with(harness, zone, host, None, true).await.0
    }

    /// As [`Self::join`], with a key, or on a machine given to Fargate.
    async fn join_with(
        harness: &Harness,
        zone: &str,
        host: [u8; 4],
        key: Option<WireguardKey>,
        fargate: bool,
    ) -> (Self, String) {
        let (of_token, pool) = if fargate { (None, Some(POOL_CLUSTER)) } else { (Some("demo"), None) };
        let token = token(harness, of_token, 1).await;
        let mut machine = Machine::new(harness).await;
        let identity = machine.join(harness, &token, pool).await.unwrap();
        let mut hello = hello();
        if fargate {
            hello.resources.memory = model::MemoryMib(2048);
            hello.attributes.insert("ecs.capability.task-cpu-mem-limit".to_owned(), None);
            hello.attributes.insert("ecs.cpu-architecture".to_owned(), Some("x86_64".to_owned()));
        }
        hello.address = Some(host.into());
        hello.wireguard = key;
        hello.attributes.insert("ecs.availability-zone".to_owned(), Some(zone.to_owned()));
        hello.attributes.insert("ecs.capability.task-eni".to_owned(), None);
        let mut session = machine.open_as(harness, hello).await;
        assert!(matches!(session.receive().await, ServerMessage::Welcome(_)));
        // Whatever an earlier run of it has left standing, it carries nothing now.
        match session.receive().await {
            ServerMessage::Networks(news) => assert_eq!(news, Networks { whole: true, ..Networks::default() }),
            other => panic!("{other:?} instead of all VPCs"),
        }
        session.assignments().await;
        (Self { session, views: Views::new() }, identity.container_instance.to_string())
    }

    /// The next set of tasks; what is told of VPCs on the way there is taken in.
    pub(crate) async fn assignments(&mut self) -> Assignments {
        loop {
            match self.session.receive().await {
                ServerMessage::Assignments(set) => return set,
                ServerMessage::Networks(news) => drop(news.lay_over(&mut self.views)),
                other => panic!("{other:?} instead of assignments"),
            }
        }
    }

    pub(crate) async fn news(&mut self) -> Networks {
        match self.session.receive().await {
            ServerMessage::Networks(news) => {
                news.clone().lay_over(&mut self.views);
                news
            }
            other => panic!("{other:?} instead of news of networks"),
        }
    }

    /// Reports how far a task has come, and waits until that is taken.
    pub(crate) async fn report(&mut self, task: &str, status: ObservedStatus, attachment: AttachmentState) {
        let running = status == ObservedStatus::Running;
        let container = ContainerObservation {
            name: "app".into(),
            status: if running { ContainerStatus::Running } else { ContainerStatus::Pending },
            runtime_id: None,
            image_digest: None,
            exit_code: None,
            reason: None,
            network_bindings: Vec::new(),
            health: None,
        };
        let seen = TaskObservation {
            task: task.parse().unwrap(),
            status,
            containers: vec![container],
            pull_started: None,
            pull_stopped: None,
            execution_stopped: None,
            attachment: Some(attachment),
        };
        self.session.send(&link::AgentMessage::Report { seq: 1, tasks: vec![seen], measured: Vec::new() }).await;
        loop {
            match self.session.receive().await {
                ServerMessage::ReportAck { .. } => return,
                ServerMessage::Networks(news) => drop(news.lay_over(&mut self.views)),
                ServerMessage::Assignments(_) => {}
                other => panic!("{other:?} instead of an acknowledgement"),
            }
        }
    }
}

pub(crate) async fn defined(harness: &Harness) {
    ecs(harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    for mode in ["awsvpc", "bridge"] {
        let container =
            json!({"name": "app", "image": "busybox", "memory": 64, "portMappings": [{"containerPort": 80}]});
        let definition = json!({"family": mode, "networkMode": mode, "containerDefinitions": [container]});
        ecs(harness, "RegisterTaskDefinition", definition).await;
    }
}

/// A VPC of one's own with a subnet in a zone; both ids.
pub(crate) async fn vpc(harness: &Harness, cidr: &str, subnet: &str, zone: &str) -> (String, String) {
    let made = ec2(harness, "CreateVpc", json!({"CidrBlock": cidr})).await;
    let vpc = text(&made["Vpc"]["VpcId"]).to_owned();
    let asked = json!({"VpcId": vpc, "CidrBlock": subnet, "AvailabilityZone": zone});
    let made = ec2(harness, "CreateSubnet", asked).await;
    (vpc, text(&made["Subnet"]["SubnetId"]).to_owned())
}

fn run(definition: &str, subnets: &[&str]) -> Value {
    let network = json!({"awsvpcConfiguration": {"subnets": subnets}});
    json!({"cluster": "demo", "taskDefinition": definition, "networkConfiguration": network})
}

async fn refusal(harness: &Harness, request: Value) -> String {
    match harness.call("ecs", "RunTask", &request).await {
        Ok(answer) => panic!("{request} was let in: {answer:#}"),
        Err(error) => {
            assert_eq!(error.code, "InvalidParameterException");
            error.message
        }
    }
}

async fn task(harness: &Harness, arn: &str) -> Value {
    ecs(harness, "DescribeTasks", json!({"cluster": "demo", "tasks": [arn]})).await["tasks"][0].clone()
}

fn detail<'a>(task: &'a Value, name: &str) -> &'a str {
    let details = list(&task["attachments"][0]["details"]);
    text(&details.iter().find(|detail| detail["name"] == name).unwrap_or_else(|| panic!("{name}: {task:#}"))["value"])
}

#[tokio::test]
async fn what_fits_no_network_is_refused_in_the_originals_words() {
    let harness = Harness::start().await;
    defined(&harness).await;
    let (_, subnet) = vpc(&harness, "10.0.0.0/16", "10.0.1.0/24", "us-east-1b").await;
    let (other, elsewhere) = vpc(&harness, "10.1.0.0/16", "10.1.1.0/24", "us-east-1b").await;
    let group =
        ec2(&harness, "CreateSecurityGroup", json!({"GroupName": "g", "Description": "g", "VpcId": other})).await;
    let mut grouped = run("awsvpc", &[&subnet]);
    grouped["networkConfiguration"]["awsvpcConfiguration"]["securityGroups"] = json!([group["GroupId"]]);
    let without = json!({"cluster": "demo", "taskDefinition": "awsvpc"});
    let ghost = "subnet-00000000000000009";
    for (request, want) in [
        (without, "Network Configuration must be provided when networkMode 'awsvpc' is specified."),
        (
            run("bridge", &[&subnet]),
            "Network Configuration is not valid for the given networkMode of this task definition.",
        ),
        (run("awsvpc", &[]), "subnets can not be empty."),
        (
            run("awsvpc", &[ghost]),
            "Error retrieving subnet information for [subnet-00000000000000009]: The subnet ID \
             'subnet-00000000000000009' does not exist (ErrorCode: InvalidSubnetID.NotFound)",
        ),
        (run("awsvpc", &[&subnet, &elsewhere]), "All subnets must be in the same VPC."),
    ] {
        assert_eq!(refusal(&harness, request).await, want);
    }
    assert!(
        refusal(&harness, grouped).await.ends_with("does not appear to belong to the same VPC as the input subnets.")
    );
    // Who cannot make interfaces, has none left or is elsewhere is told apart.
    let (_agent, instance) = Agent::join(&harness, "us-east-1c", [172, 31, 0, 5]).await;
    let answer = ecs(&harness, "RunTask", run("awsvpc", &[&subnet])).await;
    assert_eq!(answer["failures"], json!([{"arn": instance, "reason": "LOCATION"}]));
}

#[tokio::test]
async fn an_interface_lives_and_goes_with_its_task() {
    let harness = Harness::start().await;
    defined(&harness).await;
    let (vpc, subnet) = vpc(&harness, "10.0.0.0/16", "10.0.1.0/24", "us-east-1b").await;
    let (mut agent, _) = Agent::join(&harness, "us-east-1b", [172, 31, 0, 5]).await;
    let answer = ecs(&harness, "RunTask", run("awsvpc", &[&subnet])).await;
    let born = answer["tasks"][0].clone();
    let arn = text(&born["taskArn"]).to_owned();
    assert_eq!((text(&born["lastStatus"]), text(&born["attachments"][0]["status"])), ("PROVISIONING", "PRECREATED"));
    assert_eq!(
        (detail(&born, "subnetId"), text(&born["attachments"][0]["type"])),
        (&*subnet, "ElasticNetworkInterface")
    );
    let address = detail(&born, "privateIPv4Address").to_owned();
    assert!(address.starts_with("10.0.1."), "{address}");
    assert_eq!(detail(&born, "privateDnsName"), format!("ip-{}.ec2.internal", address.replace('.', "-")));
    assert_eq!(born["containers"][0]["networkInterfaces"][0]["privateIpv4Address"], address);

    // The VPC is told before the task that is in it.
    let held = agent.assignments().await;
    let interface = held.tasks[0].interface.clone().unwrap();
    assert_eq!(
        (interface.address.to_string(), interface.subnet.to_string()),
        (address.clone(), "10.0.1.0/24".to_owned())
    );
    assert_eq!(interface.resolver, Some([10, 0, 0, 2].into()));
    let view = &agent.views[&VpcId::parse(&*vpc).unwrap()];
    assert_eq!(view.interfaces[&interface.id].host, std::net::Ipv4Addr::new(172, 31, 0, 5));
    assert_eq!((view.facts.groups.len(), view.facts.subnets.len()), (1, 1));

    let described = json!({"NetworkInterfaceIds": [detail(&born, "networkInterfaceId")]});
    let shown = ec2(&harness, "DescribeNetworkInterfaces", described.clone()).await["NetworkInterfaces"][0].clone();
    assert_eq!((text(&shown["Status"]), shown["RequesterManaged"].as_bool()), ("in-use", Some(true)));
    assert_eq!(
        (text(&shown["PrivateIpAddress"]), text(&shown["MacAddress"])),
        (&*address, detail(&born, "macAddress"))
    );
    let id = json!({"NetworkInterfaceId": detail(&born, "networkInterfaceId")});
    assert_eq!(code(&harness, "ec2", "DeleteNetworkInterface", id).await, "InvalidParameterValue");
    assert_eq!(code(&harness, "ec2", "DeleteSubnet", json!({"SubnetId": subnet})).await, "DependencyViolation");

    let stop = || Stop { code: StopCode::UserInitiated, reason: "enough".into() };
    for (status, attachment, want) in [
        (ObservedStatus::Pending, AttachmentState::Precreated, ("PROVISIONING", "PRECREATED")),
        (ObservedStatus::Pending, AttachmentState::Attached, ("PENDING", "ATTACHED")),
        (ObservedStatus::Running, AttachmentState::Attached, ("RUNNING", "ATTACHED")),
        (ObservedStatus::Stopping(stop()), AttachmentState::Attached, ("STOPPING", "ATTACHED")),
        (ObservedStatus::Stopping(stop()), AttachmentState::Detaching, ("DEPROVISIONING", "DETACHING")),
        (ObservedStatus::Stopped(stop()), AttachmentState::Deleted, ("STOPPED", "DELETED")),
    ] {
        agent.report(&arn, status, attachment).await;
        let shown = task(&harness, &arn).await;
        assert_eq!((text(&shown["lastStatus"]), text(&shown["attachments"][0]["status"])), want);
    }
    assert_eq!(
        code(&harness, "ec2", "DescribeNetworkInterfaces", described).await,
        "InvalidNetworkInterfaceID.NotFound"
    );
    ec2(&harness, "DeleteSubnet", json!({"SubnetId": subnet})).await;
}

#[tokio::test]
async fn agents_are_told_what_changes_in_their_vpcs_and_nothing_of_others() {
    let harness = Harness::start().await;
    defined(&harness).await;
    let (vpc, here) = vpc(&harness, "10.0.0.0/16", "10.0.1.0/24", "us-east-1b").await;
    let asked = json!({"VpcId": vpc, "CidrBlock": "10.0.2.0/24", "AvailabilityZone": "us-east-1c"});
    let there = text(&ec2(&harness, "CreateSubnet", asked).await["Subnet"]["SubnetId"]).to_owned();
    let (mut first, _) = Agent::join(&harness, "us-east-1b", [172, 31, 0, 5]).await;
    let (mut second, _) = Agent::join(&harness, "us-east-1c", [172, 31, 16, 5]).await;
    ecs(&harness, "RunTask", run("awsvpc", &[&here])).await;
    first.assignments().await;
    let id = VpcId::parse(&*vpc).unwrap();
    assert_eq!(first.views.keys().collect::<Vec<_>>(), [&id]);

    ecs(&harness, "RunTask", run("awsvpc", &[&there])).await;
    second.assignments().await;
    assert_eq!(second.views[&id].interfaces.len(), 2, "who comes into a VPC is told of all that are there");
    assert_eq!(first.news().await.changed[&id].put.len(), 1, "and those are told of the one");
    assert_eq!(first.views, second.views);

    let group = text(&ec2(&harness, "DescribeSecurityGroups", json!({"Filters": [{"Name": "vpc-id", "Values": [vpc]}]})).await
        ["SecurityGroups"][0]["GroupId"])
        .to_owned();
    let open = json!({"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]});
    ec2(&harness, "AuthorizeSecurityGroupIngress", json!({"GroupId": group, "IpPermissions": [open]})).await;
    let news = first.news().await;
    assert!(news.changed[&id].facts.is_some() && news.changed[&id].put.is_empty(), "{news:?}");
    // Another VPC's changes are not theirs: the next word is of their own one again.
    ec2(&harness, "CreateVpc", json!({"CidrBlock": "10.9.0.0/16"})).await;
    let gateway = ec2(&harness, "CreateInternetGateway", json!({})).await;
    let gateway = text(&gateway["InternetGateway"]["InternetGatewayId"]).to_owned();
    ec2(&harness, "AttachInternetGateway", json!({"InternetGatewayId": gateway, "VpcId": vpc})).await;
    let filter = json!({"Filters": [{"Name": "vpc-id", "Values": [vpc]}]});
    let table = text(&ec2(&harness, "DescribeRouteTables", filter).await["RouteTables"][0]["RouteTableId"]).to_owned();
    let route = json!({"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": gateway});
    ec2(&harness, "CreateRoute", route).await;
    let news = first.news().await;
    let facts = news.changed[&id].facts.clone().unwrap();
    assert!(
        facts.subnets.values().all(|subnet| subnet.routes == [("0.0.0.0/0".parse().unwrap(), link::Way::Internet)])
    );
}

#[tokio::test]
async fn a_subnet_without_a_free_address_is_told_as_ec2_tells_it() {
    let harness = Harness::start().await;
    defined(&harness).await;
    let (_, subnet) = vpc(&harness, "10.0.0.0/16", "10.0.1.0/28", "us-east-1b").await;
    let (_agent, _) = Agent::join(&harness, "us-east-1b", [172, 31, 0, 5]).await;
    let mut asked = run("awsvpc", &[&subnet]);
    asked["count"] = json!(10);
    let mut addresses = std::collections::BTreeSet::new();
    for _ in 0..2 {
        for task in list(&ecs(&harness, "RunTask", asked.clone()).await["tasks"]) {
            match text(&task["lastStatus"]) {
                "PROVISIONING" => assert!(addresses.insert(detail(task, "privateIPv4Address").to_owned())),
                status => {
                    assert_eq!((status, text(&task["stopCode"])), ("STOPPED", "TaskFailedToStart"));
                    let want = format!(
                        "Unexpected EC2 error while attempting to Create Network Interface with public IP assignment \
                         disabled in subnet '{subnet}': InsufficientFreeAddressesInSubnet"
                    );
                    assert_eq!(text(&task["stoppedReason"]), want);
                }
            }
        }
    }
    assert_eq!(addresses.len(), 11, "EC2 keeps five of sixteen for itself");
    let shown = ec2(&harness, "DescribeSubnets", json!({"SubnetIds": [subnet]})).await;
    assert_eq!(shown["Subnets"][0]["AvailableIpAddressCount"], 0);

    // A service says it as an event, and does not begin tasks that would fail.
    let network = json!({"awsvpcConfiguration": {"subnets": [subnet]}});
    let service = json!({
        "cluster": "demo", "serviceName": "web", "taskDefinition": "awsvpc", "desiredCount": 2,
        "networkConfiguration": network,
    });
    let made = ecs(&harness, "CreateService", service).await;
    assert_eq!(made["service"]["networkConfiguration"]["awsvpcConfiguration"]["subnets"], json!([subnet]));
    let call = ("DescribeServices", json!({"cluster": "demo", "services": ["web"]}));
    let told = |answer: &Value| {
        list(&answer["services"][0]["events"]).iter().any(|event| {
            let message = text(&event["message"]);
            message.starts_with("(service web) failed to launch a task with (error Unexpected EC2 error")
        })
    };
    let answer = crate::until(&harness, "the event", "ecs", call, told).await;
    assert_eq!(answer["services"][0]["pendingCount"], 0);
}

fn key(letter: char) -> Option<WireguardKey> {
    WireguardKey::parse(&format!("{}=", letter.to_string().repeat(43)))
}

#[tokio::test]
async fn who_cannot_encrypt_is_refused_where_everybody_is_to_and_the_others_learn_their_keys() {
    let harness = Harness::start_with(|config| config.vpc_encryption = true).await;
    defined(&harness).await;
    let (vpc, subnet) = vpc(&harness, "10.0.0.0/16", "10.0.1.0/24", "us-east-1b").await;
    let token = token(&harness, Some("demo"), 1).await;
    let mut bare = Machine::new(&harness).await;
    bare.join(&harness, &token, None).await.unwrap();
    let goodbye = bare.open(&harness).await.goodbye().await;
    assert_eq!(goodbye.code, link::GoodbyeCode::Protocol);
    assert!(goodbye.message.contains("apt-get install wireguard-tools"), "{}", goodbye.message);
    let listed = ecs(&harness, "ListContainerInstances", json!({"cluster": "demo"})).await;
    assert_eq!(listed["containerInstanceArns"], json!([]), "it is no instance");

    let hosts = [([172, 31, 16, 5], 'A'), ([172, 31, 16, 6], 'B')];
    let mut agents = Vec::new();
    for (host, letter) in hosts {
        let (mut agent, instance) = Agent::join_with(&harness, "us-east-1b", host, key(letter), false).await;
        let mut asked = run("awsvpc", &[&subnet]);
        asked["containerInstances"] = json!([instance]);
        let started = ecs(&harness, "StartTask", asked).await;
        assert_eq!(list(&started["failures"]), &[] as &[Value], "{started:#}");
        agent.assignments().await;
        agents.push(agent);
    }
    let id = VpcId::parse(&*vpc).unwrap();
    for (agent, other) in agents.iter_mut().zip([1, 0]) {
        let (host, letter) = hosts[other];
        let wanted = link::Keys::from([(host.into(), key(letter).unwrap())]);
        while *agent.views[&id].keys != wanted {
            agent.news().await;
        }
        assert!(agent.views[&id].facts.encrypted);
    }
}

#[tokio::test]
async fn public_addresses_are_for_subnets_that_an_internet_gateway_answers() {
    let harness = Harness::start().await;
    defined(&harness).await;
    let (vpc, subnet) = vpc(&harness, "10.0.0.0/16", "10.0.1.0/24", "us-east-1b").await;
    let allocation = ec2(&harness, "AllocateAddress", json!({"Domain": "vpc"})).await["AllocationId"].clone();
    let made = ec2(&harness, "CreateInternetGateway", json!({})).await;
    let gateway = text(&made["InternetGateway"]["InternetGatewayId"]).to_owned();
    ec2(&harness, "AttachInternetGateway", json!({"InternetGatewayId": gateway, "VpcId": vpc})).await;
    let nat = ec2(&harness, "CreateNatGateway", json!({"SubnetId": subnet, "AllocationId": allocation})).await;
    let filter = json!({"Filters": [{"Name": "vpc-id", "Values": [vpc]}]});
    let table = ec2(&harness, "DescribeRouteTables", filter).await["RouteTables"][0]["RouteTableId"].clone();
    let nat = nat["NatGateway"]["NatGatewayId"].clone();
    let route = json!({"RouteTableId": table, "DestinationCidrBlock": "203.0.113.0/24", "NatGatewayId": nat});
    ec2(&harness, "CreateRoute", route).await;
    crate::fargate::small(&harness).await;
    let mut agent = Agent::join_fargate(&harness, "us-east-1b", [172, 31, 16, 5]).await;
    let mut asked = run("small", &[&subnet]);
    asked["networkConfiguration"]["awsvpcConfiguration"]["assignPublicIp"] = json!("ENABLED");
    // Tasks on instances have none.
    let refused = "Assign public IP is not supported for this launch type.";
    let on = |more: Value| {
        let mut asked = asked.clone();
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        asked
    };
    let service = json!({"serviceName": "web", "desiredCount": 0});
    for (operation, input) in [
        ("RunTask", on(json!({}))),
        ("RunTask", on(json!({"launchType": "EC2"}))),
        ("CreateService", on(service.clone())),
    ] {
        let error = harness.call("ecs", operation, &input).await.unwrap_err();
        assert_eq!((&*error.code, &*error.message), ("InvalidParameterException", refused), "{operation}");
    }
    let without = on(json!({"networkConfiguration": run("small", &[&subnet])["networkConfiguration"]}));
    let mut made = without;
    made.as_object_mut().unwrap().extend(service.as_object().unwrap().clone());
    ecs(&harness, "CreateService", made).await;
    let update =
        json!({"cluster": asked["cluster"], "service": "web", "networkConfiguration": asked["networkConfiguration"]});
    let error = harness.call("ecs", "UpdateService", &update).await.unwrap_err();
    assert_eq!((&*error.code, &*error.message), ("InvalidParameterException", refused));
    let asked = on(json!({"launchType": "FARGATE"}));
    let started = ecs(&harness, "RunTask", asked).await;
    assert_eq!(list(&started["failures"]), &[] as &[Value], "{started:#}");
    agent.assignments().await;
    let id = VpcId::parse(&*vpc).unwrap();
    let publics = |agent: &Agent| {
        let view = &agent.views[&id];
        let ways = view.facts.subnets.values().flat_map(|subnet| &subnet.routes);
        let nat = ways.filter_map(|(_, way)| if let link::Way::Nat { public, .. } = way { *public } else { None });
        (nat.count(), view.interfaces.values().filter_map(|interface| interface.public).count())
    };
    assert_eq!(publics(&agent), (0, 0), "no route leads to the internet gateway");
    let route = json!({"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": gateway});
    ec2(&harness, "CreateRoute", route).await;
    while publics(&agent) != (1, 1) {
        agent.news().await;
    }
    ec2(&harness, "DeleteRoute", json!({"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0"})).await;
    while publics(&agent) != (0, 0) {
        agent.news().await;
    }

    // A public address keeps the gateway, whether it is a NAT gateway's or a task's.
    let detach = json!({"InternetGatewayId": gateway, "VpcId": vpc});
    assert_eq!(code(&harness, "ec2", "DetachInternetGateway", detach.clone()).await, "DependencyViolation");
    ec2(&harness, "DeleteNatGateway", json!({"NatGatewayId": nat})).await;
    let refused = harness.call("ec2", "DetachInternetGateway", &detach).await.unwrap_err();
    let words =
        "has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.";
    assert_eq!((&*refused.code, refused.message), ("DependencyViolation", format!("Network {vpc} {words}")));
    let stopped = ObservedStatus::Stopped(Stop { code: StopCode::UserInitiated, reason: "enough".into() });
    agent.report(text(&started["tasks"][0]["taskArn"]), stopped, AttachmentState::Deleted).await;
    ec2(&harness, "DetachInternetGateway", detach).await;
}

#[tokio::test]
async fn a_gateway_moves_when_the_instance_of_its_place_is_gone() {
    let harness = Harness::start().await;
    defined(&harness).await;
    let (vpc, subnet) = vpc(&harness, "10.0.0.0/16", "10.0.1.0/24", "us-east-1b").await;
    let made = ec2(&harness, "CreateInternetGateway", json!({})).await;
    let gateway = text(&made["InternetGateway"]["InternetGatewayId"]).to_owned();
    ec2(&harness, "AttachInternetGateway", json!({"InternetGatewayId": gateway, "VpcId": vpc})).await;
    let allocation = ec2(&harness, "AllocateAddress", json!({"Domain": "vpc"})).await["AllocationId"].clone();
    let nat = ec2(&harness, "CreateNatGateway", json!({"SubnetId": subnet, "AllocationId": allocation})).await;
    let filter = json!({"Filters": [{"Name": "vpc-id", "Values": [vpc]}]});
    let table = ec2(&harness, "DescribeRouteTables", filter).await["RouteTables"][0]["RouteTableId"].clone();
    let nat = nat["NatGateway"]["NatGatewayId"].clone();
    let route = json!({"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": nat});
    ec2(&harness, "CreateRoute", route).await;
    let mut agents = Vec::new();
    for host in [[172, 31, 16, 5], [172, 31, 16, 6]] {
        agents.push((host, Agent::join(&harness, "us-east-1b", host).await));
    }
    for (_, (agent, instance)) in &mut agents {
        let mut asked = run("awsvpc", &[&subnet]);
        asked["containerInstances"] = json!([instance]);
        let started = ecs(&harness, "StartTask", asked).await;
        assert_eq!(list(&started["failures"]), &[] as &[Value], "{started:#}");
        agent.assignments().await;
    }
    let id = VpcId::parse(&*vpc).unwrap();
    let home = |agent: &Agent| {
        let facts = &agent.views[&id].facts;
        let way = facts.subnets.values().flat_map(|subnet| &subnet.routes).map(|(_, way)| *way).next();
        match way {
            Some(link::Way::Nat { home: Some(home), .. }) => home,
            other => panic!("{other:?}"),
        }
    };
    let place = home(&agents[1].1.0);
    let at = agents.iter().position(|(host, _)| std::net::Ipv4Addr::from(*host) == place).expect("it is one of them");
    let (_, (gone, _)) = agents.remove(at);
    drop(gone);
    let (host, (stays, _)) = &mut agents[0];
    while home(stays) == place {
        stays.news().await;
    }
    assert_eq!(home(stays), std::net::Ipv4Addr::from(*host));
}
