"""Drives the shipped quantd and quantctl, as a user would.

    end_to_end.py --quantd PATH --quantctl PATH [unittest arguments]
"""

import argparse
import json
import math
import os
import resource
import shutil
import signal
import struct
import sys
import unittest

import checkpoint
from harness import BINARIES, GROUPS, EndToEnd
from method_cases import Methods  # unittest finds them here
from metrics_cases import RunMetrics
from plan_cases import Plans
from processes import WAIT_SECONDS, wait_until


class RoundTrips(EndToEnd):
    """quantize -> verify -> dequantize for every layout and method."""

    def test_plain_defaults_just_work(self):
        model = self.model()
        done = self.quantctl("quantize", model.folder, "-o", self.path("out"))
        self.assertIn("q_proj", done.stdout)
        self.assertIn("lm_head", done.stdout)
        self.quantctl("verify", self.path("out"), "--source", model.folder)
        self.quantctl("info", self.path("out"))
        self.assertTrue(os.path.exists(self.path("out", "tokenizer.json")))
        with open(self.path("out", "config.json")) as file:
            config = json.load(file)
        self.assertEqual(config["quantization_config"]["quant_method"], "compressed-tensors")

    def check(self, layout, method, *extra, **model_arguments):
        model = self.model(f"m-{layout}-{method}", **model_arguments)
        out = self.path(f"q-{layout}-{method}")
        dense = self.path(f"d-{layout}-{method}")
        arguments = ["--layout", layout, "--method", method, *GROUPS, *extra]
        if method == "gptq":
            arguments += ["--statistics", self.statistics(model)]
        self.quantctl("quantize", model.folder, "-o", out, *arguments)
        self.quantctl("verify", out, "--source", model.folder)
        self.quantctl("dequantize", out, "-o", dense)
        tensors = checkpoint.read_folder(dense)
        self.assertEqual(sorted(tensors), sorted(model.tensors))
        for name, (dtype, shape, data) in model.tensors.items():
            self.assertEqual(tensors[name][:2], (dtype, shape), name)
            if name[: -len(".weight")] not in model.modules():
                self.assertTrue(tensors[name][2] == data, name)
        self.assertNotIn("quantization_config", self.files(dense)["config.json"].decode())
        return model, out, tensors

    def test_every_layout_by_rtn(self):
        for layout in ("compressed-tensors", "gptq", "gptq-v2", "plain"):
            with self.subTest(layout):
                model, out, tensors = self.check(layout, "rtn")
                report = {t["name"]: t for t in self.report(out)["tensors"]}
                for module in model.modules():
                    name = module + ".weight"
                    source = struct.unpack(f"<{len(model.tensors[name][2]) // 4}f",
                                           model.tensors[name][2])
                    decoded = struct.unpack(f"<{len(source)}f", tensors[name][2])
                    error = math.fsum((a - b) ** 2 for a, b in zip(source, decoded))
                    energy = math.fsum(a * a for a in source)
                    told = report[name]["error"]["weight_relative_error"]
                    self.assertAlmostEqual(error / energy / told, 1.0, places=5)
                    self.assertLess(error / energy, 0.02)

    def test_every_layout_by_gptq_beats_rtn_on_outputs(self):
        for layout in ("compressed-tensors", "gptq", "gptq-v2", "plain"):
            with self.subTest(layout):
                _, out, _ = self.check(layout, "gptq")
                for tensor in self.report(out)["tensors"]:
                    error = tensor["error"]["output_relative_error"]
                    self.assertLess(error, tensor["rtn_baseline"]["output_relative_error"])
                    self.assertEqual(tensor["calibration_tokens"], 4096)

    def test_asymmetric_and_other_bits(self):
        self.check("compressed-tensors", "rtn", "--asymmetric", "--bits", "8")
        self.check("gptq-v2", "rtn", "--asymmetric", "--fit", "shrink-search")
        self.check("plain", "rtn", "--bits", "3", "--symmetry", "symmetric-absmax")

    def test_shards_in_and_out_and_half_types(self):
        _, out, _ = self.check(
            "compressed-tensors", "rtn", "--max-shard-size", "100kb", dtype="BF16", shards=3
        )
        shards = [n for n in os.listdir(out) if n.endswith(".safetensors")]
        self.assertGreater(len(shards), 1)
        self.assertIn("model.safetensors.index.json", os.listdir(out))

    def test_a_recipe_gives_layers_their_own_bits(self):
        model = self.model()
        with open(self.path("r.yaml"), "w") as file:
            file.write(
                "defaults: {group-size: 32}\n"
                "rules:\n"
                "  - {match: 'mlp', bits: 8}\n"
                "  - {match: 'layers\\.0\\.', skip: true}\n"
            )
        out = self.path("out")
        self.quantctl("quantize", model.folder, "-o", out, "--layout", "plain", "--recipe",
                      self.path("r.yaml"), "--report", self.path("full.json"))
        bits = {t["name"]: t["spec"]["bits"] for t in self.report(out)["tensors"]}
        self.assertEqual(len(bits), 7)
        self.assertEqual(bits["model.layers.1.mlp.up_proj.weight"], 8)
        self.assertEqual(bits["model.layers.1.self_attn.q_proj.weight"], 4)
        with open(self.path("full.json")) as file:
            full = json.load(file)
        self.assertGreater(full["run"]["seconds"], 0)
        self.assertTrue(full["run"]["server"]["build_id"])
        self.assertIn("seconds", full["tensors"][0])
        self.quantctl("verify", out, "--source", model.folder)

    def test_dry_run_and_estimate_write_nothing(self):
        model = self.model()
        done = self.quantctl("quantize", model.folder, "-o", self.path("out"), "--dry-run")
        self.assertIn("predicted", done.stdout)
        self.assertEqual(self.quantctl("estimate", model.folder).stdout, done.stdout)
        self.assertFalse(os.path.exists(self.path("out")))

    def test_methods_tells_what_there_is(self):
        text = self.quantctl("methods").stdout
        for word in ("rtn", "gptq", "adadim-rtn", "compressed-tensors", "bitsandbytes"):
            self.assertIn(word, text)
        text = self.quantctl("methods", "gptq").stdout
        for word in ("arXiv", "when not to use", "HESSIAN", "damping", "(fixed)"):
            self.assertIn(word, text)
        self.assertIn("adadim-rtn", self.quantctl("methods", "magic", code=2).stderr)


    def test_a_source_that_was_quantized_before_does_not_lend_its_report(self):
        model = self.model()
        with open(self.path("model", "quantd-report.json"), "w") as file:
            file.write("stale")
        with open(self.path("model", "pytorch_model.bin"), "w") as file:
            file.write("dense")
        done = self.quantctl("quantize", model.folder, "-o", self.path("out"), *GROUPS)
        self.assertIn("not copied: pytorch_model.bin", done.stdout)
        self.assertEqual(len(self.report(self.path("out"))["tensors"]), 14)
        self.quantctl("verify", self.path("out"), "--source", model.folder)
        self.quantctl("dequantize", self.path("out"), "-o", self.path("dense"))
        self.assertNotIn("quantd-report.json", os.listdir(self.path("dense")))

    def test_a_null_quantization_config_is_none(self):
        model = self.model()
        path = self.path("model", "config.json")
        with open(path) as file:
            config = json.load(file)
        config["quantization_config"] = None
        with open(path, "w") as file:
            json.dump(config, file)
        self.assertIn("not quantized", self.quantctl("info", model.folder).stdout)
        self.quantctl("quantize", model.folder, "-o", self.path("out"), *GROUPS)
        self.quantctl("verify", self.path("out"), "--source", model.folder)

    def test_a_report_beside_or_inside_the_output(self):
        model = self.model()
        out = self.path("out")
        arguments = ["quantize", model.folder, "-o", out, *GROUPS, "--report"]
        os.makedirs(self.path("folder"))
        for bad in (self.path("folder"), self.path("nosuch", "r.json"),
                    self.path("out", "config.json")):
            with self.subTest(bad):
                self.assertIn("--report", self.quantctl(*arguments, bad, code=2).stderr)
                self.assertFalse(os.path.exists(out))
        self.quantctl(*arguments, self.path("out", "full.json"))
        self.assertIn("run", json.loads(self.files(out)["full.json"]))

    def test_a_report_that_fails_at_the_end_leaves_a_finished_folder(self):
        model = self.model()
        out = self.path("out")
        os.makedirs(self.path("r.json.partial"))  # where the report is written first
        done = self.quantctl("quantize", model.folder, "-o", out, *GROUPS, "--report",
                             self.path("r.json"), code=1)
        self.assertIn("the folder is finished, but not its report", done.stderr)
        self.quantctl("verify", out, "--source", model.folder)

    def test_names_that_match_nothing_are_told(self):
        model = self.model()
        statistics = self.statistics(model, {"no.such.hessian": checkpoint.hessian(8)})
        with open(self.path("r.yaml"), "w") as file:
            file.write("rules:\n  - {match: 'absent', bits: 8}\n")
        done = self.quantctl("estimate", model.folder, *GROUPS, "--exclude", "misspelt",
                             "--recipe", self.path("r.yaml"), "--statistics", statistics)
        for word in ("'misspelt' matches no weight", '"absent" matches no weight', "no.such"):
            self.assertIn(word, done.stdout)


class Transports(EndToEnd):
    def test_in_process_tcp_and_unix_give_the_same_bytes(self):
        model = self.model()
        statistics = self.statistics(model)
        server = self.server(unix=self.path("s.sock"))
        arguments = ["--method", "gptq", "--statistics", statistics, *GROUPS]
        self.quantctl("quantize", model.folder, "-o", self.path("inside"), *arguments)
        for name, target in (("tcp", server.target), ("unix", "unix:" + self.path("s.sock"))):
            out = self.path(name)
            self.quantctl("quantize", model.folder, "-o", out, *arguments, "--server", target,
                          "--jobs", "3", "--channels", "2")
            self.assert_same_folder(self.path("inside"), out)
        self.quantctl("methods", "--server", server.target)

    def test_no_server_is_a_runtime_failure(self):
        model = self.model()
        done = self.quantctl("quantize", model.folder, "-o", self.path("out"), "--server",
                             "127.0.0.1:1", "--attempts", "1", code=1)
        self.assertIn("error:", done.stderr)
        self.assert_nothing_final(self.path("out"))


class Crashes(EndToEnd):
    """Each test holds the upload still in the middle of a run, by bytes and not by time."""

    def setUp(self):
        super().setUp()
        self.source = self.model(layers=4)
        self.undisturbed = self.path("undisturbed")
        self.quantctl("quantize", self.source.folder, "-o", self.undisturbed, *GROUPS)

    def begin_held_run(self, *extra):
        server = self.server()
        proxy = self.proxy(server.port, self.source.source_bytes() // 2)
        out = self.path("out")
        client = self.start("quantize", self.source.folder, "-o", out, *GROUPS, "--jobs", "2",
                            "--server", proxy.target, *extra)
        self.assertTrue(proxy.held.wait(WAIT_SECONDS))
        wait_until(lambda: self.journal_lines(out) >= 3, "finished layers in the journal")
        return server, proxy, client, out

    def test_client_killed_then_resumed(self):
        server, _, client, out = self.begin_held_run()
        client.kill()
        client.wait()
        self.assert_nothing_final(out)
        self.quantctl("quantize", self.source.folder, "-o", out, *GROUPS, code=2)
        done = self.quantctl("quantize", self.source.folder, "-o", out, *GROUPS, "--resume",
                             "--server", server.target)
        self.assertIn("resuming", done.stderr)
        self.assert_same_folder(self.undisturbed, out)

    def test_server_killed_and_replaced_behind_the_same_address(self):
        server, proxy, client, out = self.begin_held_run()
        server.kill()
        proxy.release(self.server().port)
        text, _ = client.communicate(timeout=WAIT_SECONDS)
        self.assertEqual(client.returncode, 0, text)
        self.assertIn("again in", text)
        self.assert_same_folder(self.undisturbed, out)

    def test_server_lost_for_good(self):
        server, proxy, client, out = self.begin_held_run("--attempts", "1")
        server.kill()
        proxy.release(server.port)
        text, _ = client.communicate(timeout=WAIT_SECONDS)
        self.assertEqual(client.returncode, 1, text)
        self.assertIn("--resume", text)
        self.assert_nothing_final(out)
        self.quantctl("quantize", self.source.folder, "-o", out, *GROUPS, "--resume")
        self.assert_same_folder(self.undisturbed, out)

    def test_ctrl_c_leaves_a_resumable_folder(self):
        _, _, client, out = self.begin_held_run()
        client.send_signal(signal.SIGINT)
        text, _ = client.communicate(timeout=WAIT_SECONDS)
        self.assertEqual(client.returncode, 130, text)
        self.assertIn("--resume", text)
        self.assert_nothing_final(out)
        self.quantctl("quantize", self.source.folder, "-o", out, *GROUPS, "--resume")
        self.assert_same_folder(self.undisturbed, out)

    def test_resume_of_a_finished_folder_has_nothing_to_do(self):
        before = self.files(self.undisturbed)
        done = self.quantctl("quantize", self.source.folder, "-o", self.undisturbed, *GROUPS,
                             "--resume")
        self.assertIn("is finished already", done.stdout)
        self.assertEqual(before, self.files(self.undisturbed))

    def test_an_unfinished_folder_is_named_so(self):
        _, _, client, out = self.begin_held_run()
        client.kill()
        client.wait()
        self.assertIn("--resume", self.quantctl("verify", out, code=2).stderr)

    def test_commands_without_a_folder_end_by_the_signal(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            os.mkfifo(self.path(f"r{number}.json"))
            client = self.start(
                "estimate", self.source.folder, "--recipe", self.path(f"r{number}.json"),
                preexec_fn=lambda number=number: signal.signal(number, signal.SIG_DFL),
            )
            with open(self.path(f"r{number}.json"), "w"):  # it waits for us to write
                client.send_signal(number)
                client.communicate(timeout=WAIT_SECONDS)
            self.assertEqual(client.returncode, -number)

    def test_another_spec_does_not_resume(self):
        _, _, client, out = self.begin_held_run()
        client.kill()
        client.wait()
        self.quantctl("quantize", self.source.folder, "-o", out, *GROUPS, "--bits", "8", "--resume",
                      code=2)


class Policies(EndToEnd):
    def test_degraded_layers_fail_the_run_until_accepted(self):
        model = self.model()
        n = model.hidden
        flat = ("F32", [n, n], struct.pack("<f", 1.0) * (n * n))
        module = "model.layers.0.self_attn.o_proj"
        statistics = self.statistics(model, {module + ".hessian": flat})
        arguments = ["--method", "gptq", "--statistics", statistics, "--damping", "0", *GROUPS]
        out = self.path("out")
        done = self.quantctl("quantize", model.folder, "-o", out, *arguments, code=3)
        self.assertIn(module, done.stderr)
        self.assertIn("DEGRADED", done.stderr)
        self.assert_nothing_final(out)
        again = self.quantctl("quantize", model.folder, "-o", out, *arguments, "--resume",
                              "--on-degraded", "accept")
        self.assertIn("resuming: 14 of 14", again.stderr)
        self.quantctl("quantize", model.folder, "-o", self.path("at-once"), *arguments,
                      "--on-degraded", "accept")
        self.assert_same_folder(out, self.path("at-once"))
        self.quantctl("verify", out, "--source", model.folder)

    def test_gptq_without_statistics_is_no_silent_rounding(self):
        model = self.model()
        done = self.quantctl("quantize", model.folder, "-o", self.path("out"), "--method", "gptq",
                             code=2)
        self.assertIn("--statistics", done.stderr)
        module = "model.layers.1.mlp.down_proj"
        statistics = self.statistics(model, {module + ".hessian": None})
        done = self.quantctl("quantize", model.folder, "-o", self.path("out"), "--method", "gptq",
                             "--statistics", statistics, *GROUPS, code=2)
        self.assertIn(module, done.stderr)
        self.assertIn("--exclude", done.stderr)
        self.assertFalse(os.path.exists(self.path("out")))

    def test_verify_finds_damage(self):
        model = self.model()
        out = self.path("out")
        self.quantctl("quantize", model.folder, "-o", out, *GROUPS)
        path = os.path.join(out, "model.safetensors")
        with open(path, "r+b") as file:
            file.seek(-1000, os.SEEK_END)
            byte = file.read(1)
            file.seek(-1000, os.SEEK_END)
            file.write(bytes([byte[0] ^ 0x10]))
        done = self.quantctl("verify", out, "--source", model.folder, code=1)
        self.assertIn("mismatch", done.stdout)

    def test_verify_compares_configs_and_index(self):
        model = self.model()
        out = self.path("out")
        self.quantctl("quantize", model.folder, "-o", out, *GROUPS, "--max-shard-size", "100kb")

        def change(name, edit):
            with open(os.path.join(out, name)) as file:
                good = file.read()
            damaged = json.loads(good)
            edit(damaged)
            with open(os.path.join(out, name), "w") as file:
                json.dump(damaged, file)
            done = self.quantctl("verify", out, "--source", model.folder, code=1)
            with open(os.path.join(out, name), "w") as file:
                file.write(good)
            return done.stdout

        text = change("config.json", lambda c: c.update(hidden_size=7))
        self.assertIn("hidden_size", text)
        text = change("model.safetensors.index.json", lambda c: c["metadata"].update(total_size=7))
        self.assertIn("total_size", text)
        self.quantctl("verify", out, "--source", model.folder)

    def test_verify_claims_no_more_than_it_saw(self):
        model = self.model()
        out = self.path("out")
        self.quantctl("quantize", model.folder, "-o", out, *GROUPS)
        report = os.path.join(out, "quantd-report.json")
        os.rename(report, self.path("report.json"))
        done = self.quantctl("verify", out)
        self.assertIn("readable; nothing to compare with", done.stdout)
        os.mkdir(report)
        self.assertIn("quantd-report.json", self.quantctl("verify", out, code=2).stderr)

    def test_a_full_disk_is_told_and_nothing_final_appears(self):
        model = self.model()
        limit = 200_000
        done = self.quantctl(
            "quantize", model.folder, "-o", self.path("out"), *GROUPS, code=1,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )
        self.assertIn("error:", done.stderr)
        self.assert_nothing_final(self.path("out"))


class BadInput(EndToEnd):
    """Exit code 2, a message that names the culprit, nothing under a final name."""

    def fails(self, *words, model="model", extra=()):
        out = self.path("out")
        shutil.rmtree(out, ignore_errors=True)
        groups = [] if "--group-size" in extra else GROUPS
        done = self.quantctl("quantize", self.path(model), "-o", out, *groups, *extra, code=2)
        self.assertTrue(("\n" + done.stderr).find("\nerror:") >= 0, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assert_nothing_final(out)

    def weight(self, model, name, position, value):
        dtype, shape, data = model.tensors[name]
        data = bytearray(data)
        struct.pack_into("<f", data, 4 * position, value)
        model.tensors[name] = (dtype, shape, bytes(data))
        model.write()

    def test_weights_that_are_not_finite(self):
        name = "model.layers.1.mlp.up_proj.weight"
        for value in (math.nan, math.inf):
            model = self.model()
            self.weight(model, name, 77, value)
            self.fails(name, "77")

    def test_damaged_safetensors(self):
        model = self.model()
        path = os.path.join(model.folder, "model.safetensors")
        with open(path, "rb") as file:
            good = file.read()
        (size,) = struct.unpack("<Q", good[:8])
        header = json.loads(good[8 : 8 + size])

        def with_header(change):
            damaged = json.loads(json.dumps(header))
            change(damaged)
            text = json.dumps(damaged).encode()
            return struct.pack("<Q", len(text)) + text + good[8 + size :]

        name = "model.norm.weight"
        cases = {
            "truncated": good[:-1],
            "trailing byte": good + b"x",
            "no header": good[:7],
            "header beyond the file": struct.pack("<Q", len(good)) + good[8:],
            "huge header": struct.pack("<Q", 1 << 60) + good[8:],
            "not json": good[:8] + b"x" * size + good[8 + size :],
            "overflow": with_header(lambda h: h[name].update(shape=[1 << 62, 1 << 62])),
            "negative": with_header(lambda h: h[name].update(shape=[-1])),
            "dtype": with_header(lambda h: h[name].update(dtype="F77")),
            "hole": with_header(lambda h: h[name].update(data_offsets=[0, 0])),
        }
        for case, raw in cases.items():
            with self.subTest(case):
                with open(path, "wb") as file:
                    file.write(raw)
                self.fails("model.safetensors")

    def test_index_names_that_leave_the_folder(self):
        for bad in ("../model.safetensors", "/etc/passwd", "a/b.safetensors", ".."):
            with self.subTest(bad):
                model = self.model(shards=2)
                path = os.path.join(model.folder, "model.safetensors.index.json")
                with open(path) as file:
                    index = json.load(file)
                index["weight_map"]["model.norm.weight"] = bad
                with open(path, "w") as file:
                    json.dump(index, file)
                self.fails("index")

    def test_hessians_that_cannot_be_used(self):
        model = self.model()
        n = model.hidden
        module = "model.layers.0.self_attn.o_proj"
        good = checkpoint.hessian(n)[2]

        def changed(position, value):
            data = bytearray(good)
            struct.pack_into("<f", data, 4 * position, value)
            return ("F32", [n, n], bytes(data))

        cases = {
            "wrong size": ("F32", [n - 1, n - 1], good[: 4 * (n - 1) ** 2]),
            "not symmetric": changed(5, 1000.0),
            "not a number": changed(7, math.nan),
            "negative diagonal": changed(0, -5.0),
        }
        for case, tensor in cases.items():
            with self.subTest(case):
                statistics = self.statistics(model, {module + ".hessian": tensor})
                self.fails("o_proj", extra=("--method", "gptq", "--statistics", statistics))

    def test_specs_that_do_not_fit(self):
        self.model()
        self.fails("group-size", "q_proj", extra=("--group-size", "48"))
        self.fails(extra=("--layout", "gptq", "--asymmetric"))
        self.fails("--bits", extra=("--bits", "1"))
        self.fails("nosuch", extra=("--recipe", self.path("nosuch.yaml")))
        self.fails(extra=("--include", "matches-nothing"))

    def test_folders_that_are_wrong(self):
        model = self.model()
        self.fails("nosuch", model="nosuch")
        os.remove(os.path.join(model.folder, "config.json"))
        self.fails("config.json")

    def test_an_output_folder_in_use_is_left_alone(self):
        model = self.model()
        os.makedirs(self.path("out"))
        with open(self.path("out", "precious.txt"), "w") as file:
            file.write("mine")
        self.quantctl("quantize", model.folder, "-o", self.path("out"), *GROUPS, code=2)
        self.assertEqual(self.files(self.path("out")), {"precious.txt": b"mine"})


__all__ = ["Methods", "Plans", "RunMetrics", "main"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quantd", required=True)
    parser.add_argument("--quantctl", required=True)
    _, rest = parser.parse_known_args(namespace=BINARIES)
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
