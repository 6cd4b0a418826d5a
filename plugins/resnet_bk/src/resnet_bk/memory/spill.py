"""Tensors in a file instead of memory."""

from __future__ import annotations

import tempfile
import weakref
from pathlib import Path

import attrs
import torch
from torch import Tensor

from resnet_bk.memory.errors import MemorySavingError

__all__ = ["Spill", "Spilled", "as_bytes", "failed_to_write"]


@attrs.frozen(eq=False)
class Spilled:
    """A tensor in a file, which stays as long as there is one of these.

    Attributes:
        spill: The file.
        start: Where it begins, in bytes.
        shape: Its shape.
        dtype: Its dtype.
    """

    spill: Spill
    start: int
    shape: torch.Size
    dtype: torch.dtype

    def read(self) -> Tensor:
        """The tensor, in memory."""
        found = torch.empty(self.shape, dtype=self.dtype)
        self.spill.read(self.start, found)
        return found


class Spill:
    """A temporary file that has no name where the system allows it, so that none is left, whatever happens.

    Args:
        folder: Where the file is; on a file system in memory (tmpfs) nothing would be gained.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._end = 0
        try:
            self._file = tempfile.TemporaryFile(dir=folder, prefix="resnet-bk-", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise failed_to_write(folder, error) from error
        weakref.finalize(self, self._file.close)

    def write(self, tensor: Tensor) -> Spilled:
        """Put a tensor of the CPU at the end."""
        start = self._end
        data = as_bytes(tensor.resolve_conj().resolve_neg().contiguous())
        try:
            self._file.seek(start)
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise failed_to_write(self._folder, error) from error
        self._end = start + tensor.nbytes
        return Spilled(self, start, tensor.shape, tensor.dtype)

    def read(self, start: int, tensor: Tensor) -> None:
        """Fill a tensor with what was written."""
        data = as_bytes(tensor)
        self._file.seek(start)
        while data:
            count = self._file.readinto(data)
            if not count:
                raise MemorySavingError(
                    f"a file of offloaded tensors in {self._folder} became shorter", option="offload_folder"
                )
            data = data[count:]


def as_bytes(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor of the CPU."""
    return memoryview(tensor.detach().reshape(-1).view(torch.uint8).numpy())


def failed_to_write(folder: Path, error: OSError) -> MemorySavingError:
    """What to raise where a folder can't be written to."""
    return MemorySavingError(
        f"tensors can't be written to {folder}",
        option="offload_folder",
        why=error.strerror or str(error),
        advice="Free some space there, or name another folder on a disk.",
    )
