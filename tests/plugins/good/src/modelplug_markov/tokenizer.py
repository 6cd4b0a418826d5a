"""A byte-pair vocabulary: any text becomes tokens and comes back unchanged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

__all__ = ["END", "FIRST_MERGE", "START", "Tokenizer"]

START, END = 0, 1
FIRST_BYTE = 2
FIRST_MERGE = FIRST_BYTE + 256
# Merges stay within a word and the space before it, which keeps both training and tokens sensible.
_PIECE = re.compile(r" ?\S+|\s+(?!\S)|\s+", re.ASCII)

Pair = tuple[int, int]


class Tokenizer:
    """Splits text into tokens.

    Args:
        merges: Pairs of tokens that make a new one, in the order in which they were learned.
    """

    def __init__(self, merges: Sequence[Pair]) -> None:
        self.merges = tuple(merges)
        self._rank = {pair: number for number, pair in enumerate(self.merges)}
        self._bytes = [b"", b"", *(bytes([value]) for value in range(256))]
        for left, right in self.merges:
            self._bytes.append(self._bytes[left] + self._bytes[right])
        self._piece = lru_cache(maxsize=65536)(self._encode_piece)

    @classmethod
    def train(cls, text: str, vocabulary_size: int) -> Tokenizer:
        """A tokenizer whose merges are the most frequent pairs of `text`."""
        pieces = Counter(_PIECE.findall(text))
        words = [(list(_bytes_of(piece)), count) for piece, count in pieces.items()]
        merges: list[Pair] = []
        while FIRST_MERGE + len(merges) < vocabulary_size:
            pairs: Counter[Pair] = Counter()
            for tokens, count in words:
                for pair in pairwise(tokens):
                    pairs[pair] += count
            if not pairs:
                break
            # The smallest of equally frequent pairs, so that training is repeatable.
            best, count = min(pairs.items(), key=lambda item: (-item[1], item[0]))
            if count < 2:
                break
            token = FIRST_MERGE + len(merges)
            merges.append(best)
            words = [(_merge(tokens, best, token), count) for tokens, count in words]
        return cls(merges)

    @property
    def vocabulary_size(self) -> int:
        """Number of different tokens."""
        return len(self._bytes)

    def encode(self, text: str) -> list[int]:
        """The tokens of `text`, without a start token."""
        return [token for piece in _PIECE.findall(text) for token in self._piece(piece)]

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token; none for the tokens that start and end a text."""
        if not 0 <= token < len(self._bytes):
            msg = f"there is no token {token}; the vocabulary has {len(self._bytes)}"
            raise ValueError(msg)
        return self._bytes[token]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens; bytes that are no character become U+FFFD."""
        return b"".join(self.token_bytes(token) for token in tokens).decode("utf-8", "replace")

    def _encode_piece(self, piece: str) -> tuple[int, ...]:
        tokens = list(_bytes_of(piece))
        while len(tokens) > 1:
            ranked = [(self._rank[pair], pair) for pair in pairwise(tokens) if pair in self._rank]
            if not ranked:
                break
            rank, pair = min(ranked)
            tokens = _merge(tokens, pair, FIRST_MERGE + rank)
        return tuple(tokens)


def _bytes_of(piece: str) -> Iterable[int]:
    return (FIRST_BYTE + value for value in piece.encode("utf-8", "surrogatepass"))


def _merge(tokens: Sequence[int], pair: Pair, token: int) -> list[int]:
    merged: list[int] = []
    position = 0
    while position < len(tokens):
        if tuple(tokens[position : position + 2]) == pair:
            merged.append(token)
            position += 2
        else:
            merged.append(tokens[position])
            position += 1
    return merged
