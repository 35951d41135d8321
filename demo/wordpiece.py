"""BERT's uncased tokenizer: clean, lower-case, split at blanks and punctuation, then WordPiece.

WordPiece takes the longest piece of the vocabulary that starts the word, then the longest "##" piece that
starts the rest; a word with no such split is [UNK]. Devlin et al. 2018, section 4.1.
"""

import unicodedata

_LONGEST_WORD = 100


class WordPiece:
    def __init__(self, vocabulary_path):
        with open(vocabulary_path, encoding="utf-8") as file:
            self._ids = {line.rstrip("\n"): index for index, line in enumerate(file)}
        self.pad = self._ids["[PAD]"]
        self._unknown = self._ids["[UNK]"]
        self._first = self._ids["[CLS]"]
        self._last = self._ids["[SEP]"]

    def encode(self, text, max_tokens):
        """Ids of [CLS] text [SEP], cut to max_tokens."""
        return self.frame(self.pieces(text)[: max_tokens - 2])

    def frame(self, pieces):
        return [self._first, *pieces, self._last]

    def pieces(self, text):
        return [piece for word in _words(text) for piece in self._split(word)]

    def _split(self, word):
        if len(word) > _LONGEST_WORD:
            return [self._unknown]
        pieces, begin = [], 0
        while begin < len(word):
            prefix = "##" if begin else ""
            end = len(word)
            while end > begin and prefix + word[begin:end] not in self._ids:
                end -= 1
            if end == begin:
                return [self._unknown]
            pieces.append(self._ids[prefix + word[begin:end]])
            begin = end
        return pieces


def _words(text):
    spaced = []
    for char in unicodedata.normalize("NFD", text.lower()):
        category = unicodedata.category(char)
        if char.isspace():
            spaced.append(" ")
        elif category == "Mn" or category.startswith("C") or char == "\ufffd":
            continue
        elif _stands_alone(char, category):
            spaced.append(f" {char} ")
        else:
            spaced.append(char)
    return "".join(spaced).split()


def _stands_alone(char, category):
    # ASCII symbols such as $ and ^ count as punctuation here though Unicode files them elsewhere.
    ascii_symbol = char.isascii() and not char.isalnum()
    ideograph = 0x3400 <= ord(char) <= 0x9FFF or 0xF900 <= ord(char) <= 0xFAFF
    return ascii_symbol or ideograph or category.startswith("P")
