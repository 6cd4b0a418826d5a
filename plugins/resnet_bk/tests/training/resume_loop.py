"""A program that trains and is killed at any moment until the run is finished.

It imports torch once, and forks a process for every life of a run. Standard input holds a list of runs as
JSON: the folder, the settings, and for each life the updates it may begin, and how far it gets with the last
one, as a share of the time the one before took. Then the run may finish. For each run it prints the last
checkpoint and how many lives were cut short.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import torch

from resnet_bk.checkpoints import CheckpointManager
from resnet_bk.training import TrainingConfig, train

spec = importlib.util.spec_from_file_location("tiny", Path(__file__).with_name("tiny.py"))
assert spec is not None
assert spec.loader is not None
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)

torch.set_num_threads(1)
# The first optimizer imports compilers, which every life would do again.
torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]).zero_grad()


def live(settings: dict[str, object], folder: str, began: int) -> None:
    """Train from wherever the run stands, say so before every update, and end the process."""
    stream, validation = tiny.make_stream().split(0.1)

    def say() -> bool:
        os.write(began, b".")
        return False

    status = 1
    try:
        train(
            tiny.make_model(),
            stream,
            TrainingConfig.from_dict(settings),
            output=folder,
            validation=validation,
            resume=True,
            should_stop=say,
        )
        status = 0
    finally:
        if status:
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(status)


def start(settings: dict[str, object], folder: str, updates: int | None, share: float) -> bool:
    """Start a process that trains, and kill it after so many updates; says whether it was cut short."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        live(settings, folder, writer)
    os.close(writer)
    before = now = time.monotonic()
    while updates is None or updates > 0:
        if not os.read(reader, 1):  # it has ended
            break
        before, now = now, time.monotonic()
        updates = None if updates is None else updates - 1
    else:
        time.sleep((now - before) * share)
        os.kill(child, signal.SIGKILL)
    os.close(reader)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)


def run(folder: str, settings: dict[str, object], lives: list[tuple[int, float]]) -> int:
    """Live and be killed, then live to the end."""
    cut = sum(start(settings, folder, updates, share) for updates, share in lives)
    assert not start(settings, folder, None, 0.0)
    return cut


if __name__ == "__main__":
    for wanted in json.load(sys.stdin):
        lives_cut = run(**wanted)
        print(CheckpointManager(Path(wanted["folder"]) / "checkpoints").latest(), lives_cut)
