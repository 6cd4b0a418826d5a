"""Options of now and of old, and reports."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modelplug.errors import ModelplugError
from resnet_bk import InvalidInputError, MemoryOptimizer
from resnet_bk.memory import MemorySavingError, UnknownOptionError


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("use_zeros", "use_zero"), ("cpu_offload", "use_cpu_offload"), ("xyz", "")],
)
def test_an_unknown_option_is_refused_with_the_nearest(name: str, nearest: str) -> None:
    """The advice names the option that was probably meant, or all there are."""
    options: Any = {name: True}
    with pytest.raises(UnknownOptionError, match=f"there is no option '{name}'") as caught:
        MemoryOptimizer(**options)
    assert caught.value.nearest == nearest
    assert (nearest or "use_gradient_checkpointing") in caught.value.advice
    assert isinstance(caught.value, ModelplugError)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    "name",
    [
        "offload_lowrank", "offload_threshold", "lowrank_dtype", "tridiag_dtype", "use_hierarchical",
        "num_levels", "memory_check_interval",
    ],
)  # fmt: skip
def test_an_option_that_means_nothing_any_more_says_why(name: str) -> None:
    """Options of before 1.0 that were about one matrix, or had no effect, are refused with the reason."""
    options: Any = {name: 1}
    with pytest.raises(UnknownOptionError, match="any more: ") as caught:
        MemoryOptimizer(**options)
    assert caught.value.advice == "Leave it out."


def test_old_options_that_still_mean_something(model: Any) -> None:
    """What a program says of one process is right for one process, and the report can be logged."""
    optimizer = MemoryOptimizer(world_size=1, rank=0, log_memory_usage=True, use_zero=True)

    assert optimizer.optimize(model) is model


@pytest.mark.parametrize("said", [{"world_size": 2}, {"rank": 1}])
def test_processes_that_there_are_not_are_refused(said: dict[str, Any]) -> None:
    """The number of processes is read, and never set here."""
    with pytest.raises(MemorySavingError, match="is not what the process group says") as caught:
        MemoryOptimizer(**said)
    assert "torchrun" in caught.value.advice


def test_only_models_are_optimized() -> None:
    """An optimizer, which one might pass by mistake, is refused with what to call."""
    with pytest.raises(InvalidInputError, match="type SGD") as caught:
        MemoryOptimizer().optimize(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))]))
    assert "make_optimizer" in caught.value.advice


def test_one_process_has_nothing_to_divide(model: Any) -> None:
    """The report says so, and the optimizer is the plain one with weight decay for matrices only."""
    optimizer = MemoryOptimizer(use_zero=True)
    made = optimizer.make_optimizer(model, lr=0.1, weight_decay=0.5)

    assert type(made) is torch.optim.AdamW
    assert [group["weight_decay"] for group in made.param_groups] == [0.5, 0.0]
    assert {id(each) for each in made.param_groups[1]["params"]} == {
        id(each) for name, each in model.named_parameters() if name in model.no_weight_decay()
    }
    saving = optimizer.report()["use_zero"]
    assert saving.state == "nothing to do"
    assert "one process" in saving.reason


def test_the_report_counts_bytes(model: Any, step: Any) -> None:
    """Parameters, gradients and the optimizer's state, of which AdamW has two tensors for each parameter."""
    optimizer = MemoryOptimizer()
    optimizer.optimize(model)
    made = optimizer.make_optimizer(model)
    size = 4 * model.parameter_count()
    assert (optimizer.report().parameters, optimizer.report().gradients) == (size, 0)
    step(model)
    made.step()

    report = optimizer.report()
    assert report.gradients == size
    # And a number of steps for each.
    assert report.optimizer_state == 2 * size + 4 * len(list(model.parameters()))
    assert "use_zero: off" in str(report)
    assert f"parameters {size / 1000:.1f} kB" in str(report)
    with pytest.raises(KeyError):
        report["nonsense"]
