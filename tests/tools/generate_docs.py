"""Writes the pages of docs/ that programs know better than people: what their --help says.

Usage: generate_docs.py BIN_DIR [--check] [--docs DIR]

docs/cli.md             quantctl --help, then each command's
docs/methods.md         quantctl methods, then each method's own text
docs/server-options.md  quantd --help
docs/metrics.md         the tables of server/telemetry/metric_table.h and client/telemetry/metric_table.h
With --check nothing is written; exit 1 when a page differs from what the binaries of BIN_DIR say.
"""

import argparse
import difflib
import os
import re
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
SERVER_METRICS = os.path.join(ROOT, "server", "telemetry", "metric_table.h")
RUN_METRICS = os.path.join(ROOT, "client", "telemetry", "metric_table.h")
NOTE = "<!-- Written by `make docs` from the programs themselves: change them, not this page. -->\n\n"


def say(bin_dir, program, *words):
    """What a program prints, without the folder it was started from."""
    # A fixed width and no terminal: the page is the same wherever it is written.
    environment = {**os.environ, "COLUMNS": "100", "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    path = os.path.join(bin_dir, program)
    run = subprocess.run([path, *words], capture_output=True, text=True, check=True, env=environment)
    text = run.stdout.replace(os.path.abspath(path), program).replace(path, program)
    # CLI11 keeps the options that exclude one another in the order of their addresses.
    text = re.sub(r"(?<=Excludes:)(?: --[\w-]+)+", lambda found: " " + " ".join(sorted(found[0].split())), text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def subcommands(help_text):
    """Names below "Subcommands:" of a CLI11 help text."""
    names, inside = [], False
    for line in help_text.splitlines():
        if line.lower().startswith("subcommands"):
            inside = True
        elif inside and re.match(r"  \S", line):
            names.append(line.split()[0])
        elif inside and line and not line.startswith(" "):
            break
    return names


def block(text):
    return f"```\n{text}\n```\n"


def cli_page(bin_dir):
    top = say(bin_dir, "quantctl", "--help")
    page = "# quantctl, all commands and options\n\n" + NOTE + block(top)
    for name in subcommands(top):
        page += f"\n## quantctl {name}\n\n" + block(say(bin_dir, "quantctl", name, "--help"))
    return page


def method_names(table):
    """First words of the rows between the rule below the titles and the next empty line."""
    names, inside = [], False
    for line in table.splitlines():
        if set(line) == {"-", " "}:
            inside = True
        elif inside and not line:
            break
        elif inside:
            names.append(line.split()[0])
    return names


def methods_page(bin_dir):
    # Lines about the machine at hand would make the page differ from machine to machine.
    lines = say(bin_dir, "quantctl", "methods").splitlines()
    text = "\n".join(line for line in lines if not re.match(r"(server|cpu|blas|threads|budget) ", line))
    page = ("# Methods, layouts and their options\n\n" + NOTE +
            "A method is a preset over shared axes. Every axis that is not marked fixed can be changed: `--set KEY=VALUE` on the "
            "command line, the same keys in a [recipe](recipes.md). What the figures of a report mean stands in "
            "[quantize-a-checkpoint.md](quantize-a-checkpoint.md), what a statistics file holds in [statistics.md](statistics.md)."
            "\n\n" + block(text))
    for name in method_names(text):
        page += f"\n## {name}\n\n" + block(say(bin_dir, "quantctl", "methods", name))
    return page


def server_page(bin_dir):
    return ("# quantd, all options\n\n" + NOTE + "An option can also be given by the environment variable in "
            "its line.\n\n" + block(say(bin_dir, "quantd", "--help")) + "\n## quantd health\n\n" +
            block(say(bin_dir, "quantd", "health", "--help")))


def metric_rows(header):
    """A table of what a metric_table.h defines."""
    with open(header, encoding="utf-8") as file:
        rows = re.findall(r'=\s*\{\s*"(\w+)",\s*"(\w+)",\s*"([\w,]*)",((?:\s*"[^"]*")+)\}', file.read())
    table = "| name | type | labels | meaning |\n|---|---|---|---|\n"
    for name, kind, labels, text in rows:
        meaning = "".join(re.findall(r'"([^"]*)"', text))
        table += f"| `{name}` | {kind} | {labels.replace(',', ', ')} | {meaning} |\n"
    return table


def metrics_page(_):
    return ("# Metrics\n\n" + NOTE + "A change of a name is a breaking change.\n\n## Of quantd\n\n`GET /metrics` on "
            "`--metrics-listen`. Labels have closed sets of values; clients cannot add any.\n\n" +
            metric_rows(SERVER_METRICS) + "\n## Of a run of quantctl\n\n`GET /metrics` on `quantctl quantize "
            "--metrics-listen`, while the run goes on. Of layers, only the 50 worst have series of their own.\n\n" +
            metric_rows(RUN_METRICS))


PAGES = {"cli.md": cli_page, "methods.md": methods_page, "server-options.md": server_page, "metrics.md": metrics_page}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bin")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--docs", default=os.path.join(ROOT, "docs"))
    args = parser.parse_args()

    stale = 0
    for name, make in PAGES.items():
        path = os.path.normpath(os.path.join(args.docs, name))
        page = make(args.bin)
        if not args.check:
            with open(path, "w", encoding="utf-8") as file:
                file.write(page)
            continue
        old = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                old = file.read()
        if old != page:
            stale += 1
            print("".join(difflib.unified_diff(old.splitlines(True), page.splitlines(True), name, "now")))
    if stale:
        sys.exit(f"docs: {stale} pages are out of date; run `make docs`")
    print("docs: the generated pages are current" if args.check else "docs: written")


if __name__ == "__main__":
    main()
