"""The Grafana dashboards: their structure, and every query of every panel against a live Prometheus."""

import copy
import math
import os
import time
import unittest

import yaml

import dashboard_queries
from dashboard_load import MODEL, Load
from harness import DEPLOY, DeployTest, need, wait_until

KINDS = {"timeseries", "stat", "table", "bargauge", "text"}
UNITS = {"none", "s", "bytes", "Bps", "ops", "reqps", "percentunit", "dB", "short"}
COLUMNS = 24


def overlapping(one, other):
    a, b = one["gridPos"], other["gridPos"]
    return (a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"]
            and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"])


def faults(dashboard):
    """What is wrong with the dashboard as a document."""
    found = []
    everything = dashboard["panels"]
    ids = [panel["id"] for panel in everything]
    found += [f"panel id {one} twice" for one in set(ids) if ids.count(one) > 1]
    for number, panel in enumerate(everything):
        name, place = panel["title"], panel["gridPos"]
        if place["x"] < 0 or place["w"] < 1 or place["x"] + place["w"] > COLUMNS:
            found.append(f"{name}: outside the {COLUMNS} columns")
        found += [f"{name}: overlaps {other['title']}" for other in everything[:number] if overlapping(panel, other)]
    for panel in dashboard_queries.panels(dashboard):
        found += panel_faults(panel, {one["name"] for one in dashboard["templating"]["list"]})
    return found


def panel_faults(panel, variables):
    name = panel["title"]
    if panel["type"] not in KINDS:
        yield f"{name}: a panel of type {panel['type']} needs a plugin"
    if len(panel.get("description", "")) < 40:
        yield f"{name}: no description that says what to do"
    if panel["fieldConfig"]["defaults"].get("unit") not in UNITS:
        yield f"{name}: no unit"
    for part in (panel, *panel["targets"]):
        if part["datasource"] != {"type": "prometheus", "uid": "${datasource}"}:
            yield f"{name}: a data source of its own"
    for target in panel["targets"]:
        if panel["type"] in ("timeseries", "bargauge") and not target["legendFormat"]:
            yield f"{name}: {target['refId']} has no legend"
        used = {word.split("}")[0] for word in target["expr"].split("$")[1:]}
        if not any(word.startswith(tuple(variables)) for word in used):
            yield f"{name}: {target['refId']} looks at all namespaces"


class Structure(unittest.TestCase):
    def test_the_documents_are_sound(self):
        for name in dashboard_queries.NAMES:
            with self.subTest(name):
                dashboard = dashboard_queries.load(name)
                self.assertEqual(faults(dashboard), [])
                self.assertEqual(dashboard["uid"], f"quantd-{name}")
                self.assertIn(dashboard["schemaVersion"], range(38, 42))  # Grafana 10 and 11

    def test_faults_are_found(self):
        sound = dashboard_queries.load("operator")
        changes = {
            "twice": lambda panel, other: panel.update(id=other["id"]),
            "overlaps": lambda panel, other: panel.update(gridPos=other["gridPos"]),
            "outside": lambda panel, other: panel["gridPos"].update(x=22),
            "unit": lambda panel, other: panel["fieldConfig"]["defaults"].pop("unit"),
            "description": lambda panel, other: panel.pop("description"),
            "data source": lambda panel, other: panel["targets"][0].update(datasource={"uid": "mine"}),
            "plugin": lambda panel, other: panel.update(type="clock"),
            "namespaces": lambda panel, other: panel["targets"][0].update(expr="sum(quantd_queue_jobs)"),
        }
        for word, change in changes.items():
            with self.subTest(word):
                broken = copy.deepcopy(sound)
                change(*list(dashboard_queries.panels(broken))[:2])
                self.assertTrue(any(word in fault for fault in faults(broken)), faults(broken))


class ConfigMaps(DeployTest):
    def test_each_dashboard_is_one_that_grafana_picks_up(self):
        done = self.run_tool(need("kubectl"), "kustomize", os.path.join(DEPLOY, "dashboards"))
        maps = {one["metadata"]["name"]: one for one in yaml.safe_load_all(done.stdout)}
        self.assertEqual(set(maps), {f"quantd-dashboard-{name}" for name in dashboard_queries.NAMES})
        for name in dashboard_queries.NAMES:
            one = maps[f"quantd-dashboard-{name}"]
            self.assertEqual(one["metadata"]["labels"]["grafana_dashboard"], "1")
            with open(dashboard_queries.path_of(name), encoding="utf-8") as file:
                self.assertEqual(one["data"], {f"{name}.json": file.read()})


class Counts(DeployTest):
    """Numbers over the chosen time: exact, where increase() reckons on to the ends of the range."""

    def queries(self):
        for name in dashboard_queries.NAMES:
            dashboard = dashboard_queries.load(name)
            for panel, target in dashboard_queries.queries(dashboard):
                counts = "_total{" in target["expr"] and "$__range" in target["expr"]
                if counts and panel["type"] in ("stat", "table"):
                    yield dashboard_queries.substitute(target["expr"], dashboard, {"__range": "15m"})

    def check(self, values, expression):
        """That the expression is true of a counter with these values, every 5 s."""
        labels = 'namespace="quantd",pod="quantd-0",method="gptq"'
        series = [f'quantd_weight_outcomes_total{{{labels},outcome="degraded",reason="damping"}}',
                  f'quantd_jobs_total{{{labels},outcome="failed"}}', f'quantd_rejects_total{{{labels},reason="queue_jobs"}}',
                  f"quantd_weights_quantized_total{{{labels}}}", f"quantd_log_lines_dropped_total{{{labels}}}"]
        tests = [{"expr": f"min(({query}) {expression})", "eval_time": "1m", "exp_samples": [{"labels": "{}", "value": 1}]}
                 for query in self.queries()]
        self.assertGreater(len(tests), 5)
        with open(self.path("counts.yaml"), "w", encoding="utf-8") as file:
            yaml.safe_dump({"tests": [{"interval": "5s", "promql_expr_test": tests,
                                       "input_series": [{"series": one, "values": values} for one in series]}]}, file)
        self.run_tool(need("promtool"), "test", "rules", self.path("counts.yaml"))

    def test_a_run_right_after_the_start_is_counted_exactly(self):
        self.check("0 0 84x10", "== bool 84")

    def test_what_was_before_a_restart_counts_too(self):
        self.check("0 0 84x4 0 0 50x4", ">= bool 134")

    def test_a_wrong_number_is_found(self):
        with self.assertRaises(AssertionError):
            self.check("0 0 84x10", "== bool 83")


def has_data(prometheus, expression):
    """Whether the last minute has a finite sample. An expression that Prometheus refuses raises HTTPError."""
    now = time.time()
    answer = prometheus.api("query_range", query=expression, start=now - 60, end=now, step=2)
    return any(math.isfinite(float(value)) for one in answer["result"] for _, value in one["values"])


def without_data(prometheus, dashboard, chosen=()):
    """'panel, query' of every target that shows nothing."""
    return [f"{panel['title']}, {target['refId']}: {target['expr']}"
            for panel, target in dashboard_queries.queries(dashboard)
            if not has_data(prometheus, dashboard_queries.substitute(target["expr"], dashboard, chosen))]


class Live(DeployTest):
    def test_every_query_of_every_panel_has_data(self):
        with Load(self.folder) as load:
            empty = {}

            def all_shown():
                load.check()
                for name in dashboard_queries.NAMES:
                    empty[name] = without_data(load.prometheus, dashboard_queries.load(name))
                return not any(empty.values())

            try:
                wait_until(all_shown, "every panel to have data")
            except TimeoutError:
                self.fail(f"no data: {empty}")
            self.check_variables(load.prometheus)
            self.check_planted(load.prometheus)

    def check_variables(self, prometheus):
        """One namespace, one replica and one model can be chosen, and another one has nothing."""
        pipeline = dashboard_queries.load("pipeline")
        for one in dashboard_queries.variables(pipeline):
            selector, label = one["definition"][len("label_values("):-1].rsplit(", ", 1)
            selector = dashboard_queries.substitute(selector, pipeline)
            self.assertTrue(prometheus.api(f"label/{label}/values", **{"match[]": selector}), one["definition"])
        chosen = {"namespace": "quantd", "pod": "quantd-1", "model": MODEL}
        shown = [target["expr"] for _, target in dashboard_queries.queries(pipeline) if "quantctl_" in target["expr"]]
        for expression in shown:
            mine = dashboard_queries.substitute(expression, pipeline, chosen)
            self.assertTrue(has_data(prometheus, mine), mine)
            other = dashboard_queries.substitute(expression, pipeline, {**chosen, "model": "another"})
            self.assertFalse(has_data(prometheus, other), other)

    def check_planted(self, prometheus):
        dashboard = dashboard_queries.load("operator")
        target = next(dashboard_queries.queries(dashboard))[1]
        target["expr"] = 'sum(quantd_no_such_metric{namespace=~"$namespace"})'
        self.assertEqual(len(without_data(prometheus, dashboard)), 1)


if __name__ == "__main__":
    unittest.main()
