"""Identities of the resolvent of a self-adjoint chain that the code has to obey."""

from __future__ import annotations

import pytest
import torch

from resnet_bk.resolvent import (
    causal_gates,
    causal_green_diagonal,
    causal_green_operator,
    gated_state,
    green_diagonal,
    green_operator,
)
from resnet_bk.semiseparable import woodbury_diagonal


def test_denominators_lie_below_the_real_axis(disorder, eta):
    """Herglotz: Im d <= -eta, so |g| and |G| are at most 1 / eta, and Im G is positive."""
    h = {**disorder, "coupling": disorder["hopping"] ** 2}
    del h["hopping"]
    g = causal_green_diagonal(**h)
    assert float((1 / g).imag.max()) <= -eta * (1 - 1e-12)
    full = green_diagonal(**h)
    assert float(full.imag.min()) > 0
    assert float(full.abs().max()) <= (1 + 1e-12) / eta


def test_ward_identity(disorder, eta):
    """sum_j |G_ij|^2 = Im G_ii / eta for every row of the whole resolvent."""
    identity = torch.eye(200, dtype=torch.float64).expand(3, 200, 200)
    columns = green_operator(identity, *disorder.values())
    full = green_diagonal(
        disorder["potential"], disorder["hopping"] ** 2, disorder["energy"], disorder["eta"]
    )
    torch.testing.assert_close(columns.abs().square().sum(-1), full.imag / eta, rtol=1e-9, atol=0)


def test_ward_identity_with_a_width_for_every_site(disorder):
    """sum_j eta_j |G_ij|^2 = Im g_i for the last row of every leading block."""
    width = 0.01 + torch.rand(3, 200, dtype=torch.float64)
    identity = torch.eye(200, dtype=torch.float64).expand(3, 200, 200)
    rows, g = causal_green_operator(
        identity, disorder["potential"], disorder["hopping"], disorder["energy"], width
    )
    weighted = (rows.abs().square() * width.unsqueeze(-2)).sum(-1)
    torch.testing.assert_close(weighted, g.imag, rtol=1e-9, atol=0)


def test_whole_resolvent_solves_the_equation(disorder):
    """(H - z) x = u."""
    inputs = torch.randn(3, 200, 2, dtype=torch.float64)
    x = green_operator(inputs, *disorder.values())
    z = torch.complex(disorder["energy"], disorder["eta"])
    c = disorder["hopping"].unsqueeze(-1)
    result = (disorder["potential"] - z).unsqueeze(-1) * x
    result[:, 1:] += c[:, 1:] * x[:, :-1]
    result[:, :-1] += c[:, 1:] * x[:, 1:]
    assert float((result - inputs).abs().max()) < 1e-10 * float(x.abs().max())


@pytest.mark.parametrize("phase", ["real", "complex"])
def test_gates_are_in_normal_form(disorder, phase):
    """|alpha|^2 + beta = 1 to rounding at every site that has one before it; the first keeps nothing."""
    gates = causal_gates(**disorder, phase=phase)
    norm = gates.alpha.abs().square() + gates.beta
    assert float((norm[:, 1:] - 1).abs().max()) < 2e-15
    assert float(gates.alpha[:, 0].abs().max()) == 0
    torch.testing.assert_close(gates.beta[:, 0], torch.ones(3, dtype=torch.float64), rtol=0, atol=0)


def test_weights_have_unit_norm(disorder):
    """The recurrence r_i = alpha_i r_{i-1} + sqrt(beta_i) u_i combines its inputs with weights of norm 1."""
    gates = causal_gates(**disorder, phase="real")
    identity = torch.eye(200, dtype=torch.float64).expand(3, 200, 200)
    ones = torch.ones(3, 200, 1, dtype=torch.float64)
    weights = gated_state(ones, ones, identity, gates.alpha, gates.beta).outputs
    torch.testing.assert_close(weights.square().sum(-1), torch.ones(3, 200, dtype=torch.float64))


def test_normal_form_is_the_green_operator(disorder):
    """r_i = (d_i / sqrt(q_i)) sum_j G_ij sqrt(eta_j) u_j, real parts compared."""
    inputs = torch.randn(3, 200, 4, dtype=torch.float64)
    eta = disorder["eta"]
    gates = causal_gates(**disorder, phase="complex")
    ones = torch.ones(3, 200, 1, dtype=torch.float64)
    actual = gated_state(ones, ones, inputs, gates.alpha, gates.beta).outputs
    values, g = causal_green_operator(inputs * eta.unsqueeze(-1).sqrt(), *disorder.values())
    d = 1 / g
    expected = (d / (-d.imag).sqrt()).unsqueeze(-1) * values
    torch.testing.assert_close(actual, expected.real, rtol=1e-8, atol=1e-10)


def test_real_phase_keeps_the_size_of_the_gate(disorder):
    """In the real phase alpha is |alpha| of the complex one, and beta is the same."""
    real, full = (causal_gates(**disorder, phase=phase) for phase in ("real", "complex"))
    torch.testing.assert_close(real.alpha, full.alpha.abs(), rtol=1e-13, atol=0)
    torch.testing.assert_close(real.beta, full.beta, rtol=0, atol=0)


def test_state_never_leaves_its_bound(disorder):
    """With inputs of size at most 1 no entry of the state exceeds the root of the number of sites."""
    gates = causal_gates(**disorder)
    ones = torch.ones(3, 200, 1, dtype=torch.float64)
    signs = torch.sign(torch.randn(3, 200, 4, dtype=torch.float64))
    outputs = gated_state(ones, ones, signs, gates.alpha, gates.beta).outputs
    bound = torch.arange(1, 201, dtype=torch.float64).sqrt()[:, None]
    assert bool((outputs.abs() <= bound * (1 + 1e-12)).all())


@pytest.mark.parametrize("scale", [0.01, 0.3, 1.0, 3.0])
def test_woodbury_identity_takes_the_whole_resolvent(scale):
    """A low-rank part of any size changes the diagonal as it changes a dense inverse."""
    torch.manual_seed(0)
    a = torch.randn(64, dtype=torch.float64)
    below = torch.rand(64, dtype=torch.float64) + 0.1
    above = torch.rand(64, dtype=torch.float64) + 0.1
    u, v = (scale * torch.randn(64, 3, dtype=torch.float64) for _ in range(2))
    matrix = torch.diag(a) + torch.diag(below[1:], -1) + torch.diag(above[1:], 1) + u @ v.mT
    inverse = torch.linalg.inv(matrix - (0.3 + 1j) * torch.eye(64, dtype=torch.complex128))
    actual = woodbury_diagonal(a, below, above, u, v, 0.3, 1.0)
    torch.testing.assert_close(actual, inverse.diagonal(), rtol=1e-9, atol=1e-10)


def test_inside_the_band_a_clean_chain_remembers_and_disorder_forgets():
    """With small eta the clean chain decays as eta / (2 sin k) a site; disorder localises at once."""
    length, eta = 4000, 1e-2
    hopping = torch.ones(length, dtype=torch.float64)
    clean = causal_gates(torch.zeros(length, dtype=torch.float64), hopping, 0.5, eta)
    torch.manual_seed(0)
    dirty = causal_gates(3 * torch.randn(length, dtype=torch.float64), hopping, 0.5, eta)
    decay = -clean.alpha[2000:].log().mean()
    sine = (1 - 0.25**2) ** 0.5
    assert abs(float(decay) / (eta / (2 * sine)) - 1) < 0.01
    assert float(-dirty.alpha[2000:].log().mean()) > 0.2
