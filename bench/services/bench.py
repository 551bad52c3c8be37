"""Measures how Longshore, Swarm and bare containerd bring replicas up, and how the first two keep and renew them. See README.md.

Run by `run`, which gives it processes, a network and a mount table of its own."""

import argparse
import os
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "containers")]
import common  # noqa: E402
from contestants import ADDRESS, Bare, Docker, Longshore, Registry, clean, sh  # noqa: E402
from replicas import OfLongshore, OfNobody, OfSwarm, TooLate  # noqa: E402


def settled(one):
    return one.cpu.settled()


def idle_machine(limit=30.0):
    """Waits until what the last one left to the kernel (namespaces, interfaces, pages to be written) is done: it counts for nobody's cgroup."""
    def busy():  # user, nice, system, then what follows idle: waiting for the disk, interrupts, stolen
        ticks = [int(x) for x in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
        return sum(ticks[:3] + ticks[4:8])

    end_by = time.monotonic() + limit
    while time.monotonic() < end_by:
        before = busy()
        time.sleep(1)
        if busy() - before <= 5:  # of the 100 ticks that each core has in a second
            return


def start(one, count):
    """Up, down, and what both cost; a step that does not come to its end is told as such and not waited for again."""
    idle_machine()
    before = settled(one)
    up = one.up(count)
    started = settled(one)
    down = one.down()
    stopped = settled(one)
    spent = lambda a, b: {part: round((b[part] - a[part]) / count, 1) for part in a}
    return {"up_s": up, "down_s": down, "cpu_ms_start": spent(before, started), "cpu_ms_stop": spent(started, stopped)}


def weigh(one, count, quiet):
    """Memory without and with so many replicas, and the CPU of keeping them."""
    idle_machine()  # A task is told to have stopped before its shim has gone.
    idle = one.memory()
    one.up(count)
    settled(one)
    time.sleep(2)
    before, began = one.cpu.read(), time.monotonic()
    time.sleep(quiet)
    after, seconds = one.cpu.read(), time.monotonic() - began
    loaded = one.memory()
    one.down()
    settled(one)
    cpu = {part: round((after[part] - before[part]) / seconds, 2) for part in after}
    return {"idle": idle, "loaded": loaded, "count": count, "cpu_ms_a_second": cpu}


def renew(one, count, kills):
    """Replacement of a replica that is killed, and updates of all, each way the contestant knows."""
    out = {"replaced_s": [], "rolled": {}}
    one.up(count)
    one.steady()
    for _ in range(kills):
        out["replaced_s"].append(one.replaced(count))
        settled(one)
    for way in one.ways:
        one.steady()
        out["rolled"][way] = one.roll(count, way)
        settled(one)
    one.down()
    settled(one)
    return out


def replaced_at_once(swarm, count, kills):
    """Swarm's replacement without its pause of five seconds."""
    swarm.up(count, "--restart-delay", "0s")
    out = []
    for _ in range(kills):
        out.append(swarm.replaced(count))
        settled(swarm)
    swarm.down()
    settled(swarm)
    return out


def attempt(what, troubles, work):
    print(what, flush=True)
    try:
        return work()
    except TooLate as error:
        troubles.append(f"{what}: {error}")
        print(f"  {error}", flush=True)
        return None


def measure(everyone, arguments):
    result, troubles = {one.name: {"up": {}} for one in everyone}, []
    for one in everyone:  # Once, unmeasured: files are read, the image unpacked.
        one.up(2)
        one.down()
        settled(one)
    for count in arguments.counts:
        for number in range(arguments.rounds):
            # Every other round runs backwards, so that nobody always follows the same neighbour.
            for one in everyone if number % 2 == 0 else everyone[::-1]:
                got = attempt(f"{one.name}: {count}, round {number + 1}", troubles, lambda: start(one, count))
                if got:
                    result[one.name]["up"].setdefault(str(count), []).append(got)
                    print(f"  up {got['up_s']:.2f} s, down {got['down_s']:.2f} s", flush=True)
    for one in everyone:
        if one.name == "bare-same":
            continue
        mine = result[one.name]
        mine["weight"] = attempt(f"{one.name}: memory", troubles, lambda: weigh(one, max(arguments.counts), arguments.quiet))
        if not isinstance(one, OfNobody):
            mine["renew"] = attempt(f"{one.name}: renew", troubles, lambda: renew(one, arguments.roll, arguments.kills))
        if isinstance(one, OfSwarm):
            mine["replaced_at_once_s"] = attempt(
                f"{one.name}: replacement without a pause", troubles, lambda: replaced_at_once(one, arguments.roll, arguments.kills))
    return result, troubles


def contestants(work, key, image, names, opened):
    """Those of bench/containers, each with what it is asked here."""
    wants = lambda name: any(n.startswith(name) for n in names)
    everyone = []
    longshore = docker = None
    if wants("longshore"):
        longshore = Longshore(work, key, image, {})
        opened.append(longshore)
        everyone.append(OfLongshore(longshore))
    if wants("swarm"):
        if pathlib.Path("/usr/sbin/dockerd").exists():
            docker = Docker(work, key, image)
            opened.append(docker)
            everyone.append(OfSwarm(docker))
        else:
            print("Swarm is skipped: docker.io is not installed", flush=True)
    if wants("bare"):
        bare = Bare(work, key, image)
        opened.append(bare)
        everyone.append(OfNobody("bare", bare, bare.minimal(False)))
        if longshore:
            keeper = everyone[0]
            keeper.up(1)
            spec = bare.like(longshore.spec())
            keeper.down()
            everyone.append(OfNobody("bare-same", bare, spec))
    versions = {"docker": docker and docker.version, "runc": sh("runc", "--version").splitlines()[0].split()[-1],
                "containerd": sh("containerd", "--version").split()[2]}
    return everyone, versions


def markdown(result):
    shown = lambda value, digits=2: "" if value is None else f"{value:.{digits}f}"
    who = result["contestants"]
    names = list(who)
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    row = lambda what, ask: lines.append(f"| {what} | " + " | ".join(ask(who[name]) or "" for name in names) + " |")
    best = lambda mine, count, key: common.median([r[key] for r in mine["up"][count]]) if mine["up"].get(count) else None
    counts = [str(count) for count in result["options"]["counts"]]
    for count in counts:
        row(f"{count} run, s", lambda mine: shown(best(mine, count, "up_s")))
    most = counts[-1]
    row(f"{most} are gone, s", lambda mine: shown(best(mine, most, "down_s")))
    for what in "start", "stop":
        each = lambda mine: [total(r[f"cpu_ms_{what}"]) for r in mine["up"].get(most, [])]
        row(f"CPU of a {what}, ms", lambda mine: shown(common.median(each(mine)), 0) if each(mine) else "")
    weight = lambda mine, ask: ask(mine["weight"]) if mine.get("weight") else ""
    mib = lambda size: f"{size / 2**20:.1f}"
    kept = lambda sizes: sum(size for part, size in sizes.items() if part != "containers")
    row("idle, MiB", lambda mine: weight(mine, lambda w: mib(kept(w["idle"]))))
    row("and for each replica, MiB", lambda mine: weight(mine, lambda w: f"{(kept(w['loaded']) - kept(w['idle'])) / 2**20 / w['count']:.2f}"))
    row(f"keeping {most}, CPU ms a second", lambda mine: weight(mine, lambda w: shown(total(w["cpu_ms_a_second"]), 1)))
    renewed = lambda mine, ask: ask(mine["renew"]) if mine.get("renew") else ""
    row("a killed one is replaced, s", lambda mine: renewed(mine, lambda r: shown(common.median(r["replaced_s"]))))
    row("the same, `--restart-delay 0`, s", lambda mine: shown(common.median(mine["replaced_at_once_s"])) if mine.get("replaced_at_once_s") else "")
    size = result["options"]["roll"]
    lines += ["", f"| update of {size} | all new run, s | no old one runs, s | completed, s | fewest that ran |", "|---|---|---|---|---|"]
    for name in names:
        for way, r in (who[name].get("renew") or {"rolled": {}})["rolled"].items():
            lines.append(f"| {name}, {way} | {shown(r.get('new_running'))} | {shown(r.get('old_gone'))} | {shown(r['completed'])} | {r['fewest_running']} |")
    return "\n".join([*lines, "", *verdicts(who, most, best), "", *(f"- trouble: {trouble}" for trouble in result["troubles"])])


def total(parts):
    # A container instance's group holds its agent's too.
    return sum(v for part, v in parts.items() if part != "agent")


def verdicts(who, most, best):
    ours = best(who["longshore"], most, "up_s") if "longshore" in who else None
    lines = ["| bar | | figure | |", "|---|---|---|---|"]
    for name, bar, ratio in [("swarm", 3.0, lambda other: other / ours), ("bare", 1.3, lambda other: ours / other),
                             ("bare-same", 1.3, lambda other: ours / other)]:
        other = best(who[name], most, "up_s") if name in who else None
        if ours and other:
            met = ratio(other) >= bar if name == "swarm" else ratio(other) <= bar
            what = f"{most} run: times as fast as Swarm" if name == "swarm" else f"{most} run: times {name}'s seconds"
            lines.append(f"| {what} | {'≥' if name == 'swarm' else '≤'} {bar} | {ratio(other):.2f} | {'met' if met else '**missed**'} |")
    return lines


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="longshore,swarm,bare", help="whose names begin so")
    parser.add_argument("--counts", default="1,50,100", help="replicas to bring up")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--roll", type=int, default=20, help="replicas of the service that is updated")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--quiet", type=float, default=10, help="seconds to look at what keeping replicas costs")
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    arguments = parser.parse_args()
    arguments.counts = [int(count) for count in arguments.counts.split(",")]
    work, key = pathlib.Path(os.environ["BENCH_WORK"]), os.environ["BENCH_KEY"]
    sh("ip", "link", "add", "bench0", "type", "bridge")
    sh("ip", "addr", "add", f"{ADDRESS}/24", "dev", "bench0")
    sh("ip", "link", "set", "bench0", "up")
    began, opened = {"machine": common.machine(), "began": time.monotonic()}, []
    try:
        registry = Registry(work)
        opened.append(registry)
        everyone, versions = contestants(work, key, registry.image, arguments.only.split(","), opened)
        measured, troubles = measure(everyone, arguments)
        for one in opened:
            troubles += one.complaints() if isinstance(one, Longshore) else []
    finally:
        for one in reversed(opened):
            one.close()
        clean(key)
    result = {"machine": began["machine"], "load_after": os.getloadavg()[0], "seconds": round(time.monotonic() - began["began"]),
              "versions": versions, "options": {**vars(arguments), "out": None}, "troubles": troubles, "contestants": measured}
    text = markdown(result)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "results.md").write_text(text + "\n")
    common.write(arguments.out.resolve() / "results.json", result)
    print(text)


main()
