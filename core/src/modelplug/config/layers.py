"""Joins defaults, file, environment and command line, and remembers where each value came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from pathlib import Path

    from modelplug.config.document import Document, KeyPath

__all__ = ["Layer", "Origin", "flatten", "lookup", "merge", "place", "without"]

MISSING: Any = object()


@attrs.frozen(kw_only=True)
class Origin:
    """Where a value came from.

    Attributes:
        layer: `default`, `file`, `environment`, `command line` or `pending` (set, but not saved yet).
        path: The file.
        line: The line in the file, from 1.
        variable: The environment variable.
    """

    layer: str
    path: Path | None = None
    line: int | None = None
    variable: str = ""

    def __str__(self) -> str:
        if self.variable:
            return f"environment {self.variable}"
        if self.path is not None:
            return f"{self.path}:{self.line}" if self.line else str(self.path)
        return self.layer


@attrs.frozen(kw_only=True)
class Layer:
    """One source of values.

    Attributes:
        name: As `Origin.layer` spells it.
        values: What it holds, as plain data.
        variables: For the environment: the variable behind each setting.
        document: For the file: its text.
    """

    name: str
    values: dict[str, Any]
    variables: Mapping[KeyPath, str] = attrs.field(factory=dict)
    document: Document | None = None

    def origin(self, path: KeyPath) -> Origin:
        """Where this layer has the value from."""
        if self.document is not None:
            line = self.document.line_of(path)
            return Origin(layer=self.name, path=self.document.path, line=line)
        names = [v for p, v in self.variables.items() if p[: len(path)] == path or path[: len(p)] == p]
        return Origin(layer=self.name, variable=", ".join(names))


def lookup(values: Any, path: KeyPath) -> Any:
    """The value at `path`, or `MISSING`."""
    for step in path:
        if not isinstance(values, Mapping) or step not in values:
            return MISSING
        values = values[step]
    return values


def place(values: dict[str, Any], path: KeyPath, value: Any) -> None:
    """Put a value at `path`, making the objects on the way."""
    for step in path[:-1]:
        inner = values.get(step)
        if not isinstance(inner, dict):
            inner = values[step] = {}
        values = inner
    values[path[-1]] = value


def without(values: dict[str, Any], path: KeyPath) -> dict[str, Any]:
    """A copy of the values without the one at `path`."""
    if len(path) == 1:
        return {key: value for key, value in values.items() if key != path[0]}
    inner = values.get(path[0])
    if not isinstance(inner, dict):
        return values
    return {**values, path[0]: without(inner, path[1:])}


def merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Both, objects joined key by key; `upper` wins."""
    joined = dict(lower)
    for key, value in upper.items():
        below = joined.get(key)
        if isinstance(value, Mapping):
            joined[key] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            joined[key] = value
    return joined


def flatten(values: Mapping[str, Any], path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every value that is not itself an object, with its path; empty objects count as values."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, (*path, key))
        else:
            yield (*path, key), value
