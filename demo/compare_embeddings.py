"""Says what quantization did to the model's sentence vectors, in cosines.

Usage: compare_embeddings.py MODEL_DIR [LABEL=QUANTIZED_DENSE_DIR ...]

First a check that the forward pass is the model's: a sentence must be nearer to its paraphrase than to any
other pair's sentences. Then, for each further folder, the cosine between each sentence's vector in it and
in MODEL_DIR. Exits 1 when the check fails.
"""

import argparse
import os
import sys

import numpy as np

import bert
import wordpiece

PAIRS = [
    ("A man is playing a guitar on the street.", "Somebody performs guitar music outdoors."),
    ("The stock market fell sharply today.", "Share prices dropped steeply this afternoon."),
    ("How do I reset my password?", "What must I do when I forgot my login secret?"),
    ("The cat sleeps on the warm sofa.", "A kitten is napping on a cosy couch."),
    ("Heavy rain flooded the village.", "The small town was under water after the storm."),
    ("She is learning to bake bread.", "She studies how to make loaves in an oven."),
]


def embed(model, tokenizer):
    sentences = [sentence for pair in PAIRS for sentence in pair]
    ids, mask = bert.pad([tokenizer.encode(s, 128) for s in sentences], tokenizer.pad)
    return model.embed_sentences(ids, mask)


def check_paraphrases(vectors):
    """(lowest cosine inside a pair, highest cosine across pairs, all nearest neighbours right?)"""
    cosines = vectors @ vectors.T
    rows = np.arange(len(vectors))
    partner = rows ^ 1
    inside = cosines[rows, partner]
    cosines[rows, rows] = cosines[rows, partner] = -1
    return inside.min(), cosines.max(), bool((inside > cosines.max(1)).all())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("others", nargs="*", metavar="LABEL=DIR")
    args = parser.parse_args()

    tokenizer = wordpiece.WordPiece(os.path.join(args.model, "vocab.txt"))
    original = embed(bert.Bert.load(args.model), tokenizer)
    lowest, highest, right = check_paraphrases(original)
    print(f"forward pass: paraphrases at cosine {lowest:.3f} or more, unrelated sentences at {highest:.3f} "
          f"or less, {'every' if right else 'NOT every'} nearest neighbour right")
    if not right:
        sys.exit(1)
    for other in args.others:
        label, folder = other.split("=", 1)
        cosines = (embed(bert.Bert.load(folder), tokenizer) * original).sum(1)
        print(f"{label}: sentence vectors against the original's: mean cosine {cosines.mean():.4f}, "
              f"lowest {cosines.min():.4f}")


if __name__ == "__main__":
    main()
