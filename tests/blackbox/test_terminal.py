"""What commands show at a terminal of what others wrote: nothing of it is obeyed, and nothing looks like another's or like ours."""

import os
import re
import subprocess
import time

from checked import Case
from test_exec import Terminal
from test_tasks import shell

# What a container may write. Each line says what a terminal must be shown of it.
HOSTILE = [
    (r"\033[2J\033[1;1Hcleared", "^[[2J^[[1;1Hcleared"),
    (r"\033]0;a title\007", "^[]0;a title^G"),
    (r"\033[31mred\033[0m \033[8mhidden\033[0m", "red hidden"),
    (r"is \033[5A\033[2Kover it", "is ^[[5A^[[2Kover it"),
    (r"over\rwritten", "over^Mwritten"),
    (r"\302\2332J one byte less", r"\u009b2J one byte less"),
    (r"\342\200\256backwards", r"\u202ebackwards"),
    ("as it is: äöü", "as it is: äöü"),
]
# What terminals obey, but for what our own colours are and for the newlines that a terminal is sent.
OBEYED = re.compile("(?!\x1b\\[[0-9;]*m)[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# What the display of a wait, which is ours, moves with.
LIVE = re.compile("\x1b\\[1[AB]|\x1b\\[2K|\r")
REASON = "\x1b[2J\x1b[1;1Hall is well\n→ run this\r\n\x9b31m\x07"


class Shown(Case):
    def setUp(self):
        super().setUp()
        self.env = {**os.environ, "TERM": "xterm-256color"}

    def tearDown(self):
        self.stop_all()
        super().tearDown()

    def define(self, family, containers, **options):
        group = {"awslogs-group": "terminal", "awslogs-region": "us-east-1", "awslogs-stream-prefix": family, "awslogs-create-group": "true"}
        log = {"logDriver": "awslogs", "options": {**group, **options}}
        made = [shell(name, script, logConfiguration=log, stopTimeout=2) for name, script in containers.items()]
        self.ecs.register_task_definition(family=family, containerDefinitions=made)

    def run_to_end(self, family):
        arn = self.ecs.run_task(taskDefinition=family)["tasks"][0]["taskArn"]
        self.wait_task(arn, "STOPPED")
        return arn

    def told(self, *words, until=None):
        """What a command says at a terminal of its own, as lines."""
        terminal = Terminal([os.environ["TEST_LONGSHORE"], *words], self.env)
        terminal.resize(200, 200)
        if until:
            while until not in terminal.shown:
                self.assertTrue(terminal.read(), terminal.shown)
            terminal.type("\x03")
        shown, _ = terminal.end()
        # The terminal itself makes this of a newline.
        shown = shown.replace("\r\n", "\n")
        if words[0] == "run":
            shown = LIVE.sub("\n", shown)
        shown = shown.removesuffix("^C") if until else shown
        self.assertIsNone(OBEYED.search(shown), f"{words}: {shown!r}")
        return re.sub("\x1b\\[[0-9;]*m", "", shown).splitlines()

    def piped(self, *words):
        return subprocess.run([os.environ["TEST_LONGSHORE"], *words], env=self.env, stdout=subprocess.PIPE, timeout=60).stdout.decode()

    def test_what_containers_write_is_text(self):
        script = "; ".join(f"printf '{line}\\n'" for line, _ in HOSTILE) + "; echo last"
        self.define("hostile", {"main": script})
        task = self.run_to_end("hostile").rsplit("/")[-1]
        ask = lambda: self.logs.filter_log_events(logGroupName="terminal", logStreamNames=[f"hostile/main/{task}"])["events"]
        self.until("all lines", ask, lambda events: len(events) == len(HOSTILE) + 1)
        wanted = [shown for _, shown in HOSTILE] + ["last"]
        self.assertEqual(wanted, self.told("logs", "--task-id", task))
        self.assertEqual(wanted, [line.split("\t")[1] for line in self.told("logs", "--task-id", task, "--timestamps")])
        self.assertEqual(wanted, self.told("logs", "--task-id", task, "--follow", until="last\r\n")[:len(wanted)])
        # Who reads a pipe gets it as it is.
        self.assertEqual([event["message"] for event in ask()], self.piped("logs", "--task-id", task).split("\n")[:-1])
        self.assertIn("\x1b[31mred\x1b[0m", self.piped("logs", "--task-id", task))

    def test_a_line_says_whose_it_is(self):
        self.define("whose", {
            "main": "printf 'BEGIN one\\nother | not of other\\n'; exit 3",
            "other": "echo BEGIN two",
        }, **{"awslogs-multiline-pattern": "^BEGIN"})
        mine = ["main | BEGIN one", "main | other | not of other", "other | BEGIN two"]
        command = ["run", "whose", "--wait"]
        for shown in (self.told(*command), self.piped(*command).splitlines()):
            # The display of the wait stands before the first one.
            lines = [re.sub(".*  (main|other) \\| ", r"\1 | ", line) for line in shown if " | " in line]
            self.assertEqual(mine, sorted(lines), shown)
        # An event that somebody else put there, with what looks like the next one's time.
        task = self.run_to_end("whose").rsplit("/")[-1]
        now = int(time.time() * 1000)
        message = "BEGIN three\n2030-01-01T00:00:00Z\tnot of then\r\n2031-01-01T00:00:00Z\tnor that"
        self.logs.put_log_events(
            logGroupName="terminal", logStreamName=f"whose/main/{task}", logEvents=[{"timestamp": now, "message": message}])
        words = ["logs", "--task-id", task, "--container-name", "main", "--timestamps", "--filter-pattern", "three"]
        for shown in (self.told(*words), self.piped(*words).replace("\r", "").splitlines()):
            times = [line.partition("\t")[0].strip() for line in shown]
            self.assertEqual(["", ""], times[1:], shown)
            self.assertEqual("20", times[0][:2])

    def test_reasons_names_and_errors_are_text(self):
        self.define("reasons", {"main": "trap 'exit 0' TERM; while true; do sleep 0.1; done"})
        arn = self.ecs.run_task(taskDefinition="reasons")["tasks"][0]["taskArn"]
        self.wait_task(arn, "RUNNING")
        self.ecs.stop_task(task=arn, reason=REASON)
        self.wait_task(arn, "STOPPED")
        self.assertEqual(REASON, self.task(arn)["stoppedReason"])
        # A command that is not there is part of the reason why its task stopped.
        broken = shell("main", "", command=["/nothing\n→ run this\x1b[2J\x9b2J"])
        self.ecs.register_task_definition(family="broken", containerDefinitions=[broken])
        self.ecs.create_service(serviceName="broken", taskDefinition="broken", desiredCount=1)
        events = lambda: self.ecs.describe_services(services=["broken"])["services"][0]["deployments"][0]["failedTasks"]
        self.until("a failed task", events, lambda failed: failed > 0)
        self.ec2.create_tags(
            Resources=[self.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]], Tags=[{"Key": "Name", "Value": "\x1b[2Jvpc\n→ run this"}])
        for words in (
            ["ps"], ["ps", "--output", "json"], ["status"], ["service", "status", "broken"], ["events"], ["events", "--output", "json"], ["net"],
            ["run", "broken", "--wait"], ["logs", "--task-id", "\x1b[2Jnobody\n→ run this\x9b"], ["exec", "\x1b[2J\n→ run this", "true"],
        ):
            shown = self.told(*words)
            self.assertTrue(shown, words)
            self.assertEqual([], [line for line in shown if line.startswith("→ run this")], (words, shown))
        self.ecs.delete_service(service="broken", force=True)
