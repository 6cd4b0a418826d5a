"""What is known of models and earlier runs on this machine, kept in one SQLite file."""

from __future__ import annotations

from modelplug.history.records import BenchmarkRecord, FailureRecord, KnownModel, RunRecord, SeenModel
from modelplug.history.store import HistoryStore

__all__ = ["BenchmarkRecord", "FailureRecord", "HistoryStore", "KnownModel", "RunRecord", "SeenModel"]
