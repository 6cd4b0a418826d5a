"""What migrations do besides writing files: models and runs of another program enter the history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.history import KnownModel, RunRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelplug.history import HistoryStore
    from modelplug.migration.graph import MigrationGraph
    from modelplug.migration.transactions import EffectHandler

__all__ = ["HistoryHandler", "effect_name", "handlers"]

HISTORY = "history"
"""The effect that adds models and runs to the history; its payload has the lists `models` and `runs`."""

_RUN_FIELDS = frozenset(field.name for field in attrs.fields(RunRecord)) - {"origin", "details"}
_MODEL_FIELDS = frozenset(field.name for field in attrs.fields(KnownModel)) - {"origin"}


class HistoryHandler:
    """Adds models and runs of another program to the history, and takes them away again.

    Args:
        history: The history.
    """

    def __init__(self, history: HistoryStore) -> None:
        self._history = history

    def apply(self, payload: Any, transaction_id: str) -> None:
        """Add what the payload lists; doing it again changes nothing."""
        models = [_model(entry) for entry in payload.get("models", ())]
        runs = [_run(entry) for entry in payload.get("runs", ())]
        self._history.add_imported(transaction_id, models=models, runs=runs)
        self._history.close()

    def undo(self, payload: Any, transaction_id: str) -> None:  # noqa: ARG002  the history knows what it was
        """Take away what the transaction added."""
        self._history.remove_imported(transaction_id)
        self._history.close()


def _model(entry: Mapping[str, Any]) -> KnownModel:
    known = {name: value for name, value in entry.items() if name in _MODEL_FIELDS and value is not None}
    return KnownModel(**{**known, "path": Path(entry["path"])})


def _run(entry: Mapping[str, Any]) -> RunRecord:
    """The record of a run; what it has no field for is kept as text."""
    known = {name: value for name, value in entry.items() if name in _RUN_FIELDS and value is not None}
    rest = {name: value for name, value in entry.items() if name not in _RUN_FIELDS}
    return RunRecord(**known, details=json.dumps(rest, ensure_ascii=False, sort_keys=True) if rest else "")


def effect_name(kind: str, family: str = "") -> str:
    """The name under which the handler of an effect is registered."""
    return f"{family}:{kind}" if family else kind


def handlers(history: HistoryStore, graph: MigrationGraph) -> dict[str, EffectHandler]:
    """Every handler there is: those of the core, and those that families bring."""
    found: dict[str, EffectHandler] = {HISTORY: HistoryHandler(history)}
    for family in graph.families:
        for kind, handler in family.effects.items():
            found[effect_name(kind, family.name)] = handler
    return found
