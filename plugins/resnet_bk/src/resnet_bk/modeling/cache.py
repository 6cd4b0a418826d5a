"""The state of every layer after some tokens: of one size, however many there were."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from modelplug.errors import ModelplugError

__all__ = ["LayerState", "RecurrentCache"]

LayerState = dict[str, Tensor]
"""The tensors that a layer goes on from, by name; the first dimension of each is the batch."""


class RecurrentCache:
    """What a model keeps of the tokens it has seen; `generate` passes it on as `past_key_values`.

    Args:
        layers: The state of each layer; None for a model that has seen nothing.

    Attributes:
        layers: The state of each layer, and last that of the copy memory, if there is one.
        counts: Tokens of each row so far, padding left out, (B,); None before the first.
        columns: Tokens of each row so far, padding included.
    """

    # What transformers asks any cache.
    is_compileable = False
    is_croppable = False

    def __init__(self, layers: list[LayerState] | None = None) -> None:
        self.layers: list[LayerState] = layers or []
        self.counts: Tensor | None = None
        self.columns = 0

    @property
    def is_initialized(self) -> bool:
        """Whether the model has seen anything."""
        return bool(self.layers)

    @property
    def nbytes(self) -> int:
        """Bytes it takes."""
        return sum(
            tensor.numel() * tensor.element_size() for state in self.layers for tensor in state.values()
        )

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002  transformers passes it
        """Tokens of each row so far, padding included."""
        return self.columns

    def get_max_length(self, layer_idx: int | None = None) -> int:  # noqa: ARG002  transformers passes it
        """-1: there is no limit."""
        return -1

    def advance(self, layers: list[LayerState], counts: Tensor, columns: int) -> None:
        """Take in what came of further tokens.

        Args:
            layers: The new state of each layer.
            counts: Tokens that were added to each row, (B,).
            columns: The same, padding included.
        """
        self.layers = layers
        self.counts = counts if self.counts is None else self.counts + counts
        self.columns += columns

    def row(self, index: int) -> RecurrentCache:
        """A cache of one row."""
        return self._changed(lambda tensor: tensor[index : index + 1])

    @classmethod
    def joined(cls, rows: list[RecurrentCache]) -> RecurrentCache:
        """Caches of single rows as one."""
        made = cls(
            [
                {name: torch.cat([row.layers[number][name] for row in rows]) for name in state}
                for number, state in enumerate(rows[0].layers)
            ]
        )
        counts = [row.counts for row in rows if row.counts is not None]
        made.counts, made.columns = torch.cat(counts), rows[0].columns
        return made

    def replace(self, other: RecurrentCache) -> None:
        """Become what another one is."""
        self.layers, self.counts, self.columns = other.layers, other.counts, other.columns

    def clone(self) -> RecurrentCache:
        """A copy that further tokens do not change."""
        return self._changed(lambda tensor: tensor.clone())

    def reset(self) -> None:
        """Forget everything."""
        self.replace(RecurrentCache())

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Take the rows of a beam search that go on."""
        self.batch_select_indices(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some rows, in this order."""
        self.replace(self._changed(lambda tensor: tensor.index_select(0, indices.to(tensor.device))))

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Have every row several times."""
        self.replace(self._changed(lambda tensor: tensor.repeat_interleave(repeats, dim=0)))

    def crop(self, tokens_to_remove: int) -> None:
        """Refuse to go back: a recurrent state can't.

        Raises:
            ModelplugError: Always, unless nothing is to be removed.
        """
        if tokens_to_remove:
            raise ModelplugError(
                "the state can't go back by some tokens",
                why="it has one size, and what is added to it can't be taken out again",
                advice="Keep a `clone` of the state to go back to.",
            )

    def _changed(self, change: Callable[[Tensor], Tensor]) -> RecurrentCache:
        made = RecurrentCache(
            [{name: change(tensor) for name, tensor in state.items()} for state in self.layers]
        )
        made.counts = None if self.counts is None else change(self.counts)
        made.columns = self.columns
        return made
