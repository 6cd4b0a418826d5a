"""Known models and earlier runs: always there to ask, never a reason for a program to fail."""

from __future__ import annotations

import difflib
import sqlite3
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from modelplug.errors import ModelplugError, UsageError
from modelplug.history import database
from modelplug.history.imports import replace_imported
from modelplug.history.records import MINIMUM_TOKENS, RESERVED_NAMES, KnownModel, RunRecord
from modelplug.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from modelplug.formats.model_info import ModelInfo
    from modelplug.paths import Paths

__all__ = ["RESERVED_NAMES", "HistoryStore", "check_name"]

T = TypeVar("T")

_RUN_FIELDS = tuple(field.name for field in attrs.fields(RunRecord))
_MODEL_FIELDS = tuple(field.name for field in attrs.fields(KnownModel))


class HistoryStore:
    """The models and runs in one database, opened when first used.

    Several processes and threads may use the same file at once. Where it can't be used (a read-only folder, a
    full disk), recording does nothing and asking finds nothing, and that is said once. A damaged file is
    renamed, and a new one begun.

    Args:
        path: The database.
        paths: Where warnings are logged; None asks the environment.
    """

    def __init__(self, path: Path, *, paths: Paths | None = None) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._trouble = ""
        self._log = get_logger("history", paths=paths)

    # Runs ---------------------------------------------------------------------------------------------

    def record_run(self, record: RunRecord) -> bool:
        """Keep one run.

        Returns:
            Whether it is on disk.
        """
        names = ", ".join(_RUN_FIELDS)
        marks = ", ".join(f":{name}" for name in _RUN_FIELDS)
        statement = f"INSERT INTO runs ({names}) VALUES ({marks})"  # noqa: S608  our own names
        return self._do(lambda c: c.execute(statement, attrs.asdict(record)).rowcount == 1, otherwise=False)

    def runs(
        self,
        *,
        fingerprint: str | None = None,
        backend: str | None = None,
        device: str | None = None,
        gpu_layers: int | None = None,
        limit: int | None = 100,
        imported: bool = False,
    ) -> list[RunRecord]:
        """Earlier runs on this machine, newest first.

        Args:
            fingerprint: Only of this model.
            backend: Only with this backend.
            device: Only on this device.
            gpu_layers: Only with this many layers on it.
            limit: At most this many; None gives all.
            imported: Whether to give those brought over from other programs instead, whose figures nobody
                here has measured.
        """
        wanted = {"fingerprint": fingerprint, "backend": backend, "device": device, "gpu_layers": gpu_layers}
        given = {name: value for name, value in wanted.items() if value is not None}
        conditions = [f"{name} = :{name}" for name in given]
        where = " AND ".join([*conditions, "origin <> ''" if imported else "origin = ''"])
        names = ", ".join(_RUN_FIELDS)
        statement = f"SELECT {names} FROM runs WHERE {where} ORDER BY id DESC LIMIT :limit"  # noqa: S608  our own names
        values = {**given, "limit": -1 if limit is None else limit}
        rows = self._rows(statement, values)
        return [RunRecord(**{**dict(row), "success": bool(row["success"])}) for row in rows]

    def speeds(
        self,
        fingerprint: str,
        backend: str,
        device: str | None = None,
        gpu_layers: int | None = None,
        *,
        limit: int = 100,
    ) -> list[float]:
        """Tokens per second of earlier successful runs of at least 16 tokens, newest first.

        Args:
            fingerprint: The model.
            backend: The backend.
            device: Only on this device.
            gpu_layers: Only with this many layers on it.
            limit: At most this many.
        """
        statement = (
            "SELECT completion_tokens / generate_seconds FROM runs WHERE fingerprint = ? AND backend = ? "
            "AND (?3 IS NULL OR device = ?3) AND (?4 IS NULL OR gpu_layers = ?4) AND success AND origin = '' "
            "AND completion_tokens >= ?5 AND generate_seconds > 0 ORDER BY id DESC LIMIT ?6"
        )
        values = (fingerprint, backend, device, gpu_layers, MINIMUM_TOKENS, limit)
        rows = self._rows(statement, values)
        return [float(row[0]) for row in rows]

    # Models -------------------------------------------------------------------------------------------

    def add_model(self, name: str, path: Path, info: ModelInfo | None = None) -> KnownModel:
        """Give a model a name; a name that exists gets the new model.

        Args:
            name: What to call it.
            path: Its file or directory.
            info: What inspection found.

        Raises:
            UsageError: The name is reserved, or looks like a path.
            ModelplugError: It can't be kept.
        """
        check_name(name)
        known = KnownModel(name=name, path=Path(path).expanduser().absolute(), **_facts(info))
        names = ", ".join(_MODEL_FIELDS)
        marks = ", ".join(f":{field}" for field in _MODEL_FIELDS)
        changes = ", ".join(
            f"{field} = excluded.{field}" for field in _MODEL_FIELDS if field not in ("name", "added")
        )
        statement = (
            f"INSERT INTO models ({names}) VALUES ({marks}) "  # noqa: S608  our own names
            f"ON CONFLICT (name) DO UPDATE SET {changes}"
        )
        values = {**attrs.asdict(known), "path": str(known.path)}
        if not self._do(lambda c: c.execute(statement, values).rowcount == 1, otherwise=False):
            raise self._unusable(f"the name {name} can't be kept")
        return self.find_model(name) or known

    def models(self) -> list[KnownModel]:
        """Every named model, by name."""
        statement = f"SELECT {', '.join(_MODEL_FIELDS)} FROM models ORDER BY name COLLATE NOCASE"  # noqa: S608  our own names
        return [_known(row) for row in self._rows(statement, ())]

    def find_model(self, name: str) -> KnownModel | None:
        """The model of that name, or None."""
        statement = f"SELECT {', '.join(_MODEL_FIELDS)} FROM models WHERE name = ?"  # noqa: S608  our own names
        rows = self._rows(statement, (name,))
        return _known(rows[0]) if rows else None

    def remove_model(self, name: str) -> bool:
        """Forget a name; the model's file and its runs stay.

        Returns:
            Whether there was such a name.
        """
        statement = "DELETE FROM models WHERE name = ?"
        return self._do(lambda c: c.execute(statement, (name,)).rowcount > 0, otherwise=False)

    def nearest_names(self, name: str) -> list[str]:
        """The names most like `name`, best first, at most three."""
        return difflib.get_close_matches(name, [model.name for model in self.models()], n=3, cutoff=0.5)

    # What migrations bring ----------------------------------------------------------------------------

    def add_imported(
        self, origin: str, *, models: Iterable[KnownModel] = (), runs: Iterable[RunRecord] = ()
    ) -> None:
        """Keep what was known elsewhere, all of it or nothing; doing it again changes nothing.

        A model whose path has a name already is left alone, and a name that is taken gets a number.

        Args:
            origin: The migration that brings it; not empty.
            models: Named models.
            runs: Earlier runs.

        Raises:
            ModelplugError: It can't be kept.
        """
        new_models, new_runs = list(models), list(runs)
        if not self._do(lambda c: replace_imported(c, origin, new_models, new_runs), otherwise=False):
            raise self._unusable("the history of another program can't be kept")

    def remove_imported(self, origin: str) -> None:
        """Forget what `add_imported` kept; what a user has changed since stays.

        Raises:
            ModelplugError: It can't be removed.
        """
        if not self._do(lambda c: replace_imported(c, origin, [], []), otherwise=False):
            raise self._unusable("what a migration brought can't be removed from the history")

    def _unusable(self, what: str) -> ModelplugError:
        advice = f"make {self.path.parent} writable, or set MODELPLUG_HOME to a folder that is"
        return ModelplugError(what, why=self._trouble, advice=advice)

    # The database -------------------------------------------------------------------------------------

    @property
    def trouble(self) -> str:
        """Why the database can't be used; empty if it can, as far as is known."""
        return self._trouble

    def close(self) -> None:
        """Close the database; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _do(self, action: Callable[[sqlite3.Connection], T], *, otherwise: T) -> T:
        """Run `action` on the open database, or give `otherwise` where it can't be used."""
        with self._lock:
            try:
                try:
                    return action(self._open())
                except sqlite3.DatabaseError as error:
                    if not database.is_damage(error):
                        raise
                    self._replace_damaged(error)
                    return action(self._open())
            except (sqlite3.Error, OSError, database.NewerDatabaseError) as error:
                why = getattr(error, "strerror", None) or str(error)
                return self._give_up(str(why), otherwise)

    def _rows(self, statement: str, values: Any) -> list[sqlite3.Row]:
        none: list[sqlite3.Row] = []
        return self._do(lambda c: c.execute(statement, values).fetchall(), otherwise=none)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = database.connect(self.path)
            # Whoever forgets to close the store has the database closed when the store goes.
            weakref.finalize(self, self._connection.close)
        return self._connection

    def _replace_damaged(self, error: sqlite3.DatabaseError) -> None:
        self.close()
        copy = database.set_aside(self.path)
        if copy is not None:
            self._log.warning(
                f"the history was damaged ({error}); it is kept as {copy}, and a new one is begun"
            )

    def _give_up(self, why: str, otherwise: T) -> T:
        """Say once what is wrong, and go on without history."""
        if why != self._trouble:
            self._trouble = why
            self._log.warning(f"no history is kept: {self.path}: {why}")
        return otherwise


def check_name(name: str) -> None:
    """Make sure that a model can be called this.

    Raises:
        UsageError: The name is reserved, or could be taken for an option or a path.
    """
    if name in RESERVED_NAMES:
        raise UsageError(
            f"the name {name} is taken", why="modelplug itself uses it", advice="choose another name"
        )
    if not name or name != name.strip() or any(mark in name for mark in "/\\\0\n") or name.startswith("-"):
        raise UsageError(
            f"{name!r} can't be the name of a model",
            why="a name is not empty, does not begin with a hyphen, and holds no slash",
            advice="choose a name such as llama-3-8b",
        )


def _facts(info: ModelInfo | None) -> dict[str, Any]:
    if info is None:
        return {}
    names: Sequence[str] = ("fingerprint", "format", "architecture", "quantization", "size", "parameters")
    found = {name: getattr(info, name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _known(row: sqlite3.Row) -> KnownModel:
    return KnownModel(**{**dict(row), "path": Path(row["path"])})
