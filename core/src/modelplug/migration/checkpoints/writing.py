"""Writes the files of a build, reads them again, and compares every byte with what was to be written."""

from __future__ import annotations

import contextlib
import errno
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from modelplug.migration.checkpoints.build import NewFile, Receipt
from modelplug.migration.checkpoints.hashing import SourceHashes, hash_file, hash_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from modelplug.migration.checkpoints.build import Build, FileReceipt
    from modelplug.migration.checkpoints.ledger import TensorFate
    from modelplug.migration.checkpoints.source import CheckpointSource, TensorData

__all__ = ["NotWrittenError", "write_build"]

_AT_ONCE = 64 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class NotWrittenError(OSError):
    """What was read back is not what was written, or what was to be written."""


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
        if watch is None and self._copied(tensor):
            return
        size = 0
        for chunk in tensor.chunks():
            size += len(chunk)
            self.write(chunk)
            if watch is not None:
                watch(chunk)
        if size != tensor.size:
            raise NotWrittenError(errno.EIO, f"it gives {size} bytes instead of {tensor.size}", name)

    def _copied(self, tensor: TensorData) -> bool:
        """Whether the system itself has copied the values from file to file, which is twice as fast."""
        if tensor.place is None or not hasattr(os, "copy_file_range"):
            return False
        path, offset = tensor.place
        done, begin = 0, os.lseek(self._descriptor, 0, os.SEEK_CUR)
        # Whatever prevents it, such as a full disk, has its error when the values are written one by one.
        with contextlib.suppress(OSError), path.open("rb", buffering=0) as stream:
            while done < tensor.size:
                count = os.copy_file_range(
                    stream.fileno(), self._descriptor, min(tensor.size - done, _AT_ONCE), offset + done
                )
                if not count:
                    break
                done += count
        if done < tensor.size:
            os.lseek(self._descriptor, begin, os.SEEK_SET)
        return done == tensor.size

    def close(self) -> None:
        """Close the file; its content is not on the disk yet."""
        os.close(self._descriptor)


class _ComparingSink:
    """A file that was written, which must hold what is written once more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream = path.open("rb", buffering=0)

    def write(self, data: bytes) -> None:
        """Compare bytes that belong to no tensor."""
        found = self._stream.read(len(data)) or b""
        while len(found) < len(data) and (more := self._stream.read(len(data) - len(found))):
            found += more
        if found != data:
            raise NotWrittenError(errno.EIO, "what was read back is not what was written", self._path.name)

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

    def finish(self) -> None:
        """Make sure that the file holds nothing more."""
        if self._stream.read(1):
            raise NotWrittenError(errno.EIO, "it is longer than what was written", self._path.name)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def write_build(
    build: Build,
    fates: Sequence[TensorFate],
    source: CheckpointSource,
    folder: Path,
    mode: int,
    *,
    each_tensor: bool,
) -> Receipt:
    """Write everything into a folder, and read it again.

    Args:
        build: What to write.
        fates: What becomes of every tensor.
        source: What it is made from.
        folder: An empty folder.
        mode: Permission bits of the files.
        each_tensor: Whether every tensor is hashed, not only the files.

    Returns:
        The hashes of all that was read and written.

    Raises:
        NotWrittenError: Something does not read back as it was written.
        OSError: Something can't be read or written.
    """
    with SourceHashes(source, each_tensor=each_tensor) as hashes:
        files = _write_all(build.files, folder, mode)
        sources, before = hashes.result()
    after = _hashes_after(fates, before) if each_tensor else {}
    receipt = Receipt(sources=sources, files=files, before=before, after=after)
    if build.seal is not None:
        last = build.seal(receipt, fates)
        _write_all([_small_file(name, data) for name, data in last.items()], folder, mode)
    return receipt


def _write_all(files: Sequence[NewFile], folder: Path, mode: int) -> dict[str, FileReceipt]:
    """Write files, and compare what is in them while the disk takes them; gives what they are."""
    for file in files:
        _write(folder / file.name, mode, file)
    paths = {file.name: folder / file.name for file in files}
    with ThreadPoolExecutor(2, "modelplug-check") as executor:
        synced = executor.submit(_sync, list(paths.values()))
        hashed = executor.submit(lambda: {name: hash_file(path) for name, path in paths.items()})
        for file in files:
            _compare(paths[file.name], file)
        synced.result()
        return hashed.result()


def _write(path: Path, mode: int, file: NewFile) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sink = _WritingSink(path, mode)
    try:
        file.write(sink)
    finally:
        sink.close()


def _sync(paths: Sequence[Path]) -> None:
    """Wait until the content of files is on the disk."""
    for path in paths:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _compare(path: Path, file: NewFile) -> None:
    sink = _ComparingSink(path)
    try:
        file.write(sink)
        sink.finish()
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
