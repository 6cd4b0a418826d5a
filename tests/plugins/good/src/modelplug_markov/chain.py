"""The chain itself: which token follows which context, and how probable each is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

__all__ = ["Chain"]

Context = tuple[int, ...]


class Chain:
    """Probabilities of the next token, with Witten-Bell smoothing over ever shorter contexts.

    Args:
        counts: For each context length from 0 on: context -> following token -> how often.
        vocabulary_size: Number of different tokens.
    """

    def __init__(self, counts: Sequence[dict[Context, dict[int, int]]], vocabulary_size: int) -> None:
        self.counts = tuple(counts)
        self.vocabulary_size = vocabulary_size

    @classmethod
    def train(cls, tokens: Sequence[int], order: int, vocabulary_size: int) -> Chain:
        """The chain of a text.

        Args:
            tokens: The text, with its start and end tokens.
            order: The longest context.
            vocabulary_size: Number of different tokens.
        """
        counts: list[dict[Context, Counter[int]]] = [{} for _ in range(order + 1)]
        for position in range(1, len(tokens)):
            for length in range(min(order, position) + 1):
                context = tuple(tokens[position - length : position])
                counts[length].setdefault(context, Counter())[tokens[position]] += 1
        return cls([dict(level) for level in counts], vocabulary_size)

    @property
    def order(self) -> int:
        """Tokens of context it looks at."""
        return len(self.counts) - 1

    @property
    def parameters(self) -> int:
        """Number of stored counts."""
        return sum(len(followers) for level in self.counts for followers in level.values())

    def shortened(self, order: int) -> Chain:
        """The same chain with contexts no longer than `order`."""
        return Chain(self.counts[: order + 1], self.vocabulary_size)

    def probabilities(self, context: Sequence[int]) -> list[float]:
        """The probability of every token after `context`; they add up to 1 and none is 0."""
        result = [1.0 / self.vocabulary_size] * self.vocabulary_size
        for length, level in enumerate(self.counts):
            if length > len(context):
                break
            followers = level.get(tuple(context[len(context) - length :]))
            if not followers:
                break
            kinds, total = len(followers), sum(followers.values())
            shorter = kinds / (total + kinds)
            result = [shorter * value for value in result]
            for token, count in followers.items():
                result[token] += count / (total + kinds)
        return result
