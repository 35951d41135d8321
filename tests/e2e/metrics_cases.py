"""What `quantctl quantize --metrics-listen` tells of a run, scraped while the run stands still."""

import re
import signal
import socket
import urllib.error
import urllib.request

from harness import GROUPS, EndToEnd
from processes import WAIT_SECONDS, wait_until

LAYERS = 28  # of the model below
STATES = ("waiting", "running", "done", "degraded", "rejected", "failed")


def read_samples(text):
    """{"name{labels}": value} of an exposition."""
    samples = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            samples[series] = float(value)
    return samples


class RunMetrics(EndToEnd):
    def setUp(self):
        super().setUp()
        self.source = self.model("llama", layers=4)
        self.out = self.path("out")

    def begin(self, *extra, listen="127.0.0.1:0"):
        """A run in the background; its first line tells where its metrics are."""
        client = self.start("quantize", self.source.folder, "-o", self.out, *GROUPS,
                            "--metrics-listen", listen, *extra)
        line = client.stdout.readline()
        match = re.fullmatch(r"metrics on (http://127\.0\.0\.1:[1-9]\d*/metrics)\n", line)
        self.assertTrue(match, line)
        self.url = match[1]
        return client

    def begin_held(self, *extra):
        """A run whose upload stands still halfway, with some layers done."""
        server = self.server()
        proxy = self.proxy(server.port, self.source.source_bytes() // 2)
        client = self.begin("--jobs", "2", "--server", proxy.target, *extra)
        self.assertTrue(proxy.held.wait(WAIT_SECONDS))
        self.wait_for_state("done", 3)
        return server, proxy, client

    def scrape(self):
        with urllib.request.urlopen(self.url, timeout=WAIT_SECONDS) as answer:
            samples = read_samples(answer.read().decode())
        states = self.states(samples)
        if states:
            self.assertEqual(sum(states.values()), LAYERS, states)
        return samples

    def states(self, samples):
        names = {s: f'quantctl_layers{{model="llama",state="{s}"}}' for s in STATES}
        return {s: samples[name] for s, name in names.items() if name in samples}

    def value(self, samples, name):
        return samples[f'{name}{{model="llama"}}']

    def layers_of(self, samples, name):
        return {series: value for series, value in samples.items() if series.startswith(name + "{")}

    def wait_for_state(self, state, count):
        wait_until(lambda: self.states(self.scrape()).get(state, 0) >= count,
                   f"{count} layers {state}")

    def test_a_run_tells_how_far_it_is_and_the_end_until_it_is_interrupted(self):
        _, proxy, client = self.begin_held("--metrics-linger", "3600")
        samples = self.scrape()
        states = self.states(samples)
        self.assertGreater(states["waiting"], 0)
        self.assertGreater(states["running"], 0)
        self.assertLess(states["done"], LAYERS)
        self.assertGreater(self.value(samples, "quantctl_eta_seconds"), 0)
        self.assertGreater(self.value(samples, "quantctl_run_start_time_seconds"), 1e9)
        done = self.value(samples, "quantctl_weights_done")
        self.assertGreater(done, 0)
        self.assertLess(done, self.value(samples, "quantctl_weights"))
        proxy.release()
        self.wait_for_state("done", LAYERS)
        samples = self.scrape()
        self.assertEqual(self.value(samples, "quantctl_eta_seconds"), 0)
        self.assertEqual(self.value(samples, "quantctl_retries_total"), 0)
        self.assertEqual(self.value(samples, "quantctl_weights_done"),
                         self.value(samples, "quantctl_weights"))
        errors = self.layers_of(samples, "quantctl_layer_weight_relative_error")
        self.assertEqual(len(errors), LAYERS)
        told = {t["name"][: -len(".weight")]: t["error"]["weight_relative_error"]
                for t in self.wait_for_report()["tensors"]}
        for layer, error in told.items():
            name = f'quantctl_layer_weight_relative_error{{model="llama",layer="{layer}"}}'
            self.assertEqual(errors[name], error)
        self.assertEqual(self.layers_of(samples, "quantctl_layer_output_relative_error"), {})
        self.end_linger(client, 0)
        self.quantctl("verify", self.out, "--source", self.source.folder)

    def wait_for_report(self):
        """The finished folder's: a run lingers once that is written."""
        def finished():
            try:
                self.report(self.out)
            except FileNotFoundError:
                return False
            return self.journal_lines(self.out) == 0
        wait_until(finished, "a finished folder")
        return self.report(self.out)

    def end_linger(self, client, code):
        # Its last line is written before it lingers.
        text = ""
        while "bits each" not in text and "--resume" not in text:
            line = client.stdout.readline()
            self.assertTrue(line, text)
            text += line
        self.assertIsNone(client.poll(), text)
        client.send_signal(signal.SIGINT)
        client.communicate(timeout=WAIT_SECONDS)
        self.assertEqual(client.returncode, code, text)
        with self.assertRaises(urllib.error.URLError):
            self.scrape()

    def test_layers_of_an_earlier_run_are_done_from_the_start(self):
        _, _, client = self.begin_held()
        client.kill()
        client.wait()
        server = self.server()
        # Still before the first tensor of a second run, beyond its questions.
        proxy = self.proxy(server.port, 60_000)
        client = self.begin("--jobs", "1", "--server", proxy.target, "--resume")
        self.assertTrue(proxy.held.wait(WAIT_SECONDS))
        samples = self.scrape()
        line = ""
        while "resuming" not in line:
            line = client.stdout.readline()
            self.assertTrue(line)
        done = int(re.search(r"resuming: (\d+) of 28 layers are done", line)[1])
        self.assertGreaterEqual(done, 3)
        self.assertEqual(self.states(samples)["done"], done)
        self.assertEqual(len(self.layers_of(samples, "quantctl_layer_bits_per_weight")), done)
        proxy.release()
        text, _ = client.communicate(timeout=WAIT_SECONDS)
        self.assertEqual(client.returncode, 0, text)

    def test_a_job_that_is_sent_again_is_counted(self):
        server, proxy, client = self.begin_held("--metrics-linger", "3600")
        server.kill()
        proxy.release(self.server().port)
        self.wait_for_state("done", LAYERS)
        self.assertGreaterEqual(self.value(self.scrape(), "quantctl_retries_total"), 1)
        self.end_linger(client, 0)

    def test_a_server_that_is_lost_for_good_leaves_failed_layers(self):
        server, proxy, client = self.begin_held("--attempts", "1", "--metrics-linger", "3600")
        server.kill()
        proxy.release(server.port)
        self.wait_for_state("failed", 1)
        wait_until(lambda: self.states(self.scrape())["running"] == 0, "the end of the run")
        samples = self.scrape()
        self.assertEqual(self.states(samples)["failed"], 1)
        self.assertNotIn('quantctl_eta_seconds{model="llama"}', samples)
        # Another run may go on with the folder while this one still serves.
        resume = ("quantize", self.source.folder, "-o", self.out, *GROUPS, "--resume")
        wait_until(lambda: self.start(*resume).wait(WAIT_SECONDS) == 0, "the folder to be free")
        self.end_linger(client, 1)

    def test_only_the_worst_layers_of_a_large_model_have_series(self):
        self.source = self.model("large", layers=9, hidden=64, ffn=64)  # 63 layers
        client = self.begin("--metrics-linger", "3600")
        self.wait_for_report()
        with urllib.request.urlopen(self.url, timeout=WAIT_SECONDS) as answer:
            samples = read_samples(answer.read().decode())
        self.assertEqual(samples['quantctl_layers{model="large",state="done"}'], 63)
        errors = {t["name"][: -len(".weight")]: t["error"]["weight_relative_error"]
                  for t in self.report(self.out)["tensors"]}
        worst = sorted(errors, key=errors.get)[-50:]
        series = self.layers_of(samples, "quantctl_layer_weight_relative_error")
        self.assertEqual(
            sorted(series),
            sorted(f'quantctl_layer_weight_relative_error{{model="large",layer="{w}"}}'
                   for w in worst),
        )
        self.end_linger(client, 0)

    def test_a_taken_port_is_named_before_any_work(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            done = self.quantctl("quantize", self.source.folder, "-o", self.out, *GROUPS,
                                 "--metrics-listen", address, code=1)
        self.assertIn(address, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assert_nothing_final(self.out)
