//! What commands do about networks: tasks with an interface of their own, in every command that starts or lists them, and the
//! security group of `up`.

use super::{
    Desk, expected, lines, normal,
    recorder::{ARN, Call, Script, ec2},
    text,
};
use serde_json::{Value, json};
use std::fs;

/// The project of the vector, to be run on instances.
fn desk() -> Desk {
    let desk = Desk::with_vector("compose-svc");
    let params = fs::read_to_string(desk.file("ecs-params.yml")).unwrap();
    let params = params.replace("SUBNET", "subnet-63b266e9619b57271").replace("SG", "sg-f7ab505286ecf7261");
    desk.write("ecs-params.yml", &params);
    desk.said(&["configure", "--cluster", "demo", "--region", "us-east-1", "--default-launch-type", "EC2"]);
    desk
}

#[test]
fn every_command_that_starts_tasks_sends_their_network() {
    for (verb, operation) in [
        (&["up"][..], "RunTask"),
        (&["start"], "RunTask"),
        (&["run", "app", "true"], "RunTask"),
        (&["service", "create"], "CreateService"),
        (&["service", "up", "--timeout", "0"], "CreateService"),
    ] {
        let desk = desk();
        desk.said(&[&["compose", "--project-name", "net"], verb].concat());
        let sent = desk.endpoint.one(operation);
        let wanted = normal(&expected("compose-svc", "run-task"))["networkConfiguration"].clone();
        assert_eq!(normal(&sent["networkConfiguration"]), wanted, "{verb:?}");
        assert!(wanted["awsvpcConfiguration"]["subnets"].is_array(), "the vector has one: {wanted}");
        assert_eq!(desk.endpoint.one("RegisterTaskDefinition")["networkMode"], "awsvpc", "{verb:?}");

        // Tasks in another mode have none, whatever the file says of it.
        let params = fs::read_to_string(desk.file("ecs-params.yml")).unwrap();
        desk.write("ecs-params.yml", &params.replace("ecs_network_mode: awsvpc", "ecs_network_mode: bridge"));
        desk.said(&[&["compose", "--project-name", "bridged"], verb].concat());
        let sent = desk.endpoint.all(operation).pop().unwrap();
        assert_eq!(normal(&sent)["networkConfiguration"], Value::Null, "{verb:?}");
    }
}

#[test]
fn tasks_of_their_own_network_without_a_subnet_are_refused_before_they_are_asked_for() {
    for verb in [&["up"][..], &["start"], &["run", "app", "true"], &["service", "create"], &["service", "up"]] {
        let desk = desk();
        desk.write("ecs-params.yml", "version: 1\ntask_definition: {ecs_network_mode: awsvpc}");
        let said = desk.failed(&[&["compose", "--project-name", "net"], verb].concat());
        assert!(said.last().unwrap().contains("at least one subnet is required"), "{verb:?}: {said:?}");
        for operation in ["RunTask", "CreateService"] {
            assert_eq!(desk.endpoint.all(operation), Vec::<Value>::new(), "{verb:?}");
        }
    }
}

/// Two tasks with an interface of their own: one whose interface is attached, and one whose is not any more.
fn tasks(call: &Call, _: &[Call]) -> Option<(u16, Value)> {
    let task = |id: &str, interface: &str, status: &str| {
        json!({
            "taskArn": format!("{ARN}task/demo/{id}"), "taskDefinitionArn": format!("{ARN}task-definition/web:1"),
            "lastStatus": "RUNNING", "containers": [{"name": "app", "lastStatus": "RUNNING", "networkBindings": []}],
            "attachments": [{"type": "ElasticNetworkInterface", "status": status,
                "details": [{"name": "networkInterfaceId", "value": interface}]}],
        })
    };
    let answer = match call.operation.as_str() {
        "ListTasks" => json!({"taskArns": [format!("{ARN}task/demo/t1"), format!("{ARN}task/demo/t2")]}),
        "DescribeTasks" => {
            json!({"tasks": [task("t1", "eni-00000000000000001", "ATTACHED"), task("t2", "eni-00000000000000002", "DETACHED")]})
        }
        "DescribeTaskDefinition" => {
            json!({"taskDefinition": {"containerDefinitions": [{"name": "app", "portMappings": [
                {"containerPort": 80, "hostPort": 80, "protocol": "tcp"}, {"containerPort": 53, "protocol": "udp"},
            ]}]}})
        }
        "DescribeNetworkInterfaces" => {
            return ec2(
                "DescribeNetworkInterfaces",
                "<networkInterfaceSet><item><networkInterfaceId>eni-00000000000000001</networkInterfaceId>\
                 <privateIpAddress>10.0.1.4</privateIpAddress>\
                 <association><publicIp>198.51.100.7</publicIp></association></item></networkInterfaceSet>",
            );
        }
        _ => return None,
    };
    Some((200, answer))
}

#[test]
fn tasks_with_an_interface_of_their_own_are_listed_at_its_address() {
    let desk = Desk::playing(tasks);
    let out = desk.run(&["ps", "--cluster", "demo", "--region", "us-east-1", "--desired-status", "RUNNING"]);
    let said = lines(&out);
    let fields =
        |line: &str| line.split("  ").map(str::trim).filter(|f| !f.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let row = |id: &str, ports: &str| {
        vec![format!("demo/{id}/app"), "RUNNING".to_owned(), ports.to_owned(), "web:1".to_owned()]
    };
    assert_eq!(fields(&said[1]), row("t1", "198.51.100.7:80->80/tcp, 198.51.100.7:53->53/udp"), "{said:#?}");
    assert_eq!(fields(&said[2]), row("t2", "80->80/tcp, 53->53/udp"), "{said:#?}");
    let asked = desk.endpoint.one("DescribeNetworkInterfaces");
    assert_eq!(
        (&asked["Filter.1.Name"], &asked["Filter.1.Value.1"]),
        (&json!("network-interface-id"), &json!("eni-00000000000000001"))
    );
    assert_eq!(asked.get("Filter.1.Value.2"), None, "only one that is attached is asked for");
    assert_eq!(desk.endpoint.all("DescribeTaskDefinition").len(), 1, "each definition once");
    assert!(desk.endpoint.all("DescribeContainerInstances").is_empty(), "their instance's address is not theirs");
}

const VPC: &str = "vpc-00000000000000001";
const GROUP: &str = "sg-00000000000000009";

/// A region where an earlier `up` may have made a group, with a rule for port 443.
fn region(call: &Call, made: bool) -> Option<(u16, Value)> {
    let operation = call.operation.as_str();
    let members = match operation {
        "DescribeInstances" => String::new(),
        "DescribeVpcs" => format!("<vpcSet><item><vpcId>{VPC}</vpcId></item></vpcSet>"),
        "DescribeSubnets" => "<subnetSet><item><subnetId>subnet-00000000000000001</subnetId></item></subnetSet>".to_owned(),
        "DescribeSecurityGroups" if made => {
            format!("<securityGroupInfo><item><groupId>{GROUP}</groupId><vpcId>{VPC}</vpcId></item></securityGroupInfo>")
        }
        "DescribeSecurityGroups" => String::new(),
        "DescribeSecurityGroupRules" => "<securityGroupRuleSet><item><securityGroupRuleId>sgr-00000000000000001</securityGroupRuleId>\
            <isEgress>false</isEgress><ipProtocol>tcp</ipProtocol><fromPort>443</fromPort><toPort>443</toPort>\
            <cidrIpv4>10.0.0.0/8</cidrIpv4></item><item><securityGroupRuleId>sgr-00000000000000002</securityGroupRuleId>\
            <isEgress>true</isEgress><ipProtocol>-1</ipProtocol></item></securityGroupRuleSet>"
            .to_owned(),
        "CreateSecurityGroup" => format!("<groupId>{GROUP}</groupId>"),
        "AuthorizeSecurityGroupIngress" | "RevokeSecurityGroupIngress" | "DeleteSecurityGroup" => "<return>true</return>".to_owned(),
        "CreateCluster" | "DeleteCluster" => return Some((200, json!({"cluster": {"status": "ACTIVE"}}))),
        "ListContainerInstances" => return Some((200, json!({"containerInstanceArns": []}))),
        _ => return None,
    };
    ec2(operation, &members)
}

#[test]
fn up_makes_a_group_for_tasks_once_and_down_removes_it() {
    let (fresh, again): (Script, Script) = (|call, _| region(call, false), |call, _| region(call, true));
    let up = |desk: &Desk, more: &[&str]| desk.own(&[&["up", "--launch-type", "FARGATE"], more].concat());
    let stack = json!("amazon-ecs-cli-setup-demo");

    let desk = Desk::playing(fresh);
    let out = up(&desk, &["--cidr", "10.1.2.3/8", "--port", "443"]);
    let said = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(said.contains(&format!("VPC: {VPC}\nSecurity Group: {GROUP}\nSubnet: ")), "{said}");
    let made = desk.endpoint.one("CreateSecurityGroup");
    assert_eq!(
        (&made["VpcId"], &made["GroupName"]),
        (&json!(VPC), &json!("amazon-ecs-cli-setup-demo-EcsSecurityGroup"))
    );
    assert_eq!(
        (&made["TagSpecification.1.Tag.1.Key"], &made["TagSpecification.1.Tag.1.Value"]),
        (&json!("longshore:stack"), &stack)
    );
    let opened = desk.endpoint.one("AuthorizeSecurityGroupIngress");
    for (field, value) in [
        ("GroupId", GROUP),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "443"),
        ("IpPermissions.1.ToPort", "443"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "10.0.0.0/8"),
    ] {
        assert_eq!(opened[field], value, "{field}: {opened}");
    }

    // The same again changes nothing; another rule must be forced.
    let desk = Desk::playing(again);
    assert_eq!(up(&desk, &["--cidr", "10.0.0.0/8", "--port", "443"]).status.code(), Some(0));
    let out = up(&desk, &["--port", "80"]);
    assert!(text(&out.stderr).contains("lets in something else"), "{}", text(&out.stderr));
    assert!(
        desk.endpoint.all("AuthorizeSecurityGroupIngress").is_empty()
            && desk.endpoint.all("CreateSecurityGroup").is_empty()
    );
    assert_eq!(up(&desk, &["--port", "80", "--force"]).status.code(), Some(0));
    assert_eq!(desk.endpoint.one("RevokeSecurityGroupIngress")["SecurityGroupRuleId.1"], "sgr-00000000000000001");
    assert_eq!(desk.endpoint.one("AuthorizeSecurityGroupIngress")["IpPermissions.1.IpRanges.1.CidrIp"], "0.0.0.0/0");

    assert_eq!(desk.own(&["down", "--force"]).status.code(), Some(0));
    assert_eq!(desk.endpoint.one("DeleteSecurityGroup")["GroupId"], GROUP);
    let asked = desk.endpoint.all("DescribeSecurityGroups").pop().unwrap();
    assert_eq!((&asked["Filter.1.Name"], &asked["Filter.1.Value.1"]), (&json!("tag:longshore:stack"), &stack));
}

/// A cluster without instances, one of whose tasks needs two looks to stop.
fn stopping(call: &Call, before: &[Call]) -> Option<(u16, Value)> {
    let looks = before.iter().filter(|call| call.operation == "DescribeTasks").count();
    let task = |id: &str, status: &str| {
        let (arn, definition) = (format!("{ARN}task/demo/{id}"), format!("{ARN}task-definition/web:1"));
        json!({"taskArn": arn, "taskDefinitionArn": definition, "lastStatus": status, "desiredStatus": "STOPPED"})
    };
    let answer = match call.operation.as_str() {
        // On Fargate: one of nobody's, and one of a service.
        "ListTasks" if call.body["desiredStatus"] == "RUNNING" => {
            json!({"taskArns": [format!("{ARN}task/demo/t2"), format!("{ARN}task/demo/t3")]})
        }
        "ListTasks" => json!({"taskArns": [format!("{ARN}task/demo/t1"), format!("{ARN}task/demo/t2")]}),
        "DescribeTasks" if call.body["tasks"][1] == format!("{ARN}task/demo/t3") => {
            let mut of_service = task("t3", "RUNNING");
            of_service["group"] = "service:web".into();
            json!({"tasks": [task("t2", "RUNNING"), of_service]})
        }
        "StopTask" => json!({"task": task("t2", "RUNNING")}),
        "DescribeTasks" if looks == 1 => json!({"tasks": [task("t1", "STOPPED"), task("t2", "DEACTIVATING")]}),
        "DescribeTasks" => json!({"tasks": [task("t2", ["DEPROVISIONING", "STOPPED"][(looks - 2).min(1)])]}),
        _ => return region(call, true),
    };
    Some((200, answer))
}

#[test]
fn down_stops_tasks_that_no_instance_took_along_and_waits_for_those_that_are_stopping() {
    let desk = Desk::playing(stopping);
    let out = desk.own(&["down", "--force"]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(said.contains("web:1 t2: DEPROVISIONING") && said.contains("web:1 t2: STOPPED"), "{said}");
    assert!(!said.contains("web:1 t1"), "it has stopped already: {said}");
    let stopped = desk.endpoint.one("StopTask");
    assert_eq!(stopped["task"], json!(format!("{ARN}task/demo/t2")), "that of a service is the service's: {stopped}");
    let looks = desk.endpoint.all("DescribeTasks");
    assert_eq!(looks.len(), 4, "{looks:?}");
    assert_eq!(looks[3]["tasks"], json!([format!("{ARN}task/demo/t2")]));
    let order: Vec<_> = desk.endpoint.calls().into_iter().map(|call| call.operation).collect();
    let ends = ["DescribeTasks", "DescribeSecurityGroups", "DeleteSecurityGroup", "DeleteCluster"];
    assert!(order.ends_with(&ends.map(str::to_owned)), "what they were in goes after them: {order:?}");
}

#[test]
fn down_says_which_services_go_first() {
    let desk = Desk::playing(|call, before| match call.operation.as_str() {
        "DeleteCluster" => {
            let message = "The Cluster cannot be deleted while Services are active.";
            Some((400, json!({"__type": "ClusterContainsServicesException", "message": message})))
        }
        "ListServices" => {
            Some((200, json!({"serviceArns": [format!("{ARN}service/demo/web"), format!("{ARN}service/demo/api")]})))
        }
        _ => region(call, true).or_else(|| stopping(call, before)),
    });
    let out = desk.own(&["down", "--force", "--region", "us-west-2"]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    let next = "→ Its services go first (web, api): aws ecs delete-service --region us-west-2 --force --cluster demo --service web\n";
    assert!(said.contains("ClusterContainsServicesException") && said.ends_with(next), "{said}");
}

#[test]
fn what_is_to_be_copied_names_a_region_that_only_a_flag_says() {
    let script: Script = |call, _| match call.operation.as_str() {
        "DescribeVpcs" => ec2("DescribeVpcs", ""),
        _ if call.operation.starts_with("Describe") && call.body.get("Action").is_some() => ec2(&call.operation, ""),
        _ => None,
    };
    for (flags, next) in [
        (&["net"][..], "→ aws ec2 create-default-vpc\n"),
        (&["net", "--region", "us-west-2"], "→ aws ec2 create-default-vpc --region us-west-2\n"),
    ] {
        let desk = Desk::playing(script);
        let said = text(&desk.own(flags).stdout);
        assert!(said.ends_with(next), "{flags:?}: {said}");
    }
}

#[test]
fn a_group_that_would_filter_nothing_is_refused_by_name() {
    let desk = Desk::playing(|call, _| region(call, false));
    for (flags, words) in [
        (&["--cidr", "0.0.0.0/0"][..], "--cidr cannot be honoured for instances"),
        (&["--port", "22"], "--port cannot be honoured for instances"),
        (
            &["--vpc", VPC, "--subnets", "subnet-1", "--security-group", "sg-1", "--cidr", "0.0.0.0/0"],
            "cannot be used with",
        ),
        (&["--launch-type", "FARGATE", "--cidr", "ten"], "invalid value 'ten' for '--cidr"),
        (&["--launch-type", "FARGATE", "--port", "0"], "invalid value '0' for '--port"),
    ] {
        let out = desk.own(&[&["up"], flags].concat());
        assert_ne!(out.status.code(), Some(0), "{flags:?}");
        assert!(text(&out.stderr).contains(words), "{flags:?}: {}", text(&out.stderr));
    }
    assert_eq!(desk.endpoint.count(), 0, "nothing is sent");
}
