"""docs/capacity.md from the rates and the simulation."""

import concurrent.futures
import re
import textwrap

from models import METHODS, MODELS
from scenario import GIB, LETTERS, MOST_IN_FLIGHT, run

WIDTH = 120

REPLICAS = (1, 4, 16, 64, 256)
NETWORK, OTHER_NETWORKS = 25, (10, 100)  # Gb/s


def number(value):
    """Two digits that count; all of what stands before the point."""
    if value >= 10:
        return f"{value:,.0f}"
    digits = 1
    while value < 10 ** (1 - digits) and digits < 4:
        digits += 1
    return f"{value:.{digits}f}"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def simulate_all(rates, site, models):
    """{(model, method, replicas, network): Cell}, on all cores of this machine."""
    wanted = [(model.name, method, replicas, network) for model in models for method in METHODS
              for network in (NETWORK, *OTHER_NETWORKS) for replicas in REPLICAS]
    by_name = {model.name: model for model in models}
    with concurrent.futures.ProcessPoolExecutor() as pool:
        cells = pool.map(run, *zip(*[(rates, site, by_name[one[0]], *one[1:]) for one in wanted]), chunksize=8)
        return dict(zip(wanted, cells))


def hours(cell):
    return f"{number(cell.hours)} {cell.letter}"


def model_section(model, cells, rates):
    rows = []
    for method in METHODS:
        line = [cells[model.name, method, replicas, NETWORK] for replicas in REPLICAS]
        rows.append([method, *(hours(cell) for cell in line)])
        rows.append(["cost", *(number(cell.cost) for cell in line)])
    jobs = rates.jobs(model, "GPTQ")
    uploads = {method: sum(job.input for job in rates.jobs(model, method)) / 1e12 for method in METHODS}
    peaks = {method: max(job.peak for job in rates.jobs(model, method)) / GIB for method in METHODS}
    text = (f"{model.note}; {model.weights() / 1e9:,.1f} billion weights in {len(jobs):,} requests"
            f" ({len(rates.jobs(model, 'RTN')):,} for RTN). "
            "Upload and largest job: " + "; ".join(f"{method} {number(uploads[method])} TB, {number(peaks[method])} GiB"
                                                   for method in METHODS) + ".")
    head = [f"{model.name}, {NETWORK} Gb/s", *(f"{count} replica{'s' * (count > 1)}" for count in REPLICAS)]
    return f"### {model.name}\n\n{text}\n\n{table(head, rows)}\n"


def network_section(models, cells):
    rows = [[model.name, method, f"{network} Gb/s", *(hours(cells[model.name, method, count, network])
                                                      for count in REPLICAS)]
            for model in models for method in METHODS for network in OTHER_NETWORKS]
    return table(["model", "method", "network", *map(str, REPLICAS)], rows)


def check_section(check):
    first = check["rows"][0]
    rows = []
    for row in check["rows"]:
        gains = [first[way] / row[way] for way in ("measured", "simulated")]
        rows.append([str(row["replicas"]), f"{row['measured']:.1f} s", f"{row['simulated']:.1f} s",
                     f"{row['simulated'] / row['measured']:.2f}", *(f"{gain:.2f}" for gain in gains),
                     f"{gains[1] / gains[0]:.2f}"])
    return table(["replicas", "measured", "simulated", "ratio", "gain, measured", "gain, simulated", "ratio"], rows)


def wrapped(text):
    """Paragraphs and list items in lines of a readable length; tables and headings as they are."""
    blocks = []
    for block in text.strip().split("\n\n"):
        if block.startswith("- "):
            items = re.split(r"\n(?=- )", block)
            block = "\n".join(textwrap.fill(" ".join(item.split()), WIDTH, subsequent_indent="  ",
                                            break_on_hyphens=False) for item in items)
        elif not block.startswith(("#", "|")):
            block = textwrap.fill(" ".join(block.split()), WIDTH, break_on_hyphens=False)
        blocks.append(block)
    return "\n\n".join(blocks) + "\n"


def assumptions(stored, site):
    machine, wire = stored["machine"], stored["wire"]
    more = site.cores / machine["cores"]
    methods = "; ".join(f"{name}: {ways['is']}" for name, ways in METHODS.items())
    return table(["what", "taken to be"], [
        ["replica", f"{site.cores:g} cores, {site.memory:g} GiB of memory, of which jobs may use "
                    f"{site.budget() / GIB:.1f} GiB (`--budget` at its default)"],
        ["core", f"one of the {machine['cores']} of the machine where the rates were taken ({machine['cpu']}, "
                 f"{machine['blas']}); {site.cores:g} of them are taken to be {more:g} times as fast as "
                 f"{machine['cores']}, which was not measured"],
        ["network", "one client and all replicas, each with a link of the same speed each way; one connection moves at "
                    f"most {wire['connection_gb_per_second']:g} GB/s ([performance.md](performance.md))"],
        ["client", f"its disk reads and writes {site.disk:g} GB/s together, as a local NVMe disk does; `--jobs` of "
                   f"{site.jobs} for each replica, at most {MOST_IN_FLIGHT}"],
        ["order", "the requests of the longest predicted work first, to the replicas in turn, as quantctl sends them"],
        ["methods", methods],
        ["weights, H", "BF16; H in F32 as upper triangle ([statistics.md](statistics.md)), each module with its own "
                       "copy in the file; modules with the same input share a request"],
        ["price", f"{site.price:.2f} for a replica-hour, to be replaced by your own; paid for all replicas until the "
                  "last layer is written. Client, disk and the making of statistics are not in it"],
    ])


def check_text(check):
    return f"""
A checkpoint of {check['model']}, quantized with {check['method']} by replicas of one thread each, all on one machine
of {check['cores']} cores, so that a third replica cannot gain much; the simulation is told so. Best of
{check['rounds']} rounds. `ratio` is simulated by measured, `gain` is against one replica.
`tests/deploy/capacity_test.py` repeats it, and checks that calls go to the replicas in turn.

{check_section(check)}"""


def write(rates, site, models=MODELS):
    stored = rates.stored
    machine, cores = stored["machine"], stored["machine"]["cores"]
    cells = simulate_all(rates, site, models)
    letters = "\n".join(f"- **{letter}**: {text}." for letter, text in LETTERS.items())
    return wrapped(f"""
# Capacity: how many replicas, how many hours, what cost

Hours that `quantctl quantize` takes for a model, and what holds it up, for {REPLICAS[0]} to {REPLICAS[-1]} replicas of
quantd. The figures are simulated, from what quantd's own cost model says of every request. They serve to decide between
4 and 16 replicas, or between one network and another; for the model and server at hand ask `quantctl estimate`.

This page is written by `python3 deploy/capacity/simulate.py --output docs/capacity.md`. The script takes your own
figures: `--cores`, `--memory`, `--disk`, `--jobs`, `--price`.

## What is assumed

{assumptions(stored, site)}

## How to read the tables

A cell has the hours from the start to the last layer, and a letter for what holds the run up:

{letters}

C, N and D stand for what is busy at least three quarters of the time, S for at least half of the run. Without either,
the letter is what most of the replicas' idle time waits for. With C more replicas help, with M those of more memory,
with J more `--jobs`; with L, N, D and S no number of replicas helps. Below the hours stands the cost of the replicas.

{chr(10).join(model_section(model, cells, rates) for model in models)}

### With other networks

{network_section(models, cells)}

## What the tables do not tell

- These runs were never made, and the larger models were never here. Times are the cost model's: for AQLM within 25 % of
what was measured on the layers of [performance.md](performance.md), for GPTQ see the check below.
- Whether {site.cores:g} cores are {site.cores / cores:g} times as fast as {cores}. Neighbours on the same machine,
memory that does not keep up and lower clocks cost time.
- How long it takes to make the statistics, which needs the model's own forward pass, and to copy what is not quantized.
- Lost replicas, rollouts, autoscaling, and the time until a new replica is found.
- Replicas of unequal speed: each gets as many requests as the others, and the slowest one is the last to end.
- TLS, the client's cores, congestion elsewhere in the network, and a disk that others use, too.
- More than one client. Parts of a model (`--include`) by several clients go into as many folders, which nothing here
joins.

## The check against real runs

{check_text(stored["check"]).strip()}

`simulate.py --measure` renews the rates, `--check` the check; both are kept in `deploy/capacity/rates.json` (quantd
{machine['quantd']}, {machine['cpu']}, {cores} cores, {machine['blas']}).
""")
