"""Measures what a container costs each contestant, in rounds that take turns, and writes raw figures and a table.

Three measurements: CPU of a start and of a stop (cpuacct of all that is the contestant's; one at a time), how long one start
takes, and how long a hundred at once take with four at a time."""

import argparse
import datetime
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import tempfile

from contestants import ADDRESS, ROOT, Bare, Docker, Longshore, Registry, clean, sh

PARALLEL = 4 * os.cpu_count()  # containers being made at a time by one agent; the others get the same
# ms between two DescribeTasks: close where time is measured, seldom where CPU is, and where a hundred tasks are asked for at once.
POLL_LATENCY, POLL_CPU, POLL_BURST = 2, 50, 100


class Contestant:
    """One column: how it starts and stops, and the cgroups that count for it."""

    def __init__(self, name, cpu, start, stop, burst=None):
        self.name, self.cpu, self.start, self.stop = name, cpu, start, stop
        self.burst = burst or (lambda count: start(count, PARALLEL))


def spent(before, after, count):
    return {name: (after[name] - before[name]) / count for name in after}


def total(parts):
    # A container instance's group holds its agent's too.
    return sum(v for k, v in parts.items() if k != "agent")


def cpu_block(one, count, start):
    before = one.cpu.settled()
    start(count)
    up = one.cpu.settled()
    one.stop(1)
    down = one.cpu.settled()
    return {"start": spent(before, up, count), "stop": spent(up, down, count)}


def bursts(one, count):
    answer = one.burst(count)
    one.cpu.settled()
    down = one.stop(PARALLEL)
    one.cpu.settled()
    return {"up_ms": answer["wall_ms"], "down_ms": down["wall_ms"], "recorded_ms": answer.get("recorded_ms")}


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, round(q * (len(values) - 1)))]


def contestants(bare, longshore, docker, names):
    made = []
    def add(name, *rest):
        if any(name.startswith(n) for n in names):
            made.append(Contestant(name, *rest))
    if bare:
        specs = {"bare": bare.minimal(False), "bare-host": bare.minimal(True)}
        if longshore:
            probe = longshore.client("bridge")
            probe.ask("start", 1, 1, POLL_CPU)
            same = longshore.spec()
            probe.ask("stop", 1, POLL_CPU)
            specs["bare-same"] = bare.like(same)
        for name, spec in specs.items():
            client = bare.client(name, spec)
            add(name, bare.cpu, lambda n, p, c=client: c.ask("start", n, p), lambda p, c=client: c.ask("stop", p))
    if longshore:
        for mode in ("bridge", "host"):
            client = longshore.clients.get(mode) or longshore.client(mode)
            add(f"longshore-{mode}", longshore.cpu,
                lambda n, p, poll=POLL_LATENCY, c=client: c.ask("start", n, p, poll),
                lambda p, c=client: c.ask("stop", p, POLL_CPU), lambda n, c=client: c.ask("burst", n, POLL_BURST))
    if docker:
        for network in ("bridge", "host"):
            add(f"docker-{network}", docker.cpu, lambda n, p, w=network: docker.start(n, p, w), docker.stop)
        if any(n.startswith("swarm") for n in names):
            docker.swarm()
            add("swarm", docker.cpu, lambda n, _: docker.scale(n), lambda _: docker.scale(0))
    return made


def measure(everyone, arguments):
    raw = {one.name: {"cpu": [], "latency_ms": [], "recorded_ms": [], "burst": []} for one in everyone}
    for number in range(arguments.rounds):
        # Every other round runs backwards, so that nobody always follows the same neighbour.
        for one in everyone if number % 2 == 0 else everyone[::-1]:
            print(f"round {number + 1}/{arguments.rounds} {one.name}", flush=True)
            mine, count = raw[one.name], arguments.count
            if one.name.startswith("longshore"):
                answer = one.start(count, 1)
                one.cpu.settled()
                one.stop(1)
                block = cpu_block(one, count, lambda n, o=one: o.start(n, 1, POLL_CPU))
            else:
                answers = []
                block = cpu_block(one, count, lambda n, o=one: answers.append(o.start(n, 1)))
                answer = answers[0]
            mine["cpu"].append(block)
            mine["latency_ms"] += answer["each_ms"]
            mine["recorded_ms"] += answer.get("recorded_ms", [])
    for number in range(arguments.bursts):
        for one in everyone if number % 2 == 0 else everyone[::-1]:
            print(f"burst {number + 1}/{arguments.bursts} {one.name}", flush=True)
            raw[one.name]["burst"].append(bursts(one, arguments.burst))
    return raw


def row(name, mine):
    median = lambda values: statistics.median(values) if values else float("nan")
    up = median([total(b["start"]) for b in mine["cpu"]])
    down = median([total(b["stop"]) for b in mine["cpu"]])
    both = [total(b["start"]) + total(b["stop"]) for b in mine["cpu"]]
    latency = mine["latency_ms"]
    return {
        "name": name, "start_cpu_ms": up, "stop_cpu_ms": down, "cpu_ms": median(both),
        "cpu_range": [min(both), max(both)] if both else None,
        "p50_ms": quantile(latency, 0.5) if latency else None, "p99_ms": quantile(latency, 0.99) if latency else None,
        "recorded_p50_ms": quantile(mine["recorded_ms"], 0.5) if mine["recorded_ms"] else None,
        "burst_up_s": median([b["up_ms"] / 1000 for b in mine["burst"]]),
        "burst_down_s": median([b["down_ms"] / 1000 for b in mine["burst"]]),
    }


def table(rows):
    form = lambda value, digits: "" if value is None or value != value else f"{value:.{digits}f}"
    lines = ["| | CPU ms start | stop | both [range] | start p50 ms | p99 | burst up s | burst down s |", "|---|---|---|---|---|---|---|---|"]
    for r in rows:
        span = f" [{r['cpu_range'][0]:.0f}-{r['cpu_range'][1]:.0f}]" if r["cpu_range"] else ""
        lines.append(f"| {r['name']} | {form(r['start_cpu_ms'], 1)} | {form(r['stop_cpu_ms'], 1)} | {form(r['cpu_ms'], 1)}{span} | "
                     f"{form(r['p50_ms'], 1)} | {form(r['p99_ms'], 1)} | {form(r['burst_up_s'], 2)} | {form(r['burst_down_s'], 2)} |")
    return lines


def ratios(rows):
    known = {r["name"]: r for r in rows}
    lines = ["| | bar | " + " | ".join(b for b in ("bare", "bare-same") if b in known) + " |",
             "|---|---|" + "---|" * sum(b in known for b in ("bare", "bare-same"))]
    for mine in (r for r in rows if r["name"].startswith("longshore")):
        host = mine["name"].endswith("host")
        for what, key, bar in (("CPU", "cpu_ms", 1.25), ("RunTask to RUNNING p50", "p50_ms", 1.5), ("burst at once", "burst_up_s", 1.3)):
            cells = []
            for base in ("bare", "bare-same"):
                if base not in known:
                    continue
                other = known["bare-host"] if base == "bare" and host and "bare-host" in known else known[base]
                cells.append(f"{mine[key] / other[key]:.2f}" if other[key] and mine[key] else "")
            lines.append(f"| {mine['name']}: {what} | {bar} | " + " | ".join(cells) + " |")
    return lines


def split(raw):
    lines = ["| | start | stop |", "|---|---|---|"]
    for name, mine in raw.items():
        for part in mine["cpu"][0]["start"] if mine["cpu"] else ():
            at = lambda when: statistics.median(b[when][part] for b in mine["cpu"])
            lines.append(f"| {name}: {part} | {at('start'):.1f} | {at('stop'):.1f} |")
    return lines


def machine():
    model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "?")
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": platform.release(),
            "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20, "load": os.getloadavg(),
            "runc": sh("runc", "--version").splitlines()[0].split()[-1],
            "commit": subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="bare,longshore,docker,swarm", help="whose names begin so")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--count", type=int, default=10, help="containers of one round")
    parser.add_argument("--bursts", type=int, default=3)
    parser.add_argument("--burst", type=int, default=100)
    parser.add_argument("--pull", default="default", help="ECS_IMAGE_PULL_BEHAVIOR of our agent")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target/bench-containers")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    wants = lambda *whose: any(n.startswith(w) for n in names for w in whose)
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "link", "add", "bench0", "type", "bridge")
    sh("ip", "addr", "add", f"{ADDRESS}/24", "dev", "bench0")
    sh("ip", "link", "set", "bench0", "up")
    key = f"bench-{os.getpid()}"
    work = pathlib.Path(tempfile.mkdtemp(prefix="lsbench-", dir="/var/tmp"))
    opened, registry = [], None
    try:
        registry = Registry(work)
        bare = Bare(work, key, registry.image) if wants("bare") else None
        opened.append(bare)
        environment = {"ECS_IMAGE_PULL_BEHAVIOR": arguments.pull}
        longshore = Longshore(work, key, registry.image, environment) if wants("longshore") else None
        opened.append(longshore)
        docker = Docker(work, key, registry.image) if wants("docker", "swarm") else None
        opened.append(docker)
        everyone = contestants(bare, longshore, docker, names)
        for one in everyone:  # Once, unmeasured: files are read, the image unpacked.
            one.start(2, 1)
            one.stop(1)
        began = machine()
        raw = measure(everyone, arguments)
        complaints = longshore.complaints() if longshore else []
        versions = {"containerd": bare and bare.version, "docker": docker and docker.version}
        rows = [row(name, mine) for name, mine in raw.items()]
        report = {"date": datetime.date.today().isoformat(), "machine": began, "load_after": os.getloadavg(), "versions": versions,
                  "options": {k: str(v) for k, v in vars(arguments).items() if k != "out"}, "complaints": complaints, "summary": rows, "raw": raw}
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "raw.json").write_text(json.dumps(report, indent=1))
        text = "\n".join([*table(rows), "", *ratios(rows), "", *split(raw), "", *complaints])
        (arguments.out / "tables.md").write_text(text)
        print(text)
    finally:
        for one in reversed(opened):
            if one:
                one.close()
        if registry:
            registry.close()
        clean(key)
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
