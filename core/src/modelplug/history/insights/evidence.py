"""What suggestions are drawn from, and what they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from modelplug.history.places.machine import name_of

if TYPE_CHECKING:
    from modelplug.history.records import FailureRecord, RunRecord, SeenModel
    from modelplug.history.store import HistoryStore

__all__ = ["Evidence", "Insights", "Suggestion", "grouped", "numbers"]

MOST_RUNS = 5000
"""Older runs than the newest of so many say little about how things are now."""

R = TypeVar("R")
K = TypeVar("K", bound=Hashable)


@attrs.frozen(kw_only=True)
class Suggestion:
    """Something to change, and why.

    Attributes:
        kind: What it is about, in a word: `engine`, `threads`, `slower`, `context`, `failing`, `length` or
            `loading`.
        text: What was found, in a sentence.
        advice: What to type or do.
        changes: The settings that would change, by dotted key; empty if none would.
        runs: The numbers of the runs behind it.
        failures: The numbers of the failures behind it.
    """

    kind: str
    text: str
    advice: str
    changes: dict[str, Any] = attrs.field(factory=dict)
    runs: tuple[int, ...] = ()
    failures: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.text} {self.advice} ({self.evidence})"

    @property
    def evidence(self) -> str:
        """The runs and failures behind it, for people."""
        parts = [("runs", self.runs), ("failures", self.failures)]
        return "; ".join(f"{what} {numbers(which)}" for what, which in parts if which)


@attrs.frozen(kw_only=True)
class Insights:
    """What the history suggests.

    Attributes:
        suggestions: The suggestions, the most pressing first; each prints as a sentence.
        runs: How many runs were looked at.
        failures: How many failures were looked at.
        since: When the oldest of these runs was recorded; empty if there is none.
    """

    suggestions: tuple[Suggestion, ...]
    runs: int
    failures: int
    since: str


@attrs.frozen(kw_only=True)
class Evidence:
    """The part of the history that suggestions are drawn from.

    Attributes:
        runs: The newest runs measured here, newest first.
        failures: The newest failures, newest first.
        seen: The models they speak of, by fingerprint.
        names: What these are called, by fingerprint.
    """

    runs: tuple[RunRecord, ...]
    failures: tuple[FailureRecord, ...] = ()
    seen: dict[str, SeenModel] = attrs.field(factory=dict)
    names: dict[str, str] = attrs.field(factory=dict)

    @classmethod
    def of(cls, history: HistoryStore) -> Evidence:
        """What a history has.

        Args:
            history: The history.
        """
        named = {model.fingerprint: model.name for model in history.models() if model.fingerprint}
        seen = history.seen()
        names = {fingerprint: name_of(model.path) for fingerprint, model in seen.items()}
        return cls(
            runs=tuple(history.runs(limit=MOST_RUNS)),
            failures=tuple(history.failures(limit=MOST_RUNS)),
            seen=seen,
            names={**names, **named},
        )

    @property
    def used(self) -> tuple[RunRecord, ...]:
        """The runs that somebody wanted something of, newest first: not those that only measured."""
        return tuple(run for run in self.runs if run.purpose == "use")

    def name(self, fingerprint: str) -> str:
        """What a model is called."""
        return self.names.get(fingerprint) or fingerprint.rpartition(":")[2][:12] or "an unknown model"

    def format(self, fingerprint: str) -> str:
        """A model's format; empty if it is not known."""
        seen = self.seen.get(fingerprint)
        return seen.format if seen is not None else ""


def grouped(records: Iterable[R], key: Callable[[R], K]) -> dict[K, list[R]]:
    """The records by what they have in common, each group in the order given.

    Args:
        records: The records.
        key: What they have in common.
    """
    groups: dict[K, list[R]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return dict(groups)


def numbers(found: Iterable[int]) -> str:
    """Numbers for people, neighbours joined: `3, 7-9, 12`."""
    spans: list[tuple[int, int]] = []
    for number in sorted(set(found)):
        if spans and number == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
