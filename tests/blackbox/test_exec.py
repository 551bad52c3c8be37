"""ECS Exec: commands in containers that run, from the `aws` CLI with a plugin and from `longshore exec` without one."""

import fcntl
import json
import os
import pathlib
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios

from botocore.exceptions import ClientError
from checked import Case
from test_tasks import IMAGE, shell

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE = 60


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, command, env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, env)
        self.shown = ""

    def resize(self, columns, rows):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.fd, text.encode())

    def read(self):
        """False at the end."""
        known, _, _ = select.select([self.fd], [], [], PATIENCE)
        assert known, f"nothing more is shown: {self.shown!r}"
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # Linux says so when the last process has left the terminal.
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def until(self, pattern):
        while not (found := re.search(pattern, self.shown)):
            assert self.read(), f"{pattern} was not shown: {self.shown!r}"
        self.shown = self.shown[found.end():]
        return found

    def end(self):
        """What else is shown, and the exit code."""
        while self.read():
            pass
        os.close(self.fd)
        return self.shown, os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class Exec(Case):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        plugin = pathlib.Path(self.folder.name) / "session-manager-plugin"
        plugin.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE}/plugin/session_manager_plugin.py "$@"\n')
        plugin.chmod(0o755)
        self.env = {**os.environ, "PATH": f"{self.folder.name}:{os.environ['PATH']}", "TERM": "xterm"}

    def tearDown(self):
        self.stop_all()
        super().tearDown()

    def start(self, enabled=True, containers=("main",), **more):
        script = "trap 'exit 0' TERM; while true; do sleep 0.1; done"
        family = self.id().rsplit(".")[-1]
        self.ecs.register_task_definition(family=family, containerDefinitions=[shell(name, script, **more) for name in containers])
        answer = self.ecs.run_task(taskDefinition=family, enableExecuteCommand=enabled)
        self.assertEqual([], answer["failures"])
        return self.wait_task(answer["tasks"][0]["taskArn"], "RUNNING")

    def aws(self, task, command, *more):
        words = ["ecs", "execute-command", "--task", task["taskArn"], "--interactive", "--command", command, *more]
        return Terminal([sys.executable, "-m", "awscli", *words], self.env)

    def longshore(self, task, container, *words):
        return Terminal([os.environ["TEST_LONGSHORE"], "exec", task["taskArn"].rsplit("/")[-1] + container, *words], self.env)

    def refused(self, code, words, **request):
        with self.assertRaises(ClientError) as raised:
            self.ecs.execute_command(**{"interactive": True, "command": "true", **request})
        self.assertEqual(code, raised.exception.response["Error"]["Code"])
        self.assertIn(words, raised.exception.response["Error"]["Message"])

    def test_a_shell_by_the_stock_client(self):
        task = self.start(readonlyRootFilesystem=True, user="1234", environment=[{"name": "COLOUR", "value": "blue"}])
        self.assertTrue(task["enableExecuteCommand"])
        (agent,) = task["containers"][0]["managedAgents"]
        self.assertEqual(("ExecuteCommandAgent", "RUNNING"), (agent["name"], agent["lastStatus"]))
        terminal = self.aws(task, "/bin/sh")
        terminal.resize(123, 45)
        terminal.until("[#$] ")
        terminal.type("echo size=$(stty size) user=$(id -u) colour=$COLOUR term=$TERM\r")
        terminal.until(r"size=45 123 user=0 colour=blue term=xterm-256color\r\n")
        # Ctrl-C ends what runs there, not the session.
        terminal.type("sh -c 'echo be\"\"gan; exec sleep 1000'\r")
        terminal.until(r"began\r\n")
        terminal.type("\x03")
        terminal.until("[#$] ")
        terminal.type("echo code=$?\r")
        terminal.until(r"code=130")
        terminal.type("exit 7\r")
        shown, code = terminal.end()
        self.assertEqual(0, code, shown)

    def test_a_command_without_a_plugin(self):
        task = self.start(containers=("one", "two"))
        for command, want, code in [
            (["/two", "--", "sh", "-c", "echo $0 'a  b'; exit 7"], "sh a  b", 7),
            (["/one", "seq", "1", "30000"], "\r\n".join(map(str, range(1, 30001))), 0),
            (["/one", "--", "sh", "-c", "kill -9 $$"], "", 137),
            (["/one", "nowhere"], "executable file not found", 255),
        ]:
            shown, ended = self.longshore(task, *command).end()
            self.assertEqual(code, ended, shown)
            self.assertIn(want, shown, command)
        # How large the terminal is reaches the command while it runs.
        terminal = self.longshore(task, "/one", "sh")
        terminal.until("[#$] ")
        terminal.resize(66, 22)
        def seen():
            terminal.type("echo size=$(stty size)\r")
            return terminal.until(r"size=(\d+ \d+)\r\n").group(1)
        self.until("the new size", seen, lambda size: size == "22 66")
        # Whoever leaves takes what ran with it.
        terminal.type("exec sleep 4321\r")
        terminal.until("4321\r\n")
        os.kill(terminal.pid, 9)
        terminal.end()
        def left():
            shown, code = self.longshore(task, "/one", "--", "sh", "-c", "ps | grep -c 'slee[p] 4321'").end()
            return shown.strip()
        self.until("nothing is left of it", left, lambda count: count == "0")

    def test_who_ran_what_is_recorded(self):
        task = self.start()
        shown, code = self.longshore(task, "/main", "--", "sh", "-c", "exit 5").end()
        self.assertEqual(5, code, shown)

        def records():
            try:
                events = self.logs.filter_log_events(logGroupName="/longshore/exec/default", logStreamNames=["sessions"])["events"]
            except ClientError:
                return []
            return [record for record in (json.loads(event["message"]) for event in events) if record["task"] == task["taskArn"]]

        begins, ended = self.until("two records", records, lambda found: len(found) == 2)
        self.assertEqual(("begins", "ended", 5), (begins["event"], ended["event"], ended["exitCode"]))
        for record in (begins, ended):
            self.assertEqual(("main", "sh -c 'exit 5'"), (record["container"], record["command"]))
            self.assertTrue(record["principal"].endswith(":root") and record["accessKeyId"], record)

    def test_a_script_and_a_file_instead_of_a_terminal(self):
        task = self.start()
        def run(words, text):
            command = [os.environ["TEST_LONGSHORE"], "exec", task["taskArn"].rsplit("/")[-1], *words]
            done = subprocess.run(command, input=text, env=self.env, capture_output=True, text=True, timeout=PATIENCE)
            return done.returncode, done.stdout.splitlines(), done.stderr
        # A script for a shell: what it says is told, and its code.
        code, shown, said = run([], "echo sum=$((6 * 7))\nexit 3\n")
        self.assertEqual(3, code, said)
        self.assertIn("sum=42", shown)
        # One that just ends.
        code, shown, said = run([], "echo sum=$((6 * 8))\n")
        self.assertEqual(0, code, said)
        self.assertIn("sum=48", shown)
        # A command's output in a file.
        code, shown, said = run(["--", "sh", "-c", "echo one; echo two; exit 4"], "")
        self.assertEqual((4, ["one", "two"]), (code, shown[-2:]), said)

    def shown_in(self, group):
        """What is in the group's streams of sessions."""
        try:
            events = self.logs.filter_log_events(logGroupName=group, logStreamNamePrefix="ecs-execute-command-")["events"]
        except ClientError:
            return []
        return [event["message"] for event in events]

    def test_what_is_shown_is_kept_where_the_cluster_says(self):
        def configure(**execute):
            changed = self.ecs.update_cluster(cluster="default", configuration={"executeCommandConfiguration": execute})["cluster"]
            (seen,) = self.ecs.describe_clusters(clusters=["default"], include=["CONFIGURATIONS"])["clusters"]
            self.assertEqual(changed["configuration"], seen["configuration"])
            return seen["configuration"]["executeCommandConfiguration"]

        self.addCleanup(configure, logging="DEFAULT")
        options = {"awslogs-group": "exec-own", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "own", "awslogs-create-group": "true"}
        task = self.start(logConfiguration={"logDriver": "awslogs", "options": options})
        say = lambda word: self.longshore(task, "/main", "--", "sh", "-c", f"echo {word}; printf end-of-{word}").end()
        override = {"logging": "OVERRIDE", "logConfiguration": {"cloudWatchLogGroupName": "exec-audit"}}
        kept = configure(**override)
        self.assertEqual("exec-audit", kept["logConfiguration"]["cloudWatchLogGroupName"])
        # What shall be kept and cannot be is not run.
        shown, code = say("lost")
        self.assertEqual(255, code, shown)
        self.assertIn("exec-audit", shown)
        self.assertNotIn("end-of-lost", shown)
        self.logs.create_log_group(logGroupName="exec-audit")
        self.assertEqual(0, say("overridden")[1])
        self.until("what was shown", lambda: self.shown_in("exec-audit"), lambda found: found == ["overridden", "end-of-overridden"])
        self.assertEqual("NONE", configure(logging="NONE")["logging"])
        self.assertEqual(0, say("unseen")[1])
        self.assertEqual("DEFAULT", configure(logging="DEFAULT")["logging"])
        self.assertEqual(0, say("usual")[1])
        self.until("what was shown", lambda: self.shown_in("exec-own"), lambda found: found == ["usual", "end-of-usual"])
        self.assertEqual(["overridden", "end-of-overridden"], self.shown_in("exec-audit"))

    def test_what_cannot_be_run(self):
        task = self.start()
        arn = task["taskArn"]
        invalid = "InvalidParameterException"
        self.refused(invalid, "only mode supported", task=arn, interactive=False)
        self.refused(invalid, "no container named other", task=arn, container="other")
        self.refused(invalid, "quote", task=arn, command="sh -c 'x")
        self.refused(invalid, "blank", task=arn, command=" ")
        self.refused(invalid, "not found", task="0" * 32)
        self.refused("ClusterNotFoundException", "Cluster not found.", task=arn, cluster="nowhere")
        # A promise is kept once, and to nobody who guesses.
        session = self.ecs.execute_command(task=arn, interactive=True, command="true")["session"]
        plugin = [str(pathlib.Path(self.folder.name) / "session-manager-plugin")]
        said = lambda token: json.dumps({"SessionId": session["sessionId"], "StreamUrl": session["streamUrl"], "TokenValue": token})
        for token, done in [("guessed", False), (session["tokenValue"], True), (session["tokenValue"], False)]:
            shown, code = Terminal(plugin + [said(token)], self.env).end()
            self.assertEqual(done, code == 0 and "Traceback" not in shown, shown)
        self.ecs.stop_task(task=arn)
        self.wait_task(arn, "STOPPED")
        self.refused(invalid, "execute command was not enabled", task=arn)
        other = self.start(enabled=False)
        self.refused(invalid, "execute command was not enabled", task=other["taskArn"])

    def test_a_service_has_it_for_its_tasks(self):
        self.ecs.register_task_definition(family="exec-service", containerDefinitions=[shell("main", "sleep 1000", stopTimeout=2)])
        made = self.ecs.create_service(serviceName="exec", taskDefinition="exec-service", desiredCount=1)["service"]
        self.assertFalse(made["enableExecuteCommand"])
        changed = self.ecs.update_service(service="exec", enableExecuteCommand=True)["service"]
        self.assertTrue(changed["enableExecuteCommand"])
        self.assertEqual(1, len(changed["deployments"]), "a change of it deploys nothing anew")
        self.ecs.update_service(service="exec", forceNewDeployment=True)
        tasks = lambda: self.ecs.list_tasks(serviceName="exec")["taskArns"]
        able = lambda arns: [task for task in self.ecs.describe_tasks(tasks=arns)["tasks"] if task["enableExecuteCommand"] and task["lastStatus"] == "RUNNING"] if arns else []
        (task,) = able(self.until("a task that takes commands", tasks, able))
        shown, code = self.longshore(task, "", "true").end()
        self.assertEqual(0, code, shown)
        self.ecs.delete_service(service="exec", force=True)
