"""One transaction at a time: a lock over all sets, which says who holds it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from modelplug.errors import LockedError
from modelplug.migration.transactions.files import PRIVATE_FILE, PRIVATE_FOLDER, Files

__all__ = ["LOCK_NAME", "locked"]

LOCK_NAME = ".lock"
HOLDER_NAME = ".holder"


@contextlib.contextmanager
def locked(files: Files, root: Path, seconds: float) -> Iterator[None]:
    """Hold the lock over a store.

    Args:
        files: How to write.
        root: The store; it is made if need be.
        seconds: How long to wait for another holder.

    Raises:
        LockedError: Another process held it all the time.
        OSError: The store can't be written to.
    """
    import filelock

    for made in files.make_folders(root, PRIVATE_FOLDER):
        files.calls.sync_directory(made.parent)
    lock = filelock.FileLock(root / LOCK_NAME, timeout=seconds)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise _locked_error(files, root, seconds) from error
    try:
        with _named_holder(files, root):
            yield
    finally:
        lock.release()


@contextlib.contextmanager
def _named_holder(files: Files, root: Path) -> Iterator[None]:
    """Tell others who holds the lock, which helps their message; the lock is what counts."""
    path = root / HOLDER_NAME
    files.remove(path)
    descriptor = files.calls.open_new(path, PRIVATE_FILE)
    try:
        files.write_all(descriptor, json.dumps({"pid": os.getpid()}).encode())
    finally:
        files.calls.close(descriptor)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            files.remove(path)


def _locked_error(files: Files, root: Path, seconds: float) -> LockedError:
    holder: int | None = None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        holder = int(json.loads(files.read(root / HOLDER_NAME))["pid"])
    process = f"the process {holder}" if holder is not None else "another process"
    return LockedError(
        f"{process} is in the middle of a transaction",
        holder=holder,
        seconds=seconds,
        why=f"it has held {root / LOCK_NAME} for more than {seconds:g} seconds",
        advice="wait for it to end, and try again",
    )
