"""Where each millisecond between RunTask and RUNNING goes: runs tasks one after the other on an idle cluster whose server and
agent tell of each step (`LONGSHORE_LOG=timeline=trace`), and draws the median of when each step began and how long it took."""

import argparse
import datetime
import json
import os
import pathlib
import re
import shutil
import statistics
import tempfile
from xml.sax.saxutils import escape

from contestants import ROOT, Longshore, Registry, clean, sh

LINE = re.compile(r"^(\S+Z) TRACE (.*): timeline: close time\.busy=(\S+) time\.idle=(\S+)")
UNITS = {"ns": 1e-6, "µs": 1e-3, "ms": 1.0, "s": 1e3}
COLOURS = {"server": "#4c72b0", "agent": "#55a868", "containerd": "#dd8452"}
NOISE = {"request DescribeTasks"}


def millis(text):
    number, unit = re.fullmatch(r"([\d.]+)(\D+)", text).groups()
    return float(number) * UNITS[unit]


def spans(path, lane):
    for line in path.read_text().splitlines():
        found = LINE.match(line)
        if not found:
            continue
        when, chain, busy, idle = found.groups()
        span = re.split(r":(?=[a-z])", chain)[-1]
        name, _, fields = span.partition("{")
        value = re.search(r'="?([^"}]*)', fields)
        mine = "containerd" if name == "containerd" else lane
        label = value[1] if mine == "containerd" else f"{name} {value[1]}" if value else name
        end = datetime.datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp() * 1000
        took = millis(busy) + millis(idle)
        yield mine, label, end - took, took


def steps(logs, began_us, each_ms):
    """Each step that most tasks had: lane, label, median begin and median length. A step that a task has twice is two."""
    everything = [span for path, lane in logs for span in spans(path, lane)]
    seen = {}
    for at, took in zip(began_us, each_ms):
        zero, counts = at / 1000, {}
        for lane, label, start, length in sorted(everything, key=lambda s: s[2]):
            if zero <= start <= zero + took and label not in NOISE:
                number = counts[label] = counts.get(label, 0) + 1
                # The client's asking for news is decoded too; only the first is RunTask's.
                if label != "verify and decode" or number == 1:
                    seen.setdefault((lane, label, number), []).append((start - zero, length))
    usual = {key: values for key, values in seen.items() if len(values) * 2 > len(each_ms)}
    rows = [(*key, *(statistics.median(v[i] for v in values) for i in (0, 1))) for key, values in usual.items()]
    return sorted(rows, key=lambda row: row[3])


def picture(rows, total, title):
    left, width, high, top = 250, 760, 19, 64
    scale = width / max(total, max(row[3] + row[4] for row in rows))
    height = top + high * len(rows) + 50
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 90}" height="{height}" '
           'font-family="DejaVu Sans, sans-serif" font-size="11">', '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="12" y="22" font-size="15">{escape(title)}</text>']
    for n, (lane, colour) in enumerate(COLOURS.items()):
        out.append(f'<rect x="{12 + n * 110}" y="34" width="11" height="11" fill="{colour}"/>'
                   f'<text x="{28 + n * 110}" y="44">{lane}</text>')
    bottom = top + high * len(rows)
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if total / s <= 12)
    for tick in range(0, int(width / scale) + 1, step):
        x = left + tick * scale
        out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke="#ddd"/>'
                   f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick} ms</text>')
    x = left + total * scale
    out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke="#c44e52" stroke-width="1.5"/>'
               f'<text x="{x:.1f}" y="{bottom + 32}" text-anchor="middle" fill="#c44e52">RUNNING seen: {total:.1f} ms</text>')
    for n, (lane, label, number, start, length) in enumerate(rows):
        y = top + n * high
        name = label if number == 1 else f"{label} ({number})"
        out.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
                   f'<rect x="{left + start * scale:.1f}" y="{y + 3}" width="{max(length * scale, 1):.1f}" height="{high - 6}" '
                   f'fill="{COLOURS[lane]}"/>'
                   f'<text x="{left + (start + length) * scale + 4:.1f}" y="{y + 13}" fill="#555">{length:.2f}</text>')
    return "\n".join([*out, "</svg>", ""])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--mode", default="bridge", choices=["bridge", "host"])
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target/bench-containers")
    arguments = parser.parse_args()
    sh("ip", "link", "set", "lo", "up")
    key = f"bench-{os.getpid()}"
    work = pathlib.Path(tempfile.mkdtemp(prefix="lsbench-", dir="/var/tmp"))
    longshore = registry = None
    try:
        registry = Registry(work)
        longshore = Longshore(work, key, registry.image, {"LONGSHORE_LOG": "info,timeline=trace"})
        client = longshore.client(arguments.mode)
        client.ask("start", 3, 1, 10)
        answer = client.ask("start", arguments.tasks, 1, 2)
        agent = next((longshore.data / "instances").glob("*/agent.log"))
        rows = steps([(work / "longshore.log", "server"), (agent, "agent")], answer["at_us"], answer["each_ms"])
        client.ask("stop", 4, 50)
        total = statistics.median(answer["each_ms"])
        arguments.out.mkdir(parents=True, exist_ok=True)
        title = f"RunTask to RUNNING, image cached, network mode {arguments.mode}: medians of {arguments.tasks} tasks"
        (arguments.out / f"trace-{arguments.mode}.svg").write_text(picture(rows, total, title))
        (arguments.out / f"trace-{arguments.mode}.json").write_text(json.dumps({"total_ms": total, "steps": rows, "raw": answer}, indent=1))
        for lane, label, number, start, length in rows:
            print(f"{start:8.2f} {length:8.2f}  {lane:10} {label}{'' if number == 1 else f' ({number})'}")
        print(f"RUNNING seen after {total:.1f} ms")
    finally:
        if longshore:
            longshore.close()
        if registry:
            registry.close()
        clean(key)
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
