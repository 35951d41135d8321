"""Grafana dashboards as data: their panels, their queries, the metrics that these name."""

import json
import os
import re

from harness import DEPLOY

NAMES = ("operator", "pipeline")
METRIC = re.compile(r"\b(quant(?:d|ctl)_[a-z0-9_]+?)(?:_bucket|_sum|_count)?\b(?!_)")
SECONDS = {"__rate_interval": "15s", "__interval": "2s", "__range": "60s"}


def path_of(name):
    return os.path.join(DEPLOY, "dashboards", name + ".json")


def load(name):
    with open(path_of(name), encoding="utf-8") as file:
        return json.load(file)


def panels(dashboard):
    """All panels that show something: rows are opened."""
    for panel in dashboard["panels"]:
        inner = panel.get("panels", [])
        yield from panels({"panels": inner})
        if panel["type"] != "row":
            yield panel


def queries(dashboard):
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield panel, target


def variables(dashboard):
    return [one for one in dashboard["templating"]["list"] if one["type"] == "query"]


def substitute(expression, dashboard, chosen=()):
    """What Grafana makes of the expression, with `chosen` values of variables and all of the others."""
    values = {**SECONDS, **{one["name"]: one.get("allValue") or ".*" for one in variables(dashboard)}, **dict(chosen)}
    return re.sub(r"\$(\w+)", lambda match: values[match.group(1)], expression)


def metric_names(expression):
    return set(METRIC.findall(expression))
