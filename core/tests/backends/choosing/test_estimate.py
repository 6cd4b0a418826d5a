"""Estimates: what was measured here comes first, and a prediction says that it is one."""

from __future__ import annotations

import random
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelplug.backends.estimate import bytes_per_token, estimate_plan, measured, predicted
from modelplug.backends.types import LoadPlan
from modelplug.formats.model_info import LayerSizes


def test_nothing_measured_is_no_estimate() -> None:
    """No runs, or runs that say nothing, give None and not a zero."""
    assert measured([]) is None
    assert measured([0.0, float("nan"), float("inf"), -1.0]) is None


def test_one_run_gives_a_wide_interval_that_says_so() -> None:
    """A single run is 10 % either way, and the detail tells that it is one."""
    estimate = measured([50.0])

    assert estimate is not None
    assert estimate.tokens_per_second == 50.0
    assert (estimate.low, estimate.high) == pytest.approx((45.0, 55.0))
    assert estimate.basis == "measured"
    assert estimate.detail.startswith("median of 1 run ")


def test_many_runs_give_an_interval_of_the_median_that_outliers_do_not_move() -> None:
    """One run disturbed by something else changes neither the median nor, much, the interval."""
    calm = measured([50.0, 51.0, 49.0, 50.5, 49.5, 50.2, 49.8, 50.1, 49.9, 50.3])
    disturbed = measured([50.0, 51.0, 49.0, 50.5, 49.5, 50.2, 49.8, 50.1, 49.9, 1.0])

    assert calm is not None
    assert disturbed is not None
    assert disturbed.tokens_per_second == pytest.approx(calm.tokens_per_second, rel=0.01)
    assert disturbed.low > 48
    assert "10 runs" in calm.detail


def test_the_interval_of_the_median_covers_it_as_often_as_it_says() -> None:
    """In 2000 experiments of 12 runs the true median is inside about 95 % of the time or more."""
    source = random.Random(7)
    inside = 0
    for _ in range(2000):
        estimate = measured([source.lognormvariate(0, 0.3) for _ in range(12)])
        assert estimate is not None
        inside += estimate.low <= 1.0 <= estimate.high
    assert 0.94 <= inside / 2000 < 1.0


@given(st.lists(st.floats(min_value=0.01, max_value=1e5), min_size=1, max_size=60))
def test_the_median_lies_in_its_interval_whatever_the_order(samples: list[float]) -> None:
    """Low, middle and high are in order, and the order of the runs does not matter."""
    estimate = measured(samples)

    assert estimate is not None
    assert estimate.low <= estimate.tokens_per_second <= estimate.high
    assert measured(sorted(samples, reverse=True)) == estimate


def test_a_dense_model_reads_all_layers_and_the_head_for_each_token(kit: Any) -> None:
    """The token embedding is a lookup of one row, unless it doubles as the output head."""
    model = kit.model()
    expected, most = bytes_per_token(model, kit.report())
    assert expected == most == 32 * 120 * kit.MIB + 100 * kit.MIB

    tied = attrs.evolve(model, weights=attrs.evolve(model.weights, output=0, tied_embedding=True))
    assert bytes_per_token(tied, kit.report())[0] == expected


def test_a_mixture_reads_its_active_experts_between_known_bounds(kit: Any) -> None:
    """With 2 of 8 experts about a third of the layers is read, and never more than all of it."""
    dense = kit.model()
    mixture = attrs.evolve(dense, experts=8, metadata={"llama.expert_used_count": 2})
    expected, most = bytes_per_token(mixture, kit.report())

    assert most == bytes_per_token(dense, kit.report())[1]
    layers = 32 * 120 * kit.MIB
    assert expected == pytest.approx(layers * (0.1 + 0.9 * 2 / 8) + 100 * kit.MIB)

    unknown = attrs.evolve(dense, experts=8)
    assert bytes_per_token(unknown, kit.report()) == (most, most)


def test_an_engine_that_unpacks_reads_the_unpacked_weights(kit: Any) -> None:
    """Two bytes per parameter instead of half a byte are read in proportion."""
    model = kit.model()
    stored, _ = bytes_per_token(model, kit.report())
    unpacked, _ = bytes_per_token(model, kit.report(dequantises=2.0))

    assert unpacked == pytest.approx(stored * 14e9 / model.weights.total)


def test_a_prediction_stays_below_the_bound_of_memory(kit: Any) -> None:
    """4.1 GB per token at 20 GB/s bound the speed at 4.8 tokens/s, and the detail has both figures."""
    model = kit.model()
    reads = bytes_per_token(model, kit.report())[0]
    estimate = predicted(model, kit.report(), bandwidth=20e9, context_bytes=0)

    assert estimate is not None
    assert estimate.basis == "predicted"
    assert estimate.low < estimate.tokens_per_second < estimate.high <= 20e9 / reads
    assert estimate.detail.startswith("predicted, never measured: ")
    assert "20 GB/s" in estimate.detail


def test_a_long_context_slows_a_prediction(kit: Any) -> None:
    """Keys and values are read for each token as well."""
    short = predicted(kit.model(), kit.report(), bandwidth=20e9, context_bytes=0)
    long = predicted(kit.model(), kit.report(), bandwidth=20e9, context_bytes=4 * kit.GIB)

    assert short is not None
    assert long is not None
    assert long.tokens_per_second < short.tokens_per_second


def test_a_tiny_model_is_bounded_by_its_fixed_cost(kit: Any) -> None:
    """A model of a megabyte does not make a million tokens a second, whatever the bandwidth says."""
    tiny = kit.model(layers=4, layer_bytes=200_000, weights=LayerSizes(layers=(200_000,) * 4, output=100_000))
    estimate = predicted(tiny, kit.report(), bandwidth=50e9, context_bytes=500_000)

    assert estimate is not None
    assert 1_000 < estimate.tokens_per_second < 10_000
    assert estimate.high < 50_000


def test_a_model_of_unknown_size_has_no_prediction(kit: Any) -> None:
    """Nothing is guessed from nothing."""
    unknown = kit.model(weights=LayerSizes(), size=0)

    assert predicted(unknown, kit.report(), bandwidth=20e9, context_bytes=0) is None


def plan_estimate(kit: Any, plan: LoadPlan, bandwidth: float | None, speeds: Any = None) -> Any:
    """The estimate of a plan for the usual model."""
    history = kit.runtime(speeds=speeds).history
    return estimate_plan(kit.model(), kit.report(), plan, history, bandwidth=bandwidth, context_bytes=0)


def test_a_measurement_of_the_same_placement_beats_a_prediction(kit: Any) -> None:
    """Runs of this model with this engine in the same place are used; those elsewhere are not."""
    speeds = {("engine", "cpu", 0): [10.0, 11.0, 12.0], ("engine", "cuda:0", 20): [90.0]}

    on_cpu = plan_estimate(kit, LoadPlan(backend="engine"), 20e9, speeds)
    assert on_cpu.basis == "measured"
    assert on_cpu.tokens_per_second == pytest.approx(11.0)

    other = plan_estimate(kit, LoadPlan(backend="engine", device="cuda:0", gpu_layers=10), 20e9, speeds)
    assert other is None


def test_all_layers_are_recognised_however_the_engine_counted_them(kit: Any) -> None:
    """A run on 33 of 32 + 1 layers, on 32, or on "all" is a run with all of them."""
    plan = LoadPlan(backend="engine", device="cuda:0", gpu_layers=-1)
    for count in (-1, 32, 33):
        estimate = plan_estimate(kit, plan, None, {("engine", "cuda:0", count): [90.0]})
        assert estimate.tokens_per_second == pytest.approx(90.0)
    assert plan_estimate(kit, plan, None, {("engine", "cuda:0", 31): [90.0]}) is None


def test_without_a_basis_there_is_no_estimate(kit: Any) -> None:
    """Neither on a GPU whose bandwidth nobody measured, nor on a CPU whose bandwidth nobody measured."""
    assert plan_estimate(kit, LoadPlan(backend="engine", device="cuda:0", gpu_layers=-1), 20e9) is None
    assert plan_estimate(kit, LoadPlan(backend="engine"), None) is None
    assert plan_estimate(kit, LoadPlan(backend="engine"), 20e9).basis == "predicted"
