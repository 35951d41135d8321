"""Ray: quantizes checkpoints with the service quantd, a task a checkpoint.

    ray job submit --working-dir deploy/examples -- python ray_job.py /models/llama-3-8b /models/qwen3-4b --method gptq

quantctl and the folders must be on Ray's nodes; their namespace needs the label quantd-client=true. The tasks read,
send and write, the work is done by quantd's replicas: one CPU each is plenty.
"""

import argparse
import subprocess
import sys

import ray

# Exit codes of quantctl that a second try would repeat: wrong flags, files or values; layers that are not accepted.
FINAL = {2, 3}


class Interrupted(Exception):
    """The service was lost for too long, or the disk was full: --resume goes on from where it stopped."""


@ray.remote(num_cpus=1, max_retries=10, retry_exceptions=[Interrupted])
def quantize(source, method, server):
    """(output folder, exit code); a node that is lost is made good by Ray, on another one."""
    output = f"{source.rstrip('/')}-{method}"
    code = subprocess.run(["quantctl", "quantize", source, "--output", output, "--method", method, "--server", server,
                           "--jobs", "8", "--resume"], check=False).returncode
    if code != 0 and code not in FINAL:
        raise Interrupted(f"{source}: exit code {code}")
    return output, code


def main():
    parser = argparse.ArgumentParser(description="Quantizes checkpoints with quantd.")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--method", default="rtn")
    parser.add_argument("--server", default="dns:///quantd.quantd.svc:50051")
    arguments = parser.parse_args()
    tasks = [quantize.remote(model, arguments.method, arguments.server) for model in arguments.models]
    worst = 0
    for model, task in zip(arguments.models, tasks):
        try:
            output, code = ray.get(task)
        except Exception as error:  # the others' results are wanted all the same
            output, code = error, 1
        print(f"{model}: {output}, exit code {code}", flush=True)
        worst = max(worst, code)
    return worst


if __name__ == "__main__":
    sys.exit(main())
