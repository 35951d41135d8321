"""The policy rules hold for every overlay and for the chart, and each of them finds what it is there for."""

import copy
import os
import unittest

import manifests
import policy_rules
from policy_rules import Objects, findings


class PolicyTest(unittest.TestCase):
    maxDiff = None

    def test_overlays_have_no_findings(self):
        for overlay in manifests.OVERLAYS:
            with self.subTest(overlay):
                self.assertEqual(findings(manifests.render_overlay(overlay)), [])

    def test_chart_has_no_findings(self):
        for values in (None, *manifests.OVERLAYS):
            with self.subTest(values):
                self.assertEqual(findings(manifests.render_chart(values)), [])

    def test_hpa_instead_of_the_scaled_object_has_no_findings(self):
        for overlay in ("cpu", "gpu"):
            with self.subTest(overlay):
                objects = manifests.render_with_hpa(overlay)
                self.assertEqual([one["kind"] for one in Objects(objects).autoscalers()], ["HorizontalPodAutoscaler"])
                self.assertEqual(findings(objects), [])


def config(objects):
    return objects.named("ConfigMap", "quantd")[0]["data"]


def spec(objects, kind):
    return objects.of(kind)[0]["spec"]


def context(objects):
    return objects.container["securityContext"]


def scaled(objects):
    return spec(objects, "ScaledObject")


def trigger(objects, number=0):
    return scaled(objects)["triggers"][number]


def certificate(objects, name, part="spec"):
    return objects.named("Certificate", name)[0][part]


def namespace_labels(objects):
    return objects.of("Namespace")[0]["metadata"]["labels"]


def secret(objects):
    return objects.pod["volumes"][0]["secret"]


# Rule -> the faults that it must find, each done to the objects of the overlay mtls.
VIOLATIONS = {
    "pod_security_is_restricted": [
        lambda o: o.pod.update(hostNetwork=True),
        lambda o: o.pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
        lambda o: o.pod["securityContext"].update(runAsNonRoot=False),
        lambda o: o.pod["securityContext"].update(runAsUser=0),
        lambda o: o.pod["securityContext"].pop("seccompProfile"),
        lambda o: context(o).pop("allowPrivilegeEscalation"),
        lambda o: context(o).update(readOnlyRootFilesystem=False),
        lambda o: context(o)["capabilities"].update(add=["SYS_ADMIN"]),
        lambda o: o.container["ports"][0].update(hostPort=50051),
    ],
    "namespace_enforces_pod_security": [
        lambda o: namespace_labels(o).update({"pod-security.kubernetes.io/enforce": "baseline"}),
        lambda o: namespace_labels(o).update({"pod-security.kubernetes.io/enforce-version": "latest"}),
    ],
    "no_token_is_mounted": [
        lambda o: o.pod.pop("automountServiceAccountToken"),
        lambda o: o.of("ServiceAccount")[0].pop("automountServiceAccountToken"),
        lambda o: o.pod.update(serviceAccountName="default"),
    ],
    "objects_can_be_applied": [
        lambda o: o.of("ConfigMap")[1]["data"].update(more="x" * 256_000),
    ],
    "images_are_pinned": [
        lambda o: o.container.update(image="quantd"),
        lambda o: o.container.update(image="quantd:latest"),
        lambda o: o.container.update(image="registry.example:5000/quantd"),
    ],
    "everything_is_in_one_namespace": [
        lambda o: o.of("Service")[0]["metadata"].update(namespace="default"),
        lambda o: trigger(o)["metadata"].update(query='sum(quantd_backlog_seconds{namespace="other"})'),
        lambda o: spec(o, "PrometheusRule")["groups"][0]["rules"][0].update(expr='absent(up{namespace="other"})'),
        lambda o: certificate(o, "quantd-ca", "metadata").update(namespace="quantd"),
        lambda o: o.named("Issuer", "quantd-selfsigned")[0]["metadata"].update(namespace="quantd"),
    ],
    "selectors_match": [
        lambda o: o.labels.update({"app.kubernetes.io/name": "quantd2"}),
        lambda o: spec(o, "Service").update(selector={"app": "quantd"}),
        lambda o: spec(o, "PodDisruptionBudget")["selector"].update(matchLabels={}),
        lambda o: spec(o, "PodMonitor")["selector"].update(matchLabels={"app": "quantd"}),
        lambda o: spec(o, "NetworkPolicy")["podSelector"].update(matchLabels={"app": "quantd"}),
        lambda o: o.pod["topologySpreadConstraints"][1]["labelSelector"].update(matchLabels={"app": "quantd"}),
    ],
    "port_names_exist": [
        lambda o: spec(o, "Service")["ports"][0].update(targetPort="http"),
        lambda o: spec(o, "PodMonitor")["podMetricsEndpoints"][0].update(port="http"),
        lambda o: spec(o, "NetworkPolicy")["ingress"][1]["ports"][0].update(port="http"),
    ],
    "declared_ports_are_listened_on": [
        lambda o: config(o).update(QUANTD_LISTEN="127.0.0.1:50051"),
        lambda o: config(o).pop("QUANTD_HEALTH_LISTEN"),
        lambda o: config(o).update(QUANTD_METRICS_LISTEN="0.0.0.0:9090"),
    ],
    "probes_ask_the_health_port": [
        lambda o: o.container["readinessProbe"]["grpc"].update(port=50051),
        lambda o: o.container["readinessProbe"]["grpc"].update(service="liveness"),
        lambda o: o.container["livenessProbe"]["grpc"].pop("service"),
        lambda o: o.container.pop("startupProbe"),
    ],
    "pods_have_time_to_leave": [
        lambda o: config(o).update(QUANTD_DRAIN_SECONDS="70"),
        lambda o: o.pod.pop("terminationGracePeriodSeconds"),
        lambda o: o.container.pop("lifecycle"),
    ],
    "rollouts_wait_for_clients": [
        lambda o: o.deployment["spec"].pop("minReadySeconds"),
        lambda o: config(o).update(QUANTD_MAX_CONNECTION_AGE="1800"),
    ],
    "memory_follows_the_budget": [
        lambda o: config(o).update(QUANTD_BUDGET="8GiB"),
        lambda o: config(o).update(QUANTD_MAX_STREAMS="256"),
        lambda o: o.container["resources"].update(requests={"cpu": "4", "memory": "16Gi"}, limits={"memory": "16Gi"}),
        lambda o: o.container["resources"]["requests"].update(memory="4Gi"),
    ],
    "cpu_is_requested_not_limited": [
        lambda o: o.container["resources"]["limits"].update(cpu="4"),
        lambda o: o.container["resources"]["requests"].pop("cpu"),
    ],
    "options_exist": [
        lambda o: config(o).update(QUANTD_BUGDET="7GiB"),
        lambda o: o.container.update(args=["--drain-secnods=3"]),
    ],
    "plain_text_or_tls": [
        lambda o: config(o).update(QUANTD_INSECURE="true"),
        lambda o: config(o).update(QUANTD_TLS_KEY="/keys/tls.key"),
        lambda o: [config(o).pop(name) for name in ("QUANTD_TLS_CERT", "QUANTD_TLS_KEY", "QUANTD_TLS_CLIENT_CA")],
        lambda o: o.container["volumeMounts"][0].update(subPath="tls.crt"),
    ],
    "secrets_are_made_and_closed": [
        lambda o: secret(o).update(secretName="quantd-cert"),
        lambda o: secret(o).pop("defaultMode"),
        lambda o: o.pod["securityContext"].pop("fsGroup"),
        lambda o: certificate(o, "quantd-tls")["issuerRef"].update(name="letsencrypt"),
        lambda o: certificate(o, "quantd-tls")["issuerRef"].update(kind="Issuer"),
        lambda o: certificate(o, "quantd-ca").update(secretName="other"),
        lambda o: certificate(o, "quantd-ca", "metadata").update(namespace="quantd"),
        lambda o: certificate(o, "quantd-tls", "metadata").update(namespace="cert-manager"),
    ],
    "server_certificate_has_the_service_names": [
        lambda o: certificate(o, "quantd-tls").update(dnsNames=["quantd.example.com"]),
    ],
    "network_is_closed": [
        lambda o: o.all.remove(o.of("NetworkPolicy")[0]),
        lambda o: spec(o, "NetworkPolicy").update(egress=[{}]),
        lambda o: spec(o, "NetworkPolicy").update(policyTypes=["Ingress"]),
        lambda o: spec(o, "NetworkPolicy")["ingress"][0].pop("from"),
    ],
    "service_is_headless": [
        lambda o: spec(o, "Service").pop("clusterIP"),
    ],
    "references_exist": [
        lambda o: o.container["envFrom"].append({"configMapRef": {"name": "quantd-options"}}),
        lambda o: scaled(o)["scaleTargetRef"].update(name="quant"),
    ],
    "replicas_have_one_owner": [
        lambda o: o.deployment["spec"].update(replicas=2),
        lambda o: o.all.extend(manifests.read(os.path.join(manifests.K8S, "alternatives", "hpa.yaml"))),
        lambda o: o.all.remove(o.of("ScaledObject")[0]),
    ],
    "a_lost_prometheus_scales_nothing_down": [
        lambda o: scaled(o).pop("fallback"),
        lambda o: trigger(o)["metadata"].pop("ignoreNullValues"),
        lambda o: trigger(o, 1).update(metricType="Value"),
    ],
    "metrics_exist": [
        lambda o: trigger(o)["metadata"].update(query="sum(quantd_queue_depth)"),
    ],
}


class PlantedViolationTest(unittest.TestCase):
    def test_every_rule_has_a_planted_violation(self):
        self.assertEqual(list(VIOLATIONS), [rule.__name__ for rule in policy_rules.RULES])

    def test_every_planted_violation_is_found_by_its_rule(self):
        rendered = manifests.render_overlay("mtls")
        for rule, faults in VIOLATIONS.items():
            for number, fault in enumerate(faults):
                with self.subTest(rule, fault=number):
                    broken = Objects(copy.deepcopy(rendered))
                    fault(broken)
                    self.assertTrue(findings(broken.all, [getattr(policy_rules, rule)]))

    def test_metrics_of_an_hpa_are_checked(self):
        objects = manifests.render_with_hpa("cpu")
        Objects(objects).of("HorizontalPodAutoscaler")[0]["spec"]["metrics"][0]["pods"]["metric"]["name"] = "queue"
        self.assertEqual(findings(objects), ["metrics_exist: queue is no metric of quantd"])
