"""What comes of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from resnet_bk.checkpoints import Damage

__all__ = ["TrainingResult"]


@attrs.frozen(kw_only=True)
class TrainingResult:
    """What came of a run.

    Attributes:
        step: Updates made.
        epoch: Passes over the data that were finished.
        loss: The training loss of the last report, in nats per token; NaN if there was none.
        validation_loss: Of the last evaluation; None if there was none.
        best_validation_loss: The lowest of all.
        checkpoint: The last checkpoint.
        best_checkpoint: The one with the lowest validation loss; None without validation data.
        stopped: `finished`, `early` (evaluations got no better) or `interrupted`.
        resumed_from: The step of the checkpoint it went on from; None if it was begun.
        passed_over: Damaged checkpoints that were not used.
        precision: In what the model was computed.
        precision_reason: Why.
        failures: Every failure on the way, and what was done about it.
    """

    step: int
    epoch: int
    loss: float
    validation_loss: float | None
    best_validation_loss: float | None
    checkpoint: Path
    best_checkpoint: Path | None
    stopped: str
    resumed_from: int | None
    passed_over: tuple[Damage, ...]
    precision: str
    precision_reason: str
    failures: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """The result as data for JSON, where a loss that is not a number is null."""
        plain = attrs.asdict(self)
        plain["loss"] = None if self.loss != self.loss else self.loss
        for name in ("checkpoint", "best_checkpoint"):
            plain[name] = None if plain[name] is None else str(plain[name])
        plain["passed_over"] = [str(damage) for damage in self.passed_over]
        return plain
