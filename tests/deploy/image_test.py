"""The container image: built from the committed Dockerfile, looked into, and run under every restriction a pod has."""

import hashlib
import json
import os
import re
import subprocess
import urllib.parse

import containers
import harness
from containers import Container, Mounted
from fleet import total

import checkpoint  # after harness, which says where it is

SIZE_LIMIT = 200_000_000
MIB = 1 << 20
MEMORY, PIDS, CPUS = 1024 * MIB, 128, 1.5
# What the Deployment asks for, in podman's words. Not even podman's own folders in memory (/tmp, /run) are writable.
RESTRICTED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges",
              f"--memory={MEMORY}", f"--memory-swap={MEMORY}", f"--pids-limit={PIDS}", f"--cpus={CPUS}")
BUILD_TOOLS = re.compile(
    r"(.*-)?(gcc|g\+\+|cc|c\+\+|cpp|as|ld|clang|clang\+\+|make|cmake|ninja|ccache|protoc)(-[\d.]+)?")


def setUpModule():
    print(containers.build()[-400:])


class ImageTest(harness.DeployTest):
    """What the image is."""

    @classmethod
    def setUpClass(cls):
        cls.image = containers.inspect("image", containers.IMAGE)
        cls.mounted = Mounted()
        cls.addClassCleanup(cls.mounted.close)

    def test_configuration(self):
        config = self.image["Config"]
        self.assertEqual(config["User"], "10001:10001")
        self.assertEqual(config["Entrypoint"], ["/usr/local/bin/quantd"])
        self.assertFalse(config.get("Cmd"))
        self.assertEqual(sorted(config["ExposedPorts"]), ["50051/tcp", "50052/tcp", "9464/tcp"])
        self.assertEqual(config["StopSignal"], "SIGTERM")
        self.assertEqual(self.image["Healthcheck"]["Test"], ["CMD", "/usr/local/bin/quantd", "health"])
        self.assertNotIn("Volumes", config)

    def test_labels_say_what_was_built(self):
        labels = {name.removeprefix("org.opencontainers.image."): value
                  for name, value in self.image["Config"]["Labels"].items() if name.startswith("org.opencontainers.")}
        expected = containers.labels()
        self.assertEqual(labels.pop("revision"), expected["QUANTD_REVISION"])
        self.assertEqual(labels.pop("created"), expected["QUANTD_CREATED"])
        self.assertEqual(labels.pop("source"), expected["QUANTD_SOURCE"])
        version = labels.pop("version")
        for name in ("title", "description", "licenses", "base.name"):
            self.assertTrue(labels.pop(name), name)
        self.assertEqual(labels, {})
        self.assertIn(version, containers.run_once("quantctl", "--version").split()[:2])
        self.assertIn(version, containers.run_once("quantd", "--version", "--insecure").split()[:2])

    def test_no_build_tools_no_package_lists_no_setuid(self):
        found = []
        for folder, _, names in os.walk(self.mounted.root):
            for path in (os.path.join(folder, name) for name in names):
                if os.path.islink(path) or not os.path.isfile(path):
                    continue
                status = os.stat(path)
                executable = status.st_mode & 0o111 and BUILD_TOOLS.fullmatch(os.path.basename(path))
                unpacked = "/var/lib/apt/lists/" in path or path.endswith((".deb", ".a", ".o"))
                # Files that the container's user could change, were the root writable.
                writable = status.st_uid == 10001 or status.st_gid == 10001 or status.st_mode & 0o002
                if executable or unpacked or writable or status.st_mode & 0o6000:
                    found.append(f"{path} {status.st_mode:o} {status.st_uid}")
        self.assertEqual(found, [])

    def test_all_libraries_are_there(self):
        for program in ("quantd", "quantctl"):
            linked = containers.run_once("ldd", f"/usr/local/bin/{program}")
            self.assertIn("libgrpc++.so", linked)
            self.assertNotIn("not found", linked)
        self.assertIn("OpenBLAS", containers.run_once("quantd", "--version", "--insecure"))

    def test_size(self):
        print(f"image: {self.image['Size'] / 1e6:.1f} MB")
        self.assertLess(self.image["Size"], SIZE_LIMIT)

    def test_bill_of_materials_is_valid_and_complete(self):
        path = self.mounted.path("usr/share/quantd/sbom.spdx.json")
        self.run_tool(harness.need("pyspdxtools"), "--infile", path)
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        expected = containers.labels()
        self.assertEqual(document["creationInfo"]["created"], expected["QUANTD_CREATED"])
        packages = {package["SPDXID"]: package for package in document["packages"]}
        described = {relation["relatedSpdxElement"] for relation in document["relationships"]
                     if relation["relationshipType"] == "DESCRIBES"}
        linked = {relation["relatedSpdxElement"] for relation in document["relationships"]
                  if relation["relationshipType"] == "STATIC_LINK"}
        self.assertEqual(described | linked, set(packages))
        installed = containers.run_once("dpkg-query", "-W", "-f", r"${Package} ${Version} ${Architecture}\n")
        self.assertEqual(sorted(self._purl(packages[ref]) for ref in described if self._is_debian(packages[ref])),
                         sorted(installed.splitlines()))
        self.assertEqual({packages[ref]["name"] for ref in linked}, {"libcli11-dev", "nlohmann-json3-dev"})
        binaries = {packages[ref]["name"]: packages[ref] for ref in described if not self._is_debian(packages[ref])}
        self.assertEqual(sorted(binaries), ["quantctl", "quantd"])
        for name, package in binaries.items():
            with open(self.mounted.path("usr/local/bin", name), "rb") as file:
                self.assertEqual(package["checksums"][0]["checksumValue"], hashlib.sha256(file.read()).hexdigest())
            self.assertEqual(package["sourceInfo"], f"revision {expected['QUANTD_REVISION']}")

    @staticmethod
    def _is_debian(package):
        return "externalRefs" in package

    @staticmethod
    def _purl(package):
        """"NAME VERSION ARCHITECTURE" of a package URL."""
        locator = package["externalRefs"][0]["referenceLocator"]
        parts = re.fullmatch(r"pkg:deb/debian/(.+)@(.+)\?arch=(\w+)&distro=debian-12", locator)
        name, version, architecture = parts.groups()
        return f"{urllib.parse.unquote(name)} {urllib.parse.unquote(version)} {architecture}"

    def test_quantctl_is_in_the_image(self):
        self.assertEqual(containers.run_once("quantctl", "methods", "gptq"),
                         self.quantctl("methods", "gptq").stdout)

    def test_plain_text_on_all_addresses_must_be_asked_for(self):
        said = containers.run_once("quantd", code=2)
        self.assertIn("0.0.0.0:50051", said)
        self.assertIn("--insecure", said)


class RunTest(harness.DeployTest):
    """What the image does."""

    def container(self, options=RESTRICTED, **more):
        container = Container(options, **more)
        self.addCleanup(container.remove)
        return container.wait_serving()

    def model(self, **arguments):
        checkpoint.Model(self.path("model"), **{"layers": 1, "hidden": 256, "ffn": 512, **arguments})
        return self.path("model")

    def test_restrictions_hold_and_it_serves(self):
        container = self.container()
        status = dict(line.split(":\t", 1) for line in container.execute("cat", "/proc/1/status").splitlines())
        self.assertEqual(status["Uid"].split(), ["10001"] * 4)
        self.assertEqual(status["Gid"].split(), ["10001"] * 4)
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[name], 16), 0, name)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Seccomp"], "2")
        for folder in ("/tmp", "/run", "/var/tmp"):
            self.assertIn("Read-only file system", container.execute("touch", f"{folder}/file", code=1))
        self._check_limits(container)
        self._check_same_bytes(container)

    def _check_limits(self, container):
        if os.path.isdir("/sys/fs/cgroup/memory"):
            names = ("memory.limit_in_bytes", "cpu.cfs_quota_us")
            self.assertEqual(container.cgroup_value("cpu", "cpu.cfs_period_us"), "100000")
            quota = "150000"
        else:
            names = ("memory.max", "cpu.max")
            quota = "150000 100000"
        self.assertEqual(container.cgroup_value("memory", names[0]), str(MEMORY))
        self.assertEqual(container.cgroup_value("cpu", names[1]), quota)
        self.assertEqual(container.cgroup_value("pids", "pids.max"), str(PIDS))
        # The server saw them too.
        start = container.events("start")[0]
        self.assertEqual(start["memory_limit_bytes"], MEMORY)
        self.assertIn(start["threads"], (1, 2))
        self.assertEqual(container.events("memory"), [])

    def _check_same_bytes(self, container):
        model = self.model()
        flags = ["--method", "hqq", "--group-size", "64"]
        self.quantctl("quantize", model, "-o", self.path("served"), "--server", container.target, *flags)
        self.quantctl("quantize", model, "-o", self.path("embedded"), *flags)
        self.assertEqual(total(container.metrics(), "quantd_jobs_total", method="hqq", outcome="ok"), 7)
        self.assertEqual(checkpoint.folder_files(self.path("served")), checkpoint.folder_files(self.path("embedded")))

    def test_health(self):
        container = self.container()
        container.execute("quantd", "health", f"127.0.0.1:{container.health_port}")
        container.execute("quantd", "health", f"127.0.0.1:{container.health_port}", "--service", "liveness")
        container.execute("quantd", "health", f"127.0.0.1:{harness.free_port()}", code=1)

    def test_the_images_own_health_check(self):
        container = self.container(health_port=50052)
        check = ("podman", "healthcheck", "run", container.name)
        harness.wait_until(lambda: containers.run(*check, code=None).returncode == 0, "the health check to succeed")

    def test_writes_nothing_where_it_could(self):
        container = self.container(options=("--read-only-tmpfs=false",))
        self.quantctl("quantize", self.model(), "-o", self.path("out"), "--server", container.target)
        self.assertEqual(container.stop(30), 0)
        changed = containers.run("podman", "diff", container.name).stdout.splitlines()
        # podman itself puts hosts and resolv.conf there.
        self.assertEqual([line for line in changed if line != "C /etc"], [])

    def test_stop_lets_running_jobs_end(self):
        first = self.container(arguments=("--drain-seconds", "100"))
        # All its rounds: some seconds a layer on these CPUs.
        flags = ["--method", "hqq", "--set", "fit-iterations=1000,beta=1,kappa=1"]
        command = [os.path.join(harness.BIN_DIR, "quantctl"), "quantize", self.model(hidden=768, ffn=1024), *flags]
        run = self.started(harness.Child([*command, "-o", self.path("served"), "--server", first.target, "--jobs", "2"],
                                         self.path("run.log")))
        harness.wait_until(lambda: total(first.metrics(), "quantd_pool_busy_threads"), "a job to run")
        self.assertEqual(first.stop(120), 0)
        lines = first.log_lines()
        drain = next(i for i, line in enumerate(lines) if line["event"] == "drain")
        ended = [line["outcome"] for line in lines[drain:] if line["event"] == "job"]
        self.assertGreaterEqual(lines[drain]["running_jobs"], 1)
        self.assertEqual(ended.count("ok"), lines[drain]["running_jobs"])
        self.assertEqual((lines[-1]["event"], lines[-1]["end"]), ("stop", "idle"))
        # The rest of the run goes to the container's successor, and nothing shows in what was written.
        second = self.container(port=first.port)
        self.assertEqual(run.process.wait(harness.WAIT_SECONDS), 0, run.output())
        self.assertGreaterEqual(total(second.metrics(), "quantd_jobs_total", outcome="ok"), 1)
        self.run_tool(*command, "-o", self.path("embedded"))
        self.assertEqual(checkpoint.folder_files(self.path("served")), checkpoint.folder_files(self.path("embedded")))

    def test_too_little_memory_refuses_jobs_instead_of_dying(self):
        limit = 256 * MIB
        container = self.container(options=(*RESTRICTED, f"--memory={limit}", f"--memory-swap={limit}"))
        warning = container.events("memory")[0]
        self.assertEqual((warning["level"], warning["memory_limit_bytes"]), ("warning", limit))
        self.assertGreater(warning["asked_bytes"], limit)
        budget = container.events("start")[0]["budget_bytes"]
        checkpoint.Model(self.path("large"), layers=1, hidden=2048, ffn=4096)
        refused = self.quantctl("quantize", self.path("large"), "-o", self.path("no"), "--server", container.target,
                                code=2)
        self.assertRegex(refused.stderr, rf"needs \d+ bytes on the server, more than its whole budget of {budget}")
        # What fits is done, however much of it comes at once.
        small = self.model(layers=4, hidden=512, ffn=1024)
        self.quantctl("quantize", small, "-o", self.path("out"), "--server", container.target, "--jobs", "64",
                      "--channels", "4")
        # 137 if the kernel had ended it (podman's OOMKilled stays false then, under version 1 of cgroups).
        self.assertTrue(container.running())
        self.assertEqual(container.stop(30), 0)


if __name__ == "__main__":
    harness.unittest.main()
