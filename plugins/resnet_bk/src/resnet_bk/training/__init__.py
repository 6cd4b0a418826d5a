"""Training that goes on exactly where it was, on one processor or many, and recovers from failures."""

from __future__ import annotations

from typing import Any

from resnet_bk.training.config import RecoverySettings, TrainingConfig
from resnet_bk.training.config_file import ConfigFile, read_config_file
from resnet_bk.training.errors import (
    ConfigFileError,
    RunExistsError,
    RunMismatchError,
    TrainingConfigError,
    TrainingError,
    TrainingFailedError,
)
from resnet_bk.training.monitors import Alert, GradientStabilityMonitor, LossSpikeMonitor
from resnet_bk.training.result import TrainingResult
from resnet_bk.training.run import train

__all__ = [
    "Alert",
    "ConfigFile",
    "ConfigFileError",
    "GradientStabilityMonitor",
    "LossSpikeMonitor",
    "RecoverySettings",
    "RunExistsError",
    "RunMismatchError",
    "TrainingConfig",
    "TrainingConfigError",
    "TrainingError",
    "TrainingFailedError",
    "TrainingResult",
    "read_config_file",
    "train",
]

# The callbacks need transformers, which takes seconds to import.
_CALLBACKS = ("GradientStabilityCallback", "LossSpikeCallback")


def __getattr__(name: str) -> Any:
    if name in _CALLBACKS:
        from resnet_bk.training import callbacks

        return getattr(callbacks, name)
    reason = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(reason)
