"""A fixed potential with bumps at the logarithms of prime powers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from resnet_bk.errors import InvalidInputError

__all__ = ["PrimeBumpPotential"]

# Beyond this many widths a bump is below the rounding of float64.
_REACH = 9.0
_BLOCK = 4096


class PrimeBumpPotential(nn.Module):  # type: ignore[misc]
    """V(x) = scale sum_p sum_k alpha_{p,k} epsilon^-1/2 exp(-(x - k log p)^2 / (2 epsilon)), p < n_seq prime.

    alpha_{p,k} = (log p) p^{-k (1/2 + epsilon)}, k = 1 ... k_max. On sites x = 0, 1, 2 ... the bumps lie at
    k log p <= k_max log(n_seq): the potential is a landmark at the start of a sequence, and zero to rounding
    after it. It has no parameters and is not saved with a model.

    Args:
        n_seq: Sites that are prepared; primes below it have bumps.
        scale: Height.
        epsilon: Square of the bumps' width in sites.
        k_max: Highest power of a prime.

    Attributes:
        values: V at the sites 0 ... n_seq - 1, (n_seq,).

    Raises:
        InvalidInputError: A number is not positive.
    """

    values: Tensor

    def __init__(self, n_seq: int, scale: float = 0.02, epsilon: float = 1.0, k_max: int = 3) -> None:
        super().__init__()
        for name, value in (("n_seq", n_seq), ("epsilon", epsilon), ("k_max", k_max)):
            _check_positive(name, value)
        self.n_seq = n_seq
        self.scale = scale
        self.epsilon = epsilon
        self.k_max = k_max
        self.register_buffer("values", self._at_sites().to(torch.get_default_dtype()), persistent=False)

    def set_epsilon(self, value: float) -> None:
        """Compute the potential anew with another width.

        Args:
            value: The new epsilon.

        Raises:
            InvalidInputError: It is not positive.
        """
        _check_positive("epsilon", value)
        self.epsilon = value
        with torch.device("cpu"), torch.no_grad():
            self.values.copy_(self._at_sites())

    def _at_sites(self) -> Tensor:
        farthest = self.k_max * math.log(max(self.n_seq, 2)) + _REACH * math.sqrt(self.epsilon)
        reached = min(self.n_seq, math.ceil(farthest) + 1)
        values = torch.zeros(self.n_seq, dtype=torch.float64)
        values[:reached] = self.at(torch.arange(reached, dtype=torch.float64))
        return values

    def at(self, positions: Tensor) -> Tensor:
        """V at any positions, for example at log(1), log(2) ..., where bumps sit on the prime powers.

        Args:
            positions: Where, in the unit of log p.
        """
        logarithms = torch.log(primes_below(self.n_seq).double())
        powers = torch.arange(1, self.k_max + 1, dtype=torch.float64).unsqueeze(-1)
        centres = (powers * logarithms).flatten()
        heights = (logarithms * torch.exp(-powers * (0.5 + self.epsilon) * logarithms)).flatten()
        where = positions.double().cpu().flatten().unsqueeze(-1)
        result = torch.zeros(len(where), dtype=torch.float64)
        for start in range(0, len(centres), _BLOCK):
            distance = where - centres[start : start + _BLOCK]
            result += torch.exp(-(distance**2) / (2 * self.epsilon)) @ heights[start : start + _BLOCK]
        scaled = self.scale / math.sqrt(self.epsilon) * result
        return scaled.reshape(positions.shape).to(positions.device)

    def forward(self, positions: Tensor) -> Tensor:
        """V at whole positions; past n_seq it is the 0 that it tends to.

        Args:
            positions: Sites, whole numbers from 0 on, of any shape.
        """
        known = positions < self.n_seq
        return self.values[positions.clamp(max=self.n_seq - 1)] * known.to(self.values.dtype)


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise InvalidInputError(f"`{name}` is {value}, and must be positive", tensor=name)


def primes_below(limit: int) -> Tensor:
    """The primes less than `limit`, in order."""
    is_prime = torch.ones(max(limit, 2), dtype=torch.bool)
    is_prime[:2] = False
    for number in range(2, math.isqrt(max(limit, 2)) + 1):
        if is_prime[number]:
            is_prime[number * number :: number] = False
    return is_prime.nonzero().flatten()
