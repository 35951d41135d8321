"""Tests of the quality table's arithmetic, checks and page, on reports made up here."""

import contextlib
import io
import math
import os
import pathlib
import stat
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import figures
import known_layers
import page
import reading
import run
import statistics_files
from rows import OUTLIER_BASES, ROWS, WIDTHS, Row


def tensor(name, error, bits=4.0, shape=(2, 8), job=None, **more):
    seconds = {"upload": 1.0, "queue": 2.0, "prepare": 0.5, "solve": 0.25, "measure": 0.25, "total": 4.0}
    return {"name": name, "outcome": "OK", "reason": "", "rows": shape[0], "cols": shape[1],
            "all_in_bits_per_weight": bits, "error": {"output_relative_error": error},
            "job_seconds": {**seconds, **(job or {})}, **more}


def result(errors, bits=4.0, candidates=None):
    layers = {f"l{index}": figures.Layer(error, bits, 100, candidates=(candidates or {}).get(index, ()))
              for index, error in enumerate(errors)}
    return figures.Result(layers)


class ReportTest(unittest.TestCase):
    def test_mean_error_is_geometric_and_bits_go_by_parameters(self):
        tensors = [tensor("a.weight", 0.01, 4.0, (2, 8)), tensor("b.weight", 1.0, 2.0, (6, 8))]
        read = figures.result_of({"tensors": tensors})
        self.assertEqual(list(read.layers), ["a", "b"])
        self.assertAlmostEqual(read.error, 0.1)
        self.assertAlmostEqual(read.bits, (4 * 16 + 2 * 48) / 64)

    def test_times_of_one_job_count_once(self):
        tensors = [tensor("q", 0.1), tensor("k", 0.1), tensor("o", 0.1, job={"total": 5.5})]
        self.assertAlmostEqual(figures.result_of({"tensors": tensors}).seconds, (4 - 3) + (5.5 - 3))

    def test_a_report_without_output_errors_is_refused_by_name(self):
        with self.assertRaisesRegex(figures.ReportError, "b: no output error"):
            figures.result_of({"tensors": [tensor("a", 0.1), tensor("b", None)]})

    def test_candidates_and_degraded_layers(self):
        tried = [{"name": "out", "error": {"output_relative_error": 0.2}, "chosen": False},
                 {"name": "in", "error": {"output_relative_error": 0.1}, "chosen": True}]
        read = figures.result_of({"tensors": [tensor("a", 0.1, candidates=tried, outcome="DEGRADED")]})
        self.assertEqual(read.layers["a"].candidates, (("out", 0.2, False), ("in", 0.1, True)))
        self.assertEqual(read.degraded, 1)


class EqualBitsTest(unittest.TestCase):
    POINTS = [(4.0, -4.0), (3.0, -2.0), (2.0, -1.0), (3.5, -2.1)]

    def test_hull_drops_what_a_line_beats(self):
        self.assertEqual(figures.lower_hull(self.POINTS), [(2.0, -1.0), (4.0, -4.0)])

    def test_between_points_the_line_counts(self):
        self.assertAlmostEqual(figures.at_bits(self.POINTS, 3.0), -2.5)
        self.assertEqual(figures.at_bits(self.POINTS, 4.0), -4.0)

    def test_outside_the_curve_nothing_is_said(self):
        self.assertIsNone(figures.at_bits(self.POINTS, 1.9))
        self.assertIsNone(figures.at_bits(self.POINTS, 4.1))

    def test_bits_that_no_longer_help_are_not_charged(self):
        self.assertEqual(figures.at_bits([(2.0, -1.0), (3.0, -3.0), (4.0, -2.0)], 3.5), -3.0)

    def test_fewer_bits_than_the_base_has_count_as_its_fewest_where_asked(self):
        self.assertEqual(figures.at_bits(self.POINTS, 1.9, from_below=True), -1.0)
        self.assertIsNone(figures.at_bits(self.POINTS, 4.1, from_below=True))

    def test_comparison_takes_only_layers_in_reach(self):
        bases = [result([0.1, 0.1, 0.1], 3.0), result([0.001, 0.001, 0.001], 5.0)]
        mine = result([0.005, 0.02, 0.001], 4.0)
        mine.layers["l2"].bits = 6.0
        compared = figures.compare_at_equal_bits(mine, bases, ["l0", "l1", "l2"])
        self.assertEqual((compared.layers, compared.won), (2, 1))
        self.assertAlmostEqual(compared.base, 0.01)
        self.assertAlmostEqual(compared.ratio, 1.0)
        self.assertEqual(figures.compare_at_equal_bits(mine, bases, ["l2"]).layers, 0)


class CheckTest(unittest.TestCase):
    def test_order_fails_when_one_width_is_worse(self):
        results = {("a", width): result([0.1]) for width in WIDTHS} | {("b", width): result([0.2]) for width in WIDTHS}
        self.assertTrue(figures.check_order(results, "a", "b", WIDTHS, "").passed)
        results["b", 3] = result([0.09])
        self.assertFalse(figures.check_order(results, "a", "b", WIDTHS, "").passed)

    def test_a_missing_row_fails(self):
        self.assertFalse(figures.check_order({("a", 4): result([0.1])}, "a", "b", (4,), "").passed)
        self.assertFalse(figures.check_adaptive({("a", 4): result([0.1])}, "a", ("b", "c"), (4,), "").passed)

    def adaptive(self, errors, candidates):
        results = {("out", 4): result([0.1, 0.4]), ("in", 4): result([0.3, 0.2]),
                   ("ada", 4): result(errors, candidates=candidates)}
        return figures.check_adaptive(results, "ada", ("out", "in"), (4,), "")

    def test_adaptive_must_equal_the_better_axis_layer_by_layer(self):
        right = {0: (("out", 0.1, True), ("in", 0.3, False)), 1: (("out", 0.4, False), ("in", 0.2, True))}
        found = self.adaptive([0.1, 0.2], right)
        self.assertTrue(found.passed, found.detail)
        self.assertIn("per-IC on 1 of 2 layers", found.detail)
        self.assertIn("worse than a fixed axis on 1 (l1)", self.adaptive([0.1, 0.21], right).detail)

    def test_adaptive_must_have_chosen_its_least_candidate(self):
        wrong = {0: (("out", 0.1, False), ("in", 0.3, True)), 1: (("out", 0.4, False), ("in", 0.2, True))}
        self.assertFalse(self.adaptive([0.1, 0.2], wrong).passed)
        self.assertFalse(self.adaptive([0.1, 0.2], {}).passed)

    def test_more_bits_must_leave_less_error(self):
        results = {("a", 4): result([0.1]), ("a", 3): result([0.2]), ("a", 2): result([0.2])}
        found = figures.check_widths(results, ["a"], WIDTHS)
        self.assertEqual((found.passed, found.detail), (False, "a"))

    def test_disagreeing_decoded_weights_fail(self):
        one = result([0.1])
        one.decoded = 0.1
        self.assertTrue(figures.check_decoded({("a", 4): one}).passed)
        one.disagreements = ("a: differs",)
        self.assertFalse(figures.check_decoded({("a", 4): one}).passed)


class PageTest(unittest.TestCase):
    def table(self, error="0.01", seconds="1.0"):
        table = page.Table("T", ["row", "4 bits: error", "4 bits: bpw", "4 bits: time"])
        table.add("a | b", error, "4.125", seconds)
        table.add("c", "-", "-", "-")
        return page.parse(f"# x\n\n## T\n\n{table.markdown()}\n\ntext\n")

    def test_tables_come_back_as_they_went(self):
        cells = self.table()
        self.assertEqual(cells["T", "a | b", "4 bits: error"], "0.01")
        self.assertEqual(cells["T", "c", "4 bits: bpw"], "-")
        self.assertEqual(len(cells), 8)

    def test_two_percent_and_times_do_not_count(self):
        self.assertEqual(page.differences(self.table(), self.table("0.01015", "9.0")), [])

    def test_larger_differences_and_missing_rows_do(self):
        lines = page.differences(self.table(), self.table("0.0103"))
        self.assertEqual(len(lines), 1)
        self.assertIn("a | b: 4 bits: error: the page has 0.01, this run 0.0103", lines[0])
        fewer = {key: cell for key, cell in self.table().items() if key[1] != "c"}
        self.assertEqual(len(page.differences(self.table(), fewer)), 2)
        self.assertEqual(len(page.differences(self.table(), self.table("**failed**: exit 2"))), 1)


class RowTest(unittest.TestCase):
    def test_keys_and_titles_are_unique(self):
        self.assertEqual(len({row.key for row in ROWS}), len(ROWS))
        self.assertEqual(len({(row.table, row.title) for row in ROWS}), len(ROWS))

    def test_comparisons_name_rows(self):
        keys = {row.key for row in ROWS}
        for key, _, bases in OUTLIER_BASES:
            self.assertLessEqual({key, *bases}, keys)

    def test_command(self):
        row = Row("k", "t", "gptq", "order=natural")
        self.assertEqual(row.command(3), ["--method", "gptq", "--bits", "3", "--set", "order=natural"])
        self.assertEqual(Row("k", "t", "nf4").command(None), ["--method", "nf4"])


class FakeRunner:
    def run(self, row, width):
        if row.key == "broken":
            raise run.RowError("exit 2: error: no such method")
        errors = {4: 0.01, 3: 0.05, 2: 0.2, None: 0.3}
        done = result([errors[width] * (0.5 if row.key == "gptq" else 1)] * 2, bits=width or 4.5)
        done.seconds = 0.1
        return done


class RunTest(unittest.TestCase):
    ROWS = [Row("rtn", "rtn", "rtn"), Row("gptq", "gptq", "gptq"), Row("broken", "broken", "broken"),
            Row("nf4", "nf4", "nf4", "", (None,), table="formats", label="4")]

    def page(self):
        with contextlib.redirect_stdout(io.StringIO()):
            results, errors, unit = run.run_rows(FakeRunner(), self.ROWS)
        tables = [run.width_table("4, 3 and 2 bits", "main", self.ROWS, results, errors, unit),
                  run.formats_table(self.ROWS, results, errors, unit)]
        checks = run.run_checks(self.ROWS, results, errors)
        layers = ["l0", "l1"]
        return reading.page_text(tables, checks, self.ROWS, results, [], layers, [], run.ENCODER), checks

    def test_a_failing_row_shows_its_message_and_fails_the_run(self):
        text, checks = self.page()
        self.assertIn("| broken | **failed**: exit 2: error: no such method | - | - |", text)
        self.assertEqual([check.what for check in checks if not check.passed], ["every row runs"])

    def test_the_page_holds_every_figure(self):
        cells = page.parse(self.page()[0])
        self.assertEqual(cells["4, 3 and 2 bits", "gptq", "3 bits: error"], "0.025")
        self.assertEqual(cells["4, 3 and 2 bits", "gptq", "2 bits: bpw"], "2.000")
        self.assertEqual(cells["Formats of one width", "nf4", "error"], "0.3")
        self.assertIn("GPTQ leaves 0.50, 0.50, 0.50 of RTN's error", self.page()[0])

    def test_the_complaint_is_the_line_that_says_error(self):
        text = "warning: a\r 1/3 tensors\r\nerror: --bits: 9\nusage\n"
        self.assertEqual(run.first_complaint(text, 2), "exit 2: error: --bits: 9")
        self.assertEqual(run.first_complaint("", 139), "exit 139: no message")

    def test_losses_and_front_are_told(self):
        results = {("rtn", 4): result([0.1], 4.1), ("gptq", 4): result([0.05], 4.1), ("x", 4): result([0.2], 5.0)}
        rows = [*self.ROWS[:2], Row("x", "x", "x", widths=(4,))]
        self.assertEqual(reading.losers(rows, results, "rtn"), "x (4)")
        self.assertEqual([title for title, _, _ in reading.pareto(rows, results, 4)], ["gptq"])

    def test_quantctl_that_fails_is_a_row_error(self):
        with tempfile.TemporaryDirectory() as folder:
            binary = pathlib.Path(folder) / "quantctl"
            binary.write_text("#!/bin/sh\necho 'error: --method: \"x\" is unknown' >&2\nexit 2\n")
            binary.chmod(binary.stat().st_mode | stat.S_IEXEC)
            runner = run.Runner.__new__(run.Runner)
            runner._binary, runner._model, runner._modules = binary, "model", "."
            runner._statistics, runner._folder = {"plain": "s"}, folder
            with self.assertRaisesRegex(run.RowError, 'exit 2: error: --method: "x" is unknown'):
                runner.run(Row("x", "x", "x"), 4)


class DecodedTest(unittest.TestCase):
    """The formulas against plain means over tokens."""

    def setUp(self):
        generator = np.random.default_rng(5)
        self.x = generator.normal(size=(50, 6))
        self.drifted = self.x + 0.3 * generator.normal(size=(50, 6))
        self.weight = generator.normal(size=(4, 6)).astype(np.float32)
        self.rounded = np.round(self.weight * 2) / 2
        self.weights = generator.uniform(0.1, 1, size=50)
        write = statistics_files.safetensors_file.write
        with tempfile.TemporaryDirectory() as folder:
            paths = {kind: os.path.join(folder, kind) for kind in ("plain", "drift", "weighted")}
            mean = lambda a, b: (a.T @ b / 50).astype(np.float32)
            weighted = mean(self.x * (self.weights / self.weights.mean())[:, None], self.x)
            write(os.path.join(folder, "model.safetensors"), {"m.weight": self.weight}, {})
            write(paths["plain"], {"m.hessian": mean(self.x, self.x)}, {})
            write(paths["weighted"], {"m.hessian": weighted}, {})
            write(paths["drift"], {"m.hessian": mean(self.drifted, self.drifted),
                                   "m.cross_moment": mean(self.x, self.drifted)}, {})
            self.decoded = statistics_files.Decoded(folder, paths)
        self.dense = {"m.weight": self.rounded}

    def power(self, outputs, weights=1.0):
        return float(np.mean((outputs**2).sum(1) * weights))

    def test_error_by_each_kind_of_hessian(self):
        wrong, right = self.x @ (self.weight - self.rounded).T, self.x @ self.weight.T
        self.assertAlmostEqual(self.decoded.error(self.dense, "m"), self.power(wrong) / self.power(right), places=5)
        self.assertAlmostEqual(self.decoded.error(self.dense, "m", "weighted"),
                               self.power(wrong, self.weights) / self.power(right, self.weights), places=5)

    def test_drifted_error_compares_outputs_of_both_models(self):
        right, now = self.x @ self.weight.T, self.drifted @ self.rounded.T
        untouched = self.drifted @ self.weight.T
        self.assertAlmostEqual(self.decoded.drifted_error(self.dense, "m"),
                               self.power(right - now) / self.power(right), places=5)
        self.assertAlmostEqual(self.decoded.drift_excess(self.dense, "m"),
                               (self.power(right - now) - self.power(right - untouched)) / self.power(untouched),
                               places=5)


class AdditiveTest(unittest.TestCase):
    ROWS = [Row("gptq", "gptq", "gptq"),
            Row("aqlm-2x8", "aqlm 2x8", "aqlm", "scheme=2x8", (None,), table="additive", label="2")]

    def results(self, error):
        return {("gptq", 2): result([0.1, 0.1], 2.2), ("gptq", 3): result([0.01, 0.01], 3.2),
                ("aqlm-2x8", None): result([error, error], 2.1)}

    def test_the_table_compares_with_gptq_at_equal_bits(self):
        table = run.additive_table(self.ROWS, self.results(0.05), {}, 1.0)
        self.assertEqual(table.rows, [["aqlm 2x8", "2", "0.05", "2.100", "0.0", "0.1", "0.5", "2 of 2"]])

    def test_more_error_than_gptq_fails(self):
        self.assertTrue(run.check_additive("aqlm-2x8", self.results(0.05)).passed)
        self.assertFalse(run.check_additive("aqlm-2x8", self.results(0.11)).passed)
        self.assertFalse(run.check_additive("aqlm-2x8", {}).passed)

    def test_the_page_says_what_is_left_of_gptq(self):
        self.assertIn("aqlm 2x8: 0.500 at 2.100 bits", reading.additive_verdict(self.ROWS, self.results(0.05)))


class KnownLayersTest(unittest.TestCase):
    def known(self, **changes):
        errors = {key: figure for key, (figure, _) in known_layers.FIGURES.items()}
        errors["correlated", known_layers.SHARES[1][0]] = 0.07
        errors.update({("correlated", method): error for method, error in changes.items()})
        text = "".join(f"{case} {method} {error} 0.3 2.1 0.001 1.5\n" for (case, method), error in errors.items())
        return known_layers.parse(text)

    def failed(self, known):
        return [check.what for check in known_layers.checks(known) if not check.passed]

    def test_the_figures_themselves_pass(self):
        self.assertEqual(self.failed(self.known()), [])

    def test_each_check_can_fail(self):
        self.assertEqual(self.failed(self.known()[1:]), ["known layers: every row runs"])
        worse = self.failed(self.known(**{"aqlm,scheme=2x8": 0.04}))
        self.assertEqual(len(worse), 4, worse)  # its figure, the paper's loop, rounding and gptq
        below = self.known(paper=0.0005)
        self.assertIn("known layers: nothing below the rate-distortion bound", self.failed(below))

    def test_a_program_that_prints_nothing_fails_the_run(self):
        def failed(known):
            return [check.what for check in run.run_checks([], {}, {}, known) if not check.passed]
        self.assertEqual(failed(None), [])
        self.assertEqual(failed([]), ["known layers: every row runs"])

    def test_tables_hold_both_cases(self):
        correlated, independent = known_layers.tables(self.known())
        self.assertEqual(len(correlated.rows) + len(independent.rows), len(known_layers.FIGURES) + 1)
        self.assertIn(["aqlm, scheme=2x8", "0.0162", "0.0162", "0.3", "2.100", "0.001"], correlated.rows)

    def test_a_missing_program_is_named(self):
        with tempfile.TemporaryDirectory() as folder, self.assertRaisesRegex(SystemExit, "aqlm_cases is not built"):
            known_layers.run(pathlib.Path(folder))


class FigureTextTest(unittest.TestCase):
    def test_figures(self):
        self.assertEqual(page.figure(math.nan), "-")
        self.assertEqual(page.figure(0.0123456), "0.01235")
        self.assertEqual((page.times(1.04), page.times(123.4)), ("1.0", "123"))


if __name__ == "__main__":
    unittest.main()
