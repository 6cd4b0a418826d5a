"""The loss of a model on data it is not trained on."""

from __future__ import annotations

import math

import attrs
import torch

from resnet_bk.data.packing import PackedSequences
from resnet_bk.training.precision import Precision
from resnet_bk.training.processes import Processes
from resnet_bk.training.update import on_device, token_loss

__all__ = ["EarlyStopping", "Evaluation", "evaluate"]


@attrs.frozen(kw_only=True)
class Evaluation:
    """How well a model predicts data.

    Attributes:
        loss: The mean loss, in nats per token.
        tokens: Over how many targets.
    """

    loss: float
    tokens: int

    @property
    def perplexity(self) -> float:
        """The exponential of the loss."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


def evaluate(
    model: torch.nn.Module,
    data: PackedSequences,
    *,
    processes: Processes,
    precision: Precision,
    batch_size: int,
    windows: int | None = None,
) -> Evaluation:
    """Evaluate a model, with all processes sharing the work.

    Args:
        model: The model as it has to be called.
        data: The sequences.
        processes: Those that train together.
        precision: What to compute in.
        batch_size: Sequences at a time in each process.
        windows: How many sequences to use, from the first on; None uses all.
    """
    count = len(data) if windows is None else min(windows, len(data))
    # Every process makes as many calls, as distributed parameters need it; the last may have none of its own.
    numbers = list(range(processes.rank, count, processes.count))
    calls = math.ceil(math.ceil(count / processes.count) / batch_size)
    loss, tokens = 0.0, 0
    training = model.training
    model.eval()
    with torch.no_grad():
        for call in range(calls):
            mine = numbers[call * batch_size : (call + 1) * batch_size]
            batch = on_device(data.batch(mine or [0]), processes.device)
            with precision.autocast():
                _, entropy = token_loss(model, batch)
            if mine:
                loss += float(entropy.double())
                tokens += batch.counted
    model.train(training)
    loss, counted = processes.total([loss, tokens])
    return Evaluation(loss=loss / max(1.0, counted), tokens=int(counted))


@attrs.define
class EarlyStopping:
    """Tells when evaluations have stopped getting better.

    Attributes:
        patience: After how many evaluations without a gain it is enough; None never is.
        least_gain: What counts as a gain, in nats per token.
        best: The lowest loss so far; None before the first evaluation.
        waited: Evaluations since the last gain.
    """

    patience: int | None
    least_gain: float = 0.0
    best: float | None = None
    waited: int = 0

    def observe(self, loss: float) -> bool:
        """Take in an evaluation, and say whether it is the best so far.

        Args:
            loss: Its loss; one that is not finite is never the best.
        """
        better = math.isfinite(loss) and (self.best is None or loss < self.best)
        gain = better and (self.best is None or loss < self.best - self.least_gain)
        self.waited = 0 if gain else self.waited + 1
        if better:
            self.best = loss
        return better

    @property
    def enough(self) -> bool:
        """Whether it is time to stop."""
        return self.patience is not None and self.waited >= self.patience

    def state_dict(self) -> dict[str, float | int | None]:
        """What has been seen, as data."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, float | int | None]) -> None:
        """Go on from what had been seen."""
        self.best = state["best"]
        self.waited = int(state["waited"] or 0)
