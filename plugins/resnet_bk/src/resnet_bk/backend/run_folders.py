"""The folders that training leaves: which model in them is meant."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from modelplug.formats.model_info import ModelInfo

__all__ = ["inspect_run"]

# As `resnet_bk.checkpoints.layout` names them, whose import would load the engine.
_CHECKPOINT: Final = re.compile(r"checkpoint-(\d+)-epoch-\d+-step-\d+")


def inspect_run(path: Path) -> ModelInfo | None:
    """The newest checkpoint in the folder of a training run, or in its folder `checkpoints`; None if none is.

    Args:
        path: A folder that is no model itself, or a file.

    Raises:
        ModelFileError: That checkpoint is damaged.
    """
    from modelplug.formats import inspect

    for folder in (path / "checkpoints", path):
        if not folder.is_dir():
            continue
        found = {
            int(match[1]): entry for entry in folder.iterdir() if (match := _CHECKPOINT.fullmatch(entry.name))
        }
        if found:
            return inspect(found[max(found)])
    return None
