"""A million sites are as exact as ten."""

from __future__ import annotations

import pytest
import torch

from resnet_bk.resolvent import causal_gates, causal_green_operator, green_diagonal

LENGTH = 1_000_000


@pytest.fixture(params=["torch", "cpu"])
def long_kernel(request: pytest.FixtureRequest) -> str:
    """The kernels that run compiled or vectorised here; the emulated GPU would take hours."""
    name: str = request.param
    return name


@pytest.mark.parametrize("eta", [1.0, 1e-3])
def test_a_million_sites_solve_the_equation(long_kernel, chain, eta):
    """The operator's values, carried from the right end back, solve (H - z) x = u to rounding."""
    if long_kernel == "torch" and eta < 1:
        pytest.skip("one run of the slow kernel is enough")
    h = chain(LENGTH, eta=eta)
    inputs = torch.randn(LENGTH, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    values, diagonal = causal_green_operator(
        inputs, h.potential, h.hopping, h.energy, h.eta, kernel=long_kernel
    )
    assert torch.isfinite(torch.view_as_real(values)).all()
    # y is forward elimination; back substitution x_i = y_i - g_i c_{i+1} x_{i+1} completes the solution.
    y, g, c = values[:, 0].numpy(), diagonal.numpy(), h.hopping.numpy()
    x = y.copy()
    for i in range(LENGTH - 2, -1, -1):
        x[i] -= g[i] * c[i + 1] * x[i + 1]
    z = h.energy.item() + 1j * h.eta.item()
    residual = (h.potential.numpy() - z) * x - inputs[:, 0].numpy()
    residual[1:] += c[1:] * x[:-1]
    residual[:-1] += c[1:] * x[1:]
    assert abs(residual).max() < 1e-12 * abs(x).max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_million_sites_stay_finite_and_bounded(long_kernel, chain, dtype):
    """No value leaves its bound: |G| <= 1 / eta, |alpha|^2 + beta = 1."""
    h = chain(LENGTH, potential=30.0, eta=1e-3).to(dtype)
    full = green_diagonal(h.potential, h.coupling, h.energy, h.eta, kernel=long_kernel)
    assert float(full.abs().max()) <= (1 + 1e-5) / h.eta.item()
    gates = causal_gates(h.potential, h.hopping, h.energy, h.eta, kernel=long_kernel)
    norm = gates.alpha.double() ** 2 + gates.beta.double()
    assert float((norm[1:] - 1).abs().max()) < 20 * torch.finfo(dtype).eps
