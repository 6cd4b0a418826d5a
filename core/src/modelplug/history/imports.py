"""Puts what a migration brings from another program into the database, and takes it away again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from modelplug.history.evidence import RUNS
from modelplug.history.models import MODELS
from modelplug.history.records import RESERVED_NAMES, KnownModel, RunRecord

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Container, Sequence

__all__ = ["free_name", "replace_imported"]


def replace_imported(
    connection: sqlite3.Connection, origin: str, models: Sequence[KnownModel], runs: Sequence[RunRecord]
) -> None:
    """Put the rows of one migration in the place of those it put there before.

    Args:
        connection: The open database, in a transaction.
        origin: The migration.
        models: Named models; one whose path has a name already is left out.
        runs: Earlier runs; one that another migration has brought already is left out.
    """
    MODELS.delete(connection, {"origin": origin})
    RUNS.delete(connection, {"origin": origin})
    taken = {model.name: model.path for model in MODELS.select(connection)}
    for model in models:
        if model.path not in taken.values():
            name = free_name(model.name, taken)
            taken[name] = model.path
            MODELS.insert(connection, attrs.evolve(model, name=name))
    for run in runs:
        if not _is_known(connection, run):
            RUNS.insert(connection, run)


def _is_known(connection: sqlite3.Connection, run: RunRecord) -> bool:
    """Whether another migration has brought the same run already."""
    where = {name: getattr(run, name) for name in ("fingerprint", "backend", "time", "details")}
    return bool(RUNS.select(connection, where, conditions=["origin <> ''"], limit=1))


def free_name(wanted: str, taken: Container[str]) -> str:
    """The name, with a number if it is taken or means something else.

    Args:
        wanted: The name.
        taken: Names that are taken.
    """
    names = (wanted if number == 1 else f"{wanted}-{number}" for number in range(1, 1_000_000))
    return next(name for name in names if name not in taken and name not in RESERVED_NAMES)
