"""Trained models without their memory: what recurrent states give is replaced by zero."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from mambapy.mamba import MambaBlock
from torch import Tensor, nn

from resnet_bk.modeling.copy_memory import CopyMemory
from resnet_bk.modeling.green_mixer import GreenMixer

__all__ = ["has_memory", "memory_off"]


def _recurrent(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, (GreenMixer, CopyMemory, MambaBlock))]


def has_memory(model: nn.Module) -> bool:
    """Whether there is a recurrent state to take away."""
    return bool(_recurrent(model))


@contextlib.contextmanager
def memory_off(model: nn.Module) -> Iterator[None]:
    """Within it, nothing is read from any state; convolution, skip and gate go on as they were."""
    with contextlib.ExitStack() as restored:
        for block in _recurrent(model):
            name = "selective_scan" if isinstance(block, MambaBlock) else "_read"
            restored.callback(_put_back, block, name, block.__dict__.get(name))
            setattr(block, name, _silent(getattr(block, name)) if name == "_read" else _skip)
        yield


def _put_back(block: nn.Module, name: str, own: Any) -> None:
    if own is None:
        delattr(block, name)  # the method of the class is there again
    else:
        setattr(block, name, own)


def _silent(read: Any) -> Any:
    def nothing(*given: Any) -> tuple[Tensor, Any]:
        outputs, states = read(*given)
        return torch.zeros_like(outputs), states

    return nothing


def _skip(inputs: Tensor, *rest: Tensor) -> Tensor:
    return rest[-1] * inputs
