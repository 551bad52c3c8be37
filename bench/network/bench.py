"""Measures the VPC's network: packets between tasks beside a bare VXLAN pair and a plain veth pair, and what interfaces, members
and rules cost. See README.md. Run by `run`, which gives it processes, a network and a mount table of its own."""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import common  # noqa: E402

VPC_BENCH = common.RELEASE / "examples/vpc_bench"
PORT = 7007
# What is compared, the same two ends each time: ours, and what it stands beside.
OURS, BARE = "vpc, two hosts", "bare vxlan"
BARS = [
    ("latency, times the bare VXLAN pair's", "≤", 1.3),
    ("throughput, share of the bare VXLAN pair's", "≥", 0.8),
    ("an interface more, p50 ms", "≤", 10.0),
]


def inside(end, command):
    return ["nsenter", f"--net={end['netns']}", *map(str, command)]


def run_inside(end, command):
    return subprocess.run(inside(end, command), stdout=subprocess.PIPE, check=True, text=True).stdout


class Listening:
    """A server inside a namespace, until the block ends; begun when its port is bound."""

    def __init__(self, end, command):
        self.child = subprocess.Popen(inside(end, command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.end = end

    def __enter__(self):
        wanted = f":{PORT:04X} "
        common.wait_for("a server", lambda: wanted in run_inside(self.end, ["cat", "/proc/net/tcp", "/proc/net/tcp6"]))

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()


def latency(path, seconds):
    server, client = path["server"], path["client"]
    address = f"{server['address']}:{PORT}"
    with Listening(server, [VPC_BENCH, "answer", address]):
        return json.loads(run_inside(client, [VPC_BENCH, "ask", address, seconds]))


def throughput(path, seconds):
    """Gbit/s that arrived, over one TCP connection."""
    server, client = path["server"], path["client"]
    with Listening(server, ["iperf3", "-s", "-p", PORT]):
        said = run_inside(client, ["iperf3", "-c", server["address"], "-p", PORT, "-t", seconds, "-J"])
    return json.loads(said)["end"]["sum_received"]["bits_per_second"] / 1e9


def packets(work, options):
    """Rounds in turning order, so that whatever else the machine does falls on all."""
    paths = json.loads(subprocess.run([VPC_BENCH, "lay", work], stdout=subprocess.PIPE, check=True).stdout)
    names = list(paths)
    rows = {name: {"p50_us": [], "p99_us": [], "gbit_s": []} for name in names}
    for turn in range(options.rounds):
        for name in names[turn % len(names):] + names[:turn % len(names)]:
            row = rows[name]
            asked = latency(paths[name], options.seconds)
            row["p50_us"].append(asked["p50_us"])
            row["p99_us"].append(asked["p99_us"])
            if options.iperf:
                row["gbit_s"].append(throughput(paths[name], max(1, round(options.seconds))))
    return rows


def middle(values):
    return statistics.median(values) if values else None


def compared(rows, control):
    """The figures of the bars. Each round is compared with itself, and the middle round is told."""
    pairs = lambda what: [ours / bare for ours, bare in zip(rows[OURS][what], rows[BARE][what], strict=True)]
    added = next(row for name, row in control.items() if name.startswith("add an interface, among up"))
    return [middle(pairs("p50_us")), middle(pairs("gbit_s")), added["p50_ms"]]


def table(rows, control, figures):
    said = ["| path | p50, µs there and back | p99, µs | Gbit/s |", "|---|---|---|---|"]
    show = lambda values, digits: "" if not values else \
        f"{middle(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
    for name, row in rows.items():
        said.append(f"| {name} | {show(row['p50_us'], 1)} | {show(row['p99_us'], 1)} | {show(row['gbit_s'], 2)} |")
    said += ["", "| change | p50, ms | p99, ms | CPU, ms |", "|---|---|---|---|"]
    for name, row in control.items():
        said.append("| " + " | ".join([name, *(f"{row[key]:.2f}" if key in row else "" for key in ("p50_ms", "p99_ms", "cpu_ms"))]) + " |")
    said += ["", "| bar | | figure | |", "|---|---|---|---|"]
    for (what, sign, bar), figure in zip(BARS, figures, strict=True):
        met = figure is not None and (figure <= bar if sign == "≤" else figure >= bar)
        shown = "not measured" if figure is None else f"{figure:.2f}"
        said.append(f"| {what} | {sign} {bar} | {shown} | {'met' if met else '**missed**' if figure is not None else ''} |")
    return "\n".join(said) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each latency and each throughput measurement")
    parser.add_argument("--interfaces", type=int, default=1000)
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    options = parser.parse_args()
    options.iperf = shutil.which("iperf3") is not None
    work = pathlib.Path(os.environ["BENCH_WORK"])
    machine = common.machine()
    for folder in ("packets", "control"):
        (work / folder).mkdir()
    rows = packets(work / "packets", options)
    command = [VPC_BENCH, "control", work / "control", str(options.interfaces)]
    control = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    figures = compared(rows, control)
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    told = {"machine": machine, "load_after": os.getloadavg()[0], "rounds": options.rounds, "seconds": options.seconds, "packets": rows, "control": control}
    common.write(options.out / "results.json", told)
    text = table(rows, control, figures)
    (options.out / "results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
