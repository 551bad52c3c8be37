"""Clients whose every answer is held against AWS's own service model.

botocore drops what it does not know and shows nothing where something is missing, so a test that only reads what it expects
would not notice a misspelt or misplaced member. Here the raw answer is walked along the model's output shape: unknown
members, wrong types, unknown enum values, empty optional structures, and error codes that the operation does not name all fail.
The answers of EC2 and of the query services are XML, and EC2's model names no errors; all else is the same.
"""

import json
import os
import re
import time
import unittest
import xml.etree.ElementTree

import boto3
import botocore.config

REGION = os.environ.get("AWS_REGION", "us-east-1")
# Codes every AWS service may answer, whatever the operation's model says.
COMMON = {
    "AccessDeniedException", "IncompleteSignatureException", "InvalidSignatureException", "MissingAuthenticationTokenException",
    "SerializationException", "ThrottlingException", "UnknownOperationException", "UnrecognizedClientException",
    "UnsupportedOperationException", "ValidationException",
}
problems = []


def walk(value, shape, path):
    kind = shape.type_name
    if getattr(shape, "is_document_type", False):
        return None  # Any JSON.
    if kind == "structure":
        if not isinstance(value, dict):
            return problems.append(f"{path}: {value!r} is no structure")
        for name, inner in value.items():
            if name not in shape.members:
                problems.append(f"{path}.{name}: the model knows no such member")
            elif inner is None:
                problems.append(f"{path}.{name}: null")
            else:
                if inner == {} and shape.members[name].type_name == "structure":
                    problems.append(f"{path}.{name}: an unset structure must be absent, not empty")
                walk(inner, shape.members[name], f"{path}.{name}")
        for name in shape.required_members:
            if name not in value:
                problems.append(f"{path}.{name}: required by the model")
    elif kind == "list":
        if not isinstance(value, list):
            return problems.append(f"{path}: {value!r} is no list")
        for at, item in enumerate(value):
            walk(item, shape.member, f"{path}[{at}]")
    elif kind == "map":
        if not isinstance(value, dict):
            return problems.append(f"{path}: {value!r} is no map")
        for key, item in value.items():
            walk(item, shape.value, f"{path}[{key}]")
    elif kind == "string":
        if not isinstance(value, str):
            problems.append(f"{path}: {value!r} is no string")
        elif getattr(shape, "enum", None) and value not in shape.enum:
            problems.append(f"{path}: {value!r} is none of {shape.enum}")
    elif kind in ("integer", "long"):
        if not isinstance(value, int) or isinstance(value, bool):
            problems.append(f"{path}: {value!r} is no integer")
    elif kind in ("timestamp", "double", "float"):
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            problems.append(f"{path}: {value!r} is no number")
    elif kind == "boolean" and not isinstance(value, bool):
        problems.append(f"{path}: {value!r} is no boolean")


# What EC2 sends though its model does not know it: AWS's own answers hold these too.
BEYOND_ENUM = {("AttachmentStatus", "available")}
TEXTS = {
    "boolean": r"true|false", "integer": r"-?\d+", "long": r"-?\d+", "timestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z",
}


def walk_xml(element, shape, path, item="item"):
    """The same along an XML answer, whose elements go by the members' names on the wire."""
    kind = shape.type_name
    if kind == "structure":
        members = {inner.serialization.get("name", name): inner for name, inner in shape.members.items()}
        seen = set()
        for child in element:
            name = child.tag.rsplit("}", 1)[-1]
            if name not in members:
                problems.append(f"{path}.{name}: the model knows no such member")
            elif name in seen:
                problems.append(f"{path}.{name}: twice")
            else:
                seen.add(name)
                inner = members[name]
                if inner.type_name == "structure" and len(child) == 0:
                    problems.append(f"{path}.{name}: an unset structure must be absent, not empty")
                walk_xml(child, inner, f"{path}.{name}", item)
    elif kind == "list":
        for at, child in enumerate(element):
            if child.tag.rsplit("}", 1)[-1] != shape.member.serialization.get("name", item):
                problems.append(f"{path}: {child.tag} is no item")
            walk_xml(child, shape.member, f"{path}[{at}]", item)
    else:
        text = element.text or ""
        if kind in TEXTS and not re.fullmatch(TEXTS[kind], text):
            problems.append(f"{path}: {text!r} is no {kind}")
        if kind == "string" and getattr(shape, "enum", None) and text not in shape.enum and (shape.name, text) not in BEYOND_ENUM:
            problems.append(f"{path}: {text!r} is none of {shape.enum}")


def after_xml(http_response, model, where):
    root = xml.etree.ElementTree.fromstring(http_response.content)
    local = root.tag.rsplit("}", 1)[-1]
    if http_response.status_code >= 300:
        found = root.find("./Errors/Error")
        if local != "Response" or found is None or not found.findtext("Code") or not found.findtext("Message"):
            problems.append(f"{where}: {http_response.content!r} is no error")
        return
    if local != f"{model.name}Response":
        problems.append(f"{where}: the answer is called {local}")
    rest = [child for child in root if child.tag.rsplit("}", 1)[-1] != "requestId"]
    if len(rest) == len(root):
        problems.append(f"{where}: no requestId in the answer")
    if model.output_shape is not None:
        answer = xml.etree.ElementTree.Element(local)
        answer.extend(rest)
        walk_xml(answer, model.output_shape, where)


def after_query(http_response, model, where):
    root = xml.etree.ElementTree.fromstring(http_response.content)
    local = {child.tag.rsplit("}", 1)[-1]: child for child in root}
    name = root.tag.rsplit("}", 1)[-1]
    if http_response.status_code >= 300:
        found = {child.tag.rsplit("}", 1)[-1]: child.text for child in local.get("Error", ())}
        if name != "ErrorResponse" or not found.get("Code") or not found.get("Message"):
            problems.append(f"{where}: {http_response.content!r} is no error")
        return
    if name != f"{model.name}Response" or "ResponseMetadata" not in local:
        problems.append(f"{where}: the answer is called {name}, or has no metadata")
    if model.output_shape is not None:
        answer = local.get(f"{model.name}Result")
        if answer is None:
            problems.append(f"{where}: the answer has no result")
        else:
            walk_xml(answer, model.output_shape, where, "member")
            there = {child.tag.rsplit("}", 1)[-1] for child in answer}
            for required in set(model.output_shape.required_members) - there:
                problems.append(f"{where}.{required}: required by the model")


def _after(http_response, parsed, model, **_):
    where = f"{model.service_model.service_name}.{model.name}"
    if "x-amzn-requestid" not in {k.lower() for k in http_response.headers}:
        problems.append(f"{where}: no request id")
    if model.service_model.metadata["protocol"] == "ec2":
        return after_xml(http_response, model, where)
    if model.service_model.metadata["protocol"] == "query":
        return after_query(http_response, model, where)
    if model.service_model.metadata["protocol"] != "json":
        return
    body = json.loads(http_response.content) if http_response.content else {}
    if http_response.status_code < 300:
        if model.output_shape is not None:
            walk(body, model.output_shape, where)
    else:
        code = body.get("__type", "")
        known = {shape.name for shape in model.error_shapes} | COMMON
        if code not in known:
            problems.append(f"{where}: error {code!r} is none of the operation's: {sorted(known - COMMON)}")
        if not body.get("message"):
            problems.append(f"{where}: error {code!r} without a message")


def client(name, **changes):
    config = botocore.config.Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=60)
    made = boto3.client(name, region_name=changes.pop("region", REGION), config=config, **changes)
    made.meta.events.register("after-call", _after)
    return made


class Case(unittest.TestCase):
    """A test that also fails on any answer that does not fit the model."""

    maxDiff = None

    def setUp(self):
        problems.clear()
        self.ecs, self.ec2, self.logs = client("ecs"), client("ec2"), client("logs")

    def tearDown(self):
        found = list(dict.fromkeys(problems))
        problems.clear()
        self.assertEqual([], found, "answers do not fit the service model")

    def refused(self, code, call, *, saying="", **request):
        """The call must fail with that code, and its message must hold the text."""
        try:
            answer = call(**request)
        except Exception as error:  # botocore makes its exception classes at run time
            got = getattr(error, "response", {}).get("Error", {})
            self.assertEqual(code, got.get("Code"), f"{error}")
            self.assertIn(saying, got.get("Message", ""))
            return error
        return self.fail(f"expected {code}, got {answer}")

    def until(self, what, ask, good, seconds=60):
        """Asks until the answer is good; the deadline only bounds a failure."""
        end = time.monotonic() + seconds
        while True:
            answer = ask()
            if good(answer):
                return answer
            if time.monotonic() > end:
                self.fail(f"{what}: still {answer!r} after {seconds} s")
            time.sleep(0.05)

    def task(self, arn, cluster="default"):
        answer = self.ecs.describe_tasks(cluster=cluster, tasks=[arn], include=["TAGS"])
        self.assertEqual([], answer["failures"])
        return answer["tasks"][0]

    def wait_task(self, arn, status, cluster="default", seconds=60):
        order = ["PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED"]

        def there(task):
            if status == "RUNNING" and task["lastStatus"] == "STOPPED":
                self.fail(f"the task stopped instead: {task.get('stoppedReason')} {[c.get('reason') for c in task['containers']]}")
            return order.index(task["lastStatus"]) >= order.index(status)

        return self.until(f"task {status}", lambda: self.task(arn, cluster), there, seconds)

    def stop_all(self, cluster="default"):
        for page in self.ecs.get_paginator("list_tasks").paginate(cluster=cluster):
            for arn in page["taskArns"]:
                self.ecs.stop_task(cluster=cluster, task=arn, reason="the test is over")
        self.until("no tasks", lambda: self.live(cluster), lambda n: n == 0)

    def live(self, cluster):
        described = self.ecs.describe_clusters(clusters=[cluster])["clusters"][0]
        return described["runningTasksCount"] + described["pendingTasksCount"]
