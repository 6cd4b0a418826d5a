"""Sequences longer than any kernel's chunks and tiles, of which several levels lie on top of each other."""

from __future__ import annotations

import pytest
import torch

from resnet_bk.resolvent import causal_green_operator, gated_state

# More than 16 chunks of 32 sites; more than two tiles of 256.
LENGTH = 560


def random(*size: int) -> torch.Tensor:
    """Random numbers, the same in each test."""
    return torch.randn(*size, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(size)))


@pytest.mark.parametrize("phase", ["real", "complex"])
def test_the_state_follows_its_recurrence(kernel, phase):
    """Outputs, last state and gradients equal those of a loop over the sites; one gate is exactly 0."""
    alpha = random(LENGTH).sigmoid() * 0.3 + 0.7
    alpha[LENGTH // 2] = 0.0
    if phase == "complex":
        alpha = torch.polar(alpha, 3 * random(LENGTH))
    initial = random(2, 3).to(alpha.dtype)
    tensors = [random(LENGTH, 2), random(LENGTH, 2) + 1, random(LENGTH, 3), alpha, random(LENGTH).sigmoid()]
    leaves = [tensor.requires_grad_() for tensor in (*tensors, initial)]
    q, k, v, a, b, state = leaves
    read = []
    for site in range(LENGTH):
        state = a[site] * state + b[site].sqrt() * torch.outer(k[site], v[site])
        read.append((state.real if state.is_complex() else state).T @ q[site])
    expected = [torch.stack(read), state]
    actual = gated_state(*leaves[:5], initial=leaves[5], kernel=kernel)
    weights = [random(*part.shape).to(part.dtype) for part in expected]
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    for one, other in zip(
        torch.autograd.grad(list(actual), leaves, weights),
        torch.autograd.grad(expected, leaves, weights),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def test_the_operator_follows_its_recurrence(kernel, chain):
    """y_i = g_i (u_i - c_i y_{i-1}), and its gradients."""
    leaves = [random(LENGTH, 1).requires_grad_(), *chain(LENGTH, eta=0.5).leaves()]
    u, a, c, e, w = leaves
    g = y = torch.zeros((), dtype=torch.complex128)
    expected = []
    for site in range(LENGTH):
        g = 1 / (a[site] - e[0] - 1j * w[0] - c[site] ** 2 * g)
        y = g * (u[site] - c[site] * y)
        expected.append(y)
    loop = torch.stack(expected)
    values = causal_green_operator(*leaves, kernel=kernel).values
    torch.testing.assert_close(values, loop, rtol=1e-10, atol=1e-12)
    cotangent = torch.complex(random(LENGTH, 1), random(LENGTH, 1))
    for one, other in zip(
        torch.autograd.grad(values, leaves, cotangent),
        torch.autograd.grad(loop, leaves, cotangent),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)
