#!/usr/bin/env python3
"""Additive codes: the section of docs/performance.md, and the cost table of docs/aqlm.md.

usage: aqlm.py BUILD_DIR [--quick]        prints speed, memory and the cost model's figures
       aqlm.py BUILD_DIR --costs          writes the cost table into docs/aqlm.md
       aqlm.py BUILD_DIR --costs --print  prints it only

run.py calls speed_section(). Figures come from aqlm_bench; all ratios are within one run.
"""

import argparse
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "aqlm.md"
BEGIN = "<!-- costs: written by tests/bench/aqlm.py BUILD_DIR --costs -->"
END = "<!-- end of costs -->"
MIB, GIB = 1 << 20, 1 << 30
THREADS = 16  # of a server in the cost table
SERVERS = 10


def run_lines(binaries, *arguments):
    out = subprocess.run([binaries / "aqlm_bench", *arguments], check=True, stdout=subprocess.PIPE).stdout.decode()
    return [line.split() for line in out.splitlines()]


def median(values):
    return sorted(values)[len(values) // 2]


def fill_speed(table, lines):
    """Rows for what `aqlm_bench speed` printed. `table` has note() and add() as in run.py."""
    sgemms = [(int(words[1]), float(words[2])) for words in lines if words[0] == "sgemm"]
    n = sgemms[0][0]
    sgemm = median([seconds for _, seconds in sgemms])
    rate = 2.0 * n**3 / sgemm
    table.note(f"SGEMM {n}^3, two threads: median of {len(sgemms)} during the run", f"{sgemm * 1e3:.0f} ms")
    for words in lines:
        if words[0] == "pass":
            name, m, columns, flops, seconds = words[1], words[2], words[3], float(words[4]), float(words[5])
            table.add(f"beam pass, {name}, {m} x {columns} ({seconds:.2f} s): rate for 2 k M m n (n + 2^B) flops "
                      "against SGEMM's", flops / seconds / rate, "x", 0.5, ">=")
    for words in lines:
        if words[0] != "layer":
            continue
        method, m, columns = words[1].removeprefix("aqlm,scheme="), int(words[2]), int(words[3])
        seconds, predicted, peak, predicted_peak, allowed = map(float, words[4:9])
        name = f"{method}, {m} x {columns}"
        text = f"a job, {name}: {seconds:.1f} s, {words[9]} rounds, output error {words[10]}"
        if (m, columns) == (n, n):
            table.add(f"{text}; time against SGEMM {n}^3", seconds / sgemm, "x", 150, "<=")
            table.add(f"its peak ({peak / MIB:.0f} MiB) against H + 4 W + tiles", peak / allowed, "x", 1, "<=")
        else:
            table.note(text, f"{seconds / sgemm:.1f} x SGEMM {n}^3")
        ratio = predicted / seconds
        table.add(f"cost model, {name}: predicted {predicted:.1f} s; the larger of the two over the smaller",
                  max(ratio, 1 / ratio), "x", 1.25, "<=")
        table.add(f"peak of {name} against the predicted {predicted_peak / MIB:.0f} MiB", peak / predicted_peak,
                  "x", 1.2, "<=")


def speed_section(table, binaries, quick=False):
    fill_speed(table, run_lines(binaries, "speed", *(["--quick"] if quick else [])))
    return table


def duration(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def size(number):
    return f"{number / MIB:.0f} MiB" if number < GIB else f"{number / GIB:.1f} GiB"


def cost_text(lines, threads, cpu):
    """Tables of what `aqlm_bench costs` printed: layers, then models."""
    rows = [(words[1], words[2], int(words[3]), words[4].removeprefix("aqlm,scheme="), *map(int, words[5:7]),
             float(words[7]), int(words[8])) for words in lines if words[0] == "cost"]
    schemes = list(dict.fromkeys(row[3] for row in rows))
    layers = list(dict.fromkeys((row[0], row[1], row[4], row[5]) for row in rows))
    found = {(row[0], row[1], row[3]): row for row in rows}
    out = [f"Predicted for one layer with H on a server with {threads} threads of this CPU: {cpu}.", "",
           "| model | layer | m x n | " + " | ".join(f"{s}: time | {s}: memory" for s in schemes) + " |",
           "| --- " * (3 + 2 * len(schemes)) + "|"]
    for model, layer, m, n in layers:
        cells = [f"{duration(found[model, layer, s][6])} | {size(found[model, layer, s][7])}" for s in schemes]
        out.append(f"| {model} | {layer} | {m} x {n} | " + " | ".join(cells) + " |")
    out += ["", f"All layers of a model: core-hours, and hours on {SERVERS} such servers.", "",
            "| model | " + " | ".join(f"{s}: core-hours | {s}: {SERVERS} servers" for s in schemes) + " |",
            "| --- " * (1 + 2 * len(schemes)) + "|"]
    for model in dict.fromkeys(row[0] for row in rows):
        cells = []
        for scheme in schemes:
            total = sum(row[2] * row[6] for row in rows if row[0] == model and row[3] == scheme)
            cells.append(f"{total * threads / 3600:.0f} | {duration(total / SERVERS)}")
        out.append(f"| {model} | " + " | ".join(cells) + " |")
    return "\n".join(out)


def replace_block(page, block):
    head, rest = page.split(BEGIN, 1)
    return head + BEGIN + "\n\n" + block + "\n\n" + END + rest.split(END, 1)[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("build_dir", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true", help="1024 columns instead of 4096")
    parser.add_argument("--costs", action="store_true", help="write the cost table of docs/aqlm.md")
    parser.add_argument("--print", action="store_true", help="print the cost table instead")
    args = parser.parse_args()
    binaries = args.build_dir.resolve() / "bin"
    import run  # here, as run.py imports this file
    if not args.costs:
        speed_section(run.Table(), binaries, args.quick)
        return
    block = cost_text(run_lines(binaries, "costs", str(THREADS)), THREADS, run.cpu_model())
    if args.print:
        print(block)
        return
    PAGE.write_text(replace_block(PAGE.read_text(encoding="utf-8"), block), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    sys.exit(main())
