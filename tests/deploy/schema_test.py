"""Every object of the overlays, the alternatives, the examples and the chart obeys its schema; planted faults do not."""

import os
import unittest

import yaml

import manifests
from harness import HERE

BROKEN = os.path.join(HERE, "broken")

# File -> what must be said about it.
FAULTS = {
    "bad-duration.yaml": "PodMonitor/quantd: spec.podMetricsEndpoints.0.interval: '15 sec' does not match",
    "bad-quantity.yaml": "Deployment/quantd: spec.template.spec.containers.0.resources.limits.memory: "
                         "'8GiB' is not valid",
    "bad-rule-duration.yaml": "PrometheusRule/quantd: spec.groups.0.rules.0.for: '2 minutes' does not match",
    "key-twice.yaml": "key 'clusterIP' is given twice",
    "missing-issuer.yaml": "Certificate/quantd-tls: spec: 'issuerRef' is a required property",
    "missing-selector.yaml": "Deployment/quantd: spec: 'selector' is a required property",
    "misspelt-field.yaml": "Deployment/quantd: spec.template.spec.containers.0: Additional properties are not allowed "
                           "('livnessProbe' was unexpected)",
    "misspelt-metadata.yaml": "PodMonitor/quantd: metadata: Additional properties are not allowed "
                              "('label' was unexpected)",
    "numeric-threshold.yaml": "ScaledObject/quantd: spec.triggers.0.metadata.threshold: 60 is not of type 'string'",
    "old-version.yaml": "PodDisruptionBudget/quantd: no schema for kind PodDisruptionBudget of policy/v1beta1",
    "unknown-behavior.yaml": "ScaledObject/quantd: spec.fallback.behavior: 'keepReplicas' is not one of",
    "unknown-key-algorithm.yaml": "Certificate/quantd-tls: spec.privateKey.algorithm: 'EC' is not one of",
    "unknown-kind.yaml": "Deploymnet/quantd: no schema for kind Deploymnet of apps/v1",
    "unquoted-option.yaml": "ConfigMap/quantd: data.QUANTD_DRAIN_SECONDS: 60 is not of type 'string'",
    "wrong-type.yaml": "Service/quantd: spec.ports.0.port: '50051' is not of type 'integer'",
}


def complaints(objects):
    return [complaint for one in objects for complaint in manifests.schemas().complaints(one)]


class SchemaTest(unittest.TestCase):
    maxDiff = None

    def test_overlays(self):
        for overlay in manifests.OVERLAYS:
            with self.subTest(overlay):
                self.assertEqual(complaints(manifests.render_overlay(overlay)), [])

    def test_alternatives(self):
        self.assertEqual(complaints(manifests.render_with_hpa("cpu")), [])

    def test_examples(self):
        for name in ("client-certificate.yaml", "pod-monitor.yaml"):
            with self.subTest(name):
                self.assertEqual(complaints(manifests.read(os.path.join(manifests.EXAMPLES, name))), [])

    def test_chart(self):
        for values in (None, *manifests.OVERLAYS):
            with self.subTest(values):
                self.assertEqual(complaints(manifests.render_chart(values)), [])


class PlantedFaultTest(unittest.TestCase):
    maxDiff = None

    def test_every_file_has_its_complaint(self):
        self.assertEqual(sorted(os.listdir(BROKEN)), sorted(FAULTS))

    def test_each_fault_is_the_only_one_and_is_found(self):
        for name, expected in FAULTS.items():
            with self.subTest(name):
                try:
                    found = complaints(manifests.read(os.path.join(BROKEN, name)))
                except yaml.YAMLError as error:
                    found = [str(error)]
                self.assertEqual(len(found), 1, found)
                self.assertTrue(found[0].startswith(expected), found[0])
