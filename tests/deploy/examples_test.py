"""The examples are accepted by the tools they are for, and do what they say against a local quantd."""

import copy
import functools
import json
import os
import re

import manifests
from harness import BIN_DIR, VENV, DeployTest, need
from manifests import EXAMPLES
from policy_rules import Objects

from checkpoint import Model

DAG, DAY = "quantize_checkpoints", "2026-01-02"
SERVER = "dns:///quantd.quantd.svc:50051"
# Reads a workflow with Argo's own models and writes back what they understood.
ROUND_TRIP = """
import json, sys
from hera.workflows.models import Workflow
print(Workflow.model_validate(json.load(sys.stdin)).model_dump_json(by_alias=True, exclude_unset=True))
"""


class ExampleTest(DeployTest):
    """A folder with two checkpoints and a replica to quantize them."""

    MODELS = ("llama-3-8b", "qwen3-4b")

    def setUp(self):
        super().setUp()
        for seed, name in enumerate(self.MODELS):
            Model(self.path("models", name), seed=seed)
        self.server = f"dns:///{self.replica().target}"
        self.environment = {**os.environ, "PATH": BIN_DIR + os.pathsep + os.environ["PATH"], "HOME": self.folder}

    def run_example(self, *command, **options):
        return self.run_tool(*command, env=self.environment, cwd=self.folder, **options)

    def assert_quantized(self, *models):
        """The folder MODEL-rtn has the bytes that quantctl makes without any service."""
        for name in models:
            alone = self.path("alone", name)
            self.quantctl("quantize", self.path("models", name), "-o", alone)
            for file in os.listdir(alone):
                with open(os.path.join(alone, file), "rb") as one, \
                        open(self.path("models", f"{name}-rtn", file), "rb") as other:
                    self.assertEqual(one.read(), other.read(), f"{name}: {file}")


class ArgoTest(ExampleTest):
    def setUp(self):
        super().setUp()
        [self.workflow] = manifests.read(os.path.join(EXAMPLES, "argo-workflow.yaml"))
        self.templates = {one["name"]: one for one in self.workflow["spec"]["templates"]}

    def understood(self, workflow, code=0):
        need("hera")
        python = os.path.join(VENV, "bin", "python")
        done = self.run_tool(python, "-c", ROUND_TRIP, input=json.dumps(workflow), code=code)
        return json.loads(done.stdout) if code == 0 else done.stderr

    def test_argo_understands_every_field(self):
        self.assertEqual(self.understood(self.workflow), self.workflow)

    def test_a_misspelt_field_would_be_seen(self):
        broken = copy.deepcopy(self.workflow)
        broken["spec"]["templates"][0]["paralellism"] = 2
        self.assertNotEqual(self.understood(broken), broken)

    def test_a_wrong_type_would_be_seen(self):
        broken = copy.deepcopy(self.workflow)
        broken["spec"]["templates"][0]["parallelism"] = "two"
        self.assertIn("parallelism", self.understood(broken, code=1))

    def test_its_commands_quantize_and_verify(self):
        [[step]] = self.templates["all"]["steps"]
        self.assertEqual(tuple(step["withItems"]), self.MODELS)
        for model in step["withItems"]:
            for [step] in self.templates["checkpoint"]["steps"]:
                self.run_example(*self.command(step["template"], model))
        self.assert_quantized(*self.MODELS)

    def command(self, template, model):
        """The container's command line as Argo would fill it in, with the volume where the test has it."""
        container = self.templates[template]["container"]
        values = {f"workflow.parameters.{one['name']}": one["value"]
                  for one in self.workflow["spec"]["arguments"]["parameters"]}
        values.update({"workflow.parameters.server": self.server, "inputs.parameters.model": model})
        filled = [re.sub(r"{{(.*?)}}", lambda match: values[match.group(1)], word)
                  for word in container["command"] + container["args"]]
        changes = {"/models/": self.path("models", ""),
                   # A free port, and no minute of waiting for a last scrape.
                   "--metrics-listen=0.0.0.0:9465": "--metrics-listen=127.0.0.1:0", "--metrics-linger=60":
                   "--metrics-linger=0"}
        return [functools.reduce(lambda text, change: text.replace(*change), changes.items(), word)
                for word in filled]

    def test_prometheus_finds_its_runs(self):
        """The PodMonitor beside it selects the pods of `quantize`, and the port where quantctl serves metrics."""
        [monitor] = manifests.read(os.path.join(EXAMPLES, "pod-monitor.yaml"))
        quantize = self.templates["quantize"]
        self.assertEqual(quantize["metadata"]["labels"], monitor["spec"]["selector"]["matchLabels"])
        [endpoint] = monitor["spec"]["podMetricsEndpoints"]
        [port] = quantize["container"]["ports"]
        self.assertEqual(port["name"], endpoint["port"])
        self.assertIn(f"--metrics-listen=0.0.0.0:{port['containerPort']}", quantize["container"]["args"])
        [server] = Objects(manifests.render_overlay("cpu")).of("PodMonitor")
        self.assertEqual(monitor["metadata"]["labels"]["release"], server["metadata"]["labels"]["release"])

    def test_tries_again_only_where_that_helps(self):
        expression = self.templates["quantize"]["retryStrategy"]["expression"]
        for code, again in {1: True, 2: False, 3: False, 130: True, 137: True, 143: True, -1: True}.items():
            python = expression.replace("asInt(lastRetry.exitCode)", str(code)).replace("&&", "and")
            self.assertEqual(eval(python, {"__builtins__": {}}), again, code)  # the committed file's own expression

    def test_volumes_and_templates_exist(self):
        claims = {one["name"] for one in self.workflow["spec"]["volumes"]}
        for template in self.templates.values():
            for mount in template.get("container", {}).get("volumeMounts", []):
                self.assertIn(mount["name"], claims)
            for steps in template.get("steps", []):
                for step in steps:
                    self.assertIn(step["template"], self.templates)
        self.assertIn(self.workflow["spec"]["entrypoint"], self.templates)

    def test_it_calls_the_service_with_the_image_of_the_overlay(self):
        objects = Objects(manifests.render_overlay("cpu"))
        [service] = objects.of("Service")
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        self.assertEqual(SERVER, f"dns:///{name}.{namespace}.svc:{service['spec']['ports'][0]['port']}")
        for template in self.templates.values():
            if "container" in template:
                self.assertEqual(template["container"]["image"], objects.container["image"])
        for example in ("argo-workflow.yaml", "airflow_dag.py", "ray_job.py"):
            with open(os.path.join(EXAMPLES, example), encoding="utf-8") as file:
                self.assertIn(SERVER, file.read(), example)


class ClientNamespaceTest(DeployTest):
    def test_client_certificates_are_those_that_the_server_trusts(self):
        """Of the issuer that signs the server's own, whose ca.crt it takes for clients; for any namespace."""
        [client] = manifests.read(os.path.join(EXAMPLES, "client-certificate.yaml"))
        objects = Objects(manifests.render_overlay("mtls"))
        [server] = objects.named("Certificate", "quantd-tls")
        self.assertEqual(client["spec"]["issuerRef"], server["spec"]["issuerRef"])
        self.assertEqual(client["spec"]["issuerRef"]["kind"], "ClusterIssuer")
        self.assertNotIn("namespace", client["metadata"])
        self.assertIn("client auth", client["spec"]["usages"])
        [volume] = objects.pod["volumes"]
        self.assertEqual(volume["secret"]["secretName"], server["spec"]["secretName"])


class AirflowTest(ExampleTest):
    def setUp(self):
        super().setUp()
        self.airflow = need("airflow")
        os.makedirs(self.path("dags"))
        self.write_dag()
        self.environment.update(AIRFLOW_HOME=self.path("airflow"), AIRFLOW__CORE__DAGS_FOLDER=self.path("dags"),
                                AIRFLOW__CORE__LOAD_EXAMPLES="False", AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING")
        self.run_example(self.airflow, "db", "migrate")
        self.run_example(self.airflow, "dags", "reserialize")

    def write_dag(self):
        """The example, without the minute of waiting for a last scrape."""
        with open(os.path.join(EXAMPLES, "airflow_dag.py"), encoding="utf-8") as file:
            text = file.read()
        waits = '"--metrics-linger", "60"'
        self.assertIn(waits, text)
        with open(self.path("dags", "airflow_dag.py"), "w", encoding="utf-8") as file:
            file.write(text.replace(waits, '"--metrics-linger", "0"'))

    def test_airflow_runs_it(self):
        """One of the models is absent: quantctl ends with 2, and its task fails at once, with ten tries left."""
        conf = {"models": [*self.MODELS, "absent"], "folder": self.path("models"), "server": self.server,
                "metrics": "127.0.0.1:0"}
        done = self.run_example(self.airflow, "dags", "test", DAG, DAY, "--conf", json.dumps(conf), code=1)
        self.assertIn("exit code 2, no use in trying again", done.stdout + done.stderr)
        self.assertIn("--metrics-listen 127.0.0.1:0 --metrics-linger 0: exit code 2", done.stdout + done.stderr)
        self.assertEqual(self.states(), {
            "models": ["success"],
            "checkpoint.quantize": ["success", "success", "failed"],
            "checkpoint.verify": ["success", "success", "upstream_failed"],
        })
        self.assert_quantized(*self.MODELS)

    def states(self):
        """Task -> the states of its instances, in the order of the models."""
        done = self.run_example(self.airflow, "tasks", "states-for-dag-run", DAG, DAY, "--output", "json")
        found = {}
        for one in sorted(json.loads(done.stdout.splitlines()[-1]), key=lambda one: int(one.get("map_index") or 0)):
            found.setdefault(one["task_id"], []).append(one["state"])
        return found


class RayTest(ExampleTest):
    def test_ray_runs_it(self):
        need("ray")
        self.environment.update(RAY_AUTH_MODE="disabled", RAY_TMPDIR=self.folder, RAY_USAGE_STATS_ENABLED="0")
        # The absent one ends with 2 and does not hold the others up.
        models = [self.path("models", name) for name in (*self.MODELS, "absent")]
        done = self.run_example(os.path.join(VENV, "bin", "python"), os.path.join(EXAMPLES, "ray_job.py"), *models,
                                "--server", self.server, code=2)
        for model, code in zip(models, (0, 0, 2)):
            self.assertIn(f"{model}: {model}-rtn, exit code {code}", done.stdout)
        self.assert_quantized(*self.MODELS)
