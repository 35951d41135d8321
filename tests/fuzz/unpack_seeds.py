#!/usr/bin/env python3
"""Writes the seed corpus of the unpack fuzz target into tests/fuzz/corpus/unpack.

A seed is a header (see HeaderByte in unpack_fuzz.cc) and bytes that are XORed over valid tensors.
"""
import pathlib
import random

LAYOUT = {"compressed-tensors": 0, "gptq": 1, "gptq-v2": 2, "plain": 3}
SYMMETRY = {"asymmetric": 1, "minmax": 2, "absmax": 3, "full-range": 4}
GRANULARITY = {"tensor": 1, "row": 2, "group": 3}
SCALE = {"F32": 1, "F16": 2, "BF16": 3}
NATURAL, ACT_ORDER = 0, 1
DYNAMIC = 0x80


def header(layout, bits, symmetry, granularity, m, n, group=32, scale="F16", order=NATURAL, stripe=0,
           damaged=0, field=0):
    return bytes([LAYOUT[layout], bits, SYMMETRY[symmetry], GRANULARITY[granularity], group,
                  SCALE[scale], order, m, n, stripe, damaged, field])


def noise(seed, count):
    return random.Random(seed).randbytes(count)


SEEDS = {
    "ct-int4-valid": header("compressed-tensors", 4, "minmax", "group", 3, 64),
    "ct-int4-asymmetric": header("compressed-tensors", 4, "asymmetric", "group", 40, 64, stripe=1)
    + noise(1, 1280),
    "ct-int3-odd-columns": header("compressed-tensors", 3, "absmax", "row", 5, 37, scale="BF16",
                                  damaged=1, field=2) + noise(2, 80),
    "ct-tensor-scale": header("compressed-tensors", 8, "full-range", "tensor", 2, 9, field=4),
    "ct-shape-lies": header("compressed-tensors", 4, "minmax", "row", 1, 8, field=5)
    + bytes(4 + 2) + b"\x01",
    "ct-scale-nan": header("compressed-tensors", 4, "minmax", "row", 1, 8, field=3)
    + bytes(4) + b"\x00\x42",
    "gptq-int4-valid": header("gptq", 4, "minmax", "group", 32, 64, damaged=2, field=1),
    "gptq-zero-wrong": header("gptq", 4, "minmax", "row", 32, 32) + bytes(512) + b"\x01",
    "gptq-v2-asymmetric": header("gptq-v2", 4, "asymmetric", "group", 64, 32, stripe=1)
    + noise(3, 1024 + 32),
    "gptq-v2-act-order": header("gptq-v2", 2, "asymmetric", "group", 32, 64,
                                order=ACT_ORDER | DYNAMIC) + bytes(512 + 16 + 128)
    + b"\x01\x00\x00\x00",
    "gptq-v2-index-out-of-range": header("gptq-v2", 3, "asymmetric", "group", 32, 64)
    + bytes(768 + 24 + 128) + b"\xff\xff\xff\xff",
    "gptq-int3": header("gptq", 3, "minmax", "row", 32, 96) + noise(4, 1152),
    "plain-int5-f32": header("plain", 5, "asymmetric", "group", 7, 50, scale="F32") + noise(5, 224),
    "plain-tensor-asymmetric": header("plain", 6, "asymmetric", "tensor", 33, 11, scale="F32",
                                      stripe=1) + noise(6, 290),
    "plain-act-order": header("plain", 7, "minmax", "group", 4, 70, order=ACT_ORDER | DYNAMIC)
    + bytes(4 * 62 + 24) + b"\x02",
    "plain-zero-too-large": header("plain", 2, "asymmetric", "row", 1, 4) + bytes(1 + 2) + b"\xff",
    "bits-out-of-range": header("plain", 9, "minmax", "row", 4, 4),
    "no-columns": header("plain", 4, "minmax", "row", 4, 0),
    "too-short": b"\x00",
}


def main():
    folder = pathlib.Path(__file__).parent / "corpus" / "unpack"
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in SEEDS.items():
        (folder / name).write_bytes(seed)


if __name__ == "__main__":
    main()
