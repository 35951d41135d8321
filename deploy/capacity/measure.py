"""Renews the rates: what quantd on this machine says of every request.

The server is started as in tests/deploy; the binaries are those of QUANTD_BIN_DIR.
"""

import contextlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import time

import models

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "deploy"))
import harness  # noqa: E402

SERVER = {"threads": 16, "budget": 23 << 30}
SERVERS_ASKED = 5
QUANTCTL = os.path.join(harness.BIN_DIR, "quantctl")
WIRE_ROW = re.compile(r"^\| empty RPC.*\| ([\d.]+) GB/s, server CPU ([\d.]+) s/GB", re.MULTILINE)


@contextlib.contextmanager
def replicas(folder, count, *extra):
    started = []
    try:
        for _ in range(count):
            started.append(harness.Replica(folder, extra=extra))
        yield started
    finally:
        for replica in started:
            replica.stop()


def median(values):
    return sorted(values)[len(values) // 2]


def ask(folder, threads, budget, wanted):
    """Answers for `wanted`, [(method, shape)], and what the server says of itself."""
    import estimates  # here: pages are written without gRPC

    with replicas(folder, 1, "--threads", str(threads), "--budget", str(budget)) as (replica,):
        server = estimates.Server(replica.target)
        answers = {}
        for method, shape in wanted:
            answers.setdefault(method, {})[shape.key()] = server.estimate(method, shape)
        return answers, server.capabilities


def typical_answers(folder, threads, budget, wanted):
    """A server measures the speed of its cores once, when first asked: the answers of the median one of several."""
    asked = [ask(folder, threads, budget, wanted) for _ in range(SERVERS_ASKED)]
    total = lambda one: sum(answer["seconds"] for shapes in one[0].values() for answer in shapes.values())
    return sorted(asked, key=total)[SERVERS_ASKED // 2]


def measure_statistics_rate(folder, columns=24576):
    """GB/s at which quantctl looks through statistics that are in memory."""
    model = os.path.join(folder, "wide")
    os.makedirs(model)
    with open(os.path.join(model, "config.json"), "w", encoding="utf-8") as file:
        file.write('{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}')
    module = "model.layers.0.mlp.down_proj"
    size = 4 * (columns * (columns + 1) // 2)
    write_empty(os.path.join(model, "model.safetensors"), module + ".weight", [128, columns], 4 * 128 * columns)
    statistics = os.path.join(folder, "wide.safetensors")
    write_empty(statistics, module + ".hessian_triangle", [size // 4], size)
    command = [QUANTCTL, "estimate", model, "--method", "gptq", "--statistics", statistics]
    seconds = []
    for _ in range(5):
        start = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.monotonic() - start)
    return float(f"{size / 1e9 / median(seconds[1:]):.3g}")


def write_empty(path, name, shape, size):
    """A tensor of zeros, that takes no place on the disk."""
    header = json.dumps({name: {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)


def rates():
    with open(os.path.join(ROOT, "docs", "performance.md"), encoding="utf-8") as file:
        connection, server_cpu = map(float, WIRE_ROW.search(file.read()).groups())
    wanted = [(method, shape) for model in models.MODELS for method in models.METHODS
              for shape in model.distinct(method)]
    with tempfile.TemporaryDirectory(prefix="quantd-capacity-") as folder:
        answers, about = typical_answers(folder, SERVER["threads"], SERVER["budget"], wanted)
        statistics_rate = measure_statistics_rate(folder)
    return {"command": "python3 deploy/capacity/simulate.py --measure",
            "machine": {"cpu": about.cpu, "cores": os.cpu_count(), "blas": about.blas, "quantd": about.build_id},
            "server": SERVER,
            "wire": {"connection_gb_per_second": connection, "server_seconds_per_gb": server_cpu},
            "client": {"statistics_gb_per_second": statistics_rate},
            "requests": answers}
