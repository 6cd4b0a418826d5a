"""Where the tokens of a batch of texts of different lengths are, and moving them so that padding comes first.

A recurrence has no mask to switch a token off with: padding must come before the first token of a text, where
the state is that of the beginning, and the first token must not be linked to what precedes it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Layout", "arrange", "restore", "take"]


class Layout(NamedTuple):
    """Where the tokens of each row are, all padding before them.

    Attributes:
        order: The column that each place takes its token from, (B, N).
        padding: True at padding, (B, N).
        first: True at the first token of a row, (B, N).
        empty: True for rows without any token, (B,).
        counts: Tokens in each row, (B,).
    """

    order: Tensor
    padding: Tensor
    first: Tensor
    empty: Tensor
    counts: Tensor

    @property
    def positions(self) -> Tensor:
        """The number of each token within its row, from 0; 0 at padding, (B, N)."""
        length = self.padding.shape[1]
        places = torch.arange(length, device=self.padding.device)
        return (places - (length - self.counts).unsqueeze(1)).clamp(min=0)


def arrange(mask: Tensor) -> Layout:
    """Find the layout of a batch.

    Args:
        mask: True, or 1, at tokens, (B, N).
    """
    mask = mask.bool()
    order = mask.to(torch.uint8).argsort(dim=1, stable=True)
    counts = mask.sum(1)
    length = mask.shape[1]
    places = torch.arange(length, device=mask.device)
    beginning = (length - counts).unsqueeze(1)
    return Layout(
        order=order,
        padding=places < beginning,
        first=places == beginning,
        empty=counts == 0,
        counts=counts,
    )


def take(values: Tensor, layout: Layout) -> Tensor:
    """Put padding first.

    Args:
        values: (B, N, ...).
        layout: Where the tokens are.
    """
    return values.gather(1, _index(layout.order, values))


def restore(values: Tensor, layout: Layout) -> Tensor:
    """Undo `take`."""
    return torch.empty_like(values).scatter(1, _index(layout.order, values), values)


def _index(order: Tensor, values: Tensor) -> Tensor:
    extra = values.shape[2:]
    return order.reshape(*order.shape, *(1 for _ in extra)).expand(*order.shape, *extra)
