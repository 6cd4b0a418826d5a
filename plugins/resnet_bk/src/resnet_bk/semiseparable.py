"""Tridiagonal plus low rank: found in a matrix, applied, inverted, without an N x N matrix of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from resnet_bk.errors import InvalidInputError
from resnet_bk.resolvent import green_diagonal, green_operator

if TYPE_CHECKING:
    from typing import Any

__all__ = ["SemiseparableMatrix", "woodbury_diagonal"]

_SWEEPS = 500
_CONVERGED = 1e-12
_EXACT = 1e-9


class SemiseparableMatrix(nn.Module):  # type: ignore[misc]
    """H = T + U V^T with T tridiagonal: O(N rank) to store, to apply and to take the resolvent's diagonal of.

    Args:
        n_seq: N.
        rank: Columns of U and V; None for log2 N, rounded up.
        device: Where it is kept.
        dtype: float32 or float64.

    Attributes:
        bands: T, (3, N): the main diagonal; entries (i - 1, i) above it at position i; entries (i, i - 1)
            below it at position i. The first entry of the last two is 0.
        U: (N, rank).
        V: (N, rank).
    """

    bands: Tensor

    def __init__(
        self,
        n_seq: int,
        rank: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.n_seq = n_seq
        self.rank = max(1, math.ceil(math.log2(n_seq))) if rank is None else rank
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        self.register_buffer("bands", torch.zeros(3, n_seq, **where))
        self.U = nn.Parameter(torch.zeros(n_seq, self.rank, **where))
        self.V = nn.Parameter(torch.zeros(n_seq, self.rank, **where))

    def factorize(self, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find T, U and V with H = T + U V^T, keep them, and give them.

        U V^T is fitted to H outside the three diagonals only, by alternating least squares: what T has there
        says nothing about U and V. A matrix of that form is found again; from another one, T takes the three
        diagonals exactly and U V^T comes near the rest.

        Args:
            matrix: H, (N, N).

        Returns:
            T as `bands` (3, N), U and V, (N, rank).

        Raises:
            InvalidInputError: H has another shape.
        """
        if matrix.shape != (self.n_seq, self.n_seq):
            raise InvalidInputError(
                f"`matrix` has the shape {tuple(matrix.shape)}, and must have {(self.n_seq, self.n_seq)}",
                tensor="matrix",
            )
        with torch.no_grad():
            u, v = _fit_outside_bands(matrix.detach().double(), self.rank)
            self.U.copy_(u)
            self.V.copy_(v)
            self.bands.copy_(_bands_of(matrix.detach().double(), u, v))
        return self.bands, self.U.detach(), self.V.detach()

    def matvec(self, x: Tensor) -> Tensor:
        """H x in O(N rank).

        Args:
            x: (..., N).
        """
        main, above, below = self.bands
        result = main * x + (x @ self.V) @ self.U.mT
        result[..., :-1] += above[1:] * x[..., 1:]
        result[..., 1:] += below[1:] * x[..., :-1]
        return result

    def forward(self, x: Tensor) -> Tensor:
        """The same as `matvec`."""
        return self.matvec(x)

    def resolvent_diagonal(self, z: complex, potential: Tensor | None = None) -> Tensor:
        """diag((H + potential - z)^-1) in O(N rank^2): Woodbury's identity with the whole resolvent of T.

        Args:
            z: The energy, Im z > 0.
            potential: Added to the main diagonal, (..., N).

        Returns:
            (..., N), complex.

        Raises:
            InvalidInputError: Im z is not positive, or entries above and below the diagonal differ in sign.
        """
        main, above, below = self.bands
        diagonal = main if potential is None else main + potential
        return woodbury_diagonal(diagonal, below, above, self.U, self.V, z.real, z.imag)


def woodbury_diagonal(
    potential: Tensor,
    below: Tensor,
    above: Tensor,
    u: Tensor,
    v: Tensor,
    energy: Tensor | float,
    eta: Tensor | float,
) -> Tensor:
    """diag((T + U V^T - z)^-1) = diag(G - G U (1 + V^T G U)^-1 V^T G), G = (T - z)^-1.

    Args:
        potential: Main diagonal of T, (..., N).
        below: Entries (i, i - 1) at position i, (N,).
        above: Entries (i - 1, i) at position i, (N,).
        u: (N, rank).
        v: (N, rank).
        energy: Re z.
        eta: Im z.
    """
    left = green_operator(u, potential, below, energy, eta, upper=above)
    right = green_operator(v, potential, above, energy, eta, upper=below)
    small = v.to(left.dtype).mT @ left
    small = small + torch.eye(small.shape[-1], dtype=small.dtype, device=small.device)
    inner = torch.linalg.solve(small, right.mT)
    return green_diagonal(potential, below * above, energy, eta) - (left * inner.mT).sum(-1)


def _fit_outside_bands(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """U and V with U V^T as near as may be to `matrix` outside its three middle diagonals."""
    outside = _without_bands(matrix)
    scale = float(outside.norm()) or 1.0
    # With columns to spare alternating least squares creeps: the rank is read off two blocks that T does not
    # touch.
    half = len(matrix) // 2
    blocks = (matrix[:half, half + 1 :], matrix[half + 1 :, :half])
    needed = max(
        (int(torch.linalg.matrix_rank(block, rtol=1e-10)) for block in blocks if block.numel()), default=0
    )
    tries = sorted({min(max(needed, 1), rank, len(matrix)), min(rank, len(matrix))})
    best, smallest = None, math.inf
    for columns in tries:
        u, v = _alternate(outside, columns)
        error = float((_without_bands(u @ v.mT) - outside).norm()) / scale
        if error < smallest:
            best, smallest = (u, v), error
        if error <= _EXACT:
            break
    assert best is not None
    return _balanced(*best, rank)


def _alternate(outside: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Alternating least squares from the singular vectors of what is known."""
    start, sizes, _ = torch.linalg.svd(outside)
    u = start[:, :rank] * sizes[:rank].sqrt()
    v, last = u, 2.0
    scale = float(outside.norm()) or 1.0
    for _ in range(_SWEEPS):
        v = _solve_rows(outside.mT, u)
        u = _solve_rows(outside, v)
        error = float((_without_bands(u @ v.mT) - outside).norm()) / scale
        if error <= _CONVERGED or abs(last - error) <= _CONVERGED * last:
            break
        last = error
    return u, v


def _balanced(u: Tensor, v: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The same product with equal shares of its size on both sides, and `rank` columns."""
    left, upper = torch.linalg.qr(u)
    right, lower = torch.linalg.qr(v)
    inner, strengths, other = torch.linalg.svd(upper @ lower.mT)
    root = strengths.sqrt()
    padding = (0, rank - u.shape[1])
    return (
        nn.functional.pad(left @ inner * root, padding),
        nn.functional.pad(right @ other.mT * root, padding),
    )


def _without_bands(matrix: Tensor) -> Tensor:
    result = matrix.clone()
    for offset in (-1, 0, 1):
        result.diagonal(offset).zero_()
    return result


def _solve_rows(rows: Tensor, basis: Tensor) -> Tensor:
    """For each row i the coefficients of the basis that fit it best outside sites i - 1, i, i + 1."""
    outer = basis.unsqueeze(-1) * basis.unsqueeze(-2)
    missing = outer.clone()
    missing[1:] += outer[:-1]
    missing[:-1] += outer[1:]
    normal = basis.mT @ basis - missing
    inverse = torch.linalg.pinv(normal, hermitian=True, rtol=1e-14)
    return (inverse @ (rows @ basis).unsqueeze(-1)).squeeze(-1)


def _bands_of(matrix: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """What the three middle diagonals of `matrix` have beyond those of U V^T."""
    bands = matrix.new_zeros(3, len(matrix))
    bands[0] = matrix.diagonal() - (u * v).sum(-1)
    bands[1, 1:] = matrix.diagonal(1) - (u[:-1] * v[1:]).sum(-1)
    bands[2, 1:] = matrix.diagonal(-1) - (u[1:] * v[:-1]).sum(-1)
    return bands
