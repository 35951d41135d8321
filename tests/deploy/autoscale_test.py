"""Autoscaling: the rule by itself, and the loop closed over the shipped ScaledObject, a live Prometheus and real replicas."""

import os
import re
import threading
import time
import unittest

import yaml

from autoscaler import Autoscaler
from fleet import Fleet, Load, Run, Work, assert_whole, busy, log_line, without_server
from harness import DEPLOY, DeployTest, Prometheus, need, wait_until

SPEC = {
    "minReplicaCount": 2,
    "maxReplicaCount": 20,
    "fallback": {"failureThreshold": 3, "replicas": 4, "behavior": "currentReplicasIfHigher"},
    "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {
        "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [
            {"type": "Percent", "value": 100, "periodSeconds": 15}, {"type": "Pods", "value": 4, "periodSeconds": 15}]},
        "scaleDown": {"stabilizationWindowSeconds": 300, "policies": [
            {"type": "Pods", "value": 1, "periodSeconds": 60}]},
    }}},
}


def trigger(name, threshold, ignore="false"):
    return {"type": "prometheus", "name": name, "metricType": "AverageValue",
            "metadata": {"query": name, "threshold": threshold, "ignoreNullValues": ignore}}


class Rule(unittest.TestCase):
    """A controller that looks every 15 s; `values` are what the queries find, or the error they raise."""

    def setUp(self):
        self.now = 0
        self.count = 2
        self.values = {}
        self.use(trigger("queue", "10"))

    def use(self, *triggers, **changes):
        self.scaler = Autoscaler({**SPEC, **changes, "triggers": list(triggers)}, lambda: self.now, self.ask)

    def ask(self, query):
        value = self.values[query]
        if isinstance(value, Exception):
            raise value
        return value if isinstance(value, list) else [value]

    def look(self, rounds=1, **values):
        """The replicas after each of some rounds."""
        self.values.update(values)
        seen = []
        for _ in range(rounds):
            self.count = self.scaler.step(self.count)
            self.now += 15
            seen.append(self.count)
        return seen

    def test_tolerance(self):
        for value, expected in (60, 6), (65, 6), (67, 7), (61.5, 6), (80, 8), (0, 6):
            with self.subTest(value=value):
                self.setUp()
                self.count = 6
                self.assertEqual(self.look(queue=value), [expected])

    def test_fractions_do_not_round_up(self):
        self.use(trigger("busy", "0.7"))
        self.assertEqual(self.look(busy=0.7 * 7), [6])
        self.assertEqual(self.look(busy=0.7 * 7), [7])

    def test_the_largest_answer_counts(self):
        self.use(trigger("queue", "10"), trigger("busy", "0.7"))
        self.assertEqual(self.look(queue=50, busy=1), [5])
        self.assertEqual(self.look(queue=0, busy=5.5), [8])

    def test_up_by_the_wider_policy_and_not_beyond_the_most(self):
        self.assertEqual(self.look(4, queue=1000), [6, 12, 20, 20])

    def test_one_period_has_one_budget(self):
        self.look(queue=1000)
        self.now -= 10
        self.assertEqual(self.look(queue=1000), [6])

    def test_down_after_the_window_one_a_minute(self):
        self.look(1, queue=50)
        self.assertEqual(self.count, 5)
        calm = self.look(40, queue=0)
        self.assertEqual(calm[:19], [5] * 19)
        self.assertEqual(calm[19:], [4] * 4 + [3] * 4 + [2] * 13)

    def test_a_dip_does_not_scale_down(self):
        self.look(1, queue=50)
        self.assertEqual(set(self.look(19, queue=0) + self.look(1, queue=50) + self.look(19, queue=0)), {5})

    def test_fallback_after_more_failures_than_the_threshold(self):
        self.assertEqual(self.look(5, queue=OSError("down")), [2, 2, 2, 4, 4])

    def test_failures_count_in_a_row(self):
        self.assertEqual(self.look(3, queue=OSError("down")) + self.look(1, queue=20) + self.look(3, queue=OSError("down")),
                         [2] * 7)

    def test_fallback_keeps_what_is_more(self):
        self.look(2, queue=80)
        self.assertEqual(set(self.look(60, queue=OSError("down"))), {8})

    def test_a_static_fallback_does_not(self):
        self.use(trigger("queue", "10"), fallback={"failureThreshold": 3, "replicas": 4})
        self.look(2, queue=80)
        self.assertEqual(self.look(60, queue=OSError("down"))[-1], 4)

    def test_absent_metrics(self):
        for ignore, expected in ("false", 8), ("true", 2):
            with self.subTest(ignoreNullValues=ignore):
                self.setUp()
                self.use(trigger("queue", "10", ignore))
                self.look(2, queue=80)
                self.assertEqual(self.look(60, queue=[])[-1], expected)

    def test_two_series_are_no_answer(self):
        self.assertEqual(self.look(4, queue=[90.0, 90.0]), [2, 2, 2, 4])

    def test_beside_a_failing_trigger_others_scale_up_only(self):
        self.use(trigger("queue", "10"), trigger("busy", "0.7"), fallback=None)
        self.look(2, queue=80, busy=0)
        self.assertEqual(set(self.look(60, queue=0, busy=OSError("down"))), {8})
        self.assertEqual(self.look(1, queue=100), [10])

    def test_outside_the_limits(self):
        for count, expected in (1, 2), (30, 20):
            with self.subTest(count=count):
                self.setUp()
                self.count = count
                self.assertEqual(self.look(queue=20), [expected])


# How the shipped ScaledObject is changed for the loop, and what stands for what:
#   seconds                        SPEED times faster: windows, periods, polling, ranges in queries, and
#                                  the threshold of the trigger "queue", which is seconds of work
#   scrape interval 15 s           1 s, the same divided by SPEED
#   preStop sleep                  divided by SPEED
#   maxReplicaCount                MOST: what two cores carry
#   serverAddress                  the Prometheus of this test
#   pod                            a quantd process with one thread and an address of its own; the newest does not leave
#                                  first, but the busiest: the harder case for the drain
#   kubelet, kube-proxy, CoreDNS   fleet.Fleet
SPEED = 15
MOST = 5
ROUND_SECONDS = 15 / SPEED
WINDOW_SECONDS = 300 / SPEED


def shipped(folder, kind):
    (found,) = [item for item in folder if item and item["kind"] == kind]
    return found["spec"]


def faster(spec):
    for one in spec["triggers"]:
        facts = one["metadata"]
        facts["query"] = re.sub(r"\[(\d+)m\]", lambda minutes: f"[{60 * int(minutes[1]) // SPEED}s]", facts["query"])
        if one["name"] == "queue":
            facts["threshold"] = str(float(facts["threshold"]) / SPEED)
    return {**spec, "maxReplicaCount": MOST}


class Loop(DeployTest):
    """Scales `fleet` as the controller would, in a thread."""

    def setUp(self):
        super().setUp()
        rendered = self.run_tool(need("kubectl"), "kustomize", os.path.join(DEPLOY, "k8s", "overlays", "cpu")).stdout
        objects = list(yaml.safe_load_all(rendered))
        self.spec = faster(shipped(objects, "ScaledObject"))
        (container,) = shipped(objects, "Deployment")["template"]["spec"]["containers"]
        self.pre_stop = container["lifecycle"]["preStop"]["sleep"]["seconds"] / SPEED
        self.least = self.spec["minReplicaCount"]
        self.history = []  # (from, to)
        self.most_of = {one["metadata"]["query"]: 0 for one in self.spec["triggers"]}
        self.gone = []
        self.fleet = Fleet(self, extra=["--threads", "1"])
        self.prometheus = self.new_prometheus("prometheus")
        self.fleet.scraped_by(self.prometheus)
        for _ in range(self.least):
            self.fleet.add()

    def new_prometheus(self, name):
        os.mkdir(self.path(name))
        return self.started(Prometheus(self.path(name)))

    def ask(self, query):
        values = [value for _, value in self.prometheus.query(query)]
        self.most_of[query] = max([self.most_of[query], *values])
        return values

    def start_controller(self):
        scaler = Autoscaler(self.spec, lambda: SPEED * time.monotonic(), self.ask)
        stop = threading.Event()

        def control():
            while not stop.wait(ROUND_SECONDS):
                self.scale(scaler.step(len(self.fleet.replicas)))

        thread = threading.Thread(target=control)
        thread.start()
        self.addCleanup(self.fleet.settle)
        self.addCleanup(thread.join)
        self.addCleanup(stop.set)

    def scale(self, count):
        if count != len(self.fleet.replicas):
            self.history.append((len(self.fleet.replicas), count))
        while len(self.fleet.replicas) < count:
            self.fleet.add()
        while len(self.fleet.replicas) > count:
            busiest = max(self.fleet.replicas, key=busy)
            self.gone.append(busiest)
            self.fleet.remove(busiest, self.pre_stop)

    def reach(self, count, seconds):
        wait_until(lambda: len(self.fleet.replicas) == count, f"{count} replicas; {self.history}", seconds)

    def load(self, work, clients, jobs):
        return Load(lambda: self.started(Run(self.folder, work, "--server", self.fleet.target, "--jobs", str(jobs))), clients)

    def test_load_comes_and_goes(self):
        many = Work(self.folder, layers=4, rounds=300)
        few = Work(self.folder, layers=1, rounds=1000, hidden=768, only="down_proj")
        self.start_controller()
        load = self.load(many, clients=3, jobs=3)
        self.reach(MOST, 60)
        runs = load.stop()
        self.assertTrue(all(new > old for old, new in self.history), self.history)
        # One job at a time keeps one replica busy: less than the least asks for, and work in every scale-down.
        load = self.load(few, clients=1, jobs=1)
        self.reach(self.least, WINDOW_SECONDS + 60)
        self.fleet.settle()
        late = load.stop()
        down = [(count, count - 1) for count in range(MOST, self.least, -1)]
        self.assertEqual(self.history[-len(down):], down)
        self.assertTrue(all(new > old for old, new in self.history[:-len(down)]), self.history)
        self.assertEqual(self.fleet.exit_codes, [0] * len(down))
        self.assertEqual([log_line(replica, "stop")["end"] for replica in self.gone], ["idle"] * len(down))
        self.assertGreater(sum(log_line(replica, "drain")["running_jobs"] for replica in self.gone), 0)
        self.assertTrue(all(self.most_of.values()), self.most_of)
        for runs_of, work in (runs, many), (late, few):
            expected = without_server(self.folder, work)
            for run in runs_of:
                assert_whole(self, run, expected)

    def test_prometheus_is_lost_and_comes_back_empty(self):
        fallback = self.spec["fallback"]["replicas"]
        self.start_controller()
        time.sleep(4 * ROUND_SECONDS)
        self.assertEqual(self.history, [])
        self.prometheus.kill()
        self.reach(fallback, 30)
        self.assertEqual(self.history, [(self.least, fallback)])
        self.prometheus = self.new_prometheus("empty")
        time.sleep(WINDOW_SECONDS + 4 * ROUND_SECONDS)
        self.assertEqual(len(self.fleet.replicas), fallback, self.history)
        # The control: with the metrics back, and nothing to do, it goes down.
        self.fleet.scraped_by(self.prometheus)
        self.reach(fallback - 1, WINDOW_SECONDS + 30)


if __name__ == "__main__":
    unittest.main()
