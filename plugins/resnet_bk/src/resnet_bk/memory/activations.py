"""Keeps what the backward pass will need outside of the memory in which the model computes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnet_bk.memory.counting import SavedTensors, is_parameter
from resnet_bk.memory.spill import Spill, Spilled

__all__ = ["ActivationOffload"]

# Below this, moving a tensor costs more than it saves.
_WORTHWHILE = 64 * 1024
# Devices for which a copy to the CPU is faster into pinned memory.
_PINNED = ("cuda", "xpu")


class ActivationOffload:
    """Moves saved tensors away in the forward pass, and gets them back in the backward pass, unchanged.

    Those of an accelerator go to the memory of the CPU, and those of the CPU to a file.

    Args:
        folder: Where the file is; None leaves tensors of the CPU where they are.

    Attributes:
        moved: Bytes that were moved so far.
        counted: What counts the tensors that stay, while somebody measures.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.moved = 0
        self.counted: SavedTensors | None = None

    @contextlib.contextmanager
    def forward(self) -> Iterator[None]:
        """What to compute a forward pass in."""
        # A file for each pass, which goes with the last tensor in it.
        spill = None if self.folder is None or not torch.is_grad_enabled() else Spill(self.folder)

        def pack(tensor: Tensor) -> Any:
            size = tensor.nbytes
            elsewhere = tensor.device.type != "cpu" or spill is not None
            if not elsewhere or size < _WORTHWHILE or not _movable(tensor):
                return tensor if self.counted is None else self.counted.pack(tensor)
            self.moved += size
            if tensor.device.type != "cpu":
                return _to_cpu(tensor.device.type).pack_hook(tensor)
            assert spill is not None
            return spill.write(tensor)

        with torch.autograd.graph.saved_tensors_hooks(pack, _unpack):
            yield


def _movable(tensor: Tensor) -> bool:
    """Whether moving it frees memory: it is no parameter, and not a small one expanded."""
    if is_parameter(tensor) or type(tensor) is not Tensor or tensor.layout != torch.strided:
        return False
    return bool(tensor.nbytes <= tensor.untyped_storage().nbytes())


def _to_cpu(kind: str) -> torch.autograd.graph.save_on_cpu:
    return torch.autograd.graph.save_on_cpu(pin_memory=kind in _PINNED, device_type=kind)


def _unpack(kept: Any) -> Tensor:
    if isinstance(kept, Spilled):
        return kept.read()
    if isinstance(kept, tuple):
        device, _ = kept
        found: Tensor = _to_cpu(device.type).unpack_hook(kept)
        return found
    return SavedTensors.unpack(kept)
