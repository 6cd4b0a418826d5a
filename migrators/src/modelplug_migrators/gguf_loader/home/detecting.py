"""Tells whether a folder is an installation of the older programs, by what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.steps import Confidence, Detection, Kind
from modelplug_migrators.gguf_loader import layouts
from modelplug_migrators.gguf_loader.home.contents import HomeContents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.migration.candidates import Candidate

__all__ = ["detect_home"]


def detect_home(candidate: Candidate) -> Iterator[Detection]:
    """What a folder is, if it is an installation, or a backup of one.

    A folder that merely holds a configuration is none: its files are migrated where they are.

    Args:
        candidate: The folder.
    """
    if not candidate.is_folder:
        return
    contents = HomeContents(candidate.path)
    try:
        if contents.is_own:
            return
        evidence = tuple(_evidence(contents))
    except PermissionError:  # whoever walks through the folder tells where it can't be entered
        return
    confidence = _confidence(contents, len(evidence))
    if confidence is not None:
        what = (
            ("it is a backup as the guide makes them, and no live installation",)
            if contents.is_backup
            else ()
        )
        yield Detection(
            family=layouts.NAME,
            kind=Kind.HOME,
            version=layouts.HOME,
            confidence=confidence,
            evidence=(*what, *evidence),
        )


def _evidence(contents: HomeContents) -> Iterator[str]:
    """What in the folder is this family's, one phrase each."""
    for config in contents.configs:
        if contents.has_known_name or contents.is_backup or config.seen.version < layouts.MODELPLUG:
            yield f"{config.path.relative_to(contents.folder)}: {config.seen.evidence[0]}"
    if contents.performance_cache is not None:
        yield "there is a performance cache"
    if contents.has_logs:
        yield "there are logs of the program"
    if (contents.has_known_name or contents.is_backup) and contents.has_models:
        yield "there are models"
    if (contents.folder / "feedback_config.json").is_file():
        yield "there is feedback_config.json"


def _confidence(contents: HomeContents, found: int) -> Confidence | None:
    if contents.has_known_name or contents.is_backup:
        return None if not found else Confidence.CERTAIN if contents.configs else Confidence.LIKELY
    signs = found + len(contents.folders)
    # Elsewhere, one thing that is surely the program's is not enough: it has to look like an installation.
    return Confidence.LIKELY if found and signs >= 3 else None
