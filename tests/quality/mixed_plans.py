"""Mixed precision: `quantctl plan`, then `quantctl quantize --recipe`, against one candidate for all layers.

Errors here are means of the layers' errors weighted with parameters: what a plan makes least.
"""

import dataclasses
import itertools
import json
import math
import os
import re
import shutil

import figures
import page
from figures import Check
from rows import RowError

PLAN_SECONDS = 1200  # additive candidates take about a minute on two idle cores
TOLERANCE = 0.05
AS_IT_IS = "as it is"  # quantctl's name for a layer that is not quantized
MOST = 1 + figures.SLACK
NO_LIMIT = "1000bpw"
FAILURES = (RowError, figures.ReportError, KeyError, ValueError)  # of a run, and of what it wrote


@dataclasses.dataclass(frozen=True)
class Candidates:
    title: str  # as on the page
    text: str  # --candidates
    budgets: tuple  # bits a weight; a candidate's name: as many as it takes on all layers


SETS = (
    Candidates("gptq", "gptq:bits=2|3|4,group-size=32|64|128; gptq:bits=5|6|8,group-size=128",  # plan's own default
               ("gptq:bits=2,group-size=128", 3.0, "gptq:bits=3,group-size=128", 4.0, "gptq:bits=4,group-size=128")),
    Candidates("gptq and aqlm", "gptq:bits=2|3|4|5|6|8,group-size=128; gptq:bits=2|3|4,group-size=32|64; "
               "aqlm:scheme=1x8|1x8g4|2x8|3x8", (2.0, 2.5, 3.0)),
)


@dataclasses.dataclass
class Option:
    """One candidate on one layer, or on all of them."""
    bits: float
    error: float


@dataclasses.dataclass
class Plan:
    candidates: Candidates
    budget: float = math.nan  # bits a weight of the layers that are planned
    budget_of: str = ""  # the candidate that takes so many on all layers
    failure: str = ""
    chosen: dict = dataclasses.field(default_factory=dict)  # module -> name of its candidate
    layers: dict = dataclasses.field(default_factory=dict)  # module -> figures.Layer, of the report
    predicted: Option | None = None
    measured: Option | None = None
    uniform: tuple = ("-", Option(math.nan, math.nan))  # the best within the budget; NaN: none is
    told: str = ""  # where quantctl's own table says otherwise

    @property
    def title(self):
        return self.candidates.title + ("" if math.isnan(self.budget) else f", {self.budget:.4g} bits")

    @property
    def measured_ratio(self):
        return self.measured.error / self.predicted.error

    @property
    def uniform_ratio(self):
        return self.measured.error / self.uniform[1].error


def expand(text):
    """Names of the candidates that METHOD:KEY=VALUE|VALUE,...;... stands for, in quantctl's order."""
    names = []
    for one in filter(None, map(str.strip, text.split(";"))):
        method, _, settings = one.partition(":")
        parts = [part.strip().partition("=") for part in settings.split(",") if part.strip()]
        for values in itertools.product(*(part[2].split("|") for part in parts)):
            chosen = ",".join(f"{part[0]}={value}" for part, value in zip(parts, values))
            names.append(f"{method}:{chosen}" if chosen else method)
    return names


def frontier_of(lines, names, parameters):
    """{module: {name: Option}} of a file that was measured in one go, so that its candidates stand as `names` do.

    The last line about a module counts. What did not end OK is left out: a plan does not take it either."""
    frontier = {}
    for entry in map(json.loads, lines):
        if "module" not in entry:
            continue
        module, candidates = entry["module"], json.loads(entry["report"])["candidates"]
        if len(candidates) != len(names):
            raise RowError(f"{module}: {len(candidates)} candidates measured, {len(names)} named")
        frontier[module] = {name: Option(8 * one["bytes"] / parameters[module], one["output_error"])
                            for name, one in zip(names, candidates) if one["outcome"] == "OK"}
    return frontier


def text_tables(text):
    """{first word: [{column: cell}]} of the tables that quantctl prints: dashes below their headings."""
    found, header, rows = {}, [], None
    lines = text.splitlines()
    for above, line in zip(lines, lines[1:]):
        if re.fullmatch(r"-[- ]*", line):
            header = re.split(r"\s{2,}", above.strip())
            rows = found[header[0].split()[0]] = []
        elif not line.strip():
            rows = None
        elif rows is not None:
            rows.append(dict(zip(header, re.split(r"\s{2,}", line.strip()))))
    return found


def mean(options, parameters):
    """Of {module: Option or Layer}, weighted with parameters."""
    total = sum(parameters[module] for module in options)
    return Option(*(sum(getattr(one, field) * parameters[module] for module, one in options.items()) / total
                    for field in ("bits", "error")))


def uniforms(frontier, names, parameters):
    """{name: Option} of every candidate that all layers have."""
    return {name: mean({module: options[name] for module, options in frontier.items()}, parameters)
            for name in names if all(name in options for options in frontier.values())}


def best_within(options, budget):
    within = [(name, one) for name, one in options.items() if one.bits <= budget * MOST]
    return min(within, key=lambda pair: pair[1].error, default=Plan.uniform)


class Planner:
    """Makes plans, and the folders of their recipes. `call` runs quantctl and returns what it prints;
    `parameters` tells the size of a module's weight."""

    def __init__(self, call, model, modules, statistics, folder, parameters):
        self._call, self._model, self._modules = call, model, modules
        self._statistics, self._folder, self._sizes = statistics, folder, parameters

    def run(self, candidates):
        """Yields the plans of all budgets."""
        try:
            measured = Measured(self, candidates)
        except FAILURES as error:
            yield Plan(candidates, failure=_text(error))
            return
        for asked in candidates.budgets:
            plan = Plan(candidates, budget_of=asked if isinstance(asked, str) else "")
            try:
                plan.budget = measured.uniforms[asked].bits if plan.budget_of else asked
                self._fill(plan, measured)
            except FAILURES as error:
                plan.failure = _text(error)
            yield plan

    def plan(self, candidates, budget, recipe):
        """The tables that `quantctl plan` prints, and where it keeps what it measured."""
        frontier = os.path.join(self._folder, f"{candidates.title.replace(' ', '-')}.frontier.jsonl")
        text = self._call("plan", self._model, "-o", recipe, "--frontier", frontier, "--candidates", candidates.text,
                          "--layout", "plain", "--include", self._modules, "--statistics", self._statistics,
                          "--budget", budget, "-v", seconds=PLAN_SECONDS)
        return text_tables(text), frontier

    def recipe(self):
        return os.path.join(self._folder, "plan.yaml")

    def sizes(self, modules):
        return {module: self._sizes(module) for module in modules}

    def _fill(self, plan, measured):
        tables, _ = self.plan(measured.candidates, measured.asked(plan.budget), self.recipe())
        plan.chosen = {row["layer"]: row["chosen"] for row in tables["layer"] if row["layer"] in measured.frontier}
        plan.predicted = mean({module: measured.option(module, name) for module, name in plan.chosen.items()},
                              measured.parameters)
        plan.told = measured.difference(tables, plan.predicted)
        plan.uniform = best_within(measured.uniforms, plan.budget)
        plan.layers = self._quantize(plan, measured)
        plan.measured = mean(plan.layers, measured.parameters)

    def _quantize(self, plan, measured):
        """{module: Layer} by the report of a run of the recipe."""
        out, report = os.path.join(self._folder, "out"), os.path.join(self._folder, "report.json")
        try:
            self._call("quantize", self._model, "-o", out, "--recipe", self.recipe(), "--jobs", "1",
                       "--statistics", self._statistics, "--report", report, seconds=PLAN_SECONDS)
        finally:
            shutil.rmtree(out, ignore_errors=True)
        layers = figures.read_report(report).layers
        for module, name in plan.chosen.items():
            if name == AS_IT_IS:
                layers[module] = figures.Layer(0.0, measured.dense_bits[module], measured.parameters[module])
        if set(layers) != set(plan.chosen):
            raise RowError(f"recipe and report differ in {sorted(set(layers) ^ set(plan.chosen))[0]}")
        return layers


def _text(error):
    return str(error) if isinstance(error, RowError) else f"{type(error).__name__}: {error}"


class Measured:
    """What a first plan without a limit leaves: every candidate on every layer."""

    def __init__(self, planner, candidates):
        tables, frontier = planner.plan(candidates, NO_LIMIT, planner.recipe())
        self.candidates, names = candidates, expand(candidates.text)
        self.parameters = planner.sizes(row["layer"] for row in tables["layer"])
        self.dense_bits = {row["layer"]: float(row["bits"]) for row in tables["layer"] if row["chosen"] == AS_IT_IS}
        with open(frontier, encoding="utf-8") as file:
            self.frontier = frontier_of(file, names, self.parameters)
        self.uniforms = uniforms(self.frontier, names, self.parameters)

    def asked(self, budget):
        """--budget counts the layers that --include leaves out, as they are; ours does not. The half byte keeps
        decimals from costing a whole one."""
        planned = math.floor(budget * self._size(self.frontier) / 8 + 1e-6)
        return f"{(8 * (planned + 0.5) + self._left_out()) / self._size(self.parameters):.17g}bpw"

    def option(self, module, name):
        return Option(self.dense_bits[module], 0.0) if name == AS_IT_IS else self.frontier[module][name]

    def difference(self, tables, predicted):
        """Where the plan's own table says something else than `predicted`: it has 4 digits, and all layers."""
        row = tables["plan"][0]
        planned, everything = self._size(self.frontier), self._size(self.parameters)
        bits = (predicted.bits * planned + self._left_out()) / everything
        error = predicted.error * planned / everything
        if abs(float(row["bits a weight"]) - bits) < 1e-4 and math.isclose(float(row["error"]), error, rel_tol=1e-3):
            return ""
        return f"error {row['error']} at {row['bits a weight']} bits told, {error:.4g} at {bits:.4f} computed"

    def _size(self, modules):
        return sum(self.parameters[module] for module in modules)

    def _left_out(self):
        """Bits of the layers that no pattern includes."""
        return sum(self.dense_bits[module] * self.parameters[module]
                   for module in self.parameters if module not in self.frontier)


def run(planner):
    plans = []
    for candidates in SETS:
        for plan in planner.run(candidates):
            shown = plan.failure or (f"error {plan.predicted.error:.4g} predicted, {plan.measured.error:.4g} measured "
                                     f"at {plan.measured.bits:.3f} bpw")
            print(f"  mixed: {plan.title}: {shown}", flush=True)
            plans.append(plan)
    return plans


def tables(plans):
    return [errors_table(plans), kinds_table([plan for plan in plans if not plan.failure])]


def errors_table(plans):
    table = page.Table("Mixed precision", [
        "row", "bpw", "predicted error", "measured error", "measured / predicted: ratio", "best uniform base",
        "base: bpw", "base: error", "plan / base: ratio"])
    for plan in plans:
        if plan.failure:
            table.add(plan.title, *["-"] * 2, f"**failed**: {plan.failure}", *["-"] * 5)
            continue
        name, base = plan.uniform
        table.add(plan.title, f"{plan.measured.bits:.3f}", page.figure(plan.predicted.error),
                  page.figure(plan.measured.error), f"{plan.measured_ratio:.4f}", name,
                  "-" if math.isnan(base.bits) else f"{base.bits:.3f}", page.figure(base.error),
                  page.figure(plan.uniform_ratio))
    return table


def kind_of(module):
    """"attention.self.query" of "encoder.layer.3.attention.self.query"."""
    return re.sub(r"^.*\.\d+\.", "", module)


def bits_by_kind(plan):
    """{kind: bits a weight}, in order of names."""
    kinds = {}
    for module in sorted(plan.layers, key=kind_of):
        kinds.setdefault(kind_of(module), {})[module] = plan.layers[module]
    return {kind: figures.Result(layers).bits for kind, layers in kinds.items()}


def share_by_method(plan):
    """{method: share of the weights}."""
    shares = {}
    total = sum(layer.parameters for layer in plan.layers.values())
    for module, name in plan.chosen.items():
        method = name.partition(":")[0]
        shares[method] = shares.get(method, 0) + plan.layers[module].parameters / total
    return shares


def kinds_table(plans):
    table = page.Table("Mixed precision: bits by kind of layer", ["row", *(f"{plan.title}: bpw" for plan in plans)])
    columns = [bits_by_kind(plan) for plan in plans]
    for kind in columns[0] if columns else ():
        table.add(kind, *(f"{column[kind]:.3f}" for column in columns))
    return table


def checks(plans):
    made = [plan for plan in plans if not plan.failure]
    failed = [f"{plan.title}: {plan.failure}" for plan in plans if plan.failure]
    found = [Check("mixed plans: every plan runs", not failed, "; ".join(failed) or f"{len(plans)} plans")]
    differ = [f"{plan.title}: {plan.told}" for plan in made if plan.told]
    found.append(Check("mixed plans: quantctl's own table says what its frontier does", not differ,
                       "; ".join(differ) or f"{len(made)} plans"))
    limits = (
        ("measured errors are the predicted ones, within 5 %", "measured / predicted",
         lambda plan: plan.measured_ratio, lambda ratio: abs(ratio - 1) <= TOLERANCE),
        ("none has more bits than its budget", "bits / budget",
         lambda plan: max(plan.measured.bits, plan.predicted.bits) / plan.budget, lambda ratio: ratio <= MOST),
        ("none is worse than the best uniform candidate within its budget", "plan / uniform",
         lambda plan: plan.uniform_ratio, lambda ratio: math.isnan(ratio) or ratio <= MOST),
    )
    return found + [_within(made, *limit) for limit in limits]


def _within(plans, what, shown, ratio_of, holds):
    ratios = {plan.title: ratio_of(plan) for plan in plans}
    beyond = [f"{title}: {shown} {ratio:.4f}" for title, ratio in ratios.items() if not holds(ratio)]
    known = [ratio for ratio in ratios.values() if not math.isnan(ratio)]
    span = f"{shown} {min(known):.4f} to {max(known):.4f}" if known else "nothing to compare"
    return Check(f"mixed plans: {what}", bool(plans) and not beyond, "; ".join(beyond) or span)
