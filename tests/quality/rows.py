"""The rows of docs/quality.md: which method, which settings, which widths, which statistics.

A row is one `quantctl quantize` a width. `settings` are spec fields by the names that `quantctl methods NAME` prints;
they become --set. Change flags here and nowhere else.
"""

import dataclasses

WIDTHS = (4, 3, 2)


class RowError(Exception):
    """A row that could not be made; the text is quantctl's first line of complaint."""


@dataclasses.dataclass(frozen=True)
class Row:
    key: str  # unique; checks name rows by it
    title: str  # as on the page; unique within its table
    method: str
    settings: str = ""  # "order=natural,group-size=64"
    widths: tuple = WIDTHS  # (None,): the method has one width, --bits is not given
    statistics: str = "plain"  # which file of statistics.py
    table: str = "main"
    label: str = ""  # tables of one width: the bits as people say them

    def command(self, width):
        """Arguments of quantctl that make the row, without paths."""
        arguments = ["--method", self.method]
        if width is not None:
            arguments += ["--bits", str(width)]
        return arguments + (["--set", self.settings] if self.settings else [])


def _one(key, title, method, label, settings="", **more):
    return Row(key, title, method, settings, (None,), table="formats", label=label, **more)


def _additive(key, title, settings, label):
    return Row(key, title, "aqlm", settings, (None,), table="additive", label=label)


def _groups(key, method, settings=""):
    prefix = settings + "," if settings else ""
    return [Row(f"{key}-g{size}", f"{key}, asymmetric, groups of {size}", method,
                f"{prefix}symmetry=asymmetric,group-size={size}", table="groups") for size in (64, 32, 16)]


ROWS = [
    Row("rtn", "rtn", "rtn"),
    Row("rtn-out", "rtn, asymmetric", "rtn", "symmetry=asymmetric"),
    Row("rtn-in", "rtn, asymmetric, per-IC", "rtn", "symmetry=asymmetric,group-axis=in"),
    Row("rtn-shrink", "rtn, shrink search", "rtn", "fit=shrink-search"),
    Row("adadim-rtn", "adadim-rtn", "adadim-rtn"),
    Row("hqq", "hqq (groups of 64)", "hqq"),
    Row("hqq-0", "hqq, axis 0 (groups of 64)", "hqq", "group-axis=in,strided=true"),
    Row("awq", "awq", "awq"),
    Row("gptq-natural", "gptq, natural order", "gptq", "order=natural"),
    Row("gptq", "gptq", "gptq"),
    Row("gptq-out", "gptq, asymmetric", "gptq", "symmetry=asymmetric"),
    Row("gptq-in", "gptq, asymmetric, per-IC", "gptq", "symmetry=asymmetric,group-axis=in"),
    Row("adadim-gptq", "adadim-gptq", "adadim-gptq"),
    Row("awq-gptq", "awq, then gptq", "awq", "solver=gptq"),
    Row("quarot", "quarot", "quarot"),
    Row("kmeans-row", "kmeans, a table a row", "kmeans", "granularity=row"),
    Row("kmeans-tensor", "kmeans, a table a tensor", "kmeans", "granularity=tensor"),
    Row("kmeans-column", "kmeans, a table a column", "kmeans", "granularity=column"),
    Row("kmeans-group", "kmeans, a table a group of 128", "kmeans", "granularity=group"),
    Row("squeezellm-dense", "squeezellm, dense", "squeezellm", "outliers=none", statistics="fisher"),
    Row("squeezellm", "squeezellm", "squeezellm", statistics="fisher"),
    Row("spqr", "spqr (groups of 16)", "spqr"),
    Row("claq-plain", "claq, no outliers, equal bits", "claq", "outliers=none,allocation=uniform"),
    Row("claq", "claq", "claq"),
    Row("gptqt", "gptqt", "gptqt"),
    Row("gwq", "gwq", "gwq", statistics="gradient"),
    Row("owq", "owq", "owq"),
    Row("sparsegpt", "sparsegpt, 2:4", "sparsegpt", widths=(4,)),

    *_groups("rtn", "rtn"),
    *_groups("gptq", "gptq"),
    # What the outlier methods' bases cost one bit higher up: the end of their curves.
    Row("squeezellm-dense-5", "squeezellm, dense, 5 bits", "squeezellm", "outliers=none,bits=5", (None,),
        "fisher", "formats", "5"),
    Row("claq-plain-5", "claq, no outliers, equal bits, 5 bits", "claq", "outliers=none,allocation=uniform,bits=5",
        (None,), table="formats", label="5"),

    _one("nf4", "nf4", "nf4", "4"),
    _one("nf4-nested", "nf4, nested scales", "nf4", "4", "storage=nested"),
    _one("fp4", "fp4", "fp4", "4"),
    _one("mxfp4", "mxfp4", "mxfp4", "4"),
    _one("mxfp4-gptq", "mxfp4, gptq", "mxfp4", "4", "solver=gptq"),
    _one("nvfp4", "nvfp4", "nvfp4", "4"),
    _one("nvfp4-gptq", "nvfp4, gptq", "nvfp4", "4", "solver=gptq"),
    _one("mxint4", "mxint4", "mxint4", "4"),
    _one("fineq", "fineq", "fineq", "7 / 3"),
    _one("mixquant", "mixquant", "mixquant", "2 to 8"),
    _one("rtn-8", "rtn, 8 bits", "rtn", "8", "bits=8"),
    _one("smoothquant", "smoothquant", "smoothquant", "8"),
    _one("fp8", "fp8", "fp8", "8"),
    _one("mxfp8", "mxfp8", "mxfp8", "8"),
    _one("mxint8", "mxint8", "mxint8", "8"),

    _additive("aqlm-2x8", "aqlm 2x8", "scheme=2x8", "2"),
    _additive("aqlm-2x8-beam-8", "aqlm 2x8, eight hypotheses", "scheme=2x8,beam=8", "2"),
    _additive("aqlm-1x8g4", "aqlm 1x8g4", "scheme=1x8g4", "2"),
    _additive("aqlm-3x8", "aqlm 3x8", "scheme=3x8", "3"),

    Row("drift-rtn", "rtn", "rtn", table="drift"),
    Row("drift-gptq-plain", "gptq, H of full-precision inputs", "gptq", table="drift"),
    Row("drift-gptq", "gptq, H of drifted inputs", "gptq", statistics="drift", table="drift"),
    Row("qep", "qep", "qep", statistics="drift", table="drift"),
    Row("gptaq", "gptaq", "gptaq", statistics="drift", table="drift"),

    Row("weighted-gptq-plain", "gptq, tokens alike", "gptq", table="weighted"),
    Row("weighted-gptq", "gptq, weighted tokens", "gptq", statistics="weighted", table="weighted"),
    Row("weighted-quarot", "quarot, tokens alike", "quarot", table="weighted"),
    Row("rsq", "rsq, weighted tokens", "rsq", statistics="weighted", table="weighted"),
]

# What additive codes are compared with at equal bits: gptq with act-order, at 2 and 3 bits.
ADDITIVE_BASES = [(key, width) for width in (2, 3) for key in (
    "gptq", "gptq-out", "gptq-g64", "gptq-g32", "gptq-g16")]

# Outlier methods and the rows that show what their base buys for more bits.
_GPTQ_GROUPS = ("gptq-out", "gptq-g64", "gptq-g32", "gptq-g16")
_RTN_GROUPS = ("rtn-out", "rtn-g64", "rtn-g32", "rtn-g16")
OUTLIER_BASES = [
    ("spqr", "gptq with smaller groups", _GPTQ_GROUPS),
    ("owq", "gptq with smaller groups", _GPTQ_GROUPS),
    ("gwq", "rtn with smaller groups", _RTN_GROUPS),
    ("squeezellm", "its dense part with more bits", ("squeezellm-dense", "squeezellm-dense-5")),
    ("claq", "its equal-bit tables with more bits", ("claq-plain", "claq-plain-5")),
]
