"""Writes the files of a build, reads them again from the disk, and compares every byte."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from typing import TYPE_CHECKING

from modelplug.migration.checkpoints.build import FileReceipt, NewFile, Receipt
from modelplug.migration.checkpoints.hashing import SourceHashes, hash_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from modelplug.migration.checkpoints.build import Build
    from modelplug.migration.checkpoints.ledger import TensorFate
    from modelplug.migration.checkpoints.source import CheckpointSource, TensorData

__all__ = ["NotWrittenError", "write_build"]

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_LARGEST_READ = 1 << 20


class NotWrittenError(OSError):
    """What was read from the disk is not what was written to it, or what was to be written."""


class _WritingSink:
    """A new file."""

    def __init__(self, path: Path, mode: int) -> None:
        self._descriptor = os.open(path, _NEW, mode)

    def write(self, data: bytes) -> None:
        """Write bytes that belong to no tensor."""
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def tensor(self, name: str, tensor: TensorData, watch: Callable[[bytes], None] | None = None) -> None:
        """Write a tensor's values."""
        size = 0
        for chunk in tensor.chunks():
            size += len(chunk)
            self.write(chunk)
            if watch is not None:
                watch(chunk)
        if size != tensor.size:
            raise NotWrittenError(errno.EIO, f"it gives {size} bytes instead of {tensor.size}", name)

    def close(self, *, sync: bool) -> None:
        """Close the file, once its content is on the disk."""
        try:
            if sync:
                os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)


class _ComparingSink:
    """A file that was written, which must hold what is written once more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self._size = 0
        self._buffer = memoryview(bytearray(_LARGEST_READ))
        self._stream = path.open("rb", buffering=0)
        if sys.platform == "linux":
            # Its copy in memory would prove nothing.
            os.posix_fadvise(self._stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def write(self, data: bytes) -> None:
        """Compare bytes that belong to no tensor."""
        wanted = memoryview(data)
        while wanted:
            count = self._stream.readinto(self._buffer[: len(wanted)]) or 0
            found = self._buffer[:count]
            if not count or found != wanted[:count]:
                reason = "what was read back is not what was written"
                raise NotWrittenError(errno.EIO, reason, self._path.name)
            self._digest.update(found)
            self._size += count
            wanted = wanted[count:]

    def tensor(
        self,
        name: str,  # noqa: ARG002  every sink is called alike
        tensor: TensorData,
        watch: Callable[[bytes], None] | None = None,
    ) -> None:
        """Compare a tensor's values."""
        for chunk in tensor.chunks():
            self.write(chunk)
            if watch is not None:
                watch(chunk)

    def receipt(self) -> FileReceipt:
        """What the file is, if it holds nothing more."""
        if self._stream.read(1):
            raise NotWrittenError(errno.EIO, "it is longer than what was written", self._path.name)
        return FileReceipt(self._size, self._digest.hexdigest())

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def write_build(
    build: Build, fates: Sequence[TensorFate], source: CheckpointSource, folder: Path, mode: int
) -> Receipt:
    """Write everything into a folder, and read it again.

    Args:
        build: What to write.
        fates: What becomes of every tensor.
        source: What it is made from.
        folder: An empty folder.
        mode: Permission bits of the files.

    Returns:
        The hashes of all that was read and written.

    Raises:
        NotWrittenError: Something does not read back as it was written.
        OSError: Something can't be read or written.
    """
    with SourceHashes(source) as hashes:
        for file in build.files:
            _write(folder / file.name, mode, file)
        files = {file.name: _compare(folder / file.name, file) for file in build.files}
        sources, before = hashes.result()
    receipt = Receipt(sources=sources, files=files, before=before, after=_hashes_after(fates, before))
    if build.seal is not None:
        for name, data in build.seal(receipt, fates).items():
            file = _small_file(name, data)
            _write(folder / name, mode, file)
            _compare(folder / name, file)
    return receipt


def _write(path: Path, mode: int, file: NewFile) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sink = _WritingSink(path, mode)
    done = False
    try:
        file.write(sink)
        done = True
    finally:
        sink.close(sync=done)


def _compare(path: Path, file: NewFile) -> FileReceipt:
    sink = _ComparingSink(path)
    try:
        file.write(sink)
        return sink.receipt()
    finally:
        sink.close()


def _hashes_after(fates: Sequence[TensorFate], before: dict[str, str]) -> dict[str, str]:
    """The hash of every tensor of the result; those that were moved were compared to the byte."""
    return {
        fate.target: before[fate.origin] if fate.kind == "moved" else hash_tensor(fate.tensor)
        for fate in fates
        if fate.tensor is not None
    }


def _small_file(name: str, data: bytes) -> NewFile:
    return NewFile(name=name, size=len(data), write=lambda sink: sink.write(data))
