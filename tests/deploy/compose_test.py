"""The laptop setup: its files are accepted, containers are restricted, the viewer shows the dashboards."""

import json
import os
import shutil
import subprocess
import urllib.parse

import yaml

import dashboard_queries
from browser import Browser
from dashboard_load import Load
from harness import DEPLOY, DeployTest, need, wait_until

COMPOSE = os.path.join(DEPLOY, "compose", "compose.yaml")
RUN = os.path.join(DEPLOY, "compose", "run.yaml")
MODELS = {"QUANTD_MODELS": "/models"}
RULES = os.path.join(DEPLOY, "alerts", "quantd.rules.yaml")
VIEWER = "/user/viewer/"
DONE = "document.body.dataset.done"


class ComposeFile(DeployTest):
    def compose(self, *paths, environment=()):
        """`config` of the files on top of each other."""
        files = [word for path in paths for word in ("-f", path)]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("QUANTD_")}
        return subprocess.run([need("docker-compose"), *files, "config"], capture_output=True, text=True,
                              env={**clean, **dict(environment)})

    def config(self, *paths, environment=()):
        """The files as compose understands them."""
        done = self.compose(*paths, environment=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        return yaml.safe_load(done.stdout)

    def services(self):
        return self.config(COMPOSE, RUN, environment=MODELS)["services"]

    def test_compose_accepts_it_and_no_other_field(self):
        self.assertEqual(set(self.config(COMPOSE)["services"]), {"quantd", "prometheus"})
        self.assertEqual(set(self.services()), {"quantd", "prometheus", "quantctl"})
        with open(COMPOSE, encoding="utf-8") as file:
            text = file.read()
        with open(self.path("compose.yaml"), "w", encoding="utf-8") as file:
            file.write(text.replace("cap_drop", "drop_caps", 1))
        with self.assertRaises(AssertionError):
            self.config(self.path("compose.yaml"))

    def test_a_run_asks_for_the_folder_with_the_models(self):
        done = self.compose(COMPOSE, RUN)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("QUANTD_MODELS=/path/to/models", done.stderr)
        self.assertEqual([str(one).split(":")[0] for one in self.services()["quantctl"]["volumes"]], ["/models"])

    def test_services_are_restricted_and_open_on_this_machine_only(self):
        for name, service in self.services().items():
            with self.subTest(name):
                self.assertTrue(service["read_only"])
                self.assertEqual(service["cap_drop"], ["ALL"])
                self.assertEqual(service["security_opt"], ["no-new-privileges:true"])
                self.assertIn("mem_limit", service)
                # Built here, or with the registry's name, without which podman may ask which one is meant.
                self.assertRegex(service["image"], r"^(quantd|docker\.io/.+):v?\d+\.\d+\.\d+$")
                for port in service.get("ports", []):
                    self.assertTrue(str(port).startswith("127.0.0.1:"), port)
                for volume in service.get("volumes", []):
                    source = str(volume).split(":", maxsplit=1)[0]
                    self.assertTrue(name == "quantctl" or not source.startswith("/") or os.path.exists(source), source)
        quantd = self.services()["quantd"]
        self.assertEqual(quantd["healthcheck"]["test"], ["CMD", "/usr/local/bin/quantd", "health"])

    def test_the_server_computes_as_in_a_cluster(self):
        path = os.path.join(DEPLOY, "k8s", "base", "config-map.yaml")
        with open(path, encoding="utf-8") as file:
            cluster = yaml.safe_load(file)["data"]
        mine = self.services()["quantd"]["environment"]
        self.assertEqual(mine["OPENBLAS_CORETYPE"], cluster["OPENBLAS_CORETYPE"])

    def test_promtool_accepts_the_configuration(self):
        """As in the container: the rules in a folder beside it."""
        shutil.copy(os.path.join(DEPLOY, "compose", "prometheus.yml"), self.folder)
        os.makedirs(self.path("rules"))
        shutil.copy(RULES, self.path("rules"))
        self.run_tool(need("promtool"), "check", "config", self.path("prometheus.yml"))
        with open(self.path("prometheus.yml"), encoding="utf-8") as file:
            jobs = yaml.safe_load(file)["scrape_configs"]
        hosts = set()
        for job in jobs:
            if "dns_sd_configs" in job:  # a target only while the name resolves
                hosts.update(*(one["names"] for one in job["dns_sd_configs"]))
                labels = {one["target_label"] for one in job["relabel_configs"]}
            else:
                hosts.update(target.split(":")[0] for target in job["static_configs"][0]["targets"])
                labels = set(job["static_configs"][0]["labels"])
            self.assertEqual(labels, {"namespace", "pod"})
        self.assertEqual(hosts, {"quantd", "quantctl"})
        self.assertLessEqual(hosts, set(self.services()))


class Viewer(DeployTest):
    """The page that Prometheus serves, in a browser."""

    def test_it_shows_both_dashboards(self):
        need("chromium")
        assets = f"--web.user-assets={os.path.join(DEPLOY, 'dashboards')}"
        with Load(self.folder, rules=[RULES], extra=[assets]) as load:
            self.browser = Browser(self.folder)
            self.addCleanup(self.browser.close)
            for name in dashboard_queries.NAMES:
                with self.subTest(name):
                    self.check_dashboard(load, name)
            self.check_default_range(load)
            self.check_axes()
            self.check_clean(load.prometheus.url)
            self.check_planted(load)

    def show(self, load, **query):
        load.check()
        # One parameter more on each visit, or the browser would not go there again.
        query["visit"] = str(len(self.browser.requests))
        self.browser.open(f"{load.prometheus.url}{VIEWER}?{urllib.parse.urlencode(query)}", DONE)
        return self.browser.evaluate("JSON.parse(document.body.dataset.empty)")

    def check_dashboard(self, load, name):
        empty = []

        def complete():
            empty[:] = self.show(load, dashboard=name, range=300)
            return not empty

        try:
            wait_until(complete, "panels with data")
        except TimeoutError:
            self.fail(f"no data: {empty}")
        dashboard = dashboard_queries.load(name)
        self.assertEqual(self.browser.evaluate("document.title"), dashboard["title"])
        shown = self.browser.evaluate("[...document.querySelectorAll('.panel h2')].map(e => e.textContent)")
        self.assertEqual(shown, [panel["title"] for panel in dashboard_queries.panels(dashboard)])
        lines = self.browser.evaluate("document.querySelectorAll('svg path').length")
        self.assertGreater(lines, 10)

    def check_default_range(self, load):
        self.show(load, dashboard="operator")
        chosen = "[...document.querySelectorAll('select')].map(e => e.selectedOptions[0].textContent)"
        self.assertIn("15 min", self.browser.evaluate(chosen))

    def check_axes(self):
        """One unit on an axis, and no half things."""
        for high, unit, whole, expected in (
                (165, "s", False, ["0 min", "1 min", "2 min"]),
                (0.0017, "s", False, ["0 ms", "0.5 ms", "1 ms", "1.5 ms"]),
                (1.6e6, "Bps", False, ["0 MB/s", "0.5 MB/s", "1 MB/s", "1.5 MB/s"]),
                (1.2 * 2 ** 30, "bytes", True, ["0 GiB", "0.5 GiB", "1 GiB"]),
                (1, "bytes", True, ["0 B", "1 B"]),
                (1, "none", True, ["0", "1"]),
                (1, "percentunit", False, ["0 %", "50 %", "100 %"])):
            arguments = json.dumps([0, high, 4, unit, whole])
            with self.subTest(arguments):
                self.assertEqual(self.browser.evaluate(f"ticks(...{arguments}).map(one => one[1])"), expected)

    def check_clean(self, url):
        self.assertEqual(self.browser.errors, [])
        others = [one for one in self.browser.requests if not one.startswith((url + "/", "data:"))]
        self.assertEqual(others, ["about:blank"] if "about:blank" in others else [])

    def check_planted(self, load):
        """A namespace without replicas: the page says so, panel by panel."""
        empty = self.show(load, dashboard="operator", range=300, namespace="nobody")
        self.assertIn("Pool in use", empty)
        self.assertNotIn("Certificate expires in", empty)  # without TLS it has nothing to show
        self.assertEqual(self.texts(".empty"), {"no samples yet"})
        self.assertEqual(self.texts(".failed"), set())
        self.show(load, dashboard="operator", range="wrong")
        self.assertTrue(any("invalid parameter" in text for text in self.texts(".failed")), self.texts(".failed"))

    def texts(self, selector):
        return set(self.browser.evaluate(f"[...document.querySelectorAll('{selector}')].map(e => e.textContent)"))
