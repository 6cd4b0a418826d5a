"""Progress, metrics, TensorBoard, evaluation, early stopping."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from resnet_bk.data import PackedSequences, TokenStream
from resnet_bk.training import TrainingConfig, TrainingError, train
from resnet_bk.training.evaluation import EarlyStopping, evaluate
from resnet_bk.training.metrics import MetricsLog, read_metrics
from resnet_bk.training.precision import choose_precision
from resnet_bk.training.processes import Processes
from resnet_bk.training.progress import PlainProgress, RichProgress, StepReport, make_progress
from resnet_bk.training.reporting import Pace

Settings = Callable[..., TrainingConfig]
Models = Callable[..., torch.nn.Module]
REPORT = StepReport(
    step=30, steps=100, epoch=0, loss=3.25, learning_rate=1e-3, gradient_norm=0.5, tokens_per_second=12345.6,
    seconds_left=3725.0,
)  # fmt: skip


def test_plain_lines_say_everything() -> None:
    """Step, loss, rate, speed and the time that is left, one line for each report."""
    stream = io.StringIO()
    progress = PlainProgress(stream)
    progress.report(REPORT)
    progress.note("step 30: validation loss 3.1")
    progress.close()
    first, second = stream.getvalue().splitlines()
    for words in ("step 30/100", "loss 3.2500", "1.00e-03", "12,346 tokens/s", "1:02:05 left"):
        assert words in first
    assert second == "step 30: validation loss 3.1"


def test_a_terminal_gets_a_bar() -> None:
    """Rich draws the same facts, and notes stay above the bar."""
    from rich.console import Console

    stream = io.StringIO()
    progress = RichProgress(Console(file=stream, force_terminal=True, width=150))
    progress.note("evaluated [well]")
    progress.report(REPORT)
    progress.close()
    shown = stream.getvalue()
    for words in ("30/100", "loss 3.2500", "1:02:05 left", "evaluated [well]"):
        assert words in shown


def test_the_kind_of_output_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """No terminal, no bar."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(make_progress(), PlainProgress)


def test_the_time_that_is_left_comes_from_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second report on: seconds per step, times the steps that are left."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    pace = Pace(50)
    now = 110.0
    assert pace.measure(10, 500) == (50.0, None)
    now = 114.0
    assert pace.measure(20, 800) == (200.0, pytest.approx(0.4 * 30))


def test_metrics_go_back_with_the_run(tmp_path: Path) -> None:
    """Records after the step gone back to are removed, and a line that was cut off is none."""
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, step=0)
    for step in (1, 2, 3):
        log.write(step, {"loss": 1.0 / step})
    with path.open("a") as stream:
        stream.write('{"step": 4, "lo')
    assert [record["step"] for record in read_metrics(path)] == [1, 2, 3]
    assert [record["step"] for record in read_metrics(tmp_path / "none")] == []
    MetricsLog(path, step=2).write(3, {"loss": 9.0})
    assert read_metrics(path) == [
        {"step": 1, "loss": 1.0},
        {"step": 2, "loss": 0.5},
        {"step": 3, "loss": 9.0},
    ]


def test_tensorboard_has_the_same_numbers(
    make_model: Models, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """Its own reader finds each curve, without a gap or a double after a resume."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = make_model()
    data, validation = stream.split(0.2)
    config = settings(steps=6, tensorboard=True)
    train(model, data, config, output=tmp_path, validation=validation, should_stop=lambda: model.calls >= 3)
    train(make_model(), data, config, output=tmp_path, validation=validation, resume=True)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    curve = [(event.step, event.value) for event in events.Scalars("loss")]
    records = [record for record in read_metrics(tmp_path / "metrics.jsonl") if "loss" in record]
    assert curve == [(record["step"], pytest.approx(record["loss"])) for record in records]
    assert [event.step for event in events.Scalars("validation_loss")] == [6]


def test_tensorboard_that_is_not_installed_is_a_clear_error(
    make_model: Models,
    stream: TokenStream,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What to install, and where the numbers are anyway."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(TrainingError) as caught:
        train(make_model(), stream, settings(tensorboard=True), output=tmp_path)
    assert "pip install tensorboard" in caught.value.advice


@pytest.mark.parametrize(("batch_size", "windows"), [(1, None), (3, None), (100, None), (4, 7)])
def test_an_evaluation_is_the_mean_over_all_targets(
    make_model: Models, stream: TokenStream, batch_size: int, windows: int | None
) -> None:
    """However it is divided, without dropout, and the model goes on in the mode it was in."""
    model = make_model().train()
    data = PackedSequences(TokenStream.from_array(stream.tokens[:200], [0, 50, 99]), 8)
    count = len(data) if windows is None else windows
    found = evaluate(
        model, data, processes=Processes(torch.device("cpu")),
        precision=choose_precision("float32", torch.device("cpu"), width=0), batch_size=batch_size,
        windows=windows,
    )  # fmt: skip
    assert model.training
    batch = data.batch(range(count))
    with torch.no_grad():
        logits = model.eval()(batch.inputs).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
    assert found.loss == pytest.approx(expected.item(), abs=1e-5)
    assert found.tokens == batch.counted
    assert found.perplexity == pytest.approx(math.exp(found.loss))


def test_stopping_early_waits_for_gains_that_count() -> None:
    """The best is kept exactly, but only a gain of a certain size starts the waiting anew."""
    stopping = EarlyStopping(patience=2, least_gain=0.1)
    assert [stopping.observe(loss) for loss in (3.0, 2.5, 2.45, math.nan)] == [True, True, True, False]
    assert stopping.enough
    assert stopping.best == 2.45
    other = EarlyStopping(patience=2, least_gain=0.1)
    other.load_state_dict(stopping.state_dict())
    assert other.enough
    assert not EarlyStopping(patience=None).enough


def test_a_run_stops_early_and_keeps_the_best(
    make_model: Models, stream: TokenStream, settings: Settings, tmp_path: Path
) -> None:
    """With a rate that ruins the model, training ends long before its steps, and the best stays."""
    data, validation = stream.split(0.2)
    config = settings(
        steps=200, learning_rate=3.0, schedule="constant", warmup=0.0, evaluate_every=2, patience=3,
        keep_checkpoints=1,
    )  # fmt: skip
    result = train(make_model(), data, config, output=tmp_path, validation=validation)
    assert result.stopped == "early"
    assert result.step < 60
    records = [record for record in read_metrics(tmp_path / "metrics.jsonl") if "validation_loss" in record]
    best = min(records, key=lambda record: record["validation_loss"])
    assert result.best_validation_loss == best["validation_loss"]
    assert result.best_checkpoint is not None
    assert result.best_checkpoint.name.endswith(f"step-{best['step']}")
    again = train(make_model(), data, config, output=tmp_path, validation=validation, resume=True)
    assert (again.stopped, again.step) == ("early", result.step)
