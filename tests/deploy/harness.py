"""What every deployment test has: the shipped binaries as replicas, a live Prometheus, a name server, tools or a reason.

QUANTD_BIN_DIR        folder of quantd and quantctl (default: build/release/bin of this tree)
QUANTD_DEPLOY_STRICT  1: a missing tool fails the test instead of skipping it
"""

import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DEPLOY = os.path.join(ROOT, "deploy")
BIN_DIR = os.environ.get("QUANTD_BIN_DIR", os.path.join(ROOT, "build", "release", "bin"))
VENV = os.path.join(ROOT, "build", "deploy-venv")
STRICT = os.environ.get("QUANTD_DEPLOY_STRICT") == "1"
WAIT_SECONDS = 120

sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
for site in glob.glob(os.path.join(VENV, "lib", "python3*", "site-packages")):
    sys.path.append(site)
os.environ["PATH"] = os.path.join(VENV, "bin") + os.pathsep + os.environ["PATH"]


def wait_until(condition, what, seconds=WAIT_SECONDS):
    """The first true value of `condition()`; TimeoutError naming `what` when none comes."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.02)
    return value


def free_port(host="127.0.0.1"):
    """A port nobody listens on now; for programs that cannot take port 0 themselves."""
    with socket.create_server((host, 0)) as listener:
        return listener.getsockname()[1]


def fetch(url, timeout=10):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode()


def need(*tools):
    """Paths of the tools; without one of them the test is skipped, or fails under QUANTD_DEPLOY_STRICT=1."""
    paths = []
    for tool in tools:
        path = shutil.which(tool)
        if path is None:
            missing(f"{tool} is not installed (make deploy installs it)")
        paths.append(path)
    return paths[0] if len(paths) == 1 else paths


def missing(reason):
    if STRICT:
        raise AssertionError(reason)
    raise unittest.SkipTest(reason)


class Child:
    """A process that is stopped with the test; what it printed stays in a file."""

    def __init__(self, command, log, **options):
        self.log = log
        with open(log, "ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, **options)

    def running(self):
        return self.process.poll() is None

    def output(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def terminate(self):
        if self.running():
            self.process.send_signal(signal.SIGTERM)

    def stop(self, seconds=WAIT_SECONDS):
        """SIGTERM, then the exit code."""
        self.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self):
        self.process.kill()
        self.process.wait()


class Replica(Child):
    """quantd on an address of its own. `port` 0 takes a free one; metrics likewise."""

    def __init__(self, folder, host="127.0.0.1", port=0, metrics_port=0, extra=()):
        self.host = host
        name = os.path.join(folder, f"quantd-{host}-{time.monotonic_ns()}")
        port_file = name + ".json"
        command = [os.path.join(BIN_DIR, "quantd"), "--listen", f"{host}:{port}", "--port-file", port_file]
        command += ["--metrics-listen", f"{host}:{metrics_port}", *extra]
        super().__init__(command, name + ".log")
        wait_until(lambda: os.path.exists(port_file) or not self.running(), "quantd to listen")
        if not self.running():
            raise RuntimeError(f"quantd ended with {self.process.returncode}:\n{self.output()}")
        with open(port_file, encoding="utf-8") as file:
            ports = json.load(file)
        self.port, self.metrics_port, self.health_port = ports["grpc"], ports["metrics"], ports.get("health", 0)

    @property
    def target(self):
        return f"{self.host}:{self.port}"

    @property
    def metrics_target(self):
        return f"{self.host}:{self.metrics_port}"

    def metrics(self):
        return fetch(f"http://{self.metrics_target}/metrics")

    def status(self):
        return json.loads(fetch(f"http://{self.metrics_target}/status.json"))


class Prometheus(Child):
    """A Prometheus of its own, on a free port, that scrapes every second what `set_targets` names."""

    def __init__(self, folder, rules=(), labels=None, extra=()):
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.labels = labels or {"namespace": "quantd", "job": "quantd"}
        self._targets = os.path.join(folder, "targets.json")
        self.set_targets([])
        config = os.path.join(folder, "prometheus.yml")
        with open(config, "w", encoding="utf-8") as file:
            json.dump({
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": list(rules),
                "scrape_configs": [{
                    "job_name": "quantd",
                    "file_sd_configs": [{"files": [self._targets], "refresh_interval": "1s"}],
                }],
            }, file)
        super().__init__([need("prometheus"), f"--config.file={config}", f"--web.listen-address=127.0.0.1:{self.port}",
                          f"--storage.tsdb.path={os.path.join(folder, 'tsdb')}", "--log.level=warn", *extra],
                         os.path.join(folder, "prometheus.log"))
        wait_until(self._ready, "Prometheus to be ready")

    def _ready(self):
        if not self.running():
            raise RuntimeError(self.output())
        try:
            return fetch(self.url + "/-/ready")
        except OSError:
            return None

    def set_targets(self, targets):
        """HOST:PORT each; `instance` and `pod` are labels as a PodMonitor would set them."""
        groups = [{"targets": [target], "labels": {**self.labels, "pod": f"quantd-{target.replace(':', '-')}"}}
                  for target in targets]
        with open(self._targets + ".new", "w", encoding="utf-8") as file:
            json.dump(groups, file)
        os.replace(self._targets + ".new", self._targets)

    def api(self, path, **query):
        answer = json.loads(fetch(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"))
        if answer["status"] != "success":
            raise RuntimeError(answer)
        return answer["data"]

    def query(self, expression):
        """The series of an instant query: [(labels, value)]."""
        return [(one["metric"], float(one["value"][1])) for one in self.api("query", query=expression)["result"]]


class NameServer(Child):
    """dnsmasq that answers `name` with the addresses of `set_hosts`."""

    def __init__(self, folder, name="quantd.test"):
        self.name = name
        self.port = free_port()
        self._hosts = os.path.join(folder, "hosts")
        self._write([])
        super().__init__([need("dnsmasq"), "--no-daemon", "--no-resolv", "--no-hosts", f"--addn-hosts={self._hosts}",
                          f"--port={self.port}", "--listen-address=127.0.0.1", "--bind-interfaces",
                          "--conf-file=/dev/null", "--local-ttl=1", "--user=root"],
                         os.path.join(folder, "dnsmasq.log"))
        wait_until(lambda: "started" in self.output() or not self.running(), "dnsmasq to start")
        if not self.running():
            raise RuntimeError(self.output())

    def _write(self, addresses):
        with open(self._hosts + ".new", "w", encoding="utf-8") as file:
            file.write("".join(f"{address} {self.name}\n" for address in addresses))
        os.replace(self._hosts + ".new", self._hosts)

    def set_hosts(self, addresses):
        self._write(addresses)
        self.process.send_signal(signal.SIGHUP)

    def target(self, port):
        """A gRPC target that asks this server and no other."""
        return f"dns://127.0.0.1:{self.port}/{self.name}:{port}"


class DeployTest(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="quantd-deploy-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def started(self, child):
        """Kills the child with the test, whatever happens."""
        self.addCleanup(lambda: child.running() and child.kill())
        return child

    def replica(self, **arguments):
        return self.started(Replica(self.folder, **arguments))

    def run_tool(self, *command, code=0, **options):
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, **options)
        self.assertEqual(done.returncode, code, f"{command}\n{done.stdout}\n{done.stderr}")
        return done

    def quantctl(self, *arguments, **options):
        return self.run_tool(os.path.join(BIN_DIR, "quantctl"), *arguments, **options)
