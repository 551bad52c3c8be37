use crate::{Harness, code, ec2, ecs, list, text, until};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use server::machines::{MachineError, MachineHost, MachineSpec};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

/// A host that only writes down. Its fabric is the loopback network, where any address can be listened on.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Notes>);

#[derive(Default)]
struct Notes {
    prepared: Option<(Ipv4Addr, u8)>,
    /// Machines that left a trace; `Some` while they run.
    machines: BTreeMap<String, Option<MachineSpec>>,
    /// Why nothing can be started, if so.
    broken: Option<String>,
    /// How often something was to be started.
    starts: usize,
}

impl Recorder {
    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.0.lock().unwrap()
    }

    pub(crate) fn spec(&self, id: &str) -> MachineSpec {
        self.notes().machines[id].clone().unwrap()
    }

    /// The machines that have left a trace.
    pub(crate) fn left(&self) -> Vec<String> {
        self.notes().machines.keys().cloned().collect()
    }
}

fn done<'a>() -> BoxFuture<'a, Result<(), MachineError>> {
    Box::pin(async { Ok(()) })
}

impl MachineHost for Recorder {
    fn prepare(&self, gateway: Ipv4Addr, prefix_len: u8) -> BoxFuture<'_, Result<(), MachineError>> {
        self.notes().prepared = Some((gateway, prefix_len));
        done()
    }
    fn has_joined(&self, id: &str) -> bool {
        self.notes().machines.contains_key(id)
    }
    fn is_running(&self, id: &str) -> bool {
        self.notes().machines.get(id).is_some_and(Option::is_some)
    }
    fn start<'a>(&'a self, spec: &'a MachineSpec) -> BoxFuture<'a, Result<(), MachineError>> {
        let mut notes = self.notes();
        notes.starts += 1;
        if let Some(why) = notes.broken.clone() {
            return Box::pin(async { Err(MachineError(why)) });
        }
        notes.machines.insert(spec.machine.id.clone(), Some(spec.clone()));
        done()
    }
    fn stop<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), MachineError>> {
        self.notes().machines.insert(id.to_owned(), None);
        done()
    }
    fn remove<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), MachineError>> {
        self.notes().machines.remove(id);
        done()
    }
    fn list(&self) -> Vec<String> {
        self.notes().machines.keys().cloned().collect()
    }
}

async fn start(host: &Arc<Recorder>) -> Harness {
    let configure = |config: &mut server::Config| {
        config.local_instances = true;
        config.vpc_cidr = "127.80.0.0/16".parse().unwrap();
    };
    Harness::start_on(configure, host.clone()).await
}

/// A server on such a host, and the host.
pub(crate) async fn start_recorded() -> (Arc<Recorder>, Harness) {
    let host = Arc::new(Recorder::default());
    let harness = start(&host).await;
    (host, harness)
}

/// A server on such a host, for tests of what else hangs on machines.
pub(crate) async fn start_with_host() -> (Arc<dyn MachineHost>, Harness) {
    let host = Arc::new(Recorder::default());
    let harness = start(&host).await;
    (host, harness)
}

fn user_data(text: &str) -> String {
    STANDARD.encode(text)
}

fn states(answer: &Value) -> Vec<(String, String)> {
    let instances = list(&answer["Reservations"]).iter().flat_map(|reservation| list(&reservation["Instances"]));
    instances.map(|i| (text(&i["InstanceId"]).to_owned(), text(&i["State"]["Name"]).to_owned())).collect()
}

pub(crate) async fn reach(harness: &Harness, ids: &[String], state: &str) {
    let call = ("DescribeInstances", json!({"InstanceIds": ids}));
    until(harness, state, "ec2", call, |answer| states(answer).iter().all(|(_, is)| is == state)).await;
}

#[tokio::test]
async fn local_instances_live_as_in_ec2() {
    let host = Arc::new(Recorder::default());
    let harness = start(&host).await;
    assert_eq!(host.notes().prepared, Some((Ipv4Addr::new(127, 80, 0, 1), 16)));
    ecs(&harness, "CreateCluster", json!({"clusterName": "demo"})).await;
    let data = "#!/bin/bash\ncat <<'EOF' >> /etc/ecs/ecs.config\nECS_CLUSTER=demo\nECS_INSTANCE_ATTRIBUTES={\"stack\":\"prod\"}\nEOF\n";
    let launched = ec2(
        &harness,
        "RunInstances",
        json!({
            "MinCount": 3, "MaxCount": 3, "InstanceType": "t3.small", "ImageId": "ami-12345678", "ClientToken": "one",
            "UserData": user_data(data), "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
            "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "web"}]}],
        }),
    )
    .await;
    let instances = list(&launched["Instances"]);
    let ids: Vec<String> = instances.iter().map(|i| text(&i["InstanceId"]).to_owned()).collect();
    let zones: Vec<&str> = instances.iter().map(|i| text(&i["Placement"]["AvailabilityZone"])).collect();
    assert_eq!(zones, ["us-east-1a", "us-east-1b", "us-east-1c"]);
    let addresses: Vec<&str> = instances.iter().map(|i| text(&i["PrivateIpAddress"])).collect();
    assert_eq!(addresses, ["127.80.0.4", "127.80.16.4", "127.80.32.4"]);
    reach(&harness, &ids, "running").await;

    let spec = host.spec(&ids[1]);
    assert_eq!((spec.machine.cluster.as_str(), spec.prefix_len), ("demo", 16));
    assert_eq!(spec.server.ip(), Ipv4Addr::new(127, 80, 0, 1));
    assert_eq!(spec.attributes["stack"].as_deref(), Some("prod"));
    assert_eq!(spec.attributes["ecs.availability-zone"].as_deref(), Some("us-east-1b"));
    assert_eq!(spec.token.as_deref().map(|token| token.split(':').count()), Some(3));
    let options = &instances[1]["MetadataOptions"];
    assert_eq!((&options["HttpTokens"], &options["HttpPutResponseHopLimit"]), (&json!("required"), &json!(2)));
    assert!(spec.machine.metadata_options.tokens_required && spec.machine.metadata_options.hop_limit == 2);
    assert_eq!(spec.machine.user_data, Some(user_data(data)), "all of it, for the machine itself to read");
    assert_eq!(spec.place.subnet_cidr.map(|cidr| cidr.to_string()).as_deref(), Some("127.80.16.0/20"));
    assert_eq!(spec.place.availability_zone_id.as_deref(), Some("use1-az2"));

    let again = ec2(
        &harness,
        "RunInstances",
        json!({"MinCount": 3, "MaxCount": 3, "InstanceType": "t3.small", "ClientToken": "one"}),
    )
    .await;
    assert_eq!(list(&again["Instances"])[2]["InstanceId"], ids[2].as_str());
    let describe = |filters: Value| ec2(&harness, "DescribeInstances", json!({"Filters": filters}));
    let by_zone = describe(
        json!([{"Name": "availability-zone", "Values": ["us-east-1b"]}, {"Name": "tag:Name", "Values": ["w*"]}]),
    )
    .await;
    assert_eq!(states(&by_zone), [(ids[1].clone(), "running".to_owned())]);

    let stopped = ec2(&harness, "StopInstances", json!({"InstanceIds": [ids[0]]})).await;
    assert_eq!(stopped["StoppingInstances"][0]["PreviousState"]["Name"], "running");
    assert_eq!(stopped["StoppingInstances"][0]["CurrentState"], json!({"Code": 64, "Name": "stopping"}));
    reach(&harness, &ids[..1], "stopped").await;
    assert!(!host.is_running(&ids[0]));
    ec2(&harness, "StartInstances", json!({"InstanceIds": [ids[0]]})).await;
    reach(&harness, &ids[..1], "running").await;
    assert!(host.spec(&ids[0]).token.is_none(), "a machine that has joined needs no token");

    ec2(&harness, "TerminateInstances", json!({"InstanceIds": ids})).await;
    reach(&harness, &ids, "terminated").await;
    assert!(host.list().is_empty(), "nothing is left on the host");
    let start = json!({"InstanceIds": [ids[0]]});
    assert_eq!(code(&harness, "ec2", "StartInstances", start).await, "IncorrectInstanceState");
    let tokens = harness.call("ssm", "DescribeActivations", &json!({})).await.unwrap();
    assert!(list(&tokens["ActivationList"]).is_empty(), "machines' own tokens are not shown");
}

#[tokio::test]
async fn concurrent_launches_share_no_address() {
    let host = Arc::new(Recorder::default());
    let harness = start(&host).await;
    let run = || ec2(&harness, "RunInstances", json!({"MinCount": 5, "MaxCount": 5}));
    let answers = futures::future::join_all((0..8).map(|_| run())).await;
    let mut addresses: Vec<&str> =
        answers.iter().flat_map(|a| list(&a["Instances"])).map(|i| text(&i["PrivateIpAddress"])).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 40);
}

#[tokio::test]
async fn what_the_host_lost_or_never_knew_is_put_right() {
    let host = Arc::new(Recorder::default());
    host.notes().machines.insert("i-0ffffffffffffffff".to_owned(), None);
    let harness = start(&host).await;
    let launched = ec2(&harness, "RunInstances", json!({"MinCount": 1, "MaxCount": 1})).await;
    let id = text(&launched["Instances"][0]["InstanceId"]).to_owned();
    reach(&harness, std::slice::from_ref(&id), "running").await;
    assert_eq!(host.list(), std::slice::from_ref(&id), "a machine that was never recorded is swept away");
    // Its agent dies: it is started again without anybody asking.
    host.notes().machines.insert(id.clone(), None);
    let begin = harness.effects.monotonic();
    while !host.is_running(&id) {
        assert!(harness.effects.monotonic() - begin < crate::DEADLINE, "the agent was not started again");
        harness.effects.sleep(crate::LOOK).await;
    }
}

#[tokio::test]
async fn a_host_that_cannot_start_a_machine_says_why_and_is_not_pressed() {
    let host = Arc::new(Recorder::default());
    host.notes().broken = Some("the bridge lies in ruins".to_owned());
    let harness = start(&host).await;
    let launched = ec2(&harness, "RunInstances", json!({"MinCount": 1, "MaxCount": 1})).await;
    let id = text(&launched["Instances"][0]["InstanceId"]).to_owned();
    let call = || ("DescribeInstances", json!({"InstanceIds": [id]}));
    let reason = |answer: &Value| answer["Reservations"][0]["Instances"][0]["StateReason"].clone();
    let told = until(&harness, "the reason", "ec2", call(), |answer| !reason(answer).is_null()).await;
    assert_eq!(states(&told), [(id.clone(), "pending".to_owned())]);
    let want = json!({"Code": "Server.InternalError", "Message": "Server.InternalError: the bridge lies in ruins"});
    assert_eq!(reason(&told), want);
    // Recording the reason wakes the loop; it still waits before it tries again.
    let begin = harness.effects.monotonic();
    let before = host.notes().starts;
    assert_eq!(before, 1);
    until(&harness, "another try", "ec2", call(), |_| host.notes().starts > before).await;
    let paused = harness.effects.monotonic() - begin;
    assert!(paused > std::time::Duration::from_secs(1), "it was tried again after {paused:?}");
    host.notes().broken = None;
    let well = until(&harness, "running", "ec2", call(), |answer| states(answer)[0].1 == "running").await;
    assert!(reason(&well).is_null(), "{well:#}");
}

#[tokio::test]
async fn launches_that_cannot_be_are_refused() {
    let host = Arc::new(Recorder::default());
    let harness = start(&host).await;
    let one = |member: &str, value: Value| {
        let mut input = json!({"MinCount": 1, "MaxCount": 1});
        input[member] = value;
        input
    };
    for (input, want) in [
        (one("InstanceType", json!("q9.huge")), "InvalidParameterValue"),
        (one("SubnetId", json!("subnet-00000000")), "InvalidSubnetID.NotFound"),
        (one("Placement", json!({"AvailabilityZone": "us-east-1z"})), "InvalidParameterValue"),
        (one("MaxCount", json!(101)), "InstanceLimitExceeded"),
        (one("MinCount", json!(2)), "InvalidParameterValue"),
        (one("UserData", json!("%%%")), "InvalidParameterValue"),
        (one("UserData", json!(user_data("echo ECS_CLUSTER=$NAME"))), "InvalidParameterValue"),
        (one("SecurityGroupIds", json!(["sg-00000000"])), "InvalidGroup.NotFound"),
        (one("DryRun", json!(true)), "DryRunOperation"),
        (one("PrivateIpAddress", json!("127.80.0.9")), "UnsupportedOperation"),
        (one("MetadataOptions", json!({"HttpPutResponseHopLimit": 65})), "InvalidParameterValue"),
        (one("MetadataOptions", json!({"InstanceMetadataTags": "enabled"})), "UnsupportedOperation"),
    ] {
        assert_eq!(code(&harness, "ec2", "RunInstances", input.clone()).await, want, "{input}");
    }
    for (id, want) in [("i-xyz", "InvalidInstanceID.Malformed"), ("i-00000000000000000", "InvalidInstanceID.NotFound")]
    {
        assert_eq!(code(&harness, "ec2", "DescribeInstances", json!({"InstanceIds": [id]})).await, want);
        assert_eq!(code(&harness, "ec2", "TerminateInstances", json!({"InstanceIds": [id]})).await, want);
    }
    let plain = Harness::start().await;
    let input = json!({"MinCount": 1, "MaxCount": 1});
    assert_eq!(code(&plain, "ec2", "RunInstances", input).await, "UnsupportedOperation");
}

#[tokio::test]
async fn the_default_vpc_has_a_subnet_per_zone() {
    let harness = Harness::start().await;
    let vpcs = ec2(&harness, "DescribeVpcs", json!({"Filters": [{"Name": "is-default", "Values": ["true"]}]})).await;
    let vpc = text(&vpcs["Vpcs"][0]["VpcId"]).to_owned();
    assert_eq!(vpcs["Vpcs"][0]["CidrBlock"], "172.31.0.0/16");
    let subnets = ec2(&harness, "DescribeSubnets", json!({"Filters": [{"Name": "vpc-id", "Values": [vpc]}]})).await;
    let zones: Vec<_> = list(&subnets["Subnets"]).iter().map(|s| text(&s["AvailabilityZone"])).collect();
    assert_eq!(zones, ["us-east-1a", "us-east-1b", "us-east-1c"]);
    assert_eq!(subnets["Subnets"][0]["AvailableIpAddressCount"], 4091);
    let groups =
        ec2(&harness, "DescribeSecurityGroups", json!({"Filters": [{"Name": "group-name", "Values": ["default"]}]}))
            .await;
    assert_eq!(groups["SecurityGroups"][0]["VpcId"], vpc.as_str());
    let zones = ec2(&harness, "DescribeAvailabilityZones", json!({"ZoneNames": ["us-east-1b"]})).await;
    assert_eq!(zones["AvailabilityZones"][0]["ZoneId"], "use1-az2");
    let regions = ec2(&harness, "DescribeRegions", json!({})).await;
    assert_eq!(regions["Regions"][0]["RegionName"], "us-east-1");
    let there = harness.call_in("eu-west-1", "ec2", "DescribeVpcs", &json!({})).await.unwrap();
    assert_ne!(there["Vpcs"][0]["VpcId"], vpc.as_str());
    let types = ec2(&harness, "DescribeInstanceTypes", json!({"InstanceTypes": ["m5.large"]})).await;
    assert_eq!(types["InstanceTypes"][0]["MemoryInfo"]["SizeInMiB"], 8192);
    assert_eq!(types["InstanceTypes"][0]["VCpuInfo"]["DefaultVCpus"], 2);
    let offered = ec2(
        &harness,
        "DescribeInstanceTypeOfferings",
        json!({
        "LocationType": "availability-zone", "Filters": [{"Name": "instance-type", "Values": ["t3.micro"]}]}),
    )
    .await;
    assert_eq!(list(&offered["InstanceTypeOfferings"]).len(), 3);
    let unknown = json!({"Filters": [{"Name": "moon", "Values": ["full"]}]});
    assert_eq!(code(&harness, "ec2", "DescribeSubnets", unknown).await, "InvalidParameterValue");
    assert_eq!(
        code(&harness, "ec2", "DescribeInstanceTypes", json!({"InstanceTypes": ["x1.32xlarge"]})).await,
        "InvalidInstanceType"
    );
}
