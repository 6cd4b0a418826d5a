"""Every kernel's gradients are those of the function it computes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch.autograd import gradcheck as full_gradcheck

from resnet_bk.resolvent import (
    causal_gates,
    causal_green_diagonal,
    causal_green_operator,
    gated_state,
    green_diagonal,
)

# Interpreting Triton is slow.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
LENGTHS = [3] if INTERPRETED else [1, 2, 5]


def gradcheck(function: Callable[..., Any], inputs: Sequence[torch.Tensor]) -> bool:
    """Every entry of the Jacobian; random directions only where Triton is interpreted."""
    return full_gradcheck(function, tuple(inputs), fast_mode=INTERPRETED)


def complex_leaf(*shape: int) -> torch.Tensor:
    """Random complex numbers as a leaf of a graph."""
    return torch.randn(*shape, dtype=torch.complex128).requires_grad_()


def real_leaf(*shape: int) -> torch.Tensor:
    """Random real numbers as a leaf of a graph."""
    return torch.randn(*shape, dtype=torch.float64).requires_grad_()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every run."""
    torch.manual_seed(5)


@pytest.mark.parametrize("per_site", [True, False])
@pytest.mark.parametrize("length", LENGTHS)
def test_full_diagonal(kernel, chain, length, per_site):
    """Potential, coupling, energy and eta, the last two shared or site by site."""
    h = chain(2, length, per_site=per_site, eta=0.5).leaves()
    coupling = h.coupling.detach().requires_grad_()
    assert gradcheck(lambda *x: green_diagonal(*x, kernel=kernel), (h.potential, coupling, h.energy, h.eta))


@pytest.mark.parametrize("per_site", [True, False])
@pytest.mark.parametrize("length", LENGTHS)
def test_causal_diagonal(kernel, chain, length, per_site):
    """The same, and the value to go on from."""
    h = chain(2, length, per_site=per_site, eta=0.5).leaves()
    coupling = h.coupling.detach().requires_grad_()
    assert gradcheck(
        lambda a, s, e, w, i: causal_green_diagonal(a, s, e, w, initial=i, kernel=kernel),
        (h.potential, coupling, h.energy, h.eta, complex_leaf(2)),
    )


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("length", LENGTHS)
def test_operator(kernel, chain, length, symmetric):
    """Inputs, sites, hopping, a coupling of its own; both results and both initial values count."""
    h = chain(2, length, per_site=symmetric, eta=0.5).leaves()
    inputs, values, diagonal = real_leaf(2, length, 2), complex_leaf(2, 2), complex_leaf(2)
    coupling = [] if symmetric else [h.coupling.detach().requires_grad_()]
    assert gradcheck(
        lambda u, a, c, e, w, y, g, *s: tuple(
            causal_green_operator(u, a, c, e, w, coupling=s[0] if s else None, initial=(y, g), kernel=kernel)
        ),
        (inputs, h.potential, h.hopping, h.energy, h.eta, values, diagonal, *coupling),
    )


@pytest.mark.parametrize("phase", ["real", "complex"])
@pytest.mark.parametrize("started", [True, False])
@pytest.mark.parametrize("length", LENGTHS)
def test_gates(kernel, chain, length, started, phase):
    """alpha, beta and the state, with and without a state to go on from."""
    h = chain(2, length, per_site=started, eta=0.5).leaves()
    state = [torch.tensor([[0.3, 0.8], [-1.0, 0.4]], dtype=torch.float64).requires_grad_()] if started else []
    assert gradcheck(
        lambda a, c, e, w, *i: tuple(
            causal_gates(a, c, e, w, phase=phase, initial=i[0] if i else None, kernel=kernel)
        ),
        (*h, *state),
    )


@pytest.mark.parametrize("kind", [torch.float64, torch.complex128])
@pytest.mark.parametrize("started", [True, False])
@pytest.mark.parametrize("length", [3] if INTERPRETED else [1, 3])
def test_matrix_state(kernel, length, started, kind):
    """Queries, keys, values, gates (one of them exactly 0) and the state to go on from."""
    gate = torch.randn(2, length, dtype=kind) * 0.6
    gate[0, length // 2] = 0
    share = (torch.rand(2, length, dtype=torch.float64) + 0.2).requires_grad_()
    state = [torch.randn(2, 2, 2, dtype=kind).requires_grad_()] if started else []
    assert gradcheck(
        lambda q, k, v, a, b, *i: tuple(
            gated_state(q, k, v, a, b, initial=i[0] if i else None, kernel=kernel)
        ),
        (
            real_leaf(2, length, 2),
            real_leaf(2, length, 2),
            real_leaf(2, length, 2),
            gate.requires_grad_(),
            share,
            *state,
        ),
    )


@pytest.mark.parametrize("eta", [1.0, 1e-3])
def test_full_diagonal_agrees_with_differentiating_a_dense_inverse(kernel, chain, eta):
    """64 sites at small width, against PyTorch's own gradient of torch.linalg.inv."""
    h = chain(64, eta=eta).leaves()
    weight = torch.randn(64, dtype=torch.complex128)
    dense = h.leaves()
    matrix = (
        torch.diag(dense.potential - dense.energy).to(torch.complex128)
        + torch.diag(dense.hopping[1:], 1)
        + torch.diag(dense.hopping[1:], -1)
        - 1j * torch.eye(64, dtype=torch.float64) * dense.eta
    )
    (torch.linalg.inv(matrix).diagonal() * weight).real.sum().backward()
    (green_diagonal(h.potential, h.coupling, h.energy, h.eta, kernel=kernel) * weight).real.sum().backward()
    for ours, theirs in zip(h, dense, strict=True):
        assert float((ours.grad - theirs.grad).abs().max()) < 1e-10 * float(theirs.grad.abs().max())


@pytest.mark.parametrize("eta", [1.0, 1e-3])
def test_operator_agrees_with_differentiating_dense_inverses(kernel, chain, eta):
    """The last row of the inverse of every leading block, differentiated by PyTorch."""
    length = 24
    h = chain(length, eta=eta).leaves()
    dense = h.leaves()
    inputs, weight = (
        torch.randn(length, 2, dtype=torch.float64),
        torch.randn(length, 2, dtype=torch.complex128),
    )
    ours, theirs = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    loss = torch.zeros((), dtype=torch.float64)
    for last in range(1, length + 1):
        below = dense.hopping[1:last]
        matrix = torch.diag(dense.potential[:last] - dense.energy).to(torch.complex128)
        matrix = matrix + torch.diag(below, 1) + torch.diag(below, -1)
        matrix = matrix - 1j * torch.eye(last, dtype=torch.float64) * dense.eta
        row = torch.linalg.inv(matrix)[-1]
        loss = loss + ((row @ theirs[:last].to(torch.complex128)) * weight[last - 1]).real.sum()
    loss.backward()
    values = causal_green_operator(ours, h.potential, h.hopping, h.energy, h.eta, kernel=kernel).values
    (values * weight).real.sum().backward()
    for mine, other in zip((*h, ours), (*dense, theirs), strict=True):
        assert float((mine.grad - other.grad).abs().max()) < 1e-9 * float(other.grad.abs().max())


@pytest.mark.parametrize("kind", [torch.float64, torch.complex128])
def test_matrix_state_of_many_chunks_agrees_with_a_plain_loop(kernel, kind):
    """More sites than two chunks have: outputs, last state and gradients are those of a loop."""
    torch.manual_seed(2)
    length, keys, values = 75 if INTERPRETED else 150, 5, 19
    gate = torch.rand(2, length, dtype=torch.float64).to(kind)
    gate = gate * torch.exp(1j * torch.rand(2, length, dtype=torch.float64)) if kind.is_complex else gate
    tensors = (
        torch.randn(2, length, keys, dtype=torch.float64),
        torch.randn(2, length, keys, dtype=torch.float64),
        torch.randn(2, length, values, dtype=torch.float64),
        gate,
        torch.rand(2, length, dtype=torch.float64) + 0.1,
        torch.randn(2, keys, values, dtype=kind),
    )
    leaves = [[tensor.clone().requires_grad_() for tensor in tensors] for _ in range(2)]
    weight = torch.randn(2, length, values, dtype=torch.float64)
    q, k, v, alpha, beta, state = leaves[0]
    outputs = []
    for t in range(length):
        arriving = (beta[:, t].sqrt()[:, None] * k[:, t]).unsqueeze(-1) * v[:, t].unsqueeze(-2)
        state = alpha[:, t, None, None] * state + arriving
        real = state.real if kind.is_complex else state
        outputs.append((q[:, t].unsqueeze(-2) @ real).squeeze(-2))
    expected = torch.stack(outputs, 1)
    ((expected * weight).sum() + (state.abs() ** 2).sum()).backward()
    actual = gated_state(*leaves[1][:5], initial=leaves[1][5], kernel=kernel)
    ((actual.outputs * weight).sum() + (actual.state.abs() ** 2).sum()).backward()
    torch.testing.assert_close(actual.outputs, expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(actual.state, state, rtol=1e-11, atol=1e-11)
    for mine, other in zip(leaves[1], leaves[0], strict=True):
        scale = float(other.grad.abs().max())
        assert float((mine.grad - other.grad).abs().max()) < 1e-11 * scale


def test_gradients_of_extreme_chains_keep_their_digits(kernel, chain):
    """Strong hopping, weak potential, small width: kernels agree with the compiled one to ten digits."""
    results = []
    for name in (kernel, "torch"):
        h = chain(100, potential=1e-3, hopping=1e4, eta=1e-3).leaves()
        gates = causal_gates(*h, kernel=name, phase="complex")
        full = green_diagonal(h.potential, h.coupling, h.energy, h.eta, kernel=name)
        loss = gates.alpha.real.sum() - gates.alpha.imag.sum() + gates.beta.sum() + full.real.sum()
        results.append(torch.autograd.grad(loss + full.imag.sum(), tuple(h)))
    for mine, other in zip(*results, strict=True):
        assert float((mine - other).abs().max()) < 1e-10 * float(other.abs().max())
