"""What the benches share: building, servers of their own on free ports, and what the kernel says of a process.

Everything a bench starts it ends by the handle it holds, and everything it writes is below target/bench, on the disk that
the working tree is on.
"""

import contextlib
import datetime
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
# BENCH_BINARIES names a directory of binaries to measure as they are; otherwise the release build is made and measured.
RELEASE = pathlib.Path(os.environ.get("BENCH_BINARIES", ROOT / "target/release"))
LONGSHORE = RELEASE / "longshore"
BENCH = RELEASE / "examples" / "bench"
SCRATCH = ROOT / "target" / "bench"
REGION = "us-east-1"
ACCOUNT = "123456789012"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIABENCHBENCHBENCH2", "AWS_SECRET_ACCESS_KEY": "of-the-bench-only", "AWS_DEFAULT_REGION": REGION}
PATIENCE = 600  # Seconds: bounds a failure; what is waited for takes seconds.


def build():
    """The release build, unless other binaries are given."""
    if "BENCH_BINARIES" not in os.environ:
        command = ["cargo", "build", "--release", "--workspace", "--bins", "--examples"]
        subprocess.run(command, cwd=ROOT, check=True)


def venv(name, packages):
    """A Python environment with these packages; the path of its python."""
    home = SCRATCH / f"venv-{name}"
    done = home / ".done"
    if not done.exists() or done.read_text() != repr(packages):
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([home / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *packages], check=True)
        done.write_text(repr(packages))
    return home / "bin/python"


def in_venv(name, packages):
    """Goes on in that environment."""
    python = venv(name, packages)
    if pathlib.Path(sys.executable) != python:
        os.execv(python, [str(python), *sys.argv])


def own_network():
    """Goes on in a network of its own, where ports are free and what is made ends with it."""
    if os.environ.get("BENCH_NETWORK") != "own":
        os.environ["BENCH_NETWORK"] = "own"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


@contextlib.contextmanager
def scratch():
    SCRATCH.mkdir(parents=True, exist_ok=True)
    path = pathlib.Path(tempfile.mkdtemp(dir=SCRATCH))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, ask):
    end = time.monotonic() + PATIENCE
    while not ask():
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not within {PATIENCE} s")
        time.sleep(0.002)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


class Process:
    """A process, and what the kernel says of it."""

    def __init__(self, command, log, prefix=(), **options):
        self.log = open(log, "ab")
        self.child = subprocess.Popen([*prefix, *map(str, command)], stdout=self.log, stderr=self.log, **options)

    @property
    def pid(self):
        return self.child.pid

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """Resident and proportional size in bytes."""
        lines = pathlib.Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        sizes = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines[1:]}
        return {"rss": sizes["Rss:"], "pss": sizes["Pss:"], "anonymous": sizes["Anonymous:"]}

    def end(self):
        self.child.terminate()
        self.child.wait(timeout=PATIENCE)
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.end()


class Longshore(Process):
    """A control plane on free ports."""

    def __init__(self, home, *flags):
        self.home, self.port, self.link_port = home, free_port(), free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        env = {**os.environ, "LONGSHORE_LOG": os.environ.get("LONGSHORE_LOG", "warn"),
               "LONGSHORE_ROOT_ACCESS_KEY_ID": KEYS["AWS_ACCESS_KEY_ID"],
               "LONGSHORE_ROOT_SECRET_ACCESS_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
        command = [LONGSHORE, "server", "--listen", self.endpoint, "--link-listen", f"127.0.0.1:{self.link_port}",
                   "--data-dir", home / "data", "--account-id", ACCOUNT, *flags]
        self.started = time.monotonic()
        super().__init__(command, home / "server.log", env=env)
        wait_for("the server", lambda: self.alive() and self.is_up())
        self.ready_in = time.monotonic() - self.started

    def is_up(self):
        return answers(f"http://{self.endpoint}/.longshore/health")

    def alive(self):
        if self.child.poll() is not None:
            raise SystemExit(f"the server ended:\n{(self.home / 'server.log').read_text()}")
        return True


@contextlib.contextmanager
def nodes(server, ssm, scratch_dir, count):
    """Simulated agents, connected as long as the block lasts; yields what they say at the end."""
    token = ssm.create_activation(IamRole="none", RegistrationLimit=count)
    ca = scratch_dir / "ca.pem"
    with urllib.request.urlopen(f"http://{server.endpoint}/.longshore/ca.pem") as answer:
        ca.write_bytes(answer.read())
    command = [BENCH, "nodes", "--link", f"127.0.0.1:{server.link_port}", "--ca", ca, "--activation-id",
               token["ActivationId"], "--count", str(count)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                             env={**os.environ, "ACTIVATION_CODE": token["ActivationCode"]})
    said = {}
    try:
        said.update(json.loads(child.stdout.readline()))
        yield said
    finally:
        out, _ = child.communicate("", timeout=PATIENCE)
        said.update(json.loads(out or "{}"))


def load(process, endpoint, operation, inputs, connections, seconds, expect=None, requests=None):
    """Measures one operation; adds what the server's process spent on it."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".json", dir=SCRATCH) as file:
        json.dump(inputs, file)
        file.flush()
        command = [BENCH, "load", "--endpoint", endpoint, "--operation", operation, "--inputs", file.name,
                   "--connections", connections, "--seconds", seconds]
        command += ["--expect", expect] if expect else []
        command += ["--requests", requests] if requests is not None else []
        before = process.cpu_seconds()
        out = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True, env={**os.environ, **KEYS})
        spent = process.cpu_seconds() - before
    result = json.loads(out.stdout)
    if result["errors"]:
        print(f"  {operation}: {result['errors']} errors, such as {result['complaint'][:300]}", file=sys.stderr)
    result["server_cpu_us"] = round(spent / max(result["requests"], 1) * 1e6, 1)
    return result


def disk(directory, seconds=3):
    out = subprocess.run([BENCH, "disk", directory, "--seconds", str(seconds)], stdout=subprocess.PIPE, check=True)
    return json.loads(out.stdout)


def machine():
    """What the figures were measured on. Load is that of before the bench: what others did meanwhile is not in it."""
    cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "cpus": os.cpu_count(), "cpu": cpu,
            "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
            "kernel": os.uname().release, "load_before": os.getloadavg()[0], "commit": commit.stdout.strip()}


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def write(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")
    print(f"wrote {path.relative_to(ROOT)}")
