"""The page at the metrics port in a real browser: live values, on a screen and on a phone, and what it says when quantd is gone."""

import json
import tempfile

from browser import Browser
from dashboard_load import Load
from harness import DeployTest, wait_until

DRAWN = "Number(document.body.dataset.drawn) >= 2"  # twice: what is polled was drawn anew


BEAM = 64  # jobs of the watched run take seconds, so that the page sees them drain


class StatusPage(DeployTest):
    def browser(self, **size):
        browser = Browser(tempfile.mkdtemp(dir=self.folder), **size)
        self.addCleanup(browser.close)
        return browser

    def text(self, browser, selector):
        return browser.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")

    def test_it_shows_a_server_at_work_and_says_when_that_is_gone(self):
        with Load(self.folder, beam=BEAM) as load:
            replica = load.replicas[1]
            url = f"http://{replica.metrics_target}/"
            wait_until(lambda: replica.status()["recent"] and replica.status()["live"], "a job to end and one to run")
            screen = self.browser(width=1280)
            screen.open(url, DRAWN)
            self.check_values(screen)
            self.check_phone(url)
            load.check()
            origins = {request.removeprefix(url).split("?")[0] for request in screen.requests}
            self.assertEqual(screen.errors, [])
            self.assertEqual(origins, {"", "status.json"}, "nothing is asked of anybody else")
            replica.terminate()  # its running jobs keep it for a while
            wait_until(lambda: self.text(screen, "#state") == "draining", "the page to see that the server drains")
            replica.kill()
            wait_until(lambda: self.text(screen, "#state") == "unreachable", "the page to see that the server is gone")
            self.assertIn("what is shown is old", self.text(screen, "#trouble"))

    def check_values(self, browser):
        self.assertEqual(self.text(browser, "#state"), "serving")
        self.assertIn("of 1 busy", self.text(browser, "#tiles"))
        self.assertIn("model.layers.", self.text(browser, "#live .name"))
        self.assertIn("aqlm", self.text(browser, "#live .facts"))
        self.assertEqual(self.text(browser, "#recent .pill"), "ok")
        self.assertRegex(self.text(browser, "#recent .facts"), r"ago · aqlm · .* weights · [\d.]+ bits · error [\d.e-]+ · took ")
        self.assertGreater(browser.evaluate("document.querySelectorAll('#charts path').length"), 3)
        drawn = int(browser.evaluate("document.body.dataset.drawn"))
        wait_until(lambda: int(browser.evaluate("document.body.dataset.drawn")) > drawn, "the page to poll again")

    def check_phone(self, url):
        phone = self.browser(width=390, height=800)
        phone.open(url, DRAWN)
        self.assertLessEqual(phone.evaluate("document.documentElement.scrollWidth"), 390, "nothing is cut off at the side")
        self.assertEqual(phone.errors, [])

    def test_an_idle_server_has_a_page_too(self):
        replica = self.replica()
        browser = self.browser(width=1280, height=800)
        browser.open(f"http://{replica.metrics_target}/", DRAWN)
        self.assertEqual(self.text(browser, "#state"), "serving")
        self.assertEqual(self.text(browser, "#live"), "No job.")
        self.assertIn("No job has ended", self.text(browser, "#recent"))
        self.assertEqual(browser.errors, [])
