"""Decides what to do when training fails; a matter of records alone, without a model."""

from __future__ import annotations

from typing import Any, Final

import attrs

from resnet_bk.training.config import RecoverySettings
from resnet_bk.training.monitors import Alert

__all__ = ["OUT_OF_MEMORY", "Decision", "Failure", "RecoveryState", "Situation", "decide"]

_LADDER: Final = ("learning-rate", "epsilon", "batch-size")
OUT_OF_MEMORY: Final = "out-of-memory"


@attrs.frozen(kw_only=True)
class Failure:
    """Why an update of the parameters was not made.

    Attributes:
        kind: `out-of-memory`, or what an `Alert` says.
        step: The step that failed.
        onset: The last step at which all was well, as far as can be told.
        message: What happened, in words.
        value: What was seen; None where it is no number.
        limit: What it should have been less than; None where there is no such number.
        touched: Whether the parameters may have changed already.
    """

    kind: str
    step: int
    onset: int
    message: str
    value: float | None = None
    limit: float | None = None
    touched: bool = False

    @classmethod
    def of(cls, alert: Alert) -> Failure:
        """The failure that an alert of a monitor stands for."""
        return cls(**attrs.asdict(alert))


@attrs.frozen(kw_only=True)
class Situation:
    """What could be changed at the moment of a failure.

    Attributes:
        learning_rate: The highest learning rate, as it is now.
        epsilon: The model's epsilon; None if it has none that can be changed.
        share: Sequences per update and process.
        processes: How many processes train together.
    """

    learning_rate: float
    epsilon: float | None
    share: int
    processes: int = 1


@attrs.define(kw_only=True)
class RecoveryState:
    """What was changed because of failures, and what is going on now.

    Attributes:
        learning_rate_scale: What the learning rate is multiplied with.
        epsilon: The epsilon that was set; None leaves the model's own.
        accumulation: Into how many parts each process divides its share of a batch.
        attempts: How often it was tried to get past the place of the failure.
        failed_at: The step of the latest failure that is not overcome; None if there is none.
        onset: The last step at which all was well before the first of these failures.
        tried: The step of the checkpoint that was gone back to the last time; None if there was none.
        nan_count: Failures with numbers that were not finite.
        oom_count: Failures for want of memory.
        history: Every failure and what was done, in order.
    """

    learning_rate_scale: float = 1.0
    epsilon: float | None = None
    accumulation: int = 1
    attempts: int = 0
    failed_at: int | None = None
    onset: int | None = None
    tried: int | None = None
    nan_count: int = 0
    oom_count: int = 0
    history: list[dict[str, Any]] = attrs.field(factory=list)

    def note(self, failure: Failure, decision: Decision, settings: RecoverySettings) -> None:
        """Take in a failure and what is done about it."""
        self.nan_count += failure.kind.startswith("non-finite")
        self.oom_count += failure.kind == OUT_OF_MEMORY
        self.history.append({**attrs.asdict(failure), "remedy": decision.remedy, "done": decision.text})
        if failure.kind != OUT_OF_MEMORY:
            self.attempts += 1
            self.failed_at = max(failure.step, self.failed_at or 0)
            self.onset = failure.onset if self.onset is None else min(self.onset, failure.onset)
        if decision.remedy == "learning-rate":
            self.learning_rate_scale *= settings.learning_rate_factor
        elif decision.remedy == "epsilon":
            self.epsilon = decision.epsilon
        elif decision.remedy == "batch-size":
            self.accumulation *= 2

    def overcome(self, step: int, settings: RecoverySettings) -> bool:
        """Whether a failure has just been left behind, which is then forgotten but for the history."""
        if self.failed_at is None or step < self.failed_at + settings.quiet_steps:
            return False
        self.attempts, self.failed_at, self.onset, self.tried = 0, None, None, None
        return True

    def to_dict(self) -> dict[str, Any]:
        """Everything as data."""
        return attrs.asdict(self)


@attrs.frozen(kw_only=True)
class Decision:
    """What to do about a failure.

    Attributes:
        remedy: `learning-rate`, `epsilon`, `batch-size`, or None to stop.
        text: The same in words.
        roll_back: Whether to go back to a checkpoint first.
        epsilon: The epsilon to set, where that is the remedy.
    """

    remedy: str | None
    text: str
    roll_back: bool = True
    epsilon: float | None = None


def decide(
    failure: Failure, state: RecoveryState, situation: Situation, settings: RecoverySettings
) -> Decision:
    """What to do about a failure: less memory if that ran out, otherwise the next rung of the ladder.

    The ladder is: lower the learning rate, raise the epsilon, divide the batch. A rung that can't be taken is
    left out, and after the last one the first follows.

    Args:
        failure: What happened.
        state: What was tried already.
        situation: What could be changed.
        settings: By how much, and how often.
    """
    if not settings.enabled:
        return Decision(remedy=None, text="recovery is switched off")
    if failure.kind == OUT_OF_MEMORY:
        return _less_memory(failure, state, situation)
    if state.attempts >= settings.attempts:
        return Decision(remedy=None, text=f"{state.attempts} attempts to get past the failure did not help")
    rungs = [_LADDER[(state.attempts + offset) % len(_LADDER)] for offset in range(len(_LADDER))]
    for rung in rungs:
        found = _try(rung, state, situation, settings)
        if found is not None:
            return found
    return Decision(
        remedy=None, text="neither the learning rate nor the epsilon nor the batch can be changed any further"
    )


def _less_memory(failure: Failure, state: RecoveryState, situation: Situation) -> Decision:
    if situation.processes > 1:
        return Decision(
            remedy=None,
            text="one of several processes ran out of memory, and the others can't know",
        )
    smaller = _divide(state, situation, roll_back=failure.touched)
    return smaller or Decision(remedy=None, text="a single sequence takes more memory than there is")


def _try(
    rung: str, state: RecoveryState, situation: Situation, settings: RecoverySettings
) -> Decision | None:
    if rung == "learning-rate":
        now = situation.learning_rate
        new = now * settings.learning_rate_factor
        if new < settings.least_learning_rate or new >= now:
            return None
        return Decision(remedy=rung, text=f"lowered the learning rate from {now:.4g} to {new:.4g}")
    if rung == "epsilon":
        if situation.epsilon is None:
            return None
        raised = min(situation.epsilon * settings.epsilon_factor, settings.greatest_epsilon)
        if raised <= situation.epsilon:
            return None
        text = f"raised the epsilon from {situation.epsilon:.4g} to {raised:.4g}"
        return Decision(remedy=rung, text=text, epsilon=raised)
    return _divide(state, situation, roll_back=True)


def _divide(state: RecoveryState, situation: Situation, *, roll_back: bool) -> Decision | None:
    if state.accumulation >= situation.share:
        return None
    before = -(-situation.share // state.accumulation)
    after = -(-situation.share // (state.accumulation * 2))
    return Decision(
        remedy="batch-size",
        text=f"divided the batch: {after} of its {situation.share} sequences at a time instead of {before}",
        roll_back=roll_back,
    )
