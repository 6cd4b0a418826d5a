"""How a tensor lies in memory changes nothing: gaps, transposition, pending conjugation and negation."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from resnet_bk.resolvent import (
    causal_gates,
    causal_green_diagonal,
    causal_green_operator,
    gated_state,
    green_diagonal,
)
from resnet_bk.resolvent.kernels import cpu_library

SHAPE = (3, 2)
LENGTH = 21 if os.environ.get("TRITON_INTERPRET") != "1" else 6  # interpreting Triton is slow


def gapped(tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers with others between them."""
    return torch.stack([tensor, tensor * 0 + 7], -1)[..., 0]


def transposed(tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers, the first dimension innermost in memory."""
    return tensor.movedim(0, -1).contiguous().movedim(-1, 0)


def pending(tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers, conjugated in memory, or negated if they are real."""
    if tensor.is_complex():
        return tensor.conj().resolve_conj().conj()
    return torch.complex(tensor, -tensor).conj().imag


LAYOUTS = [gapped, transposed, pending]


def real(*shape: int) -> torch.Tensor:
    """Random real numbers."""
    return torch.randn(*SHAPE, *shape, dtype=torch.float64)


def positive(*shape: int) -> torch.Tensor:
    """Random positive numbers."""
    return torch.rand(*SHAPE, *shape, dtype=torch.float64) + 0.2


def upper(*shape: int) -> torch.Tensor:
    """Random numbers above the real axis, as g is."""
    return torch.complex(real(*shape), positive(*shape))


def diagonal_case() -> tuple[Callable[..., Any], list[torch.Tensor]]:
    """The full diagonal and its inputs."""
    return green_diagonal, [real(LENGTH), positive(LENGTH), real(1), positive(LENGTH)]


def causal_diagonal_case() -> tuple[Callable[..., Any], list[torch.Tensor]]:
    """The causal diagonal and its inputs, the value to go on from last."""

    def call(
        a: torch.Tensor, s: torch.Tensor, e: torch.Tensor, w: torch.Tensor, g: torch.Tensor, **rest: Any
    ) -> Any:
        return causal_green_diagonal(a, s, e, w, initial=g, **rest)

    return call, [real(LENGTH), positive(LENGTH), real(LENGTH), positive(1), upper()]


def operator_case() -> tuple[Callable[..., Any], list[torch.Tensor]]:
    """The operator and its inputs, the values to go on from last."""

    def call(
        u: torch.Tensor, a: torch.Tensor, c: torch.Tensor, w: torch.Tensor, *state: torch.Tensor, **rest: Any
    ) -> Any:
        return tuple(causal_green_operator(u, a, c, 0.3, w, initial=state, **rest))

    return call, [real(LENGTH, 2), real(LENGTH), real(LENGTH), positive(LENGTH), real(2) + 0j, upper()]


def gates_case(phase: str) -> tuple[Callable[..., Any], list[torch.Tensor]]:
    """The gates and their inputs, x and q to go on from last."""

    def call(a: torch.Tensor, c: torch.Tensor, w: torch.Tensor, state: torch.Tensor, **rest: Any) -> Any:
        return tuple(causal_gates(a, c, 0.3, w, phase=phase, initial=state, **rest))

    return call, [real(LENGTH), real(LENGTH), positive(1), torch.stack([real(), positive()], -1)]


def state_case(kind: torch.dtype) -> tuple[Callable[..., Any], list[torch.Tensor]]:
    """The matrix state and its inputs, the state to go on from last."""

    def call(*tensors: torch.Tensor, **rest: Any) -> Any:
        return tuple(gated_state(*tensors[:5], initial=tensors[5], **rest))

    gate = (upper(LENGTH) if kind.is_complex else real(LENGTH)) * 0.5
    return call, [
        real(LENGTH, 3),
        real(LENGTH, 3),
        real(LENGTH, 4),
        gate,
        positive(LENGTH),
        real(3, 4).to(kind),
    ]


CASES = {
    "full diagonal": diagonal_case,
    "causal diagonal": causal_diagonal_case,
    "operator": operator_case,
    "gates": lambda: gates_case("real"),
    "gates with phase": lambda: gates_case("complex"),
    "state": lambda: state_case(torch.float64),
    "complex state": lambda: state_case(torch.complex128),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Callable[..., Any], list[torch.Tensor]]:
    """An operation on all its inputs, among them what it goes on from."""
    torch.manual_seed(4)
    return CASES[request.param]()


def results_and_gradients(
    function: Callable[..., Any], inputs: list[torch.Tensor], change: Callable[[torch.Tensor], torch.Tensor]
) -> list[torch.Tensor]:
    """What a function gives, and its gradients for random cotangents, both in a memory layout."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    found = function(*(change(leaf) for leaf in leaves))
    results = list(found) if isinstance(found, tuple) else [found]
    generator = torch.Generator().manual_seed(5)
    cotangents = [torch.randn(r.shape, dtype=r.dtype, generator=generator) for r in results]
    gradients = torch.autograd.grad(results, leaves, [change(cotangent) for cotangent in cotangents])
    return [*results, *gradients]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_make_no_difference_forward_and_backward(kernel, case, layout):
    """Every input, what an operation goes on from included, and every cotangent."""
    function, inputs = case

    def call(*tensors: torch.Tensor) -> Any:
        return function(*tensors, kernel=kernel)

    expected = results_and_gradients(call, inputs, lambda tensor: tensor)
    actual = results_and_gradients(call, inputs, layout)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one.resolve_conj().resolve_neg(), other, rtol=1e-11, atol=1e-12)


def test_recomputing_in_the_backward_pass_gives_the_same_gradients(kernel, case, monkeypatch, tmp_path):
    """Non-reentrant checkpointing hands out each saved tensor once."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # PyTorch makes one when it is imported
    function, inputs = case

    def plain(*tensors: torch.Tensor) -> Any:
        return function(*tensors, kernel=kernel)

    def recomputed(*tensors: torch.Tensor) -> Any:
        return checkpoint(plain, *tensors, use_reentrant=False)

    expected = results_and_gradients(plain, inputs, lambda tensor: tensor)
    actual = results_and_gradients(recomputed, inputs, lambda tensor: tensor)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("change", [*LAYOUTS, torch.clone])
def test_an_array_handed_to_the_library_keeps_its_memory(change):
    """A copy that is made on the way lives as long as the description of the array does."""
    held = [
        cpu_library.operand(change(upper(LENGTH)), "t"),
        cpu_library.operand(change(real(LENGTH)), "t"),
        cpu_library.pairs(change(real(2))),
    ]
    gc.collect()
    for array in held:
        assert array.tensor is not None
        assert array.words[0] == array.tensor.data_ptr()
        assert not array.tensor.is_conj()
        assert not array.tensor.is_neg()
