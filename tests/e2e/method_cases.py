"""Every method through the shipped programs: real packed bytes, verified and decoded again."""

import array
import os
import struct

import checkpoint
from harness import EndToEnd
from processes import WAIT_SECONDS, wait_until


def floats(data):
    return struct.unpack(f"<{len(data) // 4}f", data)


def tensor(shape, values):
    return ("F32", list(shape), array.array("f", values).tobytes())


class Methods(EndToEnd):
    def all_statistics(self, model):
        """One of each role for every module, so that any method finds what it needs."""
        extra = {}
        for module, (rows, cols) in model.modules().items():
            weight = floats(model.tensors[module + ".weight"][2])
            extra[module + ".cross_moment"] = checkpoint.hessian(cols, correlation=0.55)
            extra[module + ".abs_mean"] = tensor([cols], [0.5 + (k * 7 % 13) for k in range(cols)])
            extra[module + ".abs_max"] = tensor([cols], [2 + (k * 5 % 17) for k in range(cols)])
            extra[module + ".fisher"] = tensor([rows, cols], [w * w + 1e-4 for w in weight])
            extra[module + ".gradient"] = tensor([rows, cols], [0.1 - abs(w) for w in weight])
        return self.statistics(model, replace=extra)

    def names(self):
        lines = self.quantctl("methods").stdout.splitlines()
        first = next(i for i, line in enumerate(lines) if line.startswith("---")) + 1
        return [line.split()[0] for line in lines[first : lines.index("", first)]]

    def test_each_makes_bytes_that_decode_to_what_it_reports(self):
        model = self.model()
        given = self.all_statistics(model)
        names = self.names()
        self.assertGreater(len(names), 25)
        for name in names:
            with self.subTest(name):
                out, dense = self.path(f"q-{name}"), self.path(f"d-{name}")
                self.quantctl("quantize", model.folder, "-o", out, "--method", name,
                              "--statistics", given)
                self.quantctl("verify", out, "--source", model.folder)
                self.quantctl("dequantize", out, "-o", dense)
                tensors = checkpoint.read_folder(dense)
                self.assertEqual(sorted(tensors), sorted(model.tensors))
                for record in self.report(out)["tensors"]:
                    self.assertEqual(record["spec"]["method"], name)
                    self.assertLess(record["error"]["weight_relative_error"], 1.0)
                self.assertEqual([n for n in os.listdir(out) if n.startswith("quantd-work")], [])

    def test_adaptive_axes_report_both_ways_and_the_better_one_wins(self):
        model = self.model()
        out = self.path("out")
        self.quantctl("quantize", model.folder, "-o", out, "--method", "adadim-rtn",
                      "--group-size", "32", "--statistics", self.all_statistics(model))
        for record in self.report(out)["tensors"]:
            ways = {c["name"]: c for c in record["candidates"]}
            self.assertEqual(sorted(ways), ["in", "out"])
            best = min(ways.values(), key=lambda c: c["error"]["output_relative_error"])
            self.assertTrue(best["chosen"])
            self.assertEqual(record["spec"]["group-axis"], best["name"])

    def test_a_run_with_late_sizes_resumes_after_a_kill(self):
        model = self.model(layers=4)
        flags = ["--set", "outliers=range,outlier-share=0.02", "--group-size", "32",
                 "--max-shard-size", "60kb", "--jobs", "2"]
        undisturbed, out = self.path("undisturbed"), self.path("out")
        self.quantctl("quantize", model.folder, "-o", undisturbed, *flags)
        server = self.server()
        proxy = self.proxy(server.port, model.source_bytes() // 2)
        client = self.start("quantize", model.folder, "-o", out, *flags, "--server", proxy.target)
        self.assertTrue(proxy.held.wait(WAIT_SECONDS))
        wait_until(lambda: self.journal_lines(out) >= 3, "finished layers in the journal")
        client.kill()
        client.wait()
        self.assert_nothing_final(out)
        done = self.quantctl("quantize", model.folder, "-o", out, *flags, "--resume")
        self.assertIn("resuming", done.stderr)
        self.assert_same_folder(undisturbed, out)
        for record in self.report(out)["tensors"]:
            self.assertAlmostEqual(record["outlier_share"], 0.02, places=3)

    def test_layers_that_share_scales_are_redone_together(self):
        model = self.model(layers=3)
        flags = ["--method", "awq", "--group-size", "32", "--jobs", "1",
                 "--statistics", self.all_statistics(model)]
        undisturbed, out = self.path("undisturbed"), self.path("out")
        self.quantctl("quantize", model.folder, "-o", undisturbed, *flags)
        server = self.server()
        proxy = self.proxy(server.port, model.source_bytes())
        client = self.start("quantize", model.folder, "-o", out, *flags, "--server", proxy.target)
        self.assertTrue(proxy.held.wait(WAIT_SECONDS))
        journal = os.path.join(out, "quantd-journal.jsonl")

        def finished():
            with open(journal) as file:
                return [line for line in file if "mlp.gate_proj" in line]

        wait_until(finished, "a layer of a fused set in the journal")
        client.kill()
        client.wait()
        # As if the kill had come between two layers of one request.
        with open(journal) as file:
            lines = [line for line in file if "mlp.gate_proj" not in line]
        with open(journal, "w") as file:
            file.writelines(lines)
        self.quantctl("quantize", model.folder, "-o", out, *flags, "--resume")
        self.assert_same_folder(undisturbed, out)

    def test_scales_that_a_norm_took_leave_the_function_as_it_was(self):
        model = self.model()
        out = self.path("out")
        leave = ["--exclude", "o_proj|down_proj"]
        flags = ["--method", "awq", "--layout", "compressed-tensors", "--group-size", "32",
                 "--bits", "8", "--statistics", self.all_statistics(model)]
        refused = self.quantctl("quantize", model.folder, "-o", out, *flags, code=2).stderr
        for words in ("model.layers.0.mlp.down_proj", "--layout plain", "--exclude"):
            self.assertIn(words, refused)
        self.assertFalse(os.path.exists(out))
        self.quantctl("quantize", model.folder, "-o", out, *flags, *leave)
        self.assertEqual([n for n in checkpoint.read_folder(out) if "column_scale" in n], [])
        self.quantctl("verify", out, "--source", model.folder)
        self.quantctl("dequantize", out, "-o", self.path("dense"))
        after = checkpoint.read_folder(self.path("dense"))
        norm = "model.layers.0.input_layernorm.weight"
        self.assertNotEqual(after[norm][2], model.tensors[norm][2])
        # What a layer does to the normalized input: W diag(g), as it was and as it is.
        for name in ("q_proj", "k_proj", "v_proj"):
            weight = f"model.layers.0.self_attn.{name}.weight"
            old, new = floats(model.tensors[weight][2]), floats(after[weight][2])
            g_old, g_new = floats(model.tensors[norm][2]), floats(after[norm][2])
            n = len(g_old)
            error = sum((old[i] * g_old[i % n] - new[i] * g_new[i % n]) ** 2 for i in range(len(old)))
            energy = sum((old[i] * g_old[i % n]) ** 2 for i in range(len(old)))
            self.assertLess(error, 1e-3 * energy)
        damaged = os.path.join(out, "quantd-column-scales.st")
        with open(damaged, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x41")
        self.quantctl("verify", out, "--source", model.folder, code=1)

    def test_a_recipe_mixes_methods_in_one_folder(self):
        model = self.model()
        out = self.path("out")
        with open(self.path("recipe.yaml"), "w") as file:
            file.write("defaults:\n  method: awq\n  group-size: 32\nrules:\n"
                       "  - match: 'o_proj$|down_proj$'\n    method: gptq\n    symmetry: asymmetric\n")
        self.quantctl("quantize", model.folder, "-o", out, "--recipe", self.path("recipe.yaml"),
                      "--layout", "compressed-tensors", "--statistics", self.all_statistics(model))
        self.quantctl("verify", out, "--source", model.folder)
        methods = {r["name"].split(".")[-2]: r["spec"]["method"] for r in self.report(out)["tensors"]}
        self.assertEqual(methods["q_proj"], "awq")
        self.assertEqual(methods["down_proj"], "gptq")

    def test_nonsense_is_refused_with_the_reason(self):
        model = self.model()
        for words, reason in (
            (["--method", "nf4", "--set", "bits=3"], "4 bits, not 3"),
            (["--method", "awq", "--set", "group-axis=in,fit=min-max"], "groups down a column"),
            (["--set", "colour=red"], "unknown key"),
            (["--method", "rtn", "--set", "solver=gptq"], "method rtn is rtn"),
            (["--method", "gwq"], "<module>.gradient"),
            (["--method", "hqq", "--layout", "gptq"], "plain"),
        ):
            with self.subTest(reason):
                done = self.quantctl("quantize", model.folder, "-o", self.path("out"), *words, code=2)
                self.assertIn(reason, done.stderr)
