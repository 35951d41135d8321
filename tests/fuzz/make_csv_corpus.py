#!/usr/bin/env python3
"""Writes the seeds of the fuzz target `csv`; run from the repository root."""

import pathlib

CORPUS = pathlib.Path("tests/fuzz/corpus/csv")

SEEDS = {
    "points": b"N,Q_r,Q_b,delta\n7,0.9,16,0.1068\n1.8,0.5,128,0.02\n",
    "comments_and_blanks": b"# measured on a Tuesday\n\n  a , b\t,c \n 1,2 , 3\n\n#end\n4,5,6",
    "windows": b"a,b\r\n1,2\r\n",
    "one_column": b"loss\n0.5\n0.25\n",
    "numbers": b"x\nnan\ninf\n-1e999\n0x1p3\n1_000\n1e-400\n \n",
    "too_few_cells": b"a,b,c\n1,2\n",
    "too_many_cells": b"a,b\n1,2,3\n",
    "column_twice": b"a,b,a\n",
    "column_without_name": b"a,,b\n",
    "only_comments": b"# nothing\n#\n",
    "empty": b"",
    "quotes": b'"a,b",c\n1,2,3\n',
    "empty_cells": b"a,b\n,\n1,\n",
    "nul_and_high_bytes": b"a,\x00b\n\xff,\xc3\xa9\n",
    "byte_order_mark": b"\xef\xbb\xbfa,b\n1,2\n",
}

CORPUS.mkdir(parents=True, exist_ok=True)
for name, seed in SEEDS.items():
    (CORPUS / name).write_bytes(seed)
