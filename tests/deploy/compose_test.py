"""The laptop setup: its files are accepted, containers are restricted, the viewer shows the dashboards."""

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
RULES = os.path.join(DEPLOY, "alerts", "quantd.rules.yaml")
VIEWER = "/user/viewer/"
DONE = "document.body.dataset.done"


class ComposeFile(DeployTest):
    def config(self, path=COMPOSE):
        """The file as compose understands it."""
        done = subprocess.run([need("docker-compose"), "-f", path, "--profile", "run", "config"],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return yaml.safe_load(done.stdout)

    def test_compose_accepts_it_and_no_other_field(self):
        services = self.config()["services"]
        self.assertEqual(set(services), {"quantd", "prometheus", "quantctl"})
        with open(COMPOSE, encoding="utf-8") as file:
            text = file.read()
        with open(self.path("compose.yaml"), "w", encoding="utf-8") as file:
            file.write(text.replace("cap_drop", "drop_caps", 1))
        with self.assertRaises(AssertionError):
            self.config(self.path("compose.yaml"))

    def test_services_are_restricted_and_open_on_this_machine_only(self):
        for name, service in self.config()["services"].items():
            with self.subTest(name):
                self.assertTrue(service["read_only"])
                self.assertEqual(service["cap_drop"], ["ALL"])
                self.assertEqual(service["security_opt"], ["no-new-privileges:true"])
                self.assertIn("mem_limit", service)
                self.assertRegex(service["image"], r":v?\d+\.\d+\.\d+$")
                for port in service.get("ports", []):
                    self.assertTrue(str(port).startswith("127.0.0.1:"), port)
                for volume in service.get("volumes", []):
                    source = str(volume).split(":", maxsplit=1)[0]
                    self.assertTrue(name == "quantctl" or not source.startswith("/") or os.path.exists(source), source)
        quantd = self.config()["services"]["quantd"]
        self.assertEqual(quantd["healthcheck"]["test"], ["CMD", "/usr/local/bin/quantd", "health"])

    def test_promtool_accepts_the_configuration(self):
        """As in the container: the rules in a folder beside it."""
        shutil.copy(os.path.join(DEPLOY, "compose", "prometheus.yml"), self.folder)
        os.makedirs(self.path("rules"))
        shutil.copy(RULES, self.path("rules"))
        self.run_tool(need("promtool"), "check", "config", self.path("prometheus.yml"))
        with open(self.path("prometheus.yml"), encoding="utf-8") as file:
            jobs = yaml.safe_load(file)["scrape_configs"]
        services = self.config()["services"]
        for job in jobs:
            host = job["static_configs"][0]["targets"][0].split(":")[0]
            self.assertIn(host, services)
            self.assertEqual(set(job["static_configs"][0]["labels"]), {"namespace", "pod"})


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

    def check_clean(self, url):
        self.assertEqual(self.browser.errors, [])
        others = [one for one in self.browser.requests if not one.startswith((url + "/", "data:"))]
        self.assertEqual(others, ["about:blank"] if "about:blank" in others else [])

    def check_planted(self, load):
        """A namespace without replicas: the page says so, panel by panel."""
        empty = self.show(load, dashboard="operator", range=300, namespace="nobody")
        self.assertIn("Pool in use", empty)
        self.assertNotIn("Certificate expires in", empty)  # without TLS it has nothing to show
