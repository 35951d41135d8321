"""The simulation against real replicas on this machine: a small checkpoint, quantized by one, two and three of them."""

import array
import os
import re
import shutil
import subprocess
import tempfile
import time

import events
import measure  # says where the next is
import checkpoint
import models
from scenario import Rates

# Small enough for seconds a run, large enough that the work outweighs all else.
MODEL = models.llama("check", "10 layers, 1024 wide, MLP of 2816", 10, 1024, 2816, 1024)
METHOD = "GPTQ"
REPLICAS = (1, 2, 3)
THREADS, BUDGET, JOBS = 1, 2 << 30, 4
DONE_LINE = re.compile(r'^quantd_jobs_total\{method="gptq",outcome="ok"\} (\d+)', re.MULTILINE)
PLAN_LINE = re.compile(r" in (\d+) requests;.*\npredicted: upload ([\d.]+) MB,")


class Trial:
    """The checkpoint with its statistics, and real runs on it."""

    def __init__(self, folder):
        self._folder = folder
        self._model = os.path.join(folder, "model")
        self._statistics = os.path.join(folder, "statistics.safetensors")
        (layers, block), = MODEL.blocks
        made = checkpoint.Model(self._model, layers=layers, hidden=block[0].rows, ffn=block[0].cols, dtype=MODEL.dtype)
        checkpoint.write_safetensors(self._statistics, triangles(made))

    def _flags(self):
        return [self._model, "--method", models.METHODS[METHOD]["preset"], "--statistics", self._statistics]

    def plan(self):
        """Requests and MB of uploads, as quantctl tells them, and the seconds that this takes."""
        text, seconds = self._run("estimate", *self._flags(), "--threads", str(THREADS))
        requests, upload = PLAN_LINE.search(text).groups()
        return int(requests), float(upload), seconds

    def quantize(self, count):
        """A run on `count` fresh replicas: its seconds, and the jobs that each of them did."""
        out = os.path.join(self._folder, f"out-{time.monotonic_ns()}")
        with measure.replicas(self._folder, count, "--threads", str(THREADS), "--budget", str(BUDGET)) as started:
            target = "ipv4:" + ",".join(replica.target for replica in started)
            flags = [*self._flags(), "-o", out, "--server", target, "--jobs", str(JOBS * count)]
            seconds = self._run("quantize", *flags)[1]
            jobs = [sum(map(int, DONE_LINE.findall(replica.metrics()))) for replica in started]
        shutil.rmtree(out)
        return seconds, jobs

    @staticmethod
    def _run(*arguments):
        start = time.monotonic()
        done = subprocess.run([measure.QUANTCTL, *arguments], capture_output=True, text=True, check=False)
        seconds = time.monotonic() - start
        if done.returncode != 0:
            raise RuntimeError(f"quantctl {' '.join(arguments)}\n{done.stdout}{done.stderr}")
        return done.stdout, seconds


def triangles(made):
    """H of each module as upper triangle: the same for those of the same input, another for all others.

    A diagonal does: the solver's work does not depend on what is in H.
    """
    inputs = {"q_proj": "qkv", "k_proj": "qkv", "v_proj": "qkv", "gate_proj": "gate", "up_proj": "gate"}
    marks, tensors = {}, {}
    for module, (_, cols) in made.modules().items():
        block, name = module.rsplit(".", 1)
        mark = marks.setdefault((block, inputs.get(name, name)), 1 + len(marks) / 1000)
        triangle = array.array("f", bytes(2 * cols * (cols + 1)))
        at = 0
        for row in range(cols):
            triangle[at] = mark + row % 7
            at += cols - row
        tensors[module + ".hessian_triangle"] = ("F32", [len(triangle)], triangle.tobytes())
    return tensors


def answers(folder):
    """What replicas as those of the check say of its requests."""
    wanted = [(METHOD, shape) for shape in MODEL.distinct(METHOD)]
    return measure.typical_answers(folder, THREADS, BUDGET, wanted)[0]


def simulated(requests, rates, count, cores):
    """Seconds of the run on `count` replicas that share a machine of `cores`."""
    stored = dict(rates, requests=requests, server={"threads": THREADS})
    connection = rates["wire"]["connection_gb_per_second"] * 1e9
    cluster = events.Cluster(replicas=count, cores=THREADS, budget=BUDGET, link=connection * count,
                             connection=connection, disk=rates["client"]["statistics_gb_per_second"] * 1e9,
                             in_flight=JOBS * count, host_cores=cores)
    return events.simulate(Rates(stored).jobs(MODEL, METHOD), cluster).seconds


def least(runs):
    """The least disturbed of several rounds, [[seconds for each number of replicas]]: other work only adds."""
    return [min(seconds) for seconds in zip(*runs)]


def run(rates, rounds):
    """Seconds for each number of replicas, measured and simulated."""
    with tempfile.TemporaryDirectory(prefix="quantd-capacity-") as folder:
        trial = Trial(folder)
        requests = answers(folder)
        planning = trial.plan()[2]
        measured = least([[trial.quantize(count)[0] for count in REPLICAS] for _ in range(rounds)])
    rows = []
    for count, seconds in zip(REPLICAS, measured):
        expected = planning + simulated(requests, rates, count, os.cpu_count())
        rows.append({"replicas": count, "measured": round(seconds, 2), "simulated": round(expected, 2)})
    return {"command": "python3 deploy/capacity/simulate.py --check", "model": MODEL.note, "method": METHOD,
            "rounds": rounds, "cores": os.cpu_count(), "rows": rows}
