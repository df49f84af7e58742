"""CLIP's tokenizer: byte pair encoding (Sennrich et al. 2016, arXiv:1508.07909) of lower-case UTF-8.

A sentence is cut into words, numbers of one digit, and runs of other marks. The bytes of each are symbols, written as
characters that can be printed, and the last one is marked as the end of its word. Then the pair of neighbours that the
list of merges has earliest is merged into one symbol, again and again.
"""

import dataclasses
import functools
import html
import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32

from rcjax.messages import quote

END_OF_WORD = "</w>"
N_SPECIAL = 2  # the start and the end token, which have the last two ids
MAX_WORD_BYTES = 1000  # a word takes time that grows with the square of its length


@dataclasses.dataclass(frozen=True)
class BytePairTokenizer:
    """Reads sentences as the released CLIP does.

    `merges` has the merges in order, such as "th e</w>". `context_length` is the number of tokens of a sentence.

    The ids are those of `bpe_simple_vocab_16e6.txt.gz` if the merges are: 256 bytes, 256 bytes that end a word, one
    symbol for each merge, the start and the end token. Typographic apostrophes, quotation marks and dashes are read as
    plain ones; the release does so too, except for dashes.
    """

    merges: tuple[str, ...]
    context_length: int = 77

    def __post_init__(self):
        check_merges(self.merges)

    @property
    def n_tokens(self) -> int:
        """Number of ids, which is the number of rows of the text tower's table."""
        return 2 * len(BYTE_SYMBOLS) + len(self.merges) + N_SPECIAL

    @property
    def start(self) -> int:
        """Id of the token before every sentence."""
        return self.n_tokens - 2

    @property
    def end(self) -> int:
        """Id of the token after every sentence."""
        return self.n_tokens - 1

    def tokenize(self, sentences: Sequence[str]) -> Int32[np.ndarray, "n L"]:
        """Returns the token ids of each sentence between the start and the end token, padded with 0.

        A sentence that is too long loses its last tokens, but not the end token. Raises ValueError for a sentence
        without any token, and for one with a word that is much too long.
        """
        sentences = [sentences] if isinstance(sentences, str) else sentences
        ids = np.zeros((len(sentences), self.context_length), np.int32)
        for row, sentence in zip(ids, sentences, strict=True):
            found = list(itertools.islice(self._ids(sentence), self.context_length - 2))
            if not found:
                raise ValueError(f"the sentence {quote(sentence, 100)} is blank; say in it what the video should show.")
            row[: len(found) + 2] = [self.start, *found, self.end]
        return ids

    def unknown_words(self, sentence: str) -> list[str]:
        """Returns no words, because every word can be written as bytes."""
        return []

    def to_json(self) -> list[str]:
        return list(self.merges)

    @classmethod
    def from_json(cls, stored: Any, context_length: int) -> "BytePairTokenizer":
        """Returns the tokenizer that `to_json` wrote. Raises ValueError for anything else."""
        if not isinstance(stored, list) or not all(type(merge) is str for merge in stored):
            raise ValueError("its tokenizer is not a list of merges, which are texts")
        try:
            return cls(tuple(stored), context_length)
        except ValueError as error:
            raise ValueError(f"its tokenizer is not valid: {error}") from error

    def _ids(self, sentence: str) -> Iterator[int]:
        for word in split_words(sentence):
            for symbol in self._merge(word):
                yield self._id_of[symbol]

    def _merge(self, word: str) -> list[str]:
        """Returns the symbols of one word."""
        data = word.encode("utf-8", "replace")
        if len(data) > MAX_WORD_BYTES:
            raise ValueError(
                f"the sentence has a word of {len(data)} bytes, {quote(word, 30)}, over {MAX_WORD_BYTES}; put spaces "
                "between its words."
            )
        symbols = [BYTE_SYMBOLS[byte] for byte in data]
        symbols[-1] += END_OF_WORD
        while mergeable := [pair for pair in itertools.pairwise(symbols) if pair in self._rank_of]:
            symbols = _join(symbols, min(mergeable, key=self._rank_of.__getitem__))
        return symbols

    @functools.cached_property
    def _rank_of(self) -> dict[tuple[str, str], int]:
        """The place of each merge in the list."""
        return {_parts(merge): i for i, merge in enumerate(self.merges)}

    @functools.cached_property
    def _id_of(self) -> dict[str, int]:
        symbols = base_symbols() + ["".join(_parts(merge)) for merge in self.merges]
        return {symbol: i for i, symbol in enumerate(symbols)}


def split_words(sentence: str) -> Iterator[str]:
    """Yields the words, digits and runs of other marks of a sentence, in lower case and without white space."""
    text = html.unescape(html.unescape(unicodedata.normalize("NFC", sentence).translate(PLAIN_MARKS)))
    for piece in _PIECES.findall(" ".join(text.lower().split())):
        for is_number, characters in itertools.groupby(piece, _is_number):
            run = "".join(characters)
            yield from run if is_number else [run]


_PIECES = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[^\W\d_]+|\d|(?:[^\w\s]|_)+")  # \w holds fractions and Roman numerals
PLAIN_MARKS = str.maketrans(
    dict.fromkeys("\u2018\u2019\u02bc\uff07", "'")
    | dict.fromkeys("\u201c\u201d\u201e\uff02", '"')
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\uff0d", "-")
)


def _is_number(character: str) -> bool:
    return unicodedata.category(character)[0] == "N"


def check_merges(merges: Sequence[str]) -> None:
    """Raises ValueError unless each merge joins two symbols that are bytes or come from earlier merges."""
    known = set(base_symbols())
    for i, merge in enumerate(merges):
        parts = merge.split(" ")
        if len(parts) != 2 or not all(part in known for part in parts):
            raise ValueError(f"merge {i + 1}, {quote(merge)}, does not join two symbols that are known before it")
        known.add("".join(parts))


def _parts(merge: str) -> tuple[str, str]:
    first, second = merge.split(" ")
    return first, second


def _join(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    """Returns the symbols with every occurrence of `pair`, from left to right, merged into one."""
    joined, i = [], 0
    while i < len(symbols):
        found = tuple(symbols[i : i + 2]) == pair
        joined.append("".join(pair) if found else symbols[i])
        i += 2 if found else 1
    return joined


def _byte_symbols() -> dict[int, str]:
    """Returns the symbol of each byte, in the order of their ids.

    Visible characters of Latin-1 stand for themselves and come first; the 68 other bytes are the characters from 256.
    """
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + i) for i, byte in enumerate(others)}


BYTE_SYMBOLS = _byte_symbols()


def base_symbols() -> list[str]:
    """Returns the symbols of the bytes, and those of the bytes that end a word, in the order of their ids."""
    symbols = list(BYTE_SYMBOLS.values())
    return symbols + [symbol + END_OF_WORD for symbol in symbols]
