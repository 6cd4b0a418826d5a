"""Processes that die and disks that are full, at any moment of a save."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_bk.checkpoints import CheckpointManager, CheckpointNotSavedError, staging

SAVE_LOOP = Path(__file__).with_name("save_loop.py")

resource = pytest.importorskip("resource", reason="limits of POSIX")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")


@pytest.mark.timeout(600)
def test_a_process_killed_at_any_moment_loses_nothing_that_was_saved(tmp_path: Path) -> None:
    """A loop of saves is killed again and again, at moments spread over several saves.

    After each kill the newest checkpoint is intact and no older than before, and no litter is found.
    """
    chance = random.Random(7)
    moments = [f"{chance.uniform(0, 3):.4f}" for _ in range(30)]
    result = subprocess.run(
        [sys.executable, str(SAVE_LOOP), str(tmp_path / "checkpoints")],
        input="\n".join(moments),
        text=True,
        capture_output=True,
        timeout=500,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    steps, interrupted = map(int, result.stdout.split())
    assert steps >= 30
    assert interrupted >= 5, "too few of the kills fell into a save"


def test_what_a_killed_process_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    """Folders that were being written or removed go when the next manager is made; nothing else does."""
    CheckpointManager(tmp_path).save_checkpoint(model={"a": torch.zeros(1)}, step=1)
    for name in (".staging-1", ".removed-2", "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"half")
    manager = CheckpointManager(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        ".lock", "checkpoint-000001-epoch-0-step-1", "mine",
    ]  # fmt: skip
    assert manager.load().step == 1


def fail_at(count: int, monkeypatch: pytest.MonkeyPatch, error: int) -> Callable[[], bool]:
    """Make one of the calls that change the disk fail; gives a function that tells whether there was one."""
    calls = 0

    def wrap(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == count:
                raise OSError(error, os.strerror(error))
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    for name in ("write", "fsync"):
        wrap(staging.os, name)
    wrap(Path, "mkdir")
    wrap(Path, "rename")
    return lambda: calls >= count


def test_a_full_disk_at_any_call_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever write, sync, mkdir or rename fails: the error is clear, old checkpoints stay, litter goes.

    Only if the checkpoint stands already, and syncing its folder or removing an old one failed, is it there.
    """
    original = tmp_path / "original"
    CheckpointManager(original).save_checkpoint(
        model={"a": torch.zeros(4)}, step=1, training_state={"rng": [{}]}
    )
    errors = []
    for count in range(1, 100):
        folder = tmp_path / f"copy-{count}"
        shutil.copytree(original, folder)
        manager = CheckpointManager(folder, keep=1)
        with monkeypatch.context() as patch:
            reached = fail_at(count, patch, errno.ENOSPC)
            try:
                manager.save_checkpoint(
                    model={"a": torch.ones(4)},
                    optimizer={"m": torch.ones(2)},
                    step=2,
                    training_state={"rng": [{}]},
                )
            except CheckpointNotSavedError as error:
                errors.append(error)
        if not reached():
            break
        names = [entry.name for entry in folder.iterdir() if entry.name != ".lock"]
        assert all(name.startswith("checkpoint-") for name in names), names
        loaded = manager.load()
        assert not loaded.passed_over
        assert loaded.step in (1, 2)
    assert len(errors) > 12
    assert all("No space left" in error.why for error in errors)
    assert all("earlier checkpoints are intact" in error.advice for error in errors)


def test_a_limit_of_the_system_while_writing_loses_nothing(tmp_path: Path) -> None:
    """A real refusal by the kernel in the middle of a file: the size of files is limited for a moment."""
    manager = CheckpointManager(tmp_path)
    manager.save_checkpoint(model={"a": torch.zeros(4)}, step=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(CheckpointNotSavedError, match="File too large"):
            manager.save_checkpoint(model={"a": torch.zeros(50_000)}, step=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert manager.load().step == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_what_the_disk_changed_is_noticed_before_the_checkpoint_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If what is read back differs from what was written, there is an error and no new checkpoint."""
    manager = CheckpointManager(tmp_path)
    real = os.write

    def lose_a_bit(descriptor: int, data: Any) -> int:
        return real(descriptor, bytes([bytes(data)[0] ^ 1]) + bytes(data)[1:])

    with monkeypatch.context() as patch:
        patch.setattr(staging.os, "write", lose_a_bit)
        with pytest.raises(CheckpointNotSavedError, match="read back"):
            manager.save_checkpoint(model={"a": torch.zeros(4)})
    assert manager.latest() is None


def test_a_folder_that_can_not_be_written_is_a_clear_error(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointNotSavedError):
        CheckpointManager(tmp_path / "file" / "checkpoints").save_checkpoint(model={"a": torch.zeros(1)})
