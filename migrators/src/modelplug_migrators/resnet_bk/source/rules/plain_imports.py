"""Imports of other packages that rules of a step before 1.0 ask for; at 1.0 they come with all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"FLOPsCounter"})


def apply(subject: Subject) -> None:
    """Write them down, when all other rules have looked."""
    subject.imports.finish_lines()
