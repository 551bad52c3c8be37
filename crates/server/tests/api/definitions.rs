use crate::{Harness, Want, arn, run};
use serde_json::{Value, json};

fn minimal(family: &str) -> Value {
    json!({"family": family, "containerDefinitions": [{"name": "app", "image": "busybox", "memory": 64}]})
}

/// The minimal definition with one container member more.
fn with(member: &str, value: Value) -> Value {
    let mut body = minimal("web");
    body["containerDefinitions"][0][member] = value;
    body
}

/// The minimal definition with one member more.
fn top(member: &str, value: Value) -> Value {
    let mut body = minimal("web");
    body[member] = value;
    body
}

#[tokio::test]
async fn a_registered_definition_shows_what_aws_adds() {
    let harness = Harness::start().await;
    let shown = json!({
        "taskDefinitionArn": arn("task-definition/web:1"), "family": "web", "revision": 1, "status": "ACTIVE",
        "volumes": [], "placementConstraints": [], "compatibilities": ["EXTERNAL", "EC2"],
        "registeredBy": "arn:aws:iam::000000000000:root",
        "networkMode": null, "cpu": null, "memory": null, "requiresCompatibilities": null, "runtimePlatform": null,
        "executionRoleArn": null, "taskRoleArn": null, "deregisteredAt": null, "proxyConfiguration": null,
        "containerDefinitions": [{
            "name": "app", "image": "busybox", "memory": 64, "cpu": 0, "essential": true,
            "environment": [], "mountPoints": [], "volumesFrom": [], "systemControls": [],
            "portMappings": [
                {"containerPort": 80, "hostPort": 0, "protocol": "tcp", "name": null},
                {"containerPort": 53, "hostPort": 5353, "protocol": "udp"},
                {"containerPortRange": "8000-8003", "protocol": "tcp", "containerPort": null, "hostPort": null},
            ],
            "command": null, "entryPoint": null, "linuxParameters": null, "logConfiguration": null, "ulimits": null,
            "dockerLabels": null, "healthCheck": null, "memoryReservation": null,
        }],
    });
    let ports = json!([
        {"containerPort": 80},
        {"containerPort": 53, "hostPort": 5353, "protocol": "udp"},
        {"containerPortRange": "8000-8003"},
    ]);
    let mut body = with("portMappings", ports);
    body["tags"] = json!([{"key": "k", "value": "v"}]);
    let tags = json!([{"key": "k", "value": "v"}]);
    run(
        &harness,
        "ecs",
        vec![
            ("RegisterTaskDefinition", body, Want::Ok(json!({"taskDefinition": shown.clone(), "tags": tags}))),
            (
                "DescribeTaskDefinition",
                json!({"taskDefinition": "web"}),
                Want::Ok(json!({"taskDefinition": shown, "tags": []})),
            ),
            (
                "DescribeTaskDefinition",
                json!({"taskDefinition": "web:1", "include": ["TAGS"]}),
                Want::Ok(json!({"tags": tags})),
            ),
            (
                "DescribeTaskDefinition",
                json!({"taskDefinition": arn("task-definition/web:1")}),
                Want::Ok(json!({"taskDefinition": {"revision": 1}})),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn everything_honoured_comes_back() {
    let harness = Harness::start().await;
    let container = json!({
        "name": "app", "image": "docker.io/library/nginx:1", "cpu": 128, "memory": 256, "memoryReservation": 128,
        "essential": true, "command": ["a"], "entryPoint": ["b"], "environment": [{"name": "E", "value": ""}],
        "user": "1:1", "workingDirectory": "/w", "stopTimeout": 5, "startTimeout": 9, "hostname": "h",
        "readonlyRootFilesystem": true, "privileged": true, "ulimits": [{"name": "nofile", "softLimit": 1, "hardLimit": 2}],
        "portMappings": [{"containerPort": 80, "hostPort": 8080, "protocol": "tcp", "name": "http", "appProtocol": "http2"}],
        "linuxParameters": {
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["MKNOD"]}, "initProcessEnabled": true, "sharedMemorySize": 64,
            "tmpfs": [{"containerPath": "/t", "size": 16, "mountOptions": ["noexec"]}],
        },
        "dockerLabels": {"l": "v"},
        "logConfiguration": {"logDriver": "awslogs", "options": {
            "awslogs-group": "g", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p", "awslogs-create-group": "true",
            "mode": "non-blocking", "max-buffer-size": "1m", "awslogs-datetime-format": r"\[%Y-%m-%d\]",
            "awslogs-force-flush-interval-seconds": "2"}},
    });
    let body = json!({
        "family": "all", "networkMode": "bridge", "cpu": "256", "memory": "512", "requiresCompatibilities": ["EC2", "EXTERNAL"],
        "executionRoleArn": "arn:aws:iam::000000000000:role/r",
        "runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
        "placementConstraints": [{"type": "memberOf", "expression": "attribute:ecs.os-type == linux"}],
        "containerDefinitions": [container],
    });
    let options = json!({"max-size": "10m", "max-file": "3"});
    let file = with("logConfiguration", json!({"logDriver": "json-file", "options": options}));
    let unlimited = with("ulimits", json!([{"name": "core", "softLimit": 5, "hardLimit": -1}]));
    let check = json!({"command": ["CMD", "true"], "interval": 5, "timeout": 60, "retries": 10, "startPeriod": 0});
    let checked = with("healthCheck", check);
    let accelerated = with("resourceRequirements", json!([{"type": "GPU", "value": "2"}]));
    let policy = json!({"enabled": true, "ignoredExitCodes": [0, 3], "restartAttemptPeriod": 60});
    let restarted = with("restartPolicy", policy);
    let together = json!({
        "family": "together", "pidMode": "task", "ipcMode": "none",
        "volumes": [
            {"name": "empty", "host": {}}, {"name": "host", "host": {"sourcePath": "/srv"}},
            {"name": "docker", "dockerVolumeConfiguration": {"scope": "shared", "autoprovision": true, "driver": "local",
                "driverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}, "labels": {"l": "v"}}},
        ],
        "containerDefinitions": [
            {"name": "app", "image": "busybox", "memory": 64, "links": ["db:store"], "interactive": true, "pseudoTerminal": true,
                "mountPoints": [{"sourceVolume": "empty", "containerPath": "/e", "readOnly": true}, {"sourceVolume": "docker", "containerPath": "/d"}],
                "volumesFrom": [{"sourceContainer": "db", "readOnly": true}],
                "linuxParameters": {"maxSwap": 7, "swappiness": 0}},
            {"name": "db", "image": "busybox", "memory": 64, "mountPoints": [{"sourceVolume": "host", "containerPath": "/h"}]},
            {"name": "deaf", "image": "busybox", "memory": 64, "disableNetworking": true},
        ],
    });
    let unchecked = with("healthCheck", json!({"command": ["NONE"]}));
    let rows = vec![body, unlimited, file, checked, unchecked, accelerated, restarted, together]
        .into_iter()
        .map(|body| ("RegisterTaskDefinition", body.clone(), Want::Ok(json!({"taskDefinition": body}))))
        .collect();
    run(&harness, "ecs", rows).await;
}

#[tokio::test]
async fn what_is_wrong_is_told() {
    let harness = Harness::start().await;
    let client = |text| Want::Err("ClientException", text);
    let refused = |body, text| ("RegisterTaskDefinition", body, Want::Err("ClientException", text));
    let check = |member: &str, value: Value| {
        let mut check = json!({"command": ["CMD-SHELL", "true"]});
        check[member] = value;
        with("healthCheck", check)
    };
    let in_memory = |option: &str| {
        with("linuxParameters", json!({"tmpfs": [{"containerPath": "/t", "size": 1, "mountOptions": [option]}]}))
    };
    let docker = |volume: Value| top("volumes", json!([{"name": "v", "dockerVolumeConfiguration": volume}]));
    let accepted = |body: Value| ("RegisterTaskDefinition", body, Want::Ok(json!({})));
    let merged = |mut body: Value, more: Value| {
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let shared = |ipc: &str, more: Value| {
        let mut body = top("ipcMode", json!(ipc));
        body["containerDefinitions"][0] = merged(body["containerDefinitions"][0].clone(), more);
        body
    };
    let fargate = |more: Value| {
        let size =
            json!({"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512"});
        merged(merged(minimal("web"), size), more)
    };
    let efs = |more: Value| {
        top(
            "volumes",
            json!([{"name": "v", "efsVolumeConfiguration": merged(json!({"fileSystemId": "fs-01234567"}), more)}]),
        )
    };
    // One that is made, in a family of its own.
    let of_efs = |more: Value| merged(efs(more), json!({"family": "efs"}));
    // Without memory of the container's own.
    let on_fargate = |task: Value, container: Value| {
        let app = merged(json!({"name": "app", "image": "i"}), container);
        merged(fargate(json!({"containerDefinitions": [app]})), task)
    };
    let log = |driver: &str, options: Value| with("logConfiguration", json!({"logDriver": driver, "options": options}));
    run(
        &harness,
        "ecs",
        vec![
            ("RegisterTaskDefinition", json!({"family": "x"}), Want::Err("InvalidParameterException", "containerDefinitions")),
            refused(top("family", json!("a b")), "Family contains invalid characters."),
            ("RegisterTaskDefinition", with("extraHosts", json!([null])), Want::Err("SerializationException", "Null found")),
            (
                "RegisterTaskDefinition",
                top("requiresCompatibilities", json!([null])),
                Want::Err("SerializationException", "Null found"),
            ),
            refused(with("hostname", json!("é")), "Invalid setting for container 'app'. 'hostname' needs letters"),
            refused(json!({"family": "x", "containerDefinitions": [{"image": "i", "memory": 6}]}), "Container.name should not be null"),
            refused(json!({"family": "x", "containerDefinitions": [{"name": "i", "memory": 6}]}), "Container.image should not be null"),
            refused(
                json!({"family": "x", "containerDefinitions": [{"name": "app", "image": "i"}]}),
                "Invalid setting for container 'app'. At least one of 'memory' or 'memoryReservation' must be specified.",
            ),
            refused(with("essential", json!(false)), "at least one essential container"),
            refused(
                json!({"family": "web", "networkMode": "awsvpc", "containerDefinitions": [{
                    "name": "app", "image": "busybox", "memory": 64,
                    "portMappings": [{"containerPort": 80, "hostPort": 8080}],
                }]}),
                "When networkMode=awsvpc, the host ports and container ports in port mappings must match.",
            ),
            refused(top("requiresCompatibilities", json!(["FARGATE"])), "Fargate only supports network mode 'awsvpc'."),
            refused(top("taskRoleArn", json!("arn:aws:iam::0:role/r")), "Role is not valid"),
            refused(top("executionRoleArn", json!("arn:aws:iam::000000000000:user/r")), "Role is not valid"),
            refused(top("volumes", json!([{"name": "v", "configuredAtLaunch": true}, {"name": "w", "configuredAtLaunch": true}])), "Only one volume of a task definition can be configured at launch."),
            refused(top("volumes", json!([{"name": "v", "configuredAtLaunch": true, "host": {}}])), "can be configured at launch or have another configuration, not both"),
            refused(efs(json!({"fileSystemId": "fs-1"})), "'fs-1' is not the ID of a file system."),
            refused(efs(json!({"rootDirectory": "/a/../b"})), "Invalid 'efsVolumeConfiguration.rootDirectory' setting for volume 'v'"),
            accepted(of_efs(json!({"transitEncryption": "ENABLED", "transitEncryptionPort": 20049}))),
            accepted(of_efs(json!({"authorizationConfig": {"iam": "DISABLED"}}))),
            (
                "RegisterTaskDefinition",
                of_efs(json!({"transitEncryption": "ENABLED", "authorizationConfig": {"accessPointId": "fsap-01234567"}})),
                Want::Ok(json!({"taskDefinition": {
                    "volumes": [{"name": "v", "efsVolumeConfiguration": {
                        "fileSystemId": "fs-01234567", "rootDirectory": "/", "transitEncryption": "ENABLED",
                        "authorizationConfig": {"accessPointId": "fsap-01234567"},
                    }}],
                }})),
            ),
            refused(efs(json!({"transitEncryption": "ENABLED", "transitEncryptionPort": 65536})), "transitEncryptionPort' setting: 65536 is not a port."),
            refused(efs(json!({"transitEncryptionPort": 20049})), "'transitEncryptionPort' needs it to be ENABLED."),
            refused(
                efs(json!({"authorizationConfig": {"accessPointId": "fsap-01234567"}})),
                "'authorizationConfig.accessPointId' needs it to be ENABLED.",
            ),
            refused(
                efs(json!({"rootDirectory": "/a", "transitEncryption": "ENABLED", "authorizationConfig": {"accessPointId": "fsap-01234567"}})),
                "When using an EFS access point, the root directory must either be set to \"/\" or be omitted.",
            ),
            refused(
                efs(json!({"transitEncryption": "ENABLED", "authorizationConfig": {"iam": "ENABLED"}})),
                "does not honour volumes.efsVolumeConfiguration.authorizationConfig.iam ENABLED yet",
            ),
            ("RegisterTaskDefinition", efs(json!({"transitEncryption": "MAYBE"})), Want::Err("InvalidParameterException", "failed to satisfy constraint")),
            refused(top("volumes", json!([{"name": "v", "efsVolumeConfiguration": {}}])), "'' is not the ID of a file system."),
            refused(
                top("volumes", json!([{"name": "v", "host": {"sourcePath": "/x"}, "efsVolumeConfiguration": {"fileSystemId": "fs-01234567"}}])),
                "can have 'host.sourcePath' or 'efsVolumeConfiguration', not both.",
            ),
            accepted(fargate(json!({"family": "efs", "volumes": [{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "fs-01234567"}}]}))),
            refused(docker(json!({"driver": "rexray/ebs"})), "volumes.dockerVolumeConfiguration.driver rexray/ebs yet"),
            refused(docker(json!({"driverOpts": {"size": "1g"}})), "dockerVolumeConfiguration.driverOpts.size yet"),
            refused(docker(json!({"driverOpts": {"type": "tmpfs"}})), "missing required option: \"device\""),
            refused(docker(json!({"autoprovision": true})), "'autoprovision' of volume 'v' is only supported with scope 'shared'."),
            ("RegisterTaskDefinition", docker(json!({"scope": "all"})), Want::Err("InvalidParameterException", "failed to satisfy constraint")),
            refused(
                top("volumes", json!([{"name": "v", "host": {"sourcePath": "/x"}, "dockerVolumeConfiguration": {}}])),
                "can have 'host.sourcePath' or 'dockerVolumeConfiguration', not both.",
            ),
            refused(top("volumes", json!([{"name": "../v"}])), "Volume name '../v' is not valid"),
            refused(with("mountPoints", json!([{"sourceVolume": "v", "containerPath": "/v"}])), "Unknown volume 'v'."),
            refused(with("volumesFrom", json!([{"sourceContainer": "app"}])), "It depends on itself in the end."),
            refused(
                efs(json!({"transitEncryption": "ENABLED", "transitEncryptionPort": 443})),
                "443 is kept for the machine; choose one from 1024 on.",
            ),
            refused(top("enableFaultInjection", json!(true)), "does not honour enableFaultInjection yet"),
            refused(
                top("trustedExecutionConfiguration", json!({"isolationMode": "SHARED"})),
                "does not honour trustedExecutionConfiguration yet",
            ),
            refused(top("proxyConfiguration", json!({"containerName": "app"})), "does not honour proxyConfiguration yet"),
            refused(
                top("inferenceAccelerators", json!([{"deviceName": "a", "deviceType": "eia1.medium"}])),
                "does not honour inferenceAccelerators yet",
            ),
            refused(top("requiresCompatibilities", json!(["MANAGED_INSTANCES"])), "does not honour requiresCompatibilities MANAGED_INSTANCES yet"),
            refused(with("command", json!(["a\0b"])), "must not contain the character NUL."),
            refused(with("environment", json!([{"name": "A", "value": "\0"}])), "must not contain the character NUL."),
            refused(with("image", json!("a".repeat(256))), "is longer than 255 characters."),
            refused(top("cpu", json!(" ")), "Invalid 'cpu' setting for task."),
            accepted(json!({
                "family": "quiet", "containerDefinitions": [{"name": "a", "image": "a", "memory": 6, "logConfiguration": {}}],
            })),
            refused(with("links", json!(["db"])), "Invalid 'links' setting for container 'app'. There is no container 'db'."),
            ("RegisterTaskDefinition", top("pidMode", json!("all")), Want::Err("InvalidParameterException", "failed to satisfy constraint")),
            ("RegisterTaskDefinition", top("ipcMode", json!("all")), Want::Err("InvalidParameterException", "failed to satisfy constraint")),
            refused(shared("host", json!({"systemControls": [{"namespace": "kernel.sem", "value": "1"}]})), "'kernel.sem' is not supported when ipcMode=host."),
            refused(shared("none", json!({"linuxParameters": {"sharedMemorySize": 9}})), "'sharedMemorySize' is not supported when ipcMode=none."),
            refused(in_memory("foo"), "'linuxParameters.tmpfs.mountOptions' of '/t' has 'foo': it is no option of a tmpfs"),
            refused(in_memory("size=1g"), "'linuxParameters.tmpfs.mountOptions' of '/t' has 'size=1g': it is no option"),
            refused(in_memory("remount"), "has 'remount': no tmpfs can be mounted with it"),
            accepted(merged(in_memory("rshared"), json!({"family": "memory"}))),
            refused(with("linuxParameters", json!({"swappiness": 5})), "'swappiness' needs 'maxSwap'."),
            refused(with("linuxParameters", json!({"maxSwap": -1})), "'maxSwap' must not be negative."),
            refused(fargate(json!({"pidMode": "host"})), "The supported value for pidMode is 'task'."),
            refused(fargate(json!({"ipcMode": "task"})), "Tasks using the Fargate launch type do not support ipcMode."),
            refused(fargate(json!({"volumes": [{"name": "v", "host": {"sourcePath": "/x"}}]})), "do not support sourcePath"),
            refused(
                fargate(json!({"volumes": [{"name": "v", "dockerVolumeConfiguration": {"scope": "task"}}]})),
                "do not support dockerVolumeConfiguration",
            ),
            accepted(fargate(json!({"family": "fine", "pidMode": "task", "volumes": [{"name": "v"}]}))),
            refused(top("cpu", json!("lots")), "Invalid 'cpu' setting for task."),
            refused(top("cpu", json!("64")), "Invalid 'cpu' setting for task."),
            refused(
                top("placementConstraints", json!([{"type": "memberOf", "expression": "attribute:x =="}])),
                "Invalid placement constraint expression",
            ),
            refused(
                with("firelensConfiguration", json!({"type": "fluentbit"})),
                "When a firelensConfiguration object is specified, at least one container has to be configured with the awsfirelens log driver.",
            ),
            ("RegisterTaskDefinition", with("firelensConfiguration", json!({"type": "vector"})), Want::Err("InvalidParameterException", "failed to satisfy constraint")),
            refused(
                log("awsfirelens", json!({"Name": "stdout"})),
                "When awsfirelens log driver is specified in log configuration, a firelens configuration object must be configured in one of the containers.",
            ),
            refused(log("awsfirelens", json!({"Name": "a\nb"})), "'Name' of container 'app' cannot be a line"),
            refused(log("awsfirelens", json!({"log-driver-buffer-limit": "many"})), "log-driver-buffer-limit must be a number between 0 and 536870912"),
            refused(
                with("linuxParameters", json!({"devices": [{"hostPath": "/dev/x", "containerPath": "/dev/../x"}]})),
                "Device '/dev/x' needs absolute paths without '..'.",
            ),
            refused(with("linuxParameters", json!({"capabilities": {"add": ["FLY"]}})), "'FLY' is not a Linux capability"),
            refused(check("command", json!([])), "'healthCheck.command' must not be empty."),
            refused(check("command", json!(["curl", "x"])), "'healthCheck.command' must start with CMD or CMD-SHELL."),
            refused(check("command", json!(["CMD"])), "does not say what to run"),
            refused(check("command", json!(["CMD-SHELL", ""])), "does not say what to run"),
            refused(check("interval", json!(4)), "Invalid setting for container 'app'. 'healthCheck.interval' must be between 5 and 300."),
            refused(check("interval", json!(301)), "between 5 and 300"),
            refused(check("interval", json!(-5)), "'healthCheck.interval' must not be negative."),
            refused(check("timeout", json!(1)), "'healthCheck.timeout' must be between 2 and 60."),
            refused(check("timeout", json!(61)), "between 2 and 60"),
            refused(check("retries", json!(0)), "'healthCheck.retries' must be between 1 and 10."),
            refused(check("retries", json!(11)), "between 1 and 10"),
            refused(check("startPeriod", json!(301)), "'healthCheck.startPeriod' must be between 0 and 300."),
            (
                "RegisterTaskDefinition",
                with("healthCheck", json!({"interval": 5})),
                Want::Err("InvalidParameterException", "healthCheck"),
            ),
            refused(with("restartPolicy", json!({"enabled": true, "restartAttemptPeriod": 59})), "between 60 and 1800"),
            refused(with("restartPolicy", json!({"enabled": true, "restartAttemptPeriod": -1})), "must not be negative"),
            refused(log("awslogs", json!({})), "awslogs-group"),
            refused(
                log("awslogs", json!({"awslogs-group": "g", "awslogs-multiline-pattern": "x", "awslogs-datetime-format": "%Y"})),
                "you cannot configure log opt 'awslogs-datetime-format' and 'awslogs-multiline-pattern' at the same time",
            ),
            refused(log("awslogs", json!({"awslogs-group": "g", "awslogs-multiline-pattern": "("})), "could not parse multiline"),
            refused(log("awslogs", json!({"awslogs-group": "g", "mode": "fast"})), "logging mode not supported: fast"),
            refused(
                log("awslogs", json!({"awslogs-group": "g", "mode": "blocking", "max-buffer-size": "1m"})),
                "max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            refused(
                log("awslogs", json!({"awslogs-group": "g", "awslogs-format": "json/emf"})),
                "does not honour containerDefinitions.logConfiguration.options.awslogs-format yet",
            ),
            refused(
                log("awslogs", json!({"awslogs-group": "g", "awslogs-colour": "red"})),
                "Log driver awslogs disallows options: awslogs-colour",
            ),
            refused(log("json-file", json!({"compress": "true"})), "logConfiguration.options.compress yet"),
            refused(log("json-file", json!({"max-size": "some"})), "invalid size: 'some'"),
            refused(log("syslog", json!({"colour": "red"})), "unknown log opt 'colour' for syslog log driver (container 'app')."),
            refused(log("syslog", json!({"syslog-address": "10.0.0.1"})), "syslog-address should be in form proto://address, got 10.0.0.1"),
            refused(log("syslog", json!({"tag": "{{.Colour}}"})), "template: log-tag: '{{.Colour}}' is not honoured"),
            refused(log("fluentd", json!({"cache-disabled": "true"})), "does not honour containerDefinitions.logConfiguration.options.cache-disabled yet"),
            refused(log("gelf", json!({})), "gelf-address is a required parameter"),
            // What Fargate wants is told first, whatever else is wrong.
            refused(on_fargate(json!({"memory": null}), json!({})), "Fargate requires that 'memory' be defined at the task level."),
            refused(on_fargate(json!({"cpu": null}), json!({})), "Fargate requires that 'cpu' be defined at the task level."),
            refused(on_fargate(json!({"cpu": "64"}), json!({})), "No Fargate configuration exists for given values."),
            refused(on_fargate(json!({}), json!({"linuxParameters": {"maxSwap": 5}})), "Fargate compatible task definitions do not support maxSwap and swappiness"),
            refused(on_fargate(json!({}), json!({"linuxParameters": {"swappiness": 5}})), "Fargate compatible task definitions do not support maxSwap and swappiness"),
            refused(on_fargate(json!({}), json!({"logConfiguration": {"logDriver": "gelf"}})), "Fargate compatible task definitions do not support log driver gelf"),
            refused(on_fargate(json!({"memory": null}), json!({"logConfiguration": {"logDriver": "splunk"}})), "Fargate requires that 'memory' be defined at the task level."),
            refused(on_fargate(json!({}), json!({"logConfiguration": {"logDriver": "splunk"}})), "Log driver splunk requires options: splunk-"),
            refused(on_fargate(json!({}), json!({"systemControls": [{"namespace": "net.core.somaxconn", "value": "512"}, {"namespace": "kernel.msgmax", "value": "1"}]})), "does not honour systemControls 'kernel.msgmax' on Fargate yet, only those of net.*"),
            refused(on_fargate(json!({}), json!({"startTimeout": 1})), "'startTimeout' must be between 2 and 120 on Fargate."),
            refused(on_fargate(json!({}), json!({"startTimeout": 121})), "'startTimeout' must be between 2 and 120 on Fargate."),
            refused(on_fargate(json!({}), json!({"stopTimeout": 1})), "'stopTimeout' must be between 2 and 120 on Fargate."),
            refused(
                json!({"family": "x", "memory": "5", "containerDefinitions": [{"name": "app", "image": "i"}]}),
                "Invalid 'memory' setting for task. It must be at least 6 MiB",
            ),
            refused(log("splunk", json!({"splunk-url": "https://x:1"})), "Log driver splunk requires options: splunk-token"),
            refused(
                with("logConfiguration", json!({"logDriver": "splunk", "options": {"splunk-url": "https://x:1"}, "secretOptions": [{"name": "splunk-token", "valueFrom": "/t"}]})),
                "you must also specify a value for 'executionRoleArn'.",
            ),
            refused(
                with("logConfiguration", json!({"logDriver": "splunk", "options": {"splunk-url": "https://x:1"}, "secretOptions": [{"name": "colour", "valueFrom": "/t"}]})),
                "Log driver splunk disallows options: colour",
            ),
            refused(fargate(json!({"containerDefinitions": [{"name": "app", "image": "i", "logConfiguration": {"logDriver": "fluentd"}}]})), "Fargate compatible task definitions do not support log driver fluentd"),
            refused(fargate(json!({"containerDefinitions": [{"name": "app", "image": "i", "logConfiguration": {"logDriver": "splunk", "options": {"splunk-url": "https://x:1", "splunk-token": "t", "splunk-capath": "/etc/passwd"}}}]})), "Fargate compatible task definitions do not support log option splunk-capath"),
            refused(with("resourceRequirements", json!([{"type": "GPU", "value": "0"}])), "Invalid setting for container 'app'. The value of 'resourceRequirements' of the type GPU must be a positive integer, not '0'."),
            refused(with("resourceRequirements", json!([{"type": "GPU"}])), "must be a positive integer, not ''"),
            refused(with("resourceRequirements", json!([{"type": "InferenceAccelerator", "value": "device_1"}])), "does not honour containerDefinitions.resourceRequirements.type InferenceAccelerator yet"),
            refused(fargate(json!({"containerDefinitions": [{"name": "app", "image": "i", "resourceRequirements": [{"type": "GPU", "value": "1"}]}]})), "Fargate compatible task definitions do not support resourceRequirements of the type GPU"),
            refused(with("portMappings", json!([{"containerPortRange": "9-"}])), "is not a port range"),
            refused(with("portMappings", json!([{"containerPort": 80, "name": "-Web"}])), "Invalid port mapping name '-Web'"),
            refused(with("ulimits", json!([{"name": "core", "softLimit": -1, "hardLimit": 5}])), "above its hardLimit"),
            refused(with("portMappings", json!([{"containerPort": 80, "hostPort": 70000}])), "hostPort"),
            (
                "RegisterTaskDefinition",
                top("tags", json!([{"key": "aws:x", "value": "v"}])),
                Want::Err("InvalidParameterException", "reserved"),
            ),
            ("DescribeTaskDefinition", json!({"taskDefinition": "web"}), client("Unable to describe task definition.")),
            ("DescribeTaskDefinition", json!({"taskDefinition": "web:x"}), client("Unable to describe task definition.")),
            ("DeregisterTaskDefinition", json!({"taskDefinition": "web:1"}), client("does not exist")),
            (
                "DeregisterTaskDefinition",
                json!({"taskDefinition": "web:x"}),
                Want::Err("InvalidParameterException", "Invalid revision number. Number: x"),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn revisions_come_and_go_and_are_never_used_again() {
    let harness = Harness::start().await;
    let td = |rest: &str| arn(&format!("task-definition/{rest}"));
    let registered = |family: &str, revision: u32| {
        let body = minimal(family);
        ("RegisterTaskDefinition", body, Want::Ok(json!({"taskDefinition": {"revision": revision}})))
    };
    let listed =
        |input: Value, arns: Vec<String>| ("ListTaskDefinitions", input, Want::Ok(json!({"taskDefinitionArns": arns})));
    let families =
        |input: Value, names: &[&str]| ("ListTaskDefinitionFamilies", input, Want::Ok(json!({"families": names})));
    run(
        &harness,
        "ecs",
        vec![
            registered("web", 1),
            registered("web", 2),
            registered("web-two", 1),
            listed(json!({}), vec![td("web:1"), td("web:2"), td("web-two:1")]),
            listed(json!({"familyPrefix": "web"}), vec![td("web:1"), td("web:2")]),
            listed(json!({"familyPrefix": "web", "sort": "DESC"}), vec![td("web:2"), td("web:1")]),
            listed(json!({"familyPrefix": "we"}), vec![]),
            families(json!({}), &["web", "web-two"]),
            families(json!({"familyPrefix": "web-"}), &["web-two"]),
            (
                "DeleteTaskDefinitions",
                json!({"taskDefinitions": ["web:1", "web:9", "web"]}),
                Want::Ok(json!({"taskDefinitions": [], "failures": [
                    {"arn": "web:1", "reason": "The specified task definition is still in ACTIVE status. Please deregister the target and try again."},
                    {"arn": "web:9", "reason": "The specified task definition does not exist. Specify a valid account, family, revision and try again."},
                    {"arn": "web", "reason": "The specified task definition identifier is invalid. Specify a valid name or ARN and try again."},
                ]})),
            ),
            ("DeregisterTaskDefinition", json!({"taskDefinition": "web:2"}), Want::Ok(json!({"taskDefinition": {"status": "INACTIVE"}}))),
            ("DescribeTaskDefinition", json!({"taskDefinition": "web"}), Want::Ok(json!({"taskDefinition": {"revision": 1}}))),
            ("DeregisterTaskDefinition", json!({"taskDefinition": "web-two:1"}), Want::Ok(json!({}))),
            families(json!({"status": "ACTIVE"}), &["web"]),
            families(json!({"status": "INACTIVE"}), &["web-two"]),
            listed(json!({"status": "INACTIVE"}), vec![td("web:2"), td("web-two:1")]),
            (
                "DeleteTaskDefinitions",
                json!({"taskDefinitions": [td("web:2")]}),
                Want::Ok(json!({"failures": [], "taskDefinitions": [{"status": "DELETE_IN_PROGRESS"}]})),
            ),
            registered("web", 3),
            ("DeleteTaskDefinitions", json!({"taskDefinitions": []}), Want::Err("InvalidParameterException", "must be greater than 0")),
        ],
    )
    .await;
    let (mut seen, mut token) = (Vec::new(), json!(null));
    for page in 0.. {
        assert!(page < 3);
        let input = json!({"maxResults": 1, "nextToken": token, "familyPrefix": "web"});
        let got = harness.call("ecs", "ListTaskDefinitions", &input).await.unwrap();
        seen.extend(got["taskDefinitionArns"].as_array().unwrap().clone());
        match got.get("nextToken") {
            Some(next) => token = next.clone(),
            None => break,
        }
    }
    assert_eq!(seen, vec![json!(td("web:1")), json!(td("web:3"))]);
}

/// Bodies as the original ECS CLI sends them for compose files of version 1 and 3, empty members and all.
#[tokio::test]
async fn old_clients_bodies_pass() {
    let harness = Harness::start().await;
    for body in [include_str!("bodies/ecs-cli-v1.json"), include_str!("bodies/ecs-cli-v3.json")] {
        let body: Value = serde_json::from_str(body).unwrap();
        let answer = harness.call("ecs", "RegisterTaskDefinition", &body).await.unwrap();
        let shown = &answer["taskDefinition"];
        assert_eq!(shown["requiresCompatibilities"], json!(["EC2"]));
        assert_eq!(shown["volumes"].as_array().map(Vec::len), body["volumes"].as_array().map(Vec::len));
        assert!(shown["containerDefinitions"][0].get("command").is_none_or(|c| c != &json!([])));
        assert!(shown.get("executionRoleArn").is_none(), "an empty text is unset");
    }
}

#[tokio::test]
async fn log_drivers_and_routers_are_shown_as_they_were_given() {
    let harness = Harness::start().await;
    let container = |name: &str, more: Value| {
        let mut container = json!({"name": name, "image": "busybox", "memory": 32});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        container
    };
    let secret = json!([{"name": "splunk-token", "valueFrom": "/splunk/token"}]);
    let key =
        json!([{"name": "apiKey", "valueFrom": "arn:aws:secretsmanager:us-east-1:000000000000:secret:key-AbCdEf"}]);
    let more =
        json!({"enable-ecs-log-metadata": "true", "config-file-type": "file", "config-file-value": "/more.conf"});
    let log = |driver: &str, options: Value| json!({"logConfiguration": {"logDriver": driver, "options": options}});
    let mut splunk = log("splunk", json!({"splunk-url": "https://x:8088"}));
    splunk["logConfiguration"]["secretOptions"] = secret;
    let mut routed = log("awsfirelens", json!({"Name": "http", "log-driver-buffer-limit": "2048"}));
    routed["logConfiguration"]["secretOptions"] = key;
    let given = json!({
        "family": "logs", "executionRoleArn": "arn:aws:iam::000000000000:role/logs", "containerDefinitions": [
            container("syslog", log("syslog", json!({"syslog-address": "udp://10.0.0.1", "tag": "{{.Name}}"}))),
            container("journald", log("journald", json!({"labels": "team"}))),
            container("splunk", splunk),
            container("routed", routed),
            container("router", json!({"firelensConfiguration": {"type": "fluentbit", "options": more}})),
        ],
    });
    let answer = harness.call("ecs", "RegisterTaskDefinition", &given).await.unwrap();
    let shown = &answer["taskDefinition"];
    for (shown, given) in
        shown["containerDefinitions"].as_array().unwrap().iter().zip(given["containerDefinitions"].as_array().unwrap())
    {
        for member in ["logConfiguration", "firelensConfiguration", "dependsOn"] {
            assert_eq!(shown[member], given[member], "{member}");
        }
    }
    let names: Vec<_> =
        shown["requiresAttributes"].as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap()).collect();
    for wanted in [
        "com.amazonaws.ecs.capability.logging-driver.syslog",
        "com.amazonaws.ecs.capability.logging-driver.splunk",
        "com.amazonaws.ecs.capability.logging-driver.awsfirelens",
        "ecs.capability.logging-driver.awsfirelens.log-driver-buffer-limit",
        "ecs.capability.firelens.fluentbit",
        "ecs.capability.firelens.options.config.file",
        "ecs.capability.secrets.ssm.bootstrap.log-driver",
        "ecs.capability.secrets.asm.bootstrap.log-driver",
    ] {
        assert!(names.contains(&wanted), "{wanted}: {names:?}");
    }
}
