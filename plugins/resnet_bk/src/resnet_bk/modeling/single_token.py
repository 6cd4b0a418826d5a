"""The recurrences written out for one token, as generation needs them.

The general operations check and prepare their arguments for kernels that go through whole texts; for a single
token that takes longer than the arithmetic. The formulas are those of `resnet_bk.resolvent.causal_gates` and
`gated_state`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from resnet_bk.flops import costs
from resnet_bk.flops.counting import counted

__all__ = ["next_gates", "next_memory", "next_phase"]


def next_gates(
    potential: Tensor, hopping: Tensor, energy: Tensor, eta: Tensor, chain: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gates of one site in normal form, without a phase.

    Args:
        potential: a, (B, heads).
        hopping: c, (B, heads).
        energy: E, (heads,).
        eta: Widths, (B, heads).
        chain: x and q of the site before, (B, heads, 2).

    Returns:
        alpha and beta, (B, heads), and the chain to go on with.
    """
    x, q = chain.unbind(-1)
    with counted("resnet_bk.gates", costs.gates, eta.numel()):
        inverse = 1 / (x * x + q * q)
        coupling = hopping * hopping * inverse
        kept = coupling * q
        new_q = eta + kept
        new_x = potential - energy - coupling * x
        return torch.sqrt(kept / new_q), eta / new_q, torch.stack([new_x, new_q], -1)


def next_phase(hopping: Tensor, chain: Tensor) -> Tensor:
    """The phase of alpha, a complex number of length 1; the arguments are those of `next_gates`."""
    with counted("resnet_bk.gates", costs.phase, hopping.numel()):
        return torch.view_as_complex(-torch.sign(hopping).unsqueeze(-1) * functional.normalize(chain, dim=-1))


def next_memory(
    memory: Tensor, queries: Tensor, keys: Tensor, values: Tensor, alpha: Tensor, beta: Tensor
) -> tuple[Tensor, Tensor]:
    """What one token writes into the memory of each head, and reads from it.

    Args:
        memory: R of the token before, (B, heads, K, P).
        queries: (B, heads, K).
        keys: (B, heads, K).
        values: (B, heads, P).
        alpha: (B, heads), complex if the memory is.
        beta: (B, heads).

    Returns:
        o, (B, heads, P), and R.
    """
    sizes = beta.numel(), keys.shape[-1], values.shape[-1]
    with counted("resnet_bk.gated_state", costs.gated_state, *sizes, is_complex=memory.is_complex()):
        written = (keys * torch.sqrt(beta).unsqueeze(-1)).unsqueeze(-1) * values.unsqueeze(-2)
        memory = alpha[..., None, None] * memory + written
        real = memory.real if memory.is_complex() else memory
        return torch.matmul(queries.unsqueeze(-2), real).squeeze(-2), memory
