"""The kernels to test, and oracles that share no code with them: dense inverses and determinants."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

import mpmath
import numpy
import pytest
import torch

from resnet_bk.resolvent import kernel_report

# Triton's interpreter has to be asked for before Triton is imported anywhere: it gets a process of its own,
# which `test_triton.py` starts.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
KERNELS = (
    ["triton"] if INTERPRETED else [c.name for c in kernel_report("cpu") if c.usable and c.name != "triton"]
)


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> str:
    """Every kernel that runs here, one after the other."""
    name: str = request.param
    return name


class Chain(NamedTuple):
    """A tridiagonal H with energy and width."""

    potential: torch.Tensor
    hopping: torch.Tensor
    energy: torch.Tensor
    eta: torch.Tensor

    @property
    def coupling(self) -> torch.Tensor:
        """Products of the hoppings of a symmetric H."""
        return self.hopping * self.hopping

    def to(self, dtype: torch.dtype) -> Chain:
        """The same in another precision."""
        return Chain(*(tensor.to(dtype) for tensor in self))

    def leaves(self) -> Chain:
        """The same as leaves of a graph."""
        return Chain(*(tensor.detach().clone().requires_grad_() for tensor in self))


@pytest.fixture
def chain() -> Callable[..., Chain]:
    """Makes a chain, the same for the same arguments."""

    def make(
        *shape: int,
        potential: float = 1.0,
        hopping: float = 1.0,
        eta: float = 0.1,
        per_site: bool = False,
        seed: int = 0,
    ) -> Chain:
        generator = torch.Generator().manual_seed(seed + 1000 * sum(shape))
        site = shape if per_site else (*shape[:-1], 1)

        def normal(*size: int) -> torch.Tensor:
            return torch.randn(*size, generator=generator, dtype=torch.float64)

        return Chain(
            normal(*shape) * potential,
            normal(*shape) * hopping,
            normal(*site) * 0.5,
            eta * (1 + normal(*site).abs()),
        )

    return make


@pytest.fixture
def dense_resolvent() -> Callable[..., numpy.ndarray]:
    """(H - z)^-1 of whole chains by NumPy's dense inverse, (..., N, N)."""

    def invert(chain: Chain, coupling: torch.Tensor | None = None) -> numpy.ndarray:
        potential = chain.potential.detach().numpy()
        below = chain.hopping.detach().numpy()
        above = below if coupling is None else coupling.detach().numpy() / below
        z = chain.energy.detach().numpy() + 1j * chain.eta.detach().numpy()
        length = potential.shape[-1]
        matrix = numpy.zeros((*potential.shape, length), complex)
        sites = numpy.arange(length)
        matrix[..., sites, sites] = potential - z
        matrix[..., sites[1:], sites[:-1]] = below[..., 1:]
        matrix[..., sites[:-1], sites[1:]] = above[..., 1:]
        return numpy.linalg.inv(matrix)

    return invert


@pytest.fixture
def diagonals_from_determinants() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """G_ii and g_i of one chain as ratios of determinants, in 60 digits."""

    def compute(chain: Chain) -> tuple[torch.Tensor, torch.Tensor]:
        with mpmath.workdps(60):
            length = len(chain.potential)
            energy, eta = mpmath.mpf(chain.energy.item()), mpmath.mpf(chain.eta.item())
            sites = [mpmath.mpc(mpmath.mpf(a) - energy, -eta) for a in chain.potential.tolist()]
            links = [mpmath.mpf(c) ** 2 for c in chain.hopping.tolist()]
            before, after = [mpmath.mpc(1)], [mpmath.mpc(1)] * (length + 1)
            for i in range(length):
                before.append(sites[i] * before[i] - (links[i] * before[i - 1] if i else 0))
            for i in reversed(range(length)):
                after[i] = sites[i] * after[i + 1] - (links[i + 1] * after[i + 2] if i + 1 < length else 0)
            full = [complex(before[i] * after[i + 1] / before[length]) for i in range(length)]
            causal = [complex(before[i] / before[i + 1]) for i in range(length)]
        return torch.tensor(full, dtype=torch.complex128), torch.tensor(causal, dtype=torch.complex128)

    return compute


def relative(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest error relative to the entry."""
    return float(((actual - expected).abs() / expected.abs()).max())


@pytest.fixture(name="relative")
def relative_error() -> Callable[[torch.Tensor, torch.Tensor], float]:
    """The largest error relative to the entry."""
    return relative
