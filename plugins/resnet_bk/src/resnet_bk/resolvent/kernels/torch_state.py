"""The gated matrix state in PyTorch: products of matrices no larger than a chunk, with its exact gradient.

Inside a chunk of T sites with the state R before it, and L_ij = alpha_{j+1} ... alpha_i for i >= j, else 0:

    o_i = Re(A_i R)^T q_i + sum_j Re(L_ij) (q_i . k~_j) v_j,       A_i = alpha_1 ... alpha_i,  k~ =
    sqrt(beta) k

L is a product, not the exponential of a difference of sums: a gate of exactly 0 is exact, and nothing needs
a clamp.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from resnet_bk.resolvent.kernels.protocol import StateGradients

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CHUNK", "state", "state_backward"]

CHUNK = 64


class _Chunk(NamedTuple):
    """One chunk of every sequence, its keys scaled by the roots of beta."""

    queries: Tensor
    keys: Tensor
    values: Tensor
    alpha: Tensor
    decay: Tensor

    @property
    def reach(self) -> Tensor:
        """A_i, (..., T): how much of the state before the chunk is left at site i."""
        return self.alpha[..., :1] * self.decay[..., :, 0]


def _chunks(
    queries: Tensor, keys: Tensor, values: Tensor, alpha: Tensor, beta: Tensor
) -> Iterator[tuple[slice, _Chunk]]:
    length = alpha.shape[-1]
    scaled = keys * beta.sqrt().unsqueeze(-1)
    for start in range(0, length, CHUNK):
        sites = slice(start, min(start + CHUNK, length))
        gate = alpha[..., sites]
        yield (
            sites,
            _Chunk(queries[..., sites, :], scaled[..., sites, :], values[..., sites, :], gate, _decay(gate)),
        )


def _decay(alpha: Tensor) -> Tensor:
    """L, (..., T, T)."""
    size = alpha.shape[-1]
    below = torch.ones(size, size, dtype=torch.bool, device=alpha.device).tril(-1)
    factors = torch.where(below, alpha.unsqueeze(-1), torch.ones((), dtype=alpha.dtype, device=alpha.device))
    return factors.cumprod(-2).tril()


def _real(tensor: Tensor) -> Tensor:
    return tensor.real if tensor.is_complex() else tensor


def state(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    alpha: Tensor,
    beta: Tensor,
    initial: Tensor | None,
    *,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """See `Kernel.state`. Kept are the states before each chunk, (chunks, ..., K, P)."""
    shape = (*alpha.shape[:-1], keys.shape[-1], values.shape[-1])
    current = alpha.new_zeros(shape) if initial is None else initial
    outputs, kept = [], []
    for _, chunk in _chunks(queries, keys, values, alpha, beta):
        kept.append(current)
        scores = (chunk.queries @ chunk.keys.transpose(-1, -2)) * _real(chunk.decay)
        outputs.append(scores @ chunk.values + _read(chunk.queries, chunk.reach, current))
        arriving = chunk.decay[..., -1, :].unsqueeze(-1) * chunk.keys
        current = chunk.reach[..., -1, None, None] * current + arriving.transpose(-1, -2) @ chunk.values.to(
            alpha.dtype
        )
    return torch.cat(outputs, -2), current, torch.stack(kept) if keep else None


def _read(queries: Tensor, reach: Tensor, state: Tensor) -> Tensor:
    """Re(reach_i state)^T q_i."""
    return _real(reach.unsqueeze(-1) * (queries.to(state.dtype) @ state))


def state_backward(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    alpha: Tensor,
    beta: Tensor,
    kept: Tensor,
    output_cotangent: Tensor | None,
    last_cotangent: Tensor | None,
    *,
    with_initial: bool,
) -> StateGradients:
    """See `Kernel.state_backward`."""
    carried = torch.zeros_like(kept[0]) if last_cotangent is None else last_cotangent
    if output_cotangent is None:
        output_cotangent = torch.zeros_like(values)
    pieces: list[tuple[Tensor, ...]] = []
    backwards = reversed(list(zip(_chunks(queries, keys, values, alpha, beta), kept, strict=True)))
    for (sites, chunk), before in backwards:
        *gradients, carried = _chunk_backward(chunk, before, output_cotangent[..., sites, :], carried)
        pieces.append(tuple(gradients))
    query, key, value, gate = (
        torch.cat(parts[::-1], dimension)
        for parts, dimension in zip(zip(*pieces, strict=True), (-2, -2, -2, -1), strict=True)
    )
    root = beta.sqrt()
    return StateGradients(
        query,
        key * root.unsqueeze(-1),
        value,
        gate,
        (key * keys).sum(-1) / (2 * root),
        carried if with_initial else None,
    )


def _chunk_backward(
    chunk: _Chunk, before: Tensor, cotangent: Tensor, after: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of queries, scaled keys, values and alpha of a chunk, and of the state before it.

    Args:
        chunk: The chunk.
        before: The state before it.
        cotangent: Of its outputs.
        after: Of the state at its end.
    """
    real_decay = _real(chunk.decay)
    scores = chunk.queries @ chunk.keys.transpose(-1, -2)
    products = cotangent @ chunk.values.transpose(-1, -2)
    # What is left at the chunk's end of a term that enters at site j: L_Tj.
    remaining = chunk.decay[..., -1, :]
    state_products = cotangent.to(before.dtype) @ before.transpose(-1, -2)
    query = (products * real_decay) @ chunk.keys + _real(chunk.reach.unsqueeze(-1) * state_products)
    keys_to_end = chunk.values.to(after.dtype) @ after.transpose(-1, -2)
    key = (products * real_decay).transpose(-1, -2) @ chunk.queries + _real(
        remaining.conj().unsqueeze(-1) * keys_to_end
    )
    values_to_end = chunk.keys.to(after.dtype) @ after
    value = (scores * real_decay).transpose(-1, -2) @ cotangent + _real(
        remaining.conj().unsqueeze(-1) * values_to_end
    )
    gate = _gate_gradient(chunk, before, after, scores * products, state_products, keys_to_end)
    weighted = (chunk.reach.conj().unsqueeze(-1) * chunk.queries).transpose(-1, -2)
    start = weighted @ cotangent.to(after.dtype) + chunk.reach[..., -1, None, None].conj() * after
    return query, key, value, gate, start


def _gate_gradient(
    chunk: _Chunk, before: Tensor, after: Tensor, weights: Tensor, state_products: Tensor, keys_to_end: Tensor
) -> Tensor:
    """Sum over the state of conj(R_{i-1}) times the cotangent of R_i, from the products at hand.

    R_{i-1} = A_{i-1} R + sum_{j<i} L_{i-1,j} k~_j v_j^T, and its partner is
    sum_{m>=i} conj(L_mi) q_m o^_m^T + conj(L_Ti) R^: four sums of products of numbers known for each site or
    pair.
    """
    kind = chunk.alpha.dtype
    one = torch.ones_like(chunk.reach[..., :1])
    reach_before = torch.cat([one, chunk.reach[..., :-1]], -1)
    earlier = torch.cat([torch.zeros_like(chunk.decay[..., :1, :]), chunk.decay[..., :-1, :]], -2)
    remaining = chunk.decay[..., -1, :]
    to_outputs = chunk.decay.transpose(-1, -2) @ weights.to(kind)
    reads = (chunk.queries * state_products.conj()).sum(-1).conj()
    entries = (chunk.keys * keys_to_end.conj()).sum(-1).conj()
    whole = (before.conj() * after).sum((-1, -2))
    # The conjugates of the three sums over pairs and sites, then the one number for the whole state.
    through_pairs = (to_outputs * earlier).sum(-1).conj()
    from_state = reach_before.conj() * (
        chunk.decay.transpose(-1, -2).conj() @ reads.conj().unsqueeze(-1)
    ).squeeze(-1)
    to_end = remaining.conj() * (earlier.conj() @ entries.unsqueeze(-1)).squeeze(-1)
    across = reach_before.conj() * remaining.conj() * whole.unsqueeze(-1)
    return through_pairs + from_state + to_end + across
