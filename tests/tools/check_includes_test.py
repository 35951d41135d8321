"""Tests of check_includes.py on small trees that break one rule each."""

import os
import tempfile
import unittest

import check_includes


class CheckIncludesTest(unittest.TestCase):
    def findings(self, path, text):
        with tempfile.TemporaryDirectory() as root:
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full))
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)
            return check_includes.check(root)

    def test_allowed_includes_pass(self):
        text = '#include <vector>\n#include "absl/status/status.h"\n#include "workers/core/dtype.h"\n'
        self.assertEqual(self.findings("workers/fit/min_max.cc", text), [])
        self.assertEqual(self.findings("workers/core/digest.cc", "#include <xxhash.h>\n"), [])
        self.assertEqual(self.findings("workers/linalg/blas.cc", "#include <cblas.h>\n#include <sys/mman.h>\n"), [])
        self.assertEqual(self.findings("client/lib/run.cc", '#include "server/embedded.h"\n'), [])
        self.assertEqual(self.findings("proto/wire/chunker.cc", "#include <isa-l/crc.h>\n"), [])

    def test_names_file_line_and_rooms(self):
        found = self.findings("workers/core/a.h", '\n#include "workers/linalg/blas.h"\n')
        self.assertEqual(len(found), 1)
        self.assertTrue(found[0].startswith("workers/core/a.h:2: workers/linalg/blas.h: "), found)
        self.assertIn("workers/core may not include room workers/linalg", found[0])

    def test_work_knows_no_transport(self):
        for include in ("grpcpp/grpcpp.h", "quantd/v1/spec.pb.h", "google/protobuf/message.h",
                        "prometheus/counter.h"):
            self.assertEqual(len(self.findings("workers/engine/e.cc", f"#include <{include}>\n")), 1, include)

    def test_session_gets_the_frames_but_not_the_codec(self):
        self.assertEqual(self.findings("server/session/s.h", '#include "proto/wire/frames.h"\n'), [])
        self.assertEqual(len(self.findings("server/session/s.h", '#include "proto/wire/codec.h"\n')), 1)

    def test_client_sees_of_the_server_one_header_only(self):
        endpoint = '#include "server/telemetry/metrics_endpoint.h"\n'
        self.assertEqual(self.findings("client/telemetry/t.cc", endpoint), [])
        self.assertEqual(len(self.findings("client/cli/c.cc", endpoint)), 1)
        self.assertEqual(len(self.findings("client/telemetry/t.cc", '#include "server/telemetry/metrics.h"\n')), 1)
        self.assertEqual(len(self.findings("client/cli/c.cc", '#include "server/session/session.h"\n')), 1)

    def test_tests_and_unknown_libraries_are_refused(self):
        self.assertEqual(len(self.findings("workers/core/a.cc", '#include "tests/support/x.h"\n')), 1)
        self.assertEqual(len(self.findings("workers/core/a.cc", "#include <gtest/gtest.h>\n")), 1)
        self.assertEqual(len(self.findings("workers/core/a.cc", "#include <boost/any.hpp>\n")), 1)

    def test_a_file_outside_the_rooms_is_a_finding(self):
        self.assertEqual(len(self.findings("workers/misc/a.cc", "#include <vector>\n")), 1)


if __name__ == "__main__":
    unittest.main()
