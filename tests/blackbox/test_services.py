"""Services: what is asked of them, and the tasks that follow."""

import os
import subprocess
import sys
import unittest

from checked import Case

IMAGE = os.environ["TEST_IMAGE"]
# The SDK's own waiters, asking more often than its 15 seconds.
SOON = {"Delay": 1, "MaxAttempts": 120}


class Asked(Case):
    """In a cluster without instances: nothing runs, and everything can be asked for."""

    def setUp(self):
        super().setUp()
        self.cluster = "asked-" + self.id().rsplit(".")[-1].replace("_", "-")
        self.ecs.create_cluster(clusterName=self.cluster)
        for image in ("web:1", "web:2"):
            made = self.ecs.register_task_definition(
                family=self.cluster, containerDefinitions=[{"name": "app", "image": image, "memory": 16}])
            self.definition = made["taskDefinition"]["taskDefinitionArn"]

    def tearDown(self):
        for arn in self.ecs.list_services(cluster=self.cluster, maxResults=100)["serviceArns"]:
            self.ecs.delete_service(cluster=self.cluster, service=arn, force=True)
        super().tearDown()

    def create(self, name="web", **more):
        given = {"taskDefinition": self.cluster, "desiredCount": 1, **more}
        given = {k: v for k, v in given.items() if v is not None}
        return self.ecs.create_service(cluster=self.cluster, serviceName=name, **given)["service"]

    def described(self, name="web", **more):
        answer = self.ecs.describe_services(cluster=self.cluster, services=[name], **more)
        self.assertEqual([], answer["failures"])
        return answer["services"][0]

    def test_a_service_is_made_told_changed_and_deleted(self):
        made = self.create(
            clientToken="once", tags=[{"key": "k", "value": "v"}], propagateTags="SERVICE", enableECSManagedTags=True, role="",
            deploymentController={"type": "ECS"}, placementStrategy=[], enableExecuteCommand=False,
            placementConstraints=[{"type": "memberOf", "expression": "attribute:ecs.os-type == linux"}],
            deploymentConfiguration={
                "maximumPercent": 150, "minimumHealthyPercent": 50,
                "deploymentCircuitBreaker": {"enable": True, "rollback": True}})
        self.assertEqual(("ACTIVE", 1, "REPLICA"), (made["status"], made["desiredCount"], made["schedulingStrategy"]))
        self.assertEqual(self.definition, made["taskDefinition"])
        self.assertEqual([{"key": "k", "value": "v"}], made["tags"])
        self.assertNotIn("tags", self.described())
        self.assertEqual(made["tags"], self.described(include=["TAGS"])["tags"])
        primary = made["deployments"][0]
        self.assertRegex(primary["id"], r"^ecs-svc/\d{19}$")
        self.assertEqual(("PRIMARY", "IN_PROGRESS"), (primary["status"], primary["rolloutState"]))

        changed = self.ecs.update_service(cluster=self.cluster, service="web", desiredCount=3)["service"]
        self.assertEqual((3, primary["id"]), (changed["desiredCount"], changed["deployments"][0]["id"]))
        changed = self.ecs.update_service(cluster=self.cluster, service="web", taskDefinition=self.cluster + ":1")["service"]
        self.assertNotEqual(primary["id"], changed["deployments"][0]["id"])
        self.assertEqual(1, sum(d["status"] == "PRIMARY" for d in changed["deployments"]))

        stories = self.ecs.list_service_deployments(cluster=self.cluster, service="web")["serviceDeployments"]
        self.assertEqual(["IN_PROGRESS", "STOPPED"], sorted(story["status"] for story in stories))
        arns = [story["serviceDeploymentArn"] for story in stories]
        told = self.ecs.describe_service_deployments(serviceDeploymentArns=arns)
        self.assertEqual((2, []), (len(told["serviceDeployments"]), told["failures"]))
        revisions = [story["targetServiceRevisionArn"] for story in stories]
        told = self.ecs.describe_service_revisions(serviceRevisionArns=revisions)
        images = {image["image"] for revision in told["serviceRevisions"] for image in revision["containerImages"]}
        self.assertEqual({"web:1", "web:2"}, images)

        current = self.described()["currentServiceDeployment"]
        stopped = self.ecs.stop_service_deployment(serviceDeploymentArn=current, stopType="ABORT")
        self.assertEqual(current, stopped["serviceDeploymentArn"])
        self.refused("ConflictException", self.ecs.stop_service_deployment, serviceDeploymentArn=current)

        self.assertEqual(1, self.ecs.describe_clusters(clusters=[self.cluster])["clusters"][0]["activeServicesCount"])
        self.refused("ClusterContainsServicesException", self.ecs.delete_cluster, cluster=self.cluster)
        self.refused("InvalidParameterException", self.ecs.delete_service, saying="scaled above 0", cluster=self.cluster, service="web")
        gone = self.ecs.delete_service(cluster=self.cluster, service="web", force=True)["service"]
        self.assertEqual(("DRAINING", 0), (gone["status"], gone["desiredCount"]))
        self.assertEqual([], self.ecs.list_services(cluster=self.cluster)["serviceArns"])
        self.assertIn(self.described()["status"], ("DRAINING", "INACTIVE"))

    def test_tags(self):
        arn = self.create()["serviceArn"]
        self.ecs.tag_resource(resourceArn=arn, tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
        self.ecs.untag_resource(resourceArn=arn, tagKeys=["a"])
        self.assertEqual([{"key": "b", "value": "2"}], self.ecs.list_tags_for_resource(resourceArn=arn)["tags"])

    def test_pages(self):
        names = {f"s{number}" for number in range(12)}
        for name in names:
            self.create(name, desiredCount=0)
        pages = list(self.ecs.get_paginator("list_services").paginate(cluster=self.cluster))
        self.assertEqual([10, 2], [len(page["serviceArns"]) for page in pages])
        self.assertEqual(names, {arn.rsplit("/")[-1] for page in pages for arn in page["serviceArns"]})

    def test_what_is_wrong_is_said_in_the_model_s_codes(self):
        self.create()
        wrong = "InvalidParameterException"
        here = {"cluster": self.cluster}
        self.refused(wrong, self.create, saying="not idempotent", desiredCount=2)
        self.refused(wrong, self.create, saying="a desired count", name="d", schedulingStrategy="DAEMON")
        self.refused(wrong, self.create, saying="FARGATE", name="f", launchType="FARGATE")
        self.refused("ClientException", self.create, saying="not found", name="t", taskDefinition="nope")
        self.refused("ClusterNotFoundException", self.ecs.list_services, cluster="nope")
        self.refused("ServiceNotFoundException", self.ecs.update_service, service="nope", **here)
        self.refused("ServiceNotFoundException", self.ecs.delete_service, service="nope", **here)
        self.refused("ServiceNotFoundException", self.ecs.list_service_deployments, service="nope", **here)
        self.refused("ServiceNotFoundException", self.ecs.list_tasks, serviceName="nope", **here)
        self.refused(wrong, self.ecs.describe_services, services=[], **here)
        story = self.described()["currentServiceDeployment"]
        self.refused("ServiceDeploymentNotFoundException", self.ecs.stop_service_deployment, serviceDeploymentArn=story[:-1] + "_")
        answer = self.ecs.describe_services(services=["nope"], **here)
        self.assertEqual("MISSING", answer["failures"][0]["reason"])
        answer = self.ecs.get_task_protection(tasks=["0" * 32], **here)
        self.assertEqual("MISSING", answer["failures"][0]["reason"])


class Run(Case):
    """On real instances: the SDK's waiters are what tells that a service is as it should be."""

    def setUp(self):
        super().setUp()
        self.family = "run-" + self.id().rsplit(".")[-1].replace("_", "-")
        for number in (1, 2):
            self.ecs.register_task_definition(family=self.family, containerDefinitions=[{
                "name": "app", "image": IMAGE, "memory": 16, "stopTimeout": 2,
                "command": ["sh", "-c", f"echo {number}; trap 'exit 0' TERM; while true; do sleep 0.1; done"]}])

    def tearDown(self):
        for arn in self.ecs.list_services(maxResults=100)["serviceArns"]:
            self.ecs.delete_service(service=arn, force=True)
            self.ecs.get_waiter("services_inactive").wait(services=[arn], WaiterConfig=SOON)
        super().tearDown()

    def create(self, **more):
        # Old tasks may go before new ones are there, so that no test waits for new ones to count as healthy.
        given = {
            "taskDefinition": self.family + ":1", "desiredCount": 3, "propagateTags": "SERVICE", "enableECSManagedTags": True,
            "tags": [{"key": "k", "value": "v"}], "availabilityZoneRebalancing": "DISABLED",
            "deploymentConfiguration": {"minimumHealthyPercent": 0, "maximumPercent": 100}, **more}
        given = {k: v for k, v in given.items() if v is not None}
        return self.ecs.create_service(serviceName=self.family, **given)["service"]

    def stable(self):
        self.ecs.get_waiter("services_stable").wait(services=[self.family], WaiterConfig=SOON)
        return self.ecs.describe_services(services=[self.family])["services"][0]

    def tasks(self):
        arns = self.ecs.list_tasks(serviceName=self.family)["taskArns"]
        return self.ecs.describe_tasks(tasks=arns, include=["TAGS"])["tasks"] if arns else []

    def test_a_service_keeps_its_tasks_and_replaces_them(self):
        self.create()
        service = self.stable()
        self.assertEqual((3, 0), (service["runningCount"], service["pendingCount"]))
        tasks = self.tasks()
        self.assertEqual(3, len(tasks))
        for task in tasks:
            self.assertEqual(f"service:{self.family}", task["group"])
            self.assertEqual(service["deployments"][0]["id"], task["startedBy"])
            tags = {tag["key"]: tag["value"] for tag in task["tags"]}
            self.assertEqual({"k": "v", "aws:ecs:clusterName": "default", "aws:ecs:serviceName": self.family}, tags)

        lost = tasks[0]["taskArn"]
        self.ecs.stop_task(task=lost)
        self.until("another task", self.tasks, lambda now: len(now) == 3 and lost not in {t["taskArn"] for t in now})
        self.stable()

        self.ecs.update_service(service=self.family, taskDefinition=self.family)
        service = self.stable()
        self.assertEqual([service["taskDefinition"]], list({t["taskDefinitionArn"] for t in self.tasks()}))
        self.assertTrue(service["taskDefinition"].endswith(self.family + ":2"))

        self.ecs.update_service(service=self.family, desiredCount=1)
        self.stable()
        self.assertTrue(any("has stopped" in event["message"] for event in service["events"]), service["events"])

        self.ecs.delete_service(service=self.family, force=True)
        self.ecs.get_waiter("services_inactive").wait(services=[self.family], WaiterConfig=SOON)
        gone = self.ecs.describe_services(services=[self.family])["services"][0]
        self.assertEqual(("INACTIVE", [], 0), (gone["status"], gone["deployments"], gone["runningCount"]))

    def test_ecs_deploy_deploys_scales_and_tells_of_failure(self):
        self.create(desiredCount=2)
        self.stable()

        def ecs(*arguments):
            program = os.path.join(os.path.dirname(sys.executable), "ecs")
            ran = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=170)
            return ran.returncode, ran.stdout + ran.stderr

        code, said = ecs("deploy", "default", self.family, "-e", "app", "GREETING", "hi", "--timeout", "150")
        self.assertEqual((0, True), (code, "Deployment successful" in said), said)
        service = self.ecs.describe_services(services=[self.family])["services"][0]
        self.assertEqual((1, 2), (len(service["deployments"]), service["runningCount"]), said)
        code, said = ecs("scale", "default", self.family, "1", "--timeout", "60")
        self.assertEqual((0, 1), (code, self.stable()["runningCount"]), said)
        code, said = ecs("deploy", "default", self.family, "--image", "app", IMAGE + "-not-there", "--timeout", "10")
        self.assertEqual((1, True), (code, "Deployment failed" in said), said)

    def test_a_daemon_has_one_task_on_each_instance(self):
        self.create(schedulingStrategy="DAEMON", desiredCount=None)
        self.until("a task on each instance", self.tasks, lambda now: sum(t["lastStatus"] == "RUNNING" for t in now) == 3)
        self.assertEqual(3, len({task["containerInstanceArn"] for task in self.tasks()}))
        self.assertEqual(3, self.stable()["desiredCount"])

    def test_protected_tasks_stay(self):
        self.create(desiredCount=2)
        self.stable()
        kept, other = (task["taskArn"] for task in self.tasks())
        answer = self.ecs.update_task_protection(cluster="default", tasks=[kept], protectionEnabled=True, expiresInMinutes=5)
        self.assertEqual((True, []), (answer["protectedTasks"][0]["protectionEnabled"], answer["failures"]))
        self.ecs.update_service(service=self.family, desiredCount=1)
        self.wait_task(other, "STOPPED")
        shown = self.ecs.get_task_protection(cluster="default", tasks=[kept])["protectedTasks"][0]
        self.assertEqual((kept, True), (shown["taskArn"], shown["protectionEnabled"]))
        self.assertEqual("RUNNING", self.task(kept)["lastStatus"])
        self.ecs.update_task_protection(cluster="default", tasks=[kept], protectionEnabled=False)


if __name__ == "__main__":
    unittest.main()
