"""The production overlay as one pod: what kustomize renders, run by `podman kube play` and quantized through.

podman 4.3 knows neither gRPC probes nor preStop nor the grace period, and skips the kinds it has no use for (Service,
PodDisruptionBudget, NetworkPolicy, those of the operators). What it applies is tested here: the environment from the
ConfigMap, user, capabilities, read-only root, seccomp and the memory limit.
"""

import os

import yaml

import containers
import harness
from fleet import total

import checkpoint  # after harness, which says where it is

OVERLAY = os.path.join(harness.DEPLOY, "k8s", "overlays", "cpu")
POD = "spec.template.spec"
CONTAINER = POD + ".containers.0"
# All that differs from what is rendered: kind of the object named quantd, path, value (None: taken away), why.
ADAPTATIONS = (
    ("Deployment", "spec.replicas", 1, "podman runs one; the manifest leaves the number to the ScaledObject"),
    ("Deployment", CONTAINER + ".image", containers.IMAGE, "where buildah put it: there is no registry"),
    ("Deployment", CONTAINER + ".imagePullPolicy", "Never", "likewise"),
    ("Deployment", POD + ".hostNetwork", True, "a bridge would leave packet filter tables on the machine"),
    ("Deployment", CONTAINER + ".ports", None, "podman 4.3 refuses ports on the host's network"),
    ("ConfigMap", "data.QUANTD_LISTEN", "0.0.0.0:{grpc}", "the machine's network has other users: free ports"),
    ("ConfigMap", "data.QUANTD_HEALTH_LISTEN", "0.0.0.0:{health}", "likewise"),
    ("ConfigMap", "data.QUANTD_METRICS_LISTEN", "0.0.0.0:{metrics}", "likewise"),
)


def setUpModule():
    containers.build()


def adapt(objects, ports):
    """Applies the table; an object or a parent that is not there is an error."""
    for kind, path, value, _ in ADAPTATIONS:
        at, = (one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, "quantd"))
        *parents, last = path.split(".")
        for name in parents:
            at = at[int(name) if isinstance(at, list) else name]
        if value is None:
            del at[last]
        else:
            at[last] = value.format(**ports) if isinstance(value, str) else value


class KubePlayTest(harness.DeployTest):
    def setUp(self):
        super().setUp()
        rendered = self.run_tool(harness.need("kubectl"), "kustomize", OVERLAY).stdout
        self.objects = list(yaml.safe_load_all(rendered))
        self.config, = (one["data"] for one in self.objects
                        if (one["kind"], one["metadata"]["name"]) == ("ConfigMap", "quantd"))
        self.ports = {name: harness.free_port() for name in ("grpc", "health", "metrics")}
        self.manifest = self.path("pod.yaml")

    def play(self):
        """The pod's container, once it serves."""
        adapt(self.objects, self.ports)
        with open(self.manifest, "w", encoding="utf-8") as file:
            yaml.safe_dump_all(self.objects, file)
        self.addCleanup(containers.run, "podman", "kube", "down", self.manifest)
        said = containers.run("podman", "kube", "play", self.manifest).stdout.split()
        return containers.Running(said[said.index("Container:") + 1], self.ports["metrics"]).wait_serving()

    def test_the_pod_serves(self):
        container = self.play()
        self._check_security(container)
        start, = container.events("start")
        self.assertEqual(start["memory_limit_bytes"], 8 << 30)
        self.assertEqual(start["budget_bytes"], 7 << 30)
        self.assertEqual(container.events("memory"), [])
        container.execute("quantd", "health", f"127.0.0.1:{self.ports['health']}")

        checkpoint.Model(self.path("model"), layers=1, hidden=256, ffn=512)
        target = f"127.0.0.1:{self.ports['grpc']}"
        self.quantctl("quantize", self.path("model"), "-o", self.path("served"), "--server", target)
        self.assertEqual(total(container.metrics(), "quantd_jobs_total", outcome="ok"), 7)
        kernel = {**os.environ, "OPENBLAS_CORETYPE": self.config["OPENBLAS_CORETYPE"]}
        self.quantctl("quantize", self.path("model"), "-o", self.path("embedded"), env=kernel)
        self.assertEqual(checkpoint.folder_files(self.path("served")), checkpoint.folder_files(self.path("embedded")))
        self.assertEqual(container.stop(30), 0)

    def _check_security(self, container):
        status = dict(line.split(":\t", 1) for line in container.execute("cat", "/proc/1/status").splitlines())
        self.assertEqual((status["Uid"].split()[0], status["Gid"].split()[0]), ("10001", "10001"))
        self.assertEqual(int(status["CapBnd"], 16), 0)
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
        self.assertIn("Read-only file system", container.execute("touch", "/file", code=1))
        environment = container.execute("cat", "/proc/1/environ").split("\0")
        self.assertIn(f"OPENBLAS_CORETYPE={self.config['OPENBLAS_CORETYPE']}", environment)


if __name__ == "__main__":
    harness.unittest.main()
