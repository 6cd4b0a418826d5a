"""The statistics of measurements: medians with intervals, and whether two sets of values differ.

Nothing here assumes that values are normally distributed; times never are. What is exact for few values is
computed exactly, ties included, by counting: a polynomial in which the coefficient of x**s says in how many
ways a sum of ranks comes to s, held in one large integer. Only beyond `EXACT_VALUES` the normal approximation
takes over.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "EXACT_VALUES",
    "Interval",
    "RankTest",
    "Trend",
    "holm",
    "mann_whitney",
    "median_interval",
    "ratio_interval",
    "trend",
]

EXACT_VALUES = 64
"""Up to so many values in both sets together, a rank test is computed exactly."""

EXACT_TREND = 40
"""Up to so many values without ties, a trend test is computed exactly."""


@attrs.frozen(kw_only=True)
class Interval:
    """An estimate with a confidence interval.

    Attributes:
        middle: The estimate.
        low: The lower end.
        high: The upper end.
        confidence: How often such an interval holds the true value; less than was asked for where there are
            too few values for more.
    """

    middle: float
    low: float
    high: float
    confidence: float


@attrs.frozen(kw_only=True)
class RankTest:
    """What a Mann-Whitney U test says of two sets of values.

    Attributes:
        u: Pairs in which the second set's value is the larger one; ties count half.
        p: How probable a difference at least this large is if there is none, two-sided.
        effect: Cliff's delta: from -1, every value of the second set is smaller, to 1, every one is larger.
        exact: Whether `p` was counted; otherwise it comes from the normal approximation.
    """

    u: float
    p: float
    effect: float
    exact: bool


@attrs.frozen(kw_only=True)
class Trend:
    """Whether values rise or fall in the order in which they were measured.

    Attributes:
        tau: Kendall's tau-b: from -1, always falling, to 1, always rising.
        p: How probable a trend at least this clear is if there is none, two-sided.
    """

    tau: float
    p: float


def median_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The median with an interval by order statistics, which holds whatever the distribution.

    The median lies below the k-th smallest value, or above the k-th largest, only if fewer than k of so many
    fair coins show heads, or tails.

    Args:
        values: At least one.
        confidence: Between 0 and 1.

    Raises:
        ValueError: There are no values, or one is not finite.
    """
    ordered = sorted(_checked(values))
    count = len(ordered)
    if count == 1:
        return Interval(middle=ordered[0], low=ordered[0], high=ordered[0], confidence=0.0)
    tails, tail = [], 0.0
    for k in range(1, count // 2 + 1):
        tail += math.comb(count, k - 1) / 2**count
        tails.append(tail)
    within = [k for k, probability in enumerate(tails, 1) if 2 * probability <= 1 - confidence]
    k = within[-1] if within else 1
    return Interval(
        middle=statistics.median(ordered),
        low=ordered[k - 1],
        high=ordered[count - k],
        confidence=1 - 2 * tails[k - 1],
    )


def mann_whitney(first: Sequence[float], second: Sequence[float]) -> RankTest:
    """Whether the values of two sets differ in size, by their ranks.

    Args:
        first: At least one value.
        second: At least one value.

    Raises:
        ValueError: A set is empty, or a value is not finite.
    """
    ranks = _doubled_ranks([*_checked(first), *_checked(second)])
    n, m = len(first), len(second)
    doubled_sum = sum(ranks[n:])
    u = doubled_sum / 2 - m * (m + 1) / 2
    exact = n + m <= EXACT_VALUES
    p = _exact_p(tuple(sorted(ranks)), m, doubled_sum) if exact else _normal_p(ranks, n, m, u)
    return RankTest(u=u, p=p, effect=2 * u / (n * m) - 1, exact=exact)


def ratio_interval(base: Sequence[float], new: Sequence[float], confidence: float = 0.95) -> Interval:
    """By which factor the values have changed: the median of all ratios of a new to a base value.

    The interval holds the factors that a Mann-Whitney test would not reject (Hodges and Lehmann's, for the
    logarithms): it leaves out 1 where the test finds a difference at the same level.

    Args:
        base: At least one value, all above 0.
        new: At least one value, all above 0.
        confidence: Between 0 and 1.

    Raises:
        ValueError: A set is empty, or a value is not finite or not above 0.
    """
    if min(_checked(base)) <= 0 or min(_checked(new)) <= 0:
        raise ValueError("a ratio needs values above 0")
    ratios = sorted(after / before for after in new for before in base)
    n, m = len(base), len(new)
    k, covered = _rejected_pairs(n, m, confidence)
    return Interval(
        middle=statistics.median(ratios), low=ratios[k - 1], high=ratios[n * m - k], confidence=covered
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Each probability corrected for being one of several, after Holm, in the order given.

    If there is no difference anywhere, one of them falls below a level no more often than the level says.

    Args:
        p_values: From 0 to 1.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = largest
    return corrected


def trend(values: Sequence[float]) -> Trend:
    """Whether values drift in the order given, after Mann and Kendall.

    Args:
        values: At least two.

    Raises:
        ValueError: There are fewer, or one is not finite.
    """
    checked = _checked(values)
    count = len(checked)
    if count < 2:
        raise ValueError("a trend needs at least two values")
    score = sum(
        (later > earlier) - (later < earlier)
        for place, earlier in enumerate(checked)
        for later in checked[place + 1 :]
    )
    pairs = count * (count - 1) // 2
    ties = [size for size in Counter(checked).values() if size > 1]
    untied = pairs - sum(size * (size - 1) // 2 for size in ties)
    if untied == 0:
        return Trend(tau=0.0, p=1.0)
    if not ties and count <= EXACT_TREND:
        p = _exact_trend(count, (pairs - abs(score)) // 2)
    else:
        spread = count * (count - 1) * (2 * count + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)
        p = _two_sided(score / math.sqrt(spread / 18))
    return Trend(tau=score / math.sqrt(pairs * untied), p=p)


# Counting -----------------------------------------------------------------------------------------------


def _checked(values: Sequence[float]) -> list[float]:
    if not values:
        raise ValueError("there are no values")
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"every value must be finite: {list(values)}")
    return list(values)


def _doubled_ranks(values: list[float]) -> list[int]:
    """Twice the rank of each value, so that the shared ranks of ties are whole numbers."""
    rank_of: dict[float, int] = {}
    below = 0
    for value, size in sorted(Counter(values).items()):
        rank_of[value] = 2 * below + size + 1
        below += size
    return [rank_of[value] for value in values]


@lru_cache(maxsize=256)
def _sums(ranks: tuple[int, ...], size: int) -> tuple[int, ...]:
    """In how many ways `size` of these ranks have the sum 0, 1, 2 and so on."""
    # Each coefficient has room for the largest count there can be.
    bits = len(ranks) + 1
    ways = [1] + [0] * size
    for rank in ranks:
        for chosen in range(size, 0, -1):
            ways[chosen] += ways[chosen - 1] << (rank * bits)
    return tuple(_coefficients(ways[size], bits))


def _coefficients(packed: int, bits: int) -> Iterable[int]:
    mask = (1 << bits) - 1
    while packed:
        yield packed & mask
        packed >>= bits


def _exact_p(ranks: tuple[int, ...], size: int, observed: int) -> float:
    counts = _sums(ranks, size)
    lower, upper = sum(counts[: observed + 1]), sum(counts[observed:])
    return min(1.0, 2 * min(lower, upper) / math.comb(len(ranks), size))


def _normal_p(ranks: list[int], n: int, m: int, u: float) -> float:
    total = n + m
    ties = sum(size**3 - size for size in Counter(ranks).values())
    variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    # Half a step of U, because the normal distribution is continuous and U is not.
    return _two_sided(max(0.0, abs(u - n * m / 2) - 0.5) / math.sqrt(variance))


def _two_sided(z: float) -> float:
    return math.erfc(abs(z) / math.sqrt(2))


@lru_cache(maxsize=256)
def _rejected_pairs(n: int, m: int, confidence: float) -> tuple[int, float]:
    """Which of the ordered ratios ends the interval, counted from either side, and what that covers."""
    most = 1 - confidence
    if n + m > EXACT_VALUES:
        z = statistics.NormalDist().inv_cdf(1 - most / 2)
        return max(1, math.floor(n * m / 2 - z * math.sqrt(n * m * (n + m + 1) / 12))), confidence
    counts = _sums(tuple(range(2, 2 * (n + m) + 1, 2)), m)
    # Without ties every second doubled sum is possible, and the smallest means that U is 0.
    by_u = counts[m * (m + 1) :: 2]
    ways = math.comb(n + m, m)
    k, tail = 1, by_u[0]
    while k < n * m // 2 and 2 * (tail + by_u[k]) <= most * ways:
        tail += by_u[k]
        k += 1
    return k, 1 - 2 * tail / ways if 2 * tail < ways else 0.0


@lru_cache(maxsize=256)
def _exact_trend(count: int, inversions: int) -> float:
    """How probable it is that so few, or as many more than half, of the pairs are out of order."""
    ways = [1]
    for size in range(2, count + 1):
        longer = [0] * (len(ways) + size - 1)
        for place, number in enumerate(ways):
            for step in range(size):
                longer[place + step] += number
        ways = longer
    return min(1.0, 2 * sum(ways[: inversions + 1]) / math.factorial(count))
