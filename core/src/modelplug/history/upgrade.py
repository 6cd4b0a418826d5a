"""What makes a change of the database's layout safe: a copy from before, and a check after.

The steps run inside one transaction of SQLite's, whose write-ahead log is the journal: whoever is killed in
the middle leaves the old layout, and no other process sees anything between old and new. The file is never
replaced by another one, because a process that has it open would go on writing into the old one. What is
replaced in one step is the backup: it appears whole, under a name of its own, before anything is changed.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["back_up", "check"]


def back_up(path: Path, layout: int) -> Path:
    """Copy the database as it is, whoever has it open; the caller holds the right to write.

    Args:
        path: The database.
        layout: The number of its layout, which the copy's name tells.

    Returns:
        The copy; an earlier one is never overwritten.

    Raises:
        OSError: It can't be written.
        sqlite3.Error: The database can't be read.
    """
    begun = path.with_name(f".{path.name}.copying")
    for leftover in (begun, begun.with_name(f"{begun.name}-journal")):
        # Of a process that was killed while it copied: nobody else copies while we hold the right to write.
        leftover.unlink(missing_ok=True)
    _copy(path, begun)
    copy = _free_name(path, layout)
    begun.rename(copy)
    _sync(copy.parent)
    return copy


def _copy(source: Path, target: Path) -> None:
    # A reader of its own sees what was committed last, and nothing of the change that is about to begin.
    reader = sqlite3.connect(source, isolation_level=None)
    writer = sqlite3.connect(target, isolation_level=None)
    try:
        writer.execute("PRAGMA synchronous = FULL")
        reader.backup(writer)
        writer.execute("PRAGMA journal_mode = DELETE")
    finally:
        writer.close()
        reader.close()
    descriptor = os.open(target, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _free_name(path: Path, layout: int) -> Path:
    endings = ("", *(f"-{number}" for number in range(2, 1000)))
    names = (path.with_name(f"{path.name}.layout-{layout}{ending}.backup") for ending in endings)
    return next(name for name in names if not name.exists())


def _sync(folder: Path) -> None:
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems refuse to sync a folder; the content itself is on the disk by then.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check(connection: sqlite3.Connection) -> None:
    """Make sure that the new layout is sound, before it is committed.

    Raises:
        sqlite3.DatabaseError: It is not.
    """
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        msg = f"the database is malformed after the change of its layout: {found}"
        raise sqlite3.DatabaseError(msg)
