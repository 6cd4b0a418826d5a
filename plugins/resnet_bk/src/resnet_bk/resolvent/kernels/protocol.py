"""What every kernel offers: four operations and their exact gradients, on tensors that were prepared for it.

Prepared means: one dtype, float32 or float64 (or its complex partner); leading dimensions broadcast;
`energy` and `eta` of shape (..., N), or (..., 1) where all sites of a sequence share them, in which case
their gradients are summed over the sites, or (1,) where all sequences do, too. A cotangent of None is zero.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

__all__ = ["CausalGradients", "GateGradients", "Kernel", "SiteGradients", "StateGradients"]


class SiteGradients(NamedTuple):
    """Gradients of the full diagonal."""

    potential: Tensor
    coupling: Tensor
    energy: Tensor
    eta: Tensor


class CausalGradients(NamedTuple):
    """Gradients of the causal diagonal and operator; None where there was no such input."""

    potential: Tensor
    hopping: Tensor | None
    coupling: Tensor | None
    energy: Tensor
    eta: Tensor
    inputs: Tensor | None
    initial_diagonal: Tensor | None
    initial_values: Tensor | None


class GateGradients(NamedTuple):
    """Gradients of the gates."""

    potential: Tensor
    hopping: Tensor
    energy: Tensor
    eta: Tensor
    initial: Tensor | None


class StateGradients(NamedTuple):
    """Gradients of the gated matrix state."""

    queries: Tensor
    keys: Tensor
    values: Tensor
    alpha: Tensor
    beta: Tensor
    initial: Tensor | None


class Kernel(Protocol):
    """One implementation. Reference for the formulas: the module documentation of `resnet_bk.resolvent`."""

    def green_diagonal(self, potential: Tensor, coupling: Tensor, energy: Tensor, eta: Tensor) -> Tensor:
        """G_ii, (..., N) complex."""

    def green_diagonal_backward(
        self, potential: Tensor, coupling: Tensor, energy: Tensor, eta: Tensor, cotangent: Tensor
    ) -> SiteGradients:
        """The gradients for the cotangent of G_ii."""

    def causal(
        self,
        potential: Tensor,
        hopping: Tensor | None,
        coupling: Tensor | None,
        energy: Tensor,
        eta: Tensor,
        inputs: Tensor | None,
        initial_diagonal: Tensor | None,
        initial_values: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        """The causal diagonal (..., N) and, with inputs (..., N, P), the operator's values, both complex."""

    def causal_backward(
        self,
        hopping: Tensor | None,
        coupling: Tensor | None,
        diagonal: Tensor,
        values: Tensor | None,
        initial_diagonal: Tensor | None,
        initial_values: Tensor | None,
        diagonal_cotangent: Tensor | None,
        values_cotangent: Tensor | None,
        *,
        energy_shared: bool,
        eta_shared: bool,
    ) -> CausalGradients:
        """The gradients for the cotangents of both results."""

    def gates(
        self,
        potential: Tensor,
        hopping: Tensor,
        energy: Tensor,
        eta: Tensor,
        initial: Tensor | None,
        *,
        complex_phase: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """alpha, beta, x and q, each (..., N); `initial` is (..., 2): x and q before the first site."""

    def gates_backward(
        self,
        hopping: Tensor,
        eta: Tensor,
        x: Tensor,
        q: Tensor,
        initial: Tensor | None,
        alpha_cotangent: Tensor,
        beta_cotangent: Tensor,
        last_cotangent: Tensor | None,
        *,
        energy_shared: bool,
    ) -> GateGradients:
        """The gradients for the cotangents of alpha, beta and of x and q at the last site."""

    def state(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        alpha: Tensor,
        beta: Tensor,
        initial: Tensor | None,
        *,
        keep: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Outputs, the last state, and with `keep` the states before each chunk, for the way back."""

    def state_backward(
        self,
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
        """The gradients for the cotangents of outputs and last state."""
