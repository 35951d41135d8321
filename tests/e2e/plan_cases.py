"""quantctl plan with the shipped binaries: budgets kept by real folders, and measurements that survive kills."""

import json
import os
import signal

from harness import EndToEnd
from processes import WAIT_SECONDS, wait_until

CANDIDATES = ["--candidates", "gptq:bits=2|3|4|8,group-size=32; rtn:bits=4,group-size=16"]


class Plans(EndToEnd):
    def setUp(self):
        super().setUp()
        self.source = self.model(layers=4)
        self.given = ["--statistics", self.statistics(self.source)]

    def plan(self, name, *arguments, code=0):
        done = self.quantctl("plan", self.source.folder, *CANDIDATES, *self.given, "-o", self.path(f"{name}.yaml"),
                             "--report", self.path(f"{name}.json"), *arguments, code=code)
        if code != 0:
            return done
        with open(self.path(f"{name}.json")) as file:
            return json.load(file)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def quantize(self, name, recipe, *arguments):
        self.quantctl("quantize", self.source.folder, "-o", self.path(name), "--recipe", self.path(recipe),
                      *self.given, *arguments)
        self.quantctl("verify", self.path(name), "--source", self.source.folder)
        return self.report(self.path(name))

    def test_what_is_quantized_is_what_was_planned(self):
        for budget in ("2.9bpw", "4bpw", "6.5bpw"):
            with self.subTest(budget):
                plan = self.plan(budget, "--budget", budget, "--frontier", self.path("f.jsonl"))
                self.assertLessEqual(plan["plan"]["bits_per_weight"], float(budget[:-3]))
                report = self.quantize(f"out-{budget}", f"{budget}.yaml")
                layers = {t["name"].removesuffix(".weight"): t for t in report["tensors"]}
                for layer in plan["layers"]:
                    if layer["chosen"] == "as it is":
                        self.assertNotIn(layer["module"], layers)
                        continue
                    done = layers[layer["module"]]
                    self.assertEqual(done["error"]["output_relative_error"], layer["error"])
                    self.assertAlmostEqual(done["all_in_bits_per_weight"], layer["bits_per_weight"], places=9)

    def test_a_size_holds_for_the_files(self):
        size = self.source.source_bytes() * 55 // 100
        self.plan("size", "--size", str(size))
        self.quantize("out", "size.yaml")
        files = [os.path.join(self.path("out"), name) for name in os.listdir(self.path("out"))
                 if name.endswith(".safetensors")]
        written = sum(os.path.getsize(path) for path in files)
        self.assertLessEqual(written, size)
        self.assertGreater(written, 0.8 * size)

    def test_killed_and_taken_up_again(self):
        undisturbed = self.plan("undisturbed", "--budget", "4bpw")
        server = self.server()
        proxy = self.proxy(server.port, self.source.source_bytes())
        client = self.start("plan", self.source.folder, *CANDIDATES, *self.given, "-o", self.path("plan.yaml"),
                            "--budget", "4bpw", "--jobs", "2", "--server", proxy.target)
        self.assertTrue(proxy.held.wait(WAIT_SECONDS))
        wait_until(lambda: self.lines("plan.frontier.jsonl") >= 3, "measured layers in the frontier")
        client.kill()
        client.wait()
        self.assertFalse(os.path.exists(self.path("plan.yaml")))
        measured = self.lines("plan.frontier.jsonl")
        self.assertLess(measured, self.lines("undisturbed.frontier.jsonl"))
        plan = self.plan("plan", "--budget", "4bpw", "--server", server.target)
        self.assertEqual(plan["layers"], undisturbed["layers"])
        # What was there is not measured again: one line a layer, and the head.
        self.assertEqual(self.lines("plan.frontier.jsonl"), len(plan["layers"]) + 1)

    def test_ctrl_c_says_how_to_go_on(self):
        server = self.server()
        proxy = self.proxy(server.port, self.source.source_bytes())
        client = self.start("plan", self.source.folder, *CANDIDATES, *self.given, "-o", self.path("plan.yaml"),
                            "--budget", "4bpw", "--server", proxy.target)
        self.assertTrue(proxy.held.wait(WAIT_SECONDS))
        client.send_signal(signal.SIGINT)
        text, _ = client.communicate(timeout=WAIT_SECONDS)
        self.assertEqual(client.returncode, 130, text)
        self.assertIn("the same command goes on from there", text)

    def test_budgets_and_names_that_cannot_be(self):
        done = self.plan("no", "--budget", "1bpw", code=2)
        self.assertIn("the smallest plan takes", done.stderr)
        nearest = float(done.stderr.rsplit("(", 1)[1].split(" bits")[0]) + 0.01
        self.plan("yes", "--budget", f"{nearest}bpw", "--frontier", self.path("no.frontier.jsonl"))
        done = self.plan("no", "--budget", "4bpw", "--exclude", "nosuch", "--min-bits", "alsonot=4", code=2)
        self.assertIn('"alsonot" matches none', done.stderr)
        done = self.plan("no", "--max-loss", "5%", code=2)
        self.assertIn("one format", done.stderr)

    def lines(self, name):
        try:
            return self.read(name).count(b"\n")
        except FileNotFoundError:
            return 0
