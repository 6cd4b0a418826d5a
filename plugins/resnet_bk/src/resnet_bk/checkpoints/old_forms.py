"""Recognises checkpoints of earlier forms, to say what to do with them; none of them is read."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from resnet_bk.checkpoints.errors import CheckpointError, CheckpointNotFoundError, OldCheckpointError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["old_checkpoint_in", "refuse_file"]

_PICKLES = (".pt", ".pth", ".ckpt", ".bin")
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"


def refuse_file(path: Path) -> CheckpointError:
    """The error for a path that is no folder, though a checkpoint was expected there.

    Args:
        path: The path.
    """
    if not path.exists():
        return CheckpointNotFoundError(
            f"there is no checkpoint {path}",
            path=path,
            advice="Give the folder of a checkpoint, or leave the path out to take the newest.",
        )
    if is_old(path):
        return _old(path)
    return CheckpointError(
        f"{path} is no checkpoint",
        path=path,
        why="a checkpoint of the 1.0 format is a folder with metadata.json and model.safetensors in it",
        advice="Give the folder of a checkpoint, or leave the path out to take the newest.",
    )


def old_checkpoint_in(folder: Path) -> OldCheckpointError | None:
    """The error for a folder that holds checkpoints of an earlier form, or None if it holds none.

    Args:
        folder: The folder.
    """
    if not folder.is_dir():
        return None
    found = sorted(entry for entry in folder.iterdir() if entry.suffix in _PICKLES and is_old(entry))
    return _old(found[-1]) if found else None


def is_old(path: Path) -> bool:
    """Whether a file is what `torch.save` writes, possibly compressed."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(4).startswith((_ZIP, _PICKLE, _ZSTANDARD))


def _old(path: Path) -> OldCheckpointError:
    return OldCheckpointError(
        f"{path.name} is a checkpoint of an earlier form",
        path=path,
        why="it is a pickle, which can run code when it is loaded; the 1.0 format holds data only",
        advice=f"`modelplug migrate plan {shlex.quote(str(path))}` shows what becomes of it.",
    )
