"""Computes a model's forward pass inside context managers."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from torch import nn

__all__ = ["ForwardContexts"]


class ForwardContexts:
    """Takes the place of a model's `forward`. Unlike hooks, it also ends what it began when interrupted.

    Args:
        model: The model.

    Attributes:
        makers: Name -> what makes the context manager for one pass; entered in this order.
    """

    def __init__(self, model: nn.Module) -> None:
        self._before = vars(model).get("forward")
        self._original = model.forward
        functools.update_wrapper(self, self._original)
        self.makers: dict[str, Callable[[], AbstractContextManager[Any]]] = {}

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """The forward pass."""
        with contextlib.ExitStack() as stack:
            for make in self.makers.values():
                stack.enter_context(make())
            return self._original(*arguments, **options)

    @classmethod
    def add(cls, model: nn.Module, name: str, make: Callable[[], AbstractContextManager[Any]]) -> None:
        """Compute a model inside one more; one of the same name is replaced."""
        own = vars(model).get("forward")
        if not isinstance(own, cls):
            own = cls(model)
            vars(model)["forward"] = own
        own.makers[name] = make

    @classmethod
    def remove(cls, model: nn.Module, name: str) -> None:
        """Leave one away; without any, the model is as it was."""
        own = vars(model).get("forward")
        if not isinstance(own, cls):
            return
        own.makers.pop(name, None)
        if not own.makers:
            vars(model).pop("forward")
            if own._before is not None:
                vars(model)["forward"] = own._before
