"""Packed sequences: windows of a token stream, each position with the token that follows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import numpy
import torch

from resnet_bk.data.errors import DataError
from resnet_bk.data.tokens import TokenStream

__all__ = ["IGNORED", "Batch", "BatchOrder", "PackedSequences"]

IGNORED: Final = -100
"""The target of a position that counts for nothing, as in torch and transformers."""


@attrs.frozen
class Batch:
    """Sequences and what should follow each of their positions.

    Attributes:
        inputs: Tokens, (sequences, length), int64.
        targets: Of the same shape: the token that follows in the stream, or `IGNORED`.
    """

    inputs: torch.Tensor
    targets: torch.Tensor

    @property
    def counted(self) -> int:
        """How many targets count."""
        return int((self.targets != IGNORED).sum())


class PackedSequences:
    """Windows of one length over a stream of tokens, without gaps: window i begins at token i * length.

    The target of a position is the next token of the stream, so every token but the first is a target
    once. Where the next token begins another document, nothing could predict it and the target is `IGNORED`.

    Args:
        stream: The tokens.
        length: Positions in a window.

    Raises:
        DataError: There are not enough tokens for one window.
    """

    def __init__(self, stream: TokenStream, length: int) -> None:
        if length < 1:
            raise DataError(f"a sequence of {length} tokens is none", advice="Ask for at least 1.")
        if len(stream) < length + 1:
            raise DataError(
                f"the data have {len(stream)} tokens, too few for one sequence of {length}",
                why="a sequence takes one token more than it is long, for the target of its last position",
                advice=f"Use shorter sequences (at most {max(len(stream) - 1, 0)}), or more text.",
            )
        self.stream = stream
        self.length = length

    def __len__(self) -> int:
        return (len(self.stream) - 1) // self.length

    def batch(self, windows: Sequence[int]) -> Batch:
        """Some of the windows.

        Args:
            windows: Their numbers.
        """
        inputs = numpy.empty((len(windows), self.length), dtype=numpy.int64)
        targets = numpy.empty_like(inputs)
        for row, window in enumerate(windows):
            begin = window * self.length
            part = self.stream.tokens[begin : begin + self.length + 1]
            inputs[row], targets[row] = part[:-1], part[1:]
            targets[row, self._first_tokens(begin + 1)] = IGNORED
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets))

    def _first_tokens(self, begin: int) -> numpy.ndarray[tuple[int], numpy.dtype[numpy.int64]]:
        """Where in the `length` tokens from `begin` on documents begin."""
        starts = self.stream.starts
        low, high = numpy.searchsorted(starts, [begin, begin + self.length])
        return starts[low:high] - begin


class BatchOrder:
    """Which windows each step takes; a function of the seed alone, so that it goes on anywhere.

    Every pass over the data takes each window once, in an order of its own. Passes follow each other
    without a gap: a batch may end one and begin the next.

    Args:
        windows: How many windows there are.
        batch_size: How many a step takes.
        seed: What the order depends on.
    """

    def __init__(self, windows: int, batch_size: int, seed: int) -> None:
        self.windows = windows
        self.batch_size = batch_size
        self.seed = seed
        self._epoch = -1
        self._order: list[int] = []

    def at(self, step: int) -> list[int]:
        """The windows of a step.

        Args:
            step: Its number, from 0.
        """
        first = step * self.batch_size
        return [self._window(number) for number in range(first, first + self.batch_size)]

    def epoch_after(self, steps: int) -> int:
        """How many passes are finished after so many steps."""
        return steps * self.batch_size // self.windows

    def _window(self, number: int) -> int:
        epoch, position = divmod(number, self.windows)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
            self._order = torch.randperm(self.windows, generator=generator).tolist()
            self._epoch = epoch
        return self._order[position]
