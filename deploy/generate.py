"""Writes the two manifests that repeat other files of this folder; run it after a change of those. Needs python3-yaml.

Usage: generate.py [DEPLOY_FOLDER]

alerts/quantd.rules.yaml  ->  k8s/base/prometheus-rule.yaml    the rules as an object of prometheus-operator
dashboards/*.json         ->  dashboards/kustomization.yaml    a ConfigMap a dashboard, for Grafana's sidecar

Kustomize reads no file outside the folder of a kustomization.yaml, but takes such folders from anywhere: that is why
the dashboards have one, and why the rules are repeated. The chart reads both from where they are, through links.
"""

import glob
import os
import sys

import yaml

WRITTEN = "# Written by deploy/generate.py from {source}: change that, not this.\n"

PROMETHEUS_RULE = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: quantd
"""

DASHBOARDS = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
# Grafana's sidecar looks for the label (in every namespace with searchNamespace: ALL), and reads a ConfigMap again when
# it changes: no hash in the names.
generatorOptions:
  disableNameSuffixHash: true
  labels: {app.kubernetes.io/name: quantd, grafana_dashboard: "1"}
configMapGenerator:
"""


class Dumper(yaml.SafeDumper):
    """Texts of several lines as literal blocks: of folded ones (`>`) kustomize changes the line breaks."""

    def represent_text(self, text):
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, Dumper.represent_text)


def prometheus_rule(deploy):
    with open(os.path.join(deploy, "alerts", "quantd.rules.yaml"), encoding="utf-8") as file:
        spec = yaml.safe_load(file)
    rules = yaml.dump({"spec": spec}, Dumper=Dumper, sort_keys=False, width=110, allow_unicode=True)
    return WRITTEN.format(source="alerts/quantd.rules.yaml") + PROMETHEUS_RULE + rules


def dashboards(deploy):
    text = WRITTEN.format(source="the names in dashboards/") + DASHBOARDS
    for path in sorted(glob.glob(os.path.join(deploy, "dashboards", "*.json"))):
        name = os.path.basename(path)
        stem = name.removesuffix(".json").removeprefix("quantd-")
        text += f"- name: quantd-dashboard-{stem}\n  files: [{name}]\n"
    return text


def generated(deploy):
    """Path -> text of everything this program writes."""
    return {
        os.path.join(deploy, "k8s", "base", "prometheus-rule.yaml"): prometheus_rule(deploy),
        os.path.join(deploy, "dashboards", "kustomization.yaml"): dashboards(deploy),
    }


def main():
    deploy = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    for path, text in generated(deploy).items():
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
