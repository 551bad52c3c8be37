"""Tasks on real container instances: started, placed, logged, stopped, and told truthfully."""

import os
import subprocess
import sys
import threading
import unittest
import urllib.request

from checked import REGION, Case

IMAGE = os.environ["TEST_IMAGE"]


def shell(name, script, **more):
    return {"name": name, "image": IMAGE, "memory": 32, "command": ["sh", "-c", script], **more}


class Tasks(Case):
    def setUp(self):
        super().setUp()
        arns = self.ecs.list_container_instances()["containerInstanceArns"]
        self.instances = self.ecs.describe_container_instances(containerInstances=arns)["containerInstances"]
        self.assertEqual(3, len(self.instances))

    def tearDown(self):
        self.stop_all()
        super().tearDown()

    def define(self, *containers, **more):
        family = self.id().rsplit(".")[-1]
        made = self.ecs.register_task_definition(family=family, containerDefinitions=list(containers), **more)
        return made["taskDefinition"]["taskDefinitionArn"]

    def run_one(self, *containers, **more):
        run = {k: more.pop(k) for k in list(more) if k in ("overrides", "startedBy", "group", "tags", "enableECSManagedTags", "propagateTags")}
        answer = self.ecs.run_task(taskDefinition=self.define(*containers, **more), **run)
        self.assertEqual([], answer["failures"])
        return answer["tasks"][0]["taskArn"]

    def logs_of(self, group, stream, wanted):
        def read():
            try:
                return [e["message"] for e in self.logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]]
            except self.logs.exceptions.ResourceNotFoundException:
                return []
        return self.until("log lines", read, lambda lines: len(lines) >= wanted)

    def test_a_task_runs_and_is_stopped(self):
        arn = self.run_one(shell("main", "trap 'exit 7' TERM; while true; do sleep 0.1; done"), )
        task = self.wait_task(arn, "RUNNING")
        self.assertEqual(("RUNNING", "EC2"), (task["desiredStatus"], task["launchType"]))
        self.assertEqual("CONNECTED", task["connectivity"])
        self.assertTrue(task["containers"][0]["runtimeId"])
        self.assertTrue(task["containers"][0]["imageDigest"].startswith("sha256:"))
        self.assertGreaterEqual(task["startedAt"], task["createdAt"])
        self.assertIn(arn, self.ecs.list_tasks(family="test_a_task_runs_and_is_stopped")["taskArns"])
        stopped = self.ecs.stop_task(task=arn, reason="enough")["task"]
        self.assertEqual("STOPPED", stopped["desiredStatus"])
        task = self.wait_task(arn, "STOPPED")
        self.assertEqual(("UserInitiated", "enough"), (task["stopCode"], task["stoppedReason"]))
        self.assertEqual(7, task["containers"][0]["exitCode"])
        self.assertIn(arn, self.ecs.list_tasks(desiredStatus="STOPPED")["taskArns"])

    def test_sigkill_follows_the_stop_timeout(self):
        arn = self.run_one(shell("deaf", "trap '' TERM; while true; do sleep 0.1; done", stopTimeout=2))
        self.wait_task(arn, "RUNNING")
        self.ecs.stop_task(task=arn)
        self.assertEqual(137, self.wait_task(arn, "STOPPED")["containers"][0]["exitCode"])

    def test_an_essential_exit_ends_the_task(self):
        arn = self.run_one(shell("main", "sleep 0.5; exit 3"), shell("side", "sleep 1000", essential=False, stopTimeout=2))
        task = self.wait_task(arn, "STOPPED")
        self.assertEqual(("EssentialContainerExited", "Essential container in task exited"), (task["stopCode"], task["stoppedReason"]))
        codes = {c["name"]: c.get("exitCode") for c in task["containers"]}
        self.assertEqual(3, codes["main"])
        self.assertIn(codes["side"], (137, 143))

    def test_a_side_container_may_exit(self):
        arn = self.run_one(shell("main", "sleep 1000", stopTimeout=2), shell("side", "exit 5", essential=False))
        def side(task):
            return next(c for c in task["containers"] if c["name"] == "side")
        task = self.until("side stopped", lambda: self.task(arn), lambda t: side(t)["lastStatus"] == "STOPPED" and t["lastStatus"] == "RUNNING")
        self.assertEqual((5, "RUNNING"), (side(task)["exitCode"], task["lastStatus"]))

    def test_a_missing_image_is_told(self):
        arn = self.run_one({"name": "x", "image": IMAGE.rsplit(":", 1)[0] + ":nosuchtag", "memory": 16})
        task = self.wait_task(arn, "STOPPED")
        self.assertEqual("TaskFailedToStart", task["stopCode"])
        self.assertTrue(task["containers"][0]["reason"].startswith("CannotPullContainerError"), task["containers"][0])

    def test_a_missing_program_is_told(self):
        arn = self.run_one({"name": "x", "image": IMAGE, "memory": 16, "command": ["/no/such/program"]})
        task = self.wait_task(arn, "STOPPED")
        self.assertEqual("TaskFailedToStart", task["stopCode"])
        self.assertRegex(task["containers"][0]["reason"], "^Cannot(Start|Create)ContainerError")

    def test_out_of_memory_is_told(self):
        arn = self.run_one(shell("hog", "x=a; while true; do x=$x$x; done", memory=16))
        container = self.wait_task(arn, "STOPPED")["containers"][0]
        self.assertEqual((137, True), (container["exitCode"], container.get("reason", "").startswith("OutOfMemoryError")), container)

    def test_logs_and_overrides(self):
        log = {"logDriver": "awslogs", "options": {
            "awslogs-group": "tasks", "awslogs-region": REGION, "awslogs-stream-prefix": "p", "awslogs-create-group": "true"}}
        arn = self.run_one(
            shell("main", "true", logConfiguration=log, environment=[{"name": "A", "value": "definition"}]),
            overrides={"containerOverrides": [{
                "name": "main", "command": ["sh", "-c", "echo A=$A; echo E=$AWS_EXECUTION_ENV; echo to stderr >&2"],
                "environment": [{"name": "A", "value": "override"}]}]},
            startedBy="me", enableECSManagedTags=True, tags=[{"key": "k", "value": "v"}],
        )
        task = self.wait_task(arn, "STOPPED")
        self.assertEqual("me", task["startedBy"])
        self.assertEqual({"k": "v", "aws:ecs:clusterName": "default"}, {t["key"]: t["value"] for t in task["tags"]})
        self.assertEqual(0, task["containers"][0]["exitCode"])
        lines = self.logs_of("tasks", f"p/main/{arn.rsplit('/')[-1]}", 3)
        self.assertEqual({"A=override", "E=AWS_ECS_EC2", "to stderr"}, set(lines))
        done = subprocess.run(
            [sys.executable, "-m", "awscli", "logs", "filter-log-events", "--log-group-name", "tasks"], capture_output=True, text=True, timeout=60)
        self.assertIn("A=override", done.stdout, done.stderr)

    def test_the_second_aws_cli_follows_logs(self):
        log = {"logDriver": "awslogs", "options": {
            "awslogs-group": "followed", "awslogs-region": REGION, "awslogs-stream-prefix": "p", "awslogs-create-group": "true"}}
        script = "trap 'exit 0' TERM; n=0; while :; do n=$((n+1)); echo tick $n; sleep 0.3; done"
        arn = self.run_one(shell("main", script, logConfiguration=log))
        self.wait_task(arn, "RUNNING")
        stream = f"p/main/{arn.rsplit('/')[-1]}"
        before = len(self.logs_of("followed", stream, 1))
        # Debian's: the first one, which the other tests use, cannot follow. This version takes the endpoint from its flags alone.
        words = ["/usr/bin/aws", "--endpoint-url", os.environ["AWS_ENDPOINT_URL"], "logs", "tail", "followed", "--follow"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as tail:
            watch = threading.Timer(90, tail.kill)
            watch.start()
            try:
                shown = []
                # What it had to wait for, and not only what was there when it came.
                while f"tick {before + 10}" not in [line.split(" ", 2)[-1] for line in shown]:
                    line = tail.stdout.readline().decode()
                    self.assertTrue(line, f"it ended after {shown}")
                    shown.append(line.rstrip())
            finally:
                watch.cancel()
                tail.kill()
        ticks = [line.split(" ") for line in shown]
        self.assertEqual({stream}, {words[1] for words in ticks})
        self.assertEqual([str(n) for n in range(1, before + 11)], [words[3] for words in ticks], "each once and in order")

    def test_what_the_definition_says_holds_inside(self):
        script = (
            "id -u; pwd; hostname; cat /proc/mounts | grep -c ' /scratch tmpfs'; touch /x 2>/dev/null && echo writable || echo readonly; "
            "ulimit -n; cat /proc/1/comm; cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max; "
            "grep CapBnd /proc/self/status"
        )
        log = {"logDriver": "awslogs", "options": {
            "awslogs-group": "inside", "awslogs-region": REGION, "awslogs-stream-prefix": "p", "awslogs-create-group": "true"}}
        arn = self.run_one(shell(
            "main", script, user="1000", workingDirectory="/tmp", hostname="inside", readonlyRootFilesystem=True, memory=40,
            ulimits=[{"name": "nofile", "softLimit": 1000, "hardLimit": 1500}], logConfiguration=log, dockerLabels={"a": "b"},
            linuxParameters={"initProcessEnabled": True, "tmpfs": [{"containerPath": "/scratch", "size": 8}], "capabilities": {"drop": ["ALL"]}},
        ))
        self.wait_task(arn, "STOPPED")
        lines = self.logs_of("inside", f"p/main/{arn.rsplit('/')[-1]}", 9)
        self.assertEqual(["1000", "/tmp", "inside", "1", "readonly", "1000"], lines[:6])
        self.assertNotEqual("sh", lines[6], "the init is process 1")
        self.assertEqual("CapBnd:\t0000000000000000", lines[8])

    def test_ports_answer(self):
        serve = "mkdir -p /tmp/w; echo here > /tmp/w/index.html; exec httpd -f -p 8000 -h /tmp/w"
        arn = self.run_one(shell("web", serve, portMappings=[
            {"containerPort": 8000, "hostPort": 9080}, {"containerPort": 8000, "hostPort": 0, "protocol": "udp"}]), )
        task = self.wait_task(arn, "RUNNING")
        bindings = {b["protocol"]: b for b in task["containers"][0]["networkBindings"]}
        self.assertEqual((9080, 8000), (bindings["tcp"]["hostPort"], bindings["tcp"]["containerPort"]))
        self.assertGreater(bindings["udp"]["hostPort"], 1024)
        instance = next(i for i in self.instances if i["containerInstanceArn"] == task["containerInstanceArn"])
        machine = self.ec2.describe_instances(InstanceIds=[instance["ec2InstanceId"]])["Reservations"][0]["Instances"][0]
        url = f"http://{machine['PrivateIpAddress']}:9080/"
        def ask():
            try:
                return urllib.request.urlopen(url, timeout=2).read().decode()
            except OSError as error:
                return str(error)
        self.assertEqual("here\n", self.until("an answer", ask, lambda text: text == "here\n"))
        described = self.ecs.describe_container_instances(containerInstances=[task["containerInstanceArn"]])["containerInstances"][0]
        ports = next(r for r in described["remainingResources"] if r["name"] == "PORTS")["stringSetValue"]
        self.assertIn("9080", ports)

    def test_placement(self):
        td = self.define(shell("main", "sleep 1000", stopTimeout=2))
        spread = self.ecs.run_task(taskDefinition=td, count=3, placementStrategy=[{"type": "spread", "field": "attribute:ecs.availability-zone"}])
        self.assertEqual(3, len({t["availabilityZone"] for t in spread["tasks"]}))
        packed = self.ecs.run_task(taskDefinition=td, count=3, placementStrategy=[{"type": "binpack", "field": "memory"}])
        self.assertEqual(1, len({t["containerInstanceArn"] for t in packed["tasks"]}))
        zone = self.instances[0]["attributes"]
        zone = next(a["value"] for a in zone if a["name"] == "ecs.availability-zone")
        there = self.ecs.run_task(taskDefinition=td, count=2, placementConstraints=[
            {"type": "memberOf", "expression": f"attribute:ecs.availability-zone == {zone}"}])
        self.assertEqual({zone}, {t["availabilityZone"] for t in there["tasks"]})
        apart = self.ecs.run_task(taskDefinition=td, count=4, group="apart", placementConstraints=[{"type": "distinctInstance"}])
        self.assertEqual((3, 3), (len(apart["tasks"]), len(apart["failures"])))
        huge = self.define(shell("main", "true", memory=60000))
        self.assertEqual({"RESOURCE:MEMORY"}, {f["reason"] for f in self.ecs.run_task(taskDefinition=huge)["failures"]})
        self.refused("InvalidParameterException", self.ecs.run_task, taskDefinition=td, placementConstraints=[{"type": "memberOf", "expression": "attribute:x =="}])

    def test_client_tokens(self):
        td = self.define(shell("main", "sleep 1000", stopTimeout=2))
        first = self.ecs.run_task(taskDefinition=td, clientToken="abc")["tasks"][0]["taskArn"]
        again = self.ecs.run_task(taskDefinition=td, clientToken="abc")["tasks"][0]["taskArn"]
        self.assertEqual(first, again)
        error = self.refused("ConflictException", self.ecs.run_task, taskDefinition=td, clientToken="abc", count=2)
        self.assertEqual([first], error.response["resourceIds"])

    def test_start_task_and_draining(self):
        td = self.define(shell("main", "sleep 1000", stopTimeout=2))
        target = self.instances[1]["containerInstanceArn"]
        task = self.ecs.start_task(taskDefinition=td, containerInstances=[target])["tasks"][0]
        self.assertEqual(target, task["containerInstanceArn"])
        self.wait_task(task["taskArn"], "RUNNING")
        self.ecs.update_container_instances_state(containerInstances=[target], status="DRAINING")
        try:
            count = len(self.ecs.run_task(taskDefinition=td, count=10)["tasks"])
            self.assertEqual(10, count)
            self.assertEqual([task["taskArn"]], self.ecs.list_tasks(containerInstance=target)["taskArns"])
            draining = self.ecs.list_container_instances(status="DRAINING")["containerInstanceArns"]
            self.assertEqual([target], draining)
        finally:
            self.ecs.update_container_instances_state(containerInstances=[target], status="ACTIVE")
        self.refused("InvalidParameterException", self.ecs.deregister_container_instance, containerInstance=target, saying="Found running tasks")
        self.refused("ClusterContainsContainerInstancesException", self.ecs.delete_cluster, cluster="default")

    def test_attributes_place(self):
        target = self.instances[2]["containerInstanceArn"]
        attribute = {"name": "rack", "value": "r2", "targetId": target}
        self.ecs.put_attributes(attributes=[attribute])
        td = self.define(shell("main", "sleep 1000", stopTimeout=2))
        tasks = self.ecs.run_task(taskDefinition=td, count=2, placementConstraints=[{"type": "memberOf", "expression": "attribute:rack == r2"}])["tasks"]
        self.assertEqual({target}, {t["containerInstanceArn"] for t in tasks})
        listed = self.ecs.list_attributes(targetType="container-instance", attributeName="rack")["attributes"]
        self.assertEqual(["r2"], [a["value"] for a in listed])
        self.assertEqual([target], self.ecs.list_container_instances(filter="attribute:rack exists")["containerInstanceArns"])
        self.ecs.delete_attributes(attributes=[{"name": "rack", "targetId": target}])

    def test_many_at_once(self):
        td = self.define(shell("main", "exit 0", memory=6))
        arns = []
        for _ in range(3):
            arns += [t["taskArn"] for t in self.ecs.run_task(taskDefinition=td, count=10)["tasks"]]
        self.assertEqual(30, len(arns))
        for arn in arns:
            task = self.wait_task(arn, "STOPPED", seconds=120)
            self.assertEqual([0], [c.get("exitCode") for c in task["containers"]], task)
        for instance in self.ecs.describe_container_instances(containerInstances=[i["containerInstanceArn"] for i in self.instances])["containerInstances"]:
            left = {r["name"]: r.get("integerValue", r.get("stringSetValue")) for r in instance["remainingResources"]}
            had = {r["name"]: r.get("integerValue", r.get("stringSetValue")) for r in instance["registeredResources"]}
            self.assertEqual(had, left)

    def test_waiters(self):
        arn = self.run_one(shell("main", "sleep 1000", stopTimeout=2))
        self.ecs.get_waiter("tasks_running").wait(tasks=[arn], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        self.ecs.stop_task(task=arn)
        self.ecs.get_waiter("tasks_stopped").wait(tasks=[arn], WaiterConfig={"Delay": 1, "MaxAttempts": 60})


class Machines(Case):
    def test_an_instance_comes_stops_starts_and_goes(self):
        # boto3 puts it into base64 itself.
        data = "#!/bin/bash\ncat <<'EOF' >> /etc/ecs/ecs.config\nECS_CLUSTER=extra\nECS_INSTANCE_ATTRIBUTES={\"stack\":\"blue\"}\nEOF\n"
        made = self.ec2.run_instances(MinCount=1, MaxCount=1, InstanceType="t3.small", UserData=data)["Instances"][0]
        identity = made["InstanceId"]
        def instances(**more):
            try:
                return self.ecs.list_container_instances(cluster="extra", **more)["containerInstanceArns"]
            except self.ecs.exceptions.ClusterNotFoundException:
                return []
        try:
            self.ecs.create_cluster(clusterName="extra")
            arns = self.until("registered", lambda: instances(filter="agentConnected == true"), lambda a: len(a) == 1)
            instance = self.ecs.describe_container_instances(cluster="extra", containerInstances=arns)["containerInstances"][0]
            self.assertEqual(identity, instance["ec2InstanceId"])
            attributes = {a["name"]: a.get("value") for a in instance["attributes"]}
            self.assertEqual(("blue", "t3.small"), (attributes["stack"], attributes["ecs.instance-type"]))
            registered = {r["name"]: r.get("integerValue") for r in instance["registeredResources"]}
            self.assertEqual((2048, 2048), (registered["CPU"], registered["MEMORY"]))
            td = self.ecs.register_task_definition(family="extra", containerDefinitions=[shell("main", "sleep 1000")])
            arn = self.ecs.run_task(cluster="extra", taskDefinition="extra")["tasks"][0]["taskArn"]
            self.wait_task(arn, "RUNNING", cluster="extra")
            self.ec2.stop_instances(InstanceIds=[identity])
            task = self.wait_task(arn, "STOPPED", cluster="extra")
            self.assertEqual(f"Host EC2 (instance {identity}) stopped.", task["stoppedReason"])
            self.until("stopped", lambda: self.state(identity), lambda s: s == "stopped")
            self.ec2.start_instances(InstanceIds=[identity])
            self.until("back", lambda: instances(filter="agentConnected == true"), lambda a: a == arns)
        finally:
            self.ec2.terminate_instances(InstanceIds=[identity])
            self.until("terminated", lambda: self.state(identity), lambda s: s == "terminated")
        self.until("deregistered", instances, lambda a: a == [])
        self.ecs.delete_cluster(cluster="extra")

    def state(self, identity):
        return self.ec2.describe_instances(InstanceIds=[identity])["Reservations"][0]["Instances"][0]["State"]["Name"]


if __name__ == "__main__":
    unittest.main()
