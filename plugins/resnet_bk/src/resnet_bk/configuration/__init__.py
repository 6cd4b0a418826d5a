"""The configuration of a model, its checks and its presets."""

from __future__ import annotations

from resnet_bk.configuration.config import MambaKillerConfig
from resnet_bk.configuration.errors import (
    ConfigurationError,
    SeesTheFutureWarning,
    UnknownSettingError,
    UnusedSettingWarning,
)
from resnet_bk.registration import register_with_transformers

ResNetBKConfig = MambaKillerConfig

__all__ = [
    "ConfigurationError",
    "MambaKillerConfig",
    "ResNetBKConfig",
    "SeesTheFutureWarning",
    "UnknownSettingError",
    "UnusedSettingWarning",
]

register_with_transformers(__name__)
