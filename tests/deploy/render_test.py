"""The overlays render, repeat nothing that is out of date, and their configuration starts the real server."""

import importlib.util
import json
import os
import re
import shutil
import unittest.mock

import manifests
from harness import BIN_DIR, DEPLOY, DeployTest, Replica, need, wait_until
from policy_rules import Objects, size_of


def generator():
    spec = importlib.util.spec_from_file_location("generate", os.path.join(DEPLOY, "generate.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class RenderTest(DeployTest):
    def test_overlays_have_the_objects_they_promise(self):
        core = ["ConfigMap/quantd", "Deployment/quantd", "NetworkPolicy/quantd", "PodDisruptionBudget/quantd",
                "Service/quantd", "ServiceAccount/quantd"]
        scaled = ["PodMonitor/quantd", "ScaledObject/quantd"]
        watched = ["PrometheusRule/quantd"] + [
            f"ConfigMap/quantd-dashboard-{name.removesuffix('.json')}"
            for name in os.listdir(os.path.join(DEPLOY, "dashboards")) if name.endswith(".json")]
        tls = ["Issuer/quantd-selfsigned", "ClusterIssuer/quantd-ca", "Certificate/quantd-ca",
               "Certificate/quantd-tls"]
        self.assertGreater(len(watched), 1, "no dashboards")
        for overlay, expected in {
            "dev": ["Namespace/quantd", *core],
            "cpu": ["Namespace/quantd", *core, *scaled, *watched],
            "gpu": ["Namespace/quantd-gpu", *core, *scaled, "PrometheusRule/quantd"],
            "mtls": ["Namespace/quantd", *core, *scaled, *watched, *tls],
        }.items():
            with self.subTest(overlay):
                found = [manifests.title(one) for one in manifests.render_overlay(overlay)]
                self.assertEqual(sorted(found), sorted(expected))

    def test_generated_files_are_current(self):
        for path, text in generator().generated(DEPLOY).items():
            with open(path, encoding="utf-8") as file:
                self.assertEqual(file.read(), text, f"{path}: run deploy/generate.py")

    def test_rules_are_those_of_the_alerts_folder(self):
        [rules] = manifests.read(os.path.join(DEPLOY, "alerts", "quantd.rules.yaml"))
        [rule] = Objects(manifests.render_overlay("cpu")).of("PrometheusRule")
        self.assertEqual(rule["spec"], rules)

    def test_every_pool_has_its_own_alert(self):
        for overlay, number in {"cpu": 4, "gpu": 1}.items():
            with self.subTest(overlay):
                [rule] = Objects(manifests.render_overlay(overlay)).of("PrometheusRule")
                self.assertEqual(len(rule["spec"]["groups"]), number)
                [down] = rule["spec"]["groups"][0]["rules"]
                namespace = rule["metadata"]["namespace"]
                self.assertEqual([down["alert"], down["expr"]],
                                 ["QuantdDown", f'absent(quantd_build_info{{namespace="{namespace}"}})'])

    def test_the_cluster_is_named_in_one_place(self):
        """Each value of cluster.yaml reaches what it is for, and nothing else names it."""
        path = os.path.join("base", "cluster.yaml")
        [cluster] = manifests.read(os.path.join(manifests.K8S, path))
        other = {"prometheusAddress": "https://metrics.test", "prometheusNamespace": "observability",
                 "prometheusRelease": "main", "runbookUrl": "https://wiki.test/runbook"}
        self.assertEqual(set(cluster["data"]), set(other))

        def change(text):
            for key, value in cluster["data"].items():
                text = text.replace(f"{key}: {value}\n", f"{key}: {other[key]}\n")
            return text

        for overlay in ("cpu", "gpu", "mtls"):
            with self.subTest(overlay):
                objects = Objects(manifests.render_changed(overlay, {path: change}))
                self.assertEqual({trigger["metadata"]["serverAddress"] for one in objects.of("ScaledObject")
                                  for trigger in one["spec"]["triggers"]}, {other["prometheusAddress"]})
                [policy] = objects.of("NetworkPolicy")
                self.assertEqual(policy["spec"]["ingress"][1]["from"][0]["namespaceSelector"]["matchLabels"],
                                 {"kubernetes.io/metadata.name": other["prometheusNamespace"]})
                watched = objects.of("PodMonitor", "PrometheusRule")
                self.assertEqual([one["metadata"]["labels"]["release"] for one in watched], ["main", "main"])
                urls = re.findall(r'"runbook_url": "(.*?)"', json.dumps(objects.of("PrometheusRule")))
                self.assertTrue(urls)
                for url in urls:
                    self.assertRegex(url, "^https://wiki.test/runbook#quantd[a-z]+$")
                self.assertNotIn("cluster.yaml", json.dumps(objects.all))

    def test_changes_that_the_readme_shows(self):
        """Its blocks, at the end of the kustomization.yaml of the overlay cpu."""
        with open(os.path.join(manifests.K8S, "README.md"), encoding="utf-8") as file:
            blocks = re.findall(r"```yaml\n(.*?)```", file.read(), re.DOTALL)
        self.assertEqual(len(blocks), 2)
        objects = Objects(manifests.render_changed(
            "cpu", {"overlays/cpu/kustomization.yaml": lambda text: text + "".join(blocks)}))
        self.assertEqual([one["kind"] for one in objects.autoscalers()], ["HorizontalPodAutoscaler"])
        self.assertEqual(objects.of("ServiceAccount")[0]["imagePullSecrets"], [{"name": "SECRET"}])

    def test_dashboards_are_those_of_the_dashboards_folder(self):
        maps = [one for one in manifests.render_overlay("cpu") if "grafana_dashboard" in one["metadata"]["labels"]]
        self.assertTrue(maps)
        for one in maps:
            [(name, text)] = one["data"].items()
            with open(os.path.join(DEPLOY, "dashboards", name), encoding="utf-8") as file:
                self.assertEqual(text, file.read(), name)

    def test_mtls_never_serves_plain_text(self):
        [config] = [one for one in Objects(manifests.render_overlay("mtls")).of("ConfigMap")
                    if one["metadata"]["name"] == "quantd"]
        self.assertNotIn("QUANTD_INSECURE", config["data"])
        self.assertEqual(config["data"]["QUANTD_TLS_CLIENT_CA"], "/tls/ca.crt")


class ConfigurationTest(DeployTest):
    """Each overlay's environment, given to quantd; only addresses and the certificates' folder are the test's."""

    def test_every_overlay_starts_the_server(self):
        self.make_certificate()
        for overlay in manifests.OVERLAYS:
            with self.subTest(overlay):
                environment = Objects(manifests.render_overlay(overlay)).environment()
                extra = ["--health-listen", "127.0.0.1:0"]
                for option in ("tls-cert", "tls-key", "tls-client-ca"):
                    path = environment.get("QUANTD_" + option.upper().replace("-", "_"))
                    extra += [f"--{option}", self.path(os.path.basename(path))] if path else []
                with unittest.mock.patch.dict(os.environ, environment):
                    server = self.started(Replica(self.folder, extra=extra))
                wait_until(lambda: "\n" in server.output(), "the log's first line")  # written after the port file
                start = json.loads(server.output().splitlines()[0])
                self.assertEqual(start["budget_bytes"], size_of(environment["QUANTD_BUDGET"]))
                self.assertEqual(start["drain_seconds"], float(environment["QUANTD_DRAIN_SECONDS"]))
                self.assertEqual(start["max_connection_age_seconds"], float(environment["QUANTD_MAX_CONNECTION_AGE"]))
                self.assertEqual([start["insecure"], start["client_certificates"]],
                                 [overlay != "mtls", overlay == "mtls"])
                self.assertIn("Haswell", start["blas"])
                self.probe(server, Objects(manifests.render_overlay(overlay)).container)
                self.assertEqual(server.stop(), 0, server.output())

    def probe(self, server, container):
        """Asks what the kubelet would ask."""
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            self.run_tool(os.path.join(BIN_DIR, "quantd"), "health", f"127.0.0.1:{server.health_port}", "--service",
                          container[kind]["grpc"]["service"])

    def make_certificate(self):
        self.run_tool(need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-keyout", self.path("tls.key"), "-out", self.path("tls.crt"), "-subj", "/CN=quantd")
        shutil.copyfile(self.path("tls.crt"), self.path("ca.crt"))
