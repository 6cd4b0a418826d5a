"""Training that goes wrong: faults are put into the model, and training gets over them or says why not."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

from resnet_bk.checkpoints import CheckpointManager
from resnet_bk.data import TokenStream
from resnet_bk.training import RecoverySettings, TrainingConfig, TrainingFailedError, train
from resnet_bk.training.metrics import read_metrics
from resnet_bk.training.progress import SilentProgress

Settings = Callable[..., TrainingConfig]
Models = Callable[..., torch.nn.Module]
QUICK = RecoverySettings(window=10, quiet_steps=5)


def scaled_gradient(logits: torch.Tensor, factor: float) -> torch.Tensor:
    """The same values, whose gradient is larger."""
    return logits * factor - (logits * (factor - 1)).detach()


def nan_at(*calls: int) -> Callable[[int, torch.Tensor], torch.Tensor]:
    """A fault: the loss is NaN at these calls."""
    return lambda call, logits: logits * math.nan if call in calls else logits


def test_nan_is_rolled_back_and_the_rate_is_lowered(
    make_model: Models, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """A single NaN costs the steps since the last checkpoint, and the run ends with finite parameters."""
    model = make_model(fault=nan_at(8))
    result = train(model, stream, settings(checkpoint_every=5, recovery=QUICK), output=tmp_path)
    assert (result.stopped, result.step) == ("finished", 12)
    (failure,) = result.failures
    assert (failure["kind"], failure["step"], failure["rolled_back_to"]) == ("non-finite-loss", 7, 5)
    assert failure["remedy"] == "learning-rate"
    assert all(bool(each.isfinite().all()) for each in model.parameters())
    state = CheckpointManager(tmp_path / "checkpoints").load(result.checkpoint).training_state
    assert state.nan_count == 1
    steps = [record["step"] for record in read_metrics(tmp_path / "metrics.jsonl")]
    assert steps == list(range(1, 13))


def test_a_gradient_that_is_not_finite_is_no_update(
    make_model: Models, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """A finite loss with an infinite gradient is a failure of its own kind."""
    model = make_model(fault=lambda call, logits: _InfiniteGradient.apply(logits) if call == 3 else logits)
    result = train(model, stream, settings(recovery=QUICK), output=tmp_path)
    assert [failure["kind"] for failure in result.failures] == ["non-finite-gradient"]
    assert all(bool(each.isfinite().all()) for each in model.parameters())


class _InfiniteGradient(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, value: torch.Tensor) -> torch.Tensor:
        return value.clone()

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * math.inf


def test_an_exploding_gradient_is_rolled_back(
    make_model: Models, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """A norm of a hundred times the median is not followed, and the rate is a tenth from there on."""
    model = make_model(fault=lambda call, logits: scaled_gradient(logits, 100.0 if call == 9 else 1.0))
    config = settings(checkpoint_every=5, schedule="constant", warmup=0.0, recovery=QUICK)
    result = train(model, stream, config, output=tmp_path)
    (failure,) = result.failures
    assert (failure["kind"], failure["step"], failure["rolled_back_to"]) == ("gradient-explosion", 8, 5)
    rates = [record["learning_rate"] for record in read_metrics(tmp_path / "metrics.jsonl")]
    assert rates == pytest.approx([1e-2] * 5 + [1e-3] * 7)


def test_a_loss_that_rises_is_rolled_back_to_before_it_rose(
    make_model: Models, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """Divergence is seen late; checkpoints saved while it went on are not gone back to."""

    class Watcher(SilentProgress):
        seen = False

        def note(self, text: str) -> None:
            self.seen = self.seen or "went back" in text

    watcher = Watcher()

    def diverge(call: int, logits: torch.Tensor) -> torch.Tensor:
        return logits if call <= 16 or watcher.seen else logits * (1 - 0.2 * (call - 16))

    recovery = attrs.evolve(QUICK, gradient_factor=1e9)
    config = settings(steps=24, checkpoint_every=2, keep_checkpoints=20, recovery=recovery)
    result = train(make_model(fault=diverge), stream, config, output=tmp_path, progress=watcher)
    (failure,) = result.failures
    assert failure["kind"] == "loss-divergence"
    # There are checkpoints of the steps between, and they are worse than the one before.
    assert failure["rolled_back_to"] <= failure["onset"] <= 16 < failure["step"] - 2
    assert (result.stopped, result.step) == ("finished", 24)


def test_three_remedies_are_tried_in_turn_then_training_stops_with_a_report(
    make_model: Models, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """A fault that never goes away: rate, epsilon, batch, each from further back, and then the report.

    The report says what was seen when and what was tried, for programs and for people.
    """
    model = make_model(fault=lambda call, logits: logits * math.nan if call > 7 else logits)
    with pytest.raises(TrainingFailedError) as caught:
        train(
            model, stream, settings(checkpoint_every=2, keep_checkpoints=9, recovery=QUICK), output=tmp_path
        )
    report = json.loads((tmp_path / "failure-report.json").read_text())
    assert [entry["remedy"] for entry in report["failures"]] == [
        "learning-rate",
        "epsilon",
        "batch-size",
        None,
    ]
    assert [entry.get("rolled_back_to") for entry in report["failures"]] == [6, 4, 2, None]
    assert report["changed"] == {"learning_rate_scale": 0.1, "epsilon": 1.5, "accumulation": 2}
    assert report["counts"] == {"not_finite": 4, "out_of_memory": 0}
    assert model.config.epsilon == 1.5
    assert len(report["recent"]["gradient_norms"]) > 0
    text = (tmp_path / "failure-report.txt").read_text()
    for words in (
        "step 7",
        "loss is nan",
        "from 0.01 to 0.001",
        "raised the epsilon from 1 to 1.5",
        "float32",
    ):
        assert words in text
    assert caught.value.report == tmp_path / "failure-report.txt"
    assert "3 attempts" in caught.value.why


def test_what_was_changed_survives_a_restart(
    make_model: Models, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """The lowered rate and the raised epsilon are in force after a resume, though the fault is gone."""
    model = make_model(fault=lambda call, logits: logits * math.nan if call in (8, 9) else logits)
    config = settings(checkpoint_every=5, schedule="constant", warmup=0.0, recovery=QUICK)
    train(model, stream, config, output=tmp_path, should_stop=lambda: model.calls >= 10)
    fresh = make_model(seed=3)
    result = train(fresh, stream, config, output=tmp_path, resume=True)
    assert [failure["remedy"] for failure in result.failures] == ["learning-rate", "epsilon"]
    assert fresh.config.epsilon == 1.5
    assert read_metrics(tmp_path / "metrics.jsonl")[-1]["learning_rate"] == pytest.approx(1e-3)


def test_a_failure_that_is_overcome_is_no_attempt_of_the_next(
    make_model: Models, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """Five faults far apart do not use up three attempts."""
    model = make_model(fault=nan_at(5, 20, 35, 50, 65))
    result = train(model, stream, settings(steps=60, checkpoint_every=4, recovery=QUICK), output=tmp_path)
    assert result.stopped == "finished"
    assert {failure["remedy"] for failure in result.failures} == {"learning-rate"}
    assert len(result.failures) == 5


def test_running_out_of_memory_divides_the_batch_and_changes_nothing_else(
    make_model: Models, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """A model that can take two sequences at a time is trained with batches of eight, without a step lost."""

    def no_room(call: int, logits: torch.Tensor) -> torch.Tensor:
        if len(logits) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return logits

    curves = []
    for name, fault in (("plain", None), ("small", no_room)):
        model = make_model(fault=fault, dropout=0.0)
        result = train(model, stream, settings(batch_size=8), output=tmp_path / name)
        curves.append([record["loss"] for record in read_metrics(tmp_path / name / "metrics.jsonl")])
    assert curves[1] == pytest.approx(curves[0], abs=1e-5)
    assert [failure["kind"] for failure in result.failures] == ["out-of-memory"] * 2
    assert all("rolled_back_to" not in failure for failure in result.failures)
    state = CheckpointManager(tmp_path / "small" / "checkpoints").load()
    assert state.training_state.oom_count == 2
    assert state.state("trainer")["recovery"]["accumulation"] == 4


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of memory that holds")
def test_a_real_lack_of_memory_is_recognised(
    make_model: Models, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """The system refuses memory to this process for a moment, and what torch raises then is known."""

    def hungry(call: int, logits: torch.Tensor) -> torch.Tensor:
        room = torch.empty(len(logits), 100_000_000)  # asked for, never touched
        return logits + 0.0 * room.ndim

    resource = pytest.importorskip("resource")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 1_400_000_000, before[1]))
    try:
        result = train(make_model(fault=hungry), stream, settings(steps=2, batch_size=4), output=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert [failure["kind"] for failure in result.failures] == ["out-of-memory"]
    assert "allocate" in result.failures[0]["message"]


def test_memory_that_does_not_suffice_for_one_sequence_stops(
    make_model: Models, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """When there is nothing left to divide, the report says so."""

    def never(call: int, logits: torch.Tensor) -> torch.Tensor:
        raise MemoryError

    with pytest.raises(TrainingFailedError, match="a single sequence takes more memory"):
        train(make_model(fault=never), stream, settings(), output=tmp_path)
    report = json.loads((tmp_path / "failure-report.json").read_text())
    assert [entry["remedy"] for entry in report["failures"]] == ["batch-size", "batch-size", None]


def test_running_out_of_memory_within_the_optimizer_goes_back(
    make_model: Models,
    stream: TokenStream,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some parameters may have moved already, so the last checkpoint is taken."""
    real, calls = torch.optim.AdamW.step, 0

    def step(self: Any, closure: Any = None) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            self.param_groups[0]["params"][0].data.add_(1.0)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, closure)

    whole = train(make_model(), stream, settings(steps=5), output=tmp_path / "whole")
    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    model = make_model(dropout=0.0)
    result = train(model, stream, settings(steps=5, checkpoint_every=2), output=tmp_path / "cut")
    (failure,) = result.failures
    assert (failure["kind"], failure["touched"], failure["rolled_back_to"]) == ("out-of-memory", True, 2)
    assert result.step == whole.step


def test_other_errors_of_the_model_are_not_swallowed(
    make_model: Models, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """A mistake in the model is not taken for a lack of memory."""

    def broken(call: int, logits: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(make_model(fault=broken), stream, settings(), output=tmp_path)


def test_without_recovery_the_first_failure_is_the_last(
    make_model: Models, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """Switched off, it still reports."""
    with pytest.raises(TrainingFailedError, match="switched off"):
        train(
            make_model(fault=nan_at(2)),
            stream,
            settings(recovery=RecoverySettings(enabled=False)),
            output=tmp_path,
        )
    assert (tmp_path / "failure-report.txt").exists()
