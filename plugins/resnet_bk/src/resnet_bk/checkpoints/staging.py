"""Folders that appear under their name complete, verified and on the disk, or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import sys
import uuid
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["FileRecord", "Staging", "VerificationError", "hash_file", "remove_folder", "remove_leftovers"]

_STAGING: Final = ".staging-"
_REMOVED: Final = ".removed-"
_BLOCK: Final = 1 << 20
# Some network file systems refuse to sync a folder; the content itself is safe by then.
_UNSYNCABLE: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES})


class VerificationError(OSError):
    """What was read back from the disk is not what was written."""


@attrs.frozen
class FileRecord:
    """What a file must be.

    Attributes:
        size: In bytes.
        sha256: In hexadecimal.
    """

    size: int
    sha256: str


class Staging:
    """A folder in the making, beside the place where it will stand.

    Args:
        parent: The folder in which the finished one will stand; it is made if need be.
    """

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        self.folder = parent / f"{_STAGING}{uuid.uuid4().hex}"
        self.folder.mkdir()
        self.files: dict[str, FileRecord] = {}

    def write(self, name: str, chunks: Iterable[bytes | memoryview]) -> FileRecord:
        """Write a file and wait until it is on the disk.

        Args:
            name: Its name in the folder.
            chunks: Its content.

        Raises:
            OSError: It can't be written.
        """
        digest, size = hashlib.sha256(), 0
        descriptor = os.open(self.folder / name, _NEW_FILE, 0o666)
        try:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                _write_all(descriptor, chunk)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.files[name] = FileRecord(size, digest.hexdigest())
        return self.files[name]

    def verify(self) -> None:
        """Read everything back.

        Raises:
            VerificationError: A file is not what was written.
            OSError: One can't be read.
        """
        for name, record in self.files.items():
            if hash_file(self.folder / name, from_disk=True) != record:
                raise VerificationError(errno.EIO, "what was read back is not what was written", name)

    def publish(self, name: str) -> Path:
        """Give the folder its name, in one step.

        Args:
            name: Its name, which must be free.

        Raises:
            OSError: That is not possible.
        """
        target = self.folder.parent / name
        sync_folder(self.folder)
        self.folder.rename(target)
        sync_folder(target.parent)
        return target

    def discard(self) -> None:
        """Remove the folder, as far as that goes; what stays is removed at the next start."""
        shutil.rmtree(self.folder, ignore_errors=True)


_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def _write_all(descriptor: int, chunk: bytes | memoryview) -> None:
    left = memoryview(chunk)
    while left:
        # The system takes at most 2 GiB at a time, and perhaps less.
        left = left[os.write(descriptor, left[: 1 << 30]) :]


def hash_file(path: Path, *, from_disk: bool = False) -> FileRecord:
    """Size and SHA-256 of a file.

    Args:
        path: The file.
        from_disk: Whether the system is asked to forget its copy in memory first, where it can be asked.

    Raises:
        OSError: It can't be read.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as stream:
        if from_disk and sys.platform == "linux":
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while block := stream.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return FileRecord(size, digest.hexdigest())


def remove_folder(folder: Path) -> None:
    """Remove a folder so that it is there as a whole or not at all.

    Args:
        folder: The folder; nothing happens if it is gone already.
    """
    doomed = folder.parent / f"{_REMOVED}{uuid.uuid4().hex}"
    with contextlib.suppress(FileNotFoundError):
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def remove_leftovers(parent: Path) -> list[str]:
    """Remove what processes that were killed left in the middle of writing or removing.

    Args:
        parent: The folder of folders; nobody may be writing into it at this time.

    Returns:
        The names of what was removed.
    """
    found = [entry for entry in _entries(parent) if entry.name.startswith((_STAGING, _REMOVED))]
    for entry in found:
        shutil.rmtree(entry, ignore_errors=True)
    return [entry.name for entry in found]


def _entries(parent: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        yield from sorted(parent.iterdir())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut, where folders can be opened at all."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSYNCABLE:
            raise
    finally:
        os.close(descriptor)
