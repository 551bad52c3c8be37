"""Measures warm starts of tasks of launch type FARGATE, under runc and under gVisor, beside those of EC2. See README.md.

Run by `run`, which gives it processes, a network and a mount table of its own. One server, one local instance, and two machines
that are given to Fargate, each in a zone of its own, so that a task's subnet says which of them runs it."""

import argparse
import hashlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "containers")]
import common  # noqa: E402
from contestants import Registry, sh  # noqa: E402

WORK, KEY = pathlib.Path(os.environ["BENCH_WORK"]), os.environ["BENCH_KEY"]
# The local instances' zone is the first one; what each contestant is called, its zone and its runtime.
EC2 = "EC2, runc"
MACHINES = {"FARGATE, runc": ("us-east-1b", "runc", "172.31.240.8"), "FARGATE, runsc": ("us-east-1c", "runsc", "172.31.240.9")}
COMMAND = ["sh", "-c", "trap exit TERM; while :; do sleep 1; done"]
POOL = "longshore-fargate"


class Machine:
    """A machine that is given to Fargate, in a network of its own on the fabric."""

    def __init__(self, dev, number, zone, runtime, address):
        self.dir, name = WORK / f"machine{number}", f"bench{number}"
        self.dir.mkdir()
        for words in (f"netns add {name}", f"link add {name} type veth peer name eth0 netns {name}",
                      f"link set {name} master {dev.bridge} up", f"-n {name} addr add {address}/16 dev eth0",
                      f"-n {name} link set eth0 up", f"-n {name} link set lo up",
                      f"-n {name} route add default via 172.31.0.1"):
            sh("ip", *words.split())
        (self.dir / "token").write_text(subprocess.run(
            [common.LONGSHORE, "token", "create"], env=dev.environment, check=True, capture_output=True, text=True).stdout.strip())
        self.agent = common.Process(
            [common.LONGSHORE, "agent", "--fargate", "--runtime", runtime, "--server", "172.31.0.1:4567",
             "--address", address, "--attribute", f"ecs.availability-zone={zone}", "--instance-type", "m5.4xlarge",
             "--data-dir", self.dir / "data", "--run-dir", self.dir / "run", "--token-file", self.dir / "token",
             "--netns", f"/run/netns/{name}", "--cgroup", f"/{KEY}/machine{number}"], self.dir / "agent.log")


class Dev:
    """`longshore dev` with one local instance that is larger than the machine, so that nothing is held back."""

    def __init__(self):
        data = WORK / "longshore"
        self.server = common.Process(
            [common.LONGSHORE, "dev", "--instances", "1", "--instance-type", "m5.4xlarge", "--data-dir", data],
            WORK / "dev.log")
        common.wait_for("the server", lambda: list(data.glob("instances/*/agent.lock")))
        exports = sh(common.LONGSHORE, "env", "--data-dir", data)
        pairs = [line.removeprefix("export ").split("=", 1) for line in exports.splitlines() if line.startswith("export ")]
        self.environment = {**os.environ, **{k: v.strip("'") for k, v in pairs}}
        self.bridge = "lsb-" + hashlib.sha256(str(data).encode()).hexdigest()[:8]
        import boto3
        session = boto3.Session(self.environment["AWS_ACCESS_KEY_ID"], self.environment["AWS_SECRET_ACCESS_KEY"],
                                region_name=self.environment["AWS_DEFAULT_REGION"])
        self.ecs, self.ec2 = (session.client(name, endpoint_url=self.environment["AWS_ENDPOINT_URL"]) for name in ("ecs", "ec2"))
        common.wait_for("the local instance", lambda: self.connected("default") == 1)

    def connected(self, cluster):
        try:
            answer = self.ecs.list_container_instances(cluster=cluster, filter="agentConnected == true")
        except self.ecs.exceptions.ClusterNotFoundException:
            return 0  # Before the first machine joins.
        return len(answer["containerInstanceArns"])

    def define(self, image):
        self.ecs.register_task_definition(
            family="bench", networkMode="awsvpc", cpu="256", memory="512",
            containerDefinitions=[{"name": "main", "image": image, "stopTimeout": 2, "command": COMMAND}])
        subnets = self.ec2.describe_subnets()["Subnets"]
        self.subnets = {one["AvailabilityZone"]: one["SubnetId"] for one in subnets}

    def start(self, contestant):
        """A task, and how many milliseconds after it was asked for it was seen to run."""
        launch, zone = ("EC2", "us-east-1a") if contestant == EC2 else ("FARGATE", MACHINES[contestant][0])
        network = {"awsvpcConfiguration": {"subnets": [self.subnets[zone]]}}
        began = time.monotonic()
        answer = self.ecs.run_task(taskDefinition="bench", launchType=launch, networkConfiguration=network)
        if answer["failures"]:
            raise SystemExit(f"{contestant}: {answer['failures']}")
        arn = answer["tasks"][0]["taskArn"]
        common.wait_for(contestant, lambda: self.status(arn) in ("RUNNING", "STOPPED"))
        if self.status(arn) != "RUNNING":
            raise SystemExit(f"{contestant}: {self.ecs.describe_tasks(tasks=[arn])['tasks'][0]}")
        return arn, (time.monotonic() - began) * 1000

    def status(self, arn):
        return self.ecs.describe_tasks(tasks=[arn])["tasks"][0]["lastStatus"]

    def marks(self, arn):
        """By these the processes of a task are known: its own id, in their control group, and its container's, in arguments."""
        container = self.ecs.describe_tasks(tasks=[arn])["tasks"][0]["containers"][0]
        return [arn.rsplit("/", 1)[1], container["runtimeId"]]

    def stop(self, arn):
        self.ecs.stop_task(task=arn)
        common.wait_for(arn, lambda: self.status(arn) == "STOPPED")


def memory(marks):
    """Proportional memory in MB of all processes that are there for a task: its shim, its sandbox, its own."""
    total = 0
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cgroup").read_text() + (process / "cmdline").read_text(errors="replace")
            if any(mark in told for mark in marks):
                lines = (process / "smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue  # It has ended meanwhile, or is the kernel's.
    return total / 1024


def figures(values):
    ordered = sorted(values)
    return {"p50": round(statistics.median(ordered), 1), "p90": round(ordered[int(len(ordered) * 0.9)], 1),
            "least": round(ordered[0], 1), "most": round(ordered[-1], 1), "count": len(ordered)}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--out", type=pathlib.Path, default=HERE)
    given = arguments.parse_args()
    registry = Registry(WORK)
    dev = Dev()
    machines = [Machine(dev, number, *machine) for number, machine in enumerate(MACHINES.values())]
    common.wait_for("Fargate's machines", lambda: dev.connected(POOL) == len(machines))
    dev.define(registry.image)
    contestants = [EC2, *MACHINES]
    starts, sizes = ({name: [] for name in contestants} for _ in range(2))
    for at in range(given.rounds + 1):
        # In turn, so that what the machine does besides meets all alike. The first round brings image and network.
        for name in contestants:
            arn, took = dev.start(name)
            if at:
                starts[name].append(took)
                sizes[name].append(memory(dev.marks(arn)))
            dev.stop(arn)
    results = {"version": sh("runsc", "--version").splitlines()[0],
               "start_ms": {name: figures(all) for name, all in starts.items()},
               "memory_mb": {name: figures(all) for name, all in sizes.items()}}
    base = results["start_ms"][EC2]["p50"]
    results["start_ratio"] = {name: round(one["p50"] / base, 2) for name, one in results["start_ms"].items()}
    (given.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    lines = ["| | start p50, ms | p90 | beside EC2 | memory, MB |", "|---|---|---|---|---|"]
    for name in contestants:
        one = results["start_ms"][name]
        lines.append(f"| {name} | {one['p50']} | {one['p90']} | {results['start_ratio'][name]} | {results['memory_mb'][name]['p50']} |")
    (given.out / "results.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    for machine in machines:
        machine.agent.end()
    dev.server.end()


main()
