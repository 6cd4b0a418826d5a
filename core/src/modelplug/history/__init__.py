"""What is known of models and earlier runs on this machine, kept in one SQLite file."""

from __future__ import annotations

from modelplug.history.records import KnownModel, RunRecord
from modelplug.history.store import HistoryStore

__all__ = ["HistoryStore", "KnownModel", "RunRecord"]
