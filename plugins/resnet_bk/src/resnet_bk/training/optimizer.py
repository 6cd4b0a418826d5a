"""AdamW, with weight decay where it belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from resnet_bk.training.errors import TrainingError

if TYPE_CHECKING:
    from resnet_bk.training.config import TrainingConfig

__all__ = ["exempt_from_decay", "make_optimizer", "parameter_groups", "set_learning_rate"]


def exempt_from_decay(model: torch.nn.Module) -> frozenset[str]:
    """The names of the parameters that have no weight decay.

    These are vectors and single numbers (biases, norms and the like), every parameter that says so by an
    attribute `_no_weight_decay`, and those the model names by a method `no_weight_decay`. To be asked before
    parameters are distributed, which loses attributes.

    Args:
        model: The model.
    """
    named: Any = getattr(model, "no_weight_decay", None)
    return frozenset(named() if callable(named) else ()) | frozenset(
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim < 2 or getattr(parameter, "_no_weight_decay", False)
    )


def parameter_groups(
    model: torch.nn.Module, weight_decay: float, exempt: frozenset[str]
) -> list[dict[str, Any]]:
    """The trainable parameters in two groups: with weight decay, and without; each parameter with its name.

    Args:
        model: The model.
        weight_decay: The decay of the first group.
        exempt: The names of those in the second.

    Raises:
        TrainingError: There is nothing to train.
    """
    named = [(name, each) for name, each in model.named_parameters() if each.requires_grad]
    groups = [
        {"params": [item for item in named if item[0] not in exempt], "weight_decay": weight_decay},
        {"params": [item for item in named if item[0] in exempt], "weight_decay": 0.0},
    ]
    if not named:
        raise TrainingError("the model has no parameters to train", why="none of them requires a gradient")
    return [group for group in groups if group["params"]]


def make_optimizer(
    model: torch.nn.Module, config: TrainingConfig, exempt: frozenset[str]
) -> torch.optim.AdamW:
    """The optimizer of a run."""
    return torch.optim.AdamW(
        parameter_groups(model, config.weight_decay, exempt),
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.adam_epsilon,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
