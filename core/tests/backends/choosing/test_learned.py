"""Estimates that learn: what an engine takes here is fitted to the models it has run."""

from __future__ import annotations

import math
import random
import statistics
from typing import Any

import attrs
import pytest

from modelplug.backends.estimate import EXPECTED_SHARE, FIXED_COST, LAYER_COST, WEIGHT_COST, estimate_plan
from modelplug.backends.learned import Work, WorkSample, learn, samples_of
from modelplug.backends.types import LoadPlan
from modelplug.formats.model_info import LayerSizes
from modelplug.history import HistoryStore, RunRecord

BANDWIDTH = 20e9
BYTE = 1 / (EXPECTED_SHARE * BANDWIDTH)
EXPECTED = Work(bytes=BYTE, weights=BYTE * WEIGHT_COST, layers=LAYER_COST)
BYTES_PER_WEIGHT = {"f16": 2.0, "q8_0": 34 / 32, "q6_k": 210 / 256, "q4_0": 18 / 32}


def a_work(source: random.Random, kind: str) -> Work:
    """What some model takes, from tiny to a few hundred million weights."""
    layers = source.choice([2, 4, 6, 8, 12, 16, 24])
    width = source.choice([128, 256, 384, 512, 768, 1024])
    weights = layers * 12 * width * width + width * 8000
    size = BYTES_PER_WEIGHT[kind] * weights
    return Work(bytes=size, weights=float(weights), layers=float(layers))


def native(work: Work, kind: str) -> float:
    """An engine of native code: bound by memory or by arithmetic, and faster in the processor's cache."""
    memory = work.bytes / (12e9 if work.bytes > 32e6 else 30e9)
    arithmetic = {"f16": 1.2e-10, "q8_0": 0.8e-10, "q6_k": 1.6e-10, "q4_0": 1.1e-10}[kind] * work.weights
    return max(memory, arithmetic) + 0.2 * min(memory, arithmetic) + 4e-6 * work.layers + 60e-6


def from_python(work: Work, kind: str) -> float:
    """An engine that unpacks everything and goes through the layers one by one from Python."""
    return work.weights * 4 / 8e9 + 1.2e-3 * work.layers + 2e-3


@pytest.mark.parametrize(("engine", "most"), [(native, 0.2), (from_python, 0.1)])
def test_after_ten_models_the_median_error_is_below_a_fifth(engine: Any, most: float) -> None:
    """Ten models of mixed sizes and formats, measured with 5 % of noise, predict the eleventh."""
    errors, inside = [], 0
    for seed in range(60):
        source = random.Random(seed)
        samples = []
        for number in range(11):
            kind = source.choice(list(BYTES_PER_WEIGHT))
            work = a_work(source, kind)
            seconds = engine(work, kind) * math.exp(source.gauss(0, 0.05))
            samples.append(WorkSample(fingerprint=str(number), work=work, seconds=seconds))
        last = samples.pop()
        found = learn(last.work, samples, EXPECTED, FIXED_COST)
        assert found is not None
        errors.append(abs(found.seconds / last.seconds - 1))
        inside += abs(math.log(found.seconds / last.seconds)) <= 2 * found.spread

    assert statistics.median(errors) < most
    assert inside >= 50


def test_the_first_models_already_help() -> None:
    """With an engine of its own kind, five models predict better than the hardware alone."""
    learned_errors, expected_errors = [], []
    for seed in range(40):
        source = random.Random(seed)
        works = [a_work(source, "q4_0") for _ in range(6)]
        samples = [
            WorkSample(fingerprint=str(n), work=work, seconds=from_python(work, "q4_0"))
            for n, work in enumerate(works)
        ]
        last = samples.pop()
        found = learn(last.work, samples, EXPECTED, FIXED_COST)
        assert found is not None
        guess = sum(
            cost * amount
            for cost, amount in (
                (EXPECTED.bytes, last.work.bytes),
                (EXPECTED.weights, last.work.weights),
                (EXPECTED.layers, last.work.layers),
                (FIXED_COST, 1.0),
            )
        )
        learned_errors.append(abs(math.log(found.seconds / last.seconds)))
        expected_errors.append(abs(math.log(guess / last.seconds)))

    assert statistics.median(learned_errors) < 0.2 * statistics.median(expected_errors)


def test_costs_that_are_known_exactly_are_found() -> None:
    """Models of one format without noise give the costs back: another size is predicted to 2 %."""
    sizes = [(2, 128), (4, 256), (8, 384), (12, 512), (16, 768), (24, 1024), (6, 256), (10, 640)]
    works = [
        Work(bytes=2.0 * layers * width * 12 * width, weights=layers * 12.0 * width * width, layers=layers)
        for layers, width in sizes
    ]
    samples = [
        WorkSample(fingerprint=str(n), work=w, seconds=w.bytes / 9e9 + 2e-4 * w.layers + 5e-4)
        for n, w in enumerate(works)
    ]
    wanted = Work(bytes=2.0 * 14 * 600 * 12 * 600, weights=14 * 12.0 * 600 * 600, layers=14)
    found = learn(wanted, samples, EXPECTED, FIXED_COST)

    assert found is not None
    assert found.seconds == pytest.approx(wanted.bytes / 9e9 + 2e-4 * 14 + 5e-4, rel=0.02)
    assert (found.models, found.runs) == (8, 8)


def test_too_few_models_teach_nothing() -> None:
    """One is not enough; without knowledge of the hardware, two are not either."""
    sample = WorkSample(fingerprint="a", work=Work(bytes=1e8, weights=1e8, layers=8), seconds=0.01)
    other = attrs.evolve(sample, fingerprint="b", work=Work(bytes=2e8, weights=2e8, layers=8), seconds=0.02)
    third = attrs.evolve(sample, fingerprint="c", work=Work(bytes=4e8, weights=4e8, layers=8), seconds=0.04)
    wanted = Work(bytes=3e8, weights=3e8, layers=8)

    assert learn(wanted, [], EXPECTED, FIXED_COST) is None
    assert learn(wanted, [sample], EXPECTED, FIXED_COST) is None
    assert learn(wanted, [sample, other], EXPECTED, FIXED_COST) is not None
    assert learn(wanted, [sample, other], None, FIXED_COST) is None
    found = learn(wanted, [sample, other, third], None, FIXED_COST)
    assert found is not None
    assert found.seconds == pytest.approx(0.03, rel=0.1)


def test_small_models_alone_do_not_make_a_large_one_absurd() -> None:
    """Where nothing measured was too large for a cache, the bytes beyond it cost what the others do."""
    samples = [
        WorkSample(fingerprint=str(n), work=Work(bytes=n * 1e6, weights=n * 1e6, layers=0), seconds=n * 1e-4)
        for n in range(1, 6)
    ]
    found = learn(Work(bytes=1e8, weights=1e8, layers=0), samples, None, FIXED_COST)

    assert found is not None
    assert 1e-3 < found.seconds < 1e-1


def test_many_models_are_asked_as_quickly_as_few(in_time: Any) -> None:
    """A history of a thousand models does not make choosing an engine slow."""
    source = random.Random(5)
    works = [a_work(source, "q4_0") for _ in range(1000)]
    samples = [
        WorkSample(fingerprint=str(n), work=work, seconds=native(work, "q4_0"))
        for n, work in enumerate(works)
    ]

    assert in_time(2.0, lambda: learn(works[0], samples, EXPECTED, FIXED_COST)) is not None


def test_a_model_unlike_any_other_has_a_wider_interval() -> None:
    """What is ten times as large as everything measured is known less well."""
    samples = [
        WorkSample(fingerprint=str(n), work=Work(bytes=n * 1e8, weights=n * 1e8, layers=8), seconds=n * 0.01)
        for n in range(1, 8)
    ]
    near = learn(Work(bytes=5e8, weights=5e8, layers=8), samples, EXPECTED, FIXED_COST)
    far = learn(Work(bytes=7e9, weights=7e9, layers=8), samples, EXPECTED, FIXED_COST)

    assert near is not None
    assert far is not None
    assert far.spread > 1.5 * near.spread


# From the history -----------------------------------------------------------------------------------------


def a_run(fingerprint: str, size: float, speed: float, **rest: Any) -> RunRecord:
    """A run of a model of so many bytes."""
    values = {
        "fingerprint": fingerprint,
        "backend": "engine",
        "threads": 2,
        "prompt_tokens": 50,
        "completion_tokens": 100,
        "generate_seconds": 100 / speed,
        "weight_bytes": size,
        "weight_count": size,
        "cache_bytes": 1000.0,
        "layers": 16,
        "machine": "here",
        **rest,
    }
    return RunRecord(**values)


def test_samples_are_medians_of_what_counts() -> None:
    """One for each model: of this machine, with known work, and with as many threads as planned."""
    runs = [
        a_run("a", 1e8, 10.0),
        a_run("a", 1e8, 12.0),
        a_run("a", 1e8, 90.0),
        a_run("a", 1e8, 1.0, machine="elsewhere"),
        a_run("b", 2e8, 5.0, weight_bytes=None),
        a_run("c", 3e8, 5.0, threads=8),
    ]
    samples = {sample.fingerprint: sample for sample in samples_of(runs, machine="here", threads=2)}

    assert set(samples) == {"a", "c"}
    assert samples["a"].seconds == pytest.approx(1 / 12)
    assert samples["a"].runs == 3
    assert samples["a"].depth == 100
    assert samples["a"].work.bytes == 1e8 + 100 * 1000


def test_models_with_other_threads_are_left_out_where_there_are_enough(kit: Any) -> None:
    """Three models with the planned number of threads need no others."""
    runs = [a_run(name, 1e8, 10.0) for name in "abc"] + [a_run("d", 1e8, 99.0, threads=8)]

    assert {sample.fingerprint for sample in samples_of(runs, machine="here", threads=2)} == set("abc")


@pytest.fixture
def history(tmp_path: Any) -> HistoryStore:
    """A history in which an engine has run five models at 10 GB/s."""
    store = HistoryStore(tmp_path / "history.sqlite3")
    store.record_runs([a_run(str(n), n * 1e9, 10 / n) for n in range(1, 6) for _ in range(3)])
    return store


def test_other_models_make_an_estimate(kit: Any, history: HistoryStore) -> None:
    """It says that it was learned, from how many models and runs, and what error to expect."""
    estimate = estimate_plan(
        kit.model(parameters=kit.model().weights.total),
        kit.report(),
        LoadPlan(backend="engine", threads=2),
        history,
        bandwidth=BANDWIDTH,
        context_bytes=0,
        machine="here",
    )

    assert estimate is not None
    assert estimate.basis == "learned"
    assert estimate.tokens_per_second == pytest.approx(10e9 / (32 * 120 + 100) / kit.MIB, rel=0.1)
    assert estimate.low < estimate.tokens_per_second < estimate.high
    assert "15 runs of 5 other models" in estimate.detail
    assert "its error should be about" in estimate.detail


@pytest.mark.parametrize(
    "changes", [{"backend": "another"}, {"gpu_layers": 7, "device": "cuda:0"}, {"device": "cuda:0"}]
)
def test_other_engines_and_places_are_no_teachers(
    kit: Any, history: HistoryStore, changes: dict[str, Any]
) -> None:
    """What was learned holds for this engine in this place only."""
    plan = LoadPlan(**{"backend": "engine", "threads": 2, **changes})
    estimate = estimate_plan(
        kit.model(), kit.report(), plan, history, bandwidth=None, context_bytes=0, machine="here"
    )

    assert estimate is None


def test_runs_of_the_model_itself_come_first(kit: Any, history: HistoryStore) -> None:
    """Those with as many threads as planned alone, if there are any."""
    own = kit.model().fingerprint
    history.record_runs([a_run(own, 4e9, 3.0), a_run(own, 4e9, 7.0, threads=8)])

    def speed(threads: int) -> Any:
        plan = LoadPlan(backend="engine", threads=threads)
        found = estimate_plan(
            kit.model(), kit.report(), plan, history, bandwidth=None, context_bytes=0, machine="here"
        )
        assert found is not None
        assert found.basis == "measured"
        return round(found.tokens_per_second, 6), "with these settings" in found.detail

    assert speed(2) == (3.0, True)
    assert speed(8) == (7.0, True)
    assert speed(4) == (5.0, False)


def test_a_graphics_card_is_learned_without_knowing_its_memory(kit: Any, tmp_path: Any) -> None:
    """Models that lie on it whole teach how fast the next one will be."""
    store = HistoryStore(tmp_path / "gpu.sqlite3")
    place = {"device": "cuda:0", "gpu_layers": 17}
    store.record_runs([a_run(str(n), n * 1e9, 500 / n, **place) for n in range(1, 6)])
    store.record_runs([a_run("part", 1e9, 3.0, device="cuda:0", gpu_layers=4)])
    plan = LoadPlan(backend="engine", device="cuda:0", gpu_layers=-1, threads=2)
    estimate = estimate_plan(
        kit.model(), kit.report(), plan, store, bandwidth=BANDWIDTH, context_bytes=0, machine="here"
    )

    assert estimate is not None
    assert estimate.basis == "learned"
    assert estimate.tokens_per_second == pytest.approx(500e9 / (32 * 120 + 100) / kit.MIB, rel=0.25)


def test_a_model_of_unknown_size_learns_nothing(kit: Any, history: HistoryStore) -> None:
    """Nothing is guessed from nothing."""
    unknown = kit.model(weights=LayerSizes(), size=0)
    plan = LoadPlan(backend="engine", threads=2)

    assert (
        estimate_plan(unknown, kit.report(), plan, history, bandwidth=None, context_bytes=0, machine="here")
        is None
    )
