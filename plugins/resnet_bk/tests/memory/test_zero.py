"""The state of an optimizer, divided between two processes over gloo."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

PROGRAM = Path(__file__).with_name("zero_run.py")


def run(count: int, folder: Path) -> list[dict[str, Any]]:
    """What each of so many processes found."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(rank), str(count), str(folder)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(count)
    ]  # fmt: skip
    try:
        for process in started:
            said, _ = process.communicate(timeout=200)
            assert process.returncode == 0, said[-4000:]
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.communicate()
    return [torch.load(folder / f"{count}-{rank}.pt") for rank in range(count)]


@pytest.mark.timeout(300)
def test_two_processes_share_the_state_and_train_as_one(tmp_path: Path) -> None:
    """After five steps parameters agree within 1e-6, and each process holds about half of the state."""
    (alone,) = run(1, tmp_path)
    both = run(2, tmp_path)

    for each in both:
        assert all(
            torch.allclose(each["parameters"][name], value, rtol=0, atol=1e-6)
            for name, value in alone["parameters"].items()
        )
        assert each["kind"] == "ZeroRedundancyOptimizer"
        assert 0.4 < each["state_bytes"] / alone["state_bytes"] < 0.6
        assert "done" in each["zero"]
        # Parameters that FSDP2 divided bring their state along.
        assert "nothing to do (the parameters are divided" in each["of_sharded"]
    # Beside the moments, there is a count of four bytes for each parameter.
    assert sum(each["state_bytes"] for each in both) == alone["state_bytes"]
    assert alone["kind"] == "AdamW"
    assert "nothing to do" in alone["zero"]
