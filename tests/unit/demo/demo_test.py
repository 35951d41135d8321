"""Tests of the demo's forward pass, tokenizer, statistics and safetensors file on a toy BERT."""

import os
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "demo"))

import bert
import collect_statistics
import safetensors_file
import wordpiece

HIDDEN, INNER, WORDS = 8, 12, 20
CONFIG = {"num_hidden_layers": 2, "num_attention_heads": 2, "layer_norm_eps": 1e-12}


def toy_bert(seed=1):
    generator = np.random.default_rng(seed)
    tensors = {}

    def add(name, *shape):
        tensors[name] = generator.normal(size=shape).astype(np.float32)

    for table, rows in (("word", WORDS), ("position", 16), ("token_type", 2)):
        add(f"embeddings.{table}_embeddings.weight", rows, HIDDEN)
    linears, norms = {}, ["embeddings"]
    for index in range(CONFIG["num_hidden_layers"]):
        name = f"encoder.layer.{index}"
        linears.update({f"{name}.attention.self.{part}": (HIDDEN, HIDDEN) for part in ("query", "key", "value")})
        linears[f"{name}.attention.output.dense"] = (HIDDEN, HIDDEN)
        linears[f"{name}.intermediate.dense"] = (INNER, HIDDEN)
        linears[f"{name}.output.dense"] = (HIDDEN, INNER)
        norms += [f"{name}.attention.output", f"{name}.output"]
    for module, (rows, cols) in linears.items():
        add(f"{module}.weight", rows, cols)
        add(f"{module}.bias", rows)
    for module in norms:
        add(f"{module}.LayerNorm.weight", HIDDEN)
        add(f"{module}.LayerNorm.bias", HIDDEN)
    return bert.Bert(CONFIG, tensors), linears


def hessians(model, batches):
    collector = collect_statistics.HessianCollector()
    for batch in batches:
        model.forward(*bert.pad(batch, 0), collector.observe)
    return collector.tensors()


class StatisticsTest(unittest.TestCase):
    SEQUENCES = [[1, 5, 7, 2], [1, 3, 2], [1, 9, 11, 4, 6, 2]]

    def test_padding_does_not_enter_h(self):
        model, _ = toy_bert()
        together = hessians(model, [self.SEQUENCES])
        alone = hessians(model, [[sequence] for sequence in self.SEQUENCES])
        self.assertEqual(together.keys(), alone.keys())
        for name in together:
            np.testing.assert_allclose(together[name], alone[name], rtol=1e-4, atol=1e-4, err_msg=name)

    def test_every_linear_has_a_symmetric_h_of_its_width(self):
        model, linears = toy_bert()
        tensors = hessians(model, [self.SEQUENCES])
        self.assertEqual(set(tensors), {f"{m}.hessian" for m in [*linears, "pooler.dense"]})
        for module, (_, cols) in linears.items():
            h = tensors[f"{module}.hessian"]
            self.assertEqual(h.shape, (cols, cols))
            np.testing.assert_array_equal(h, h.T)

    def test_query_key_value_share_their_bytes(self):
        model, _ = toy_bert()
        tensors = hessians(model, [self.SEQUENCES])
        first, *rest = (tensors[f"encoder.layer.1.attention.self.{p}.hessian"].tobytes()
                        for p in ("query", "key", "value"))
        self.assertEqual(rest, [first, first])

    def test_h_is_the_mean_of_outer_products(self):
        model, _ = toy_bert()
        seen = []
        model.forward(*bert.pad(self.SEQUENCES, 0), lambda modules, x: seen.append((modules, x)))
        modules, x = next(pair for pair in seen if pair[0] == ("encoder.layer.1.output.dense",))
        self.assertEqual(x.shape, (13, INNER))
        expected = sum(np.outer(row, row) for row in x.astype(np.float64)) / 13
        h = hessians(model, [self.SEQUENCES])[f"{modules[0]}.hessian"]
        np.testing.assert_allclose(h, expected, rtol=1e-5, atol=1e-5)


class BertTest(unittest.TestCase):
    def test_gelu_known_values(self):
        x = np.array([-3.0, -1.0, 0.0, 1.0, 3.0], np.float32)
        np.testing.assert_allclose(bert._gelu(x), [-0.00404951, -0.15865525, 0, 0.84134475, 2.99595049], atol=1e-6)

    def test_a_sentence_vector_ignores_its_batch(self):
        model, _ = toy_bert()
        batch = model.embed_sentences(*bert.pad([[1, 5, 2], [1, 3, 8, 9, 2]], 0))
        alone = model.embed_sentences(*bert.pad([[1, 5, 2]], 0))
        np.testing.assert_allclose(batch[0], alone[0], atol=1e-5)


class WordPieceTest(unittest.TestCase):
    VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "cafe", "!", "##s", "a"]

    def encode(self, text, max_tokens=16):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "vocab.txt")
            with open(path, "w", encoding="utf-8") as file:
                file.write("\n".join(self.VOCABULARY) + "\n")
            return wordpiece.WordPiece(path).encode(text, max_tokens)

    def test_longest_pieces_first(self):
        self.assertEqual(self.encode("unaffable"), [2, 4, 5, 6, 3])

    def test_case_accents_and_punctuation(self):
        self.assertEqual(self.encode("Caf\u00e9s!"), [2, 7, 9, 8, 3])

    def test_unknown_and_cut(self):
        self.assertEqual(self.encode("a xyz a"), [2, 10, 1, 10, 3])
        self.assertEqual(self.encode("a a a a", 4), [2, 10, 10, 3])


class SafetensorsFileTest(unittest.TestCase):
    def test_round_trip(self):
        tensors = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "i": np.array([[7]], np.int64)}
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "x.safetensors")
            safetensors_file.write(path, tensors, {"quantd.tokens": 5})
            read, metadata = safetensors_file.read(path)
            self.assertEqual(os.listdir(folder), ["x.safetensors"])
        self.assertEqual(metadata, {"quantd.tokens": "5"})
        for name, array in tensors.items():
            np.testing.assert_array_equal(read[name], array)

    def test_bf16_widens(self):
        np.testing.assert_array_equal(safetensors_file._decode("BF16", b"\x80\x3f\x40\xc0"), [1.0, -3.0])


if __name__ == "__main__":
    unittest.main()
