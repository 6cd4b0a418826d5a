"""Tells people, and keeps in files, how training gets on."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import attrs

from resnet_bk.training.config import TrainingConfig
from resnet_bk.training.evaluation import Evaluation
from resnet_bk.training.metrics import MetricsLog, TensorBoardLog
from resnet_bk.training.progress import Progress, StepReport
from resnet_bk.training.update import Attempt

__all__ = ["Pace", "Reporter"]


class Pace:
    """Measures how fast training goes.

    Args:
        steps: Updates in all.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._begun: tuple[float, int] | None = None
        self._last = time.monotonic()

    def measure(self, step: int, tokens: int) -> tuple[float, float | None]:
        """Tokens per second since the last call, and seconds left from the pace since the first.

        Args:
            step: Updates so far.
            tokens: Since the last call.
        """
        now = time.monotonic()
        speed = tokens / max(now - self._last, 1e-9)
        self._last = now
        # The first steps are slow and say little of the rest.
        begun, first = self._begun or (now, step)
        self._begun = (begun, first)
        left = (now - begun) / (step - first) * (self.steps - step) if step > first else None
        return speed, left


@attrs.define(kw_only=True)
class _Since:
    """What happened since the last report."""

    loss: float = 0.0
    steps: int = 0
    tokens: int = 0


class Reporter:
    """Collects what updates come to, and passes it on every so many steps.

    Args:
        output: The folder of the run.
        config: The settings.
        steps: Updates in all.
        progress: What shows progress.
        files: Whether this process keeps files.

    Attributes:
        loss: The mean training loss of the last report; NaN before the first.
    """

    def __init__(
        self, output: Path, config: TrainingConfig, *, steps: int, progress: Progress, files: bool
    ) -> None:
        self.progress = progress
        self.loss = math.nan
        self._output = output
        self._tensorboard = config.tensorboard
        self._steps = steps
        self._files = files
        self._pace = Pace(steps)
        self._since = _Since()
        self._logs: list[MetricsLog | TensorBoardLog] = []

    def open(self, step: int) -> None:
        """Begin to keep files.

        Args:
            step: Updates made before; what the files hold of later ones is done again.

        Raises:
            TrainingError: TensorBoard is wanted and not installed.
        """
        if self._files:
            self._logs.append(MetricsLog(self._output / "metrics.jsonl", step=step))
        if self._files and self._tensorboard:
            self._logs.append(TensorBoardLog(self._output / "tensorboard", step=step))

    def note(self, text: str) -> None:
        """Tell something that happened."""
        self.progress.note(text)

    def count(self, attempt: Attempt) -> None:
        """Take in an update."""
        self._since.loss += attempt.loss
        self._since.steps += 1
        self._since.tokens += attempt.tokens

    def report(self, step: int, epoch: int, rate: float, attempt: Attempt) -> None:
        """Tell where training stands, and begin to collect anew.

        Args:
            step: Updates so far.
            epoch: Passes over the data that were finished.
            rate: The learning rate of the last update.
            attempt: The last update.
        """
        self.loss = self._since.loss / self._since.steps
        speed, left = self._pace.measure(step, self._since.tokens)
        report = StepReport(
            step=step,
            steps=self._steps,
            epoch=epoch,
            loss=self.loss,
            learning_rate=rate,
            gradient_norm=attempt.gradient_norm,
            tokens_per_second=speed,
            seconds_left=left,
        )
        self.progress.report(report)
        values = attrs.asdict(report)
        for name in ("step", "steps", "seconds_left"):
            del values[name]
        self._write(step, values)
        self._since = _Since()

    def evaluated(self, step: int, evaluation: Evaluation) -> None:
        """Tell what an evaluation came to."""
        loss, perplexity = evaluation.loss, evaluation.perplexity
        self.note(f"step {step}: validation loss {loss:.4f}, perplexity {perplexity:.2f}")
        self._write(step, {"validation_loss": loss, "perplexity": perplexity})

    def _write(self, step: int, values: dict[str, Any]) -> None:
        for log in self._logs:
            log.write(step, values)

    def go_back(self, step: int) -> None:
        """Forget what was measured at later steps, which are done again."""
        for log in self._logs:
            log.go_back(step)

    def state_dict(self) -> dict[str, Any]:
        """What happened since the last report, as data."""
        return attrs.asdict(self._since)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what had been collected."""
        self._since = _Since(**state)

    def close(self) -> None:
        """End, with everything written and shown."""
        for log in self._logs:
            log.close()
        self.progress.close()
