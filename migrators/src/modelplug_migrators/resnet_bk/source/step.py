"""The step of a program from one version to the next."""

from __future__ import annotations

from modelplug.migration.steps import Kind, Migration
from modelplug_migrators.resnet_bk.versions import NAME

__all__ = ["SourceStep"]


class SourceStep(Migration):
    """A step of programs: its `upgrade` gets a `SourceEditor`."""

    family = NAME
    kind = Kind.SOURCE
