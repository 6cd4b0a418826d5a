"""Optimizers whose state is divided among processes (ZeRO, stage 1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from resnet_bk.memory.options import processes
from resnet_bk.memory.report import Saving, in_units

__all__ = ["ZERO", "divided_optimizer", "state_bytes", "state_of"]

ZERO = "use_zero"


def divided_optimizer(
    optimizer_class: type[torch.optim.Optimizer], parameters: Iterable[Any], options: dict[str, Any]
) -> torch.optim.Optimizer:
    """An optimizer of which each process holds a part of the state, where there is something to divide.

    Args:
        optimizer_class: Its class.
        parameters: Parameters or groups of them.
        options: Its settings.
    """
    given = list(parameters)
    count, _ = processes()
    tensors = [each for item in given for each in (item["params"] if isinstance(item, dict) else [item])]
    # Parameters that FSDP2 divided have divided state already.
    if count == 1 or any(hasattr(each, "full_tensor") for each in tensors):
        return optimizer_class(given, **options)
    from torch.distributed.optim import ZeroRedundancyOptimizer

    return ZeroRedundancyOptimizer(given, optimizer_class=optimizer_class, **options)


def state_of(optimizers: Iterable[torch.optim.Optimizer]) -> Saving:
    """What there is to say of optimizers that were to be divided."""
    count, rank = processes()
    made = list(optimizers)
    if count == 1:
        reason = "there is one process, and it needs the whole state of the optimizer"
        return Saving(name=ZERO, state="nothing to do", reason=reason)
    if not made:
        return Saving(name=ZERO, state="to do", reason="make the optimizer with make_optimizer(model)")
    if not any(hasattr(each, "consolidate_state_dict") for each in made):
        reason = "the parameters are divided among the processes already, and the state with them"
        return Saving(name=ZERO, state="nothing to do", reason=reason)
    held = in_units(sum(map(state_bytes, made)))
    return Saving(name=ZERO, state="done", reason=f"process {rank} of {count} holds {held} of the state")


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of an optimizer's state that this process holds."""
    own = getattr(optimizer, "optim", optimizer)
    return sum(
        value.nbytes for entry in own.state.values() for value in entry.values() if isinstance(value, Tensor)
    )
