"""Watches the norm of the gradient and the loss for signs that training is coming apart."""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import Any, Final

import attrs

__all__ = ["Alert", "GradientStabilityMonitor", "LossSpikeMonitor"]

_SPIKE: Final = 2.0


@attrs.frozen(kw_only=True)
class Alert:
    """Something that should not be.

    Attributes:
        kind: `non-finite-loss`, `non-finite-gradient`, `gradient-explosion` or `loss-divergence`.
        step: When it was seen.
        onset: The last step at which all was well, as far as can be told.
        value: What was seen.
        limit: What it should have been less than; None for values that are not finite.
        message: The same in words.
    """

    kind: str
    step: int
    onset: int
    value: float
    limit: float | None
    message: str


class GradientStabilityMonitor:
    """Tells when the norm of the gradient is far above its running median.

    Args:
        factor: How many times the median a norm may be.
        window: Over how many steps the median is taken.
        least_history: Below so many norms nothing is said; None takes a fifth of the window.
    """

    def __init__(self, *, factor: float = 10.0, window: int = 100, least_history: int | None = None) -> None:
        self.factor = factor
        self.least_history = max(2, window // 5) if least_history is None else least_history
        self.norms: deque[float] = deque(maxlen=window)

    @property
    def median(self) -> float | None:
        """The running median; None before the first norm."""
        return statistics.median(self.norms) if self.norms else None

    def observe(self, step: int, norm: float) -> Alert | None:
        """Take in the norm of a step, and say what is wrong with it.

        Args:
            step: The step.
            norm: The norm of the whole gradient, before clipping.
        """
        if not math.isfinite(norm):
            return Alert(
                kind="non-finite-gradient",
                step=step,
                onset=step,
                value=norm,
                limit=None,
                message=f"the norm of the gradient is {norm}",
            )
        median = self.median
        known = len(self.norms) >= self.least_history
        self.norms.append(norm)
        if median is None or not known or norm <= self.factor * median:
            return None
        return Alert(
            kind="gradient-explosion",
            step=step,
            onset=step,
            value=norm,
            limit=self.factor * median,
            message=f"the norm of the gradient is {norm:.4g}, and its running median {median:.4g}",
        )

    def state_dict(self) -> dict[str, Any]:
        """What has been seen, as data."""
        return {"norms": list(self.norms)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what had been seen."""
        self.norms = deque(state["norms"], maxlen=self.norms.maxlen)


class LossSpikeMonitor:
    """Tells when the loss, smoothed, has risen within a window of steps, and counts single spikes.

    Args:
        rise: By which share of its lowest value in the window the smoothed loss may rise.
        window: The steps looked back over.
        least_rise: A rise by less than this, in nats, is noise.
        smoothing: Over how many steps the mean is taken; None takes a tenth of the window.

    Attributes:
        spikes: How many losses were more than twice the one before.
    """

    def __init__(
        self, *, rise: float = 0.5, window: int = 100, least_rise: float = 0.1, smoothing: int | None = None
    ) -> None:
        self.rise = rise
        self.least_rise = least_rise
        self.smoothing = max(1, window // 10) if smoothing is None else smoothing
        self.spikes = 0
        self._recent: deque[float] = deque(maxlen=self.smoothing)
        self._means: deque[tuple[int, float]] = deque(maxlen=window)

    def observe(self, step: int, loss: float) -> Alert | None:
        """Take in the loss of a step, and say what is wrong with it.

        Args:
            step: The step.
            loss: Its mean loss, in nats per token.
        """
        if not math.isfinite(loss):
            return Alert(
                kind="non-finite-loss",
                step=step,
                onset=step,
                value=loss,
                limit=None,
                message=f"the loss is {loss}",
            )
        if self._recent and loss > _SPIKE * self._recent[-1]:
            self.spikes += 1
        self._recent.append(loss)
        if len(self._recent) < self.smoothing:
            return None
        mean = statistics.fmean(self._recent)
        # Steps may be reported every so often only, so their number counts and not how many there were.
        past = [entry for entry in self._means if entry[0] >= step - (self._means.maxlen or 0)]
        self._means.append((step, mean))
        if not past:
            return None
        onset, lowest = min(past, key=lambda entry: entry[1])
        limit = max(lowest * (1 + self.rise), lowest + self.least_rise)
        if mean <= limit:
            return None
        return Alert(
            kind="loss-divergence",
            step=step,
            onset=onset,
            value=mean,
            limit=limit,
            message=f"the loss rose from {lowest:.4g} at step {onset} to {mean:.4g}",
        )

    @property
    def recent(self) -> list[float]:
        """The last losses, oldest first."""
        return list(self._recent)

    def state_dict(self) -> dict[str, Any]:
        """What has been seen, as data."""
        return {"spikes": self.spikes, "recent": list(self._recent), "means": list(self._means)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what had been seen."""
        self.spikes = state["spikes"]
        self._recent = deque(state["recent"], maxlen=self._recent.maxlen)
        self._means = deque(map(tuple, state["means"]), maxlen=self._means.maxlen)
