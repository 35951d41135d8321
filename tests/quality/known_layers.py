"""Additive codes on made-up layers with known figures: what aqlm_cases prints, as tables and checks."""

import dataclasses
import subprocess

import page
from figures import Check

# Of a plain implementation (numpy, one seed), by case and method: error and, where asked for, the most that this
# tree may leave.
FIGURES = {
    ("correlated", "rtn,bits=2,symmetry=asymmetric"): (0.257, None),
    ("correlated", "rtn,bits=3,symmetry=asymmetric"): (0.0454, None),
    ("correlated", "rtn,bits=4,symmetry=asymmetric"): (0.0099, None),
    ("correlated", "gptq,bits=2,symmetry=asymmetric,order=natural,timing=dynamic"): (0.133, None),
    ("correlated", "gptq,bits=3,symmetry=asymmetric,order=natural,timing=dynamic"): (0.0126, None),
    ("correlated", "gptq,bits=4,symmetry=asymmetric,order=natural,timing=dynamic"): (0.0024, None),
    ("correlated", "paper"): (0.0162, None),
    ("correlated", "aqlm,scheme=2x8,refine-rounds=0"): (0.0162, 0.0175),
    ("correlated", "aqlm,scheme=2x8,refine-rounds=0,beam=8"): (0.0134, 0.0145),
    ("correlated", "aqlm,scheme=2x8"): (0.0162, 0.0175),
    ("correlated", "aqlm,scheme=2x8,update=adam,update-steps=100"): (0.0162, 0.0175),
    ("correlated", "aqlm,scheme=2x8,beam=4"): (0.0141, None),
    ("correlated", "aqlm,scheme=2x8,beam=8"): (0.0134, 0.0145),
    ("correlated", "aqlm,scheme=1x8g4"): (0.0154, None),
    ("correlated", "aqlm,scheme=3x8"): (0.0051, None),
    ("correlated", "aqlm,scheme=3x8,refine-rounds=0"): (0.0051, None),
    ("correlated", "aqlm,scheme=4x8"): (0.0015, None),
    ("correlated", "aqlm,scheme=4x8,refine-rounds=0"): (0.0015, None),
    ("independent", "aqlm,scheme=1x8g4,rounds=0"): (0.0955, 0.0955 * 1.05),
    ("independent", "aqlm,scheme=2x8,rounds=0"): (0.1001, 0.1001 * 1.05),
    ("independent", "aqlm,scheme=1x8,rounds=0"): (0.3145, 0.3145 * 1.05),
    ("independent", "aqlm,scheme=3x8,rounds=0"): (0.0331, 0.0331 * 1.05),
    ("independent", "aqlm,scheme=2x8"): (0.0991, 0.0991 * 1.05),
}
HEADINGS = {
    "correlated": "Known layers: correlated inputs",
    "independent": "Known layers: independent inputs, H = I",
}
TITLES = {"paper": "AQLM as its paper runs it (2x8, Adam, plain loops)"}
# Of the error of rounding and of gptq in natural order, both at 2 bits: as much as a 2-bit code may leave.
SHARES = (("rtn,bits=2,symmetry=asymmetric", 0.15), ("gptq,bits=2,symmetry=asymmetric,order=natural", 0.25))


@dataclasses.dataclass
class Known:
    case: str
    method: str
    error: float
    weight_error: float
    bits: float
    bound: float
    seconds: float


def run(bin_dir):
    program = bin_dir / "aqlm_cases"
    if not program.exists():
        raise SystemExit(f"{program} is not built: cmake --build {bin_dir.parent} --target aqlm_cases")
    # A run that fails says so itself, and its line is missing: checks() finds it.
    done = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=False)
    found = parse(done.stdout)
    for one in found:
        print(f"  {one.case}: {one.method}: error {one.error:.4g} at {one.bits:.3f} bpw   [{one.seconds:.1f} s]")
    return found


def parse(text):
    lines = (line.split() for line in text.splitlines())
    return [Known(words[0], words[1], *map(float, words[2:7])) for words in lines if len(words) == 7]


def tables(known):
    result = []
    for case, heading in HEADINGS.items():
        table = page.Table(heading, ["row", "error", "figure", "weight error", "bpw", "bound"])
        for one in known:
            if one.case == case:
                figure = FIGURES.get((one.case, one.method), (float("nan"), None))[0]
                table.add(TITLES.get(one.method, one.method.replace(",", ", ")), page.figure(one.error),
                          page.figure(figure), page.figure(one.weight_error), f"{one.bits:.3f}",
                          page.figure(one.bound))
        result.append(table)
    return result


def checks(known):
    errors = {(one.case, one.method): one.error for one in known}
    missing = [f"{case}: {method}" for case, method in FIGURES if (case, method) not in errors]
    missed = [f"{case}: {method}: {errors[case, method]:.4g} > {most:.4g}"
              for (case, method), (_, most) in FIGURES.items()
              if most is not None and errors.get((case, method), 0) > most]
    below = [f"{one.case}: {one.method}" for one in known if one.error < one.bound]
    found = [Check("known layers: every row runs", not missing, "; ".join(missing) or f"{len(known)} rows"),
             Check("known layers: additive codes reach their figures", not missed, "; ".join(missed) or "all"),
             Check("known layers: nothing below the rate-distortion bound", not below, "; ".join(below) or "all rows")]
    paper, ours = errors.get(("correlated", "paper")), errors.get(("correlated", "aqlm,scheme=2x8"))
    if paper and ours:
        found.append(Check("known layers: 2x8 is at most 2 % worse than the paper's loop", ours <= 1.02 * paper,
                           f"{ours / paper:.3f} x"))
    for base, share in SHARES:
        worse = errors.get(("correlated", base))
        if worse and ours:
            found.append(Check(f"known layers: 2x8 leaves less than {share} of `{base}`", ours < share * worse,
                               f"{ours / worse:.3f} x"))
    return found
