"""How much memory a training step takes, counted and not estimated."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Saved", "SavedTensors", "TensorMemory", "is_parameter"]


def is_parameter(tensor: Tensor) -> bool:
    """Whether a tensor is a parameter or a view of one: in memory whatever is saved."""
    return isinstance(tensor if tensor._base is None else tensor._base, nn.Parameter)


class Saved:
    """A tensor that the backward pass will need, for as long as this object is there."""

    def __init__(self, tensor: Tensor, counted: SavedTensors) -> None:
        # Detached: the tensor itself would hold the node of the graph that holds this.
        self.tensor = tensor.detach()
        self._counted = counted
        counted.hold(self.tensor.untyped_storage())

    def __del__(self) -> None:
        self._counted.release(self.tensor.untyped_storage())


class SavedTensors:
    """Counts the bytes of tensors saved for a backward pass; memory that several share counts once.

    Parameters and their views are not counted. Saved tensors that a recomputation makes are not seen here.

    Attributes:
        peak: The most bytes at one time.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._bytes = 0
        self._holders: dict[int, int] = {}

    def hooks(self) -> torch.autograd.graph.saved_tensors_hooks:
        """What counts the tensors that are saved inside of it."""
        return torch.autograd.graph.saved_tensors_hooks(self.pack, self.unpack)

    def pack(self, tensor: Tensor) -> Tensor | Saved:
        """What is kept in place of a tensor."""
        return tensor if is_parameter(tensor) else Saved(tensor, self)

    @staticmethod
    def unpack(kept: Tensor | Saved) -> Tensor:
        """The tensor."""
        return kept.tensor if isinstance(kept, Saved) else kept

    def hold(self, storage: torch.UntypedStorage) -> None:
        """A tensor of this memory is saved."""
        key = storage.data_ptr()
        holders = self._holders.get(key, 0)
        self._holders[key] = holders + 1
        if not holders:
            self._bytes += storage.nbytes()
            self.peak = max(self.peak, self._bytes)

    def release(self, storage: torch.UntypedStorage) -> None:
        """It is not needed any more."""
        key = storage.data_ptr()
        self._holders[key] -= 1
        if not self._holders[key]:
            del self._holders[key]
            self._bytes -= storage.nbytes()


class TensorMemory(TorchDispatchMode):  # type: ignore[misc]
    """Counts the bytes of all tensors that operations on the CPU make, for as long as they are there.

    What compiled code allocates for itself is not seen.

    Attributes:
        peak: The most bytes at one time, above what there was at the beginning.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._bytes = 0
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self,
        function: Any,
        types: Any,
        arguments: tuple[Any, ...] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and count what it made."""
        options = options or {}
        given = {id(storage) for storage in _storages((arguments, options))}
        result = function(*arguments, **options)
        for storage in _storages(result):
            key = id(storage)
            if key not in given and key not in self._alive:
                self._bytes += storage.nbytes()
                self._alive[key] = weakref.ref(storage, partial(self._gone, key, storage.nbytes()))
        self.peak = max(self.peak, self._bytes)
        return result

    def _gone(self, key: int, size: int, _: object) -> None:
        del self._alive[key]
        self._bytes -= size


def _storages(values: Any) -> list[torch.UntypedStorage]:
    return [
        each.untyped_storage()
        for each in tree_leaves(values)
        if isinstance(each, Tensor) and each.device.type == "cpu"
    ]
