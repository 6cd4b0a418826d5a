"""A program that saves checkpoints without end, to be killed at any moment.

It imports torch once, and forks a process for every line of standard input. A line is a number: the process
is killed when it has saved a checkpoint and then gone on for that many times as long as the save took. What
it leaves is checked.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import torch

from resnet_bk.checkpoints import CheckpointManager, CheckpointNotFoundError

torch.set_num_threads(1)


def tensors(step: int) -> dict[str, torch.Tensor]:
    """What the checkpoint of a step holds: every value tells the step."""
    return {"weight": torch.full((64, 64), float(step)), "bias": torch.full((64,), float(step))}


def check(folder: Path, before: int) -> int:
    """The step of the newest checkpoint, after a look at everything that is there."""
    manager = CheckpointManager(folder, keep=2)
    names = [entry.name for entry in folder.iterdir()] if folder.exists() else []
    leftovers = [name for name in names if name != ".lock" and not name.startswith("checkpoint-")]
    assert not leftovers, leftovers
    try:
        loaded = manager.load()
    except CheckpointNotFoundError:
        assert before == 0, "everything is lost"
        return 0
    assert not loaded.passed_over, loaded.passed_over
    assert loaded.step >= before, f"step {loaded.step} after step {before}"
    found, _ = loaded.model_state()
    assert all(bool((tensor == loaded.step).all()) for tensor in found.values())
    assert loaded.state("optimizer") == {"step": loaded.step}
    for checkpoint in manager.checkpoints():
        manager.load(checkpoint.path)
    return loaded.step


def save_for_ever(folder: Path, step: int, saved: int) -> None:
    """Save one checkpoint after another, and say so each time."""
    manager = CheckpointManager(folder, keep=2)
    while True:
        step += 1
        manager.save_checkpoint(
            model=tensors(step),
            optimizer={"step": step},
            step=step,
            metric=abs(step - 5),
            training_state={"rng": [{}]},
        )
        os.write(saved, b".")


def live(folder: Path, step: int, share: float) -> None:
    """Start a process that saves, and kill it."""
    reader, writer = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        save_for_ever(folder, step, writer)
    os.read(reader, 1)
    time.sleep((time.monotonic() - started) * share)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)


def main(folder: Path) -> None:
    """Start and kill, as often as standard input says."""
    step = interrupted = 0
    for line in sys.stdin:
        live(folder, step, float(line))
        interrupted += any(entry.name.startswith((".staging-", ".removed-")) for entry in folder.glob(".*"))
        step = check(folder, step)
    print(step, interrupted)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
