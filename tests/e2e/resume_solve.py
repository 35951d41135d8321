"""Kills servers and clients in the middle of solves that go on from their states.

    resume_solve.py --quantd PATH --quantctl PATH [unittest arguments]
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import checkpoint
from harness import BINARIES, EndToEnd
from processes import WAIT_SECONDS, wait_until

# One layer, whose solve gets as many rounds as take some seconds on this machine.
SOLVE = [
    "--method", "aqlm", "--scheme", "2x8", "--include", r"layers\.0\.mlp\.down_proj",
    "--layout", "plain",
]
LONG_ENOUGH_SECONDS = 3
NAME = "model.layers.0.mlp.down_proj.weight"


class ResumedSolves(EndToEnd):
    rounds = 16

    @classmethod
    def setUpClass(cls):
        cls.shared = tempfile.mkdtemp(prefix="quantd-e2e-")
        cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)
        cls.source = checkpoint.Model(os.path.join(cls.shared, "model"), layers=1, hidden=256,
                                      ffn=512)
        cls.given = ["--statistics", os.path.join(cls.shared, "statistics.safetensors")]
        checkpoint.write_statistics(cls.given[1], cls.source)
        seconds = 0
        while seconds < LONG_ENOUGH_SECONDS:
            cls.rounds *= 2
            cls.undisturbed = os.path.join(cls.shared, f"undisturbed-{cls.rounds}")
            begun = time.monotonic()
            subprocess.run(
                [BINARIES.quantctl, "quantize", cls.source.folder, "-o", cls.undisturbed,
                 *cls.solve(), *cls.given],
                check=True, capture_output=True, timeout=WAIT_SECONDS,
            )
            seconds = time.monotonic() - begun

    @classmethod
    def solve(cls, state_every=1):
        return [*SOLVE, "--set", f"rounds={cls.rounds},tolerance=0", "--checkpoint-seconds",
                str(state_every)]

    def setUp(self):
        super().setUp()
        self.out = self.path("out")

    def begin(self, *extra):
        """A run in the background, once its first state is stored."""
        client = self.start("quantize", self.source.folder, "-o", self.out, *self.solve(),
                            *self.given, *extra)
        wait_until(lambda: self.states() or client.poll() is not None, "a stored state")
        self.assertIsNone(client.poll(), "the solve ended before its first state was stored")
        return client

    def states(self):
        try:
            names = os.listdir(os.path.join(self.out, "quantd-work"))
        except FileNotFoundError:
            return []
        return [n for n in names if n.endswith(".state")]

    def state_path(self):
        return os.path.join(self.out, "quantd-work", self.states()[0])

    def state_stamp(self):
        """Differs from state to state; None without one."""
        try:
            return os.stat(self.state_path()).st_mtime_ns
        except (FileNotFoundError, IndexError):
            return None

    def resume(self, *extra, state_every=1):
        return self.quantctl("quantize", self.source.folder, "-o", self.out,
                             *self.solve(state_every), *self.given, "--resume", *extra)

    def assert_as_undisturbed(self):
        self.assertEqual(self.states(), [])
        self.assert_same_folder(self.undisturbed, self.out)
        self.quantctl("verify", self.out, "--source", self.source.folder)

    def test_a_killed_client_goes_on_where_it_was(self):
        client = self.begin()
        client.kill()
        client.wait()
        self.assert_nothing_final(self.out)
        self.assertIn("goes on from its stored state", self.resume().stderr)
        self.assert_as_undisturbed()

    def test_one_killed_again_and_again_ends_in_the_same_bytes(self):
        client = self.begin()
        client.kill()
        client.wait()
        for _ in range(3):
            before = self.state_stamp()
            client = self.start("quantize", self.source.folder, "-o", self.out, *self.solve(),
                                *self.given, "--resume")
            wait_until(lambda: self.state_stamp() != before, "a newer state, or none any more")
            client.kill()
            client.wait()
            if self.state_stamp() is None:
                break
        self.resume()
        self.assert_as_undisturbed()

    def test_a_killed_server_is_replaced_and_no_work_is_lost(self):
        server = self.server()
        proxy = self.proxy(server.port)
        client = self.begin("--server", proxy.target)
        server.kill()
        proxy.release(self.server().port)
        text, _ = client.communicate(timeout=WAIT_SECONDS)
        self.assertEqual(client.returncode, 0, text)
        self.assertIn(f"{NAME}: goes on from its stored state", text)
        self.assert_as_undisturbed()

    def test_ctrl_c_and_another_number_of_threads(self):
        client = self.begin("--threads", "2")
        client.send_signal(signal.SIGINT)
        text, _ = client.communicate(timeout=WAIT_SECONDS)
        self.assertEqual(client.returncode, 130, text)
        self.assertIn("--resume", text)
        self.assertIn("goes on", self.resume("--threads", "1", state_every=0).stderr)
        self.assert_as_undisturbed()

    def test_a_damaged_state_costs_its_work_and_nothing_else(self):
        client = self.begin()
        client.kill()
        client.wait()
        with open(self.state_path(), "r+b") as file:
            file.seek(-100, os.SEEK_END)
            file.write(b"damage")
        done = self.resume()
        self.assertIn("begins anew", done.stderr)
        self.assert_as_undisturbed()

    def test_a_state_of_other_inputs_is_refused_by_the_server(self):
        client = self.begin()
        client.kill()
        client.wait()
        foreign = self.path("foreign")
        os.rename(self.out, foreign)
        # The same layer of another model: its file fits this folder, its contents do not.
        self.source = self.model("other", layers=1, hidden=256, ffn=512, seed=2)  # of this test
        self.quantctl("quantize", self.source.folder, "-o", self.path("expected"),
                      *self.solve(), *self.given)
        client = self.begin()
        client.kill()
        client.wait()
        name = self.states()[0]
        os.replace(os.path.join(foreign, "quantd-work", name),
                   os.path.join(self.out, "quantd-work", name))
        done = self.resume()
        self.assertIn("goes on from its stored state", done.stderr)
        self.assertIn("begins anew", done.stderr)
        self.assertIn("CHECKPOINT", done.stderr)
        self.assert_same_folder(self.path("expected"), self.out)

    def test_without_states_a_run_begins_anew(self):
        client = self.begin()
        client.kill()
        client.wait()
        os.remove(self.state_path())
        self.assertNotIn("goes on", self.resume(state_every=0).stderr)
        self.assert_as_undisturbed()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quantd", required=True)
    parser.add_argument("--quantctl", required=True)
    _, rest = parser.parse_known_args(namespace=BINARIES)
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
