"""Small synthetic Hugging Face folders and statistics, written with the standard library alone."""

import array
import json
import os
import random
import struct

DTYPE_BYTES = {"F32": 4, "BF16": 2, "F16": 2, "I32": 4, "I64": 8}


def write_safetensors(path, tensors, metadata=None):
    """tensors: name -> (dtype, shape, bytes)."""
    header = {"__metadata__": dict(metadata or {"format": "pt"})}
    offset = 0
    for name, (dtype, shape, data) in tensors.items():
        span = [offset, offset + len(data)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": span}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            out.write(data)


def read_safetensors(path):
    with open(path, "rb") as file:
        raw = file.read()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    header.pop("__metadata__", None)
    data = raw[8 + size :]
    return {
        name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])])
        for name, entry in header.items()
    }


def folder_files(folder):
    """Path in the folder -> bytes, of every file."""
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = file.read()
    return found


def read_folder(folder):
    tensors = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            tensors.update(read_safetensors(os.path.join(folder, name)))
    return tensors


def to_bf16(values):
    """Cuts F32 bytes to BF16: exact enough for test weights."""
    raw = values.tobytes()
    return b"".join(raw[i + 2 : i + 4] for i in range(0, len(raw), 4))


class Model:
    """A llama-like folder: q/k/v/o and an MLP per layer, embeddings, norms, lm_head."""

    def __init__(self, folder, layers=2, hidden=128, ffn=256, dtype="F32", seed=1, shards=1):
        self.folder = folder
        self.layers = layers
        self.hidden = hidden
        self.ffn = ffn
        self.dtype = dtype
        rng = random.Random(seed)
        self._noise = array.array("f", (rng.gauss(0, 0.05) for _ in range(50021)))
        self._at = 0
        self.tensors = self._make()
        os.makedirs(folder, exist_ok=True)
        self.write(shards)

    def _weight(self, *shape):
        count = 1
        for n in shape:
            count *= n
        values = array.array("f")
        while len(values) < count:
            start = self._at % len(self._noise)
            take = min(count - len(values), len(self._noise) - start)
            values.extend(self._noise[start : start + take])
            self._at += take
        data = values.tobytes() if self.dtype == "F32" else to_bf16(values)
        return (self.dtype, list(shape), data)

    def modules(self):
        """Module path -> (rows, cols) of every linear layer that is quantized by default."""
        h, f = self.hidden, self.ffn
        shapes = {}
        for layer in range(self.layers):
            for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
                shapes[f"model.layers.{layer}.self_attn.{name}"] = (h, h)
            shapes[f"model.layers.{layer}.mlp.gate_proj"] = (f, h)
            shapes[f"model.layers.{layer}.mlp.up_proj"] = (f, h)
            shapes[f"model.layers.{layer}.mlp.down_proj"] = (h, f)
        return shapes

    def _make(self):
        tensors = {"model.embed_tokens.weight": self._weight(64, self.hidden)}
        for module, shape in self.modules().items():
            tensors[module + ".weight"] = self._weight(*shape)
        for layer in range(self.layers):
            for name in ("input_layernorm", "post_attention_layernorm"):
                tensors[f"model.layers.{layer}.{name}.weight"] = self._weight(self.hidden)
        tensors["model.norm.weight"] = self._weight(self.hidden)
        tensors["lm_head.weight"] = self._weight(64, self.hidden)
        return tensors

    def write(self, shards=1):
        config = {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.ffn,
            "num_hidden_layers": self.layers,
            "torch_dtype": "float32" if self.dtype == "F32" else "bfloat16",
        }
        with open(os.path.join(self.folder, "config.json"), "w") as out:
            json.dump(config, out)
        with open(os.path.join(self.folder, "tokenizer.json"), "w") as out:
            out.write("{}")
        if shards == 1:
            write_safetensors(os.path.join(self.folder, "model.safetensors"), self.tensors)
            return
        names = list(self.tensors)
        index = {"metadata": {}, "weight_map": {}}
        for shard in range(shards):
            file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
            part = {n: self.tensors[n] for n in names[shard::shards]}
            write_safetensors(os.path.join(self.folder, file), part)
            index["weight_map"].update({n: file for n in part})
        total = sum(len(t[2]) for t in self.tensors.values())
        index["metadata"]["total_size"] = total
        with open(os.path.join(self.folder, "model.safetensors.index.json"), "w") as out:
            json.dump(index, out)

    def source_bytes(self):
        return sum(len(self.tensors[m + ".weight"][2]) for m in self.modules())


def hessian(n, correlation=0.6, scale=1.0):
    """Positive definite: the correlation of a first-order process, channels of uneven power."""
    power = [1.0 + 3.0 * ((7 * i) % n) / n for i in range(n)]
    values = array.array("f")
    for i in range(n):
        values.extend(
            scale * power[i] * power[j] * correlation ** abs(i - j) for j in range(n)
        )
    return ("F32", [n, n], values.tobytes())


def write_statistics(path, model, replace=None):
    """Hessians for every module: q, k, v share one, gate and up another.

    `replace`: tensor name -> tensor, or None to leave it out.
    """
    by_width = {n: hessian(n) for n in {cols for _, cols in model.modules().values()}}
    tensors = {}
    for module, (_, cols) in model.modules().items():
        tensors[module + ".hessian"] = by_width[cols]
    for name, tensor in (replace or {}).items():
        if tensor is None:
            tensors.pop(name)
        else:
            tensors[name] = tensor
    write_safetensors(path, tensors, {"format": "pt", "quantd.tokens": "4096"})
