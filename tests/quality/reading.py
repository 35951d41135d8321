"""The words of docs/quality.md: what the figures are, what this run's figures say, how to print a row."""

import mixed_plans
from rows import WIDTHS
from statistics_files import DRIFT_BITS

HEAD = """# Quality: every method on a real model

<!-- Written by tests/quality/run.py: change it, or its rows.py, not this page. -->

Printed by

```
make demo     # once: fetches the model into build/demo/model
tests/quality/run.py build/release/bin            # writes this page
tests/quality/run.py build/release/bin --check    # compares a fresh run with it: exit 1 beyond 2 %
```

All-MiniLM-L6-v2, {layers} linear layers of its encoder, quantized with `quantctl quantize --layout plain` and
statistics of real text from `demo/collect_statistics.py` (10,000 tokens; see [statistics.md](statistics.md)).

- **error**: tr(D H D') / tr(W H W') with D = W - W', the share of a layer's output power that is wrong; measured by
  the service on the packed bytes. One figure stands for all layers: their geometric mean, so that the ratio of two
  rows is the typical ratio on one layer, whatever its size.
- **bpw**: every byte delivered x 8 / weights: codes, scales, tables, outliers, kept columns. Over all layers, weighted
  by parameters. The model is small (rows of 384 and 1536 weights), so a table a row or a column weighs more than it
  would in a larger one.
- **time**: work in the service (fit, solve, pack, measure; no transfer) in multiples of `rtn` at 4 bits. It is the
  machine's, is not compared by `--check`, and small jobs make it rough.

Groups are 128 weights along a row and scales F16 unless the row or its preset says otherwise. The flags of each row
stand at the end.
"""

OUTLIERS = """A layer has outliers when a weight lies beyond 20 standard deviations of its tensor: {count} of {layers}
do. The base's error at the same bits comes from rows of the tables above: a straight line between two of them, bits
against log error, along the lower hull, layer by layer. A ratio below 1 means that outliers are worth their bits;
`-`: the base's rows do not reach that many or that few bits.

{verdict}"""

ADDITIVE = """Every M neighbouring codes name entries of M codebooks that the whole layer shares, and a patch of weights is
their sum ([aqlm.md](aqlm.md)). *gptq at equal bits*: act-order, groups of 128 and less, on a straight line between two
rows, bits against log error, layer by layer; where aqlm needs fewer bits than gptq ever does, gptq's fewest. Rows of
384 weights make codebooks dear: on layers of usual sizes 2x8 needs 2.01 bits.

{verdict}"""

KNOWN = """Layers made up by `tests/reference/aqlm_case.cc`, run through the engine by `aqlm_cases`. *figure*: what a plain
implementation in Python reached on a layer of the same kind; it starts as with `refine-rounds=0`, and its numbers are
drawn otherwise. *bound*: no code of so many bits can leave less (rate-distortion, all bits counted)."""

MIXED = """`quantctl plan` measures every candidate on every layer, gives each layer one so that the error is least
within a budget of bits, and writes a recipe that `quantctl quantize` runs ([plan.md](plan.md)). Errors here are means
weighted with parameters, which is what a plan makes least, not geometric means as above. *Predicted*: what was
measured of the chosen candidates before there was a recipe. *Measured*: by the report of the recipe's run. *Base*: of
the candidates that all layers alike can have within the budget, the one that leaves the least error; where it has
fewer bits than the budget, part of what a plan wins is that it fills it. Query, key and value of a block take one
candidate, as loaders fuse them. A row names candidates and budget.{budgets}

{sets}

{verdict}"""

DRIFT = """Inputs as they are when all earlier layers were rounded to {bits} bits. *Error on drifted inputs*:
E|W x - W' x'|^2 / E|W x|^2, x of the full-precision model and x' drifted: it holds the drift itself, which no weights
of one layer undo wholly. *Plain error*: as above, by H of full-precision inputs. Both are computed from the decoded
folder (`quantctl dequantize`), not taken from the report.

{verdict}"""

WEIGHTED = """*Weighted error*: with H = sum r x x' / sum r, r the attention a token receives, stretched to [0.005, 1].
*Plain error*: tokens alike. Both are computed from the decoded folder.

{verdict}"""


def page_text(tables, checks, rows, results, comparisons, layers, with_outliers, modules, mixed=()):
    notes = {
        "Outliers at equal bits": OUTLIERS.format(count=len(with_outliers), layers=len(layers),
                                                  verdict=outlier_verdict(comparisons)),
        "Sums of codebook entries": ADDITIVE.format(verdict=additive_verdict(rows, results)),
        "Known layers: correlated inputs": KNOWN,
        "Mixed precision": mixed_note(mixed),
        "Drifted inputs": DRIFT.format(bits=DRIFT_BITS, verdict=decoded_verdict(
            rows, results, "drift", "drift-gptq-plain")),
        "Weighted tokens": WEIGHTED.format(verdict=decoded_verdict(rows, results, "weighted", "weighted-gptq-plain")),
    }
    parts = [HEAD.format(layers=len(layers))]
    if modules != r"^encoder\.layer\.":
        parts.append(f"This run took only layers that match `{modules}`.\n")
    parts += ["## Reading\n", "\n".join(f"- {line}" for line in main_reading(rows, results)) + "\n"]
    for table in tables:
        if table.rows:
            parts += [f"## {table.heading}\n"] + ([notes[table.heading] + "\n"] if table.heading in notes else [])
            parts.append(table.markdown() + "\n")
    parts += ["## Checks\n", "The script ends with exit code 1 when one fails.\n",
              "\n".join(f"- {'passed' if c.passed else '**FAILED**'}: {c.what}. {c.detail}." for c in checks) + "\n"]
    parts += ["## Flags\n", flags_of(rows)]
    return "\n".join(parts)


def main_reading(rows, results):
    lines = []
    ratios = _ratios(results, "gptq", "rtn")
    if ratios:
        lines.append(f"GPTQ leaves {ratios} of RTN's error at 4, 3 and 2 bits.")
    ratios = _ratios(results, "gptq", "gptq-natural")
    if ratios:
        lines.append(f"Act-order leaves {ratios} of the error of natural order.")
    for adaptive, base in (("adadim-rtn", "rtn-out"), ("adadim-gptq", "gptq-out")):
        ratios = _ratios(results, adaptive, base)
        if ratios:
            lines.append(f"`{adaptive}` leaves {ratios} of the error of groups along rows.")
    for width in WIDTHS:
        front = pareto(rows, results, width)
        if front:
            lines.append(f"{width} bits, the rows that no other beats in both bits and error: " + ", ".join(
                f"{title} ({error:.3g} at {bits:.2f})" for title, bits, error in front) + ".")
    for base, than in (("rtn", "plain rounding"), ("gptq", "plain `gptq`")):
        lost = losers(rows, results, base)
        if lost:
            lines.append(f"More error than {than} for as many bits or more: {lost}.")
    return lines or ["Nothing to read in so few rows."]


def pareto(rows, results, width):
    """[(title, bits, error)] by bits."""
    points = sorted((results[row.key, width].bits, results[row.key, width].error, row.title)
                    for row in rows if row.table in ("main", "groups") and (row.key, width) in results)
    front, least = [], float("inf")
    for bits, error, title in points:
        if error < least:
            front.append((title, bits, error))
            least = error
    return front if len(points) > 1 else []


def losers(rows, results, base):
    found = []
    for row in rows:
        widths = [width for width in row.widths if row.table == "main" and row.key != base
                  and (row.key, width) in results and (base, width) in results
                  and results[row.key, width].error > results[base, width].error
                  and results[row.key, width].bits >= results[base, width].bits - 1e-9]
        if widths:
            found.append(f"{row.title} ({', '.join(map(str, widths))})")
    return "; ".join(found)


def additive_verdict(rows, results):
    """The error of each row over that of gptq with groups of 128 at 2 bits."""
    parts = [f"{row.title}: {results[row.key, None].error / results['gptq', 2].error:.3f} at "
             f"{results[row.key, None].bits:.3f} bits"
             for row in rows
             if row.table == "additive" and (row.key, None) in results and ("gptq", 2) in results]
    if not parts:
        return ""
    return f"In multiples of `gptq` at 2 bits ({results['gptq', 2].bits:.3f} bits): {'; '.join(parts)}."


def outlier_verdict(comparisons):
    wins, losses, unknown = [], [], []
    for key, _, width, _, chosen in comparisons:
        name = f"{key} at {width}"
        (unknown if not chosen.layers else wins if chosen.ratio < 1 else losses).append(name)
    parts = []
    if wins:
        parts.append(f"On layers with outliers these beat their base: {', '.join(wins)}.")
    if losses:
        parts.append(f"These lose to it: {', '.join(losses)}.")
    if unknown:
        parts.append(f"Out of the base's reach: {', '.join(unknown)}.")
    return " ".join(parts)


def mixed_note(plans):
    sets = "\n".join(f"- *{one.title}*: `--candidates \"{one.text}\"`" for one in mixed_plans.SETS)
    budgets = ", ".join(f"{plan.budget:.4g} bits are those of `{plan.budget_of}` on all layers"
                        for plan in plans if plan.budget_of)
    verdict = mixed_verdict([plan for plan in plans if not plan.failure])
    return MIXED.format(sets=sets, budgets=f"\n{budgets}." if budgets else "", verdict=verdict)


def mixed_verdict(plans):
    """What the plans of each set of candidates do with their bits; all layers alike are told apart."""
    lines = []
    for one in mixed_plans.SETS:
        mine = [plan for plan in plans if plan.candidates == one and len(set(plan.chosen.values())) > 1]
        alike = [plan for plan in plans if plan.candidates == one and plan not in mine]
        lines += [f"At {plan.budget:.4g} bits all layers of *{one.title}* get `{next(iter(plan.chosen.values()))}`: "
                  "no mixture is better." for plan in alike]
        if not mine:
            continue
        ratios = [f"{plan.uniform_ratio:.2f}" for plan in mine]
        budgets = ", ".join(f"{plan.budget:.4g}" for plan in mine)
        lines.append(f"At {budgets} bits plans of *{one.title}* leave {', '.join(ratios)} of the base's error. "
                     f"{mixed_kinds(mine)}{mixed_methods(mine)}")
    return "\n\n".join(lines)


def mixed_kinds(plans):
    """Which kinds of layers all these plans give more bits than the mean, and which fewer."""
    bits = [mixed_plans.bits_by_kind(plan) for plan in plans]
    more, fewer = ([kind for kind in bits[0] if all(sign * (of[kind] - plan.measured.bits) > 0
                                                    for plan, of in zip(plans, bits))] for sign in (1, -1))
    return f"All of them give more bits than the mean to {listed(more)} and fewer to {listed(fewer)}."


def mixed_methods(plans):
    """Which share of the weights got which method, where there is a choice."""
    shares = [mixed_plans.share_by_method(plan) for plan in plans]
    methods = sorted(set().union(*shares))
    if len(methods) < 2:
        return ""
    parts = (f"{', '.join(f'{100 * share.get(method, 0):.0f}' for share in shares)} % {method}" for method in methods)
    return f" Of the weights they make {'; '.join(parts)}."


def listed(names):
    return ", ".join(f"`{name}`" for name in names) or "no kind of layer"


def decoded_verdict(rows, results, table, base):
    """The first figure of each row over that of `base`, whose title stands in the same table."""
    titles = {row.key: row.title for row in rows if row.table == table}
    parts = []
    for key, title in titles.items():
        if key != base and all((name, width) in results for name in (key, base) for width in WIDTHS):
            ratios = (results[key, width].decoded / results[base, width].decoded for width in WIDTHS)
            parts.append(f"{title}: {', '.join(f'{ratio:.3f}' for ratio in ratios)}")
    return f"In multiples of *{titles[base]}*, at 4, 3 and 2 bits: {'; '.join(parts)}." if parts else ""


def flags_of(rows):
    lines = ["```"]
    width = max((len(row.key) for row in rows), default=0)
    for row in rows:
        bits = "" if row.widths == (None,) else " --bits " + "|".join(map(str, row.widths))
        settings = f" --set {row.settings}" if row.settings else ""
        statistics = "" if row.statistics == "plain" else f"   # statistics: {row.statistics}"
        lines.append(f"{row.key:{width}}  --method {row.method}{bits}{settings}{statistics}")
    return "\n".join([*lines, "```", ""])


def _ratios(results, key, base):
    if any((name, width) not in results for name in (key, base) for width in WIDTHS):
        return ""
    return ", ".join(f"{results[key, width].error / results[base, width].error:.2f}" for width in WIDTHS)
