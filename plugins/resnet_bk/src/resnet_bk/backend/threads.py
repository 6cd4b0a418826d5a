"""How many threads compute: as many as there is work for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

__all__ = ["Threads"]

# Multiplications that are worth a thread. Threads wait for each other after every operation; where another
# program has a core as well, that takes far longer than the work that they share.
_WORTH: Final = 4_000_000


class Threads:
    """The threads that a model of some size computes with.

    Args:
        most: How many there may be.
        parameters: The model's parameters.
    """

    def __init__(self, most: int, parameters: int) -> None:
        self._most = max(1, most)
        self._parameters = parameters

    def worth(self, tokens: int) -> int:
        """How many threads are worth it.

        Args:
            tokens: How many are computed at once.
        """
        return max(1, min(self._most, self._parameters * tokens // _WORTH))

    @contextmanager
    def computing(self, tokens: int) -> Iterator[None]:
        """Let torch compute with so many threads; its number is one for the whole process.

        Args:
            tokens: How many are computed at once.
        """
        before, wanted = torch.get_num_threads(), self.worth(tokens)
        if wanted != before:
            torch.set_num_threads(wanted)
        try:
            yield
        finally:
            if wanted != before:
                torch.set_num_threads(before)
