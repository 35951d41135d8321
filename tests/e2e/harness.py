"""What every end-to-end test has: the shipped binaries, folders that go away, servers that stop."""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import unittest

import checkpoint
from processes import WAIT_SECONDS, Proxy, Server

BINARIES = argparse.Namespace()
GROUPS = ["--group-size", "32"]


def is_final(name):
    """True for a file that a consumer of a finished folder would read."""
    return not name.endswith(".partial") and name not in ("quantd-journal.jsonl", "quantd-work")


class EndToEnd(unittest.TestCase):
    maxDiff = 2000

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="quantd-e2e-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def model(self, name="model", **arguments):
        return checkpoint.Model(self.path(name), **arguments)

    def statistics(self, model, replace=None, name="statistics.safetensors"):
        checkpoint.write_statistics(self.path(name), model, replace)
        return self.path(name)

    def server(self, **arguments):
        server = Server(BINARIES.quantd, self.folder, **arguments)
        self.addCleanup(server.stop)
        return server

    def proxy(self, port, hold_after=None):
        proxy = Proxy(port, hold_after)
        self.addCleanup(proxy.close)
        return proxy

    def quantctl(self, *arguments, code=0, **options):
        done = subprocess.run(
            [BINARIES.quantctl, *arguments],
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            **options,
        )
        self.assertEqual(done.returncode, code, f"{arguments}\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, *arguments, **options):
        process = subprocess.Popen(
            [BINARIES.quantctl, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        return process

    def files(self, folder):
        return checkpoint.folder_files(folder)

    def assert_same_folder(self, left, right):
        a, b = self.files(left), self.files(right)
        self.assertEqual(sorted(a), sorted(b))
        for name in a:
            self.assertTrue(a[name] == b[name], f"{name} differs between {left} and {right}")

    def assert_nothing_final(self, folder):
        names = os.listdir(folder) if os.path.isdir(folder) else []
        self.assertEqual([n for n in names if is_final(n)], [])

    def journal_lines(self, folder):
        try:
            with open(os.path.join(folder, "quantd-journal.jsonl")) as file:
                return sum(1 for _ in file)
        except FileNotFoundError:
            return 0

    def report(self, folder):
        with open(os.path.join(folder, "quantd-report.json")) as file:
            return json.load(file)
