"""Who keeps replicas running here: a service of Longshore's, one of Docker Swarm's, and containers that nobody keeps.

Each answers the same questions: bring up so many, take them down, replace all by a next version, say which run. The daemons are
those of bench/containers; all are asked every POLL seconds by this same process, which nobody's figures of CPU include."""

import json
import os
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "containers"))
from contestants import COMMAND, CPUACCT  # noqa: E402

POLL = 0.05  # seconds: both answer within a few milliseconds, and being asked costs a few percent of one core
PATIENCE = 150  # seconds for what takes at most fifty on a quiet machine
PARALLEL = 4 * os.cpu_count()  # containers being made at a time by our agent; the bare ones get the same


class TooLate(Exception):
    """It did not come to what was waited for."""


def until(what, ask, patience=PATIENCE):
    end = time.monotonic() + patience
    while True:
        found = ask()
        if found:
            return found
        if time.monotonic() > end:
            raise TooLate(f"{what}: not within {patience} s")
        time.sleep(POLL)


def processes(group):
    # Groups end while they are walked through, which `os.walk` takes as it comes.
    for folder, _, files in os.walk(CPUACCT / group.lstrip("/")):
        try:
            yield from (int(pid) for pid in pathlib.Path(folder, "cgroup.procs").read_text().split()) if files else ()
        except OSError:
            pass


def mains(group):
    """The first processes of the containers in a cgroup."""
    found = []
    for pid in processes(group):
        try:
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        except OSError:
            continue
        if command == [word.encode() for word in COMMAND]:
            found.append(pid)
    return sorted(found)


def proportional(group):
    """Proportional size of a cgroup's processes, in bytes."""
    size = 0
    for pid in processes(group):
        try:
            lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        size += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return size


class Service:
    """What the contestants that keep replicas have in common."""

    def replaced(self, count):
        """Seconds from the SIGKILL of a replica's process until as many run as before, one of them new."""
        before = self.running()
        victim = mains(self.containers)[0]
        began = time.monotonic()
        os.kill(victim, 9)
        until("the replacement", lambda: len(now := self.running()) == count and now != before)
        return time.monotonic() - began

    def memory(self):
        return {part: proportional(group) for part, group in self.parts.items()}


class OfLongshore(Service):
    name = "longshore"
    ways = {"0/200": (0, 200), "100/200": (100, 200)}

    def __init__(self, longshore):
        self.ecs, self.cpu, self.number, self.version = longshore.ecs, longshore.cpu, 0, 0
        self.definition = "bridge"
        groups = longshore.cpu.groups
        self.containers = groups["instance"]
        # The instance's group holds the agent's.
        self.parts = {"server": groups["server"], "agent": groups["agent"],
                      "containerd and shims": groups["containerd, shims, runc"], "all of the instance": groups["instance"]}

    def memory(self):
        sizes = super().memory()
        sizes["containers"] = sizes.pop("all of the instance") - sizes["agent"]
        return sizes

    def described(self):
        return self.ecs.describe_services(services=[self.service])["services"][0]

    def create(self, count):
        self.number += 1
        self.service = f"s{self.number}"
        self.ecs.create_service(serviceName=self.service, taskDefinition=self.definition, desiredCount=count,
                                deploymentConfiguration={"minimumHealthyPercent": 0, "maximumPercent": 200})

    def up(self, count):
        began = time.monotonic()
        self.create(count)
        until(f"{count} of Longshore's", lambda: self.described()["runningCount"] == count)
        return time.monotonic() - began

    def down(self):
        began = time.monotonic()
        self.ecs.delete_service(service=self.service, force=True)
        until("Longshore's end", lambda: not mains(self.containers))
        return time.monotonic() - began

    def running(self):
        arns = self.ecs.list_tasks(serviceName=self.service)["taskArns"]
        tasks = self.ecs.describe_tasks(tasks=arns)["tasks"] if arns else []
        return {task["taskArn"] for task in tasks if task["lastStatus"] == "RUNNING"}

    def steady(self):
        """Until the deployment is COMPLETED, so that what it brought counts as healthy."""
        until("the deployment's end", lambda: self.described()["deployments"][0]["rolloutState"] == "COMPLETED")

    def roll(self, count, way):
        minimum, maximum = self.ways[way]
        self.version += 1
        container = {"name": "main", "image": self.image(), "memory": 16, "command": COMMAND,
                     "environment": [{"name": "VERSION", "value": str(self.version)}]}
        made = self.ecs.register_task_definition(family="rolled", networkMode="bridge", containerDefinitions=[container])
        began, seen = time.monotonic(), {"fewest_running": count}
        self.ecs.update_service(
            service=self.service, taskDefinition=made["taskDefinition"]["taskDefinitionArn"],
            deploymentConfiguration={"minimumHealthyPercent": minimum, "maximumPercent": maximum})
        def over():
            service = self.described()
            now, new, *old = (time.monotonic() - began, *service["deployments"])
            seen["fewest_running"] = min(seen["fewest_running"], service["runningCount"])
            if new["runningCount"] == count:
                seen.setdefault("new_running", now)
                if not any(one["runningCount"] for one in old):
                    seen.setdefault("old_gone", now)
            if new["rolloutState"] == "COMPLETED":
                return {**seen, "completed": now}
        return until("the update", over)

    def image(self):
        made = self.ecs.describe_task_definition(taskDefinition=self.definition)["taskDefinition"]
        return made["containerDefinitions"][0]["image"]


class OfSwarm(Service):
    name = "swarm"
    ways = {"stop-first": "stop-first", "start-first": "start-first"}

    def __init__(self, docker):
        self.docker, self.cpu, self.number, self.version = docker, docker.cpu, 0, 0
        groups = docker.cpu.groups
        self.containers = groups["containers"]
        self.parts = {"dockerd, containerd and shims": groups["dockerd, containerd, shims, runc"],
                      "containers": groups["containers"]}
        self.docker.docker("swarm", "init", "--advertise-addr", "10.98.0.1")

    def create(self, count, *options):
        self.number += 1
        self.service = f"s{self.number}"
        self.docker.docker("service", "create", "-d", "--name", self.service, "--replicas", str(count), "--limit-memory", "16m",
                           "--env", "VERSION=0", *options, self.docker.image, *COMMAND)

    def up(self, count, *options):
        began = time.monotonic()
        self.create(count, *options)
        until(f"{count} of Swarm's", lambda: len(self.running()) == count)
        return time.monotonic() - began

    def down(self):
        began = time.monotonic()
        self.docker.docker("service", "rm", self.service)
        until("Swarm's end", lambda: not mains(self.containers))
        return time.monotonic() - began

    def tasks(self):
        filters = json.dumps({"service": [self.service]}, separators=(",", ":"))
        try:
            return [task for task in self.docker.get(f"/tasks?filters={filters}") if task["Status"]["State"] == "running"]
        except TypeError:
            return []  # No list but a message: the service is not known yet.

    def running(self):
        return {task["ID"] for task in self.tasks()}

    def steady(self):
        """Swarm asks no more of a new service than that it runs."""

    def roll(self, count, way):
        self.version += 1
        began, seen = time.monotonic(), {"fewest_running": count}
        self.docker.docker("service", "update", "-d", "--env-add", f"VERSION={self.version}", "--update-order", self.ways[way],
                           "--update-parallelism", "0", self.service)
        def over():
            tasks, service = self.tasks(), self.docker.get(f"/services/{self.service}")
            now = time.monotonic() - began
            seen["fewest_running"] = min(seen["fewest_running"], len(tasks))
            is_new = lambda task: f"VERSION={self.version}" in task["Spec"]["ContainerSpec"]["Env"]
            if sum(map(is_new, tasks)) == count:
                seen.setdefault("new_running", now)
                if len(tasks) == count:
                    seen.setdefault("old_gone", now)
            wanted = f"VERSION={self.version}" in service["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"]
            if wanted and service.get("UpdateStatus", {}).get("State") == "completed" and "old_gone" in seen:
                return {**seen, "completed": now}
        return until("the update", over)


class OfNobody:
    """Bare containerd: started four at a time, kept by nobody."""

    def __init__(self, name, bare, spec):
        self.name, self.cpu, self.client = name, bare.cpu, bare.client(name, spec)
        self.parts = {"containerd and shims": bare.cpu.groups["containerd, shims, runc"], "containers": bare.cpu.groups["containers"]}

    def up(self, count):
        return self.client.ask("start", count, PARALLEL)["wall_ms"] / 1000

    def down(self):
        return self.client.ask("stop", PARALLEL)["wall_ms"] / 1000

    memory = Service.memory

