"""Runs real text through a BERT checkpoint and writes H = X^T X / T for the input of every linear layer.

Usage: collect_statistics.py MODEL_DIR OUT.safetensors [--sequences 256] [--max-tokens 64]

The file follows docs/statistics.md: `<module>.hessian` float32 [n, n] and `quantd.tokens`. Text: the licences
that every Debian system carries and the language reference that comes with Python.
"""

import argparse
import glob
import os
import re
import time

import numpy as np

import bert
import safetensors_file
import wordpiece


class HessianCollector:
    """Sums X^T X in double over batches; layers that read the same input share one sum."""

    def __init__(self):
        self._sums = {}  # tuple of modules -> [n, n]
        self._rows = {}

    def observe(self, modules, x):
        self._sums[modules] = self._sums.get(modules, 0.0) + (x.T @ x).astype(np.float64)
        self._rows[modules] = self._rows.get(modules, 0) + len(x)

    def tensors(self):
        out = {}
        for modules, total in self._sums.items():
            hessian = total / self._rows[modules]
            hessian = ((hessian + hessian.T) / 2).astype(np.float32)
            out.update({f"{module}.hessian": hessian for module in modules})
        return out


def read_text():
    parts = []
    for path in sorted(glob.glob("/usr/share/common-licenses/*")):
        if not os.path.islink(path):  # links repeat the file they point to
            with open(path, encoding="utf-8", errors="replace") as file:
                parts.append(file.read())
    try:
        from pydoc_data.topics import topics
        parts.extend(topics[key] for key in sorted(topics))
    except ImportError:
        pass  # a minimal Python comes without its reference; the licences are enough
    return parts


def sample_sequences(tokenizer, parts, count, max_tokens, seed=0):
    """`count` token sequences of max_tokens/4 to max_tokens ids, from places spread over all parts."""
    passages = [p for part in parts for p in re.split(r"\n\s*\n", part) if len(p) > 200]
    generator = np.random.default_rng(seed)
    sequences = []
    for index in generator.permutation(len(passages)):
        pieces = tokenizer.pieces(passages[index])
        length = int(generator.integers(max_tokens // 4, max_tokens + 1)) - 2
        if len(pieces) >= max_tokens // 4 - 2:
            sequences.append(tokenizer.frame(pieces[:length]))
        if len(sequences) == count:
            break
    return sorted(sequences, key=len)  # similar lengths share a batch: little padding


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--sequences", type=int, default=256)
    parser.add_argument("--max-tokens", type=int, default=64)
    args = parser.parse_args()

    started = time.monotonic()
    tokenizer = wordpiece.WordPiece(os.path.join(args.model, "vocab.txt"))
    model = bert.Bert.load(args.model)
    sequences = sample_sequences(tokenizer, read_text(), args.sequences, args.max_tokens)
    collector = HessianCollector()
    for begin in range(0, len(sequences), 8):
        ids, mask = bert.pad(sequences[begin : begin + 8], tokenizer.pad)
        model.forward(ids, mask, collector.observe)
    tokens = sum(len(sequence) for sequence in sequences)
    tensors = collector.tensors()
    safetensors_file.write(args.out, tensors, {"quantd.tokens": tokens})
    print(f"{len(tensors)} Hessians from {tokens} tokens in {len(sequences)} sequences: "
          f"{time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()
