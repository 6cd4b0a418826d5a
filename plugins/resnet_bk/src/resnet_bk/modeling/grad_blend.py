"""The gradient that versions before 1.0 took for that of the resolvent's diagonal."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["blend_gradient"]

# Of |G^2|, below which earlier versions did not go.
_FLOOR = 1e-4


def blend_gradient(potential: Tensor, diagonal: Tensor, share: float) -> Tensor:
    """Give a diagonal whose gradient is partly the exact one and partly -Re(conj(cotangent) / G_ii^2).

    Args:
        potential: What the diagonal was computed from, (..., N).
        diagonal: G_ii, (..., N), complex.
        share: Of the latter; 0 leaves the exact gradient as it is.

    Returns:
        `diagonal`.
    """
    if not share:
        return diagonal
    blended: Tensor = _Blend.apply(potential, diagonal, share)
    return blended


class _Blend(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, potential: Tensor, diagonal: Tensor, share: float) -> Tensor:
        ctx.save_for_backward(diagonal)
        ctx.share = share
        ctx.dtype = potential.dtype
        return diagonal.clone()

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, Tensor, None]:
        (diagonal,) = ctx.saved_tensors
        square = diagonal * diagonal
        size = square.abs()
        floored = torch.where(size < _FLOOR, _FLOOR * torch.sgn(square), square)
        # Where the square is 0 it has no direction, and earlier versions' gradient no meaning.
        own = torch.where(size > 0, -(cotangent.conj() / floored).real, 0.0)
        return (ctx.share * own).to(ctx.dtype), (1 - ctx.share) * cotangent, None
