"""Reads and sets the epsilon of a model, if it has one that can be set."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["epsilon_of", "set_epsilon"]


def epsilon_of(model: torch.nn.Module) -> float | None:
    """The epsilon of a model, or None if it has none that can be set.

    A model that has one offers a method `set_epsilon`, and tells the present value by an attribute `epsilon`,
    its own or, without one, its configuration's.

    Args:
        model: The model, not wrapped.
    """
    if not callable(getattr(model, "set_epsilon", None)):
        return None
    holder: Any = model if hasattr(model, "epsilon") else getattr(model, "config", None)
    value = getattr(holder, "epsilon", None)
    return None if value is None else float(value)


def set_epsilon(model: torch.nn.Module, value: float) -> None:
    """Set the epsilon of a model that has one.

    Args:
        model: The model, not wrapped.
        value: The new epsilon.
    """
    setter: Any = model.set_epsilon
    setter(value)
