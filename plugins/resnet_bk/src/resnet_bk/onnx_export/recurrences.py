"""The recurrences over the sites as a graph has them: one node for each, in real numbers.

What a node computes stands in `resnet_bk.onnx_export.functions`, which puts ONNX's own operators in its
place. A complex number is two real ones beside each other in a dimension of 2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["DOMAIN", "Fraction", "denominators", "phased_memory", "plain_memory", "reciprocal"]

DOMAIN = "resnet_bk"


class Fraction(NamedTuple):
    """A continued fraction d = x - i q at every site, and its inverse at every site's predecessor.

    Attributes:
        x: (B, chains, N).
        q: (B, chains, N).
        before: Both parts of 1 / d of the site before, (B, chains, N, 2).
        last: Both parts of 1 / d of the last site, (B, chains, 2).
    """

    x: Tensor
    q: Tensor
    before: Tensor
    last: Tensor


def denominators(detuning: Tensor, coupling: Tensor, eta: Tensor, before: Tensor) -> Fraction:
    """The continued fraction d_i = detuning_i - i eta_i - s_i / d_{i-1}.

    Args:
        detuning: Potential less energy, (B, chains, N).
        coupling: s_i, (B, chains, N).
        eta: Width, (B, chains, N).
        before: Both parts of 1 / d before the first site, (B, chains, 2); zeros where there is none.
    """
    real, imaginary, x, q, real_before, imaginary_before = _node(
        "fraction",
        [*before.unbind(-1), detuning, coupling, eta],
        [before.shape[:-1]] * 2 + [detuning.shape] * 4,
    )
    return Fraction(
        x, q, torch.stack([real_before, imaginary_before], -1), torch.stack([real, imaginary], -1)
    )


def reciprocal(x: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Both parts of 1 / (x - i q)."""
    inverse = torch.reciprocal(x * x + q * q)
    return x * inverse, q * inverse


def plain_memory(
    queries: Tensor, keys: Tensor, values: Tensor, alpha: Tensor, before: Tensor
) -> tuple[Tensor, Tensor]:
    """What queries read from the memories R_i = alpha_i R_{i-1} + k_i v_i^T, o_i = R_i^T q_i.

    Args:
        queries: q, (B, heads, N, K).
        keys: k, with the roots of beta in them, (B, heads, N, K).
        values: v, (B, heads, N, P).
        alpha: (B, heads, N).
        before: R before the first site, (B, heads, K, P).

    Returns:
        o, (B, heads, N, P), and R of the last site.
    """
    sites = [*_matrices(queries, keys, values), alpha[..., None, None]]
    memory, read = _node("plain_memory", [before, *sites], [before.shape, sites[2].shape])
    return read.squeeze(-2), memory


def phased_memory(
    queries: Tensor, keys: Tensor, values: Tensor, alpha: Tensor, before: Tensor
) -> tuple[Tensor, Tensor]:
    """The same with complex gates: o_i = Re(R_i)^T q_i.

    Args:
        queries: q, (B, heads, N, K).
        keys: k, with the roots of beta in them, (B, heads, N, K).
        values: v, (B, heads, N, P).
        alpha: Both parts, (B, heads, N, 2).
        before: Both parts of R before the first site, (B, heads, 2, K, P).

    Returns:
        o, (B, heads, N, P), and both parts of R of the last site.
    """
    parts = before.unbind(2)
    sites = [*_matrices(queries, keys, values), *(part[..., None, None] for part in alpha.unbind(-1))]
    real, imaginary, read = _node(
        "phased_memory", [*parts, *sites], [parts[0].shape, parts[1].shape, sites[2].shape]
    )
    return read.squeeze(-2), torch.stack([real, imaginary], 2)


def _matrices(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and columns, so that the loop has products of matrices only."""
    return queries.unsqueeze(-2), keys.unsqueeze(-1), values.unsqueeze(-2)


def _node(name: str, inputs: list[Tensor], shapes: list[torch.Size]) -> tuple[Tensor, ...]:
    found: tuple[Tensor, ...] = tuple(
        torch.onnx.ops.symbolic_multi_out(
            f"{DOMAIN}::{name}", inputs, dtypes=[torch.float32] * len(shapes), shapes=shapes, version=1
        )
    )
    return found
