"""Learning rates as functions of the step alone, so that a run can go on anywhere."""

from __future__ import annotations

import math
from typing import Any, Final

import attrs

__all__ = ["Schedule"]

_ONE_CYCLE_START: Final = 1 / 25


@attrs.frozen(kw_only=True)
class Schedule:
    """The learning rate of every step, as a share of the highest.

    Attributes:
        kind: `one-cycle`, `cosine` or `constant`.
        steps: The steps of the run.
        warmup: The first steps, in which it rises.
        final: The last share, for `one-cycle` and `cosine`.
    """

    kind: str
    steps: int
    warmup: int
    final: float = 0.0

    @classmethod
    def of(cls, kind: str, steps: int, warmup: float, final: float) -> Schedule:
        """A schedule whose warm-up is given as a share of the steps."""
        return cls(kind=kind, steps=steps, warmup=round(steps * warmup), final=final)

    def at(self, step: int) -> float:
        """The share for a step.

        Args:
            step: Its number, from 0.
        """
        if self.kind == "one-cycle":
            return self._one_cycle(step)
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.kind == "constant":
            return 1.0
        return _cosine(1.0, self.final, (step - self.warmup) / max(1, self.steps - self.warmup))

    def _one_cycle(self, step: int) -> float:
        peak = max(0, self.warmup - 1)
        if step < peak:
            return _cosine(_ONE_CYCLE_START, 1.0, step / peak)
        return _cosine(1.0, self.final, (step - peak) / max(1, self.steps - 1 - peak))

    def state_dict(self) -> dict[str, Any]:
        """The schedule as data."""
        return attrs.asdict(self)


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, share))) / 2
