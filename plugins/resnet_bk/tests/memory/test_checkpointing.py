"""Layers that are computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from resnet_bk import TrainingConfig, train
from resnet_bk.data import TokenStream
from resnet_bk.memory import MemoryOptimizer, MemorySavingError


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_gradients_are_the_same_to_the_bit(
    make_model: Callable[..., Any],
    gradients: Callable[..., dict[str, torch.Tensor]],
    kind: dict[str, Any],
    dropout: float,
) -> None:
    """Recomputation changes no gradient, with dropout neither."""
    settings = {**kind, "dropout": dropout}
    expected = gradients(make_model(**settings))
    model = MemoryOptimizer(use_gradient_checkpointing=True).optimize(make_model(**settings))
    found = gradients(model)

    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_training_is_the_same_to_the_bit(make_model: Callable[..., Any], tmp_path: Path) -> None:
    """`train` ends with the same weights."""
    stream = TokenStream.from_array(numpy.arange(2000) % 7)
    settings = TrainingConfig(steps=3, batch_size=2, sequence_length=32, precision="float32", device="cpu")
    plain, model = make_model(), MemoryOptimizer(use_gradient_checkpointing=True).optimize(make_model())
    for name, each in (("plain", plain), ("saving", model)):
        train(each, stream, settings, output=tmp_path / name)

    state = model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in plain.state_dict().items())


def test_less_is_saved(model: Any, step: Callable[..., None]) -> None:
    """A step saves less for the backward pass, and less is there at its peak; the report has both."""
    optimizer = MemoryOptimizer(use_gradient_checkpointing=True)
    before = optimizer.measure(lambda: step(model), model)
    assert optimizer.optimize(model) is model
    after = optimizer.measure(lambda: step(model))

    assert after.saved < before.saved / 3
    assert after.peak < before.peak
    report = optimizer.report()
    assert (report.before, report.after) == (before, after)
    assert report["use_gradient_checkpointing"].state == "done"


def test_it_can_be_undone(model: Any, step: Callable[..., None]) -> None:
    """A model that was restored saves what it did before."""
    optimizer = MemoryOptimizer(use_gradient_checkpointing=True)
    before = optimizer.measure(lambda: step(model), model)
    optimizer.restore(optimizer.optimize(optimizer.optimize(model)))

    assert optimizer.measure(lambda: step(model)) == before
    assert "forward" not in vars(model)


def test_a_model_without_layers_to_recompute_is_refused() -> None:
    """The error says what to pass instead."""
    with pytest.raises(MemorySavingError, match="Linear can't compute its layers again") as caught:
        MemoryOptimizer(use_gradient_checkpointing=True).optimize(torch.nn.Linear(2, 2))
    assert caught.value.option == "use_gradient_checkpointing"
    assert "before DistributedDataParallel" in caught.value.advice


def test_bfloat16_saves_less(model: Any, step: Callable[..., None]) -> None:
    """With mixed precision, activations are in bfloat16, and parameters and gradients in float32."""
    optimizer = MemoryOptimizer(use_mixed_precision=True)
    before = optimizer.measure(lambda: step(model), model)
    optimizer.optimize(model)
    after = optimizer.measure(lambda: step(model))

    assert model(torch.zeros(1, 4, dtype=torch.long)).logits.dtype == torch.bfloat16
    assert after.saved < before.saved
    assert all(each.grad.dtype == torch.float32 for each in model.parameters())


def test_bfloat16_has_almost_the_same_gradients(
    make_model: Callable[..., Any], gradients: Callable[..., dict[str, torch.Tensor]], kind: dict[str, Any]
) -> None:
    """All gradients together point where those in float32 point."""
    expected, model = gradients(make_model(**kind)), make_model(**kind)
    found = gradients(MemoryOptimizer(use_mixed_precision=True).optimize(model))
    one, other = (torch.cat([each.flatten() for each in kept.values()]) for kept in (found, expected))

    assert float((one - other).norm() / other.norm()) < 0.05


def test_mixed_precision_of_a_model_in_bfloat16_is_nothing_to_do(make_model: Callable[..., Any]) -> None:
    """There is no parameter in float32, and the report says so."""
    optimizer = MemoryOptimizer(use_mixed_precision=True)
    optimizer.optimize(torch.nn.Linear(2, 2, dtype=torch.bfloat16))

    assert optimizer.report()["use_mixed_precision"].state == "nothing to do"
