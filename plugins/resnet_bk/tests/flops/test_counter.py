"""A counter counts what its block executes, however it is used."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules import module as module_hooks
from torch.utils.flop_counter import FlopCounterMode

from modelplug.errors import ModelplugError
from resnet_bk import FLOPsCounter, InvalidInputError
from resnet_bk.flops.counting import is_counting

ROWS, WIDE, NARROW = 5, 7, 3


@pytest.fixture
def linear() -> nn.Linear:
    """A map whose operations can be counted by hand."""
    return nn.Linear(WIDE, NARROW)


@pytest.fixture
def rows() -> torch.Tensor:
    """What goes into it."""
    return torch.ones(ROWS, WIDE)


ONCE = 2 * ROWS * WIDE * NARROW


def test_a_linear_map(linear: nn.Linear, rows: torch.Tensor) -> None:
    """A multiply-add is 2, and the gradients of both factors are as much work as their product, each."""
    counter = FLOPsCounter(linear)
    with counter:
        linear(rows.requires_grad_()).sum().backward()

    assert counter.forward_flops == ONCE
    assert counter.backward_flops == 2 * ONCE
    assert counter.total_flops == 3 * ONCE
    assert counter.by_module == {"": 3 * ONCE}
    assert counter.by_operation == {"aten.addmm": ONCE, "aten.mm": 2 * ONCE}


def test_no_more_than_is_executed(linear: nn.Linear, rows: torch.Tensor) -> None:
    """A gradient that nobody asks for is not computed, and not counted."""
    with FLOPsCounter(linear) as counter:
        linear(rows).sum().backward()

    assert counter.backward_flops == ONCE


def test_two_maps_by_hand() -> None:
    """Modules count with all that is inside of them, under their own names."""
    model = nn.Sequential(nn.Linear(4, 6), nn.Sequential(nn.ReLU(), nn.Linear(6, 2)))
    with FLOPsCounter(model) as counter:
        functional.mse_loss(model(torch.ones(3, 4)), torch.ones(3, 2)).backward()

    first, second = 2 * 3 * 4 * 6, 2 * 3 * 6 * 2
    # Nobody wants the gradient of the inputs.
    assert counter.by_module == {
        "": 2 * first + 3 * second,
        "0": 2 * first,
        "1": 3 * second,
        "1.1": 3 * second,
    }
    assert list(counter.by_module) == ["", "0", "1", "1.1"]


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_a_convolution(groups: int) -> None:
    """Channels of different groups do not mix, backward neither."""
    model = nn.Conv1d(6, 12, 4, groups=groups)
    with FLOPsCounter(model) as counter:
        model(torch.ones(2, 6, 9, requires_grad=True)).sum().backward()

    assert counter.forward_flops == 2 * (2 * 6) * 12 * 4 * 6 // groups
    assert counter.backward_flops == 2 * counter.forward_flops


def test_vectors_and_complex_numbers() -> None:
    """A vector is a matrix with one column; a complex multiply-add is four real ones."""
    matrix, vector = torch.ones(3, 4), torch.ones(4)
    with FLOPsCounter(nn.Identity()) as counter:
        torch.mv(matrix, vector)
        torch.addmv(vector[:3], matrix, vector)
        torch.dot(vector, vector)
    assert counter.total_flops == 24 + 24 + 8

    counter.reset()
    with counter:
        matrix.to(torch.complex64) @ torch.ones(4, 5, dtype=torch.complex64)
    assert counter.total_flops == 4 * 2 * 3 * 4 * 5


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_without_gradients(linear: nn.Linear, rows: torch.Tensor, guard: Callable[[], Any]) -> None:
    """Whether a graph is made does not matter."""
    with FLOPsCounter(linear) as counter, guard():
        linear(rows)

    assert counter.total_flops == ONCE


def test_counts_add_up(linear: nn.Linear, rows: torch.Tensor) -> None:
    """Block after block, until they are reset; what is outside of blocks is not counted."""
    counter = FLOPsCounter(linear)
    assert counter.total_flops == 0
    for times in (1, 2):
        with counter:
            linear(rows)
            assert counter.total_flops == times * ONCE  # while it is open, too
        linear(rows)
        assert counter.total_flops == times * ONCE

    counter.reset()
    assert counter.total_flops == 0
    assert counter.by_module == counter.by_operation == {}


def test_a_graph_from_before(linear: nn.Linear, rows: torch.Tensor) -> None:
    """A backward pass counts where it is executed, wherever its graph was made."""
    outside = FLOPsCounter(linear)
    loss = linear(rows).sum()
    with outside:
        loss.backward()

    assert (outside.forward_flops, outside.backward_flops) == (0, ONCE)
    assert outside.by_module == {}


def test_nested(linear: nn.Linear, rows: torch.Tensor) -> None:
    """Each of several counters counts what is in its own block; PyTorch's own sees the same."""
    model = nn.Sequential(linear)
    outer, inner = FLOPsCounter(model), FLOPsCounter(linear)
    with outer, FlopCounterMode(display=False) as theirs:
        model(rows)
        with inner:
            model(rows)

    assert outer.by_module == {"": 2 * ONCE, "0": 2 * ONCE}
    assert inner.by_module == {"": ONCE}
    assert theirs.get_total_flops() == 2 * ONCE


def test_entered_twice(linear: nn.Linear, rows: torch.Tensor) -> None:
    """Inside of its own block a counter counts once."""
    counter = FLOPsCounter(linear)
    with counter:
        with counter:
            linear(rows)
        linear(rows)

    assert counter.total_flops == 2 * ONCE


def test_an_exception(make_model: Callable[..., Any], tokens: Callable[..., torch.Tensor]) -> None:
    """What was computed before it stays counted; nothing is left that counts on, or listens."""
    model = make_model()

    class Broken(nn.Module):  # type: ignore[misc]
        def forward(self, *_: Any) -> None:
            raise RuntimeError("broken")

    whole = FLOPsCounter(model)
    with whole:
        model(tokens(1, 8))
    model.model.layers[1].mixer.out_proj = Broken()
    counter = FLOPsCounter(model)
    with pytest.raises(RuntimeError, match="broken"), counter:
        model(tokens(1, 8))

    first = whole.by_module["model.layers.0"]
    assert counter.by_module["model.layers.0"] == first
    assert first < counter.total_flops < 2 * first
    assert not is_counting()
    assert not module_hooks._global_forward_hooks
    assert not module_hooks._global_forward_pre_hooks

    before = counter.total_flops
    with counter:
        model.lm_head(torch.ones(1, 32))
    assert counter.total_flops == before + 2 * 32 * 61
    assert counter.by_module["lm_head"] == 2 * 32 * 61


def test_threads(make_model: Callable[..., Any], tokens: Callable[..., torch.Tensor]) -> None:
    """A block counts its own thread, also where others compute with the same model or the same counter."""
    model = make_model()
    alone = FLOPsCounter(model)
    with alone:
        model(tokens(2, 8), labels=tokens(2, 8)).loss.backward()
    model.zero_grad()

    shared, counters = FLOPsCounter(model), [FLOPsCounter(model) for _ in range(4)]
    start = threading.Barrier(len(counters) + 1)

    def compute(counter: FLOPsCounter | None) -> None:
        start.wait()
        for _ in range(3):
            if counter is None:
                model(tokens(2, 8))
                continue
            with counter, shared:
                ids = tokens(2, 8)
                loss = model(ids, labels=ids).loss
                torch.autograd.grad(loss, list(model.parameters()))

    threads = [threading.Thread(target=compute, args=(counter,)) for counter in [*counters, None]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for counter in counters:
        assert counter.by_module == {name: 3 * flops for name, flops in alone.by_module.items()}
        assert counter.by_operation == {name: 3 * flops for name, flops in alone.by_operation.items()}
    assert shared.total_flops == 12 * alone.total_flops


def test_the_summary() -> None:
    """A row for each module as deep as asked for, with its share of all; then what no module computed."""
    model = nn.Sequential(nn.Linear(4, 6), nn.Sequential(nn.ReLU(), nn.Linear(6, 2)))
    counter = FLOPsCounter(model)
    assert [line.split() for line in counter.summary().splitlines()] == [
        ["module", "forward", "backward", "share"],
        ["total", "0", "0", "-"],
    ]
    with counter:
        result = model(torch.ones(3, 4))
        (torch.ones(2, 3) @ result).sum().backward()

    lines = [
        "module             forward  backward   share",
        "Sequential             216       288   91.3%",
        "  0                    144       144   52.2%",
        "  1                     72       144   39.1%",
        "    1                   72       144   39.1%",
        "outside the model       24        24    8.7%",
        "total                  240       312  100.0%",
    ]
    assert counter.summary(None).splitlines() == lines
    assert counter.summary(1).splitlines() == lines[:4] + lines[5:]
    assert counter.summary(0).splitlines() == lines[:2] + lines[5:]


@pytest.mark.parametrize("wrong", [None, "model", {"d_model": 32}, nn.Linear])
def test_no_module(wrong: Any) -> None:
    """What is not a module is refused."""
    with pytest.raises(InvalidInputError, match=r"torch\.nn\.Module") as caught:
        FLOPsCounter(wrong)

    assert isinstance(caught.value, ModelplugError)
    assert caught.value.tensor == "model"


def test_no_depth() -> None:
    """A summary can't have less than the model."""
    with pytest.raises(InvalidInputError, match="negative"):
        FLOPsCounter(nn.Identity()).summary(-1)
