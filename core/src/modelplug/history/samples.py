"""What a few measurements of the same thing say together."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Samples", "summarise"]


@attrs.frozen(kw_only=True)
class Samples:
    """Measurements of the same thing.

    Attributes:
        count: How many there are.
        median: Their median.
        low: Lower end of its interval.
        high: Upper end.
    """

    count: int
    median: float
    low: float
    high: float

    def clearly_above(self, other: Samples) -> bool:
        """Whether it is higher than another, whatever the chance in either."""
        return self.low > other.high


def summarise(samples: Iterable[float]) -> Samples | None:
    """The median with an interval; None without any measurement.

    From six measurements on, it is a 95 % confidence interval of the median by order statistics. With fewer
    there is no such interval: it then spans the measurements, and 10 % on either side.

    Args:
        samples: The measurements; what is not positive and finite is left out.
    """
    values = sorted(value for value in samples if math.isfinite(value) and value > 0)
    if not values:
        return None
    low, high = _median_interval(values)
    return Samples(count=len(values), median=statistics.median(values), low=low, high=high)


def _median_interval(values: list[float]) -> tuple[float, float]:
    count = len(values)
    if count < 6:
        return 0.9 * values[0], 1.1 * values[-1]
    # The median lies between the k-th lowest and the k-th highest value unless fewer than k of `count` fair
    # coins show heads, or fewer than k show tails.
    tail, below = 0.0, 0
    for k in range(count // 2):
        tail += math.comb(count, k) * 0.5**count
        if 2 * tail > 0.05:
            break
        below = k
    return values[below], values[count - 1 - below]
