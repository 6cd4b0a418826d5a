"""Tells what a file or folder is: each kind of artifact looks by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug_migrators.resnet_bk import checkpoints, configs, source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.migration.candidates import Candidate
    from modelplug.migration.steps import Detection

__all__ = ["detect", "foreign"]


def detect(candidate: Candidate) -> Iterator[Detection]:
    """What a file or folder is, if it is this family's.

    Args:
        candidate: The file or folder.
    """
    yield from configs.detect(candidate)
    yield from checkpoints.detect(candidate)
    yield from source.detect(candidate)


def foreign(candidate: Candidate) -> str:
    """What a file is that programs of this family have to do with, and that is nothing to migrate.

    It is empty for any other file.

    Args:
        candidate: The file.
    """
    return configs.foreign(candidate) or checkpoints.foreign(candidate)
