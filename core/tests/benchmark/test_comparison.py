"""Comparing two benchmarks: verdicts, intervals, the guide's fields, and what can't be compared."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import attrs
import pytest

from modelplug import PerformanceComparer
from modelplug.benchmark.comparer import compare, read_baseline
from modelplug.benchmark.comparison import compare_reports
from modelplug.benchmark.records import ModelFacts
from modelplug.benchmark.serialize import write_report
from modelplug.errors import ModelplugError

# The figures of a standard benchmark on a CPU.
NAMES = (
    "load", "prompt-32", "prompt-128", "prompt-512", "first-token-128", "generate-32", "generate-128",
    "memory",
)  # fmt: skip
ROUNDS, REPETITIONS = 10, 3


# Proof by simulation --------------------------------------------------------------------------------------


def simulated(
    reports: Any, chance: random.Random, factor: float, changed: str = "", noise: Any = None
) -> Any:
    """A benchmark of all figures with 5 % noise, one of them changed by a factor."""
    noise = noise or (lambda: 1 + chance.gauss(0, 0.05))
    samples = {}
    for name in NAMES:
        scale = factor if name == changed else 1.0
        count = 1 if name in ("load", "memory") else REPETITIONS
        samples[name] = [[100 * scale * noise() for _ in range(count)] for _ in range(ROUNDS)]
    return reports.report(reports.candidate(samples))


def verdicts(base: Any, new: Any) -> dict[str, str]:
    """The verdict on every figure."""
    _, (candidate,) = compare_reports(base, new)
    return {metric.name: metric.verdict for metric in candidate.metrics}


def test_without_a_change_few_comparisons_find_one(reports: Any) -> None:
    """Of 2,000 pairs of benchmarks without any difference, at most 5 % find one in any of their figures."""
    chance = random.Random(2026)
    alarms = 0
    for _ in range(2000):
        found = verdicts(simulated(reports, chance, 1.0), simulated(reports, chance, 1.0))
        alarms += any(verdict != "no evidence" for verdict in found.values())

    assert alarms <= 100


@pytest.mark.parametrize(
    ("name", "factor"), [("generate-128", 1.1), ("generate-32", 0.9), ("prompt-512", 1.1)]
)
def test_a_change_of_a_tenth_is_found(reports: Any, name: str, factor: float) -> None:
    """A true change of 10 % in one figure, with 5 % noise, is found in at least 90 % of pairs."""
    chance = random.Random(11)
    expected = "improved" if factor > 1 else "regressed"
    found = [
        verdicts(simulated(reports, chance, 1.0), simulated(reports, chance, factor, name))[name]
        for _ in range(300)
    ]

    assert found.count(expected) >= 270
    assert set(found) <= {expected, "no evidence"}


def test_skewed_and_shared_noise_raises_no_false_alarms(reports: Any) -> None:
    """Rounds that share a disturbance, and outliers, do not make differences out of nothing."""
    chance = random.Random(5)

    def disturbed() -> Any:
        samples = {}
        for name in NAMES:
            rounds = []
            for _ in range(ROUNDS):
                shared = chance.lognormvariate(0, 0.1) * (3.0 if chance.random() < 0.1 else 1.0)
                rounds.append([100 * shared * chance.lognormvariate(0, 0.02) for _ in range(REPETITIONS)])
            samples[name] = rounds
        return reports.report(reports.candidate(samples))

    alarms = sum(
        any(verdict != "no evidence" for verdict in verdicts(disturbed(), disturbed()).values())
        for _ in range(400)
    )

    assert alarms <= 28


# Verdicts and fields --------------------------------------------------------------------------------------


def test_each_figure_is_judged_by_what_is_good_for_it(reports: Any, steady: Any) -> None:
    """More speed and less time or memory are improvements, and a change of utilisation is no merit."""
    base = {"load": 2.0, "generate-128": 50.0, "memory": 1000.0, "gpu-utilization": 40.0}
    new = {"load": 1.0, "generate-128": 60.0, "memory": 1500.0, "gpu-utilization": 80.0}
    comparison = compare(*_pair(reports, steady, base, new))
    (candidate,) = comparison.candidates

    assert {m.name: m.verdict for m in candidate.metrics} == {
        "load": "improved",
        "generate-128": "improved",
        "memory": "regressed",
        "gpu-utilization": "changed",
    }
    load = candidate.metric("load")
    assert load is not None
    assert load.change == pytest.approx(-50, abs=0.5)
    assert load.low <= load.change <= load.high < 0
    assert (load.effect, load.confidence >= 0.95) == (-1.0, True)
    assert load.p <= load.corrected < 0.05


def _pair(reports: Any, steady: Any, base: dict[str, float], new: dict[str, float]) -> tuple[Any, Any]:
    made = [
        reports.report(reports.candidate({name: steady(value) for name, value in figures.items()}))
        for figures in (base, new)
    ]
    return made[0], made[1]


def test_the_guides_fields_say_what_happened(reports: Any, steady: Any) -> None:
    """The fields are changes in percent; the overall one is the geometric mean of what got better."""
    base = {"load": 2.0, "generate-32": 10.0, "generate-128": 50.0, "memory": 1000.0, "gpu-utilization": 40.0}
    new = {"load": 1.0, "generate-32": 10.0, "generate-128": 60.0, "memory": 1250.0, "gpu-utilization": 80.0}
    comparison = compare(*_pair(reports, steady, base, new))

    assert comparison.loading_time_change == pytest.approx(-50, abs=0.5)
    assert comparison.inference_speed_change == pytest.approx(20, abs=0.5)
    assert comparison.memory_usage_change == pytest.approx(25, abs=0.5)
    assert comparison.gpu_utilization_change == pytest.approx(100, abs=0.5)
    expected = 100 * ((2.0 * 1.2 / 1.25) ** (1 / 3) - 1)
    assert comparison.overall_improvement == pytest.approx(expected, abs=0.5)


def test_what_is_missing_is_unknown_and_not_zero(reports: Any, steady: Any) -> None:
    """A figure that one side lacks has no change, and says why; the overall figure does without it."""
    base = reports.report(reports.candidate({"load": steady(1.0), "generate-128": steady(10.0)}))
    new = reports.report(
        reports.candidate({"generate-128": steady(12.0), "memory": steady(5.0)}, skipped={"load": "no time"})
    )
    comparison = compare(base, new)
    (candidate,) = comparison.candidates

    assert math.isnan(comparison.loading_time_change)
    assert math.isnan(comparison.memory_usage_change)
    assert math.isnan(comparison.gpu_utilization_change)
    assert comparison.overall_improvement == pytest.approx(20, abs=0.5)
    assert {m.name: m.reason for m in candidate.metrics if m.reason} == {
        "load": "it was not measured now: no time",
        "memory": "it was not measured for the baseline",
    }
    plain = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert plain["loading_time_change"] is None
    assert plain["candidates"][0]["metrics"][0]["change"] is None


def test_a_baseline_of_zero_has_no_percentage(reports: Any) -> None:
    """From 0, no percentage is invented; that it changed is still said."""
    base = reports.report(reports.candidate({"gpu-utilization": [0.0] * 10, "load": [1.0] * 10}))
    new = reports.report(reports.candidate({"gpu-utilization": [50.0] * 10, "load": [1.0] * 10}))
    (candidate,) = compare(base, new).candidates
    metric = candidate.metric("gpu-utilization")
    assert metric is not None

    assert math.isnan(metric.change)
    assert (metric.verdict, metric.effect) == ("changed", 1.0)
    assert "the baseline is 0" in metric.reason
    assert math.isnan(compare(base, new).gpu_utilization_change)


def test_falling_to_zero_is_minus_a_hundred_percent(reports: Any) -> None:
    """To 0 there is a percentage, but no interval of ratios."""
    base = reports.report(reports.candidate({"gpu-utilization": [50.0] * 10}))
    new = reports.report(reports.candidate({"gpu-utilization": [0.0] * 10}))
    metric = compare(base, new).candidates[0].metric("gpu-utilization")
    assert metric is not None

    assert metric.change == -100
    assert math.isnan(metric.low)


def test_too_few_rounds_are_no_evidence(reports: Any) -> None:
    """Two rounds on either side can't show anything, however far apart they are."""
    base = reports.report(reports.candidate({"generate-128": [10.0, 11.0]}))
    new = reports.report(reports.candidate({"generate-128": [100.0, 110.0]}))
    metric = compare(base, new).candidates[0].metric("generate-128")
    assert metric is not None

    assert metric.verdict == "no evidence"
    assert metric.reason == "too few rounds to tell anything: 2 for the baseline, 2 now"
    assert metric.confidence < 0.95


def test_the_same_file_twice_shows_no_change(reports: Any, steady: Any) -> None:
    """A benchmark compared with itself changed by 0 % everywhere."""
    report = reports.report(reports.candidate({name: steady(10.0) for name in NAMES}))
    comparison = compare(report, report)

    assert all(m.change == 0 and m.verdict == "no evidence" for m in comparison.candidates[0].metrics)
    assert comparison.overall_improvement == 0
    assert comparison.differences == ()


def test_regressions_are_counted_from_a_limit_on(reports: Any, steady: Any) -> None:
    """Only figures that regressed by at least the limit are named; a faster load is none of them."""
    base = {"load": 1.0, "generate-128": 100.0, "memory": 1000.0}
    new = {"load": 0.5, "generate-128": 90.0, "memory": 1030.0}
    comparison = compare(*_pair(reports, steady, base, new))

    assert {m.name for _, m in comparison.regressions()} == {"generate-128", "memory"}
    assert {m.name for _, m in comparison.regressions(5.0)} == {"generate-128"}
    assert comparison.regressions(50.0) == ()


# Which belong together ------------------------------------------------------------------------------------


def test_candidates_are_matched_by_model_and_backend(reports: Any, steady: Any) -> None:
    """Order does not matter, and what has no counterpart is named."""
    one = reports.candidate({"load": steady(1.0)}, label="a on x", backend="x")
    two = reports.candidate({"load": steady(2.0)}, label="a on y", backend="y")
    three = reports.candidate(
        {"load": steady(3.0)},
        label="b on x",
        backend="x",
        model=ModelFacts(name="b", path="b", fingerprint="b"),
    )
    differences, compared = compare_reports(reports.report(one, two, three), reports.report(two, one))

    assert [(c.label, c.base_label) for c in compared] == [("a on y", "a on y"), ("a on x", "a on x")]
    assert differences == ("b on x is in the baseline only.",)


def test_another_model_and_engine_are_compared_with_the_difference_said(reports: Any, steady: Any) -> None:
    """A single candidate on each side is compared even if model, backend or settings changed."""
    old = reports.candidate({"load": steady(1.0)})
    new = attrs.evolve(
        old,
        backend="other",
        engine_version="2.0",
        effective={"device": "cpu", "threads": 4},
        model=ModelFacts(name="other", path="/o", fingerprint="0" * 16),
    )
    (candidate,) = compare(reports.report(old), reports.report(new)).candidates

    assert len(candidate.differences) == 4
    assert "threads was 2 and is now 4." in candidate.differences
    assert "The backend was engine and is now other." in candidate.differences


def test_nothing_in_common_is_an_error(reports: Any, steady: Any) -> None:
    """Two models against two others can't be compared."""

    def made(names: str) -> Any:
        return reports.report(
            *(
                reports.candidate(
                    {"load": steady(1.0)}, label=n, model=ModelFacts(name=n, path=n, fingerprint=n)
                )
                for n in names
            )
        )

    with pytest.raises(ModelplugError, match="nothing to compare") as caught:
        compare(made("ab"), made("cd"))
    assert "a, b" in caught.value.why


def test_another_machine_is_said_first(reports: Any, steady: Any) -> None:
    """A baseline from another machine is compared, and the first sentence says so."""
    base = reports.report(reports.candidate({"load": steady(1.0)}))
    environment = attrs.evolve(
        base.environment, machine="b" * 16, cpu="Another processor", python="3.12.1", governors=("powersave",)
    )
    comparison = compare(base, attrs.evolve(base, environment=environment))

    assert comparison.differences[0].startswith(
        "The baseline comes from another machine: A processor, 4 usable"
    )
    assert "Another processor" in comparison.differences[0]
    assert "Python was 3.11.7 and is now 3.12.1." in comparison.differences
    assert len(comparison.candidates) == 1


def test_a_machine_that_was_slower_itself_is_said(reports: Any, steady: Any) -> None:
    """Where the same piece of work took longer, a sentence warns that the figures may show the machine."""

    def made(seconds: float) -> Any:
        rounds = tuple(
            reports.round(number, yardstick_seconds=value) for number, value in enumerate(steady(seconds))
        )
        return reports.report(reports.candidate({"load": steady(1.0)}, rounds=rounds))

    slower = compare(made(0.001), made(0.0012)).differences
    same = compare(made(0.001), made(0.00101)).differences

    assert len(slower) == 1
    assert "The machine itself was 20 % slower" in slower[0]
    assert same == ()


def test_other_programs_are_said(reports: Any, steady: Any) -> None:
    """Where other programs were busy during one of the measurements, both shares are named."""

    def made(share: float) -> Any:
        rounds = tuple(reports.round(number, other_load=share) for number in range(10))
        return reports.report(reports.candidate({"load": steady(1.0)}, rounds=rounds))

    assert compare(made(0.02), made(0.04)).differences == ()
    assert compare(made(0.02), made(0.5)).differences == (
        "Other programs used 2 % of the processors while the baseline was measured, and 50 % now.",
    )


# Baselines in files ---------------------------------------------------------------------------------------


def test_a_baseline_is_read_from_a_file(reports: Any, steady: Any, tmp_path: Any, monkeypatch: Any) -> None:
    """`compare_with_baseline` takes two files, and expands `~`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    write_report(reports.report(reports.candidate({"load": steady(2.0)})), tmp_path / "old.json")
    write_report(reports.report(reports.candidate({"load": steady(1.0)})), tmp_path / "new.json")
    comparison = PerformanceComparer().compare_with_baseline("~/old.json", "~/new.json")

    assert comparison.loading_time_change == pytest.approx(-50, abs=0.5)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[1, 2]", "is no benchmark result"),
        ("{", "can't be read as JSON"),
        ('{"hello": "world"}', "is no benchmark result"),
        ('{"schema": "modelplug-benchmark", "version": 99}', "layout that this version can't read"),
        ('{"schema": "modelplug-benchmark", "version": 1, "seconds": 1}', "damaged benchmark result"),
        ("[" * 100_000, "can't be read as JSON"),
    ],
)
def test_what_is_no_baseline_is_refused(tmp_path: Any, content: str, says: str) -> None:
    """Each way in which a file is no baseline has its sentence and its advice."""
    path = tmp_path / "baseline.json"
    path.write_text(content)

    with pytest.raises(ModelplugError, match=says) as caught:
        read_baseline(path)
    assert caught.value.advice


def test_a_missing_baseline_says_how_to_make_one(tmp_path: Any) -> None:
    """A file that is not there is an error with the command that writes one."""
    with pytest.raises(ModelplugError, match="there is no file") as caught:
        PerformanceComparer().compare_with_baseline(tmp_path / "none.json")
    assert "modelplug bench" in caught.value.advice


def test_another_programs_figures_are_taken_for_what_they_are(
    reports: Any, steady: Any, tmp_path: Any
) -> None:
    """Plain figures are compared, without a verdict, and the machine they come from is said to be unknown."""
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps({"load_time": 2.0, "tokens_per_second": 25.0, "memory_usage": 100}))
    figures = {"load": steady(1.0), "generate-128": steady(50.0), "memory": steady(200e6)}
    comparison = compare(read_baseline(path), reports.report(reports.candidate(figures)))
    (candidate,) = comparison.candidates

    assert comparison.differences[0] == "The baseline does not say on which machine it was measured."
    assert comparison.loading_time_change == pytest.approx(-50, abs=0.5)
    assert comparison.inference_speed_change == pytest.approx(100, abs=0.5)
    assert comparison.memory_usage_change == pytest.approx(100, abs=0.5)
    assert {metric.verdict for metric in candidate.metrics} == {"no evidence"}


def test_words_are_not_compared_with_tokens(reports: Any, steady: Any, tmp_path: Any) -> None:
    """GGUF Loader's own benchmark counts words: its speed is shown, and not compared."""
    path = tmp_path / "baseline.json"
    metrics = {"overall_tokens_per_sec": 7.5, "overall_response_time": 3.0, "success_rate": 1.0}
    path.write_text(json.dumps({"backend": "ctransformers", "average_metrics": metrics}))
    new = reports.report(reports.candidate({"generate-128": steady(50.0)}))
    comparison = compare(read_baseline(path), new)
    metric = comparison.candidates[0].metric("generate-128")
    assert metric is not None

    assert (metric.base, metric.new) == (7.5, pytest.approx(50.0, rel=0.01))
    assert metric.reason == "the baseline is in words/s, and the new figure in tokens/s"
    assert math.isnan(comparison.inference_speed_change)
    assert math.isnan(comparison.overall_improvement)
