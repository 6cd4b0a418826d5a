"""Checkpoints of earlier forms are recognised, never read."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_bk.checkpoints import (
    CheckpointError,
    CheckpointManager,
    CheckpointNotFoundError,
    OldCheckpointError,
)


class Bomb:
    """Its pickle makes a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("old_zip", [True, False])
def test_a_torch_checkpoint_is_refused_with_the_command_to_type(tmp_path: Path, old_zip: bool) -> None:
    """What the guide's old programs wrote gets the advice to migrate it, and nothing in it is run."""
    path = tmp_path / "old model.pt"
    content = {"model": {"a": torch.zeros(2)}, "epoch": 1, "evil": Bomb(tmp_path / "exploded")}
    torch.save(content, path, _use_new_zipfile_serialization=old_zip)
    with pytest.raises(OldCheckpointError) as caught:
        CheckpointManager(tmp_path / "x").load(path)
    assert f"modelplug migrate plan '{path}'" in caught.value.advice
    assert not (tmp_path / "exploded").exists()


def test_a_folder_of_the_old_manager_is_refused_too(tmp_path: Path) -> None:
    """Where only checkpoints of the earlier manager lie, the newest is named in the advice."""
    for step in (10, 20):
        torch.save(
            {"epoch": 0, "step": step, "model_state_dict": {}}, tmp_path / f"checkpoint_epoch0_step{step}.pt"
        )
    (tmp_path / "checkpoints.json").write_text("[]")
    for path in (None, tmp_path):
        with pytest.raises(OldCheckpointError, match="checkpoint_epoch0_step20"):
            CheckpointManager(tmp_path).load(path)


def test_a_bare_pickle_and_a_compressed_one_are_recognised(tmp_path: Path) -> None:
    """By their first bytes, not by their names alone."""
    (tmp_path / "a.ckpt").write_bytes(pickle.dumps({"step": 1}))
    (tmp_path / "b.pt").write_bytes(b"\x28\xb5\x2f\xfd....")
    for name in ("a.ckpt", "b.pt"):
        with pytest.raises(OldCheckpointError):
            CheckpointManager(tmp_path / "x").load(tmp_path / name)


def test_other_files_and_folders_are_no_checkpoints(tmp_path: Path) -> None:
    """A text file or an empty folder is no old checkpoint, and the error says what one is."""
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(CheckpointError, match=r"metadata\.json"):
        CheckpointManager(tmp_path).load(tmp_path / "notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError):
        CheckpointManager(tmp_path).load(tmp_path / "empty")
    with pytest.raises(CheckpointNotFoundError):
        CheckpointManager(tmp_path).load()
