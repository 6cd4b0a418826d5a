"""Changes several files together: all of them or none, killed at any instant, and back again on request.

A transaction journals what it is about to do, keeps a verified backup set of what was there, and replaces
files one by one by renaming. After a crash, `TransactionStore.recover` finishes it or undoes it. The package
moves bytes; it knows nothing of settings or migrations.
"""

from __future__ import annotations

from modelplug.migration.transactions.changes import Effect, EffectHandler, FileChange, Move
from modelplug.migration.transactions.filesystem import FileSystem
from modelplug.migration.transactions.reports import (
    ItemReport,
    RecoveryReport,
    RollbackReport,
    TransactionRecord,
    VerificationReport,
)
from modelplug.migration.transactions.store import TransactionStore

__all__ = [
    "Effect",
    "EffectHandler",
    "FileChange",
    "FileSystem",
    "ItemReport",
    "Move",
    "RecoveryReport",
    "RollbackReport",
    "TransactionRecord",
    "TransactionStore",
    "VerificationReport",
]
