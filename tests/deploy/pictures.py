"""Writes docs/dashboard-{operator,pipeline}.png (through the viewer) and docs/status-page.png from a small quantd at work.

The pictures are taken when two thirds of the watched run are done; that takes some minutes.
"""

import os
import subprocess
import tempfile

import dashboard_queries
from browser import Browser
from dashboard_load import Load
from harness import DEPLOY, ROOT, need, wait_until

LIMIT_BYTES = 300_000
LAYERS = 72
SHARE = 2 / 3
PATIENCE_SECONDS = 1200
ENDED_JOBS = 5  # of those that ended lately: a picture need not be long


def take_dashboard(browser, url, name):
    browser.open(f"{url}/user/viewer/?dashboard={name}&range=300", "document.body.dataset.done")
    empty = browser.evaluate("JSON.parse(document.body.dataset.empty)")
    if empty:
        raise SystemExit(f"{name}: no data in {empty}")
    take(browser, f"dashboard-{name}.png")


def take_status_page(browser, replica):
    browser.open(f"http://{replica.metrics_target}/", "document.body.dataset.drawn")
    later = f"#recent .row:nth-child(n + {ENDED_JOBS + 1})"
    browser.evaluate(f"document.querySelectorAll('{later}').forEach(row => row.remove())")
    take(browser, "status-page.png")


def take(browser, name):
    if browser.errors:
        raise SystemExit(f"{name}: {browser.errors}")
    path = os.path.join(ROOT, "docs", name)
    browser.picture(path)
    subprocess.run([need("pngquant"), "--force", "--output", path, "64", path], check=True)
    if os.path.getsize(path) > LIMIT_BYTES:
        raise SystemExit(f"{path}: {os.path.getsize(path)} bytes; the limit is {LIMIT_BYTES}")


def far_enough(load):
    load.check()
    done = load.prometheus.query("quantctl_weights_done / quantctl_weights")
    return done and done[0][1] > SHARE


def main():
    assets = f"--web.user-assets={os.path.join(DEPLOY, 'dashboards')}"
    with tempfile.TemporaryDirectory(prefix="quantd-pictures-") as folder:
        with Load(folder, layers=LAYERS, extra=[assets]) as load:
            wait_until(lambda: far_enough(load), "most layers of the watched run", PATIENCE_SECONDS)
            browser = Browser(folder)
            try:
                for name in dashboard_queries.NAMES:
                    take_dashboard(browser, load.prometheus.url, name)
                take_status_page(browser, load.replicas[1])
            finally:
                browser.close()


if __name__ == "__main__":
    main()
