"""Tests of generate_docs.py with two small programs in place of the real ones."""

import os
import subprocess
import sys
import tempfile
import unittest

import generate_docs

QUANTCTL = """#!/bin/sh
case "$1" in
  --help) printf 'quantctl: %s\\n\\nSubcommands:\\n  quantize   Do it\\n               and more\\n  info   Look\\n' "$0" ;;
  methods) case "$2" in
    '') printf 'method  title\\n------  -----\\nrtn     A  \\ngptq    B\\n\\nmore: c\\ncpu      of this machine\\n' ;;
    *) printf 'all about %s\\n' "$2" ;;
    esac ;;
  *) printf 'help of %s\\n  --one TEXT Excludes: --two-b --two-a\\n       Text\\n' "$1" ;;
esac
"""


class GenerateDocsTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        for name, text in (("quantctl", QUANTCTL), ("quantd", "#!/bin/sh\necho options of the server\n")):
            path = os.path.join(self.folder.name, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(path, 0o755)

    def run_tool(self, *words):
        return subprocess.run([sys.executable, generate_docs.__file__, self.folder.name, "--docs",
                               self.folder.name, *words], capture_output=True, text=True, check=False)

    def page(self, name):
        with open(os.path.join(self.folder.name, name), encoding="utf-8") as file:
            return file.read()

    def test_pages_hold_what_the_programs_say_and_no_folder(self):
        self.assertEqual(self.run_tool().returncode, 0)
        for words in ("quantctl: quantctl\n", "## quantctl quantize", "help of quantize", "## quantctl info"):
            self.assertIn(words, self.page("cli.md"))
        self.assertNotIn(self.folder.name, self.page("cli.md"))
        self.assertNotIn("and more\n\n## quantctl and", self.page("cli.md"))
        self.assertIn("rtn     A\ngptq    B\n", self.page("methods.md"))
        self.assertIn("## rtn\n\n```\nall about rtn\n```\n", self.page("methods.md"))
        self.assertIn("all about gptq", self.page("methods.md"))
        self.assertNotIn("about more", self.page("methods.md"))
        self.assertNotIn("of this machine", self.page("methods.md"))
        self.assertIn("options of the server", self.page("server-options.md"))
        self.assertIn("| `quantd_jobs_total` | ", self.page("metrics.md"))
        self.assertIn("| `quantctl_layers` | gauge | model, state | ", self.page("metrics.md"))

    def test_options_that_exclude_one_another_stand_in_the_order_of_their_names(self):
        self.run_tool()
        self.assertIn("  --one TEXT Excludes: --two-a --two-b\n       Text\n", self.page("cli.md"))

    def test_check_passes_on_fresh_pages_and_fails_on_stale_or_missing_ones(self):
        self.assertEqual(self.run_tool("--check").returncode, 1)
        self.run_tool()
        self.assertEqual(self.run_tool("--check").returncode, 0)
        with open(os.path.join(self.folder.name, "cli.md"), "a", encoding="utf-8") as file:
            file.write("an edit by hand\n")
        result = self.run_tool("--check")
        self.assertEqual(result.returncode, 1)
        self.assertIn("an edit by hand", result.stdout)


if __name__ == "__main__":
    unittest.main()
