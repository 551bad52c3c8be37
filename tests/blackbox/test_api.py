"""The API without a node: clusters, definitions, tags, settings, signatures, EC2's descriptions."""

import datetime
import json
import os
import subprocess
import sys
import unittest
import urllib.request

import botocore.auth
import botocore.awsrequest
import botocore.credentials

from checked import REGION, Case, client, problems

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
ACCOUNT = os.environ.get("LONGSHORE_ACCOUNT_ID", "000000000000")


def container(name="web", **more):
    return {"name": name, "image": "busybox:1", "memory": 32, **more}


class Clusters(Case):
    def test_life_of_a_cluster(self):
        made = self.ecs.create_cluster(
            clusterName="life", tags=[{"key": "team", "value": "a b"}], settings=[{"name": "containerInsights", "value": "enabled"}]
        )["cluster"]
        self.assertEqual(f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/life", made["clusterArn"])
        self.assertEqual("ACTIVE", made["status"])
        self.assertEqual(0, made["runningTasksCount"])
        again = self.ecs.create_cluster(clusterName="life")["cluster"]
        self.assertEqual(made["clusterArn"], again["clusterArn"])
        plain = self.ecs.describe_clusters(clusters=["life"])["clusters"][0]
        self.assertEqual([], plain["tags"])
        full = self.ecs.describe_clusters(clusters=[made["clusterArn"]], include=["TAGS", "SETTINGS", "STATISTICS"])["clusters"][0]
        self.assertEqual([{"key": "team", "value": "a b"}], full["tags"])
        self.assertEqual([{"name": "containerInsights", "value": "enabled"}], full["settings"])
        self.assertIn({"name": "runningEC2TasksCount", "value": "0"}, full["statistics"])
        self.ecs.update_cluster_settings(cluster="life", settings=[{"name": "containerInsights", "value": "disabled"}])
        full = self.ecs.describe_clusters(clusters=["life"], include=["SETTINGS"])["clusters"][0]
        self.assertEqual("disabled", full["settings"][0]["value"])
        self.assertIn(made["clusterArn"], self.ecs.list_clusters()["clusterArns"])
        self.assertEqual("INACTIVE", self.ecs.delete_cluster(cluster="life")["cluster"]["status"])
        self.assertNotIn(made["clusterArn"], self.ecs.list_clusters()["clusterArns"])
        self.refused("ClusterNotFoundException", self.ecs.list_tasks, cluster="never", saying="Cluster not found.")
        missing = self.ecs.describe_clusters(clusters=["never"])
        self.assertEqual("MISSING", missing["failures"][0]["reason"])

    def test_pages_are_stable(self):
        names = [f"page-{n:02}" for n in range(7)]
        for name in names:
            self.ecs.create_cluster(clusterName=name)
        seen = []
        for page in self.ecs.get_paginator("list_clusters").paginate(PaginationConfig={"PageSize": 3}):
            self.assertLessEqual(len(page["clusterArns"]), 3)
            seen += [arn.rsplit("/")[-1] for arn in page["clusterArns"]]
        self.assertEqual(names, [n for n in seen if n.startswith("page-")])
        self.assertEqual(len(seen), len(set(seen)))
        self.refused("InvalidParameterException", self.ecs.list_clusters, nextToken="bogus")
        for name in names:
            self.ecs.delete_cluster(cluster=name)

    def test_regions_are_apart(self):
        other = client("ecs", region="eu-west-1")
        other.create_cluster(clusterName="only-here")
        self.assertEqual("MISSING", self.ecs.describe_clusters(clusters=["only-here"])["failures"][0]["reason"])
        arn = other.describe_clusters(clusters=["only-here"])["clusters"][0]["clusterArn"]
        self.assertTrue(arn.startswith("arn:aws:ecs:eu-west-1:"))
        other.delete_cluster(cluster="only-here")


class Definitions(Case):
    def test_life_of_a_definition(self):
        first = self.ecs.register_task_definition(
            family="life",
            containerDefinitions=[
                container(
                    command=["sleep", "1"],
                    environment=[{"name": "A", "value": "1"}],
                    portMappings=[{"containerPort": 80}],
                    ulimits=[{"name": "nofile", "softLimit": 1024, "hardLimit": 2048}],
                    linuxParameters={"initProcessEnabled": True, "tmpfs": [{"containerPath": "/scratch", "size": 16}]},
                    logConfiguration={"logDriver": "awslogs", "options": {"awslogs-group": "g", "awslogs-region": REGION}},
                )
            ],
            tags=[{"key": "k", "value": "v"}],
        )
        definition = first["taskDefinition"]
        self.assertEqual((1, "ACTIVE", "life"), (definition["revision"], definition["status"], definition["family"]))
        self.assertEqual([{"key": "k", "value": "v"}], first["tags"])
        web = definition["containerDefinitions"][0]
        self.assertEqual((True, 0, []), (web["essential"], web["cpu"], web["mountPoints"]))
        names = {a["name"] for a in definition["requiresAttributes"]}
        self.assertIn("com.amazonaws.ecs.capability.logging-driver.awslogs", names)
        second = self.ecs.register_task_definition(family="life", containerDefinitions=[container()])["taskDefinition"]
        self.assertEqual(2, second["revision"])
        latest = self.ecs.describe_task_definition(taskDefinition="life", include=["TAGS"])
        self.assertEqual((2, []), (latest["taskDefinition"]["revision"], latest["tags"]))
        listed = self.ecs.list_task_definitions(familyPrefix="life", sort="DESC")["taskDefinitionArns"]
        self.assertEqual([second["taskDefinitionArn"], definition["taskDefinitionArn"]], listed)
        self.assertIn("life", self.ecs.list_task_definition_families(familyPrefix="li")["families"])
        failures = self.ecs.delete_task_definitions(taskDefinitions=["life:2"])["failures"]
        self.assertIn("still in ACTIVE status", failures[0]["reason"])
        for revision in (1, 2):
            gone = self.ecs.deregister_task_definition(taskDefinition=f"life:{revision}")["taskDefinition"]
            self.assertEqual("INACTIVE", gone["status"])
        deleted = self.ecs.delete_task_definitions(taskDefinitions=["life:1", "life:2"])
        self.assertEqual([], deleted["failures"])
        third = self.ecs.register_task_definition(family="life", containerDefinitions=[container()])["taskDefinition"]
        self.assertEqual(3, third["revision"], "revisions are never used again")
        self.ecs.deregister_task_definition(taskDefinition="life:3")

    def test_bad_definitions_are_refused(self):
        bad = [
            ("no image", [container(image="")], "image"),
            ("no memory", [{"name": "a", "image": "b"}], "memory"),
            ("twice the same name", [container(), container()], "unique"),
            ("none essential", [container(essential=False)], "essential"),
            ("tiny memory", [container(memory=3)], "6 MiB"),
            ("reserved port", [container(portMappings=[{"containerPort": 80, "hostPort": 22}])], "reserved"),
            ("port twice", [container(portMappings=[{"containerPort": 80, "hostPort": 90}] * 2)], "90"),
        ]
        for why, containers, saying in bad:
            with self.subTest(why):
                self.refused("ClientException", self.ecs.register_task_definition, family="bad", containerDefinitions=containers, saying=saying)
        self.refused("ClientException", self.ecs.describe_task_definition, taskDefinition="bad", saying="Unable to describe task definition.")

    def test_what_is_not_honoured_is_refused_by_name(self):
        for member in (
            {"firelensConfiguration": {"type": "fluentbit"}},
            {"resourceRequirements": [{"type": "InferenceAccelerator", "value": "device_1"}]},
            {"dependsOn": [{"containerName": "web", "condition": "START"}]},
            {"credentialSpecs": ["credentialspec:file://x.json"]},
        ):
            name = next(iter(member))
            with self.subTest(name):
                self.refused(
                    "ClientException", self.ecs.register_task_definition, family="bad", containerDefinitions=[container(**member)], saying=name
                )
        self.refused(
            "ClientException", self.ecs.register_task_definition, family="bad", enableFaultInjection=True,
            containerDefinitions=[container()], saying="enableFaultInjection",
        )

    def test_empty_means_unset(self):
        # What the ECS CLI always sends; see the notes on old clients.
        self.ecs.register_task_definition(
            family="empties", executionRoleArn="", taskRoleArn="", volumes=[],
            containerDefinitions=[container(
                command=[], entryPoint=[], links=[], environment=[], extraHosts=[], dnsServers=[], dnsSearchDomains=[], dockerSecurityOptions=[],
                ulimits=[], mountPoints=[], volumesFrom=[], portMappings=[], linuxParameters={"capabilities": {}, "devices": []}, cpu=0,
                privileged=False, pseudoTerminal=False, readonlyRootFilesystem=False, dockerLabels={},
            )],
        )
        self.ecs.deregister_task_definition(taskDefinition="empties:1")


class TagsAndSettings(Case):
    def test_tags(self):
        arn = self.ecs.create_cluster(clusterName="tagged")["cluster"]["clusterArn"]
        self.ecs.tag_resource(resourceArn=arn, tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
        self.ecs.untag_resource(resourceArn=arn, tagKeys=["a"])
        self.assertEqual([{"key": "b", "value": "2"}], self.ecs.list_tags_for_resource(resourceArn=arn)["tags"])
        self.refused("InvalidParameterException", self.ecs.tag_resource, resourceArn=arn, tags=[{"key": "aws:x", "value": "1"}])
        self.ecs.delete_cluster(cluster="tagged")

    def test_account_settings(self):
        named = self.ecs.list_account_settings(name="taskLongArnFormat", effectiveSettings=True)["settings"]
        self.assertEqual("enabled", named[0]["value"])
        self.ecs.put_account_setting_default(name="containerInsights", value="enabled")
        value = self.ecs.list_account_settings(name="containerInsights", effectiveSettings=True)["settings"][0]["value"]
        self.assertEqual("enabled", value)
        self.ecs.delete_account_setting(name="containerInsights")


class Signatures(Case):
    def call(self, access, secret, skew=0, tamper=False):
        body = json.dumps({"clusters": ["x"]})
        request = botocore.awsrequest.AWSRequest(
            "POST", ENDPOINT + "/", data=body,
            headers={"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.DescribeClusters"},
        )
        signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(access, secret), "ecs", REGION)
        real = botocore.auth.get_current_datetime if hasattr(botocore.auth, "get_current_datetime") else None
        if skew and real:
            botocore.auth.get_current_datetime = lambda *a, **k: real(*a, **k) + datetime.timedelta(seconds=skew)
        try:
            signer.add_auth(request)
        finally:
            if skew and real:
                botocore.auth.get_current_datetime = real
        data = (body + " ").encode() if tamper else body.encode()
        sent = urllib.request.Request(ENDPOINT + "/", data=data, headers=dict(request.headers.items()))
        try:
            with urllib.request.urlopen(sent, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def test_only_a_right_signature_gets_in(self):
        access, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
        self.assertEqual(200, self.call(access, secret)[0])
        rows = [
            ("wrong secret", (access, secret + "x"), {}, "InvalidSignatureException"),
            ("unknown key", ("AKIAUNKNOWNUNKNOWN00", secret), {}, "UnrecognizedClientException"),
            ("changed body", (access, secret), {"tamper": True}, "InvalidSignatureException"),
            ("an hour old", (access, secret), {"skew": -3600}, "InvalidSignatureException"),
        ]
        for why, keys, how, code in rows:
            with self.subTest(why):
                status, body = self.call(*keys, **how)
                self.assertIn(status, (400, 403))
                self.assertEqual(code, body["__type"])

    def test_no_signature_at_all(self):
        request = urllib.request.Request(
            ENDPOINT + "/", data=b"{}",
            headers={"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.ListClusters"},
        )
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=10)
        self.assertEqual("MissingAuthenticationTokenException", json.load(caught.exception)["__type"])


class Neighbours(Case):
    def test_sts(self):
        self.assertEqual(ACCOUNT, client("sts").get_caller_identity()["Account"])

    def test_the_default_vpc_has_a_subnet_in_each_zone(self):
        zones = {z["ZoneName"] for z in self.ec2.describe_availability_zones()["AvailabilityZones"]}
        self.assertEqual(3, len(zones))
        vpc = self.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]
        subnets = self.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["Subnets"]
        self.assertEqual(zones, {s["AvailabilityZone"] for s in subnets})
        self.assertTrue(self.ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["SecurityGroups"])
        self.assertIn(REGION, {r["RegionName"] for r in self.ec2.describe_regions()["Regions"]})

    def test_an_unserved_operation_says_so(self):
        # Not one of the operation's modelled errors, so the walk along the model is told to forget it.
        self.refused("UnsupportedFeatureException", self.ecs.delete_express_gateway_service, serviceArn="x", saying="DeleteExpressGatewayService")
        problems.clear()

    def test_logs(self):
        self.logs.create_log_group(logGroupName="bb")
        self.logs.create_log_stream(logGroupName="bb", logStreamName="s")
        now = int(datetime.datetime.now().timestamp() * 1000)
        self.logs.put_log_events(
            logGroupName="bb", logStreamName="s", logEvents=[{"timestamp": now + n, "message": f"line {n}"} for n in range(20)]
        )
        got = self.logs.get_log_events(logGroupName="bb", logStreamName="s", startFromHead=True, limit=15)
        self.assertEqual([f"line {n}" for n in range(15)], [e["message"] for e in got["events"]])
        rest = self.logs.get_log_events(logGroupName="bb", logStreamName="s", startFromHead=True, nextToken=got["nextForwardToken"])
        self.assertEqual(5, len(rest["events"]))
        found = self.logs.filter_log_events(logGroupName="bb", filterPattern='"line 7"')["events"]
        self.assertEqual(["line 7"], [e["message"] for e in found])
        self.refused("ResourceAlreadyExistsException", self.logs.create_log_group, logGroupName="bb")
        self.logs.delete_log_group(logGroupName="bb")
        self.refused("ResourceNotFoundException", self.logs.describe_log_streams, logGroupName="bb")


class AwsCli(unittest.TestCase):
    def aws(self, *words):
        done = subprocess.run([sys.executable, "-m", "awscli", *words], capture_output=True, text=True, timeout=60)
        self.assertEqual(0, done.returncode, done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def test_the_aws_cli_reads_and_writes(self):
        self.aws("ecs", "create-cluster", "--cluster-name", "from-cli")
        arns = self.aws("ecs", "list-clusters")["clusterArns"]
        self.assertTrue(any(a.endswith("/from-cli") for a in arns))
        self.aws("ecs", "delete-cluster", "--cluster", "from-cli")
        self.assertTrue(self.aws("sts", "get-caller-identity")["Arn"].endswith(":root"))
        self.assertEqual(3, len(self.aws("ec2", "describe-availability-zones")["AvailabilityZones"]))


if __name__ == "__main__":
    unittest.main()
