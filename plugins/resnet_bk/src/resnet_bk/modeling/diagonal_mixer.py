"""The diagonal mixers: features of the resolvent's diagonal, causal ones and those of models before 1.0."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_bk.configuration import MambaKillerConfig
from resnet_bk.modeling.cache import LayerState
from resnet_bk.modeling.exact import causal_green_diagonal, green_diagonal
from resnet_bk.modeling.grad_blend import blend_gradient
from resnet_bk.modeling.layout import Layout

__all__ = ["DiagonalMixer"]

ETA_FLOOR = 1e-6
ETA_RANGE = (0.01, 1.0)


class DiagonalMixer(nn.Module):  # type: ignore[misc]
    """Real and imaginary part of the resolvent's diagonal, for sites whose potential the tokens make.

    The chain is that of the free Laplacian: all couplings are 1. With the mixer `diagonal-bidirectional` the
    whole chain counts, as in models before 1.0, whose Laplacian had -2 on its diagonal (an energy of 2) and
    whose z was i; otherwise only the sites up to a token's own.

    Args:
        config: The model's configuration.

    Attributes:
        epsilon: What the widths are multiplied with, as `set_epsilon` of a model sets it; always 1 with
            `diagonal-bidirectional`, because before 1.0 it was a matter of the prime bumps alone.
    """

    def __init__(self, config: MambaKillerConfig) -> None:
        super().__init__()
        self.causal = config.is_causal
        self.limit = config.potential_limit
        self.grad_blend = config.grad_blend
        self.epsilon: float = config.epsilon if self.causal else 1.0
        chains = config.diagonal_heads or 1
        self.potential = nn.Linear(config.d_model, chains)
        self.energy = nn.Parameter(torch.empty(chains))
        self.rho = nn.Parameter(torch.empty(chains))
        self.out_proj = nn.Linear(2 * chains, config.d_model)
        self.scale = nn.Parameter(torch.empty(config.d_model))

    def usual_energy(self) -> Tensor:
        """Energies inside the band, or that of models before 1.0."""
        places = (torch.arange(len(self.energy), dtype=torch.float64) + 0.5) / len(self.energy)
        return 2 * torch.cos(math.pi * places) if self.causal else torch.full_like(places, 2.0)

    def usual_rho(self) -> Tensor:
        """What makes the widths log-spaced over `ETA_RANGE`, or 1."""
        places = (torch.arange(len(self.rho), dtype=torch.float64) + 0.5) / len(self.rho)
        low, high = map(math.log, ETA_RANGE)
        eta = torch.exp(low + (high - low) * places) if self.causal else torch.ones_like(places)
        return torch.log(torch.expm1(eta - ETA_FLOOR))

    def forward(
        self, inputs: Tensor, bump: Tensor | None, layout: Layout | None, state: LayerState | None
    ) -> tuple[Tensor, LayerState]:
        """Mix the tokens; the arguments are those of `GreenMixer.forward`."""
        with torch.autocast(inputs.device.type, enabled=False):
            kind = torch.promote_types(inputs.dtype, torch.float32)
            weight, bias = self.potential.weight.to(kind), self.potential.bias.to(kind)
            potential = functional.linear(inputs.to(kind), weight, bias).transpose(1, 2)
            if self.limit is not None:
                potential = potential.clamp(-self.limit, self.limit)
            if bump is not None:
                potential = potential + bump.to(kind).unsqueeze(1)
            coupling = potential.new_ones(potential.shape[0], 1, potential.shape[2])
            if layout is not None:
                coupling = coupling.masked_fill(layout.first.unsqueeze(1), 0.0)
            energy = self.energy.to(kind).unsqueeze(-1)
            eta = self.epsilon * functional.softplus(self.rho.to(kind)).unsqueeze(-1) + ETA_FLOOR
            if self.causal:
                before = None if state is None else state["chain"]
                diagonal = causal_green_diagonal(potential, coupling, energy, eta, initial=before)
            else:
                diagonal = green_diagonal(potential, coupling, energy, eta)
            chain = diagonal[..., -1].clone()
            diagonal = blend_gradient(potential, diagonal, self.grad_blend)
        if layout is not None:
            chain = chain.masked_fill(layout.empty.unsqueeze(-1), 0.0)
        features = torch.view_as_real(diagonal).permute(0, 2, 1, 3).flatten(2)
        return self.scale * self.out_proj(features.to(self.out_proj.weight.dtype)), {"chain": chain}
