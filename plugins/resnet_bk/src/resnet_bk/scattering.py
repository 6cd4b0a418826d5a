"""Chooses experts by the phase of a resolvent's diagonal."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from resnet_bk.errors import InvalidInputError

__all__ = ["RoutingStatistics", "ScatteringRouter"]


class RoutingStatistics(NamedTuple):
    """How evenly tokens are spread over experts.

    Attributes:
        load: Share of the choices that fell on each expert, (experts,); sums to 1.
        importance: Share of the routing weights, (experts,); sums to 1 and has gradients.
        entropy: Of the load over that of an even one: 1 is even, 0 is one expert for all.
        balance_loss: experts * sum(load * importance), 1 when even and more otherwise: add a little of it to
            a loss.
    """

    load: Tensor
    importance: Tensor
    entropy: Tensor
    balance_loss: Tensor


class ScatteringRouter(nn.Module):  # type: ignore[misc]
    """Sends each token to the experts whose share of the phases (0, pi) holds, or is next to, its own phase.

    Im G > 0 whatever the potential, so the phase of G lies in (0, pi), and that whole range is divided among
    the experts, in shares that are learned and never empty: every expert can be reached. A token's experts
    depend on its own G alone, so with a causal diagonal the routing is causal and samples do not touch each
    other.

    Args:
        num_experts: How many experts there are.
        top_k: How many each token goes to.

    Raises:
        InvalidInputError: `top_k` is not between 1 and `num_experts`.
    """

    def __init__(self, num_experts: int, top_k: int = 2) -> None:
        super().__init__()
        if not 1 <= top_k <= num_experts:
            raise InvalidInputError(
                f"`top_k` is {top_k}, and must lie between 1 and the number of experts, {num_experts}",
                tensor="top_k",
            )
        self.num_experts = num_experts
        self.top_k = top_k
        self.shares = nn.Parameter(torch.zeros(num_experts))
        self.sharpness = nn.Parameter(torch.zeros(()))

    def forward(self, diagonal: Tensor) -> tuple[Tensor, Tensor]:
        """Route every token.

        Args:
            diagonal: G, (..., N) complex, or (..., N, 2) real and imaginary part; the causal diagonal, if the
                model must not see the future.

        Returns:
            expert_indices, (..., N, top_k), the nearest first, and routing_weights, likewise, which sum to 1
            and have gradients with respect to the diagonal and to the shares.

        Raises:
            InvalidInputError: The diagonal has another shape.
        """
        if not diagonal.is_complex():
            if diagonal.shape[-1] != 2:
                raise InvalidInputError(
                    f"`diagonal` has the shape {tuple(diagonal.shape)}",
                    tensor="diagonal",
                    advice="Pass complex numbers, or real and imaginary part in a last dimension of 2.",
                )
            diagonal = torch.complex(diagonal[..., 0].float(), diagonal[..., 1].float())
        phase = torch.atan2(diagonal.imag, diagonal.real) / math.pi
        widths = self.shares.softmax(-1)
        centres = widths.cumsum(-1) - widths / 2
        # Within an expert's share the distance is below 1/2, outside above.
        distance = (phase.unsqueeze(-1) - centres).abs() / widths
        nearest, experts = distance.topk(self.top_k, dim=-1, largest=False)
        return experts, (-nearest * self.sharpness.exp()).softmax(-1)

    def statistics(self, expert_indices: Tensor, routing_weights: Tensor) -> RoutingStatistics:
        """How evenly a routing spreads its tokens.

        Args:
            expert_indices: As `forward` gives them.
            routing_weights: As `forward` gives them.
        """
        chosen = expert_indices.flatten()
        load = torch.bincount(chosen, minlength=self.num_experts).to(routing_weights.dtype) / len(chosen)
        total = torch.zeros_like(load).index_add(0, chosen, routing_weights.flatten())
        importance = total / total.sum()
        spread = -torch.special.xlogy(load, load).sum()
        even = math.log(self.num_experts) if self.num_experts > 1 else 1.0
        return RoutingStatistics(
            load, importance, spread / even, self.num_experts * (load * importance).sum()
        )
