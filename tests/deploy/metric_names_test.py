"""Metric names that dashboards, alerts and autoscaling use: in the tables of the sources, and exported."""

import glob
import os
import re
import subprocess

import yaml

import alerts_test
import dashboard_queries
from dashboard_load import Load
from harness import DEPLOY, ROOT, DeployTest, fetch, need, wait_until

SERVER_TABLE = os.path.join(ROOT, "server", "telemetry", "metric_table.h")
# What promtool may say, and why the name stays. Nobody counts bits per weight in bytes.
ALLOWED = {'quantctl_layer_bits_per_weight use base unit "bytes" instead of "bits"'}
CLIENT_SOURCES = os.path.join(ROOT, "client", "**", "*.h")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def declared(paths, prefix):
    """Names that stand as string literals in the sources."""
    return {name for path in paths for name in re.findall(rf'"({prefix}_[a-z0-9_]+)"', read(path))}


def client_table():
    """Headers that declare the client's metrics; a table of them is the only place where a name is written down."""
    return [path for path in glob.glob(CLIENT_SOURCES, recursive=True) if '"quantctl_layers"' in read(path)]


def in_dashboards():
    return {name: set().union(*(dashboard_queries.metric_names(target["expr"])
                                for _, target in dashboard_queries.queries(dashboard_queries.load(name))))
            for name in dashboard_queries.NAMES}


def in_manifests():
    """Names in the queries of ScaledObjects and in the metrics of HPAs below deploy/k8s."""
    found = {}
    for path in glob.glob(os.path.join(DEPLOY, "k8s", "**", "*.yaml"), recursive=True):
        for document in yaml.safe_load_all(read(path)):
            if isinstance(document, dict) and document.get("kind") in ("ScaledObject", "HorizontalPodAutoscaler"):
                found[os.path.relpath(path, DEPLOY)] = dashboard_queries.metric_names(yaml.safe_dump(document["spec"]))
    return found


def used():
    """Where a name is used -> the names."""
    rules = {alert["alert"]: dashboard_queries.metric_names(alert["expr"]) for alert in alerts_test.alerts()}
    return {**in_dashboards(), **rules, **in_manifests()}


def exported(text):
    return set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))


class MetricNames(DeployTest):
    def test_used_names_are_declared_and_documented(self):
        server = declared([SERVER_TABLE], "quantd")
        client = declared(client_table(), "quantctl")
        self.assertGreater(len(server), 20)
        self.assertTrue(client, f"no header of {CLIENT_SOURCES} declares quantctl_layers")
        for place, names in used().items():
            with self.subTest(place):
                self.assertTrue(names)
                self.assertLessEqual(names, server | client)
        text = read(os.path.join(ROOT, "docs", "metrics.md"))
        documented = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
        self.assertEqual(documented & server, server)
        self.assertEqual({name for name in documented if name.startswith("quantd_")}, server)

    def test_used_names_are_exported_and_promtool_accepts_them(self):
        promtool = need("promtool")
        with Load(self.folder) as load:
            wanted = set().union(*used().values())
            pages, lacking = [], set()

            def complete():
                load.check()
                pages[:] = [load.full.metrics(), load.replicas[0].metrics(), self.client_metrics(load)]
                lacking.clear()
                lacking.update(wanted - exported("".join(pages)))
                degraded = re.search(r'outcome="degraded",reason="damping"} [1-9]', pages[1])
                return degraded and not lacking

            try:
                wait_until(complete, "all metrics to appear")
            except TimeoutError:
                self.fail(f"not exported: {lacking}")
            names = exported("".join(pages))
            self.assertEqual({name for name in names if name.startswith("quantd_")}, declared([SERVER_TABLE], "quantd"))
            self.assertEqual({name for name in names if name.startswith("quantctl_")},
                             declared(client_table(), "quantctl"))
            for text in pages:
                self.check_with(promtool, text)

    def client_metrics(self, load):
        try:
            return fetch(f"http://127.0.0.1:{load.client_port}/metrics")
        except OSError:
            return ""  # not listening yet, or ended: then load.check() says why

    def check_with(self, promtool, text):
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
        self.assertEqual(set((done.stdout + done.stderr).splitlines()) - ALLOWED, set())

    def test_promtool_would_complain(self):
        text = "# HELP quantd_jobs Jobs.\n# TYPE quantd_jobs counter\nquantd_jobs 1\n"
        with self.assertRaises(AssertionError):
            self.check_with(need("promtool"), text)
