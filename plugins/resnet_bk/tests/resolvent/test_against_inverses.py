"""Every kernel gives the diagonals and the operator that a dense inverse gives."""

from __future__ import annotations

import os

import numpy
import pytest
import torch

from resnet_bk.resolvent import causal_green_diagonal, causal_green_operator, green_diagonal

# What float32 keeps: measured 2 to 3e-7 at eta = 1, growing as 1 / eta at most.
FLOAT32 = 6e-7
# Interpreting Triton is slow.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
LENGTHS = [1, 2, 3, 31, 70] if INTERPRETED else [1, 2, 3, 31, 130, 512]


@pytest.mark.parametrize("eta", [1.0, 0.1, 1e-3])
@pytest.mark.parametrize("length", LENGTHS)
def test_full_diagonal_equals_the_dense_inverse(kernel, chain, dense_resolvent, relative, length, eta):
    """G_ii is the diagonal of the inverse, for any leading dimensions."""
    h = chain(2, 3, length, eta=eta)
    expected = numpy.diagonal(dense_resolvent(h), axis1=-2, axis2=-1)
    actual = green_diagonal(h.potential, h.coupling, h.energy, h.eta, kernel=kernel)
    assert relative(actual, torch.from_numpy(expected.copy())) < 1e-10


@pytest.mark.parametrize("eta", [1.0, 1e-3])
@pytest.mark.parametrize("hopping", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("potential", [0.0, 1e-3, 1.0, 1e4])
def test_extreme_chains_keep_their_digits(
    kernel, chain, diagonals_from_determinants, relative, potential, hopping, eta
):
    """Ten digits in float64 from weak to strong hopping and potential, resonances included."""
    h = chain(40 if INTERPRETED else 100, potential=potential, hopping=hopping, eta=eta)
    full, causal = diagonals_from_determinants(h)
    assert relative(green_diagonal(h.potential, h.coupling, h.energy, h.eta, kernel=kernel), full) < 1e-10
    assert (
        relative(causal_green_diagonal(h.potential, h.coupling, h.energy, h.eta, kernel=kernel), causal)
        < 1e-10
    )


@pytest.mark.parametrize("eta", [1.0, 0.1, 1e-2, 1e-3])
@pytest.mark.parametrize("potential", [1e-3, 1.0, 1e4])
def test_float32_loses_no_more_than_one_over_eta(
    kernel, chain, diagonals_from_determinants, relative, potential, eta
):
    """Relative error below 6e-7 / eta (below 6e-7 at eta = 1) for both diagonals."""
    h = chain(70 if INTERPRETED else 300, potential=potential, eta=eta).to(torch.float32)
    full, causal = diagonals_from_determinants(h)
    coupling = h.coupling
    actual = green_diagonal(h.potential, coupling, h.energy, h.eta, kernel=kernel)
    assert actual.dtype == torch.complex64
    assert relative(actual, full) < FLOAT32 / eta
    actual = causal_green_diagonal(h.potential, coupling, h.energy, h.eta, kernel=kernel)
    assert relative(actual, causal) < FLOAT32 / eta


def test_constant_chain_has_the_known_limit(kernel):
    """Far from its ends the free chain's G is 1 / sqrt((E + i eta)^2 - 4), up to the branch."""
    length, eta = 400, 0.1
    potential, coupling = torch.zeros(length, dtype=torch.float64), torch.ones(length, dtype=torch.float64)
    actual = green_diagonal(potential, coupling, 0.5, eta, kernel=kernel)[length // 2]
    z = torch.tensor(0.5 + 1j * eta, dtype=torch.complex128)
    expected = -1 / torch.sqrt(z * z - 4)
    assert min(abs(actual - expected), abs(actual + expected)) < 1e-9


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("eta", [1.0, 1e-3])
def test_operator_equals_the_last_rows_of_inverses(kernel, chain, dense_resolvent, symmetric, eta):
    """y_i applies the last row of the inverse of the first i + 1 sites, also where b and c differ."""
    h = chain(2, 70, eta=eta, seed=3)
    coupling = None if symmetric else h.hopping.abs() * (0.5 + torch.rand(2, 70, dtype=torch.float64))
    if coupling is not None:
        h = h._replace(hopping=h.hopping.abs())
    inputs = torch.randn(2, 70, 3, dtype=torch.float64)
    values, diagonal = causal_green_operator(
        inputs, h.potential, h.hopping, h.energy, h.eta, coupling=coupling, kernel=kernel
    )
    for last in (0, 1, 40, 69):
        part = h._replace(potential=h.potential[:, : last + 1], hopping=h.hopping[:, : last + 1])
        inverse = dense_resolvent(part, None if coupling is None else coupling[:, : last + 1])
        expected = numpy.einsum("bj,bjp->bp", inverse[:, -1], inputs[:, : last + 1].numpy())
        scale = numpy.abs(expected).max()
        assert numpy.abs(values[:, last].numpy() - expected).max() < 1e-10 * scale
        assert numpy.abs(diagonal[:, last].numpy() / inverse[:, -1, -1] - 1).max() < 1e-10


def test_first_coupling_does_not_count(kernel, chain):
    """The coupling of the first site links to nothing: any value gives the same, and its gradient is 0."""
    h = chain(2, 20).leaves()
    coupling = h.coupling.detach().requires_grad_()
    other = coupling.detach().clone()
    other[:, 0] = 7.0
    first = green_diagonal(h.potential, coupling, h.energy, h.eta, kernel=kernel)
    assert torch.equal(first, green_diagonal(h.potential, other, h.energy, h.eta, kernel=kernel))
    first.abs().sum().backward()
    assert torch.equal(coupling.grad[:, 0], torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["strided", "broadcast", "sliced"])
def test_layout_in_memory_makes_no_difference(kernel, chain, kind):
    """Transposed, broadcast and sliced tensors give what contiguous ones give."""
    h = chain(4, 40, per_site=True)
    expected = green_diagonal(h.potential, h.coupling, h.energy, h.eta, kernel=kernel)
    if kind == "strided":
        tensors = [t.t().contiguous().t() for t in (h.potential, h.coupling, h.energy, h.eta)]
    elif kind == "sliced":
        tensors = [torch.stack([t, t * 0], -1)[..., 0] for t in (h.potential, h.coupling, h.energy, h.eta)]
    else:
        tensors = [t[0].expand(4, 40) for t in (h.potential, h.coupling, h.energy, h.eta)]
        expected = expected[:1].expand(4, 40)
    actual = green_diagonal(*tensors, kernel=kernel)
    torch.testing.assert_close(actual, expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("lead", [(), (5,), (2, 3), (2, 1, 3, 2, 2)])
def test_leading_dimensions_are_free(kernel, chain, lead):
    """Any number of leading dimensions, each an independent chain."""
    h = chain(*lead, 12)
    actual = green_diagonal(h.potential, h.coupling, h.energy, h.eta, kernel=kernel)
    assert actual.shape == (*lead, 12)
    flat = green_diagonal(
        h.potential.reshape(-1, 12),
        h.coupling.reshape(-1, 12),
        h.energy.reshape(-1, 1),
        h.eta.reshape(-1, 1),
        kernel=kernel,
    )
    torch.testing.assert_close(actual.reshape(-1, 12), flat, rtol=1e-13, atol=0)
