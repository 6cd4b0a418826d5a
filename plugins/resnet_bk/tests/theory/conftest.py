"""A random self-adjoint chain."""

from __future__ import annotations

from typing import Any

import pytest
import torch


@pytest.fixture(params=[1.0, 0.1, 1e-3])
def eta(request: pytest.FixtureRequest) -> float:
    """The width."""
    value: float = request.param
    return value


@pytest.fixture
def disorder(eta: float) -> dict[str, Any]:
    """A chain of 200 sites with random potential and hopping, for a batch of three energies."""
    generator = torch.Generator().manual_seed(7)
    return {
        "potential": torch.randn(3, 200, generator=generator, dtype=torch.float64),
        "hopping": torch.randn(3, 200, generator=generator, dtype=torch.float64),
        "energy": torch.tensor([[-1.5], [0.0], [0.8]], dtype=torch.float64),
        "eta": torch.full((3, 1), eta, dtype=torch.float64),
    }
