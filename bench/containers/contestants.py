"""Who runs containers here, and how each is started, asked and taken down. Everything lies in one work folder and below
one cgroup per contestant, whose cpuacct counts all that the contestant's processes and containers use."""

import hashlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time

CPUACCT = pathlib.Path("/sys/fs/cgroup/cpuacct")
ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASE = pathlib.Path(os.environ.get("BENCH_BINARIES", ROOT / "target" / os.environ.get("BENCH_PROFILE", "release")))
PATIENCE = 120  # seconds that a machine which does much else may need for what takes two
ADDRESS = "10.98.0.1"


def until(what, ask, pause=0.05):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = ask()
        if found:
            return found
        time.sleep(pause)
    raise SystemExit(f"{what}: not within {PATIENCE} s")


def sh(*words, **options):
    done = subprocess.run(words, capture_output=True, text=True, **options)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}: {done.stdout}{done.stderr}")
    return done.stdout


def every_hierarchy():
    for line in open("/proc/mounts"):
        _, target, kind, *_ = line.split()
        if kind in ("cgroup", "cgroup2") and target.startswith("/sys/fs/cgroup"):
            yield pathlib.Path(target)


def spawn(cgroup, words, **options):
    """A process that is in the cgroup before it runs. Children inherit it."""
    group = CPUACCT / cgroup.lstrip("/")
    group.mkdir(parents=True, exist_ok=True)
    enter = lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
    return subprocess.Popen([str(w) for w in words], preexec_fn=enter, **options)


def end(process):
    if process and process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Cpu:
    """What the cgroups named have used, in milliseconds, each for itself."""

    def __init__(self, groups):
        self.groups = groups

    def read(self):
        used = {}
        for name, group in self.groups.items():
            file = CPUACCT / group.lstrip("/") / "cpuacct.usage"
            used[name] = int(file.read_text()) / 1e6 if file.exists() else 0.0
        return used

    def settled(self, limit=3.0):
        """Waits until what the last command set off is over: 50 ms with little use, at most `limit` seconds."""
        end_by, before = time.monotonic() + limit, self.read()
        while time.monotonic() < end_by:
            time.sleep(0.05)
            now = self.read()
            if sum(now.values()) - sum(before.values()) < 1.0:
                return now
            before = now
        return before


class Lines:
    """A measuring process that answers each line with a line of JSON."""

    def __init__(self, cgroup, words, **options):
        self.process = spawn(cgroup, words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.process.args} ended")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)


class Registry:
    """Debian's registry with one image: Debian's static busybox. Its stop signal is SIGKILL, because `sleep` as the first
    process of a container would let SIGTERM pass, and all contestants would wait for their time-outs."""

    def __init__(self, work):
        (work / "registry.yml").write_text(
            "version: 0.1\nlog: {level: warn}\n"
            f"storage: {{filesystem: {{rootdirectory: {work}/registry}}}}\nhttp: {{addr: 127.0.0.1:5000}}\n")
        self.process = subprocess.Popen(["docker-registry", "serve", work / "registry.yml"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        def answers():
            try:
                connection = http.client.HTTPConnection("127.0.0.1", 5000, timeout=2)
                connection.request("GET", "/v2/")
                return connection.getresponse().status == 200
            except OSError:
                return False
        until("the registry", answers)
        self.image = "127.0.0.1:5000/busybox:1"
        build = work / "image"
        build.mkdir()
        run = lambda *words: sh(*words, cwd=build)
        run("umoci", "init", "--layout", "oci")
        run("umoci", "new", "--image", "oci:busybox")
        run("umoci", "unpack", "--image", "oci:busybox", "bundle")
        root = build / "bundle/rootfs"
        for folder in ("bin", "etc", "tmp", "proc", "sys", "dev"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy2("/usr/bin/busybox", root / "bin/busybox")
        for applet in ("sh", "sleep"):
            (root / "bin" / applet).symlink_to("busybox")
        (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\n")
        run("umoci", "repack", "--image", "oci:busybox", "bundle")
        run("umoci", "config", "--image", "oci:busybox", "--config.cmd", "/bin/sh", "--config.env", "PATH=/bin",
            "--config.stopsignal", "SIGKILL")
        run("skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", "oci:oci:busybox",
            f"docker://{self.image}")

    def close(self):
        end(self.process)


COMMAND = ["/bin/sleep", "1000000"]


class Bare:
    """containerd with a plain configuration, driven by `crates/runtime/examples/bare.rs`."""

    def __init__(self, work, key, image):
        self.dir = work / "bare"
        self.dir.mkdir()
        self.key = key
        at = lambda name: f'"{self.dir}/{name}"'
        # Where every contestant has what no reboot survives: in memory, as containerd's own default is on Debian.
        state = f"/run/bench-{key}-bare"
        (self.dir / "containerd.toml").write_text(
            f'version = 2\nroot = {at("root")}\nstate = "{state}"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs", '
            '"io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", '
            '"io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]\n'
            f'[grpc]\n  address = {at("s")}\n[ttrpc]\n  address = {at("s.ttrpc")}\n[debug]\n  level = "warn"\n')
        self.log = open(self.dir / "containerd.log", "w")
        self.daemon = spawn(f"/{key}/bare/containerd", ["containerd", "--config", self.dir / "containerd.toml"],
                            stdout=self.log, stderr=self.log)
        ctr = lambda *words: subprocess.run(["ctr", "--address", self.dir / "s", *words], capture_output=True, text=True)
        until("containerd", lambda: ctr("version").returncode == 0)
        pulled = ctr("images", "pull", "--plain-http", image)
        if pulled.returncode:
            raise SystemExit(pulled.stderr)
        self.chain_id = ctr("snapshots", "ls").stdout.splitlines()[1].split()[0]
        self.cpu = Cpu({"containerd, shims, runc": f"/{key}/bare/containerd", "containers": f"/{key}/bare/c"})
        self.version = ctr("version").stdout.split("Version:")[1].split()[0]
        self.clients = {}

    def minimal(self, host_network):
        """What `runc spec` writes, with another command: no system call filter, no limits."""
        sh("runc", "spec", "--bundle", self.dir)
        path = self.dir / "config.json"
        spec = json.loads(path.read_text())
        path.unlink()
        spec["process"].update(terminal=False, args=COMMAND)
        spec["root"]["readonly"] = False
        if host_network:
            spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] != "network"]
        return spec

    def like(self, spec):
        """The document of another contestant's container as it can be run here: in namespaces of its own, with files of our own."""
        for namespace in spec["linux"]["namespaces"]:
            namespace.pop("path", None)
        # The files our agent shows in a container go with it; these stay.
        for mount in spec["mounts"]:
            if mount["type"] == "bind":
                kept = self.dir / pathlib.Path(mount["destination"]).name
                kept.write_text("127.0.0.1 localhost\n")
                mount["source"] = str(kept)
        return spec

    def client(self, name, spec):
        file = self.dir / f"{name}.json"
        file.write_text(json.dumps(spec))
        self.clients[name] = Lines(f"/{self.key}/client", [RELEASE / "examples/bare", self.dir / "s", self.chain_id, file,
                                                          f"/{self.key}/bare/c"])
        return self.clients[name]

    def close(self):
        for client in self.clients.values():
            client.close()
        end(self.daemon)


class Longshore:
    """`longshore dev` with one local instance that is larger than the machine, so that nothing is held back."""

    def __init__(self, work, key, image, environment):
        self.data = work / "longshore"
        self.key = key
        self.log = open(work / "longshore.log", "w")
        self.server = spawn(
            f"/{key}/longshore",
            [RELEASE / "longshore", "dev", "--instances", "1", "--fargate-instances", "0", "--instance-type", "m5.4xlarge", "--data-dir", self.data],
            stdout=subprocess.PIPE, stderr=self.log, text=True, env={**os.environ, **environment})
        for line in self.server.stdout:
            if "Longshore is up" in line:
                break
        else:
            raise SystemExit(f"longshore did not come up: {(work / 'longshore.log').read_text()[-2000:]}")
        # Read on, so that it never waits for a full pipe.
        threading.Thread(target=self.server.stdout.read, daemon=True).start()
        exports = sh(RELEASE / "longshore", "env", "--data-dir", self.data)
        pairs = [line.removeprefix("export ").split("=", 1) for line in exports.splitlines() if line.startswith("export ")]
        self.environment = {**os.environ, **{k: v.strip("'") for k, v in pairs}}
        digest = hashlib.sha256(str(self.data).encode()).hexdigest()[:8]
        own, self.run = f"/longshore-{digest}", pathlib.Path("/run/longshore", digest)
        instance = next((self.data / "instances").iterdir()).name
        self.cpu = Cpu({"server": f"/{key}/longshore", "containerd, shims, runc": f"{own}/containerd",
                        "agent": f"{own}/{instance}/agent", "instance": f"{own}/{instance}"})
        self.clients = {}
        import boto3
        session = boto3.Session(self.environment["AWS_ACCESS_KEY_ID"], self.environment["AWS_SECRET_ACCESS_KEY"],
                                region_name=self.environment["AWS_DEFAULT_REGION"])
        self.ecs = session.client("ecs", endpoint_url=self.environment["AWS_ENDPOINT_URL"])
        for mode in ("bridge", "host"):
            self.ecs.register_task_definition(family=mode, networkMode=mode, containerDefinitions=[
                {"name": "main", "image": image, "memory": 16, "command": COMMAND}])

    def client(self, mode):
        self.clients[mode] = Lines(f"/{self.key}/client", [RELEASE / "examples/run_task", mode], env=self.environment)
        return self.clients[mode]

    def spec(self):
        """The OCI document of a container that runs now."""
        return json.loads(next((self.run / "containerd/state").glob("io.containerd.runtime.v2.task/*/*/config.json")).read_text())

    def complaints(self):
        """What server and agent found worth a warning: it would explain an odd figure."""
        logs = [pathlib.Path(self.log.name), *(self.data / "instances").glob("*/agent.log")]
        return [line for log in logs for line in log.read_text().splitlines() if " WARN " in line or " ERROR " in line]

    def close(self):
        for client in self.clients.values():
            client.close()
        end(self.server)


class Docker:
    """Debian's Docker: `docker run -d`, and Swarm by scaling a service."""

    def __init__(self, work, key, image):
        self.dir, self.key, self.image = work / "docker", key, image
        self.dir.mkdir()
        (self.dir / "daemon.json").write_text(json.dumps({
            "data-root": f"{self.dir}/data", "exec-root": f"/run/bench-{key}-docker", "pidfile": f"{self.dir}/pid",
            "hosts": [f"unix://{self.dir}/sock"], "storage-driver": "overlay2", "bip": "172.30.0.1/16",
            "insecure-registries": ["127.0.0.1:5000"], "log-driver": "json-file", "cgroup-parent": f"/{key}/docker/c",
            "default-address-pools": [{"base": "172.29.0.0/16", "size": 24}]}))
        self.log = open(self.dir / "log", "w")
        self.daemon = spawn(f"/{key}/docker/daemon", ["/usr/sbin/dockerd", "--config-file", self.dir / "daemon.json"],
                            stdout=self.log, stderr=self.log)
        until("dockerd", lambda: (self.dir / "sock").exists() and self.docker("version", check=False).returncode == 0)
        self.docker("pull", "-q", image)
        self.version = self.docker("version", "-f", "{{.Server.Version}}").stdout.strip()
        self.cpu = Cpu({"dockerd, containerd, shims, runc": f"/{key}/docker/daemon", "containers": f"/{key}/docker/c"})
        self.cli = Cpu({"docker command": f"/{key}/docker-cli"})
        self.names = []

    def docker(self, *words, check=True):
        process = spawn(f"/{self.key}/docker-cli", ["/usr/bin/docker", "-H", f"unix://{self.dir}/sock", *words],
                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = process.communicate()
        if check and process.returncode:
            raise SystemExit(f"docker {words}: {err}")
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def parallel(self, items, parallel, work):
        """Milliseconds that each took, with that many at the same time."""
        waiting, each, began = list(items), [], time.monotonic()
        def worker():
            while waiting:
                try:
                    item = waiting.pop(0)
                except IndexError:
                    return
                start = time.monotonic()
                work(item)
                each.append((time.monotonic() - start) * 1000)
        threads = [threading.Thread(target=worker) for _ in range(parallel)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {"each_ms": each, "wall_ms": (time.monotonic() - began) * 1000}

    def start(self, count, parallel, network):
        names = [f"b{time.monotonic_ns()}-{n}" for n in range(count)]
        self.names += names
        return self.parallel(names, parallel, lambda name: self.docker(
            "run", "-d", "--name", name, "--network", network, "--memory", "16m", self.image, *COMMAND))

    def stop(self, parallel):
        names, self.names = self.names, []
        return self.parallel(names, parallel, lambda name: self.docker("rm", "-f", name))

    def get(self, path):
        connection = http.client.HTTPConnection("docker")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.dir / "sock"))
        connection.request("GET", path)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def swarm(self):
        self.docker("swarm", "init", "--advertise-addr", ADDRESS)
        self.docker("service", "create", "-d", "--name", "s", "--replicas", "0", "--limit-memory", "16m", self.image,
                    *COMMAND)

    def scale(self, count):
        began = time.monotonic()
        self.docker("service", "scale", "-d", f"s={count}")
        def there():
            tasks = self.get('/tasks?filters={"service":["s"],"desired-state":["running"]}')
            return len(self.get("/containers/json")) == count and sum(t["Status"]["State"] == "running" for t in tasks) == count
        until(f"swarm at {count}", there, 0.02)
        return {"each_ms": [], "wall_ms": (time.monotonic() - began) * 1000}

    def close(self):
        self.docker("swarm", "leave", "--force", check=False)
        end(self.daemon)
        # What containers with the host's network were given stays mounted.
        for mount in (self.dir / "exec/netns").glob("*"):
            subprocess.run(["umount", "--lazy", mount], capture_output=True)


def clean(key):
    """Removes the cgroups made here, in every hierarchy; processes that outlived their daemon are ended first."""
    for hierarchy in every_hierarchy():
        for group in sorted((hierarchy / key).rglob("*"), reverse=True) if (hierarchy / key).exists() else []:
            if group.is_dir():
                remove(group)
        if (hierarchy / key).exists():
            remove(hierarchy / key)


def remove(group):
    for pid in (group / "cgroup.procs").read_text().split():
        if int(pid) != os.getpid():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
    def gone():
        try:
            group.rmdir()
            return True
        except OSError:
            return False
    until(f"{group} empty", gone)
