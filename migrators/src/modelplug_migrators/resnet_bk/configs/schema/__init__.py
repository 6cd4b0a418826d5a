"""What a configuration of 1.0 may hold: one typed class for each section."""

from __future__ import annotations

from modelplug_migrators.resnet_bk.configs.schema.model import ModelSection
from modelplug_migrators.resnet_bk.configs.schema.sections import (
    CheckpointSection,
    DataSection,
    MonitoringSection,
    QuantizationSection,
)
from modelplug_migrators.resnet_bk.configs.schema.training import RecoverySection, TrainingSection

__all__ = [
    "BASE",
    "EXTRAS",
    "MARK",
    "SECTIONS",
    "CheckpointSection",
    "DataSection",
    "ModelSection",
    "MonitoringSection",
    "QuantizationSection",
    "RecoverySection",
    "TrainingSection",
]

MARK = "resnet_bk"
"""The key that says which version a configuration is of."""

BASE = "_base_"
"""The key that names the configuration to take everything from that this one does not say."""

EXTRAS = "extras"
"""The key under which that is kept which nothing reads."""

SECTIONS: dict[str, type[object]] = {
    "model": ModelSection,
    "training": TrainingSection,
    "data": DataSection,
    "checkpoint": CheckpointSection,
    "monitoring": MonitoringSection,
    "quantization": QuantizationSection,
}
"""The sections, in the order in which they are written."""
