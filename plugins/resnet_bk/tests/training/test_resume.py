"""A run that was cut off goes on as if it had not been."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from resnet_bk.checkpoints import CheckpointDamagedError, CheckpointManager
from resnet_bk.data import TokenStream
from resnet_bk.training import RunExistsError, RunMismatchError, TrainingConfig, train
from resnet_bk.training.metrics import read_metrics

RESUME_LOOP = Path(__file__).with_name("resume_loop.py")

Settings = Callable[..., TrainingConfig]
Models = Callable[..., torch.nn.Module]
Weights = Callable[[Path], dict[str, Any]]


def same_weights(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether all tensors are the same to the bit."""
    return one.keys() == other.keys() and all(numpy.array_equal(one[name], other[name]) for name in one)


def curve(output: Path) -> list[dict[str, Any]]:
    """What was measured, without times."""
    return [{**record, "tokens_per_second": 0} for record in read_metrics(output / "metrics.jsonl")]


@pytest.fixture(scope="module")
def killed_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, int]]:
    """Runs in two precisions, each whole and cut to pieces: the last checkpoint, and how often it was killed.

    There is dropout, accumulation, clipping, a schedule and evaluation in them.
    """
    folder = tmp_path_factory.mktemp("killed")
    settings = {
        "steps": 24, "batch_size": 6, "sequence_length": 8, "learning_rate": 0.01, "accumulation": 2,
        "checkpoint_every": 2, "evaluate_every": 5, "log_every": 3, "device": "cpu", "seed": 11,
        "keep_checkpoints": 2,
    }  # fmt: skip
    chance = random.Random(5)
    runs = {
        f"{precision}-{how}": {
            "folder": str(folder / f"{precision}-{how}"),
            "settings": {**settings, "precision": precision},
            "lives": [(chance.randint(1, 7), chance.random()) for _ in range(8 if how == "cut" else 0)],
        }
        for precision in ("float32", "float16")
        for how in ("whole", "cut")
    }
    result = subprocess.run(
        [sys.executable, str(RESUME_LOOP)],
        input=json.dumps(list(runs.values())),
        text=True,
        capture_output=True,
        timeout=500,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    return {name: (Path(path), int(cut)) for name, (path, cut) in zip(runs, lines, strict=True)}


@pytest.mark.skipif(os.name == "nt", reason="forks and signals of POSIX")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_run_killed_at_any_moment_ends_with_the_same_bits(
    killed_runs: dict[str, tuple[Path, int]], weights_of: Weights, precision: str
) -> None:
    """Killed again and again, at random moments, it has the parameters and the curve of an uninterrupted run.

    With float16 the gradient scaler goes on as well.
    """
    whole, _ = killed_runs[f"{precision}-whole"]
    cut, kills = killed_runs[f"{precision}-cut"]
    assert kills >= 5, "too few of the kills came before the end"
    assert same_weights(weights_of(cut), weights_of(whole))
    assert curve(cut.parent.parent) == curve(whole.parent.parent)
    one, other = (CheckpointManager(path.parent).load(path) for path in (whole, cut))
    assert one.training_state.rng == other.training_state.rng
    assert one.state("scaler") == other.state("scaler")
    assert bool(one.state("scaler")) == (precision == "float16")
    moments, others = one.state("optimizer")["state"], other.state("optimizer")["state"]
    assert all(torch.equal(moments[i]["exp_avg_sq"], others[i]["exp_avg_sq"]) for i in moments)


@pytest.mark.parametrize("stop_after", [1, 5, 11])
def test_a_run_that_was_asked_to_stop_goes_on_exactly(
    make_model: Models,
    stream: TokenStream,
    settings: Settings,
    weights_of: Weights,
    tmp_path: Path,
    stop_after: int,
) -> None:
    """Stopping saves a checkpoint whatever the step, and resuming from it loses and repeats nothing."""
    config = settings(log_every=4)
    whole = train(make_model(), stream, config, output=tmp_path / "whole")

    model = make_model()
    first = train(
        model, stream, config, output=tmp_path / "cut", should_stop=lambda: model.calls >= stop_after
    )
    assert (first.stopped, first.step) == ("interrupted", stop_after)
    second = train(make_model(seed=9), stream, config, output=tmp_path / "cut", resume=True)
    assert (second.stopped, second.resumed_from, second.step) == ("finished", stop_after, 12)
    assert same_weights(weights_of(second.checkpoint), weights_of(whole.checkpoint))
    assert curve(tmp_path / "cut") == curve(tmp_path / "whole")


def test_a_damaged_checkpoint_is_passed_over_and_the_end_is_the_same(
    make_model: Models, stream: TokenStream, settings: Settings, weights_of: Weights, tmp_path: Path
) -> None:
    """The result says what was passed over; the steps are done again from the one before."""
    config = settings(checkpoint_every=4)
    whole = train(make_model(), stream, config, output=tmp_path)
    for step in (12, 8):
        manager = CheckpointManager(tmp_path / "checkpoints")
        newest = manager.latest()
        assert newest is not None
        assert newest.name.endswith(f"step-{step}")
        (newest / "optimizer.safetensors").write_bytes(b"rubbish")
    again = train(make_model(seed=4), stream, config, output=tmp_path, resume=True)
    assert again.resumed_from == 4
    assert len(again.passed_over) == 2
    assert same_weights(weights_of(again.checkpoint), weights_of(whole.checkpoint))


def test_a_run_without_any_intact_checkpoint_does_not_start_over_silently(
    make_model: Models, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """Losing everything is said, not covered by a new beginning."""
    train(make_model(), stream, settings(steps=2), output=tmp_path)
    for file in (tmp_path / "checkpoints").glob("*/model.safetensors"):
        file.unlink()
    with pytest.raises(CheckpointDamagedError):
        train(make_model(), stream, settings(steps=2), output=tmp_path, resume=True)


def test_a_finished_run_can_be_made_longer(
    make_model: Models, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """With more steps it goes on, with as many it is finished at once."""
    train(make_model(), stream, settings(steps=3, schedule="constant"), output=tmp_path)
    again = train(make_model(), stream, settings(steps=3), output=tmp_path, resume=True)
    assert (again.resumed_from, again.step) == (3, 3)
    longer = train(make_model(), stream, settings(steps=5), output=tmp_path, resume=True)
    assert (longer.resumed_from, longer.step) == (3, 5)


def test_a_folder_with_a_run_is_not_written_into_by_another(
    make_model: Models, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """A new run needs a folder of its own; resuming where there is nothing begins."""
    train(make_model(), stream, settings(steps=1), output=tmp_path, resume=True)
    with pytest.raises(RunExistsError, match="holds a run already"):
        train(make_model(), stream, settings(steps=1), output=tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "seed is 1 now and was 0"),
        ({"batch_size": 2}, "batch_size"),
        ({"sequence_length": 9}, "length"),
    ],
)
def test_another_order_of_the_data_is_refused(
    make_model: Models,
    stream: TokenStream,
    settings: Settings,
    tmp_path: Path,
    change: dict[str, int],
    words: str,
) -> None:
    """Settings that decide which tokens come next can't change within a run."""
    train(make_model(), stream, settings(steps=1), output=tmp_path)
    with pytest.raises(RunMismatchError, match=words):
        train(make_model(), stream, settings(steps=2, **change), output=tmp_path, resume=True)


def test_other_data_are_refused(
    make_model: Models, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """A token more is another text."""
    train(make_model(), stream, settings(steps=1), output=tmp_path)
    other = TokenStream.from_array([*stream.tokens.tolist(), 1])
    with pytest.raises(RunMismatchError, match="data are others"):
        train(make_model(), other, settings(steps=2), output=tmp_path, resume=True)
