"""Logs as clients see them: events of several lines, groups that are missing, patterns, and what `aws logs tail --follow` does."""

import os
import time
import unittest

import boto3
import botocore.config
import botocore.exceptions

from checked import REGION, Case

IMAGE = os.environ["TEST_IMAGE"]


def tail_follow(logs, group, enough, patience=120):
    """What version 2 of the aws CLI does on the wire for `logs tail --follow`: one page after the other while there is a token;
    then again from the newest event's time on, leaving out events of that time it has seen by their ids."""
    request = {"logGroupName": group, "interleaved": True, "startTime": int(time.time() * 1000) - 600_000}
    seen, events, end = {}, [], time.monotonic() + patience
    while not enough(events):
        if time.monotonic() > end:
            raise AssertionError(f"not enough after {patience} s: {len(events)} events")
        answer = logs.filter_log_events(**request)
        for event in answer["events"]:
            ids = seen.setdefault(event["timestamp"], set())
            if event["eventId"] not in ids:
                ids.add(event["eventId"])
                events.append(event)
        if seen:
            newest = max(seen)
            seen = {newest: seen[newest]}
        if "nextToken" in answer:
            request["nextToken"] = answer["nextToken"]
        else:
            request.pop("nextToken", None)
            if seen:
                request["startTime"] = max(seen)
            time.sleep(0.2)
    return events


class Logs(Case):
    def tearDown(self):
        self.stop_all()
        super().tearDown()

    def run_one(self, script, options, **more):
        family = self.id().rsplit(".")[-1]
        container = {
            "name": "main", "image": IMAGE, "memory": 32, "stopTimeout": 2, "command": ["sh", "-c", script],
            "logConfiguration": {"logDriver": "awslogs", "options": options}, **more,
        }
        self.ecs.register_task_definition(family=family, containerDefinitions=[container])
        return self.ecs.run_task(taskDefinition=family)["tasks"][0]["taskArn"]

    def group(self, **more):
        name = self.id().rsplit(".")[-1]
        return {"awslogs-group": name, "awslogs-region": REGION, "awslogs-stream-prefix": "p", **more}

    def messages(self, group, count, **more):
        def read():
            pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=group, **more)
            return [event["message"] for page in pages for event in page["events"]]
        return self.until("events", read, lambda found: len(found) >= count)

    def test_a_trace_is_one_event(self):
        script = "printf 'starting\\n2026-01-02 error\\n  at a\\n\\n  at b\\n2026-01-03 fine\\n2026-13-03 no date\\n'"
        options = self.group(**{"awslogs-create-group": "true", "awslogs-datetime-format": "^%Y-%m-%d"})
        self.wait_task(self.run_one(script, options), "STOPPED")
        found = self.messages(options["awslogs-group"], 3)
        self.assertEqual(["starting\n", "2026-01-02 error\n  at a\n\n  at b\n", "2026-01-03 fine\n2026-13-03 no date\n"], found)

    def test_an_event_does_not_wait_for_ever(self):
        options = self.group(**{
            "awslogs-create-group": "true", "awslogs-multiline-pattern": "^>", "awslogs-force-flush-interval-seconds": "1"})
        arn = self.run_one("printf '>one\\n more\\n'; sleep 1000", options)
        self.wait_task(arn, "RUNNING")
        self.assertEqual([">one\n more\n"], self.messages(options["awslogs-group"], 1))
        self.assertEqual("RUNNING", self.task(arn)["lastStatus"])

    def test_a_missing_group_fails_the_task(self):
        arn = self.run_one("echo never", self.group())
        task = self.wait_task(arn, "STOPPED")
        self.assertEqual(("TaskFailedToStart", "Task failed to start"), (task["stopCode"], task["stoppedReason"]))
        reason = task["containers"][0]["reason"]
        self.assertEqual(
            "CannotStartContainerError: failed to initialize logging driver: failed to create Cloudwatch log stream: "
            "ResourceNotFoundException: The specified log group does not exist.", reason)
        self.assertNotIn("exitCode", task["containers"][0])

    def test_a_group_of_another_region_is_meant_there(self):
        options = self.group(**{"awslogs-region": "eu-central-1"})
        self.logs.create_log_group(logGroupName=options["awslogs-group"])
        task = self.wait_task(self.run_one("echo here", options), "STOPPED")
        self.assertIn("ResourceNotFoundException", task["containers"][0]["reason"])
        there = boto3.client("logs", region_name="eu-central-1")
        there.create_log_group(logGroupName=options["awslogs-group"])
        self.wait_task(self.run_one("echo there", options), "STOPPED")
        found = self.until(
            "the event", lambda: there.filter_log_events(logGroupName=options["awslogs-group"])["events"], lambda events: events)
        self.assertEqual(["there"], [event["message"] for event in found])

    def test_a_silent_container_has_its_stream(self):
        options = self.group()
        self.logs.create_log_group(logGroupName=options["awslogs-group"])
        arn = self.run_one("sleep 1000", options)
        self.wait_task(arn, "RUNNING")
        streams = self.logs.describe_log_streams(logGroupName=options["awslogs-group"])["logStreams"]
        self.assertEqual([f"p/main/{arn.rsplit('/')[-1]}"], [stream["logStreamName"] for stream in streams])

    def test_tail_follow_as_version_2_does_it(self):
        script = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); [ $((i % 50)) = 0 ] && sleep 0.5; done; exit 0"
        options = self.group(**{"awslogs-create-group": "true"})
        self.logs.create_log_group(logGroupName=options["awslogs-group"])
        self.run_one(script, options)
        events = tail_follow(self.logs, options["awslogs-group"], lambda found: found and found[-1]["message"] == "line 299")
        self.assertEqual([f"line {number}" for number in range(300)], [event["message"] for event in events])
        self.assertEqual(300, len({event["eventId"] for event in events}))

    def test_live_tail_is_refused_clearly(self):
        # Live tail's endpoint has a prefix of its own that a loopback address cannot have.
        config = botocore.config.Config(inject_host_prefix=False, retries={"total_max_attempts": 1})
        logs = boto3.client("logs", region_name=REGION, config=config)
        with self.assertRaises(botocore.exceptions.ClientError) as raised:
            logs.start_live_tail(logGroupIdentifiers=["arn:aws:logs:us-east-1:000000000000:log-group:g"])
        self.assertIn("StartLiveTail", raised.exception.response["Error"]["Message"])
        self.assertIn(raised.exception.response["Error"]["Code"], ("UnknownOperationException", "UnsupportedOperationException"))

    def test_patterns_choose_events(self):
        self.logs.create_log_group(logGroupName="patterns")
        self.logs.create_log_stream(logGroupName="patterns", logStreamName="s")
        lines = [
            "GET /index.html 200", "GET /lost.html 404", "POST /index.html 500", '{"level": "error", "user": {"id": 7}, "tags": ["a"]}',
            '{"level": "info", "user": null}', "ERROR out of disk", "WARN nearly out of disk",
        ]
        now = int(time.time() * 1000)
        self.logs.put_log_events(
            logGroupName="patterns", logStreamName="s", logEvents=[{"timestamp": now, "message": line} for line in lines])
        for pattern, wanted in [
            ("disk", [5, 6]), ("disk -ERROR", [6]), ("?ERROR ?404", [1, 5]), ('"out of disk"', [5, 6]), ("%^(GET|POST)%", [0, 1, 2]),
            ('{ $.level = "err*" }', [3]), ("{ $.user IS NULL }", [4]), ("{ $.user.id NOT EXISTS }", [4]),
            ('{ $.user.id >= 7 && $.tags[0] = "a" }', [3]), ("[method, path, status = 4* || status = 5*]", [1, 2]),
            ("[method = GET, ..., status < 300]", [0]),
        ]:
            with self.subTest(pattern):
                self.assertEqual([lines[at] for at in wanted], self.messages("patterns", len(wanted), filterPattern=pattern))
        with self.assertRaises(self.logs.exceptions.InvalidParameterException):
            self.logs.filter_log_events(logGroupName="patterns", filterPattern="[a, b")


if __name__ == "__main__":
    unittest.main()
