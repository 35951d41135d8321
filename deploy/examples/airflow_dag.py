"""Airflow 3: quantizes checkpoints with the service quantd.

A DAG file. quantctl and the folder of the checkpoints must be on the workers; the namespace of the workers needs the
label quantd-client=true. Trigger it with other parameters for other models, methods or folders:

    airflow dags trigger quantize_checkpoints --conf '{"models": ["qwen3-4b"], "method": "gptq"}'

Where every task has a pod of its own (KubernetesExecutor), give "metrics": "0.0.0.0:9465", and its pods the label and
the port that pod-monitor.yaml looks for: the runs then show on the dashboard quantd: pipeline.
"""

import datetime
import subprocess

from airflow.sdk import Param, dag, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowFailException

# Exit codes of quantctl that a second try would repeat: wrong flags, files or values; layers that are not accepted.
FINAL = {2, 3}


def quantctl(*arguments):
    """Runs it, with its output in the task's log. Raises what tells Airflow whether to try again."""
    command = ["quantctl", *arguments]
    code = subprocess.run(command, check=False).returncode
    if code in FINAL:
        raise AirflowFailException(f"{' '.join(command)}: exit code {code}, no use in trying again")
    if code != 0:
        raise RuntimeError(f"{' '.join(command)}: exit code {code}")


@dag(
    schedule=None,
    catchup=False,
    params={
        "models": Param(["llama-3-8b", "qwen3-4b"], type="array", items={"type": "string"}),
        "folder": Param("/models", type="string"),
        "method": Param("rtn", type="string"),
        "server": Param("dns:///quantd.quantd.svc:50051", type="string"),
        # HOST:PORT where a run serves its metrics. Empty, none: tasks of one host cannot share a port.
        "metrics": Param("", type="string"),
    },
)
def quantize_checkpoints():
    @task
    def models():
        return get_current_context()["params"]["models"]

    # A try that is lost, with its worker or the service, costs the layers in flight: --resume keeps the others.
    @task(retries=10, retry_delay=datetime.timedelta(seconds=30), retry_exponential_backoff=True,
          max_retry_delay=datetime.timedelta(minutes=10), max_active_tis_per_dagrun=2)
    def quantize(model):
        params = get_current_context()["params"]
        source = f"{params['folder']}/{model}"
        output = f"{source}-{params['method']}"
        metrics = ["--metrics-listen", params["metrics"], "--metrics-linger", "60"] if params["metrics"] else []
        quantctl("quantize", source, "--output", output, "--method", params["method"], "--server", params["server"],
                 "--jobs", "8", "--resume", *metrics)
        return {"source": source, "output": output}

    @task
    def verify(result):
        quantctl("verify", result["output"], "--source", result["source"])

    # A group a checkpoint: one that fails holds no other up.
    @task_group
    def checkpoint(model):
        verify(quantize(model))

    checkpoint.expand(model=models())


quantize_checkpoints()
