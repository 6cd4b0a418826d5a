"""Puts what a checkpoint holds into a model and its companions, all of it or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from resnet_bk.checkpoints.errors import CheckpointError, CheckpointMismatchError
from resnet_bk.checkpoints.rng import restore_rng
from resnet_bk.checkpoints.weights import Skeleton, fit, unwrap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resnet_bk.checkpoints.reading import Checkpoint

__all__ = ["check_optimizer", "load_into"]


def load_into(
    checkpoint: Checkpoint,
    *,
    model: torch.nn.Module | None = None,
    states: Mapping[str, Any],
    with_rng: bool = False,
) -> None:
    """Load a checkpoint into what is given; whatever can be refused is refused before anything changes.

    Args:
        checkpoint: The checkpoint.
        model: What takes the weights.
        states: Name of a state -> the object that takes it with `load_state_dict`; None is left out.
        with_rng: Whether the random number generators of this process are set, too.

    Raises:
        CheckpointMismatchError: It is of another architecture.
        CheckpointError: It lacks a state.
    """
    wanted = {name: taker for name, taker in states.items() if taker is not None}
    found = {name: _state(checkpoint, name) for name in wanted}
    for name, taker in wanted.items():
        if isinstance(taker, torch.optim.Optimizer):
            check_optimizer(checkpoint, taker, found[name])
    inner = None if model is None else unwrap(model)
    weights = {} if inner is None else fit(Skeleton.of(inner), *checkpoint.model_state(), checkpoint.path)
    # The small ones first: they may refuse by themselves; neither weights nor optimizer can any more.
    for name in sorted(wanted, key=lambda name: isinstance(wanted[name], torch.optim.Optimizer)):
        wanted[name].load_state_dict(found[name])
    if inner is not None:
        inner.load_state_dict(weights)
    if with_rng and checkpoint.training_state.rng:
        restore_rng(checkpoint.training_state.rng[0])


def _state(checkpoint: Checkpoint, name: str) -> Any:
    try:
        return checkpoint.state(name)
    except KeyError as error:
        raise CheckpointError(
            f"the checkpoint {checkpoint.path.name} has no {name}",
            path=checkpoint.path,
            why=f"it was saved with {', '.join(checkpoint.states) or 'nothing'} beside the model",
            advice=f"Load it without the {name}.",
        ) from error


def check_optimizer(checkpoint: Checkpoint, optimizer: torch.optim.Optimizer, state: Any) -> None:
    """Refuse an optimizer state that belongs to other parameters.

    Args:
        checkpoint: Where the state is from.
        optimizer: What it is to be loaded into.
        state: The state.

    Raises:
        CheckpointMismatchError: The groups differ in number, size or names.
    """
    here = [_names(group, len(group["params"])) for group in optimizer.param_groups]
    there = [_names(group, len(group["params"])) for group in state["param_groups"]]
    sizes_here, sizes_there = [len(group) for group in here], [len(group) for group in there]
    why = ""
    if sizes_here != sizes_there:
        why = f"its groups have {sizes_here} parameters here and {sizes_there} in the checkpoint"
    elif any(one != other for one, other in zip(here, there, strict=True) if None not in (*one, *other)):
        why = "its parameters have other names or another order than those in the checkpoint"
    if why:
        raise CheckpointMismatchError(
            f"the optimizer in the checkpoint {checkpoint.path.name} is of other parameters",
            path=checkpoint.path,
            why=why,
            advice="Make the parameter groups as they were, or load the checkpoint without the optimizer.",
        )


def _names(group: Mapping[str, Any], size: int) -> list[str | None]:
    return list(group.get("param_names") or [None] * size)
