"""Memory is counted exactly where one can say what it must be."""

from __future__ import annotations

import gc

import pytest
import torch

from resnet_bk.memory import MemoryOptimizer

SIZE = 1000


def test_saved_tensors_of_a_chain() -> None:
    """Exp saves its result, and sin what it was given: one memory, counted once."""
    weight = torch.nn.Parameter(torch.ones(SIZE))
    found = MemoryOptimizer().measure(lambda: weight.exp().sin().sum().backward())

    assert found.saved == 4 * SIZE
    assert (found.moved, found.device) == (0, "cpu")


def test_views_and_parameters_are_not_counted_again() -> None:
    """Two views of one tensor save it once, and a parameter and its transpose nothing."""
    weight = torch.nn.Parameter(torch.ones(SIZE, 10))

    def step() -> None:
        grown = weight * 2
        first, second = grown.chunk(2)
        (first.sin().sum() + second.cos().sum()).backward()

    assert MemoryOptimizer().measure(step).saved == 4 * 10 * SIZE
    given = torch.ones(10, requires_grad=True)
    assert MemoryOptimizer().measure(lambda: (weight @ given).sum().backward()).saved == 40


def test_the_peak_counts_what_is_there_at_one_time() -> None:
    """Of three tensors, of which one is let go before the last is made, two are there at most."""

    def step() -> None:
        first = torch.zeros(SIZE)
        second = first + 1
        del first
        third = second + 1
        second.add_(third)

    assert MemoryOptimizer().measure(step).peak == 2 * 4 * SIZE


def test_what_was_there_before_is_not_counted() -> None:
    """Views of it and operations in place make nothing."""
    there = torch.zeros(SIZE)

    def step() -> None:
        there.view(10, 100).add_(1)
        there[:10].mul_(2)

    assert MemoryOptimizer().measure(step).peak == 0


def tensors() -> int:
    """How many there are."""
    # By their types: to look at any object in another way may run its code.
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


def test_counting_keeps_no_tensor_alive() -> None:
    """After a step, nothing it saved is there any more, without waiting for the garbage collector."""
    weight = torch.nn.Parameter(torch.ones(SIZE))
    gc.collect()
    gc.disable()
    try:
        optimizer = MemoryOptimizer()
        first = optimizer.measure(lambda: weight.exp().sum().backward())
        there = tensors()
        again = optimizer.measure(lambda: weight.exp().sum().backward())
        assert tensors() == there
    finally:
        gc.enable()
    assert first.saved == again.saved


def test_a_step_that_fails_ends_the_counting() -> None:
    """Its error comes through, and tensors saved afterwards are not counted."""

    def step() -> None:
        raise ValueError("no step")

    optimizer = MemoryOptimizer()
    with pytest.raises(ValueError, match="no step"):
        optimizer.measure(step)
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None
    assert optimizer.report().before is None
