"""How checkpoints are opened for steps, and what comes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.errors import MigrationError, ModelplugError
from modelplug.migration.checkpoints.building import plan_build
from modelplug.migration.checkpoints.editor import CheckpointEditor

if TYPE_CHECKING:
    from modelplug.migration.candidates import Candidate
    from modelplug.migration.checkpoints.build import BuildPlan
    from modelplug.migration.checkpoints.source import CheckpointFormat
    from modelplug.migration.steps import Family

__all__ = ["build_of", "format_of_family", "open_checkpoint"]


def format_of_family(family: Family) -> CheckpointFormat:
    """How a family's checkpoints are read.

    Args:
        family: The family.

    Raises:
        MigrationError: It does not say.
    """
    if family.checkpoints is None:
        raise MigrationError(
            f"the checkpoints of {family.name} can't be read",
            why="the family does not say how",
            advice="Upgrade the plugin that brings it.",
        )
    return family.checkpoints


def open_checkpoint(candidate: Candidate, family: Family) -> CheckpointEditor:
    """What steps work on.

    Args:
        candidate: The file or folder.
        family: The family it belongs to.

    Raises:
        MigrationError: It can't be read.
    """
    try:
        source = format_of_family(family).open(candidate.path)
    except MigrationError:
        raise
    except ModelplugError as error:
        raise MigrationError(error.what, why=error.why, advice=error.advice) from error
    return CheckpointEditor(candidate.path, source)


def build_of(editor: CheckpointEditor) -> BuildPlan | None:
    """What is to be written; None if nothing is.

    Args:
        editor: What the steps made of a checkpoint.
    """
    if editor.build is None or editor.is_refused:
        return None
    return plan_build(editor.build, editor.source.files)
