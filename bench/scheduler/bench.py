"""One service of 5,000 tasks, and 5,000 services of ten, on 5,000 simulated instances of one real server. See README.md.

Run by `run`, which gives it processes and a network of its own."""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import common  # noqa: E402

POLL = 0.1  # seconds between two questions whether all run: DescribeClusters or DescribeServices, well below 1 ms of the server's
ACTIVATION = 1000
LARGE = "s0"  # A name that is used again, so that what is left of it makes place in a cluster of at most 5,000 services.
AT_REST = 5  # seconds in which nothing is told: the log rests for less between two batches
BAR = 10.0  # ms of CPU a second: one percent of a core


def clients(endpoint):
    import boto3
    keys = {"aws_access_key_id": common.KEYS["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": common.KEYS["AWS_SECRET_ACCESS_KEY"], "region_name": common.REGION}
    return [boto3.client(name, endpoint_url=f"http://{endpoint}", **keys) for name in ("ecs", "ssm")]


def run_millis(pid):
    """What a process's threads have run, in ms: the ticks of /proc/PID/stat are too coarse for a quiet server."""
    return sum(int(file.read_text().split()[0]) for file in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e6


def until(what, ask, patience):
    end = time.monotonic() + patience
    while not ask():
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not within {patience} s")
        time.sleep(POLL)


class Bench:
    def __init__(self, server, ecs, arguments):
        self.server, self.ecs, self.arguments = server, ecs, arguments

    def counts(self):
        cluster = self.ecs.describe_clusters()["clusters"][0]
        return cluster["runningTasksCount"], cluster["pendingTasksCount"]

    def quiet(self):
        """CPU of a server that nobody asks anything, in ms a second. First the event log has to be told all that happened: it takes its
        time, at most a tenth of a core, while that is a lot."""
        size = lambda: sum(file.stat().st_size for file in (self.server.home / "data/logs").rglob("*") if file.is_file())
        before, end = None, time.monotonic() + self.arguments.patience
        while before != (before := size()):
            if time.monotonic() > end:
                raise SystemExit(f"the event log still grows after {self.arguments.patience} s")
            time.sleep(AT_REST)
        before, began = run_millis(self.server.pid), time.monotonic()
        time.sleep(self.arguments.quiet)
        return round((run_millis(self.server.pid) - before) / (time.monotonic() - began), 2)

    def describe(self, names):
        for at in range(0, len(names), 10):
            yield from self.ecs.describe_services(services=names[at:at + 10])["services"]

    def settled(self, names, began, patience):
        """Seconds from `began`, by the wall clock, until the last service was COMPLETED by its own record, and said so in its events."""
        left, completed, steady = list(names), [], []
        end = time.monotonic() + patience
        while left:
            if time.monotonic() > end:
                raise SystemExit(f"{len(left)} of {len(names)} services are not steady after {patience} s, such as {left[0]}")
            again = []
            for service in self.describe(left):
                deployment = service["deployments"][0]
                said = [e["createdAt"].timestamp() for e in service["events"] if "has reached a steady state" in e["message"]]
                if deployment["rolloutState"] == "COMPLETED" and said:
                    completed.append(deployment["updatedAt"].timestamp() - began)
                    steady.append(max(said) - began)
                else:
                    again.append(service["serviceName"])
            left = again
            time.sleep(1 if left else 0)
        return {"completed_s": max(completed), "steady_s": max(steady)}

    def started(self, tasks, create):
        """Creates, and waits until so many tasks run."""
        cpu, began, wall = self.server.cpu_seconds(), time.monotonic(), time.time()
        more = create() or {}
        created = time.monotonic() - began
        until(f"{tasks} tasks", lambda: self.counts() == (tasks, 0), self.arguments.patience)
        seconds = time.monotonic() - began
        cpu = self.server.cpu_seconds() - cpu
        print(f"  {tasks} tasks run after {seconds:.1f} s, {cpu / tasks * 1e6:.0f} us of the server's CPU each", flush=True)
        return wall, {"tasks": tasks, "created_s": created, "running_s": seconds, "decisions_per_second": round(tasks / seconds),
                      "server_cpu_us_per_task": round(cpu / tasks * 1e6), "server_cores": round(cpu / seconds, 2), **more}

    def one_large(self):
        count = self.arguments.large
        print(f"one service of {count} tasks", flush=True)
        create = lambda: self.ecs.create_service(serviceName=LARGE, taskDefinition="app", desiredCount=count) and None
        began, out = self.started(count, create)
        out["memory"] = self.server.memory()
        out |= self.settled([LARGE], began, self.arguments.patience)
        out["quiet_cpu_ms"] = self.quiet()
        print(f"  steady after {out['steady_s']:.1f} s; quiet: {out['quiet_cpu_ms']} ms/s", flush=True)
        before, start = self.server.cpu_seconds(), time.monotonic()
        self.ecs.delete_service(service=LARGE, force=True)
        until("the end of all tasks", lambda: self.counts() == (0, 0), self.arguments.patience)
        out |= {"deleted_s": time.monotonic() - start, "deleted_cpu_us_per_task": round((self.server.cpu_seconds() - before) / count * 1e6)}
        print(f"  gone after {out['deleted_s']:.1f} s", flush=True)
        return out

    def many_small(self):
        services, each = self.arguments.services, 10
        print(f"{services} services of {each} tasks", flush=True)
        names = [f"s{number}" for number in range(services)]
        inputs = [{"serviceName": name, "taskDefinition": "app", "desiredCount": each} for name in names]

        def create():
            # One connection, so that each input is sent once.
            made = common.load(self.server, self.server.endpoint, "CreateService", inputs, 1, self.arguments.patience, requests=services)
            assert made["requests"] == services and not made["errors"], made
            return {"create_p50_us": made["p50_us"], "create_p99_us": made["p99_us"]}
        began, out = self.started(services * each, create)
        out["memory"] = self.server.memory()
        # Nobody asks before the healthy rule lets it be true: five thousand services in answers of ten take a while.
        time.sleep(max(0.0, 43 - (time.time() - began - out["running_s"])))
        out |= self.settled(names, began, self.arguments.patience)
        out["memory_steady"] = self.server.memory()
        out["quiet_cpu_ms"] = self.quiet()
        print(f"  steady after {out['steady_s']:.1f} s; quiet: {out['quiet_cpu_ms']} ms/s", flush=True)
        return out


def passes():
    out = subprocess.run([common.RELEASE / "examples/service_bench"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def markdown(result):
    mib = lambda memory: f"{memory['rss'] / 2**20:.0f} MiB"
    one, many = result["one_large"], result["many_small"]
    row = lambda what, ask: f"| {what} | {ask(one)} | {ask(many)} |"
    quiet = many["quiet_cpu_ms"]
    ours = quiet - result["quiet_empty_cpu_ms"]
    verdict = lambda value: "met" if value < BAR else "**missed**"
    lines = [
        f"| on {result['options']['nodes']:,} instances | one service of {one['tasks']:,} | {many['tasks'] // 10:,} services of 10 |", "|---|---|---|",
        row("CreateService answered, the last, s", lambda r: f"{r['created_s']:.2f}"),
        row("all tasks RUNNING, s", lambda r: f"{r['running_s']:.1f}"),
        row("decisions (tasks placed and seen running) a second", lambda r: f"{r['decisions_per_second']:,}"),
        row("the server's CPU for a task, us", lambda r: r["server_cpu_us_per_task"]),
        row("last deployment COMPLETED, s", lambda r: f"{r['completed_s']:.1f}"),
        row("last steady state, s", lambda r: f"{r['steady_s']:.1f}"),
        row("server, resident", lambda r: mib(r["memory"])),
        row("quiet, CPU ms a second", lambda r: r["quiet_cpu_ms"]),
        f"| deleted, all tasks STOPPED, s | {one['deleted_s']:.1f} | |", "",
        f"The same server before any service, {result['options']['nodes']:,} agents connected: {mib(result['memory_empty'])}, "
        f"{result['quiet_empty_cpu_ms']} ms of CPU a second.", "",
        "| bar | | figure | |", "|---|---|---|---|",
        f"| {many['tasks']:,} tasks, quiet: what services and tasks add | < 1 % of a core | {ours / 10:.2f} % | {verdict(ours)} |",
        f"| the same, with the agents' sessions | < 1 % of a core | {quiet / 10:.2f} % | {verdict(quiet)} |", "",
        "| a pass of the planner alone, us | " + " | ".join(f"{size:,} tasks" for size in sizes(result)) + " |",
        "|---|" + "---|" * len(sizes(result))]
    for what in dict.fromkeys(p["pass"] for p in result["passes"]):
        cells = [f"{p['us']:,.1f}" for p in result["passes"] if p["pass"] == what]
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def sizes(result):
    return list(dict.fromkeys(p["desired"] for p in result["passes"] if p["pass"] == "nothing to do"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--large", type=int, default=5000, help="tasks of the one service")
    parser.add_argument("--services", type=int, default=5000, help="services of ten tasks")
    parser.add_argument("--quiet", type=float, default=20, help="seconds to look at a server that nobody asks")
    parser.add_argument("--patience", type=float, default=150, help="seconds for what takes a few")
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    arguments = parser.parse_args()
    machine, began = common.machine(), time.monotonic()
    result = {"machine": machine, "options": {**vars(arguments), "out": None}, "passes": passes()}
    work = pathlib.Path(os.environ["BENCH_WORK"])
    with common.Longshore(work) as server:
        ecs, ssm = clients(server.endpoint)
        container = {"name": "app", "image": "app:1", "memory": 6, "cpu": 0, "essential": True}
        ecs.register_task_definition(family="app", containerDefinitions=[container])
        bench = Bench(server, ecs, arguments)
        with contextlib.ExitStack() as agents:
            # An activation lets a thousand in.
            groups = [min(ACTIVATION, arguments.nodes - at) for at in range(0, arguments.nodes, ACTIVATION)]
            said = [agents.enter_context(common.nodes(server, ssm, work, count)) for count in groups]
            print(f"{arguments.nodes} instances joined in {sum(one['joined_in_seconds'] for one in said):.1f} s", flush=True)
            result["quiet_empty_cpu_ms"], result["memory_empty"] = bench.quiet(), server.memory()
            result["one_large"], result["many_small"] = bench.one_large(), bench.many_small()
        result["agents"] = said
        result["warnings"] = (work / "server.log").read_text().splitlines()[-20:]
    result["seconds"], result["load_after"] = round(time.monotonic() - began), os.getloadavg()[0]
    text = markdown(result)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "results.md").write_text(text + "\n")
    common.write(arguments.out.resolve() / "results.json", result)
    print(text)


main()
