"""The Birman-Schwinger core: the resolvent of a Laplacian with a potential, and what is known of it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from resnet_bk.errors import InvalidInputError
from resnet_bk.resolvent import green_diagonal
from resnet_bk.resolvent.kernels.scans import linear_scan
from resnet_bk.semiseparable import woodbury_diagonal

__all__ = ["BirmanSchwingerCore"]

_CENTRE = -2.0


class BirmanSchwingerCore(nn.Module):  # type: ignore[misc]
    """G = diag((H_0 + V - z)^-1), H_0 the lattice Laplacian (diagonal -2, beside it 1), V the potential.

    With `use_semiseparable` H has a learned low-rank part besides, (U V^T + V U^T) / 2: symmetric, so that H
    stays self-adjoint and |G| <= 1 / Im z holds. It enters through the Woodbury identity with the whole
    resolvent. Time and memory are O(N rank), nothing is N x N, and the gradient with respect to v, U and V
    is exact. G sees the future.

    Args:
        n_seq: Longest sequence (U and V have as many rows).
        epsilon: Factor on Im z: below 1 the resolvent is sharper and reaches farther.
        use_mourre: Whether to report the Mourre constant.
        use_lap: Whether to report whether the limiting absorption principle holds.
        schatten_threshold: Reported as exceeded where the Hilbert-Schmidt norm is larger.
        precision_upgrade_threshold: Where the condition number may be larger, float32 is computed in float64.
        use_semiseparable: Whether there is a low-rank part; without it H is tridiagonal.
        semiseparable_rank: Columns of U and V; None for log2 of n_seq, rounded up.
    """

    def __init__(
        self,
        n_seq: int,
        epsilon: float = 1.0,
        use_mourre: bool = True,
        use_lap: bool = True,
        schatten_threshold: float = 100.0,
        precision_upgrade_threshold: float = 1e6,
        use_semiseparable: bool = True,
        semiseparable_rank: int | None = None,
    ) -> None:
        super().__init__()
        self.n_seq = n_seq
        self.epsilon = epsilon
        self.use_mourre = use_mourre
        self.use_lap = use_lap
        self.schatten_threshold = schatten_threshold
        self.precision_upgrade_threshold = precision_upgrade_threshold
        self.use_semiseparable = use_semiseparable
        if use_semiseparable:
            rank = semiseparable_rank or max(1, math.ceil(math.log2(n_seq)))
            self.U = nn.Parameter(0.01 * torch.randn(n_seq, rank))
            self.V = nn.Parameter(0.01 * torch.randn(n_seq, rank))

    def forward(self, v: Tensor, z: complex = 1.0j) -> tuple[Tensor, dict[str, Any]]:
        """The features and what is known about them.

        Args:
            v: The potential, (..., N), N <= n_seq.
            z: The energy, Im z > 0.

        Returns:
            Real and imaginary part of G, (..., N, 2), in the type of `v` (float32 at least), and a dictionary
            without gradients: `hilbert_schmidt_norm` of |V|^1/2 R_0(z) |V|^1/2 for each sequence (R_0 the
            resolvent of the endless lattice), `schatten_exceeded`, `condition_bound`, `precision`, and where
            asked for `mourre_constant` (of the free lattice at Re z: positive inside its band) and
            `limiting_absorption` (whether the free resolvent has a limit at the real axis there).

        Raises:
            InvalidInputError: Im z is not positive, or the sequence is too long.
        """
        if v.shape[-1] > self.n_seq:
            raise InvalidInputError(
                f"`v` has {v.shape[-1]} sites, more than n_seq, {self.n_seq}",
                tensor="v",
                advice="Raise n_seq.",
            )
        energy, eta = complex(z).real, complex(z).imag * self.epsilon
        if not eta > 0:
            raise InvalidInputError(
                f"`z` is {z}",
                tensor="z",
                why="its imaginary part must be positive: on the real axis the resolvent need not exist",
                advice="Pass for example z=1.0j.",
            )
        dtype = torch.float64 if v.dtype == torch.float64 else torch.float32
        diagnostics = self._diagnose(v.detach().double(), energy, eta)
        worst = float(diagnostics["condition_bound"].max())
        upgraded = dtype == torch.float32 and worst > self.precision_upgrade_threshold
        working = torch.float64 if upgraded else dtype
        diagnostics["precision"] = str(working).removeprefix("torch.")
        with torch.autocast(v.device.type, enabled=False):
            diagonal = self._diagonal(v.to(working), energy, eta)
        return torch.view_as_real(diagonal.resolve_conj()).to(dtype), diagnostics

    def _diagonal(self, v: Tensor, energy: float, eta: float) -> Tensor:
        link = torch.ones_like(v[..., :1]).expand(*v.shape)
        if not self.use_semiseparable:
            return green_diagonal(v + _CENTRE, link, energy, eta)
        u, w = self.U[: v.shape[-1]].to(v.dtype), self.V[: v.shape[-1]].to(v.dtype)
        return woodbury_diagonal(
            v + _CENTRE, link, link, torch.cat([u, w], -1) / 2, torch.cat([w, u], -1), energy, eta
        )

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _diagnose(self, v: Tensor, energy: float, eta: float) -> dict[str, Any]:
        norm = _hilbert_schmidt_norm(v.abs(), complex(energy, eta))
        low_rank = 0.0
        if self.use_semiseparable:
            low_rank = float(
                torch.linalg.matrix_norm(self.U.double(), 2) * torch.linalg.matrix_norm(self.V.double(), 2)
            )
        # |H - z| by Gershgorin's circles, |(H - z)^-1| <= 1 / Im z as H is self-adjoint.
        reach = (v + _CENTRE - energy).abs().amax(-1) + 2 + low_rank
        facts: dict[str, Any] = {
            "hilbert_schmidt_norm": norm,
            "schatten_exceeded": norm > self.schatten_threshold,
            "condition_bound": torch.sqrt(reach**2 + eta**2) / eta,
        }
        constant = 4 - (energy - _CENTRE) ** 2
        if self.use_mourre:
            facts["mourre_constant"] = max(constant, 0.0)
        if self.use_lap:
            facts["limiting_absorption"] = constant > 0
        return facts


def _hilbert_schmidt_norm(weight: Tensor, z: complex) -> Tensor:
    """The norm of |V|^1/2 R_0 |V|^1/2 in O(N): |R_0(i, j)|^2 = ratio^|i - j| / |lam - 1 / lam|^2.

    lam solves lam + 1 / lam = z + 2 inside the unit circle.
    """
    half = (z - _CENTRE) / 2
    root = (half * half - 1) ** 0.5
    inside = min(half - root, half + root, key=abs)
    ratio = abs(inside) ** 2
    before = linear_scan(torch.full_like(weight, ratio), ratio * weight.to(torch.complex128), None).real
    reached = nn.functional.pad(before[..., :-1], (1, 0))
    total = (weight * (weight + 2 * reached)).sum(-1)
    return total.sqrt() / abs(inside - 1 / inside)
