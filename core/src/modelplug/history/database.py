"""Opens the database, brings its layout up to date, and sets a damaged one aside."""

from __future__ import annotations

import datetime
import sqlite3
import time
from typing import TYPE_CHECKING

from modelplug.history import upgrade
from modelplug.history.layouts import MIGRATIONS

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "BUSY_SECONDS",
    "MIGRATIONS",
    "NewerDatabaseError",
    "connect",
    "is_damage",
    "is_locked",
    "set_aside",
]

BUSY_SECONDS = 5.0


class NewerDatabaseError(Exception):
    """The database was written by a later version of this program."""


def connect(path: Path, *, patience: float = BUSY_SECONDS) -> sqlite3.Connection:
    """A connection to the database, made and brought up to date if need be.

    Args:
        path: The database.
        patience: Seconds to wait for another process that writes.

    Raises:
        sqlite3.Error: It is damaged, locked for too long, or can't be written.
        OSError: Its folder can't be made.
        NewerDatabaseError: Its layout is newer than this program.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        _use_write_ahead_log(connection, patience)
        connection.execute("PRAGMA synchronous = NORMAL")
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    connection.row_factory = sqlite3.Row
    return connection


def _use_write_ahead_log(connection: sqlite3.Connection, patience: float) -> None:
    """Let one process write while others read; `synchronous = NORMAL` is safe with that.

    Several processes may make the database at the same moment. While one switches the log on, SQLite answers
    "locked" to the others without the usual wait, so the waiting is done here.
    """
    deadline = time.monotonic() + patience
    while not _switched(connection, patient=time.monotonic() < deadline):
        time.sleep(0.01)


def _switched(connection: sqlite3.Connection, *, patient: bool) -> bool:
    try:
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
    except sqlite3.OperationalError as error:
        if patient and "locked" in str(error):
            return False
        raise
    return True


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    layout = _layout(connection)
    if layout == len(MIGRATIONS):
        return
    # Another process may be doing the same: look again once nobody else can write.
    connection.execute("BEGIN IMMEDIATE")
    try:
        layout = _layout(connection)
        if layout > len(MIGRATIONS):
            msg = f"its layout has number {layout}, and this program knows {len(MIGRATIONS)}"
            raise NewerDatabaseError(msg)
        if 0 < layout < len(MIGRATIONS):
            upgrade.back_up(path, layout)
        for script in MIGRATIONS[layout:]:
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
        upgrade.check(connection)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _layout(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file itself is damaged, or no database at all."""
    return any(word in str(error) for word in ("malformed", "not a database", "corrupt"))


def is_locked(error: Exception) -> bool:
    """Whether an error says that another process held the database all the time."""
    return isinstance(error, sqlite3.OperationalError) and any(
        word in str(error) for word in ("locked", "busy")
    )


def set_aside(path: Path) -> Path | None:
    """Rename a damaged database, with its companions, to a name that nothing else has.

    Returns:
        The new name; None if the file is sound after all, because another process has replaced it.

    Raises:
        OSError: It can't be renamed.
    """
    import filelock

    with filelock.FileLock(f"{path}.lock", timeout=BUSY_SECONDS):
        return _rename(path) if _damaged(path) else None


def _damaged(path: Path) -> bool:
    try:
        connection = connect(path)
        try:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok")
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        return is_damage(error)


def _rename(path: Path) -> Path:
    moment = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    names = (f"{path.name}.broken-{moment}{suffix}" for suffix in ["", *(f"-{n}" for n in range(2, 1000))])
    copy = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    path.rename(copy)
    for ending in ("-wal", "-shm"):
        companion = path.with_name(path.name + ending)
        if companion.exists():
            companion.rename(copy.with_name(copy.name + ending))
    return copy
