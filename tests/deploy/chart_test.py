"""The chart makes the objects of the overlays, no others, and refuses values that it does not know."""

import os
import subprocess
import tarfile

import manifests
from harness import DeployTest, need

# A value that is refused, and the words that name it.
WRONG_VALUES = {
    "autoscaling.busyPercent=700": "autoscaling.busyPercent: Must be less than or equal to 100",
    "autoscaling.minReplicas=two": "autoscaling.minReplicas: Invalid type. Expected: integer, given: string",
    "autoscaling.maxReplica=3": "autoscaling: Additional property maxReplica is not allowed",
    "config.QUANTD_BUDGET=7Gi": "config.QUANTD_BUDGET: Does not match pattern",
    "config.QUANTD_LOG_LEVEL=loud": "config.QUANTD_LOG_LEVEL: config.QUANTD_LOG_LEVEL must be one of the following",
    "config.QUANTD_THREADS=4": "config.QUANTD_THREADS: Invalid type. Expected: string, given: integer",
    "config.BUDGET=7GiB": "config: Additional property BUDGET is not allowed",
    "image.tag=latest": "image.tag: Must not validate the schema (not)",
    "namespace.name=Quantd": "namespace.name: Does not match pattern",
    "tls.enabled=maybe": "tls.enabled: Invalid type. Expected: boolean, given: string",
    "replica=2": "(root): Additional property replica is not allowed",
    "resources.limits.memory=null": "resources.limits: memory is required",
    "terminationGracePeriodSeconds=5": "terminationGracePeriodSeconds: Must be greater than or equal to 21",
}


def by_name(objects):
    return {f"{one['apiVersion']} {manifests.title(one)}": one for one in objects}


class ChartTest(DeployTest):
    def assert_equals_overlay(self, objects, overlay):
        chart, expected = by_name(objects), by_name(manifests.render_overlay(overlay))
        self.assertEqual(len(chart), len(objects), "an object comes twice")
        self.assertEqual(sorted(chart), sorted(expected))
        for name, one in expected.items():
            self.assertEqual(chart[name], one, name)

    def test_equals_the_overlays(self):
        for overlay in manifests.OVERLAYS:
            with self.subTest(overlay):
                self.assert_equals_overlay(manifests.render_chart(overlay), overlay)

    def test_defaults_are_the_overlay_cpu(self):
        self.assert_equals_overlay(manifests.render_chart(), "cpu")

    def test_lint(self):
        for overlay in manifests.OVERLAYS:
            with self.subTest(overlay):
                self.run_tool(need("helm"), "lint", "--strict", manifests.CHART, "--values",
                              os.path.join(manifests.CHART, f"values-{overlay}.yaml"))

    def test_a_packed_chart_is_complete(self):
        """The links into alerts and dashboards are followed: the archive needs nothing beside it."""
        self.run_tool(need("helm"), "package", manifests.CHART, "--destination", self.folder)
        [archive] = [name for name in os.listdir(self.folder) if name.endswith(".tgz")]
        packed = manifests.parse(self.run_tool(need("helm"), "template", "quantd", self.path(archive)).stdout)
        self.assert_equals_overlay(packed, "cpu")
        with tarfile.open(self.path(archive)) as names:
            files = [name for name in names.getnames() if name.startswith("quantd/files/")]
        self.assertTrue(all(name.endswith((".json", "quantd.rules.yaml")) for name in files), files)

    def test_wrong_values_are_named(self):
        for value, words in WRONG_VALUES.items():
            with self.subTest(value):
                done = subprocess.run([need("helm"), "template", "quantd", manifests.CHART, "--set", value],
                                      capture_output=True, text=True, timeout=60)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(words, done.stderr)
