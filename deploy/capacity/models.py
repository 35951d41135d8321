"""Public shapes of models, and the requests that quantctl makes of them."""

import dataclasses
from collections import Counter

# Statistics: H as upper triangle in F32, one for each module.
METHODS = {
    "RTN": {"preset": "rtn", "layout": "LAYOUT_COMPRESSED_TENSORS", "statistics": False,
            "is": "4 bits, groups of 128"},
    "GPTQ": {"preset": "gptq", "layout": "LAYOUT_COMPRESSED_TENSORS", "statistics": True,
             "is": "4 bits, groups of 128"},
    "AQLM": {"preset": "aqlm", "layout": "LAYOUT_AQLM", "statistics": True, "is": "2x8"},
}


@dataclasses.dataclass(frozen=True)
class Shape:
    """A request: weights of `rows` x `cols` each, that share one H where the method uses it."""

    rows: tuple
    cols: int
    dtype: str = "BF16"

    def key(self):
        return f"{self.dtype} {'+'.join(map(str, self.rows))} x {self.cols}"


@dataclasses.dataclass(frozen=True)
class Weight:
    """`input`: weights of a block with the same one have the same H."""

    rows: int
    cols: int
    input: str


@dataclasses.dataclass(frozen=True)
class Model:
    name: str
    note: str
    blocks: tuple  # (how often, weights of a block in order of their names)
    dtype: str = "BF16"

    def shapes(self, method):
        """The requests in the order of the names. Without H each weight goes alone."""
        order = []
        for count, block in self.blocks:
            order += self._requests(block, METHODS[method]["statistics"]) * count
        return order

    def _requests(self, block, grouped):
        groups = {}
        for index, weight in enumerate(block):
            groups.setdefault(weight.input if grouped else index, []).append(weight)
        return [Shape(tuple(w.rows for w in group), group[0].cols, self.dtype) for group in groups.values()]

    def distinct(self, method):
        return Counter(self.shapes(method))

    def weights(self):
        return sum(count * sum(w.rows * w.cols for w in block) for count, block in self.blocks)


def mlp(hidden, ffn, of=""):
    """down, gate, up."""
    return (Weight(hidden, ffn, of + "down"), Weight(ffn, hidden, of + "gate"), Weight(ffn, hidden, of + "gate"))


def llama(name, note, layers, hidden, ffn, key_value, dtype="BF16"):
    attention = (Weight(key_value, hidden, "qkv"), Weight(hidden, hidden, "o"),  # k, o, q, v
                 Weight(hidden, hidden, "qkv"), Weight(key_value, hidden, "qkv"))
    return Model(name, note, ((layers, mlp(hidden, ffn) + attention),), dtype)


def mixture(name, note):
    """DeepSeek-V3: latent attention of 128 heads, 3 dense blocks, then 58 of 256 routed experts and a shared one."""
    hidden, heads = 7168, 128
    attention = (Weight(512 + 64, hidden, "a"), Weight(heads * (128 + 128), 512, "kv_b"),  # kv_a, kv_b, o, q_a, q_b
                 Weight(hidden, heads * 128, "o"), Weight(1536, hidden, "a"), Weight(heads * (128 + 64), 1536, "q_b"))
    experts = sum((mlp(hidden, 2048, str(expert)) for expert in range(256 + 1)), ())
    return Model(name, note, ((3, mlp(hidden, 18432) + attention), (58, experts + attention)))


MODELS = (
    llama("7B", "Llama 2 7B: 32 layers, 4096 wide, MLP of 11008", 32, 4096, 11008, 4096),
    llama("70B", "Llama 3 70B: 80 layers, 8192 wide, MLP of 28672", 80, 8192, 28672, 1024),
    llama("405B", "Llama 3.1 405B: 126 layers, 16384 wide, MLP of 53248", 126, 16384, 53248, 1024),
    mixture("671B", "DeepSeek-V3 in BF16: 61 layers, 7168 wide, 58 of them with 257 experts of 2048"),
)
