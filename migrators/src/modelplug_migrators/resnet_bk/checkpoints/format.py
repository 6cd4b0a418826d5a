"""How checkpoints of this family are read, of every version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.errors import MigrationError
from modelplug.migration.checkpoints import CheckpointSource
from modelplug_migrators.resnet_bk.checkpoints.current import is_current, open_current
from modelplug_migrators.resnet_bk.checkpoints.opening import NotOursError, open_old
from modelplug_migrators.resnet_bk.checkpoints.reference import compare_logits

if TYPE_CHECKING:
    from pathlib import Path

    from modelplug_migrators.resnet_bk.checkpoints.content import OldCheckpoint
    from modelplug_migrators.resnet_bk.checkpoints.current import CurrentCheckpoint

__all__ = ["CheckpointReader"]


class CheckpointReader:
    """Reads checkpoints, of 1.0 and before, as data."""

    def open(self, path: Path) -> CheckpointSource:
        """Read what a checkpoint consists of, but no values of tensors; nothing in it is executed.

        Args:
            path: A file or folder.

        Raises:
            MigrationError: It is no checkpoint of this family.
            ModelplugError: It can't be read as data.
        """
        content: OldCheckpoint | CurrentCheckpoint
        try:
            content = open_current(path) if path.is_dir() and is_current(path) else open_old(path)
        except NotOursError as error:
            raise MigrationError(
                f"{path} is no checkpoint of ResNet-BK",
                why="no tensor in it has a name that one of its models has",
                advice="Check the path.",
            ) from error
        files = (
            (path,) if path.is_file() else tuple(sorted(each for each in path.rglob("*") if each.is_file()))
        )
        return CheckpointSource(
            tensors={key: ref.tensor for key, ref in content.refs().items()},
            values=content.values(),
            content=content,
            files=files,
        )

    def compare(self, result: Path, reference: Path) -> str:
        """Compute the logits of a migrated model, and compare them with known ones.

        Args:
            result: The folder of the model.
            reference: A file of NumPy's with `input_ids` and `logits`.

        Raises:
            MigrationError: They differ, or can't be computed here.
        """
        return compare_logits(result, reference)
