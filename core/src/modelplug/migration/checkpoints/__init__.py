"""Checkpoints in a migration: tensors are never all in memory, and folders appear complete or not at all.

What a checkpoint holds, and how it is read, a family says; here every tensor is accounted for, streamed into
the new files, hashed on the way, and read again. The package knows no framework and no family.
"""

from __future__ import annotations

from modelplug.migration.checkpoints.build import Build, NewFile, Receipt
from modelplug.migration.checkpoints.editor import CheckpointEditor
from modelplug.migration.checkpoints.ledger import TensorFate
from modelplug.migration.checkpoints.source import CheckpointFormat, CheckpointSource, MadeTensor, TensorData

__all__ = [
    "Build",
    "CheckpointEditor",
    "CheckpointFormat",
    "CheckpointSource",
    "MadeTensor",
    "NewFile",
    "Receipt",
    "TensorData",
    "TensorFate",
]
