"""Carries a migrated configuration into this program's own settings file, which may have content already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from modelplug.documents import read_document
from modelplug.migration.account import Finding, Severity, spell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modelplug.documents import Document
    from modelplug.migration.steps import KeyPath

__all__ = ["Merged", "merge_settings"]


@attrs.frozen(kw_only=True)
class Merged:
    """Settings with a configuration carried into them.

    Attributes:
        data: The text of the settings file.
        findings: A note for every value that gave way.
    """

    data: bytes
    findings: tuple[Finding, ...]


def merge_settings(existing: bytes | None, migrated: bytes, *, source: Path) -> Merged:
    """The settings with every value of a migrated configuration in them.

    Where there are no settings yet, the migrated text is taken as it is, comments and all. Otherwise the
    migrated values go before those in the settings, which keep every other byte.

    Args:
        existing: The text of the settings file; None where there is none.
        migrated: The migrated configuration.
        source: Where that comes from, for messages.

    Raises:
        DocumentSyntaxError: The settings can't be understood.
    """
    if existing is None:
        return Merged(data=migrated, findings=())
    settings = read_document(existing, "json")
    new = read_document(migrated, "json")
    findings = tuple(_carry(settings, new, source))
    return Merged(data=settings.render(), findings=findings)


def _carry(settings: Document, new: Document, source: Path) -> Iterator[Finding]:
    for leaf in new.tree.leaves():
        blocked = _blocked_by(settings, leaf.path)
        if blocked is not None:
            yield _gave_way(blocked, settings.tree.get(blocked), "an object", source)
            settings.tree.remove(blocked)
        elif settings.tree.has(leaf.path):
            before = settings.tree.get(leaf.path)
            if before == leaf.value and type(before) is type(leaf.value):
                continue
            yield _gave_way(leaf.path, before, leaf.value, source)
        settings.tree.set(leaf.path, leaf.value)


def _blocked_by(settings: Document, path: KeyPath) -> KeyPath | None:
    """The place on the way where the settings hold a value that can't hold others."""
    for length in range(1, len(path)):
        above = path[:length]
        if settings.tree.has(above) and not settings.tree.is_mapping(above):
            return above
    return None


def _gave_way(path: KeyPath, before: Any, after: Any, source: Path) -> Finding:
    return Finding(
        severity=Severity.NOTE,
        message=f"{spell(path)} in the settings was {before!r} and becomes {after!r}, as in {source.name}",
        key=spell(path),
    )
