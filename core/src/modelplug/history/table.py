"""The typed layer over SQLite: a table is a class of records, and nothing else is written or read."""

from __future__ import annotations

import json
import os
import types
import typing
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

__all__ = ["Table"]

R = TypeVar("R")

_NUMBER = "id"


class Table(Generic[R]):
    """One table, whose columns are the attributes of a record class.

    Paths are kept as text, mappings as JSON, and truth as 0 and 1. A record's `id`, if it has one, is
    SQLite's own number of the row.

    Args:
        name: The table.
        kind: The record class, an attrs class.
    """

    def __init__(self, name: str, kind: type[R]) -> None:
        self.name = name
        self.kind = kind

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that are written, in the order of the class; the row's number is SQLite's."""
        fields = attrs.fields(self.kind)  # type: ignore[arg-type]
        return tuple(field.name for field in fields if field.name != _NUMBER)

    @cached_property
    def _all(self) -> str:
        numbered = any(field.name == _NUMBER for field in attrs.fields(self.kind))  # type: ignore[arg-type]
        return ", ".join([*self.columns, *([_NUMBER] if numbered else [])])

    @cached_property
    def _readers(self) -> dict[str, Callable[[Any], Any]]:
        """How to turn the value of a column into the value of the attribute, where they differ."""
        found: dict[str, Callable[[Any], Any]] = {}
        for name, annotation in typing.get_type_hints(self.kind).items():
            plain = _without_none(annotation)
            origin = typing.get_origin(plain) or plain
            if origin is bool:
                found[name] = bool
            elif origin is Path:
                found[name] = _to_path
            elif isinstance(origin, type) and issubclass(origin, Mapping):
                found[name] = _to_mapping
        return found

    def insert(
        self, connection: sqlite3.Connection, record: R, *, key: str = "", keep: Iterable[str] = ()
    ) -> int:
        """Write a record.

        Args:
            connection: The open database.
            record: What to write.
            key: A column that identifies rows: a row with the same value is changed instead.
            keep: Columns that such a row keeps.

        Returns:
            The row's number.
        """
        names = ", ".join(self.columns)
        marks = ", ".join(f":{column}" for column in self.columns)
        statement = f"INSERT INTO {self.name} ({names}) VALUES ({marks})"  # noqa: S608  our own names
        if key:
            changed = [column for column in self.columns if column not in (key, *keep)]
            sets = ", ".join(f"{column} = excluded.{column}" for column in changed)
            statement += f" ON CONFLICT ({key}) DO UPDATE SET {sets}"
        values = {column: _to_column(getattr(record, column)) for column in self.columns}
        return int(connection.execute(statement, values).lastrowid or 0)

    def select(
        self,
        connection: sqlite3.Connection,
        where: Mapping[str, Any] | None = None,
        *,
        conditions: Iterable[str] = (),
        order: str = "",
        limit: int | None = None,
        **values: Any,
    ) -> list[R]:
        """Read records.

        Args:
            connection: The open database.
            where: Column -> the value it must have; None values count as not given.
            conditions: Further conditions in SQL, with `:name` for each of `values`.
            order: What to sort by, in SQL.
            limit: At most this many; None gives all.
            values: The values that the conditions name.
        """
        clause, given = self._clause(where, conditions)
        statement = f"SELECT {self._all} FROM {self.name}{clause}"  # noqa: S608  our own names
        if order:
            statement += f" ORDER BY {order}"
        rows = connection.execute(
            f"{statement} LIMIT :_limit", {**given, **values, "_limit": -1 if limit is None else limit}
        )
        return [self._record(row) for row in rows]

    def delete(
        self,
        connection: sqlite3.Connection,
        where: Mapping[str, Any] | None = None,
        *,
        conditions: Iterable[str] = (),
        **values: Any,
    ) -> int:
        """Remove records.

        Args:
            connection: The open database.
            where: Column -> the value it must have; None values count as not given.
            conditions: Further conditions in SQL, with `:name` for each of `values`.
            values: The values that the conditions name.

        Returns:
            How many there were.
        """
        clause, given = self._clause(where, conditions)
        statement = f"DELETE FROM {self.name}{clause}"  # noqa: S608  our own names
        return connection.execute(statement, {**given, **values}).rowcount

    def _clause(
        self, where: Mapping[str, Any] | None, conditions: Iterable[str]
    ) -> tuple[str, dict[str, Any]]:
        given = {name: _to_column(value) for name, value in (where or {}).items() if value is not None}
        every = [*(f"{name} = :{name}" for name in given), *conditions]
        return (f" WHERE {' AND '.join(every)}" if every else ""), given

    def _record(self, row: sqlite3.Row) -> R:
        values = {
            name: self._readers[name](row[name])
            if name in self._readers and row[name] is not None
            else row[name]
            for name in row.keys()  # noqa: SIM118  a Row is no mapping: iterating it gives values
        }
        return self.kind(**values)


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        arms = [arm for arm in typing.get_args(annotation) if arm is not type(None)]
        return arms[0] if len(arms) == 1 else annotation
    return annotation


def _to_column(value: Any) -> Any:
    if isinstance(value, Path):
        # Names of files need not be text; SQLite's texts must be.
        return str(value) if _is_text(str(value)) else os.fsencode(value)
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=True, sort_keys=True, default=str)
    if isinstance(value, str) and not _is_text(value):
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def _to_path(value: str | bytes) -> Path:
    return Path(os.fsdecode(value))


def _to_mapping(value: str) -> dict[str, Any]:
    try:
        found = json.loads(value)
    except ValueError:
        # Saved out of a damaged file, perhaps: what can't be read is not known.
        return {}
    return found if isinstance(found, dict) else {}


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
