"""A million sites are as exact as ten."""

from __future__ import annotations

import pytest
import torch

from resnet_bk.resolvent import causal_gates, causal_green_operator, green_diagonal
from resnet_bk.resolvent.kernels import cpu_library

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


@pytest.mark.parametrize("lanes", [3, 150])
@pytest.mark.parametrize("length", [1024, 4095, 4096, 4097, 9001])
@pytest.mark.parametrize(
    "kind", ["disorder", "absorption", "weak absorption", "clean", "cut", "near the end"]
)
def test_pieces_of_a_long_chain_meet_without_a_seam(kind, length, lanes):
    """The compiled kernel looks ahead only as far as sites count: what is left out changes no digit."""
    if cpu_library.why_not():
        pytest.skip(cpu_library.why_not())
    generator = torch.Generator().manual_seed(length)
    potential = torch.randn(lanes, length, generator=generator, dtype=torch.float64)
    coupling = torch.rand(lanes, length, generator=generator, dtype=torch.float64) + 0.5
    eta = torch.tensor(0.3, dtype=torch.float64)
    if kind == "absorption":
        potential, eta = potential * 0.01, torch.tensor(0.05, dtype=torch.float64)
    elif kind == "weak absorption":
        potential, eta = potential * 0.01, torch.tensor(1e-3, dtype=torch.float64)
    elif kind == "clean":
        potential, coupling, eta = (
            potential * 0,
            torch.ones_like(coupling),
            torch.tensor(1e-5, dtype=torch.float64),
        )
    elif kind == "cut":
        potential, coupling = potential * 0, coupling * (torch.arange(length) % 1024 > 0)
        eta = torch.tensor(1e-4, dtype=torch.float64)
    elif kind == "near the end":
        # Absorption without which the disc does not shrink, but for the last sites.
        eta = torch.where(torch.arange(length) < length - 70, 1e-6, 5.0).double()
        potential, coupling = potential * 0, torch.ones_like(coupling)
    actual = green_diagonal(potential, coupling, 0.4, eta, kernel="cpu")
    expected = green_diagonal(potential, coupling, 0.4, eta, kernel="torch")
    assert float(((actual - expected).abs() / expected.abs()).max()) < 1e-9


def test_float32_pieces_of_a_long_chain_meet_without_a_seam(chain):
    """The same in float32, against float64."""
    if cpu_library.why_not():
        pytest.skip(cpu_library.why_not())
    for eta in (1.0, 0.1, 1e-2):
        h = chain(70, 5000, eta=eta)
        expected = green_diagonal(h.potential, h.coupling, h.energy, h.eta, kernel="cpu")
        single = h.to(torch.float32)
        actual = green_diagonal(single.potential, single.coupling, single.energy, single.eta, kernel="cpu")
        assert float(((actual - expected).abs() / expected.abs()).max()) < 6e-7 / eta
