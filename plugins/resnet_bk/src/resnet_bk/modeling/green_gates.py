"""The gates of the causal Green operator, from a layer's input."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_bk.configuration import MambaKillerConfig
from resnet_bk.modeling.exact import causal_gates
from resnet_bk.modeling.layout import Layout
from resnet_bk.modeling.single_token import next_gates, next_phase

__all__ = ["NO_SITE", "GreenGates", "HeadGates"]

ETA_FLOOR = 1e-6
ETA_RANGE = (1e-4, 0.1)
# Strong, so that a token can close its gate: filler then neither writes nor makes the memory decay.
ETA_GAIN = 4.0
# x and q where there is no site before: 1 / |d| is then below the rounding of any eta.
NO_SITE = (0.0, 2.0**60)
# x and q of an endless free chain at the energy 0: -1 / d is d again, whatever width the rounding of 1 hides.
LEAD = (0.0, 1.0)
LEAD_ETA = 2.0**-30


class HeadGates(NamedTuple):
    """The gates of some heads that come one after the other.

    Attributes:
        heads: Which.
        alpha: What is kept, (B, heads, N), or (B, heads) for a single token; complex with a phase.
        beta: The share of what is new, of the same shape.
    """

    heads: slice
    alpha: Tensor
    beta: Tensor


class Sites(NamedTuple):
    """What the Hamiltonian of each head is at some sites, (B, heads, N); the energy is (heads, 1)."""

    potential: Tensor
    hopping: Tensor
    energy: Tensor
    eta: Tensor


class GreenGates(nn.Module):  # type: ignore[misc]
    """Potential, hopping and width of each head's Hamiltonian, and the gates that they make.

    The first heads are free: potential 0, hopping 1, so that nothing localises what they remember. In
    float32 at least, whatever the rest of the model is in.

    Args:
        config: The model's configuration.
        free: So many heads, all free, without a phase, at the fixed energy 0, and behind an endless lead: a
            chain that begins nowhere reflects nothing, and no site after its beginning weighs less than the
            next. None takes the heads of the configuration.

    Attributes:
        lead: Whether the chains go on from a lead.
        epsilon: What the widths are multiplied with, as `set_epsilon` of a model sets it.
    """

    def __init__(self, config: MambaKillerConfig, *, free: int | None = None) -> None:
        super().__init__()
        self.heads = config.num_heads if free is None else free
        self.bound_heads = self.heads - (config.free_heads or 0) if free is None else 0
        plain = self.heads - config.complex_heads if free is None else free
        self.lead = free is not None
        # The heads without a phase, and those with one.
        self.groups = [
            heads for heads in (slice(0, plain), slice(plain, self.heads)) if heads.start < heads.stop
        ]
        self.plain_heads = plain
        self.epsilon: float = config.epsilon
        self.weight = nn.Parameter(torch.empty(self.heads + 2 * self.bound_heads, config.d_model))
        # None without bound heads: FSDP2 does not take parameters without elements.
        for name in ("potential_bias", "hopping_bias"):
            bias = nn.Parameter(torch.empty(self.bound_heads)) if self.bound_heads else None
            self.register_parameter(name, bias)
        if self.lead:
            self.register_buffer("energy", torch.zeros(self.heads), persistent=False)
        else:
            self.energy = nn.Parameter(torch.empty(self.heads))
        self.rho = nn.Parameter(torch.empty(self.heads))

    def usual_energy(self) -> Tensor:
        """Energies inside the band |E| < 2, those of a free chain, for the free heads and for the others."""
        if self.lead:
            return torch.zeros(self.heads)
        return torch.cat([2 * torch.cos(math.pi * places) for places in self._places()])

    def usual_rho(self) -> Tensor:
        """What makes the widths, log-spaced over `ETA_RANGE`, for the free heads and for the others."""
        low, high = map(math.log, ETA_RANGE)
        eta = torch.cat([torch.exp(low + (high - low) * places) for places in self._places()])
        return torch.log(torch.expm1(eta))

    def _places(self) -> list[Tensor]:
        groups = (self.heads - self.bound_heads, self.bound_heads)
        return [(torch.arange(count, dtype=torch.float64) + 0.5) / max(count, 1) for count in groups]

    def forward(
        self, inputs: Tensor, bump: Tensor | None, layout: Layout | None, chain: Tensor | None
    ) -> tuple[list[HeadGates], Tensor]:
        """Compute the gates.

        Args:
            inputs: (B, N, d_model).
            bump: What is added to the potential of the bound heads, (B or 1, N); None for nothing.
            layout: Where the tokens are, if some places hold padding.
            chain: x and q of each head's last site, (B, heads, 2); None at the beginning of a text.

        Returns:
            The gates, and the chain to go on with.
        """
        with torch.autocast(inputs.device.type, enabled=False):
            return self._gates(self._sites(inputs, bump, layout), layout, chain)

    def step(self, inputs: Tensor, bump: Tensor | None, chain: Tensor) -> tuple[list[HeadGates], Tensor]:
        """Compute the gates of a single token, (B, 1, d_model), without gradients."""
        with torch.autocast(inputs.device.type, enabled=False):
            sites = self._sites(inputs, bump, None)
            potential, hopping, energy, eta = (quantity.squeeze(-1) for quantity in sites)
            alpha, beta, new_chain = next_gates(potential, hopping, energy, eta, chain)
            groups = []
            for heads in self.groups:
                kept = alpha[:, heads]
                if heads.start >= self.plain_heads:
                    kept = kept * next_phase(hopping[:, heads], chain[:, heads])
                groups.append(HeadGates(heads, kept, beta[:, heads]))
        return groups, new_chain

    def _sites(self, inputs: Tensor, bump: Tensor | None, layout: Layout | None) -> Sites:
        kind = torch.promote_types(inputs.dtype, torch.float32)
        logits = functional.linear(inputs.to(kind), self.weight.to(kind)).transpose(1, 2)
        widths, potential, hopping = logits.split([self.heads, self.bound_heads, self.bound_heads], 1)
        widths = functional.softplus(ETA_GAIN * widths + self.rho.to(kind).unsqueeze(-1))
        eta = self.epsilon * widths + ETA_FLOOR
        if self.bound_heads:
            potential = potential + self.potential_bias.to(kind).unsqueeze(-1)
            hopping = hopping + self.hopping_bias.to(kind).unsqueeze(-1)
        if bump is not None:
            potential = potential + bump.to(kind).unsqueeze(1)
        hopping = 2 * torch.sigmoid(hopping)
        free = self.heads - self.bound_heads
        potential = functional.pad(potential, (0, 0, free, 0))
        hopping = functional.pad(hopping, (0, 0, free, 0), value=1.0)
        if layout is not None and self.lead:
            eta = eta.masked_fill(layout.padding.unsqueeze(1), LEAD_ETA)  # padding is part of the lead
        elif layout is not None:
            hopping = hopping.masked_fill(layout.first.unsqueeze(1), 0.0)
        return Sites(potential, hopping, self.energy.to(kind).unsqueeze(-1), eta)

    def _gates(
        self, sites: Sites, layout: Layout | None, chain: Tensor | None
    ) -> tuple[list[HeadGates], Tensor]:
        groups, last = [], []
        if chain is None and self.lead:
            chain = torch.tensor(LEAD, dtype=sites.eta.dtype, device=sites.eta.device)
            chain = chain.expand(len(sites.eta), self.heads, 2)
        for heads in self.groups:
            found = causal_gates(
                sites.potential[:, heads],
                sites.hopping[:, heads],
                sites.energy[heads],
                sites.eta[:, heads],
                phase="real" if heads.start < self.plain_heads else "complex",
                initial=None if chain is None else chain[:, heads],
            )
            groups.append(HeadGates(heads, found.alpha, found.beta))
            last.append(found.state)
        end = last[0] if len(last) == 1 else torch.cat(last, 1)
        if layout is not None and not self.lead:
            fresh = torch.tensor(NO_SITE, dtype=end.dtype, device=end.device)
            end = torch.where(layout.empty[:, None, None], fresh, end)
        return groups, end
