"""Saves what can still be read of a damaged database."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["salvage"]

TABLES = ("models", "seen", "runs", "failures", "benchmark_documents", "benchmarks")

_KINDS: dict[str, tuple[type, ...]] = {"INTEGER": (int,), "REAL": (float, int), "TEXT": (str, bytes)}


def salvage(damaged: Path, fresh: sqlite3.Connection) -> int:
    """Copy every row that can be read from a damaged database into a new one.

    Rows are read from both ends of each table, so that a damaged page costs little more than its own rows.
    A row whose values are not of the kinds that its columns hold is left out.

    Args:
        damaged: The damaged file, which stays as it is.
        fresh: The new database, open.

    Returns:
        How many rows were saved.

    Raises:
        sqlite3.Error: The new database can't be written.
    """
    try:
        source = sqlite3.connect(f"file:{quote(str(damaged))}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error:
        return 0
    source.text_factory = lambda raw: raw.decode("utf-8", "replace")
    fresh.execute("BEGIN IMMEDIATE")
    try:
        saved = sum(_copy_table(source, fresh, table) for table in TABLES)
        fresh.execute("COMMIT")
    except BaseException:
        fresh.execute("ROLLBACK")
        raise
    finally:
        source.close()
    return saved


def _copy_table(source: sqlite3.Connection, fresh: sqlite3.Connection, table: str) -> int:
    wanted = _columns(fresh, table)
    try:
        there = _columns(source, table)
    except sqlite3.DatabaseError:
        # Not even the table's description can be read.
        return 0
    names = [name for name in wanted if name in there]
    if not names:
        return 0
    marks = ", ".join("?" for _ in names)
    insert = f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608  our own names
    kinds = [_KINDS.get(wanted[name], (int, float, str, bytes)) for name in names]
    saved = 0
    for values in _rows(source, table, names):
        if all(value is None or isinstance(value, kind) for value, kind in zip(values, kinds, strict=True)):
            saved += fresh.execute(insert, values).rowcount
    return saved


def _columns(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """Column -> its declared type."""
    return {row[1]: row[2] for row in connection.execute(f"PRAGMA table_info({table})").fetchall()}


def _rows(source: sqlite3.Connection, table: str, names: list[str]) -> Iterator[tuple[Any, ...]]:
    last = -1
    for order in ("ASC", "DESC"):
        statement = f"SELECT rowid, {', '.join(names)} FROM {table} ORDER BY rowid {order}"  # noqa: S608
        try:
            for number, *values in source.execute(statement):
                if order == "DESC" and number <= last:
                    return
                last = max(last, number) if order == "ASC" else last
                yield tuple(values)
            if order == "ASC":
                return
        except sqlite3.DatabaseError:
            # A damaged page: what lies behind it is reached from the other end.
            continue
