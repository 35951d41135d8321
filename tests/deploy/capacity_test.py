"""docs/capacity.md: printed by its script, simulated without contradiction, and like the real runs that can be made."""

import os
import subprocess
import sys
import tempfile
import unittest

import harness

CAPACITY = os.path.join(harness.DEPLOY, "capacity")
sys.path.insert(0, CAPACITY)
import events  # noqa: E402
import models  # noqa: E402
import page  # noqa: E402
import scenario  # noqa: E402
import simulate  # noqa: E402

NETWORKS = sorted((page.NETWORK, *page.OTHER_NETWORKS))
# A little more or less time decides which replica a refused job meets next, and so, within limits, how the rest goes.
REFUSED_JOBS_TOLERANCE = 1.05
# Other work on the machine only slows runs down, so rounds are added, and the fastest of all counts. A replica whose
# connection comes late misses its first turns.
GAIN_TOLERANCE, MOST_ROUNDS = 0.35, 6


class PageTest(unittest.TestCase):
    maxDiff = 4000

    def test_is_what_the_script_prints(self):
        printed = subprocess.run([sys.executable, "-B", os.path.join(CAPACITY, "simulate.py")], check=True,
                                 capture_output=True, text=True).stdout
        with open(os.path.join(harness.ROOT, "docs", "capacity.md"), encoding="utf-8") as file:
            self.assertEqual(printed, file.read(), "python3 deploy/capacity/simulate.py --output docs/capacity.md")

    def test_half_the_cores_take_twice_the_time(self):
        rates, model = scenario.Rates(simulate.load()), models.MODELS[0]
        hours = [scenario.run(rates, scenario.Site(cores=cores), model, "AQLM", 1, 25).hours for cores in (16, 8)]
        self.assertAlmostEqual(hours[1] / hours[0], 2, places=2)

    def test_too_little_memory_is_an_error_with_the_figures(self):
        done = subprocess.run([sys.executable, "-B", os.path.join(CAPACITY, "simulate.py"), "--memory", "16"],
                              check=False, capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"error: a job needs \d+ bytes, more than a replica's budget of \d+")


class GridTest(unittest.TestCase):
    """What must hold for any figures, on all cells of the page."""

    @classmethod
    def setUpClass(cls):
        cls.rates, cls.site = scenario.Rates(simulate.load()), scenario.Site()
        cls.cells = page.simulate_all(cls.rates, cls.site, models.MODELS)

    def rows(self):
        return [(model, method, network)
                for model in models.MODELS for method in models.METHODS for network in NETWORKS]

    def test_four_times_the_replicas_are_never_slower(self):
        for model, method, network in self.rows():
            hours = [self.cells[model.name, method, replicas, network].hours for replicas in page.REPLICAS]
            for few, many in zip(hours, hours[1:]):
                self.assertLessEqual(many, 1.001 * few, (model.name, method, network))

    def test_no_number_of_replicas_suits_the_pattern_of_the_layers(self):
        # Four requests of very different size a layer: sent like that, they would take 4 replicas 3 times as long as 5.
        for model in models.MODELS:
            for method in ("GPTQ", "AQLM"):
                hours = [scenario.run(self.rates, self.site, model, method, replicas, page.NETWORK).hours
                         for replicas in (4, 5)]
                self.assertLessEqual(4 * hours[0], 1.05 * 5 * hours[1], (model.name, method))

    def test_a_faster_network_is_never_slower(self):
        for model in models.MODELS:
            for method in models.METHODS:
                for replicas in page.REPLICAS:
                    line = [self.cells[model.name, method, replicas, network] for network in NETWORKS]
                    for slow, fast in zip(line, line[1:]):
                        bound = REFUSED_JOBS_TOLERANCE if slow.outcome.refused or fast.outcome.refused else 1 + 1e-9
                        self.assertLessEqual(fast.hours, bound * slow.hours, (model.name, method, replicas))

    def test_no_resource_does_more_than_it_can(self):
        for (name, method, replicas, network), cell in self.cells.items():
            where = (name, method, replicas, network)
            model = next(model for model in models.MODELS if model.name == name)
            jobs = self.rates.jobs(model, method)
            work = sum(job.work for job in jobs) / self.site.cores
            longest = max(job.work for job in jobs) / self.site.cores
            upload = sum(job.input for job in jobs) * 8 / network / 1e9
            for least in (work / replicas, longest, upload):
                self.assertGreaterEqual(cell.hours * 3600, (1 - 1e-9) * least, where)
            self.assertGreaterEqual(cell.cost, (1 - 1e-9) * work / 3600 * self.site.price, where)
            for share in (cell.outcome.compute, cell.outcome.link, cell.outcome.disk):
                self.assertLessEqual(share, 1 + 1e-9, where)
            self.assertAlmostEqual(sum(cell.outcome.causes.values()), 1, places=6, msg=str(where))


def cluster(**changes):
    """One replica of one core for which every part of a job takes a second or none."""
    base = {"replicas": 1, "cores": 1, "budget": 100, "link": 10, "connection": 10, "disk": 1e9, "in_flight": 1}
    return events.Cluster(**{**base, **changes})


class SimulationTest(unittest.TestCase):
    """Small runs, whose seconds can be told by hand."""

    def seconds(self, jobs, **changes):
        return events.simulate(jobs, cluster(**changes)).seconds

    def test_a_job_alone_takes_upload_work_and_result(self):
        job = events.Job(input=20, output=10, peak=10, work=5)
        self.assertAlmostEqual(self.seconds([job]), 2 + 5 + 1)
        self.assertAlmostEqual(self.seconds([job], cores=5), 2 + 1 + 1)
        self.assertAlmostEqual(self.seconds([job], connection=5), 4 + 5 + 2)
        self.assertAlmostEqual(self.seconds([job], disk=5), 4 + 5 + 2)

    def test_uploads_go_on_beside_the_work_when_there_is_memory(self):
        jobs = [events.Job(input=10, output=0, peak=60, work=1)] * 4
        self.assertAlmostEqual(self.seconds(jobs, in_flight=1, budget=120), 8)
        self.assertAlmostEqual(self.seconds(jobs, in_flight=2, budget=120), 5)
        self.assertAlmostEqual(self.seconds(jobs, in_flight=2, budget=100), 8)

    def test_calls_go_in_turn_whatever_the_replicas_do(self):
        large, small = events.Job(0, 0, 1, work=10), events.Job(0, 0, 1, work=1)
        self.assertAlmostEqual(self.seconds([large, small] * 4, replicas=2, in_flight=4), 40)
        self.assertAlmostEqual(self.seconds([large, small, small] * 4, replicas=2, in_flight=12), 2 * 10 + 4 * 1)

    def test_cores_of_one_machine_are_shared(self):
        jobs = [events.Job(0, 0, 1, work=1)] * 12
        self.assertAlmostEqual(self.seconds(jobs, replicas=3, in_flight=6), 4)
        self.assertAlmostEqual(self.seconds(jobs, replicas=3, in_flight=6, host_cores=2), 6)

    def test_a_long_wait_for_memory_is_refused_and_the_job_still_done(self):
        jobs = [events.Job(0, 0, peak=100, work=1000)] * 3
        outcome = events.simulate(jobs, cluster(in_flight=3))
        self.assertGreater(outcome.refused, 0)
        self.assertGreaterEqual(outcome.seconds, 3000)
        self.assertLess(outcome.seconds, 3000 + 3 * events.MOST_PUSHBACK)

    def test_what_a_replica_waits_for_is_told(self):
        jobs = [events.Job(input=90, output=0, peak=100, work=1)] * 4
        causes = events.simulate(jobs, cluster(in_flight=2)).causes
        self.assertGreater(causes[events.MEMORY], 0.5)
        causes = events.simulate(jobs, cluster(in_flight=1)).causes
        self.assertAlmostEqual(causes[events.TRANSFER], 0.9)
        causes = events.simulate([events.Job(0, 0, 1, work=1)] * 4, cluster(replicas=2, in_flight=1)).causes
        self.assertAlmostEqual(causes[events.CLIENT] + causes[events.LAST], 0.5)


class RealRunsTest(unittest.TestCase):
    """The programs themselves: what they ask for, and what a second and third replica gain."""

    @classmethod
    def setUpClass(cls):
        harness.need("protoc")
        try:
            import check
            import grpc  # noqa: F401
        except ImportError as error:
            harness.missing(f"{error.name} is not installed (make deploy installs it)")
        cls.check = check
        folder = tempfile.TemporaryDirectory(prefix="quantd-capacity-")
        cls.addClassCleanup(folder.cleanup)
        cls.trial = check.Trial(folder.name)
        cls.requests = check.answers(folder.name)

    def test_the_client_makes_the_requests_that_are_simulated(self):
        shapes = self.check.MODEL.shapes(self.check.METHOD)
        requests, upload, _ = self.trial.plan()
        self.assertEqual(requests, len(shapes))
        stored = self.requests[self.check.METHOD]
        self.assertAlmostEqual(upload, sum(stored[shape.key()]["input"] for shape in shapes) / 1e6, places=1)

    def test_calls_go_in_turn_and_gains_of_more_replicas_are_as_simulated(self):
        expected = [self.check.simulated(self.requests, simulate.load(), count, os.cpu_count())
                    for count in self.check.REPLICAS]
        rounds, spreads = [], []
        for _ in range(MOST_ROUNDS):
            runs = [self.trial.quantize(count) for count in self.check.REPLICAS]
            for _, jobs in runs:
                self.assertEqual(sum(jobs), len(self.check.MODEL.shapes(self.check.METHOD)))
            rounds.append([seconds for seconds, _ in runs])
            spreads.append([max(jobs) - min(jobs) for _, jobs in runs])
            measured = self.check.least(rounds)
            ratios = [(measured[0] / real) / (expected[0] / simulated) for real, simulated in zip(measured, expected)]
            in_turn = all(spread <= 2 for spread in self.check.least(spreads))
            if in_turn and all(abs(ratio - 1) <= GAIN_TOLERANCE for ratio in ratios):
                return
        self.fail(f"gains, measured by simulated: {ratios}; seconds {rounds}, simulated {expected}; "
                  f"jobs of the busiest replica less those of the idlest: {spreads}")


if __name__ == "__main__":
    unittest.main()
