"""Damaged checkpoints are seen, said and passed over."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resnet_bk.checkpoints import CheckpointDamagedError, CheckpointManager

Make = Callable[..., Any]

FILES = [
    "metadata.json", "model.safetensors", "training_state.json", "optimizer.json", "optimizer.safetensors",
    "scheduler.json", "config.json",
]  # fmt: skip


@pytest.fixture(scope="module")
def saved(companions: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with checkpoints of the steps 1, 2 and 3."""
    folder = tmp_path_factory.mktemp("saved")
    manager = CheckpointManager(folder)
    model, optimizer, scheduler = companions()
    for step in (1, 2, 3):
        manager.save_checkpoint(model=model, optimizer=optimizer, scheduler=scheduler, step=step)
    return folder


@pytest.fixture
def manager(saved: Path, tmp_path: Path) -> CheckpointManager:
    """A manager of a copy of that folder."""
    shutil.copytree(saved, tmp_path / "checkpoints")
    return CheckpointManager(tmp_path / "checkpoints")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("how", ["flip", "cut", "remove", "empty"])
def test_damage_to_any_file_is_found_and_an_older_one_is_used(
    manager: CheckpointManager, flip_byte: Callable[[Path], None], file: str, how: str
) -> None:
    """A wrong bit, a missing end or a missing file: the result says what was passed over, and why."""
    newest = manager.latest()
    assert newest is not None
    path = newest / file
    if how == "flip":
        flip_byte(path)
    elif how == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] if how == "cut" else b"")
    loaded = manager.load()
    assert loaded.step == 2
    (damage,) = loaded.passed_over
    assert damage.path == newest
    assert file in damage.reason


def test_every_bit_of_the_metadata_counts(manager: CheckpointManager, companions: Make) -> None:
    """A digit changed in the metadata, which leaves it valid JSON, is found."""
    newest = manager.latest()
    assert newest is not None
    file = newest / "metadata.json"
    file.write_text(file.read_text().replace('"step": 3', '"step": 7'))
    assert manager.load().step == 2


def test_all_damaged_is_an_error_that_lists_them(manager: CheckpointManager) -> None:
    """Where nothing is intact, nothing is loaded, and each is named with what is wrong."""
    for checkpoint in manager.checkpoints():
        (checkpoint.path / "model.safetensors").unlink()
    with pytest.raises(CheckpointDamagedError) as caught:
        manager.load()
    assert len(caught.value.damage) == 3
    assert all("model.safetensors is missing" in item.reason for item in caught.value.damage)
    assert caught.value.advice


def test_a_damaged_checkpoint_does_not_push_an_intact_one_out(
    manager: CheckpointManager, companions: Make
) -> None:
    """Only checkpoints that can be used count among those that are kept."""
    manager.keep = 2
    newest = manager.latest()
    assert newest is not None
    (newest / "model.safetensors").write_bytes(b"")
    manager.save_checkpoint(model=companions()[0], step=4)
    assert [item.step for item in manager.checkpoints()] == [4, 2]


def test_a_folder_without_metadata_is_not_a_checkpoint(manager: CheckpointManager) -> None:
    """A folder with the right name and half of the files is damage, whoever made it."""
    newest = manager.latest()
    assert newest is not None
    copy = newest.with_name("checkpoint-000009-epoch-0-step-9")
    shutil.copytree(newest, copy)
    (copy / "metadata.json").unlink()
    loaded = manager.load()
    assert loaded.path == newest
    assert [item.path for item in loaded.passed_over] == [copy]
