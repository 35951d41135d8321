#!/usr/bin/env python3
"""Writes the seed corpus of the unpack fuzz target into tests/fuzz/corpus/unpack.

A seed is a header (see HeaderByte in unpack_fuzz.cc) and bytes that are XORed over the valid tensors of a
neutral weight, one tensor after the other.
"""
import pathlib
import random

LAYOUT = {name: i for i, name in enumerate([
    "compressed-tensors", "int-quantized", "float-quantized", "nvfp4-pack-quantized",
    "mxfp4-pack-quantized", "mxfp8-quantized", "gptq", "gptq-v2", "bitsandbytes", "spqr", "aqlm", "plain"])}
LEVELS = {"affine": 1, "minifloat": 2, "fixed": 3, "learned": 4, "binary": 5, "cluster": 6,
          "additive": 7}
SYMMETRY = {"asymmetric": 1, "minmax": 2, "absmax": 3, "full-range": 4}
ZERO = {"integer": 1, "real": 2}
FORMAT = {"e2m1": 1, "e4m3": 2, "e5m2": 3, "e3m2": 4, "e2m3": 5, "nf4": 1, "fp4": 2}
GRANULARITY = {"tensor": 1, "row": 2, "group": 3, "column": 4}
AXIS = {"out": 1, "in": 2, "adaptive": 3}
STORAGE = {"f16": 1, "bf16": 2, "f32": 3, "e8m0": 4, "e4m3": 5, "int": 6, "nested": 7, "table": 8}
OUTLIERS = {"none": 1, "range": 2, "fisher": 3, "range-fisher": 4, "gradient": 5, "threshold": 6,
            "column-share": 7}
ALLOCATION = {"uniform": 1, "column-score": 2}
SCALING = {"none": 1, "awq": 2}
ROTATION = {"none": 1, "input": 2, "both": 3}
NATURAL, ACT_ORDER = 0, 1
DYNAMIC = 0x80


def header(layout, m, n, levels="affine", bits=4, symmetry="minmax", zero="integer", form="e2m1",
           granularity="group", axis="out", group=32, storage="f16", scale_bits=3, super_group=16,
           order=NATURAL, kind="none", share=25, kept=0, recent=0, allocation="uniform", high_bits=4,
           scaling="none", rotation="none", stripe=0, outliers=0, damaged=0, field=0, books=2,
           book_bits=8, out_group=1, in_group=8):
    return bytes([
        LAYOUT[layout], LEVELS[levels], bits, SYMMETRY[symmetry] | ZERO[zero] << 4, FORMAT[form],
        GRANULARITY[granularity] | AXIS[axis] << 4, group, STORAGE[storage] | scale_bits << 4,
        super_group, order, OUTLIERS[kind], share, kept | recent << 4,
        ALLOCATION[allocation] | high_bits << 4, SCALING[scaling] | ROTATION[rotation] << 4, m, n,
        stripe, outliers, damaged, field, books | (book_bits - 1) << 4, out_group | in_group << 4])


def noise(seed, count):
    return random.Random(seed).randbytes(count)


def at(offset, *values):
    """`values` over the bytes from `offset` on."""
    return bytes(offset) + bytes(values)


def plain(m, n, **keys):
    return header("plain", m, n, **keys)


def claq(**keys):
    return plain(8, 10, levels="learned", bits=2, granularity="column", allocation="column-score", **keys)


def sparse(**keys):
    # codes 8 x 8, scales 16, rows 36, then 8 columns of U16 and 8 values: outliers at 100
    return plain(8, 16, granularity="row", kind="range", share=100, outliers=8, **keys)


def aqlm(m, n, **keys):
    return header("aqlm", m, n, levels="additive", granularity="row", **keys)


def additive(m, n, in_group=8, granularity="group", **keys):
    return plain(m, n, levels="additive", granularity=granularity, group=in_group, in_group=in_group, **keys)


NVFP4 = dict(levels="minifloat", group=16, storage="e4m3")
MXFP4 = dict(levels="minifloat", group=32, storage="e8m0")
MXFP8 = dict(levels="minifloat", bits=8, form="e4m3", group=32, storage="e8m0")
NF4 = dict(levels="fixed", form="nf4", group=64, storage="f32")
SPQR = dict(bits=3, symmetry="asymmetric", zero="real", group=16, storage="int", kind="threshold",
            share=100, outliers=6)

SEEDS = {
    "ct-int4-valid": header("compressed-tensors", 3, 64),
    "ct-int4-asymmetric": header("compressed-tensors", 40, 64, symmetry="asymmetric", stripe=1)
    + noise(1, 1280),
    "ct-int3-odd-columns": header("compressed-tensors", 5, 37, bits=3, symmetry="absmax",
                                  granularity="row", storage="bf16", damaged=1, field=2) + noise(2, 80),
    "ct-tensor-scale": header("compressed-tensors", 2, 9, bits=8, symmetry="full-range",
                              granularity="tensor", field=4),
    "ct-shape-lies": header("compressed-tensors", 1, 8, granularity="row", field=5) + at(6, 1),
    "ct-scale-nan": header("compressed-tensors", 1, 8, granularity="row", field=3) + at(4, 0, 0x42),
    "ct-column-scale-zero": header("compressed-tensors", 1, 8, granularity="row", scaling="awq")
    + at(22, 0, 0, 0x80, 0x3F),
    "int8-valid": header("int-quantized", 40, 7, bits=8, granularity="row", stripe=1) + noise(7, 280),
    "int8-tensor": header("int-quantized", 4, 7, bits=8, granularity="tensor", storage="f32")
    + noise(8, 28),
    "fp8-valid": header("float-quantized", 5, 9, levels="minifloat", bits=8, form="e4m3",
                        granularity="row", storage="f32", scaling="awq"),
    "fp8-nan": header("float-quantized", 5, 9, levels="minifloat", bits=8, form="e4m3",
                      granularity="tensor", storage="bf16") + at(20, 0xFF),
    "nvfp4-valid": header("nvfp4-pack-quantized", 3, 48, **NVFP4) + noise(9, 72),
    "nvfp4-scale-nan": header("nvfp4-pack-quantized", 3, 48, **NVFP4) + at(72, 0x7E),
    "nvfp4-no-reciprocal": header("nvfp4-pack-quantized", 3, 48, **NVFP4)
    + at(81, 0, 0, 0x80, 0x3F),
    "nvfp4-another-multiplier": header("nvfp4-pack-quantized", 3, 48, **NVFP4)
    + at(81, 0x11, 0x22, 0x33, 0x04),
    "mxfp4-valid": header("mxfp4-pack-quantized", 40, 64, stripe=1, **MXFP4) + noise(10, 1280),
    "mxfp4-scale-nan": header("mxfp4-pack-quantized", 2, 32, **MXFP4) + at(32, 0xFE),
    "mxfp8-valid": header("mxfp8-quantized", 3, 32, **MXFP8) + at(3, 1, 2, 3),
    "mxfp8-nan": header("mxfp8-quantized", 3, 32, **MXFP8) + at(95, 0x7F),
    "gptq-int4-valid": header("gptq", 32, 64, damaged=2, field=1),
    "gptq-zero-wrong": header("gptq", 32, 32, granularity="row") + at(512, 1),
    "gptq-v2-asymmetric": header("gptq-v2", 64, 32, symmetry="asymmetric", stripe=1)
    + noise(3, 1024 + 32),
    "gptq-v2-act-order": header("gptq-v2", 32, 64, bits=2, symmetry="asymmetric",
                                order=ACT_ORDER | DYNAMIC) + at(512 + 16 + 128, 1),
    "gptq-v2-index-out-of-range": header("gptq-v2", 32, 64, bits=3, symmetry="asymmetric")
    + at(768 + 24 + 128, 0xFF, 0xFF, 0xFF, 0xFF),
    "gptq-int3": header("gptq", 32, 96, bits=3, granularity="row") + noise(4, 1152),
    "bnb-nf4-valid": header("bitsandbytes", 3, 64, **NF4) + noise(11, 96),
    "bnb-fp4-valid": header("bitsandbytes", 33, 64, stripe=1, **{**NF4, "form": "fp4"}) + noise(12, 900),
    "bnb-nested-valid": header("bitsandbytes", 3, 128, **{**NF4, "storage": "nested"}) + noise(13, 198),
    "bnb-map-differs": header("bitsandbytes", 1, 64, **NF4) + at(32 + 4 + 9, 1),
    "bnb-state-differs": header("bitsandbytes", 1, 64, **NF4) + at(32 + 4 + 64 + 20, 1),
    "bnb-nested-offset": header("bitsandbytes", 1, 64, **{**NF4, "storage": "nested"})
    # "nested_offset": 0.0 of the text becomes 1.0
    + at(32 + 1 + 64 + 146, 1),
    "bnb-nested-map-nan": header("bitsandbytes", 1, 64, **{**NF4, "storage": "nested"})
    + at(32 + 1 + 64 + 171 + 4 + 4 + 2, 0xC0, 0x7F),
    "spqr-valid": header("spqr", 32, 48, stripe=0, **SPQR),
    "spqr-act-order": header("spqr", 16, 32, order=ACT_ORDER | DYNAMIC, scaling="awq", **SPQR)
    + at(256 + 68 + 24, 1, 0, 1),
    "spqr-permutation-repeats": header("spqr", 16, 32, order=ACT_ORDER | DYNAMIC, **SPQR)
    + at(256 + 68 + 24, 1),
    "spqr-rows-fall": header("spqr", 16, 32, **SPQR) + at(256 + 8, 0xFF),
    "spqr-column-out-of-range": header("spqr", 16, 32, **SPQR) + at(256 + 68 + 20, 0, 1),
    "spqr-second-level-disagrees": header("spqr", 16, 32, **SPQR) + at(7, 1),
    "spqr-codes": header("spqr", 16, 32, **SPQR) + (noise(14, 6) + bytes(2)) * 32,
    "spqr-no-outliers": header("spqr", 16, 16, **{**SPQR, "kind": "none"}),
    "plain-int5-f32": plain(5, 50, bits=5, symmetry="asymmetric", group=7, storage="f32") + noise(5, 200),
    "plain-tensor-asymmetric": plain(33, 11, bits=6, symmetry="asymmetric", granularity="tensor",
                                     storage="f32", stripe=1) + noise(6, 290),
    "plain-act-order": plain(4, 70, bits=7, group=4, order=ACT_ORDER | DYNAMIC)
    + at(4 * 62 + 4 * 18 * 2, 2),
    "plain-zero-too-large": plain(1, 4, bits=2, symmetry="asymmetric", granularity="row") + at(3, 0xFF),
    "plain-groups-down-columns": plain(40, 7, axis="in", group=9, symmetry="asymmetric", stripe=1)
    + noise(15, 160),
    "plain-per-column": plain(33, 7, granularity="column", bits=3) + noise(16, 99),
    "plain-adaptive": plain(4, 8, axis="adaptive"),
    "plain-real-zeros": plain(4, 8, symmetry="asymmetric", zero="real", group=4) + noise(17, 48),
    "plain-real-zero-infinite": plain(4, 8, symmetry="asymmetric", zero="real", group=8)
    + at(16 + 8, 0, 0x44),
    "plain-minifloat-e5m2": plain(4, 8, levels="minifloat", bits=8, form="e5m2", granularity="row")
    + at(7, 0x7C),
    "plain-minifloat-e3m2": plain(4, 8, levels="minifloat", bits=6, form="e3m2", granularity="row",
                                  storage="e8m0") + noise(18, 24),
    "plain-e4m3-scales": plain(4, 32, levels="minifloat", group=16, storage="e4m3") + noise(19, 70),
    "plain-tensor-scale-infinite": plain(1, 16, levels="minifloat", group=16, storage="e4m3")
    + at(9, 0, 0, 0, 0x40),
    "plain-int-scales": plain(40, 20, bits=3, symmetry="asymmetric", zero="real", group=8, storage="int",
                              super_group=3, stripe=0) + noise(20, 400),
    "plain-int-scales-symmetric": plain(40, 20, bits=3, group=8, storage="int", super_group=16),
    "plain-super-infinite": plain(16, 16, bits=3, symmetry="asymmetric", zero="real", group=16,
                                  storage="int") + at(96 + 16 + 16, 0, 0x40),
    "plain-nested": plain(5, 64, levels="fixed", form="fp4", group=64, storage="nested")
    + noise(21, 165),
    "plain-learned": plain(4, 9, levels="learned", bits=2, granularity="row") + noise(22, 12),
    "plain-learned-tensor": plain(4, 9, levels="learned", bits=3, granularity="tensor", storage="f32")
    + noise(23, 16),
    "plain-table-falls": plain(2, 4, levels="learned", bits=2, granularity="row") + at(2, 0, 1),
    "plain-table-nan": plain(2, 4, levels="learned", bits=2, granularity="row") + at(8, 1, 0x42),
    "plain-shared-table-falls": plain(2, 4, levels="learned", bits=2, granularity="tensor") + at(2, 0, 1),
    "plain-binary": plain(4, 9, levels="binary", bits=3, granularity="row") + noise(24, 16),
    "plain-binary-infinite": plain(2, 8, levels="binary", bits=2, granularity="row") + at(4, 0, 0x40),
    "plain-cluster": plain(4, 10, levels="cluster", bits=3, granularity="row")
    + (bytes([0x15, 0x25, 0x10]) + bytes(1)) * 4,
    "plain-cluster-unwritten-word": plain(1, 10, levels="cluster", bits=3, granularity="row")
    + at(0, 0x7F),
    "plain-cluster-tail": plain(1, 2, levels="cluster", bits=3, granularity="row") + at(0, 0x4C),
    "plain-column-bits": claq() + noise(25, 32),
    "plain-column-bits-zero": claq() + at(32 + 152, 4),
    "plain-column-bits-nine": claq() + at(32 + 152, 13),
    "plain-column-bits-moved": claq() + at(32 + 152, 6, 0, 0, 0, 6),
    "plain-column-bits-too-many": claq() + at(32 + 152 + 9, 6),
    "plain-outliers": sparse(),
    "plain-outlier-rows-fall": sparse() + at(64 + 16 + 4, 0x0F, 0xFF, 0xFF, 0xFF),
    "plain-outlier-rows-pass-the-end": sparse() + at(64 + 16 + 32, 1),
    "plain-outlier-column-out-of-range": sparse() + at(64 + 16 + 36 + 14, 0x70),
    "plain-outlier-columns-fall": sparse() + at(64 + 16 + 36, 4),
    "plain-outlier-infinite": sparse() + at(64 + 16 + 36 + 16, 0, 0x40),
    "plain-outliers-of-columns": plain(50, 9, granularity="column", kind="column-share", share=100,
                                       outliers=30),
    "plain-kept-columns": plain(4, 16, granularity="row", kept=8),
    "plain-kept-column-out-of-range": plain(4, 16, granularity="row", kept=8) + at(32 + 8 + 12, 0x10),
    "plain-kept-columns-fall": plain(4, 16, granularity="row", kept=8) + at(32 + 8 + 4, 3),
    "plain-kept-infinite": plain(4, 16, granularity="row", kept=8) + at(32 + 8 + 16, 0, 0x3C),
    "plain-recent-rows": plain(40, 8, granularity="row", recent=15, stripe=1),
    "plain-recent-infinite": plain(4, 8, granularity="row", recent=2) + at(16 + 8, 0, 0x3E),
    "plain-rotated": plain(4, 8, granularity="row", rotation="both", scaling="awq")
    + at(16 + 8, 0xFE),
    "plain-sign-zero": plain(4, 8, granularity="row", rotation="input") + at(16 + 8, 1),
    "aqlm-valid": aqlm(4, 32),
    # codes 40 x 4 x 2; only codes change
    "aqlm-2x8": aqlm(40, 32, stripe=1) + noise(26, 320),
    "aqlm-1x9-two-bytes": aqlm(4, 16, books=1, book_bits=9) + at(2, 0xFF, 0) + at(3, 0xFF, 0xFF),
    "aqlm-3x4-patches": aqlm(66, 12, books=3, book_bits=4, out_group=2, in_group=4, stripe=2)
    + bytes(b & 7 for b in noise(27, 297)),
    "aqlm-out-group-3": aqlm(96, 10, books=1, book_bits=2, out_group=3, in_group=5, damaged=2, field=2),
    "aqlm-code-out-of-range": aqlm(4, 16, books=1, book_bits=4) + at(5, 8),
    "aqlm-code-below-the-range": aqlm(4, 16, books=1, book_bits=4) + at(5, 0xF0),
    "aqlm-wide-code-out-of-range": aqlm(4, 16, books=1, book_bits=10) + at(7, 0x02),
    # codes 8, codebooks 2^2 x 4 numbers of 1.0
    "aqlm-codebook-nan": aqlm(4, 8, books=1, book_bits=2, in_group=4) + at(8 + 6, 1, 0x42),
    "aqlm-codebook-infinite": aqlm(4, 8, books=1, book_bits=2, in_group=4) + at(8 + 31, 0x40),
    "aqlm-codebook-negative-zero": aqlm(4, 8, books=1, book_bits=2, in_group=4) + at(8 + 6, 0, 0xBC),
    "aqlm-scale-infinite": aqlm(4, 8, books=1, book_bits=2, in_group=4) + at(8 + 32 + 2, 0, 0x40),
    "aqlm-patch-does-not-fill": aqlm(4, 12),
    "aqlm-column-scale": aqlm(4, 8, books=1, book_bits=2, in_group=4, scaling="awq", damaged=3, field=4),
    "plain-additive": additive(40, 32, granularity="row", book_bits=5, stripe=1) + noise(28, 200),
    "plain-additive-2x12": additive(4, 16, granularity="row", book_bits=12, in_group=2) + noise(29, 96),
    "plain-additive-1x16": additive(4, 6, granularity="row", books=1, book_bits=16, in_group=2)
    + noise(30, 24),
    # codes 4 x 2 x 4 / 8, then scales
    "plain-additive-patch-scales": additive(8, 16, books=1, book_bits=4, out_group=2) + noise(31, 4),
    "plain-additive-scale-nan": additive(8, 16, books=1, book_bits=4, out_group=2) + at(4 + 6, 1, 0x42),
    # codes 4, scale codes 4, tables 4 x 2^3, codebooks
    "plain-additive-scale-table": additive(8, 16, books=1, book_bits=4, out_group=2, storage="table")
    + noise(32, 8),
    "plain-additive-scale-table-infinite": additive(8, 16, books=1, book_bits=4, out_group=2,
                                                    storage="table") + at(8 + 10, 0, 0x40),
    "plain-additive-codebook-nan": additive(8, 16, books=1, book_bits=4, out_group=2)
    + at(4 + 16 + 20, 1, 0x42),
    "plain-additive-outliers": additive(8, 16, books=1, book_bits=4, kind="range", share=100, outliers=8),
    "plain-table-without-additive": plain(4, 8, storage="table"),
    "bits-out-of-range": plain(4, 4, bits=9),
    "no-columns": plain(4, 0),
    "too-short": b"\x00",
}


def main():
    folder = pathlib.Path(__file__).parent / "corpus" / "unpack"
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in SEEDS.items():
        (folder / name).write_bytes(seed)


if __name__ == "__main__":
    main()
