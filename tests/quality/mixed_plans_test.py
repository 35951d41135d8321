"""Tests of the mixed plans' parsing, figures, checks and page, on a quantctl made up here."""

import json
import math
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import mixed_plans
import page
import reading
from mixed_plans import AS_IT_IS, SETS, Candidates, Option, Plan, Planner
from rows import RowError

SIZES = {"e.0.a": 64, "e.0.b": 192, "left": 64}
CANDIDATES = Candidates("two", "m:bits=2|4", ("m:bits=2", 3.0))
# Bytes and errors by layer and candidate: 2 and 4 bits a weight; the small layer gains more.
MEASURED = {"e.0.a": {"m:bits=2": (16, 0.4), "m:bits=4": (32, 0.04)},
            "e.0.b": {"m:bits=2": (48, 0.1), "m:bits=4": (96, 0.02)}}


def frontier_line(module, figures, **changes):
    candidates = [{"asked": "{}", "outcome": "OK", "bytes": size, "output_error": error, **changes}
                  for size, error in figures]
    return json.dumps({"module": module, "source": "", "report": json.dumps({"candidates": candidates})})


def printed(chosen):
    """What `plan -v` prints: `left` is in no pattern and has 32 bits."""
    def of(module, name):
        return (4 * SIZES[module], 0.0) if name == AS_IT_IS else MEASURED[module][name]
    total = sum(SIZES.values())
    bits = sum(8 * of(module, name)[0] for module, name in chosen.items()) / total
    error = sum(of(module, name)[1] * SIZES[module] for module, name in chosen.items()) / total
    lines = ["plan for 3 bits a weight  bits a weight  bytes  error  Q_r", "-----  ---  ---  ----  ---",
             f"this plan  {bits:.4f}  4.04 MB  {error:.4g}  0.98", "uniform: as it is  32.0000  43 MB  0  0", "",
             "chosen  layers", "------  ------", "m:bits=2  1", "",
             "layer   chosen  bits  error", "-----  ----  --  --"]
    lines += [f"{module}  {name}  {8 * of(module, name)[0] / SIZES[module]:.3f}  {of(module, name)[1]:.4g}"
              for module, name in chosen.items()]
    return "\n".join([*lines, "", "choice   the optimum of 3 layers", ""])


class FakeQuantctl:
    """Gives the small layer 4 bits where the budget allows it."""

    def __init__(self, worse=1.0, quantized=("e.0.a", "e.0.b"), complaint=""):
        self.worse, self.quantized, self.complaint = worse, quantized, complaint
        self.asked, self.chosen = [], {}

    def __call__(self, command, *arguments, seconds):
        flags = dict(zip(arguments[1::2], arguments[2::2]))
        return self.plan(flags) if command == "plan" else self.quantize(flags)

    def plan(self, flags):
        budget = float(flags["--budget"].removesuffix("bpw"))
        self.asked.append(budget)
        if budget > 32:
            with open(flags["--frontier"], "w", encoding="utf-8") as file:
                file.write('{"quantd_journal":1}\n')
                file.writelines(frontier_line(module, of.values()) + "\n" for module, of in MEASURED.items())
            return printed(dict.fromkeys(SIZES, AS_IT_IS))
        if self.complaint:
            raise RowError(self.complaint)
        rich = budget * sum(SIZES.values()) >= 4 * 64 + 2 * 192 + 32 * 64
        self.chosen = {"e.0.a": "m:bits=4" if rich else "m:bits=2", "e.0.b": "m:bits=2"}
        return printed({**self.chosen, "left": AS_IT_IS})

    def quantize(self, flags):
        tensors = []
        for module in self.quantized:
            size, error = MEASURED[module][self.chosen[module]]
            tensors.append({"name": f"{module}.weight", "outcome": "OK", "reason": "", "rows": 1,
                            "cols": SIZES[module], "all_in_bits_per_weight": 8 * size / SIZES[module],
                            "error": {"output_relative_error": error * self.worse}})
        with open(flags["--report"], "w", encoding="utf-8") as file:
            json.dump({"tensors": tensors}, file)
        return ""


def plans_by(quantctl, candidates=CANDIDATES):
    with tempfile.TemporaryDirectory() as folder:
        planner = Planner(quantctl, "model", r"^e\.", "statistics", folder, SIZES.__getitem__)
        return list(planner.run(candidates))


def made_plan(predicted=0.1, measured=0.1, bits=3.0, uniform=0.2, **changes):
    return Plan(CANDIDATES, 3.0, predicted=Option(bits, predicted), measured=Option(bits, measured),
                uniform=("m:bits=2", Option(2.0, uniform)), **changes)


class ParsingTest(unittest.TestCase):
    def test_candidates_stand_in_the_order_in_which_quantctl_counts(self):
        self.assertEqual(mixed_plans.expand("a:x=1|2,y=3|4; b ;c:z=5x8"),
                         ["a:x=1,y=3", "a:x=1,y=4", "a:x=2,y=3", "a:x=2,y=4", "b", "c:z=5x8"])

    def test_a_budget_named_by_a_candidate_names_one_of_its_set(self):
        for one in SETS:
            names = mixed_plans.expand(one.text)
            self.assertEqual(len(set(names)), len(names))
            self.assertLessEqual({budget for budget in one.budgets if isinstance(budget, str)}, set(names))

    def test_the_last_line_of_a_layer_counts(self):
        lines = ['{"quantd_journal":1}', frontier_line("e.0.a", [(1, 0.5)]), frontier_line("e.0.a", [(24, 0.25)])]
        self.assertEqual(mixed_plans.frontier_of(lines, ["m"], SIZES), {"e.0.a": {"m": Option(3.0, 0.25)}})

    def test_what_did_not_end_ok_is_left_out(self):
        refused = [frontier_line("e.0.a", [(1, 0.5)], outcome="DEGRADED")]
        self.assertEqual(mixed_plans.frontier_of(refused, ["m"], SIZES), {"e.0.a": {}})

    def test_other_candidates_than_named_are_refused(self):
        with self.assertRaisesRegex(RowError, "e.0.a: 1 candidates measured, 2 named"):
            mixed_plans.frontier_of([frontier_line("e.0.a", [(1, 0.5)])], ["m", "n"], SIZES)

    def test_tables_of_a_plan(self):
        tables = mixed_plans.text_tables(printed({"e.0.a": "m:bits=4", "left": AS_IT_IS}))
        self.assertEqual(list(tables), ["plan", "chosen", "layer"])
        self.assertEqual(tables["plan"][0]["bits a weight"], "7.2000")
        self.assertEqual([(row["layer"], row["chosen"]) for row in tables["layer"]],
                         [("e.0.a", "m:bits=4"), ("left", AS_IT_IS)])


class FigureTest(unittest.TestCase):
    def test_means_go_by_parameters(self):
        found = mixed_plans.mean({"e.0.a": Option(4.0, 0.4), "e.0.b": Option(2.0, 0.2)}, SIZES)
        self.assertAlmostEqual(found.bits, 2.5)
        self.assertAlmostEqual(found.error, 0.25)

    def test_uniform_is_only_what_all_layers_have(self):
        frontier = {"e.0.a": {"m": Option(2, 0.1), "n": Option(1, 0.1)}, "e.0.b": {"m": Option(2, 0.3)}}
        found = mixed_plans.uniforms(frontier, ["m", "n"], SIZES)
        self.assertEqual(list(found), ["m"])
        self.assertAlmostEqual(found["m"].error, 0.25)

    def test_the_best_within_a_budget_may_use_all_of_it(self):
        options = {"two": Option(2.0, 0.2), "three": Option(3.0, 0.1), "wasteful": Option(3.0, 0.3)}
        self.assertEqual(mixed_plans.best_within(options, 3.0)[0], "three")
        self.assertEqual(mixed_plans.best_within(options, 2.9)[0], "two")
        self.assertTrue(math.isnan(mixed_plans.best_within(options, 1.0)[1].error))

    def test_kinds_are_names_without_a_block(self):
        self.assertEqual(mixed_plans.kind_of("encoder.layer.3.attention.self.query"), "attention.self.query")


class PlannerTest(unittest.TestCase):
    def test_a_plan_is_made_measured_and_compared(self):
        least, rich = plans_by(FakeQuantctl())
        self.assertEqual((least.title, least.budget), ("two, 2 bits", 2.0))
        self.assertEqual((least.uniform_ratio, least.failure, least.told), (1.0, "", ""))
        self.assertEqual(rich.chosen, {"e.0.a": "m:bits=4", "e.0.b": "m:bits=2"})
        self.assertAlmostEqual(rich.measured.bits, 2.5)
        self.assertAlmostEqual(rich.predicted.error, (0.04 * 64 + 0.1 * 192) / 256)
        self.assertEqual((rich.measured_ratio, rich.uniform[0]), (1.0, "m:bits=2"))

    def test_the_budget_that_is_asked_for_counts_what_is_left_out(self):
        quantctl = FakeQuantctl()
        plans_by(quantctl)
        for asked, budget in zip(quantctl.asked[1:], (2.0, 3.0)):
            self.assertEqual(math.floor(asked * 320 / 8), budget * 256 / 8 + 4 * 64)

    def test_a_recipe_that_does_worse_than_its_plan_shows(self):
        self.assertAlmostEqual(plans_by(FakeQuantctl(worse=1.1))[1].measured_ratio, 1.1)

    def test_failures_are_kept_with_their_plan(self):
        complaint = "exit 2: error: the budget cannot be met"
        self.assertEqual([plan.failure for plan in plans_by(FakeQuantctl(complaint=complaint))],
                         [complaint] * 2)
        missing = plans_by(FakeQuantctl(quantized=["e.0.a"]))
        self.assertEqual(missing[0].failure, "recipe and report differ in e.0.b")
        unknown = plans_by(FakeQuantctl(), Candidates("x", "m:bits=2", (3.0,)))
        self.assertIn("2 candidates measured, 1 named", unknown[0].failure)
        self.assertEqual(unknown[0].title, "x")

    def test_a_table_that_says_otherwise_is_told(self):
        quantctl = FakeQuantctl()
        plan = quantctl.plan
        quantctl.plan = lambda flags: plan(flags).replace("this plan  8.0000", "this plan  7.0000")
        self.assertIn("8.0000 computed", plans_by(quantctl)[0].told)


class CheckTest(unittest.TestCase):
    def failed(self, plan):
        return [check.what.removeprefix("mixed plans: ")[:12]
                for check in mixed_plans.checks([plan]) if not check.passed]

    def test_each_check_can_fail(self):
        self.assertEqual(self.failed(made_plan()), [])
        self.assertEqual(self.failed(made_plan(measured=0.106)), ["measured err"])
        self.assertEqual(self.failed(made_plan(bits=3.01)), ["none has mor"])
        self.assertEqual(self.failed(made_plan(uniform=0.0999)), ["none is wors"])
        self.assertEqual(self.failed(made_plan(told="error 1 told")), ["quantctl's o"])

    def test_no_uniform_candidate_within_the_budget_is_no_failure(self):
        self.assertEqual(self.failed(made_plan(uniform=math.nan)), [])

    def test_plans_that_fail_do_not_pass_as_good_ones(self):
        checks = mixed_plans.checks([Plan(CANDIDATES, failure="exit 2")])
        self.assertEqual(sum(not check.passed for check in checks), 4)


class PageTest(unittest.TestCase):
    def test_the_tables_hold_every_figure(self):
        plans = [*plans_by(FakeQuantctl()), Plan(CANDIDATES, 9.0, failure="exit 2")]
        text = "\n\n".join(f"# {table.heading}\n\n{table.markdown()}" for table in mixed_plans.tables(plans))
        cells = page.parse(text)
        self.assertEqual(cells["Mixed precision", "two, 3 bits", "bpw"], "2.500")
        self.assertEqual(cells["Mixed precision", "two, 3 bits", "measured / predicted: ratio"], "1.0000")
        self.assertEqual(cells["Mixed precision", "two, 3 bits", "plan / base: ratio"], "0.4857")
        self.assertEqual(cells["Mixed precision", "two, 9 bits", "measured error"], "**failed**: exit 2")
        self.assertEqual(cells["Mixed precision: bits by kind of layer", "a", "two, 3 bits: bpw"], "4.000")
        self.assertEqual([column for _, _, column in cells if column != "row" and not page.is_compared(column)], [])

    def test_the_note_says_where_the_bits_went(self):
        plans = plans_by(FakeQuantctl(), Candidates(SETS[0].title, CANDIDATES.text, CANDIDATES.budgets))
        for plan in plans:
            plan.candidates = SETS[0]
        note = reading.mixed_note(plans)
        self.assertIn("\n2 bits are those of `m:bits=2` on all layers.", note)
        self.assertIn("At 2 bits all layers of *gptq* get `m:bits=2`: no mixture is better.", note)
        self.assertIn("At 3 bits plans of *gptq* leave 0.49 of the base's error. All of them give more bits than the "
                      "mean to `a` and fewer to `b`.", note)

    def test_methods_are_told_where_there_are_several(self):
        one = plans_by(FakeQuantctl())[1]
        self.assertEqual(reading.mixed_methods([one]), "")
        one.chosen["e.0.a"] = "n:bits=4"
        self.assertEqual(reading.mixed_methods([one]), " Of the weights they make 75 % m; 25 % n.")

    def test_a_page_without_plans_has_no_section(self):
        self.assertEqual([table.rows for table in mixed_plans.tables([])], [[], []])
        text = reading.page_text(mixed_plans.tables([]), [], [], {}, [], [], [], ".")
        self.assertNotIn("Mixed precision", text)


if __name__ == "__main__":
    unittest.main()
