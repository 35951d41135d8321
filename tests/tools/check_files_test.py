"""Tests of check_files.py on small trees that break one rule each."""

import os
import tempfile
import unittest

import check_files

GOOD = {
    "workers/fit/CMakeLists.txt": "quantd_library(fit SOURCES a.cc)\n",
    "workers/fit/a.cc": "int a;\n",
    "workers/fit/a.h": "// What a is for.\n",
    "tests/unit/workers/fit/CMakeLists.txt": "quantd_test(fit SOURCES a_test.cc)\n",
    "tests/unit/workers/fit/a_test.cc": "int t;\n",
}


class CheckFilesTest(unittest.TestCase):
    def check(self, changes):
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**GOOD, **changes}.items():
                full = os.path.join(root, path)
                os.makedirs(os.path.dirname(full), exist_ok=True)
                with open(full, "w", encoding="utf-8") as file:
                    file.write(text)
            return check_files.check(root)

    def assert_one(self, changes, *words):
        findings, _ = self.check(changes)
        self.assertEqual(len(findings), 1, findings)
        for word in words:
            self.assertIn(word, findings[0])

    def test_a_good_tree_passes(self):
        self.assertEqual(self.check({}), ([], []))

    def test_length(self):
        self.assertEqual(self.check({"workers/fit/a.cc": "int a;\n" * 700})[0], [])
        self.assertEqual(len(self.check({"workers/fit/a.cc": "int a;\n" * 451})[1]), 1)
        self.assert_one({"workers/fit/a.cc": "int a;\n" * 701}, "workers/fit/a.cc", "701 lines")

    def test_open_ends(self):
        self.assert_one({"workers/fit/a.cc": "// TO" "DO: more\n"}, "workers/fit/a.cc:1", "an open end")
        self.assert_one({"workers/fit/a.cc": "// good for n" "ow\n"}, "an open end")
        self.assertEqual(self.check({"workers/fit/a.cc": "int kMethodology;\n"})[0], [])

    def test_machine_paths(self):
        self.assert_one({"workers/fit/a.cc": 'auto p = "/ho' 'me/me/x";\n'}, "a path of one machine")
        self.assertEqual(self.check({"workers/fit/a.cc": '#include "tests/work/x.h"\n'})[0], [])

    def test_header_comment(self):
        self.assert_one({"workers/fit/a.h": "#pragma once\n"}, "workers/fit/a.h", "comment")

    def test_a_test_outside_every_target(self):
        self.assert_one({"tests/unit/workers/fit/b_test.cc": "int t;\n"}, "b_test.cc", "no CMake target")
        # A longer name that ends in it does not count.
        self.assert_one({"tests/unit/workers/fit/t.cc": "int t;\n",
                         "tests/unit/workers/fit/CMakeLists.txt": "a_test.cc at.cc\n"}, "fit/t.cc")

    def test_mirror(self):
        self.assert_one({"tests/unit/workers/fitt/b_test.cc": "int t;\n",
                         "tests/unit/workers/fitt/CMakeLists.txt": "b_test.cc"}, "no folder workers/fitt")
        self.assert_one({"workers/pack/p.cc": "int p;\n", "workers/pack/CMakeLists.txt": "p.cc"},
                        "workers/pack", "no test")


if __name__ == "__main__":
    unittest.main()
