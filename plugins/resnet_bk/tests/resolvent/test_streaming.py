"""Pieces of any size, each from the state of the one before, give what the whole gives, and its gradients."""

from __future__ import annotations

import os

import pytest
import torch

from resnet_bk.resolvent import (
    causal_gates,
    causal_green_diagonal,
    causal_green_operator,
    gated_state,
    gated_state_step,
)

# Interpreting Triton is slow; its chunks are shorter.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
PIECES = [1, 2, 30, 33] if INTERPRETED else [1, 2, 61, 3, 65, 13]
STEPS = 5 if INTERPRETED else 20
LENGTH = sum(PIECES)


def cut(tensor: torch.Tensor, dimension: int) -> tuple[torch.Tensor, ...]:
    """The pieces of a sequence; what all sites share goes to each."""
    if tensor.shape[dimension] == 1:
        return (tensor,) * len(PIECES)
    return tensor.split(PIECES, dimension)


def same_gradients(first: torch.Tensor, second: torch.Tensor, leaves: list[torch.Tensor]) -> None:
    """Both results have the same gradients with respect to the leaves."""
    weight = torch.randn(first.shape, dtype=first.dtype, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-12)
    expected = torch.autograd.grad((first * weight).abs().sum(), leaves, retain_graph=True)
    actual = torch.autograd.grad((second * weight).abs().sum(), leaves)
    for one, other in zip(expected, actual, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


def test_causal_diagonal(kernel, chain):
    """The last g is the state."""
    h = chain(2, LENGTH).leaves()
    coupling = h.coupling.detach().requires_grad_()
    whole = causal_green_diagonal(h.potential, coupling, h.energy, h.eta, kernel=kernel)
    pieces, last = [], None
    for a, s in zip(cut(h.potential, -1), cut(coupling, -1), strict=True):
        pieces.append(causal_green_diagonal(a, s, h.energy, h.eta, initial=last, kernel=kernel))
        last = pieces[-1][..., -1]
    same_gradients(whole, torch.cat(pieces, -1), [h.potential, coupling, h.energy, h.eta])


def test_operator(kernel, chain):
    """The last y and g are the state."""
    h = chain(2, LENGTH).leaves()
    inputs = torch.randn(2, LENGTH, 2, dtype=torch.float64).requires_grad_()
    whole = causal_green_operator(inputs, *h, kernel=kernel).values
    pieces, state = [], None
    for u, a, c in zip(cut(inputs, -2), cut(h.potential, -1), cut(h.hopping, -1), strict=True):
        values, diagonal = causal_green_operator(u, a, c, h.energy, h.eta, initial=state, kernel=kernel)
        state = (values[..., -1, :], diagonal[..., -1])
        pieces.append(values)
    same_gradients(whole, torch.cat(pieces, -2), [inputs, *h])


@pytest.mark.parametrize("phase", ["real", "complex"])
def test_gates_and_matrix_state(kernel, chain, phase):
    """Gates go on from x and q, the matrix from itself."""
    h = chain(2, LENGTH).leaves()
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, LENGTH, n, dtype=torch.float64).requires_grad_() for n in (3, 3, 4))
    gates = causal_gates(*h, phase=phase, kernel=kernel)
    whole = gated_state(q, k, v, gates.alpha, gates.beta, kernel=kernel)
    pieces, fraction, state = [], None, None
    parts = zip(cut(q, -2), cut(k, -2), cut(v, -2), cut(h.potential, -1), cut(h.hopping, -1), strict=True)
    for q_part, k_part, v_part, a, c in parts:
        alpha, beta, fraction = causal_gates(
            a, c, h.energy, h.eta, phase=phase, initial=fraction, kernel=kernel
        )
        outputs, state = gated_state(q_part, k_part, v_part, alpha, beta, initial=state, kernel=kernel)
        pieces.append(outputs)
    same_gradients(whole.outputs, torch.cat(pieces, -2), [q, k, v, *h])
    torch.testing.assert_close(whole.state, state, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("phase", ["real", "complex"])
def test_single_steps(kernel, chain, phase):
    """Decoding site by site gives the outputs of the whole sequence."""
    h = chain(2, STEPS)
    q, k, v = (torch.randn(2, STEPS, n, dtype=torch.float64) for n in (3, 3, 4))
    gates = causal_gates(*h, phase=phase, kernel=kernel)
    whole = gated_state(q, k, v, gates.alpha, gates.beta, kernel=kernel)
    state = torch.zeros(2, 3, 4, dtype=gates.alpha.dtype)
    for t in range(STEPS):
        outputs, state = gated_state_step(
            state, q[:, t], k[:, t], v[:, t], gates.alpha[:, t], gates.beta[:, t], kernel=kernel
        )
        torch.testing.assert_close(outputs, whole.outputs[:, t], rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(state, whole.state, rtol=1e-12, atol=1e-13)
