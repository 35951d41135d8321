#!/usr/bin/env python3
"""Hours, bottleneck and cost of quantizing large models with quantd: writes docs/capacity.md.

Prints the page from the rates in rates.json; the standard library is enough. --measure renews the rates and --check the
comparison with real runs: both start the quantd of QUANTD_BIN_DIR, on a machine that should be idle.
"""

import argparse
import json
import os
import sys

import page
from scenario import Rates, Site

RATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "rates.json")
CHECK_ROUNDS = 3


def load():
    with open(RATES, encoding="utf-8") as file:
        return json.load(file)


def store(rates):
    with open(RATES + ".new", "w", encoding="utf-8") as file:
        json.dump(rates, file, indent=1)
        file.write("\n")
    os.replace(RATES + ".new", RATES)


def measured():
    import measure  # here: pages are written without gRPC and without a server
    rates = measure.rates()
    if os.path.exists(RATES):
        rates["check"] = load().get("check")
    return rates


def checked(rates):
    import check
    return dict(rates, check=check.run(rates, CHECK_ROUNDS))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Site()
    parser.add_argument("--cores", type=float, default=default.cores, help="of a replica (default %(default)g)")
    parser.add_argument("--memory", type=float, default=default.memory, metavar="GIB",
                        help="of a replica (default %(default)g)")
    parser.add_argument("--disk", type=float, default=default.disk, metavar="GB_PER_SECOND",
                        help="what the client reads and writes together (default %(default)g)")
    parser.add_argument("--jobs", type=int, default=default.jobs,
                        help="in flight, for each replica (default %(default)d)")
    parser.add_argument("--price", type=float, default=default.price, help="of a replica-hour (default %(default).2f)")
    parser.add_argument("--output", metavar="FILE", help="where the page goes; default: standard output")
    parser.add_argument("--measure", action="store_true", help="renew the rates first")
    parser.add_argument("--check", action="store_true", help="renew the comparison with real runs first")
    return parser.parse_args()


def main():
    asked = arguments()
    if asked.measure:
        store(measured())
    if asked.check:
        store(checked(load()))
    site = Site(cores=asked.cores, memory=asked.memory, disk=asked.disk, jobs=asked.jobs, price=asked.price)
    try:
        text = page.write(Rates(load()), site)
    except ValueError as error:
        sys.exit(f"error: {error}")
    if asked.output is None:
        sys.stdout.write(text)
        return
    with open(asked.output, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
