"""Keeps the parameters of a model outside of the memory in which it computes."""

from __future__ import annotations

import contextlib
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from resnet_bk.memory.errors import MemorySavingError
from resnet_bk.memory.spill import as_bytes, failed_to_write

__all__ = ["LayersOnCpu", "layers_of", "map_parameters", "unmap_parameters"]

_ALIGNMENT = 64


def map_parameters(model: nn.Module, folder: Path) -> int:
    """Put parameters of the CPU into a file mapped into memory; the system drops what is not in use.

    Everything works as before, training too, which writes to the file. It is temporary and has no name where
    the system allows it: weights are saved as ever.

    Args:
        model: The model.
        folder: Where the file is; on a file system in memory (tmpfs) nothing would be gained.

    Returns:
        How many bytes were put there.

    Raises:
        MemorySavingError: The folder can't be written to.
    """
    parameters = [each for each in model.parameters() if each.device.type == "cpu" and each.numel()]
    if not parameters:
        return 0
    starts = []
    try:
        with tempfile.TemporaryFile(dir=folder, prefix="resnet-bk-") as file:
            # Written, so that a full disk is an error now and not a signal later.
            for each in parameters:
                file.write(bytes(-file.tell() % _ALIGNMENT))
                starts.append(file.tell())
                file.write(as_bytes(each.data.contiguous()))
            file.flush()
            mapped = mmap.mmap(file.fileno(), 0)
    except OSError as error:
        raise failed_to_write(folder, error) from error
    for each, start in zip(parameters, starts, strict=True):
        # The tensor holds on to the map.
        place = torch.frombuffer(mapped, dtype=each.dtype, count=each.numel(), offset=start)
        each.data = place.view(each.shape)
    return sum(each.nbytes for each in parameters)


def unmap_parameters(model: nn.Module) -> None:
    """Put them back into plain memory."""
    for each in model.parameters():
        if each.device.type == "cpu":
            each.data = each.data.clone()


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers of a model, as it names their classes in `_no_split_modules`."""
    names = getattr(model, "_no_split_modules", None) or ()
    return [module for module in model.modules() if type(module).__name__ in names]


class LayersOnCpu:
    """Keeps layers in the memory of the CPU, and each on the device only while it computes. Not for training.

    Args:
        layers: The layers.
        device: Where they compute.

    Attributes:
        nbytes: Bytes of their parameters.
    """

    def __init__(self, layers: list[nn.Module], device: torch.device) -> None:
        self._layers = [_Layer(layer, device) for layer in layers]
        self.nbytes = sum(each.nbytes for layer in layers for each in layer.parameters())

    @contextlib.contextmanager
    def forward(self) -> Iterator[None]:
        """What to compute a forward pass of the whole model in; it refuses to train."""
        if torch.is_grad_enabled() and self._layers and self._layers[0].layer.training:
            raise MemorySavingError(
                "a model whose layers wait on the CPU can't be trained",
                option="use_cpu_offload",
                why="they are gone from the device before the backward pass needs them",
                advice="Call restore(model), model.train() and optimize(model): then what is saved for the "
                "backward pass is moved instead.",
            )
        yield

    def remove(self) -> None:
        """Put the layers back on the device."""
        for layer in self._layers:
            layer.remove()


class _Layer:
    """One layer.

    Args:
        layer: It.
        device: Where it computes.
    """

    def __init__(self, layer: nn.Module, device: torch.device) -> None:
        self.layer = layer
        self._device = device
        pinned = device.type in ("cuda", "xpu")
        self._kept = [
            (each, each.data.cpu().pin_memory() if pinned else each.data.cpu()) for each in layer.parameters()
        ]
        self._handles = [
            layer.register_forward_pre_hook(self._before),
            layer.register_forward_hook(self._after, always_call=True),
        ]
        self._leave()

    def _before(self, _module: nn.Module, _arguments: Any) -> None:
        for parameter, kept in self._kept:
            parameter.data = kept.to(self._device, non_blocking=True)

    def _after(self, _module: nn.Module, _arguments: Any, _result: Any) -> None:
        self._leave()

    def _leave(self) -> None:
        for parameter, kept in self._kept:
            parameter.data = kept

    def remove(self) -> None:
        """Put it back on the device."""
        for handle in self._handles:
            handle.remove()
        for parameter, kept in self._kept:
            parameter.data = kept.to(self._device)
