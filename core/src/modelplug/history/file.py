"""One database as programs use it: opened when first needed, and never a reason to fail."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from typing import TYPE_CHECKING, TypeVar

from modelplug.errors import ModelplugError
from modelplug.history import database
from modelplug.history.salvage import salvage
from modelplug.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from modelplug.paths import Paths

__all__ = ["HistoryFile"]

T = TypeVar("T")

IMPATIENT_SECONDS = 0.2
"""How long to wait for a database that was locked all the time when it was last asked for."""


class HistoryFile:
    """The database: shared by processes and threads, and set aside where it is damaged.

    Args:
        path: The database.
        paths: Where warnings are logged; None asks the environment.
    """

    def __init__(self, path: Path, *, paths: Paths | None = None) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._owner = 0
        self._trouble = ""
        self._locked = False
        self._log = get_logger("history", paths=paths)

    @property
    def trouble(self) -> str:
        """Why the database can't be used; empty if it can, as far as is known."""
        return self._trouble

    def close(self) -> None:
        """Close the database; the next use opens it again."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None and self._owner == os.getpid():
                connection.close()

    def do(self, action: Callable[[sqlite3.Connection], T], *, otherwise: T, writes: bool = False) -> T:
        """Run `action` on the open database.

        Args:
            action: What to do; called again on a new database if this one turns out to be damaged.
            otherwise: What to return where the database can't be used, which is said once.
            writes: Whether it writes: reading goes well while another process holds the right to write.
        """
        with self._lock:
            try:
                result = self._act(action)
            except (sqlite3.Error, OSError, database.NewerDatabaseError) as error:
                return self._give_up(error, otherwise)
            if self._locked and writes:
                self._locked, self._trouble = False, ""
                self.close()
            return result

    def must(self, action: Callable[[sqlite3.Connection], object], what: str) -> None:
        """Run `action` on the open database, for callers that can't go on without it.

        Args:
            action: What to do.
            what: What it means if that fails, for the error.

        Raises:
            ModelplugError: The database can't be used.
        """

        def act(connection: sqlite3.Connection) -> bool:
            action(connection)
            return True

        if not self.do(act, otherwise=False, writes=True):
            advice = f"make {self.path.parent} writable, or set MODELPLUG_HOME to a folder that is"
            if self._locked:
                advice = "end the program that holds the database, or try again"
            raise ModelplugError(what, why=self._trouble, advice=advice)

    def _act(self, action: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return action(self._open())
        except sqlite3.DatabaseError as error:
            if not database.is_damage(error):
                raise
            self._replace_damaged(error)
            return action(self._open())

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._owner != os.getpid():
            # A forked copy must leave the connection of its parent alone, even when it ends.
            self._connection = None
        if self._connection is None:
            patience = IMPATIENT_SECONDS if self._locked else database.BUSY_SECONDS
            self._connection = database.connect(self.path, patience=patience)
            self._owner = os.getpid()
            # Whoever forgets to close the store has the database closed when the store goes.
            weakref.finalize(self, _close, self._connection, self._owner)
        return self._connection

    def _replace_damaged(self, error: sqlite3.DatabaseError) -> None:
        self.close()
        copy = database.set_aside(self.path)
        if copy is None:
            return
        saved = salvage(copy, self._open())
        rows = f"{saved} of its entries could be saved" if saved else "none of its entries could be saved"
        self._log.warning(
            f"the history was damaged ({error}); it is kept as {copy}, and a new one is begun; {rows}"
        )

    def _give_up(self, error: Exception, otherwise: T) -> T:
        """Say once what is wrong, and go on without history."""
        if database.is_locked(error) and not self._locked:
            # Whoever asks next must not wait as long again.
            self._locked = True
            self.close()
        why = str(getattr(error, "strerror", None) or error)
        if why != self._trouble:
            self._trouble = why
            self._log.warning(f"no history is kept: {self.path}: {why}")
        return otherwise


def _close(connection: sqlite3.Connection, owner: int) -> None:
    if os.getpid() == owner:
        connection.close()
