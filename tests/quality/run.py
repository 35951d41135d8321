#!/usr/bin/python3
"""Runs every method on the layers of a real model and writes docs/quality.md.

usage: run.py BIN_DIR [--check] [--model DIR] [--modules REGEX] [--rows REGEX] [--page FILE] [--json FILE]
              [--statistics DIR]

BIN_DIR holds quantctl and aqlm_cases; numpy is needed, as Debian's python3 has it. --check writes nothing and compares with the
page: errors and bits must agree within 2 %. Exit 1 when a row fails, a check fails or the page differs. Rows and
their flags: rows.py.
"""

import argparse
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import figures
import known_layers
import mixed_plans
import page
import reading
import statistics_files
from rows import ADDITIVE_BASES, OUTLIER_BASES, ROWS, WIDTHS, RowError

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "quality.md"
ENCODER = r"^encoder\.layer\."
ROW_SECONDS = 300
OUTLIER_DEVIATIONS = 20


class Runner:
    """Makes rows. What they write lies below `folder` and is removed as soon as its figures are read."""

    def __init__(self, binary, model, modules, statistics, folder):
        self._binary, self._model, self._modules = binary, model, modules
        self._statistics, self._folder = statistics, folder
        self._decoded = statistics_files.Decoded(model, statistics)

    def run(self, row, width):
        out, report = os.path.join(self._folder, "out"), os.path.join(self._folder, "report.json")
        self.call("quantize", self._model, "-o", out, *row.command(width), "--layout", "plain", "--jobs", "1",
                  "--include", self._modules, "--statistics", self._statistics[row.statistics],
                  "--on-degraded", "accept", "--report", report)
        try:
            result = figures.read_report(report)
            if row.table in ("drift", "weighted"):
                self._measure_decoded(row, out, result)
            return result
        except (figures.ReportError, KeyError, ValueError) as error:
            raise RowError(f"{type(error).__name__}: {error}") from error
        finally:
            shutil.rmtree(out, ignore_errors=True)

    def mixed_plans(self):
        return mixed_plans.run(mixed_plans.Planner(
            self.call, self._model, self._modules, self._statistics["plain"], self._folder,
            lambda module: self._decoded.weight(module).size))

    def modules_with_outliers(self, modules):
        """Those with a weight beyond OUTLIER_DEVIATIONS standard deviations."""
        found = []
        for module in modules:
            weight = self._decoded.weight(module)
            if abs(weight - weight.mean()).max() > OUTLIER_DEVIATIONS * weight.std():
                found.append(module)
        return found

    def _measure_decoded(self, row, out, result):
        dense_folder = os.path.join(self._folder, "dense")
        self.call("dequantize", out, "-o", dense_folder, "--dtype", "F32")
        dense = statistics_files.read_dense(dense_folder)
        shutil.rmtree(dense_folder)
        decoded, modules = self._decoded, list(result.layers)
        result.decoded = figures.geometric_mean([
            decoded.drifted_error(dense, module) if row.table == "drift" else decoded.error(dense, module, "weighted")
            for module in modules])
        result.decoded_plain = figures.geometric_mean([decoded.error(dense, module) for module in modules])
        result.disagreements = tuple(self._disagreements(row, dense, result))

    def _disagreements(self, row, dense, result):
        for module, layer in result.layers.items():
            own = self._decoded.error(dense, module, row.statistics)
            if not math.isclose(own, layer.error, rel_tol=1e-3):
                yield f"{row.key}: {module}: error {layer.error:.6g} reported, {own:.6g} decoded"
            if row.key == "qep":  # the method whose report tells it
                own = self._decoded.drift_excess(dense, module)
                if layer.drift_error is None:
                    yield f"{row.key}: {module}: no drift_error in the report"
                elif not math.isclose(own, layer.drift_error, rel_tol=1e-3, abs_tol=1e-5):
                    yield f"{row.key}: {module}: drift error {layer.drift_error:.6g} reported, {own:.6g} decoded"

    def call(self, *arguments, seconds=ROW_SECONDS):
        """What quantctl prints; RowError when it fails."""
        command = [str(self._binary), *arguments]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                                  timeout=seconds, check=False)
        except subprocess.TimeoutExpired as error:
            raise RowError(f"took more than {seconds} s") from error
        if done.returncode != 0:
            raise RowError(first_complaint(done.stderr, done.returncode))
        return done.stdout


def first_complaint(text, code):
    lines = [line.strip() for line in re.split(r"[\r\n]", text) if line.strip()]
    # Progress goes to the same stream; the complaint is the first line that says "error", else the first.
    line = next((line for line in lines if "error" in line.lower()), lines[0] if lines else "no message")
    return f"exit {code}: {line[:160]}"


def run_rows(runner, rows):
    """({(key, width): Result}, {(key, width): error text}, seconds of RTN at 4 bits)."""
    results, errors = {}, {}
    for row in rows:
        for width in row.widths:
            started = time.monotonic()
            name = row.title + (f", {width} bits" if width else "")
            try:
                result = results[row.key, width] = runner.run(row, width)
                shown = f"error {result.error:.4g} at {result.bits:.3f} bpw"
            except RowError as error:
                shown = errors[row.key, width] = str(error)
            print(f"  {row.table}: {name}: {shown}   [{time.monotonic() - started:.1f} s]", flush=True)
    reference = next((row for row in rows if row.key == "rtn"), None)
    unit = math.nan
    if reference and ("rtn", 4) in results:
        # The least of a few: what the others are measured by should not be a slow moment of the machine.
        unit = min(results["rtn", 4].seconds, *(runner.run(reference, 4).seconds for _ in range(3)))
    return results, errors, unit


def cells_of(key, width, results, errors, unit):
    if (key, width) in results:
        result = results[key, width]
        note = f" ({result.degraded} degraded)" if result.degraded else ""
        time_cell = page.times(result.seconds / unit) if unit > 0 else "-"
        return page.figure(result.error) + note, f"{result.bits:.3f}", time_cell
    return (f"**failed**: {errors[key, width]}", "-", "-") if (key, width) in errors else ("", "", "")


def width_table(heading, name, rows, results, errors, unit):
    columns = ["row"] + [f"{width} bits: {what}" for width in WIDTHS for what in ("error", "bpw", "time")]
    table = page.Table(heading, columns)
    for row in rows:
        if row.table == name:
            cells = [cells_of(row.key, width, results, errors, unit) for width in WIDTHS]
            table.add(row.title, *(cell for triple in cells for cell in triple))
    return table


def formats_table(rows, results, errors, unit):
    table = page.Table("Formats of one width", ["row", "bits", "error", "bpw", "time"])
    for row in rows:
        if row.table == "formats":
            table.add(row.title, row.label, *cells_of(row.key, None, results, errors, unit))
    return table


def additive_table(rows, results, errors, unit):
    """Against the bases at the same all-in bits, layer by layer."""
    table = page.Table("Sums of codebook entries", [
        "row", "bits", "error", "bpw", "time", "gptq at equal bits: base", "ratio", "layers won"])
    bases = [results[base] for base in ADDITIVE_BASES if base in results]
    for row in rows:
        if row.table != "additive":
            continue
        result = results.get((row.key, None))
        found = figures.Comparison()
        if result and bases:
            found = figures.compare_at_equal_bits(result, bases, list(result.layers), from_below=True)
        table.add(row.title, row.label, *cells_of(row.key, None, results, errors, unit), page.figure(found.base),
                  page.figure(found.ratio), f"{found.won} of {found.layers}")
    return table


def decoded_table(heading, name, label, rows, results, errors):
    columns = ["row"] + [f"{width} bits: {what}" for width in WIDTHS for what in (label, "plain error")]
    table = page.Table(heading, columns)
    for row in rows:
        if row.table != name:
            continue
        cells = []
        for width in WIDTHS:
            result = results.get((row.key, width))
            if result:
                cells += [page.figure(result.decoded), page.figure(result.decoded_plain)]
            else:
                cells += [f"**failed**: {errors.get((row.key, width), 'not run')}", "-"]
        table.add(row.title, *cells)
    return table


def outlier_comparisons(results, with_outliers):
    """[(method, base text, width, Comparison over all layers, over layers with outliers)]"""
    found = []
    for key, base_text, base_keys in OUTLIER_BASES:
        bases = [result for (other, _), result in results.items() if other in base_keys]
        for width in WIDTHS:
            result = results.get((key, width))
            if result and bases:
                chosen = [name for name in result.layers if name in with_outliers]
                found.append((key, base_text, width, figures.compare_at_equal_bits(result, bases, list(result.layers)),
                              figures.compare_at_equal_bits(result, bases, chosen)))
    return found


def outlier_table(comparisons, results):
    table = page.Table("Outliers at equal bits", [
        "row", "base", "bpw", "its error, layers with outliers", "base at equal bits, same layers", "ratio",
        "layers won", "ratio, all layers", "layers won, all"])
    for key, base_text, width, everywhere, chosen in comparisons:
        table.add(f"{key}, {width} bits", base_text, f"{results[key, width].bits:.3f}", page.figure(chosen.error),
                  page.figure(chosen.base), page.figure(chosen.ratio), f"{chosen.won} of {chosen.layers}",
                  page.figure(everywhere.ratio), f"{everywhere.won} of {everywhere.layers}")
    return table


def run_checks(rows, results, errors, known=None, mixed=None):
    """known, mixed: what their runs found, be it nothing; None: they were not asked for."""
    keys = {row.key for row in rows}
    checks = [figures.Check("every row runs", not errors, f"{len(errors)} of {len(errors) + len(results)} failed"
                            if errors else f"{len(results)} runs")]
    for better, worse, what in (("gptq", "rtn", "gptq beats rtn"),
                                ("gptq", "gptq-natural", "act-order beats natural order")):
        if {better, worse} <= keys:
            checks.append(figures.check_order(results, better, worse, WIDTHS, what))
    for adaptive, fixed in (("adadim-rtn", ("rtn-out", "rtn-in")), ("adadim-gptq", ("gptq-out", "gptq-in"))):
        if {adaptive, *fixed} <= keys:
            checks.append(figures.check_adaptive(results, adaptive, fixed, WIDTHS,
                                                 f"{adaptive} is on no layer worse than the better fixed axis"))
    if any(row.table in ("drift", "weighted") for row in rows):
        checks.append(figures.check_decoded(results))
    for key in ("aqlm-2x8", "aqlm-1x8g4"):
        if {key, "gptq"} <= keys:
            checks.append(check_additive(key, results))
    if known is not None:
        checks += known_layers.checks(known)
    if mixed is not None:
        checks += mixed_plans.checks(mixed)
    checks.append(figures.check_widths(results, [row.key for row in rows if row.widths == WIDTHS], WIDTHS))
    return checks


def check_additive(key, results):
    """Less error than gptq with act-order at the same all-in bits."""
    result, bases = results.get((key, None)), [results[base] for base in ADDITIVE_BASES if base in results]
    if not result or not bases:
        return figures.Check(f"{key} beats gptq at equal bits", False, "a row is missing")
    found = figures.compare_at_equal_bits(result, bases, list(result.layers), from_below=True)
    return figures.Check(f"{key} beats gptq at equal bits", found.error < found.base,
                         f"{found.ratio:.3f} x, smaller on {found.won} of {found.layers} layers")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("bin_dir", type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path, help="Hugging Face folder; default: what `make demo` fetched")
    parser.add_argument("--modules", default=ENCODER, help="layers, as a regular expression; default: the encoder's")
    parser.add_argument("--rows", default="", help="only rows whose key matches this regular expression")
    parser.add_argument("--page", type=pathlib.Path, help=f"default: {PAGE.relative_to(ROOT)}, but none with --rows")
    parser.add_argument("--check", action="store_true", help="compare with the page, write nothing")
    parser.add_argument("--statistics", type=pathlib.Path, help="folder to keep statistics in, and to find them again")
    parser.add_argument("--json", type=pathlib.Path, help="write every layer's figures here")
    args = parser.parse_args()
    args.model = args.model or args.bin_dir.resolve().parents[1] / "demo" / "model"
    if not (args.model / "config.json").exists():
        parser.error(f"{args.model} holds no model: run `make demo` once, or give --model")
    return args


def write_json(path, results):
    path.write_text(json.dumps({f"{key} {width or ''}".strip(): {
        "error": result.error, "bits": result.bits, "seconds": result.seconds,
        "layers": {name: [layer.error, layer.bits] for name, layer in result.layers.items()}}
        for (key, width), result in results.items()}, indent=1) + "\n", encoding="utf-8")


def report_checks(checks, args, text):
    """Prints what failed; returns the exit code."""
    failed = [check for check in checks if not check.passed]
    for check in checks:
        print(f"{'ok    ' if check.passed else 'FAILED'} {check.what}: {check.detail}")
    lines = []
    if args.check:
        path = args.page or PAGE
        committed, fresh = page.parse(path.read_text(encoding="utf-8")), page.parse(text)
        if args.rows:
            committed = {key: cell for key, cell in committed.items() if key in fresh}
        lines = page.differences(committed, fresh)
        print("\n".join(lines) if lines else f"{path} says the same")
    return 1 if failed or lines else 0


def main():
    args = parse_arguments()
    rows = [row for row in ROWS if re.search(args.rows, row.key)]
    with tempfile.TemporaryDirectory(prefix="quality-") as folder:
        print("statistics ...", flush=True)
        statistics = statistics_files.collect(str(args.model), str(args.statistics or folder))
        runner = Runner(args.bin_dir.resolve() / "quantctl", str(args.model), args.modules, statistics, folder)
        print("rows ...", flush=True)
        results, errors, unit = run_rows(runner, rows)
        layers = sorted(set().union(*(result.layers for result in results.values())))
        with_outliers = runner.modules_with_outliers(layers)
        mixed = None
        if not args.rows or re.search(args.rows, "mixed"):
            print("mixed plans ...", flush=True)
            mixed = runner.mixed_plans()
    known = None
    if not args.rows or re.search(args.rows, "known"):
        print("known layers ...", flush=True)
        known = known_layers.run(args.bin_dir.resolve())
    comparisons = outlier_comparisons(results, with_outliers)
    tables = [
        width_table("4, 3 and 2 bits", "main", rows, results, errors, unit),
        width_table("Smaller groups", "groups", rows, results, errors, unit),
        formats_table(rows, results, errors, unit),
        additive_table(rows, results, errors, unit),
        *known_layers.tables(known or []),
        outlier_table(comparisons, results),
        *mixed_plans.tables(mixed or []),
        decoded_table("Drifted inputs", "drift", "error on drifted inputs", rows, results, errors),
        decoded_table("Weighted tokens", "weighted", "weighted error", rows, results, errors),
    ]
    checks = run_checks(rows, results, errors, known, mixed)
    text = reading.page_text(tables, checks, rows, results, comparisons, layers, with_outliers, args.modules,
                             mixed or [])
    if args.json:
        write_json(args.json, results)
    output = args.page or (None if args.rows else PAGE)
    if output and not args.check:
        output.write_text(text, encoding="utf-8")
        print(f"wrote {output}")
    sys.exit(report_checks(checks, args, text))


if __name__ == "__main__":
    main()
