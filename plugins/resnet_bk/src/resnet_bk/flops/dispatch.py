"""PyTorch's own counter of FLOPs, and what it needs besides to see all that this package computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from resnet_bk.flops.counting import is_inside

__all__ = ["Listener", "listening"]

_aten = torch.ops.aten

# Does nothing, and takes no tensor: PyTorch shows it to every counter that is open.
torch.library.define("resnet_bk::computed", "(str operation, int flops, int module) -> ()")
torch.library.impl("resnet_bk::computed", "CompositeExplicitAutograd", lambda *_: None)


class Listener(Protocol):
    """Is told of every operation that was computed."""

    def __call__(self, operation: str, flops: int, module: int) -> None:
        """An operation, its FLOPs, and the id of the module that it belongs to, 0 for the one that runs."""


def listening(listener: Listener) -> FlopCounterMode:
    """A block in which a listener is told of all that this thread computes.

    Args:
        listener: What is told.
    """
    mapping: dict[Any, Any] = {
        operator: _told(operator, formula, listener)
        for operator, formula in {**flop_registry, **_MORE}.items()
    }

    def own(operation: str, flops: int, module: int, **_: Any) -> int:
        listener(operation, flops, module)
        return flops

    mapping[torch.ops.resnet_bk.computed] = _raw(own)
    return FlopCounterMode(display=False, custom_mapping=mapping)


def _told(operator: Any, formula: Callable[..., int], listener: Listener) -> Callable[..., int]:
    def call(*arguments: Any, **options: Any) -> int:
        if is_inside():
            return 0
        flops = int(formula(*arguments, **options))
        if any(isinstance(argument, Tensor) and argument.is_complex() for argument in arguments[:1]):
            flops *= _COMPLEX
        listener(str(operator), flops, 0)
        return flops

    return _raw(call)


def _raw(formula: Callable[..., int]) -> Callable[..., int]:
    """Marks a formula that wants tensors, where PyTorch would pass their shapes."""
    formula._get_raw = True  # type: ignore[attr-defined]
    return formula


def _convolution_gradient(cotangent: Tensor, *arguments: Any, **_: Any) -> int:
    """As many multiply-adds as forward for each gradient; PyTorch forgets that groups do not mix."""
    *forward, _padding, _groups, wanted = arguments
    once: int = flop_registry[_aten.convolution](*forward, out_val=cotangent)
    return once * int(sum(wanted[:2]))


def _of_matrix(matrix: Tensor, *_: Any, **__: Any) -> int:
    """A matrix or a vector, times a vector."""
    return 2 * int(matrix.numel())


def _of_second(_: Tensor, matrix: Tensor, *__: Any, **___: Any) -> int:
    return 2 * int(matrix.numel())


# Real multiply-adds of one of complex numbers, which PyTorch takes for one.
_COMPLEX = 4
# What PyTorch's counter leaves out, or counts wrongly.
_MORE: dict[Any, Callable[..., int]] = {
    _aten.convolution_backward: _convolution_gradient,
    _aten.mv: _of_matrix,
    _aten.addmv: _of_second,
    _aten.dot: _of_matrix,
    _aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[
        _aten._scaled_dot_product_flash_attention
    ],
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        _aten._scaled_dot_product_flash_attention_backward
    ],
}
