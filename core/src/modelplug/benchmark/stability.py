"""Judges whether a figure's samples agree well enough to rely on it, and what kept them from it."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from modelplug.benchmark.statistics import trend

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelplug.benchmark.records import Environment, RoundRecord
    from modelplug.benchmark.statistics import Interval

__all__ = ["BUSY", "judge"]

LEAST_ROUNDS = 6
"""A 95 % interval of a median needs six values."""

WIDEST = 0.10
"""An interval from end to end may be this part of the median."""

DRIFT = 0.05
"""A trend matters from this part of the median on, between the first and the last third."""

DRIFT_LEVEL = 0.01
OUTLIER = 0.15
"""A round is an outlier if it is this part of the median away from it, and far beyond the others."""

BUSY = 0.10
"""Other programs disturb from this share of the processors on."""

YARDSTICK_SPREAD = 0.10


def judge(
    medians: Sequence[float], interval: Interval, rounds: Sequence[RoundRecord], environment: Environment
) -> tuple[str, ...]:
    """What makes a figure unstable, in sentences; nothing if it is stable.

    Only the samples decide. Where they disagree, what is known of the machine follows as a possible cause.

    Args:
        medians: The median of each round, in their order.
        interval: The figure's interval.
        rounds: Every round.
        environment: The machine.
    """
    faults = list(_faults(medians, interval))
    few = len(medians) < LEAST_ROUNDS
    if few:
        count = "is only one round" if len(medians) == 1 else f"are only {len(medians)} rounds"
        faults.insert(0, f"There {count}; a 95 % interval takes {LEAST_ROUNDS}.")
    return (*faults, *_causes(rounds, environment)) if len(faults) > few else tuple(faults)


def _faults(medians: Sequence[float], interval: Interval) -> Iterator[str]:
    middle = interval.middle
    if middle <= 0:
        # A figure of nothing, such as the utilisation of an idle device, has no relative spread.
        return
    width = (interval.high - interval.low) / middle
    if width > WIDEST:
        yield f"The interval is {width * 100:.0f} % of the median wide."
    if len(medians) < LEAST_ROUNDS:
        return
    third = len(medians) // 3
    change = statistics.median(medians[-third:]) / statistics.median(medians[:third]) - 1
    if abs(change) > DRIFT and trend(medians).p < DRIFT_LEVEL:
        yield f"It drifted by {100 * change:+.0f} % from the first to the last rounds."
    outliers = _outliers(medians, middle)
    if outliers:
        verb = "is an outlier" if outliers == 1 else "are outliers"
        yield f"{outliers} of {len(medians)} rounds {verb}."


def _outliers(medians: Sequence[float], middle: float) -> int:
    spread = statistics.median(abs(value - middle) for value in medians)
    # 1.4826 times this spread is a standard deviation, were the values normally distributed.
    limit = max(OUTLIER * middle, 5 * 1.4826 * spread)
    return sum(abs(value - middle) > limit for value in medians)


def _causes(rounds: Sequence[RoundRecord], environment: Environment) -> Iterator[str]:
    loads = [record.other_load for record in rounds if record.other_load is not None]
    if loads and statistics.mean(loads) > BUSY:
        yield f"Other programs used {100 * statistics.mean(loads):.0f} % of the processors meanwhile."
    yards = [record.yardstick_seconds for record in rounds if record.yardstick_seconds]
    if yards and max(yards) > (1 + YARDSTICK_SPREAD) * min(yards):
        change = max(yards) / min(yards) - 1
        yield f"The machine itself was up to {100 * change:.0f} % slower in some rounds."
    slow = [name for name in environment.governors if name != "performance"]
    if slow:
        yield f"The processor's frequency governor is {', '.join(slow)}, which changes its speed."
    if environment.on_battery:
        yield "The machine ran on battery."
