"""What an operation costs is what a plain loop does that computes the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

from resnet_bk import FLOPsCounter
from resnet_bk.resolvent import (
    causal_gates,
    causal_green_diagonal,
    causal_green_operator,
    gated_state,
    green_diagonal,
)

SITES = [1, 2, 40]
Numbers = Any


class Loops:
    """Random numbers for loops and tensors, and how many operations the loops take."""

    def __init__(self, recurrences: ModuleType, sites: int) -> None:
        self.module = recurrences
        self.sites = sites
        self.random = random.Random(sites)

    def reals(self, *shape: int) -> Numbers:
        """Nested lists of real numbers."""
        if not shape:
            return self.module.Real(self.random.uniform(0.3, 1.0))
        return [self.reals(*shape[1:]) for _ in range(shape[0])]

    def complexes(self, *shape: int) -> Numbers:
        """Nested lists of complex numbers."""
        if not shape:
            return self.module.Complex(self.reals(), self.reals())
        return [self.complexes(*shape[1:]) for _ in range(shape[0])]

    def tensor(self, numbers: Numbers) -> torch.Tensor:
        """The same numbers as a leaf of a graph."""
        kind = torch.complex128 if self._is_complex(numbers) else torch.float64
        return torch.tensor(self._plain(numbers), dtype=kind, requires_grad=True)

    def count(self, function: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
        """What a function gives, and the operations that it takes."""
        before = self.module.operations
        return function(*arguments), self.module.operations - before

    def same(self, tensor: torch.Tensor, numbers: Numbers) -> bool:
        """Whether a tensor has these values."""
        expected = self.tensor(numbers).to(tensor.dtype)
        return bool(torch.allclose(tensor, expected, rtol=1e-9, atol=1e-12))

    def _plain(self, numbers: Numbers) -> Any:
        if isinstance(numbers, list):
            return [self._plain(number) for number in numbers]
        if isinstance(numbers, self.module.Complex):
            return complex(numbers.re.value, numbers.im.value)
        return numbers.value

    def _is_complex(self, numbers: Numbers) -> bool:
        return self._is_complex(numbers[0]) if isinstance(numbers, list) else hasattr(numbers, "im")


@pytest.fixture(params=SITES)
def loops(request: pytest.FixtureRequest, recurrences: ModuleType) -> Loops:
    """Loops over a few sites, and over more."""
    return Loops(recurrences, request.param)


def counted(function: Callable[..., Any]) -> tuple[Any, int]:
    """What a function gives, and the FLOPs that are counted."""
    with FLOPsCounter(torch.nn.Identity()) as counter:
        result = function()
    return result, counter.total_flops


@pytest.fixture(params=["torch", "cpu"], autouse=True)
def kernel(request: pytest.FixtureRequest, with_kernel: Callable[[str], None]) -> str:
    """Every kernel, one after the other."""
    with_kernel(request.param)
    name: str = request.param
    return name


def test_the_full_diagonal(loops: Loops) -> None:
    """29 operations for a site, and 59 for its gradient."""
    potential, coupling = loops.reals(2, loops.sites)
    energy, eta = loops.reals(2)
    coupling[0] = loops.module.ZERO
    diagonal, forward = loops.count(loops.module.Diagonal, potential, coupling, energy, eta)
    cotangent = loops.complexes(loops.sites)
    expected, backward = loops.count(diagonal.backward, cotangent)
    leaves = [loops.tensor(numbers) for numbers in (potential, coupling, [energy], [eta])]

    result, flops = counted(lambda: green_diagonal(*leaves))
    assert loops.same(result, diagonal.full)
    assert flops == forward == 29 * loops.sites

    gradients, flops = counted(lambda: torch.autograd.grad(result, leaves, loops.tensor(cotangent)))
    for gradient, numbers in zip(gradients, (*expected[:2], [expected[2]], [expected[3]]), strict=True):
        assert loops.same(gradient, numbers)
    assert flops == backward == 59 * loops.sites


@pytest.mark.parametrize("channels", [1, 3])
def test_the_causal_operator(loops: Loops, channels: int) -> None:
    """For a site 12 operations and 9 for each channel; 24 and 22 for the gradient."""
    potential, hopping = loops.reals(2, loops.sites)
    energy, eta = loops.reals(2)
    inputs = loops.reals(loops.sites, channels)
    causal, forward = loops.count(loops.module.Causal, potential, hopping, energy, eta, inputs)
    cotangents = loops.complexes(loops.sites), loops.complexes(loops.sites, channels)
    expected, backward = loops.count(causal.backward, *cotangents)
    leaves = [loops.tensor(numbers) for numbers in (inputs, potential, hopping, [energy], [eta])]

    result, flops = counted(lambda: causal_green_operator(*leaves))
    assert loops.same(result.diagonal, causal.diagonal[1:])
    assert loops.same(result.values, causal.values[1:])
    assert flops == forward == (12 + 9 * channels) * loops.sites

    outputs = (result.diagonal, result.values)
    hats = [loops.tensor(cotangent) for cotangent in cotangents]
    gradients, flops = counted(lambda: torch.autograd.grad(outputs, leaves, hats))
    a_hat, c_hat, energy_hat, eta_hat, u_hat = expected
    for gradient, numbers in zip(gradients, (u_hat, a_hat, c_hat, [energy_hat], [eta_hat]), strict=True):
        assert loops.same(gradient, numbers)
    assert flops == backward == (24 + 22 * channels) * loops.sites


def test_the_causal_diagonal(loops: Loops) -> None:
    """It is the operator without channels, and s = c^2 need not be formed nor its gradient go on to c."""
    arguments = (*loops.reals(2, loops.sites), *loops.reals(2))
    causal, forward = loops.count(loops.module.Causal, *arguments, [[] for _ in range(loops.sites)])
    nothing: list[list[Any]] = [[] for _ in range(loops.sites)]
    _, backward = loops.count(causal.backward, loops.complexes(loops.sites), nothing)
    potential, hopping, energy, eta = (loops.tensor(numbers) for numbers in arguments)

    result, flops = counted(lambda: causal_green_diagonal(potential, hopping**2, energy, eta))
    assert loops.same(result, causal.diagonal[1:])
    assert flops == forward - loops.sites == 11 * loops.sites

    _, flops = counted(lambda: result.abs().sum().backward())
    assert flops == backward - 3 * loops.sites == 21 * loops.sites


@pytest.mark.parametrize(("phase", "costs"), [("real", (14, 47)), ("complex", (19, 52))])
def test_the_gates(loops: Loops, phase: Any, costs: tuple[int, int]) -> None:
    """14 operations for a site and 47 for its gradient; 5 more for a phase, both ways."""
    potential, hopping, etas = loops.reals(3, loops.sites)
    energy, initial = loops.reals(), loops.reals(2)
    gates, forward = loops.count(
        loops.module.Gates, potential, hopping, energy, etas, tuple(initial), phase == "complex"
    )
    cotangents = loops.complexes(loops.sites), loops.reals(loops.sites)
    expected, backward = loops.count(gates.backward, *cotangents)
    leaves = [loops.tensor(numbers) for numbers in (potential, hopping, [energy], etas)]

    result, flops = counted(lambda: causal_gates(*leaves, phase=phase, initial=loops.tensor(initial)))
    alpha = gates.alpha if phase == "complex" else [number.re for number in gates.alpha]
    assert loops.same(result.alpha, alpha)
    assert loops.same(result.beta, gates.beta)
    assert flops == forward == costs[0] * loops.sites

    hats = [loops.tensor(cotangent) for cotangent in cotangents]
    if phase == "real":
        hats[0] = hats[0].real
    gradients, flops = counted(lambda: torch.autograd.grad(result[:2], leaves, hats))
    a_hat, c_hat, energy_hat, eta_hats = expected
    for gradient, numbers in zip(gradients, (a_hat, c_hat, [energy_hat], eta_hats), strict=True):
        assert loops.same(gradient, numbers)
    assert flops == backward == costs[1] * loops.sites


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize(("keys", "values"), [(1, 1), (2, 3), (4, 2)])
def test_the_matrix_state(loops: Loops, keys: int, values: int, is_complex: bool) -> None:
    """5 operations for each entry of the state and 14 for its gradient; 10 and 30 with a complex gate."""
    arguments = (
        loops.reals(loops.sites, keys),
        loops.reals(loops.sites, keys),
        loops.reals(loops.sites, values),
        loops.complexes(loops.sites) if is_complex else loops.reals(loops.sites),
        loops.reals(loops.sites),
    )
    state, forward = loops.count(loops.module.State, *arguments)
    cotangent = loops.reals(loops.sites, values)
    expected, backward = loops.count(state.backward, cotangent)
    leaves = [loops.tensor(numbers) for numbers in arguments]
    entry = (10, 30) if is_complex else (5, 14)

    result, flops = counted(lambda: gated_state(*leaves))
    assert loops.same(result.outputs, state.outputs)
    assert flops == forward == (entry[0] * keys * values + keys + 1) * loops.sites

    hat = loops.tensor(cotangent)
    gradients, flops = counted(lambda: torch.autograd.grad(result.outputs, leaves, hat))
    for gradient, numbers in zip(gradients, expected, strict=True):
        assert loops.same(gradient, numbers)
    assert flops == backward == (entry[1] * keys * values + 5 * keys + 4) * loops.sites


def test_every_sequence_counts() -> None:
    """What is shared by all sequences and heads is computed for each of them."""
    potential, coupling = torch.rand(2, 3, 5), torch.ones(1, 1, 5)
    _, flops = counted(lambda: green_diagonal(potential, coupling))
    assert flops == 29 * 2 * 3 * 5
