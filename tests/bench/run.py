#!/usr/bin/env python3
"""Runs the benchmarks and writes docs/performance.md: ratios taken in one run on one machine.

usage: run.py BUILD_DIR [--large] [--output FILE]

--large adds a GPTQ job of 8192 x 28672 (about 6 GiB in the server, several minutes).
Only the standard library is needed; k-means is compared with scikit-learn where it is installed.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

import aqlm

GB = 1e9
MIB = 1 << 20


def cpu_model():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


class Process:
    """A server child and what the kernel says about it."""

    def __init__(self, command, **kwargs):
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)

    def cpu_seconds(self):
        fields = open(f"/proc/{self.child.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def status_bytes(self, key):
        for line in open(f"/proc/{self.child.pid}/status"):
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(key)

    def reset_peak(self):
        with open(f"/proc/{self.child.pid}/clear_refs", "w") as f:
            f.write("5")

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def start_quantd(binaries, *flags):
    with tempfile.TemporaryDirectory() as folder:
        port_file = os.path.join(folder, "port")
        server = Process([binaries / "quantd", "--listen", "127.0.0.1:0", "--metrics-listen", "off",
                          "--port-file", port_file, *flags])
        for _ in range(600):
            if os.path.exists(port_file):
                text = open(port_file).read()
                break
            if server.child.poll() is not None:
                sys.exit("quantd did not start: " + server.child.stderr.read().decode())
            time.sleep(0.05)
        else:
            sys.exit("quantd wrote no port file")
    # Draining the log on a thread keeps the pipe from filling.
    threading.Thread(target=server.child.stderr.read, daemon=True).start()
    server.target = f"127.0.0.1:{json.loads(text)['grpc']}"
    return server


def start_sink(binaries):
    sink = Process([binaries / "wire_bench", "sink"])
    sink.target = "127.0.0.1:" + sink.child.stdout.readline().decode().strip()
    return sink


def send(binaries, target, work, m, n, repeats):
    out = subprocess.run([binaries / "wire_bench", "send", target, work, str(m), str(n), str(repeats)],
                         check=True, stdout=subprocess.PIPE).stdout.decode()
    return [[float(x) for x in line.split()] for line in out.splitlines()]


def kernels(binaries):
    out = subprocess.run([binaries / "kernels_bench", "--benchmark_format=json", "--benchmark_min_time=1",
                          "--benchmark_repetitions=3", "--benchmark_report_aggregates_only=true"],
                         check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    data = json.loads(out)
    times = {b["run_name"].replace("/real_time", ""): b for b in data["benchmarks"]
             if b["aggregate_name"] == "median"}
    return data["context"]["blas"], times


class Table:
    def __init__(self):
        self.rows = []

    def add(self, what, value, unit, bound, kind):
        ok = value >= bound if kind == ">=" else value <= bound
        self.rows.append((what, f"{value:.2f} {unit}".strip(), f"{kind} {bound:g}",
                          "yes" if ok else "**no**"))
        print(f"  {what}: {value:.2f} {unit} (wanted {kind} {bound:g}){'' if ok else '   MISSED'}",
              flush=True)

    def note(self, what, text):
        self.rows.append((what, text, "", ""))
        print(f"  {what}: {text}", flush=True)

    def markdown(self):
        lines = ["| what | measured | wanted | met |", "| --- | --- | --- | --- |"]
        return "\n".join(lines + ["| " + " | ".join(r) + " |" for r in self.rows])


def kernel_table(times):
    t = Table()
    ms = lambda name: times[name]["real_time"]
    copy = times["Memcpy"]["bytes_per_second"]
    one, two = times["RtnPack/1"]["bytes_per_second"], times["RtnPack/2"]["bytes_per_second"]
    t.note("memcpy, 64 MiB, one thread", f"{copy / GB:.1f} GB/s")
    t.add("RTN int4 g128 fit + round + pack, 4096 x 4096 F32, one thread, against memcpy",
          one / copy, "x", 0.5, ">=")
    t.note("the same", f"{one / GB:.1f} GB/s of input")
    t.add("two threads against one", two / one, "x", 1.7, ">=")
    t.note("unpack + decode + error sums, one thread",
           f"{times['UnpackMeasure/1']['bytes_per_second'] / GB:.1f} GB/s of input")
    t.note("RTN with shrink search (80 steps), one thread",
           f"{times['RtnShrinkSearch']['bytes_per_second'] / GB:.2f} GB/s of input")
    t.add("RTN fit + round with groups down columns against groups along rows, one thread; of a whole job see below",
          ms("RtnFitRound/in") / ms("RtnFitRound/out"), "x", 1.3, "<=")
    rate = times["Sgemm/2"]["flops"]
    n = 4096.0
    ideal = ((2 / 3) * n**3 + n**3) / rate * 1e3
    t.note("SGEMM 4096^3, one thread / two", f"{times['Sgemm/1']['flops'] / GB:.0f} / {rate / GB:.0f} GFLOP/s")
    t.note("GPTQ 4096 x 4096, factor alone, two threads", f"{ms('GptqFactor'):.0f} ms")
    t.add("GPTQ 4096 x 4096 factor + sweep + pack, two threads, against the same flops at the SGEMM rate",
          ms("GptqFactorSweepPack") / ideal, "x", 2.5, "<=")
    t.note("the same", f"{ms('GptqFactorSweepPack'):.0f} ms; the flops at the SGEMM rate: {ideal:.0f} ms")
    t.add("its measures on top (errors of result and RTN baseline through H)",
          (ms("GptqWithMeasures") - ms("GptqFactorSweepPack")) / ideal, "x", 2.5, "<=")
    t.add("GPTQ fit + sweep with groups down columns against groups along rows, two threads",
          ms("GptqFitSweep/in") / ms("GptqFitSweep/out"), "x", 1.3, "<=")
    return t


def kmeans_table(build_dir):
    """Against scikit-learn, where it can be imported: the one figure that needs a package."""
    t = Table()
    script = pathlib.Path(__file__).with_name("kmeans_vs_sklearn.py")
    if importlib.util.find_spec("sklearn") is None:
        t.note("weighted k-means against scikit-learn", "not run: scikit-learn is not installed")
        return t
    out = subprocess.run([sys.executable, script, build_dir], check=True,
                         stdout=subprocess.PIPE).stdout.decode()
    for line in out.splitlines():
        words = line.split()
        if words and words[0] == "ratio":
            t.add("scikit-learn's time for weighted k-means at 4 bits, a row of 4096, against ours",
                  float(words[1]), "x", 3, ">=")
        elif words:
            t.note("k-means", " ".join(words))
    return t


# What each method is measured as: its preset, but for the two that stand for an axis.
METHODS = ["gptq", "rtn", "rtn,group-axis=in", "gptq,group-axis=in", "adadim-rtn", "adadim-gptq", "awq", "hqq", "kmeans",
           "kmeans,granularity=column", "kmeans,granularity=tensor", "squeezellm", "spqr", "claq", "gptqt", "owq", "gwq",
           "sparsegpt", "quarot", "qep", "gptaq", "smoothquant", "fp8", "mxfp4", "nvfp4", "nf4", "fineq", "mixquant", "wkv"]


class MethodTable:
    """Every method through the engine: times and peaks in multiples of GPTQ's on the same layer."""

    def __init__(self, binaries, m, n):
        out = subprocess.run([binaries / "methods_bench", str(m), str(n), "2", *METHODS], check=True,
                             stdout=subprocess.PIPE).stdout.decode()
        self.rows = [(words[0], *map(float, words[1:4])) for words in map(str.split, out.splitlines())]
        self.seconds, self.peak = self.rows[0][1:3]
        worst = max(self.rows, key=lambda row: row[2])
        times = {row[0]: row[1] for row in self.rows}
        self.axes = {name: times[f"{name},group-axis=in"] / times[name] for name in ("rtn", "gptq")}
        print("  groups down columns against along rows: "
              + ", ".join(f"{name} {ratio:.2f} x" for name, ratio in self.axes.items()) + " (wanted <= 1.3)", flush=True)
        print(f"  largest peak: {worst[0]}, {worst[2] / self.peak:.2f} x gptq (wanted <= 1.5)", flush=True)

    def markdown(self):
        lines = [f"A job of one layer with H, from upload to report: gptq takes {self.seconds:.2f} s and at its peak",
                 f"{self.peak / MIB:.0f} MiB above what the process held before. No method may take more than 1.5 times as much.",
                 "A whole job with groups down columns takes "
                 + " and ".join(f"{ratio:.2f} times as long as along rows for {name}" for name, ratio in self.axes.items())
                 + " (wanted: at most 1.3).",
                 "", "| method | time, x gptq | peak, x gptq | peak, x predicted |", "| --- | --- | --- | --- |"]
        for name, seconds, peak, predicted in self.rows:
            ratio = peak / self.peak
            shown = f"{ratio:.2f}" if ratio <= 1.5 else f"**{ratio:.2f}**"
            lines.append(f"| {name} | {seconds / self.seconds:.2f} | {shown} | {peak / predicted:.2f} |")
        return "\n".join(lines)


def planner_table(binaries):
    t = Table()
    lines = subprocess.run([binaries / "planner_bench"], check=True, stdout=subprocess.PIPE).stdout.decode()
    rows = [line.split() for line in lines.splitlines()]
    plans = [r for r in rows if not r[0].endswith(("-frontier", "-draws"))]
    t.note("models planned", "10,000 layers of 16 candidates: like a transformer with fused sets, of random sizes, "
                             "all equal; for a size, an error, a share in low precision")
    t.add("slowest plan", max(float(r[1]) for r in plans), "s", 2, "<=")
    t.add("largest peak of the process", max(float(r[2]) for r in rows) / 1e6, "MB", 500, "<=")
    t.add("largest gap to the optimum", 100 * max(float(r[3]) for r in plans), "%", 0, "<=")
    t.note("frontier of 64 budgets, for the page", f"{max(float(r[1]) for r in rows if 'frontier' in r[0]):.2f} s")
    candidates = [f"gptq,bits={bits},group-size={size}" for bits in (2, 3, 4) for size in (32, 64, 128)]
    candidates += [f"gptq,bits={bits}" for bits in (5, 6, 8)]
    out = subprocess.run([binaries / "methods_bench", "2048", "2048", str(os.cpu_count()), *candidates,
                          "+".join(candidates)], check=True, stdout=subprocess.PIPE).stdout.decode()
    seconds = [float(line.split()[1]) for line in out.splitlines()]
    t.add(f"Measure of {len(candidates)} gptq candidates, 2048 x 2048, against as many Quantize jobs",
          seconds[-1] / sum(seconds[:-1]), "x", 0.75, "<=")
    peaks = [float(line.split()[2]) for line in out.splitlines()]
    t.add("its peak against the largest of theirs", peaks[-1] / max(peaks[:-1]), "x", 1.1, "<=")
    return t


def wire_table(binaries):
    t = Table()
    m = n = 4096
    repeats, warm = 16, 3
    size = m * n * 4
    figures = {}
    servers = {"empty": start_sink(binaries), "rtn": start_quantd(binaries)}
    for work, server in servers.items():
        send(binaries, server.target, work, m, n, warm)
    # Alternating rounds: a slow moment of the machine hits both.
    rounds = {"empty": [], "rtn": []}
    cpu = {"empty": 0.0, "rtn": 0.0}
    for _ in range(3):
        for work, server in servers.items():
            before = server.cpu_seconds()
            rounds[work] += [r[0] for r in send(binaries, server.target, work, m, n, repeats)]
            cpu[work] += server.cpu_seconds() - before
    for work in servers:
        median = sorted(rounds[work])[len(rounds[work]) // 2]
        figures[work] = (size / median, cpu[work] / (3 * repeats * size / GB))
    for server in servers.values():
        server.stop()
    t.note("empty RPC, 64 MiB up and 8 MiB back, one stream, loopback TCP",
           f"{figures['empty'][0] / GB:.2f} GB/s, server CPU {figures['empty'][1]:.2f} s/GB")
    t.note("Quantize RTN int4 g128, the same bytes",
           f"{figures['rtn'][0] / GB:.2f} GB/s, server CPU {figures['rtn'][1]:.2f} s/GB")
    t.add("Quantize RTN against the empty RPC", figures["rtn"][0] / figures["empty"][0], "x", 0.6, ">=")
    t.add("server CPU of Quantize RTN", figures["rtn"][1], "s/GB", 0.7, "<=")
    return t


def memory_table(binaries, large):
    t = Table()
    shapes = [("rtn", 512, 512), ("rtn", 4096, 4096), ("rtn", 4096, 14336), ("rtn", 8192, 28672),
              ("gptq", 512, 512), ("gptq", 4096, 4096), ("gptq", 2048, 8192)]
    if large:
        shapes.append(("gptq", 8192, 28672))
    for work, m, n in shapes:
        server = start_quantd(binaries, "--budget", "14GiB")
        send(binaries, server.target, work, 128, 256, 2)  # code, BLAS buffers and connections are in
        idle = server.status_bytes("VmRSS")
        server.reset_peak()
        predicted = send(binaries, server.target, work, m, n, 1)[-1][2]
        grown = server.status_bytes("VmHWM") - idle
        server.stop()
        t.add(f"{work} {m} x {n}: peak RSS above idle against predicted {predicted / MIB:.0f} MiB",
              grown / predicted, "x", 1.2, "<=")
    server = start_quantd(binaries)
    send(binaries, server.target, "rtn", 512, 512, 200)
    before = server.status_bytes("VmRSS")
    send(binaries, server.target, "rtn", 512, 512, 1000)
    after = server.status_bytes("VmRSS")
    server.stop()
    t.add("RSS after 1,000 more jobs against before", after / before, "x", 1.05, "<=")
    return t


def unread_table(binaries):
    t = Table()
    budget = 1024 * MIB
    server = start_quantd(binaries, "--budget", "1GiB")
    idle = server.status_bytes("VmRSS")
    client = subprocess.Popen([binaries / "wire_bench", "unread", server.target, "64", "2048", "2048"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    client.stdout.readline()
    time.sleep(12)  # until no more bytes move
    grown = server.status_bytes("VmHWM") - idle
    client.stdin.close()
    client.wait(60)
    healthy = send(binaries, server.target, "rtn", 512, 512, 1)
    server.stop()
    t.add("64 streams that are never read: peak RSS above idle against the 1 GiB budget",
          grown / budget, "x", 1.0, "<=")
    t.note("and then a normal job", "succeeds" if healthy else "fails")
    return t


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build_dir", type=pathlib.Path)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--output", type=pathlib.Path)
    args = parser.parse_args()
    binaries = args.build_dir.resolve() / "bin"

    print(f"CPU: {cpu_model()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    print("kernels ...", flush=True)
    blas, times = kernels(binaries)
    print(f"BLAS: {blas}", flush=True)
    sections = [("Kernels", kernel_table(times))]
    for title, run in [("k-means", lambda: kmeans_table(args.build_dir)),
                       ("Methods, 4096 x 4096", lambda: MethodTable(binaries, 4096, 4096)),
                       ("Additive codes", lambda: aqlm.speed_section(Table(), binaries)),
                       ("Plans", lambda: planner_table(binaries)),
                       ("Wire", lambda: wire_table(binaries)),
                       ("Memory", lambda: memory_table(binaries, args.large)),
                       ("Readers that do not read", lambda: unread_table(binaries))]:
        print(f"{title.lower()} ...", flush=True)
        sections.append((title, run()))
    page = [
        "# Performance",
        "",
        "Printed by `make bench`, which writes this page. Every figure is a ratio within one run on the",
        "machine named here; absolute figures are given to make the ratios readable.",
        "",
        f"CPU: {cpu_model()}, {os.cpu_count()} cores. BLAS: {blas}.",
        "",
    ]
    for title, table in sections:
        page += [f"## {title}", "", table.markdown(), ""]
    if args.output:
        args.output.write_text("\n".join(page))
        print(f"wrote {args.output}")


if __name__ == "__main__":
    main()
