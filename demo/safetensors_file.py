"""Reads and writes safetensors files with numpy alone.

Format: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}}, the data.
Offsets count from the end of the header. Only the dtypes that the demo meets are known.
"""

import json
import os
import struct

import numpy as np

_DTYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "I64": np.dtype("<i8")}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def read(path):
    """Returns ({name: array}, metadata). F32, F16 and BF16 arrive as float32, I64 as it is."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = _decode(entry["dtype"], data[begin:end]).reshape(entry["shape"])
    return tensors, metadata


def read_folder(folder):
    """All tensors of a Hugging Face folder: model.safetensors or the shards of its index."""
    index = os.path.join(folder, "model.safetensors.index.json")
    if not os.path.exists(index):
        return read(os.path.join(folder, "model.safetensors"))[0]
    with open(index, encoding="utf-8") as file:
        shards = sorted(set(json.load(file)["weight_map"].values()))
    tensors = {}
    for shard in shards:
        tensors.update(read(os.path.join(folder, shard))[0])
    return tensors


def write(path, tensors, metadata):
    """Writes {name: array} (float32, float16 or int64) under a temporary name, then renames."""
    header = {"__metadata__": {key: str(value) for key, value in metadata.items()}}
    offset = 0
    for name, array in tensors.items():
        header[name] = {
            "dtype": _NAMES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # data starts at a multiple of 8
    with open(path + ".part", "wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())
    os.replace(path + ".part", path)


def _decode(dtype, data):
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    array = np.frombuffer(data, _DTYPES[dtype])
    return array.astype(np.float32) if dtype == "F16" else array
