"""What is kept with a model about the ways in which it saves memory."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from torch import nn

from resnet_bk.memory.activations import ActivationOffload
from resnet_bk.memory.report import Saving

__all__ = ["Installed", "installed_in"]

_ATTRIBUTE = "_saves_memory"


@attrs.frozen(kw_only=True)
class Installed:
    """One way to save memory, with a model that has it.

    Attributes:
        saving: What was done.
        undo: Undoes it with the model it is given.
        elsewhere: Bytes of parameters that are not in the memory in which the model computes.
        activations: What moves saved tensors, if anything does.
    """

    saving: Saving
    undo: Callable[[nn.Module], object]
    elsewhere: int = 0
    activations: ActivationOffload | None = None


def installed_in(model: nn.Module) -> dict[str, Installed]:
    """Option -> what a model has of it; to be changed in place."""
    found: dict[str, Installed] = vars(model).setdefault(_ATTRIBUTE, {})
    return found
