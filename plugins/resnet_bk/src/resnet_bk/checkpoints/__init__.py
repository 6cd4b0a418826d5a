"""Checkpoints of training runs: data only, verified, and never half-written."""

from __future__ import annotations

from resnet_bk.checkpoints.errors import (
    CheckpointDamagedError,
    CheckpointError,
    CheckpointMismatchError,
    CheckpointNotFoundError,
    CheckpointNotSavedError,
    Damage,
    FutureCheckpointError,
    OldCheckpointError,
    StateNotSavableError,
)
from resnet_bk.checkpoints.layout import FORMAT_VERSION, Metadata
from resnet_bk.checkpoints.manager import CheckpointManager
from resnet_bk.checkpoints.reading import Checkpoint
from resnet_bk.checkpoints.rng import capture_rng, restore_rng
from resnet_bk.checkpoints.training_state import TrainingState

__all__ = [
    "FORMAT_VERSION",
    "Checkpoint",
    "CheckpointDamagedError",
    "CheckpointError",
    "CheckpointManager",
    "CheckpointMismatchError",
    "CheckpointNotFoundError",
    "CheckpointNotSavedError",
    "Damage",
    "FutureCheckpointError",
    "Metadata",
    "OldCheckpointError",
    "StateNotSavableError",
    "TrainingState",
    "capture_rng",
    "restore_rng",
]
