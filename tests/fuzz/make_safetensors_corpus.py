#!/usr/bin/env python3
"""Writes the seeds of the safetensors fuzz target: one small file per line of the format's table of
good and damaged files. Run from anywhere; the result does not depend on anything but this script."""

import os
import struct

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "safetensors")


def entry(name, dtype, shape, offsets):
    return f'"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}'.encode()


def file(json, data=b"\x0f\x59\xc8\xa6", length=None):
    return struct.pack("<Q", len(json) if length is None else length) + json + data


W = entry("w", "I32", "[1]", "[0,4]")
V = entry("v", "I32", "[1]", "[4,8]")


def obj(*entries):
    return b"{" + b",".join(entries) + b"}"


SEEDS = {
    "golden": file(
        b'{"__metadata__":{"format":"pt"},"w":{"dtype":"I32","shape":[1,1],"data_offsets":[0,4]}} '
    ),
    "trailing_byte": file(obj(W), b"12345"),
    "short_buffer": file(obj(W), b"123"),
    "hole": file(obj(W, entry("v", "I32", "[1]", "[5,9]")), b"123456789"),
    "overlap": file(obj(W, entry("v", "I32", "[1]", "[3,7]")), b"1234567"),
    "first_offset": file(obj(entry("w", "I32", "[1]", "[4,8]")), b"12345678"),
    "end_before_begin": file(obj(entry("w", "I32", "[1]", "[4,0]"))),
    "header_too_long": file(obj(W), length=100_000_001),
    "header_wraps": file(obj(W), length=2**64 - 1),
    "header_beyond_file": file(obj(W), length=1000),
    "seven_bytes": b"1234567",
    "bad_utf8": file(b'{"\xff":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}'),
    "metadata_number": file(obj(b'"__metadata__":{"a":1}', W)),
    "metadata_twice": file(obj(b'"__metadata__":{}', b'"__metadata__":{}', W)),
    "unknown_dtype": file(obj(entry("w", "I33", "[1]", "[0,4]"))),
    "negative_shape": file(obj(entry("w", "I32", "[-1]", "[0,4]"))),
    "float_shape": file(obj(entry("w", "I32", "[1.0]", "[0,4]"))),
    "size_disagrees": file(obj(entry("w", "I32", "[2]", "[0,4]"))),
    "product_overflows": file(obj(entry("w", "I32", "[4294967296,4294967296]", "[0,4]"))),
    "odd_f4": file(obj(entry("w", "F4", "[3]", "[0,2]")), b"12"),
    "same_name_same_begin": file(obj(W, W)),
    "same_name": file(obj(W, entry("w", "I32", "[1]", "[4,8]")), b"12345678"),
    "leading_space": file(b" " + obj(W)),
    "unknown_key": file(
        b'{"w":{"x":[{"y":null}],"dtype":"I32","shape":[1],"data_offsets":[0,4]}}'
    ),
    "trailing_spaces": file(obj(W) + b"  \n"),
    "zero_size": file(obj(entry("e", "F32", "[0,7]", "[0,0]"), W)),
    "scalar": file(obj(entry("s", "F32", "[]", "[0,4]"))),
    "no_tensors": file(b"{}", b""),
    "other_order": file(obj(V, W), b"12345678"),
    "escapes": file(obj(entry("\\u0077\\ud83d\\ude00\\n", "I32", "[1]", "[0,4]"))),
}


def main():
    os.makedirs(OUT, exist_ok=True)
    for name, data in SEEDS.items():
        with open(os.path.join(OUT, name), "wb") as out:
            out.write(data)
    print(f"{len(SEEDS)} files")


if __name__ == "__main__":
    main()
