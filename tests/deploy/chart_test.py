"""The chart makes the objects of the overlays, no others, and refuses values that it does not know."""

import os
import subprocess
import tarfile

import manifests
from harness import DeployTest, need
from policy_rules import Objects

CHECKSUM = "checksum/config"
# A value that is refused, and the words that name it.
WRONG_VALUES = {
    "autoscaling.busyPercent=700": "autoscaling.busyPercent: Must be less than or equal to 100",
    "autoscaling.minReplicas=two": "autoscaling.minReplicas: Invalid type. Expected: integer, given: string",
    "autoscaling.maxReplica=3": "autoscaling: Additional property maxReplica is not allowed",
    "config.QUANTD_BUDGET=7Gi": "config.QUANTD_BUDGET: Does not match pattern",
    "config.QUANTD_LOG_LEVEL=loud": "config.QUANTD_LOG_LEVEL: config.QUANTD_LOG_LEVEL must be one of the following",
    "config.QUANTD_BUDGET=14GiB": "config.QUANTD_BUDGET 14GiB + gRPC 448 MiB (config.QUANTD_MAX_QUEUED_JOBS 64, "
                                  "QUANTD_MAX_STREAMS 64) + process 256 MiB = 15040 MiB, but "
                                  "resources.limits.memory is 8Gi",
    "config.QUANTD_MAX_STREAMS=128": "gRPC 832 MiB (config.QUANTD_MAX_QUEUED_JOBS 64, QUANTD_MAX_STREAMS 128)",
    "config.QUANTD_MAX_QUEUED_JOBS=2000000": "QUANTD_MAX_QUEUED_JOBS 2000000",
    "config.QUANTD_TRANSPORT_BUDGET=1GiB": "gRPC 1024 MiB (config.QUANTD_TRANSPORT_BUDGET)",
    "resources.limits.memory=7871Mi": "= 7872 MiB, but resources.limits.memory is 7871Mi",
    "resources.limits.memory=8Gib": "8Gib: not a number of bytes in k, M, G, T, Ki, Mi, Gi or Ti",
    "config.QUANTD_THREADS=true": "config.QUANTD_THREADS: Invalid type. Expected:",
    "config.BUDGET=7GiB": "config: Additional property BUDGET is not allowed",
    "monitoring.alerts=true": "monitoring.alerts: monitoring.alerts must be one of the following",
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
        # The one difference: helm restarts pods whose options change, kustomize leaves that to the one who applies.
        pod = chart["apps/v1 Deployment/quantd"]["spec"]["template"]["metadata"]
        self.assertEqual(list(pod.pop("annotations")), [CHECKSUM])
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
                self.run_tool(need("helm"), "lint", "--strict", manifests.CHART, *manifests.chart_arguments(overlay))

    def test_a_packed_chart_is_complete(self):
        """The links into alerts and dashboards are followed: the archive needs nothing beside it."""
        self.run_tool(need("helm"), "package", manifests.CHART, "--destination", self.folder)
        [archive] = [name for name in os.listdir(self.folder) if name.endswith(".tgz")]
        packed = self.run_tool(need("helm"), "template", "quantd", self.path(archive), *manifests.chart_arguments())
        self.assert_equals_overlay(manifests.parse(packed.stdout), "cpu")
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


class ValuesTest(DeployTest):
    """What single values do, in a release as people install it: nothing said of the namespace but where it is."""

    def rendered(self, *values, namespace="quantization", files=()):
        arguments = [word for value in values for word in ("--set", value)]
        arguments += [word for file in files for word in ("--values", os.path.join(manifests.CHART, file))]
        return Objects(manifests.parse(self.run_tool(
            need("helm"), "template", "quantd", manifests.CHART, "--namespace", namespace, *arguments).stdout))

    def test_everything_is_in_the_namespace_of_the_release_or_in_the_named_one(self):
        for objects, namespace in ((self.rendered(), "quantization"), (self.rendered("namespace.name=q"), "q")):
            self.assertEqual(objects.of("Namespace"), [])  # helm --create-namespace has made it
            self.assertEqual({one["metadata"]["namespace"] for one in objects.all}, {namespace})
            [rule] = objects.of("PrometheusRule")
            [down] = rule["spec"]["groups"][0]["rules"]
            self.assertEqual(down["expr"], f'absent(quantd_build_info{{namespace="{namespace}"}})')
            [scaled] = objects.of("ScaledObject")
            for trigger in scaled["spec"]["triggers"]:
                self.assertIn(f'namespace="{namespace}"', trigger["metadata"]["query"])

    def test_the_server_certificate_is_for_the_namespace(self):
        objects = self.rendered(files=["values-mtls.yaml"])
        [server] = objects.named("Certificate", "quantd-tls")
        self.assertIn("quantd.quantization.svc", server["spec"]["dnsNames"])

    def test_a_second_release_uses_the_ca_of_the_first(self):
        objects = self.rendered("tls.createCa=false", files=["values-mtls.yaml"])
        self.assertEqual([one["metadata"]["name"] for one in objects.of("Issuer", "ClusterIssuer", "Certificate")],
                         ["quantd-tls"])

    def test_integers_become_the_texts_that_an_environment_has(self):
        objects = self.rendered("config.QUANTD_MAX_STREAMS=32", "config.QUANTD_BUDGET=1000000")
        self.assertEqual(objects.environment()["QUANTD_MAX_STREAMS"], "32")
        self.assertEqual(objects.environment()["QUANTD_BUDGET"], "1000000")

    def test_memory_may_be_given_in_any_unit(self):
        for limit in ("7872Mi", "7.6875Gi", "8255M", str(7872 << 20)):
            with self.subTest(limit):
                memory = self.rendered(f"resources.limits.memory={limit}").container["resources"]["limits"]["memory"]
                self.assertEqual(str(memory), limit)

    def test_replicas_without_autoscaling(self):
        for value, wanted in {"replicas=3": 3, "replicas=null": None, "minReadySeconds=60": 2}.items():
            objects = self.rendered("autoscaling.enabled=false", value)
            self.assertEqual(objects.deployment["spec"].get("replicas"), wanted, value)
            self.assertEqual(objects.autoscalers(), [])

    def test_changed_options_restart_the_pods_and_nothing_else_does(self):
        def checksum(*values):
            return self.rendered(*values).deployment["spec"]["template"]["metadata"]["annotations"][CHECKSUM]

        self.assertNotEqual(checksum("config.QUANTD_LOG_LEVEL=debug"), checksum())
        self.assertEqual(checksum("autoscaling.maxReplicas=30"), checksum())

    def test_the_runbook_may_be_elsewhere(self):
        [rule] = self.rendered("monitoring.runbookUrl=https://wiki.test/runbook").of("PrometheusRule")
        urls = [one["annotations"]["runbook_url"] for group in rule["spec"]["groups"] for one in group["rules"]]
        self.assertTrue(all(url.startswith("https://wiki.test/runbook#quantd") for url in urls), urls)

    def test_a_registry_with_a_login(self):
        pod = self.rendered("pod.imagePullSecrets[0].name=SECRET").pod
        self.assertEqual(pod["imagePullSecrets"], [{"name": "SECRET"}])
