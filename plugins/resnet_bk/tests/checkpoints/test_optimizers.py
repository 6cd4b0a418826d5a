"""The state of every optimizer and scheduler of torch, there and back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from resnet_bk.checkpoints.saving import write_state
from resnet_bk.checkpoints.staging import Staging

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adamw-amsgrad": lambda p: torch.optim.AdamW(p, amsgrad=True),
    "adam-tensor-rate": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.01)),
    "sgd-momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "sgd-plain": lambda p: torch.optim.SGD(p, lr=0.1),
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "adamax": torch.optim.Adamax,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": lambda p: torch.optim.RMSprop(p, momentum=0.5, centered=True),
    "rprop": torch.optim.Rprop,
    "asgd": torch.optim.ASGD,
    "adafactor": torch.optim.Adafactor,
    "lbfgs": torch.optim.LBFGS,
}
SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "one-cycle": lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=20),
    "steps": lambda o: lr_scheduler.MultiStepLR(o, [2, 2, 5]),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o),
    "sequence": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o), lr_scheduler.CosineAnnealingLR(o, 10)], [3]
    ),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.9**step),
}


@pytest.fixture
def trip(tmp_path: Path) -> Callable[[Any], Any]:
    """Writes a state into files and reads it."""

    def go(state: Any) -> Any:
        import json

        from resnet_bk.checkpoints.tensor_files import read_tensors
        from resnet_bk.checkpoints.trees import unflatten

        staging = Staging(tmp_path)
        write_state(staging, "state", state)
        file = staging.folder / "state.safetensors"
        tree = json.loads((staging.folder / "state.json").read_text())
        return unflatten(tree, read_tensors(file) if file.exists() else {})

    return go


def go_on(model: torch.nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    """Two updates."""
    inputs = torch.randn(4, 5, generator=torch.Generator().manual_seed(seed))

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss: torch.Tensor = model(inputs).pow(2).mean()
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_optimizer_goes_on_exactly(
    kind: str, trip: Callable[[Any], Any], same: Callable[..., bool]
) -> None:
    """The state on disk is equal to that in memory, and an optimizer that takes it makes the same updates."""
    torch.manual_seed(0)
    model = torch.nn.Linear(5, 3)
    optimizer = OPTIMIZERS[kind](model.parameters())
    go_on(model, optimizer, 1)
    back = trip(optimizer)
    assert same(back, optimizer.state_dict())

    twin = copy.deepcopy(model)
    other = OPTIMIZERS[kind](twin.parameters())
    other.load_state_dict(back)
    go_on(model, optimizer, 2)
    go_on(twin, other, 2)
    assert same(dict(twin.state_dict()), dict(model.state_dict()))


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_a_scheduler_goes_on_exactly(
    kind: str, trip: Callable[[Any], Any], same: Callable[..., bool]
) -> None:
    """A scheduler that takes the state from disk gives the same learning rates."""

    def make() -> tuple[torch.optim.Optimizer, Any]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
        return optimizer, SCHEDULERS[kind](optimizer)

    def rates(optimizer: torch.optim.Optimizer, scheduler: Any, steps: int) -> list[float]:
        found = []
        for _ in range(steps):
            optimizer.step()
            scheduler.step(1.0) if kind == "plateau" else scheduler.step()
            found.append(optimizer.param_groups[0]["lr"])
        return found

    optimizer, scheduler = make()
    rates(optimizer, scheduler, 4)
    states = trip({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()})
    assert same(states["scheduler"], scheduler.state_dict())
    other_optimizer, other = make()
    other_optimizer.load_state_dict(states["optimizer"])
    other.load_state_dict(states["scheduler"])
    assert rates(other_optimizer, other, 8) == rates(optimizer, scheduler, 8)
