"""Checkpoints of ResNet-BK before 1.0: recognised, read as data, and brought to the folders of 1.0."""

from __future__ import annotations

from modelplug_migrators.resnet_bk.checkpoints.detection import detect, foreign
from modelplug_migrators.resnet_bk.checkpoints.format import CheckpointReader
from modelplug_migrators.resnet_bk.checkpoints.options import OPTIONS
from modelplug_migrators.resnet_bk.checkpoints.steps import CheckpointTo10, UnchangedCheckpoint

__all__ = ["OPTIONS", "CheckpointReader", "CheckpointTo10", "UnchangedCheckpoint", "detect", "foreign"]
