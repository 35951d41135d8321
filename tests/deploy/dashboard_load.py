"""A small quantd at work, for dashboards: replicas under mixed jobs, a run that is watched, a live Prometheus."""

import json
import os
import shutil
import struct
import subprocess
import threading

from harness import BIN_DIR, Child, Prometheus, Replica, free_port, need

import checkpoint  # harness says where it is

MODEL = "llama-small"
LINGERING = ["--method", "aqlm", "--layout", "plain", "--beam"]


def make_certificate(folder):
    """A certificate of 127.0.0.1, good for 30 days, that signs itself: (certificate, key)."""
    certificate, key = os.path.join(folder, "tls.crt"), os.path.join(folder, "tls.key")
    subprocess.run([need("openssl"), "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-days", "30", "-subj", "/CN=quantd",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key],
                   check=True, capture_output=True)
    return certificate, key


class PodPrometheus(Prometheus):
    def set_pods(self, pods):
        """pod name -> HOST:PORT, labelled as the targets of a PodMonitor are."""
        groups = [{"targets": [target], "labels": {**self.labels, "pod": pod}} for pod, target in pods.items()]
        with open(self._targets + ".new", "w", encoding="utf-8") as file:
            json.dump(groups, file)
        os.replace(self._targets + ".new", self._targets)


class Load:
    """Context manager. `layers` and `beam` say how long the watched run lasts: tens of seconds to minutes."""

    def __init__(self, folder, layers=12, beam=32, rules=(), extra=()):
        self.folder, self.beam = folder, beam
        self.model = checkpoint.Model(self.path("models", MODEL), layers=layers, hidden=256, ffn=512)
        self.small = checkpoint.Model(self.path("models", "small"), layers=2)
        self._write_statistics(layers)
        self.rules, self.extra = rules, extra
        self._stop, self._failures, self._children = threading.Event(), [], []

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def _write_statistics(self, layers):
        # Hessians that differ from layer to layer: layers that share one go to the server in one request.
        own = {f"{module}.hessian": checkpoint.hessian(columns, 0.3 + 0.6 * int(module.split(".")[2]) / layers)
               for module, (_, columns) in self.model.modules().items()}
        checkpoint.write_statistics(self.path("model.st"), self.model, own)
        checkpoint.write_statistics(self.path("small.st"), self.small)
        n = self.small.hidden
        flat = ("F32", [n, n], struct.pack("<f", 1.0) * (n * n))  # of rank one: no damping, no factor
        checkpoint.write_statistics(self.path("flat.st"), self.small, {"model.layers.0.self_attn.o_proj.hessian": flat})

    def __enter__(self):
        self._thread = threading.Thread(target=self._work)
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        self._thread.start()
        return self

    def _start(self):
        self.certificate, key = make_certificate(self.folder)
        self.replicas = [self._keep(Replica(self.folder, extra=["--threads", "1"])) for _ in range(2)]
        # Memory for one job and no queue: others that come meanwhile are refused, and sent again.
        self.full = self._keep(Replica(self.folder, extra=["--tls-cert", self.certificate, "--tls-key", key,
                                                           "--budget", "16mb", "--max-queued-jobs", "0"]))
        self.client_port = free_port()
        self.prometheus = self._keep(PodPrometheus(self.folder, rules=self.rules, extra=self.extra))
        self.prometheus.set_pods({
            "quantd-0": self.replicas[0].metrics_target, "quantd-1": self.replicas[1].metrics_target,
            "quantd-tls": self.full.metrics_target, "quantctl": f"127.0.0.1:{self.client_port}"})
        self.run = self._keep(Child(self._quantctl(
            "quantize", self.model.folder, "-o", self.path("watched"), *LINGERING, str(self.beam), "--jobs", "2",
            "--statistics", self.path("model.st"), "--server", self.replicas[1].target,
            "--metrics-listen", f"127.0.0.1:{self.client_port}",
            "--metrics-linger", "3600"), self.path("watched.log")))

    def _keep(self, child):
        self._children.append(child)
        return child

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._end()

    def _end(self):
        for child in reversed(self._children):
            if child.running():
                child.kill()

    def _quantctl(self, *arguments):
        return [os.path.join(BIN_DIR, "quantctl"), *arguments]

    def _work(self):
        try:
            while not self._stop.is_set():
                for command in self._jobs(self.replicas[0].target):
                    if self._stop.is_set():
                        return
                    self._job(command)
                shutil.rmtree(self.path("out"))
        except Exception as error:  # told by check(), in the test's own thread
            self._failures.append(str(error))

    def _job(self, command):
        done = subprocess.run(self._quantctl(*command), capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise RuntimeError(f"{command}: exit code {done.returncode}\n{done.stderr}")

    def _jobs(self, target):
        """Commands of one round: several methods, one DEGRADED weight, jobs that are refused at first."""
        def quantize(name, method, statistics, *extra, server=target):
            return ["quantize", self.small.folder, "-o", self.path("out", name), "--method", method,
                    "--statistics", self.path(statistics), "--server", server, *extra]

        os.makedirs(self.path("out"))
        yield quantize("rtn", "rtn", "small.st", "--bits", "8")
        yield quantize("gptq", "gptq", "small.st")
        yield quantize("hqq", "hqq", "small.st")
        yield quantize("flat", "gptq", "flat.st", "--damping", "0", "--on-degraded", "accept")
        yield ["dequantize", self.path("out", "rtn"), "-o", self.path("out", "dense"), "--server", target]
        yield quantize("refused", "awq", "small.st", "--jobs", "4", "--tls-ca", self.certificate,
                       server=self.full.target)

    def check(self):
        """Raises what went wrong with the jobs, or with the watched run."""
        if self._failures:
            raise RuntimeError(self._failures[0])
        if not self.run.running() and self.run.process.returncode != 0:
            raise RuntimeError(self.run.output())
