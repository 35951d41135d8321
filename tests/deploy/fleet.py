"""Replicas of quantd behind one DNS name, as a headless Service has them, and quantctl runs against that name.

The name server, the Prometheus targets and the processes are kept together: a replica joins when it serves, and leaves the
way a pod leaves: out of the name, the preStop wait, SIGTERM, the drain.
"""

import json
import os
import re
import threading
import time

from harness import BIN_DIR, Child, NameServer, free_port

import checkpoint  # after harness, which says where it is

RETRY_LINE = re.compile(r"^request \d+: ([A-Z_]+): .*; again in ", re.MULTILINE)
SAMPLE_LINE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')
RUN_SECONDS = 300


def samples(text, name):
    """[(labels, value)] of one metric in the text that /metrics gives."""
    return [(dict(LABEL.findall(labels)), float(value))
            for found, labels, value in SAMPLE_LINE.findall(text) if found == name]


def total(text, name, **labels):
    return sum(value for found, value in samples(text, name) if labels.items() <= found.items())


def done_jobs(replica):
    return total(replica.metrics(), "quantd_jobs_total", outcome="ok")


def busy(replica):
    return total(replica.metrics(), "quantd_pool_busy_threads")


class Work:
    """A small checkpoint and how it is quantized. HQQ with a fixed penalty runs all its rounds, so `rounds` says how long a
    layer takes: on one core about 0.15 ms a round for hidden x hidden weights of 256, and twice that for the others."""

    def __init__(self, folder, layers, rounds, hidden=256, only=None):
        self.model = os.path.join(folder, f"model-{layers}-{hidden}")
        if not os.path.exists(self.model):
            checkpoint.Model(self.model, layers=layers, hidden=hidden, ffn=2 * hidden, dtype="BF16")
        self.count = layers if only else 7 * layers
        self.flags = ["--include", only] if only else []
        self.flags += ["--method", "hqq", "--group-size", "32", "--set", f"fit-iterations={rounds},beta=1,kappa=1"]


class Run(Child):
    """`quantctl quantize` in the background."""

    def __init__(self, folder, work, *flags):
        name = os.path.join(folder, f"run-{time.monotonic_ns()}")
        self.out = name + ".out"
        self.count = work.count
        super().__init__([os.path.join(BIN_DIR, "quantctl"), "quantize", work.model, "-o", self.out, *work.flags, *flags],
                         name + ".log")

    def code(self, seconds=RUN_SECONDS):
        return self.process.wait(seconds)

    def retries(self):
        """The status of every attempt that was followed by another."""
        return RETRY_LINE.findall(self.output())

    def outcomes(self):
        with open(os.path.join(self.out, "quantd-report.json"), encoding="utf-8") as file:
            return [tensor["outcome"] for tensor in json.load(file)["tensors"]]


class Fleet:
    """`extra` are quantd's flags. Addresses are never used twice, as those of pods rarely are."""

    def __init__(self, test, extra=()):
        self._test = test
        self._extra = list(extra)
        self._lock = threading.Lock()
        self._prometheus = None
        self._started = 0
        self._threads = []
        self.replicas = []  # in the name
        self.leaving = []  # out of it, and not yet ended
        self.exit_codes = []
        self.names = test.started(NameServer(test.folder))
        self.port = free_port()
        self.target = self.names.target(self.port)

    def add(self):
        """A replica joins the name once it listens."""
        self._started += 1
        replica = self._test.replica(host=f"127.0.1.{self._started}", port=self.port, extra=self._extra)
        with self._lock:
            self.replicas.append(replica)
            self._publish()
        return replica

    def remove(self, replica, pre_stop):
        """Begins the end of a replica: it is out of the name at once, and gets SIGTERM after `pre_stop` seconds."""
        with self._lock:
            self.replicas.remove(replica)
            self.leaving.append(replica)
            self._publish()
        thread = threading.Thread(target=self._end, args=(replica, pre_stop))
        self._threads.append(thread)
        thread.start()

    def _end(self, replica, pre_stop):
        time.sleep(pre_stop)
        code = replica.stop()
        with self._lock:
            self.exit_codes.append(code)
            self.leaving.remove(replica)
            self._publish()

    def settle(self):
        """Waits for all that are leaving."""
        for thread in self._threads:
            thread.join()

    def kill(self, replica):
        """kill -9; the name forgets the address, as the Service does when the pod is not ready any more."""
        replica.kill()
        with self._lock:
            self.replicas.remove(replica)
            self._publish()

    def scraped_by(self, prometheus):
        """From now on this Prometheus has the replicas as targets: those that leave, too, until they have ended."""
        with self._lock:
            self._prometheus = prometheus
            self._publish()

    def _publish(self):
        self.names.set_hosts([replica.host for replica in self.replicas])
        if self._prometheus is not None:
            self._prometheus.set_targets([replica.metrics_target for replica in self.replicas + self.leaving])


class Load:
    """Clients that each start one run after the other, until told to stop."""

    def __init__(self, start, clients):
        self._start = start
        self._stop = threading.Event()
        self.runs = []
        self._threads = [threading.Thread(target=self._client) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _client(self):
        while not self._stop.is_set():
            run = self._start()
            self.runs.append(run)
            if run.code() != 0:
                return

    def stop(self):
        """Lets what runs end; returns every run there was."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.runs


def log_line(replica, event):
    """The one line with that event in the server's log."""
    (found,) = [line for line in map(json.loads, replica.output().splitlines()) if line["event"] == event]
    return found


def without_server(folder, work):
    """The files that a run with the embedded server writes: what every other run must write, too."""
    run = Run(folder, work)
    if run.code() != 0:
        raise RuntimeError(run.output())
    return checkpoint.folder_files(run.out)


def assert_whole(test, run, expected):
    """The run ended well: no layer failed, and its files are `expected`."""
    test.assertEqual(run.code(), 0, run.output())
    test.assertEqual(run.outcomes(), ["OK"] * run.count)
    test.assertTrue(checkpoint.folder_files(run.out) == expected, "not the bytes of the embedded server")
