"""Two processes over gloo train as one does, with DDP and with FSDP2."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest
import torch

from resnet_bk.checkpoints import CheckpointManager
from resnet_bk.training import TrainingConfig, TrainingConfigError, train
from resnet_bk.training.metrics import read_metrics
from resnet_bk.training.processes import Processes

PROGRAM = Path(__file__).with_name("parallel_run.py")
SETTINGS = {
    "steps": 10, "batch_size": 8, "sequence_length": 8, "learning_rate": 0.01, "precision": "float32",
    "accumulation": 2, "checkpoint_every": 4, "evaluate_every": 5, "log_every": 1, "device": "cpu",
}  # fmt: skip


def curve(folder: Path) -> list[float]:
    """Training losses, gradient norms and validation losses of a run."""
    names = ("loss", "gradient_norm", "validation_loss")
    return [
        record[name] for record in read_metrics(folder / "metrics.jsonl") for name in names if name in record
    ]


@pytest.fixture(scope="module")
def folders(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs by one process (`one`) and by two: `ddp`, `fsdp2`, and two of which each did a part."""
    root = tmp_path_factory.mktemp("parallel")
    stream, validation = tiny.make_stream().split(0.1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(
        tiny.make_model(dropout=0.0), stream, TrainingConfig.from_dict(SETTINGS), output=root / "one",
        validation=validation,
    )  # fmt: skip
    torch.set_num_threads(threads)

    def run(name: str, parallel: str, stop_after: int | None = None) -> dict[str, Any]:
        settings = {**SETTINGS, "parallel": parallel}
        stopped = "finished" if stop_after is None else "interrupted"
        return {
            "folder": str(root / name),
            "settings": settings,
            "stop_after": stop_after,
            "stopped": stopped,
        }

    runs = [run("ddp", "ddp"), run("fsdp2", "auto"), run("mixed", "fsdp2", 10), run("mixed", "ddp")]
    runs += [run("sharded", "ddp", 6), run("sharded", "fsdp2")]
    (root / "runs.json").write_text(json.dumps(runs))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    result = subprocess.run(
        [
            sys.executable, "-m", "accelerate.commands.launch", "--use_fsdp", "--fsdp_version", "2",
            "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no",
            "--dynamo_backend", "no", "--main_process_port", str(port), str(PROGRAM), str(root / "runs.json"),
        ],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "HF_HOME": str(root / "hf")},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-6000:]
    return root


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["ddp", "fsdp2", "mixed", "sharded"])
def test_two_processes_have_the_curve_of_one(folders: Path, kind: str) -> None:
    """With the same global batch, losses and norms agree within 1e-4, and so do the parameters at the end.

    `mixed` was begun with distributed parameters, stopped, and finished with whole ones; `sharded` was not.
    """
    assert curve(folders / kind) == pytest.approx(curve(folders / "one"), abs=1e-4)
    one, other = (CheckpointManager(folders / name / "checkpoints").load() for name in ("one", kind))
    theirs, ours = other.model_state()[0], one.model_state()[0]
    assert theirs.keys() == ours.keys()
    assert all(torch.allclose(theirs[name], ours[name], atol=1e-4) for name in ours)
    assert other.config() == one.config()
    assert len(other.training_state.rng) == 2


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_one_process_goes_on_from_a_checkpoint_of_two(
    folders: Path, tiny: ModuleType, tmp_path: Path, kind: str
) -> None:
    """A run of two processes can be taken up by one: the optimizer's state is that of plain parameters."""
    import shutil

    shutil.copytree(folders / kind / "checkpoints", tmp_path / "checkpoints")
    newest = CheckpointManager(tmp_path / "checkpoints").load()
    assert newest.step == 10
    shutil.rmtree(newest.path)
    stream, validation = tiny.make_stream().split(0.1)
    result = train(
        tiny.make_model(dropout=0.0), stream, TrainingConfig.from_dict(SETTINGS), output=tmp_path,
        resume=True, validation=validation,
    )  # fmt: skip
    assert result.resumed_from == 8
    expected = CheckpointManager(folders / "one" / "checkpoints").load().model_state()[0]
    found = CheckpointManager(tmp_path / "checkpoints").load().model_state()[0]
    assert all(numpy.allclose(found[name], expected[name], atol=1e-4) for name in expected)


def test_a_batch_that_can_not_be_divided_is_refused(
    make_model: Callable[..., torch.nn.Module], stream: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says which sizes would do."""

    class Three(Processes):
        count = 3

    monkeypatch.setattr("resnet_bk.training.run.start_processes", lambda _: Three(torch.device("cpu")))
    with pytest.raises(TrainingConfigError, match="among 3 processes") as caught:
        train(make_model(), stream, TrainingConfig(batch_size=4, sequence_length=8), output=tmp_path)
    assert caught.value.advice == "Make it a multiple of 3."
