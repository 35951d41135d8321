"""From report files to figures: averages over layers, comparisons at equal bits, checks.

A result is {layer: Layer}. Errors are shares of the output's power: tr(D H D^T) / tr(W H W^T), D = W - W'.
"""

import dataclasses
import json
import math

SLACK = 1e-9  # two ways to the same bytes give the same figure


class ReportError(Exception):
    """A report without the figures that the table needs."""


@dataclasses.dataclass
class Layer:
    error: float
    bits: float  # all-in bits per weight
    parameters: int
    degraded: bool = False
    candidates: tuple = ()  # (name, error, chosen)
    drift_error: float | None = None


@dataclasses.dataclass
class Result:
    layers: dict  # name -> Layer
    seconds: float = 0.0
    decoded: float = math.nan  # tables that measure decoded weights themselves: see statistics.py
    decoded_plain: float = math.nan
    disagreements: tuple = ()  # where a report and its decoded weights tell different errors

    @property
    def error(self):
        """Geometric mean: a ratio of two rows is the typical ratio on one layer, whatever its size."""
        return geometric_mean([layer.error for layer in self.layers.values()])

    @property
    def bits(self):
        parameters = sum(layer.parameters for layer in self.layers.values())
        return sum(layer.bits * layer.parameters for layer in self.layers.values()) / parameters

    @property
    def degraded(self):
        return sum(layer.degraded for layer in self.layers.values())


def geometric_mean(values):
    return math.exp(sum(math.log(max(value, 1e-300)) for value in values) / len(values))


def read_report(path):
    with open(path, encoding="utf-8") as file:
        return result_of(json.load(file))


def result_of(report):
    layers, jobs = {}, set()
    for tensor in report["tensors"]:
        name = tensor["name"]
        error = tensor["error"].get("output_relative_error")
        if error is None:
            raise ReportError(f"{name}: no output error in the report (outcome {tensor['outcome']} {tensor['reason']})")
        layers[name.removesuffix(".weight")] = Layer(
            error, tensor["all_in_bits_per_weight"], tensor["rows"] * tensor["cols"], tensor["outcome"] != "OK",
            tuple(map(_candidate, tensor.get("candidates") or ())), tensor.get("drift_error"))
        # Weights of one job carry the same times, to the last digit.
        jobs.add(tuple(sorted(tensor.get("job_seconds", {}).items())))
    if not layers:
        raise ReportError("the report has no layers")
    seconds = sum(stage["total"] - stage["upload"] - stage["queue"] for stage in map(dict, jobs) if stage)
    return Result(layers, seconds)


def _candidate(candidate):
    error = candidate["error"].get("output_relative_error")
    return candidate["name"], math.inf if error is None else error, bool(candidate.get("chosen"))


def lower_hull(points):
    """The lower convex hull of (bits, log error), left to right, as far as it falls."""
    hull = []
    for point in sorted(points):
        while len(hull) >= 2 and _turns_right(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    best = min(range(len(hull)), key=lambda index: hull[index][1])
    return hull[: best + 1]


def _turns_right(a, b, c):
    return (b[0] - a[0]) * (c[1] - a[1]) <= (c[0] - a[0]) * (b[1] - a[1])


def at_bits(points, bits, from_below=False):
    """log error of a base at `bits`, on the straight lines of its lower hull; None outside its curve.

    from_below: fewer bits than the base ever has count as its fewest, to the base's advantage."""
    hull = lower_hull(points)
    if from_below:
        bits = max(bits, hull[0][0])
    if not hull[0][0] <= bits <= max(points)[0]:
        return None
    for (left, low), (right, high) in zip(hull, hull[1:]):
        if bits <= right:
            return low + (high - low) * (bits - left) / (right - left)
    return hull[-1][1]


@dataclasses.dataclass
class Comparison:
    """An outlier method against its base at equal all-in bits, over some layers."""
    layers: int = 0
    won: int = 0
    error: float = math.nan
    base: float = math.nan

    @property
    def ratio(self):
        return self.error / self.base


def compare_at_equal_bits(result, bases, chosen, from_below=False):
    """`chosen`: the layers that count. Layers whose bits the base's curve does not reach are left out."""
    mine, theirs = [], []
    for name in chosen:
        layer = result.layers[name]
        points = [(base.layers[name].bits, math.log(max(base.layers[name].error, 1e-300))) for base in bases]
        reached = at_bits(points, layer.bits, from_below)
        if reached is not None:
            mine.append(layer.error)
            theirs.append(math.exp(reached))
    if not mine:
        return Comparison()
    won = sum(a < b for a, b in zip(mine, theirs))
    return Comparison(len(mine), won, geometric_mean(mine), geometric_mean(theirs))


@dataclasses.dataclass
class Check:
    what: str
    passed: bool
    detail: str


def check_order(results, better, worse, widths, what):
    """The row `better` has the smaller mean error at every width."""
    details, passed = [], True
    for width in widths:
        a, b = results.get((better, width)), results.get((worse, width))
        if a is None or b is None:
            details.append(f"{width} bits: a row is missing")
            passed = False
            continue
        layers = sum(a.layers[name].error < b.layers[name].error for name in a.layers)
        details.append(f"{width} bits: {a.error / b.error:.3f} x, smaller on {layers} of {len(a.layers)} layers")
        passed &= a.error < b.error
    return Check(what, passed, "; ".join(details))


def check_adaptive(results, adaptive, fixed, widths, what):
    """On each layer the adaptive row is no worse than the best of the rows `fixed`, and its own report agrees."""
    details, passed = [], True
    for width in widths:
        row, others = results.get((adaptive, width)), [results.get((key, width)) for key in fixed]
        if row is None or None in others:
            details.append(f"{width} bits: a row is missing")
            passed = False
            continue
        worse, unsure, down = [], [], 0
        for name, layer in row.layers.items():
            if layer.error > min(other.layers[name].error for other in others) * (1 + SLACK):
                worse.append(name)
            chosen = [c for c in layer.candidates if c[2]]
            if len(chosen) != 1 or chosen[0][1] > min(c[1] for c in layer.candidates):
                unsure.append(name)
            else:
                down += chosen[0][0] == "in"
        text = f"{width} bits: per-IC on {down} of {len(row.layers)} layers"
        if worse:
            text += f", worse than a fixed axis on {len(worse)} ({worse[0]})"
        if unsure:
            text += f", candidates missing or not the least on {len(unsure)} ({unsure[0]})"
        details.append(text)
        passed &= not worse and not unsure
    return Check(what, passed, "; ".join(details))


def check_decoded(results):
    """The errors of reports are those of the weights that a user of the folder gets."""
    measured = [result for result in results.values() if not math.isnan(result.decoded)]
    found = [text for result in measured for text in result.disagreements]
    return Check("errors of reports are those of decoded weights, within 0.1 %", not found,
                 f"{len(found)} differ, the first: {found[0]}" if found else f"{len(measured)} runs compared")


def check_widths(results, keys, widths):
    """More bits, less error: for every row of several widths."""
    broken = [key for key in keys for more, fewer in zip(widths, widths[1:])
              if (key, more) in results and (key, fewer) in results
              and not results[key, more].error < results[key, fewer].error]
    return Check("more bits, less error, in every row", not broken, ", ".join(dict.fromkeys(broken)) or "all rows")
