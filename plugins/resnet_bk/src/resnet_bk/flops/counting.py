"""How operations with kernels of their own tell what they compute to those who count.

PyTorch's counter sees the operators of PyTorch that a thread calls. What a compiled kernel computes it can't
see, and what a kernel made of PyTorch operators computes it would see in another number. So an operation
says itself what it costs, where it is handed to a kernel, and whatever the kernel calls counts nothing. It
says so by calling an operator that does nothing, which PyTorch brings to all counters that are open in the
thread, also in the threads of a backward pass.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ParamSpec

import torch

__all__ = ["counted", "is_counting", "is_inside", "opened", "tell"]

P = ParamSpec("P")

_lock = threading.Lock()
_open_blocks = 0
_nothing = nullcontext()


class _Inside(threading.local):
    """Whether this thread is inside of an operation that has said what it costs."""

    operation = False


_inside = _Inside()


@contextmanager
def opened() -> Iterator[None]:
    """While someone counts; operations say nothing otherwise."""
    _change(1)
    try:
        yield
    finally:
        _change(-1)


def _change(number: int) -> None:
    global _open_blocks
    with _lock:
        _open_blocks += number


def is_counting() -> bool:
    """Whether anybody counts, in any thread."""
    return _open_blocks > 0


def is_inside() -> bool:
    """Whether what this thread computes was said by the operation that it is part of."""
    return _inside.operation


def counted(
    name: str, cost: Callable[P, int], *arguments: P.args, **options: P.kwargs
) -> AbstractContextManager[Any]:
    """A block that computes an operation.

    Args:
        name: Of the operation.
        cost: One of `resnet_bk.flops.costs`.
        arguments: What the cost depends on.
        options: Likewise.
    """
    if not _open_blocks or _inside.operation:
        return _nothing
    return _computing(name, cost(*arguments, **options))


@contextmanager
def _computing(name: str, flops: int) -> Iterator[None]:
    _inside.operation = True
    try:
        yield
    finally:
        _inside.operation = False
    tell(name, flops)


def tell(name: str, flops: int, module: torch.nn.Module | None = None) -> None:
    """Tell all open counters of this thread that an operation was computed.

    Args:
        name: Of the operation.
        flops: What it cost.
        module: The module that it belongs to; None for the one that is running.
    """
    if _open_blocks:
        torch.ops.resnet_bk.computed(name, flops, 0 if module is None else id(module))
