"""Puts what a migration brings from another program into the database, and takes it away again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from modelplug.history.records import RESERVED_NAMES, KnownModel, RunRecord

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

__all__ = ["replace_imported"]


def replace_imported(
    connection: sqlite3.Connection, origin: str, models: Iterable[KnownModel], runs: Iterable[RunRecord]
) -> bool:
    """Put the rows of one migration in the place of those it put there before.

    Args:
        connection: The open database.
        origin: The migration.
        models: Named models; one whose path has a name already is left out.
        runs: Earlier runs; one that another migration has brought already is left out.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        for table in ("models", "runs"):
            connection.execute(f"DELETE FROM {table} WHERE origin = ?", (origin,))  # noqa: S608  our own names
        taken = dict(connection.execute("SELECT name, path FROM models").fetchall())
        for model in models:
            if str(model.path) not in taken.values():
                name = _free_name(model.name, taken)
                taken[name] = str(model.path)
                values = {**attrs.asdict(model), "name": name, "path": str(model.path), "origin": origin}
                _insert(connection, "models", values)
        for run in runs:
            if not _is_known(connection, run):
                _insert(connection, "runs", {**attrs.asdict(run), "origin": origin})
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return True


def _is_known(connection: sqlite3.Connection, run: RunRecord) -> bool:
    """Whether another migration has brought the same run already."""
    statement = (
        "SELECT 1 FROM runs WHERE origin <> '' AND fingerprint = :fingerprint AND backend = :backend "
        "AND time = :time AND details = :details LIMIT 1"
    )
    return connection.execute(statement, attrs.asdict(run)).fetchone() is not None


def _insert(connection: sqlite3.Connection, table: str, values: dict[str, Any]) -> None:
    marks = ", ".join(f":{field}" for field in values)
    statement = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"  # noqa: S608  our own names
    connection.execute(statement, values)


def _free_name(wanted: str, taken: Mapping[str, str]) -> str:
    names = (wanted if number == 1 else f"{wanted}-{number}" for number in range(1, 100_000))
    return next(name for name in names if name not in taken and name not in RESERVED_NAMES)
