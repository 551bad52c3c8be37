"""Services: what is asked of them, and the tasks that follow."""

import http.server
import json
import os
import subprocess
import sys
import threading
import unittest

from checked import Case

IMAGE = os.environ["TEST_IMAGE"]
# The SDK's own waiters, asking more often than its 15 seconds.
SOON = {"Delay": 1, "MaxAttempts": 120}


class Target:
    """Who is asked at a lifecycle hook, and answers in turn."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def __enter__(self):
        target = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                target.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                turn = len(target.asked)
                answer = {"hookStatus": target.answers[turn - 1], "callBackDelay": 1, "hookDetails": {"turn": turn}}
                body = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


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
            deploymentController={"type": "ECS"}, placementStrategy=[], enableExecuteCommand=False, loadBalancers=[],
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
        told = [event["message"] for event in self.described()["events"]]
        self.assertTrue(any(text.endswith("deployment failed: stopped by user.") for text in told), told)

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
        wrong = "InvalidParameterException"
        self.refused(wrong, self.ecs.list_services, saying="token", cluster="default", nextToken=pages[0]["nextToken"])
        self.refused(wrong, self.ecs.list_services, saying="between 1 and 100", cluster=self.cluster, maxResults=0)

    def blue_green(self, *hooks, **more):
        return {"deploymentConfiguration": {"strategy": "BLUE_GREEN", "lifecycleHooks": list(hooks), **more}}

    def story(self, until=None):
        """The current deployment, once it says what is waited for."""
        arn = self.described()["currentServiceDeployment"]
        look = lambda: self.ecs.describe_service_deployments(serviceDeploymentArns=[arn])["serviceDeployments"][0]
        return self.until("the deployment", look, until) if until else look()

    def test_a_blue_green_deployment_pauses_until_somebody_decides(self):
        pause = {"targetType": "PAUSE", "lifecycleStages": ["PRE_SCALE_UP"], "timeoutConfiguration": {"timeoutInMinutes": 5}}
        made = self.create(desiredCount=0, **self.blue_green(pause, bakeTimeInMinutes=0))
        shown = made["deploymentConfiguration"]
        self.assertEqual(("BLUE_GREEN", 0), (shown["strategy"], shown["bakeTimeInMinutes"]))
        pause["timeoutConfiguration"]["action"] = "ROLLBACK"
        self.assertEqual([pause], shown["lifecycleHooks"])
        story = self.story()
        self.assertEqual("PRE_SCALE_UP", story["lifecycleStage"])
        (hook,) = story["lifecycleHookDetails"]
        self.assertEqual(("PAUSE", "AWAITING_ACTION", "ROLLBACK"), (hook["targetType"], hook["status"], hook["timeoutAction"]))
        named = {"serviceDeploymentArn": story["serviceDeploymentArn"], "hookId": hook["hookId"]}
        wrong = self.ecs.continue_service_deployment
        self.refused("InvalidParameterException", wrong, saying="no lifecycle hook", **{**named, "hookId": "nope"})
        answer = self.ecs.continue_service_deployment(**named)
        self.assertEqual(named["serviceDeploymentArn"], answer["serviceDeploymentArn"])
        self.story(lambda story: story["status"] == "SUCCESSFUL")
        self.refused("InvalidParameterException", wrong, saying="SUCCEEDED", **named)

        # The next one is turned back at the same place.
        first = self.described()["taskDefinition"]
        self.ecs.update_service(cluster=self.cluster, service="web", taskDefinition=self.cluster + ":1")
        story = self.story()
        hook = story["lifecycleHookDetails"][0]["hookId"]
        self.ecs.continue_service_deployment(
            serviceDeploymentArn=story["serviceDeploymentArn"], hookId=hook, action="ROLLBACK")
        story = self.story(lambda story: story["status"] == "ROLLBACK_SUCCESSFUL")
        self.assertIn("lifecycle hook failed", story["statusReason"])
        self.assertEqual(["FAILED"], [hook["status"] for hook in story["lifecycleHookDetails"]])
        self.assertEqual(first, self.described()["deployments"][0]["taskDefinition"])

    def test_a_blue_green_deployment_asks_who_answers_at_a_url(self):
        with Target("IN_PROGRESS", "SUCCEEDED", "FAILED") as target:
            hook = {"hookTargetArn": target.url, "roleArn": "arn:aws:iam::000000000000:role/hook",
                    "lifecycleStages": ["POST_SCALE_UP"], "hookDetails": {"suite": "smoke"}}
            self.create(desiredCount=0, **self.blue_green(hook, bakeTimeInMinutes=0))
            story = self.story(lambda story: story["status"] == "SUCCESSFUL")
            first, again = target.asked
            self.assertEqual("POST_SCALE_UP", first["lifecycleStage"])
            self.assertEqual(story["serviceDeploymentArn"], first["resourceArn"])
            revision = story["targetServiceRevision"]["arn"]
            self.assertEqual(revision, first["executionDetails"]["targetServiceRevisionArn"])
            # What it said for itself comes back to it.
            self.assertEqual([{"suite": "smoke"}, {"turn": 1}], [first["hookDetails"], again["hookDetails"]])

            self.ecs.update_service(cluster=self.cluster, service="web", forceNewDeployment=True)
            story = self.story(lambda story: story["status"] == "ROLLBACK_SUCCESSFUL")
            events = [event["message"] for event in self.described()["events"]]
            self.assertTrue(any("its target says FAILED" in event for event in events), events)

    def test_what_of_strategies_is_wrong_is_refused(self):
        wrong = "InvalidParameterException"
        hook = {"hookTargetArn": "http://127.0.0.1:1/", "lifecycleStages": ["POST_SCALE_UP"]}
        pause = {"targetType": "PAUSE", "lifecycleStages": ["POST_SCALE_UP"]}
        for saying, given in [
            ("LINEAR", {"strategy": "LINEAR"}),
            ("CANARY", {"strategy": "CANARY"}),
            ("bakeTimeInMinutes", {"strategy": "ROLLING", "bakeTimeInMinutes": 5}),
            ("lifecycleHooks", {"lifecycleHooks": [pause]}),
            ("bakeTimeInMinutes", {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 1441}),
            ("earlySuccessCriteria", {
                "strategy": "BLUE_GREEN", "earlySuccessCriteria": {"enable": True, "healthyPercent": 100}}),
        ]:
            self.refused(wrong, self.create, saying=saying, deploymentConfiguration=given)
        for saying, given in [
            ("Lambda", {**hook, "hookTargetArn": "arn:aws:lambda:us-east-1:000000000000:function:f"}),
            ("hookTargetArn", {**hook, "hookTargetArn": "ftp://host/"}),
            ("TaskDefinition not found", {
                **hook, "hookTargetArn": "arn:aws:ecs:us-east-1:000000000000:task-definition/nope:1"}),
            ("hookTargetArn", {"lifecycleStages": ["POST_SCALE_UP"]}),
            ("hookTargetArn", {**pause, "hookTargetArn": "http://127.0.0.1/"}),
            ("lifecycleStages", {"targetType": "PAUSE"}),
            ("PRODUCTION_TRAFFIC_SHIFT", {**pause, "lifecycleStages": ["PRODUCTION_TRAFFIC_SHIFT"]}),
            ("hookDetails", {**hook, "hookDetails": {"long": "x" * 5000}}),
        ]:
            self.refused(wrong, self.create, saying=saying, **self.blue_green(given))
        self.refused(wrong, self.create, saying="daemon", desiredCount=None, schedulingStrategy="DAEMON", **self.blue_green())
        self.refused("ServiceDeploymentNotFoundException", self.ecs.continue_service_deployment, hookId="h",
                     serviceDeploymentArn=self.create()["currentServiceDeployment"][:-1] + "_")

    def test_what_is_wrong_is_said_in_the_model_s_codes(self):
        self.create()
        wrong = "InvalidParameterException"
        here = {"cluster": self.cluster}
        self.refused(wrong, self.create, saying="not idempotent", desiredCount=2)
        self.refused(wrong, self.create, saying="a desired count", name="d", schedulingStrategy="DAEMON")
        self.refused(wrong, self.create, saying="FARGATE", name="f", launchType="FARGATE")
        self.refused(wrong, self.create, saying="loadBalancers", name="l", loadBalancers=[{}])
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
        elsewhere = self.described()["serviceArn"].split(":")
        elsewhere[3] = "eu-south-2"
        answer = self.ecs.describe_services(services=["web", ":".join(elsewhere)], **here)
        self.assertEqual((1, "MISSING"), (len(answer["services"]), answer["failures"][0]["reason"]))
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

    def test_a_task_that_fails_its_health_check_is_replaced(self):
        # It passes as long as the task is younger than 12 s, once; whatever replaces it passes for good.
        check = {"command": ["CMD-SHELL", "test -z \"$ONCE\" || test $(cut -d. -f1 /proc/uptime) -lt $(($(cat /born) + 12))"],
                 "interval": 5, "timeout": 3, "retries": 1, "startPeriod": 1}
        def define(once):
            script = "cut -d. -f1 /proc/uptime > /born; trap 'exit 0' TERM; while true; do sleep 0.1; done"
            return self.ecs.register_task_definition(family=self.family, containerDefinitions=[{
                "name": "app", "image": IMAGE, "memory": 16, "stopTimeout": 2, "command": ["sh", "-c", script], "healthCheck": check,
                "environment": [{"name": "ONCE", "value": once}]}])["taskDefinition"]["taskDefinitionArn"]

        fails, passes = define("yes"), define("")
        shown = self.ecs.describe_task_definition(taskDefinition=fails)["taskDefinition"]["containerDefinitions"][0]
        self.assertEqual(check, shown["healthCheck"])
        service = self.create(taskDefinition=fails, desiredCount=1, healthCheckGracePeriodSeconds=1)
        self.assertEqual(1, service["healthCheckGracePeriodSeconds"])
        first = self.until("a healthy task", self.tasks, lambda now: now and now[0]["healthStatus"] == "HEALTHY")[0]
        self.assertEqual("HEALTHY", first["containers"][0]["healthStatus"])
        gone = self.wait_task(first["taskArn"], "STOPPED")
        self.assertEqual(("ServiceSchedulerInitiated", "Task failed container health checks"), (gone["stopCode"], gone["stoppedReason"]))
        self.assertEqual("UNHEALTHY", gone["healthStatus"])
        self.ecs.update_service(service=self.family, taskDefinition=passes, healthCheckGracePeriodSeconds=0)
        service = self.stable()
        self.assertEqual(0, service["healthCheckGracePeriodSeconds"])
        messages = [event["message"] for event in service["events"]]
        self.assertIn(f"(service {self.family}) (task {first['taskArn'].split('/')[-1]}) failed container health checks.", messages)

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

    def test_a_blue_green_deployment_stands_beside_the_one_before(self):
        with Target("SUCCEEDED") as target:
            hook = {"hookTargetArn": target.url, "lifecycleStages": ["POST_SCALE_UP"]}
            rules = {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0}
            self.create(desiredCount=1, deploymentConfiguration=rules)
            self.stable()
            rules["lifecycleHooks"] = [hook]
            self.ecs.update_service(service=self.family, taskDefinition=self.family, deploymentConfiguration=rules)
            self.until("both revisions", self.tasks, lambda now: sum(t["lastStatus"] == "RUNNING" for t in now) == 2)
            service = self.ecs.describe_services(services=[self.family])["services"][0]
            self.assertEqual([1, 1], [deployment["desiredCount"] for deployment in service["deployments"]])
            service = self.stable()
            self.assertEqual(["POST_SCALE_UP"], [asked["lifecycleStage"] for asked in target.asked])
        self.assertEqual([service["taskDefinition"]], [task["taskDefinitionArn"] for task in self.tasks()])
        self.assertTrue(service["taskDefinition"].endswith(self.family + ":2"))

    def test_task_sets_are_what_their_controller_makes_of_them(self):
        controller = {"deploymentController": {"type": "EXTERNAL"}, "deploymentConfiguration": None, "taskDefinition": None,
                      "propagateTags": None, "enableECSManagedTags": None, "availabilityZoneRebalancing": None}
        self.create(**controller)
        here = {"cluster": "default", "service": self.family}
        percent = lambda value: {"value": value, "unit": "PERCENT"}

        def steady(of, running):
            look = lambda: self.ecs.describe_task_sets(**here, taskSets=[of])["taskSets"][0]
            wanted = lambda now: (now["stabilityStatus"], now["runningCount"], now["pendingCount"]) == ("STEADY_STATE", running, 0)
            return self.until("a steady task set", look, wanted)

        def make(revision, scale):
            given = {"taskDefinition": f"{self.family}:{revision}", "scale": percent(scale), "externalId": f"build-{revision}"}
            return self.ecs.create_task_set(**here, **given)["taskSet"]

        blue = make(1, 50.0)
        self.assertEqual(("ACTIVE", 2, "STABILIZING"), (blue["status"], blue["computedDesiredCount"], blue["stabilityStatus"]))
        self.assertEqual("build-1", steady(blue["id"], 2)["externalId"])
        self.ecs.update_service_primary_task_set(**here, primaryTaskSet=blue["id"])
        self.ecs.update_task_set(**here, taskSet=blue["id"], scale=percent(100.0))
        self.assertEqual("PRIMARY", steady(blue["id"], 3)["status"])
        tasks = self.tasks()
        self.assertEqual({(blue["id"], f"service:{self.family}")}, {(task["startedBy"], task["group"]) for task in tasks})

        green = make(2, 100.0)
        steady(green["id"], 3)
        self.assertEqual(6, len(self.tasks()))
        self.ecs.update_service_primary_task_set(**here, primaryTaskSet=green["id"])
        self.refused("InvalidParameterException", self.ecs.delete_task_set, **here, taskSet=green["id"])
        gone = self.ecs.delete_task_set(**here, taskSet=blue["id"], force=True)["taskSet"]
        self.assertEqual("DRAINING", gone["status"])
        for task in tasks:
            stopped = self.wait_task(task["taskArn"], "STOPPED")
            self.assertEqual("ServiceSchedulerInitiated", stopped["stopCode"])
        service = self.ecs.describe_services(services=[self.family])["services"][0]
        self.assertEqual([green["id"]], [of["id"] for of in service["taskSets"]])
        self.assertEqual((3, service["taskDefinition"]), (service["runningCount"], green["taskDefinition"]))

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
