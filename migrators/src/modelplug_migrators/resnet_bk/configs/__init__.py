"""Configurations of ResNet-BK: what they are, how they become those of 1.0, and what is wrong with these."""

from __future__ import annotations

from modelplug_migrators.resnet_bk.configs.checking import check
from modelplug_migrators.resnet_bk.configs.detection import detect
from modelplug_migrators.resnet_bk.configs.foreign import foreign
from modelplug_migrators.resnet_bk.configs.plain import Upgraded, upgrade_values

__all__ = ["Upgraded", "check", "detect", "foreign", "upgrade_values"]
