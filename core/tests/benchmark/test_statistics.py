"""The statistics of measurements, against scipy and against what can be counted by hand."""

from __future__ import annotations

import itertools
import math
import random
import statistics as plain
import subprocess
import sys

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from modelplug.benchmark.statistics import (
    EXACT_VALUES,
    holm,
    mann_whitney,
    median_interval,
    ratio_interval,
    trend,
)

# Few different values, so that ties are common; many, so that they are rare.
TIED = st.integers(1, 5).map(float)
FINE = st.floats(0.01, 1e6, allow_nan=False)


def sets(values: st.SearchStrategy[float], most: int) -> st.SearchStrategy[list[float]]:
    """Lists of one to `most` values."""
    return st.lists(values, min_size=1, max_size=most)


# Mann and Whitney -----------------------------------------------------------------------------------------


@given(sets(FINE, 12), sets(FINE, 12))
def test_without_ties_the_test_is_scipys_exact_one(first: list[float], second: list[float]) -> None:
    """Statistic and probability agree with scipy's exact method where no two values are equal."""
    both = [*first, *second]
    if len(set(both)) < len(both):
        return
    ours = mann_whitney(first, second)
    theirs = scipy.stats.mannwhitneyu(second, first, method="exact")

    assert ours.u == theirs.statistic
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert ours.exact


@settings(max_examples=40)
@given(st.lists(TIED, min_size=2, max_size=5), st.lists(TIED, min_size=2, max_size=5))
def test_with_ties_the_test_counts_every_division(first: list[float], second: list[float]) -> None:
    """With ties, the probability is the share of all divisions into two sets that are as extreme."""
    ours = mann_whitney(first, second)
    both = [*first, *second]
    ranks = scipy.stats.rankdata(both)
    observed = sum(ranks[len(first) :])
    sums = [sum(chosen) for chosen in itertools.combinations(ranks, len(second))]
    lower = sum(value <= observed + 1e-9 for value in sums) / len(sums)
    upper = sum(value >= observed - 1e-9 for value in sums) / len(sums)

    assert ours.p == pytest.approx(min(1.0, 2 * min(lower, upper)), rel=1e-9)
    assert ours.u == scipy.stats.mannwhitneyu(second, first, method="asymptotic").statistic


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([3, 1000]))
def test_many_values_are_scipys_asymptotic_test(seed: int, kinds: int) -> None:
    """Beyond the exact sizes, ties and continuity are corrected as scipy does it."""
    chance = random.Random(seed)
    first = [float(chance.randrange(kinds)) for _ in range(EXACT_VALUES // 2)]
    second = [float(chance.randrange(kinds)) + chance.choice([0, 1]) for _ in range(EXACT_VALUES // 2 + 1)]
    ours = mann_whitney(first, second)
    theirs = scipy.stats.mannwhitneyu(second, first, method="asymptotic")

    assert not ours.exact
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)


def test_equal_values_say_nothing() -> None:
    """Two sets of one and the same value do not differ, whatever their size."""
    for size in (1, 5, EXACT_VALUES):
        result = mann_whitney([7.0] * size, [7.0] * size)
        assert (result.p, result.effect) == (1.0, 0.0)


def test_the_effect_goes_from_minus_one_to_one() -> None:
    """Cliff's delta is 1 where every value of the second set is larger, and -1 where every one is smaller."""
    low, high = [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]

    assert mann_whitney(low, high).effect == 1.0
    assert mann_whitney(high, low).effect == -1.0
    assert mann_whitney([1.0, 2.0], [1.0, 2.0]).effect == 0.0


# Intervals ------------------------------------------------------------------------------------------------


@given(sets(FINE, 30))
def test_the_interval_of_a_median_is_that_of_order_statistics(values: list[float]) -> None:
    """The interval ends at order statistics whose binomial coverage is at least 95 %, where it can be."""
    interval = median_interval(values)
    ordered = sorted(values)

    assert interval.middle == plain.median(values)
    assert interval.low <= interval.middle <= interval.high
    if len(set(values)) < len(values) or len(values) == 1:
        return
    below = ordered.index(interval.low)
    assert interval.high == ordered[-1 - below]
    assert interval.confidence == pytest.approx(1 - 2 * scipy.stats.binom.cdf(below, len(values), 0.5))
    if len(values) >= 6:
        narrower = 1 - 2 * scipy.stats.binom.cdf(below + 1, len(values), 0.5)
        assert narrower < 0.95 <= interval.confidence
    else:
        assert below == 0


@given(sets(FINE, 8), sets(FINE, 8))
def test_the_interval_of_a_ratio_leaves_out_one_where_the_test_rejects(
    base: list[float], new: list[float]
) -> None:
    """Interval and test say the same: 1 is outside exactly where the test finds a difference."""
    both = [*base, *new]
    ratios = [after / before for after in new for before in base]
    if len(set(both)) < len(both) or 1.0 in ratios:
        return
    interval = ratio_interval(base, new)
    outside = not interval.low <= 1 <= interval.high
    if interval.confidence >= 0.95:
        assert outside == (mann_whitney(base, new).p <= 1 - 0.95 + 1e-12)
    assert interval.low <= interval.middle <= interval.high


def test_the_interval_of_a_ratio_covers_the_true_factor() -> None:
    """Of 95 % intervals, at least about 95 % hold the true factor, for skewed values too."""
    chance = random.Random(20_260)
    covered = 0
    for _ in range(1000):
        base = [chance.lognormvariate(0, 0.3) for _ in range(8)]
        new = [1.2 * chance.lognormvariate(0, 0.3) for _ in range(9)]
        interval = ratio_interval(base, new)
        covered += interval.low <= 1.2 <= interval.high

    assert interval.confidence >= 0.95
    assert covered >= 940


def test_few_values_promise_less() -> None:
    """An interval from too few values says how little it is worth."""
    assert median_interval([3.0]).confidence == 0.0
    assert median_interval([3.0, 4.0]).confidence == 0.5
    assert ratio_interval([1.0], [2.0]).confidence == 0.0
    assert ratio_interval([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]).confidence == pytest.approx(0.9)


def test_large_sets_take_the_normal_approximation() -> None:
    """The interval of a ratio of many values is close to the one that is counted."""
    chance = random.Random(4)
    base = [chance.gauss(100, 5) for _ in range(32)]
    new = [chance.gauss(110, 5) for _ in range(33)]
    large = ratio_interval(base, new)
    counted = ratio_interval(base, new[:32])

    assert large.low == pytest.approx(counted.low, rel=0.01)
    assert large.high == pytest.approx(counted.high, rel=0.01)


# Several tests at once ------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_stepping_down_rejects(p_values: list[float]) -> None:
    """A corrected value is at most 5 % exactly where Holm's procedure, step by step, rejects."""
    corrected = holm(p_values)
    rejected = set()
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] * (len(p_values) - place) > 0.05:
            break
        rejected.add(index)

    assert {index for index, value in enumerate(corrected) if value <= 0.05} == rejected
    assert all(low <= high <= 1 for low, high in zip(p_values, corrected, strict=True))


def test_holm_of_nothing_is_nothing() -> None:
    """No probabilities give no corrected ones."""
    assert holm([]) == []


# Trends ---------------------------------------------------------------------------------------------------


@given(st.lists(FINE, min_size=2, max_size=12, unique=True))
def test_a_trend_is_scipys_exact_tau(values: list[float]) -> None:
    """Without ties, tau and its probability agree with scipy's exact method."""
    ours = trend(values)
    theirs = scipy.stats.kendalltau(range(len(values)), values, method="exact")

    assert ours.tau == pytest.approx(theirs.statistic, abs=1e-12)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)


@given(st.lists(TIED, min_size=3, max_size=30))
def test_a_trend_with_ties_is_scipys_asymptotic_tau(values: list[float]) -> None:
    """With ties, tau-b and its probability agree with scipy's asymptotic method."""
    if len(set(values)) in (1, len(values)):
        return
    ours = trend(values)
    theirs = scipy.stats.kendalltau(range(len(values)), values, method="asymptotic")

    assert ours.tau == pytest.approx(theirs.statistic, abs=1e-12)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)


def test_long_series_are_approximated() -> None:
    """A long rising series is a trend, and a constant one is none."""
    assert trend([float(value) for value in range(100)]).p < 1e-9
    assert trend([1.0] * 100).p == 1.0


# What can't be answered -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [[], [math.nan], [math.inf]])
def test_no_values_and_no_numbers_are_refused(bad: list[float]) -> None:
    """Nothing is made up for an empty set or for values that are no numbers."""
    with pytest.raises(ValueError):
        median_interval(bad)
    with pytest.raises(ValueError):
        mann_whitney([1.0], bad)
    with pytest.raises(ValueError):
        ratio_interval(bad, [1.0])
    with pytest.raises(ValueError):
        trend(bad)


def test_a_ratio_to_nothing_is_refused() -> None:
    """Values of 0 and below have no ratio."""
    with pytest.raises(ValueError, match="above 0"):
        ratio_interval([0.0, 1.0], [1.0])
    with pytest.raises(ValueError, match="above 0"):
        ratio_interval([1.0], [-1.0])


def test_nothing_numeric_is_imported() -> None:
    """The statistics need neither numpy nor scipy."""
    script = (
        "import sys, modelplug.benchmark.statistics as s; s.mann_whitney([1.0, 2.0], [3.0, 4.0]); "
        "print({'numpy', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
