"""Suggestions drawn from the history, each with the runs behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.history.insights.context import context_too_large, context_too_small
from modelplug.history.insights.evidence import Evidence, Insights, Suggestion
from modelplug.history.insights.habits import answers_cut_short, mostly_loading
from modelplug.history.insights.speed import better_threads, faster_engine, slower_than_before
from modelplug.history.insights.trouble import failing_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelplug.history.store import HistoryStore

__all__ = ["Evidence", "Insights", "Suggestion", "find_insights"]

RULES: tuple[Callable[[Evidence], Iterator[Suggestion]], ...] = (
    failing_engine,
    faster_engine,
    better_threads,
    slower_than_before,
    context_too_small,
    context_too_large,
    answers_cut_short,
    mostly_loading,
)
"""What is looked for, the most pressing first."""


def find_insights(history: HistoryStore) -> Insights:
    """What the history suggests.

    Args:
        history: The history.
    """
    evidence = Evidence.of(history)
    return Insights(
        suggestions=tuple(suggestion for rule in RULES for suggestion in rule(evidence)),
        runs=len(evidence.runs),
        failures=len(evidence.failures),
        since=evidence.runs[-1].time if evidence.runs else "",
    )
