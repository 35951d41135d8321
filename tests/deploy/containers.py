"""Buildah and podman with a state of their own: the committed Dockerfile built and run, no registry, nothing shared.

QUANTD_CONTAINERS        folder for images, containers and their files (default: build/containers); kept between runs
QUANTD_CONTAINER_CCACHE  compiler cache that the build may use (default: the one ccache uses here; empty: none)

Always with the host's network: a bridge would leave packet filter tables behind on the machine.
"""

import functools
import glob
import itertools
import json
import os
import shutil
import subprocess
import tempfile

import harness

STATE = os.path.abspath(os.environ.get("QUANTD_CONTAINERS", os.path.join(harness.ROOT, "build", "containers")))
IMAGE = "localhost/quantd:0.1.0"
BASE = "localhost/debian:bookworm-slim"
SOURCE = "https://quantd.example/source"
TOOLS = ("buildah", "podman", "runc", "conmon", "debootstrap", "catatonit")
NUMBERS = itertools.count()

# What the published slim image leaves out, for what apt installs later too.
SLIM = "".join(f"path-exclude /usr/share/{name}/*\n" for name in ("man", "doc", "info", "locale", "lintian"))
SLIM += "path-include /usr/share/doc/*/copyright\n"


def _config():
    """File name -> text. podman asks for more open files than a container manager without CAP_SYS_RESOURCE may give."""
    return {
        "storage.conf": f'[storage]\ndriver = "overlay"\nrunroot = "{STATE}/run"\ngraphroot = "{STATE}/store"\n',
        "registries.conf": "unqualified-search-registries = []\n",
        "containers.conf": f"""[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{STATE}/run/libpod"
[network]
network_backend = "netavark"
network_config_dir = "{STATE}/networks"
""",
    }


def environment():
    return {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": os.path.join(STATE, "storage.conf"),
        "CONTAINERS_REGISTRIES_CONF": os.path.join(STATE, "registries.conf"),
        "CONTAINERS_CONF": os.path.join(STATE, "containers.conf"),
        "TMPDIR": os.path.join(STATE, "tmp"),
        "BUILDAH_ISOLATION": "chroot",
    }


def run(*command, code=0, timeout=600, **options):
    """A command with this state; CalledProcessError with its output unless it ends with `code` (None: any)."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment(), **options)
    if code is not None and done.returncode != code:
        raise RuntimeError(f"{' '.join(command)}: ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def prepare():
    """The state's folders and the base image, or a skip with the reason."""
    harness.need(*TOOLS)
    if os.geteuid() != 0:
        harness.missing("building a base image needs root")
    for name in ("tmp", "store", "run", "networks"):
        os.makedirs(os.path.join(STATE, name), exist_ok=True)
    for name, text in _config().items():
        with open(os.path.join(STATE, name), "w", encoding="utf-8") as file:
            file.write(text)
    if run("buildah", "inspect", "--type", "image", BASE, code=None).returncode != 0:
        _make_base()


def _mirror():
    """Where this machine's apt takes bookworm from."""
    targets = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages").stdout
    for line in targets.splitlines():
        uri, codename = line.split()
        if codename == "bookworm":
            return uri
    return harness.missing("apt has no source for Debian 12 (bookworm)")


def _make_base():
    """What debian:bookworm-slim holds, from the machine's own mirror, under that name."""
    root = tempfile.mkdtemp(dir=os.path.join(STATE, "tmp"))
    try:
        run("debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", root, _mirror())
        _slim(root)
        container = run("buildah", "from", "scratch").stdout.strip()
        run("buildah", "add", "--quiet", container, root, "/")
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        run("buildah", "config", "--cmd", "bash", "--env", path, container)
        run("buildah", "commit", "--quiet", "--rm", container, BASE)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _slim(root):
    with open(os.path.join(root, "etc/dpkg/dpkg.cfg.d/docker"), "w", encoding="utf-8") as file:
        file.write(SLIM)
    for pattern in ("var/cache/apt/archives/*.deb", "var/cache/apt/*.bin", "var/lib/apt/lists/*_*", "var/log/*.log",
                    "etc/apt/sources.list"):
        for path in glob.glob(os.path.join(root, pattern)):
            os.remove(path)
    for name in ("man", "info", "locale", "lintian"):
        shutil.rmtree(os.path.join(root, "usr/share", name), ignore_errors=True)
    for folder, _, names in os.walk(os.path.join(root, "usr/share/doc")):
        for name in names:
            if name != "copyright":
                os.remove(os.path.join(folder, name))
    for path in glob.glob("/etc/apt/sources.list.d/*.sources") + glob.glob("/etc/apt/sources.list"):
        shutil.copy(path, os.path.join(root, os.path.relpath(path, "/")))


def _git(*arguments):
    done = subprocess.run(["git", "-C", harness.ROOT, *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


@functools.cache  # of one moment, even when a commit is made while the tests run
def labels():
    """The build arguments that name what is built; of the commit, so that an unchanged tree is an unchanged image."""
    created = int(_git("log", "-1", "--format=%ct") or 0)
    return {
        "QUANTD_REVISION": _git("rev-parse", "HEAD") or "unknown",
        "QUANTD_CREATED": run("date", "-u", "-d", f"@{created}", "+%Y-%m-%dT%H:%M:%SZ").stdout.strip(),
        "QUANTD_SOURCE": SOURCE,
    }


def _ccache():
    offered = os.environ.get("QUANTD_CONTAINER_CCACHE")
    if offered is None and shutil.which("ccache"):
        offered = run("ccache", "--get-config", "cache_dir").stdout.strip()
    return ["--volume", f"{offered}:/ccache"] if offered and os.path.isdir(offered) else []


def build(context=harness.ROOT):
    """The committed Dockerfile, unchanged; layers that are current are kept. What the build printed.

    Docker's format, since OCI's keeps no health check.
    """
    prepare()
    arguments = [word for name, value in labels().items() for word in ("--build-arg", f"{name}={value}")]
    done = run("buildah", "bud", "--format", "docker", "--layers", "--pull-never", *_ccache(), *arguments,
               "--tag", IMAGE, "--file", os.path.join(context, "Dockerfile"), context, timeout=3600)
    run("podman", "image", "prune", "--force", "--filter", "until=72h")
    return done.stdout + done.stderr


def inspect(kind, name):
    return json.loads(run("podman", kind, "inspect", name).stdout)[0]


def run_once(*command, code=0):
    """A program of the image, by itself; what it printed."""
    program, *arguments = command
    done = run("podman", "run", "--rm", "--pull=never", "--network=host", "--read-only", "--no-healthcheck",
               f"--entrypoint={program}", IMAGE, *arguments, code=code)
    return done.stdout + done.stderr


class Mounted:
    """The image's files, below `root`."""

    def __init__(self):
        self._container = run("buildah", "from", "--pull-never", IMAGE).stdout.strip()
        self.root = run("buildah", "mount", self._container).stdout.strip()

    def path(self, *names):
        return os.path.join(self.root, *names)

    def close(self):
        run("buildah", "umount", self._container)
        run("buildah", "rm", self._container)


class Running:
    """A container of this state that runs quantd, whoever started it."""

    def __init__(self, name, metrics_port):
        self.name = name
        self.metrics_port = metrics_port

    def wait_serving(self):
        harness.wait_until(lambda: self.events("start") or not self.running(), f"{self.name} to serve")
        if not self.running():
            raise RuntimeError(self.logs())
        return self

    def state(self):
        return inspect("container", self.name)["State"]

    def running(self):
        return self.state()["Running"]

    def logs(self):
        done = run("podman", "logs", self.name)
        return done.stdout + done.stderr

    def log_lines(self):
        return [json.loads(line) for line in self.logs().splitlines() if line.startswith("{")]

    def events(self, name):
        return [line for line in self.log_lines() if line["event"] == name]

    def metrics(self):
        return harness.fetch(f"http://127.0.0.1:{self.metrics_port}/metrics")

    def execute(self, *command, code=0):
        done = run("podman", "exec", self.name, *command, code=code)
        return done.stdout + done.stderr

    def stop(self, seconds):
        """SIGTERM, SIGKILL after `seconds`; the exit code."""
        run("podman", "stop", "--time", str(seconds), self.name)
        return self.state()["ExitCode"]

    def cgroup_value(self, controller, name):
        """What the kernel holds for the container, read from the host's cgroup files (version 1 or 2)."""
        with open(f"/proc/{self.state()['Pid']}/cgroup", encoding="utf-8") as file:
            paths = {tuple(line.split(":")[1].split(",")): line.strip().split(":", 2)[2] for line in file}
        for controllers, path in paths.items():
            if controller in controllers:
                return _read(f"/sys/fs/cgroup/{controller}{path}/{name}")
        return _read(f"/sys/fs/cgroup{paths[('',)]}/{name}")


class Container(Running):
    """quantd in a container, on free ports of the loopback; `options` are podman's, `arguments` quantd's."""

    def __init__(self, options=(), arguments=(), port=0, health_port=0):
        super().__init__(f"quantd-test-{os.getpid()}-{next(NUMBERS)}", harness.free_port())
        self.port, self.health_port = port or harness.free_port(), health_port or harness.free_port()
        self.target = f"127.0.0.1:{self.port}"
        run("podman", "run", "--detach", "--name", self.name, "--pull=never", "--network=host", *options, IMAGE,
            "--listen", self.target, "--health-listen", f"127.0.0.1:{self.health_port}",
            "--metrics-listen", f"127.0.0.1:{self.metrics_port}", *arguments)

    def remove(self):
        run("podman", "rm", "--force", "--time", "0", "--ignore", self.name)


def _read(path):
    with open(path, encoding="utf-8") as file:
        return file.read().strip()
