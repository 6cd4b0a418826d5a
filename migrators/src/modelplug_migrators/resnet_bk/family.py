"""The family `resnet-bk` and its steps, for the hook."""

from __future__ import annotations

from modelplug.migration.steps import Family, Migration
from modelplug_migrators.resnet_bk import checkpoints, configs, v0_5, v0_6, v0_7, v0_8, v0_9, v1_0, versions
from modelplug_migrators.resnet_bk.detection import detect, foreign

__all__ = ["FAMILY", "STEPS"]

FAMILY = Family(
    name=versions.NAME,
    title="ResNet-BK: configurations, checkpoints and programs from before 1.0",
    versions=versions.VERSIONS,
    detect=detect,
    oldest=versions.V0_4,
    foreign=foreign,
    check=configs.check,
    checkpoints=checkpoints.CheckpointReader(),
    options=checkpoints.OPTIONS,
)

STEPS: tuple[type[Migration], ...] = (
    *v0_5.STEPS,
    *v0_6.STEPS,
    *v0_7.STEPS,
    *v0_8.STEPS,
    *v0_9.STEPS,
    *v1_0.STEPS,
)
