"""The alerts: promtool accepts them, each fires and stays silent where it should, and each has a runbook entry."""

import glob
import os
import re

import yaml

from harness import DEPLOY, DeployTest, need

RULES = os.path.join(DEPLOY, "alerts", "quantd.rules.yaml")
CASES = sorted(glob.glob(os.path.join(DEPLOY, "alerts", "tests", "*.yaml")))
RUNBOOK = os.path.join(DEPLOY, "runbook.md")
SEVERITIES = {"critical", "warning", "info"}
PARTS = ("Meaning:", "Look[:,]", "Do")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def alerts():
    return [rule for group in yaml.safe_load(read(RULES))["groups"] for rule in group["rules"] if "alert" in rule]


def entries():
    """Runbook: anchor -> text. An anchor is the heading in small letters."""
    parts = re.split(r"^## (.+)$", read(RUNBOOK), flags=re.MULTILINE)
    return {heading.lower(): text for heading, text in zip(parts[1::2], parts[2::2])}


def blocks(language):
    """The code blocks of the runbook in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", read(RUNBOOK), re.MULTILINE | re.DOTALL)


class Alerts(DeployTest):
    def test_promtool_accepts_the_rules_and_every_case_holds(self):
        promtool = need("promtool")
        self.run_tool(promtool, "check", "rules", RULES)
        self.run_tool(promtool, "test", "rules", *CASES)

    def test_every_alert_has_a_case_that_fires_and_one_that_does_not(self):
        firing, silent = set(), set()
        for path in CASES:
            for case in yaml.safe_load(read(path))["tests"]:
                for one in case["alert_rule_test"]:
                    (firing if one["exp_alerts"] else silent).add(one["alertname"])
        names = {alert["alert"] for alert in alerts()}
        self.assertEqual(firing, names)
        self.assertEqual(silent, names)

    def test_no_case_holds_without_its_alert(self):
        """An alert that never fires, or always does, fails the cases: they look at something."""
        promtool = need("promtool")
        for number, alert in enumerate(alerts()):
            for expression in ("vector(0) > 1", f"({alert['expr']}) or on () vector(1)"):
                with self.subTest(alert["alert"], expression=expression):
                    self.assertNotEqual(self.cases_with(promtool, number, expression), 0)

    def cases_with(self, promtool, number, expression):
        """The exit code of all cases when the alert of that number has another expression."""
        document = yaml.safe_load(read(RULES))
        changed = [rule for group in document["groups"] for rule in group["rules"]][number]
        changed["expr"] = expression
        os.makedirs(self.path("tests"), exist_ok=True)
        with open(self.path("quantd.rules.yaml"), "w", encoding="utf-8") as file:
            yaml.safe_dump(document, file)
        named = []
        for path in CASES:
            if f"alertname: {changed['alert']}" in read(path):
                named.append(self.path("tests", os.path.basename(path)))
                with open(named[-1], "w", encoding="utf-8") as file:
                    file.write(read(path))
        return self.promtool(promtool, named)

    def promtool(self, promtool, cases):
        try:
            self.run_tool(promtool, "test", "rules", *cases)
        except AssertionError:
            return 1
        return 0

    def test_every_alert_says_how_bad_what_and_what_to_do(self):
        names = [alert["alert"] for alert in alerts()]
        self.assertEqual(len(names), len(set(names)))
        book = entries()
        self.assertEqual(set(book), {name.lower() for name in names})
        for alert in alerts():
            with self.subTest(alert["alert"]):
                self.assertIn(alert["labels"]["severity"], SEVERITIES)
                notes = alert["annotations"]
                self.assertEqual(set(notes), {"summary", "description", "runbook_url"})
                self.assertEqual(notes["runbook_url"], f"deploy/runbook.md#{alert['alert'].lower()}")
                self.assertRegex(notes["summary"] + notes["description"], r"{{ \$(value|labels)")
                for part in PARTS:
                    self.assertRegex(book[alert["alert"].lower()], rf"(?m)^{part}")

    def test_queries_of_the_runbook_are_promql(self):
        """Each line of its blocks of queries, as an expression of a rules file; a division goes over two lines."""
        lines = [line for block in blocks("promql") for line in block.replace("\n  /", " /").splitlines()]
        self.assertGreater(len(lines), len(alerts()))
        rules = [{"record": f"runbook:query{i}", "expr": line} for i, line in enumerate(lines)]
        with open(self.path("runbook.yaml"), "w", encoding="utf-8") as file:
            yaml.safe_dump({"groups": [{"name": "runbook", "rules": rules}]}, file)
        self.run_tool(need("promtool"), "check", "rules", self.path("runbook.yaml"))

    def test_commands_of_the_runbook_are_shell(self):
        """Each block says whether it is for the shell or for Prometheus, and the shell understands the former."""
        commands = [line for block in blocks("sh") for line in block.splitlines()]
        self.assertEqual(len(re.findall(r"^```\w*$", read(RUNBOOK), re.MULTILINE)),
                         2 * (len(blocks("sh")) + len(blocks("promql"))))
        self.assertGreater(len(commands), len(alerts()))
        for line in commands:
            with self.subTest(line):
                self.assertIn(line.split()[0], {"kubectl", "quantctl", "cmctl"})
                self.run_tool(need("bash"), "-n", "-c", line)

    def test_options_that_the_runbook_looks_up_are_in_the_config_map(self):
        names = re.findall(r"{\.data\.(\w+)}", "".join(blocks("sh")))
        self.assertIn("QUANTD_LOG_LEVEL", names)
        config = yaml.safe_load(read(os.path.join(DEPLOY, "k8s", "base", "config-map.yaml")))["data"]
        self.assertLessEqual(set(names), set(config))
