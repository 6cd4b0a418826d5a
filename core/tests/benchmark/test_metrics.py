"""From requests and rounds to figures, and the verdict on their stability."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from modelplug.benchmark.metrics import draw_metrics, round_medians
from modelplug.benchmark.workload import Benchmark

PROMPT = Benchmark(name="prompt-32", prompt_tokens=32)
GENERATE = Benchmark(name="generate-32", prompt_tokens=16, generate_tokens=32)


def drawn(reports: Any, requests: list[Any], rounds: list[Any] | None = None, **rest: Any) -> dict[str, Any]:
    """The figures by name."""
    environment = attrs.evolve(reports.environment, **rest)
    found = draw_metrics((PROMPT, GENERATE), requests, rounds or [reports.round()], environment)
    return {metric.name: metric for metric in found}


def test_speeds_are_tokens_by_the_engines_seconds(reports: Any) -> None:
    """Prompt tokens by the prompt's time, and the tokens after the first one by the time after the prompt."""
    requests = [
        reports.request("prompt-32", prompt_tokens=32, prompt_seconds=0.5, first_token_seconds=0.6),
        reports.request("generate-32", completion_tokens=32, generate_seconds=2.0),
    ]
    figures = drawn(reports, requests)

    assert figures["prompt-32"].values == (64.0,)
    assert figures["generate-32"].values == (15.5,)
    assert figures["first-token-32"].values == (0.6,)
    assert "clock beside the engine" in figures["prompt-32"].how


def test_cached_tokens_do_not_count(reports: Any) -> None:
    """What the engine had in its cache was not processed; a large part of it is said."""
    requests = [reports.request("prompt-32", cached_tokens=8, prompt_seconds=0.5)]
    figure = drawn(reports, requests)["prompt-32"]

    assert figure.values == (48.0,)
    assert "Up to 8 tokens of a prompt were in the engine's cache, and were not counted." in figure.reasons


def test_an_engine_without_a_clock_is_measured_from_outside(reports: Any) -> None:
    """Where the engine can't tell the phases apart, the caller's times count, and the figure says so."""
    requests = [
        reports.request("prompt-32", prompt_seconds=None, first_token_seconds=0.5),
        reports.request(
            "generate-32",
            completion_tokens=32,
            generate_seconds=None,
            first_token_seconds=0.5,
            total_seconds=2.05,
        ),
    ]
    figures = drawn(reports, requests)

    assert figures["prompt-32"].values == (64.0,)
    assert figures["generate-32"].values == (pytest.approx(20.0),)
    assert "as the caller sees it" in figures["generate-32"].how


def test_warm_ups_and_cancelled_requests_count_nowhere(reports: Any) -> None:
    """Only requests that measured something make a figure."""
    requests = [
        reports.request("prompt-32", warm_up=True),
        reports.request("prompt-32", finish_reason="cancelled"),
    ]

    assert "prompt-32" not in drawn(reports, requests)


def test_an_answer_that_ends_early_is_said(reports: Any) -> None:
    """A model that ends by itself gives a speed of what it generated, with a remark."""
    requests = [reports.request("generate-32", completion_tokens=20, finish_reason="stop")]
    figure = drawn(reports, requests)["generate-32"]

    assert figure.values == (76.0,)
    assert "The model ended by itself after 20 tokens." in figure.reasons


def test_the_first_load_does_not_count(reports: Any) -> None:
    """It may have read the file from the disk; it counts only where there is no other."""
    rounds = [reports.round(number, load_seconds=5.0 if number == 0 else 1.0) for number in range(3)]

    assert drawn(reports, [], rounds)["load"].values == (1.0, 1.0)
    alone = drawn(reports, [], rounds[:1])["load"]
    assert alone.values == (5.0,)
    assert "may have read the file from the disk" in " ".join(alone.reasons)


def test_devices_and_energy_make_figures_where_they_were_read(reports: Any) -> None:
    """Device memory, utilisation and energy are figures only if something was read."""
    rounds = [reports.round(peak_device_bytes=4096, gpu_utilization=87.5)]
    requests = [reports.request("generate-32", completion_tokens=32, joules=16.0)]
    figures = drawn(reports, requests, rounds)

    assert figures["device-memory"].median == 4096
    assert (figures["gpu-utilization"].median, figures["gpu-utilization"].better) == (87.5, "neither")
    assert figures["energy"].values == (0.5,)
    assert {"device-memory", "gpu-utilization", "energy"}.isdisjoint(drawn(reports, requests[:0]))


def test_rounds_are_what_counts() -> None:
    """Samples of one round become their median, in the order of the rounds."""
    assert round_medians([5.0, 1.0, 2.0, 9.0], [1, 0, 0, 1]) == [1.5, 7.0]


# Stability ------------------------------------------------------------------------------------------------


def judged(reports: Any, loads: list[float], *, rounds: Any = None, **rest: Any) -> Any:
    """The load figure of rounds that took so long, after a first one that does not count."""
    made = [
        reports.round(number, load_seconds=seconds, **(rounds or {})) for number, seconds in enumerate(loads)
    ]
    return drawn(reports, [], [reports.round(load_seconds=9.0), *made], **rest)["load"]


def test_samples_that_agree_are_stable(reports: Any, steady: Any) -> None:
    """Ten rounds within a percent are stable, whatever the machine is said to be."""
    figure = judged(reports, steady(1.0), governors=("powersave",), on_battery=True)

    assert (figure.stable, figure.reasons) == (True, ())
    assert figure.confidence >= 0.95


def test_few_rounds_are_not_stable(reports: Any) -> None:
    """With fewer than six rounds there is no 95 % interval."""
    figure = judged(reports, [1.0, 1.0, 1.0])

    assert not figure.stable
    assert figure.reasons == ("There are only 3 rounds; a 95 % interval takes 6.",)


def test_a_wide_interval_names_possible_causes(reports: Any) -> None:
    """What is known of the machine is told where the samples disagree."""
    spread = [1.0, 2.0, 1.1, 1.9, 1.2, 1.8, 1.3, 1.7]
    figure = judged(reports, spread, rounds={"other_load": 0.4}, governors=("powersave",), on_battery=True)
    reasons = " ".join(figure.reasons)

    assert "The interval is" in reasons
    assert "Other programs used 40 % of the processors meanwhile." in reasons
    assert "governor is powersave" in reasons
    assert "ran on battery" in reasons


def test_a_drift_is_noticed(reports: Any) -> None:
    """A figure that rises from round to round is not stable, and says by how much."""
    figure = judged(reports, [1.0 + 0.01 * number for number in range(12)])

    assert any(reason.startswith("It drifted by +8 %") for reason in figure.reasons)


def test_outliers_are_counted(reports: Any, steady: Any) -> None:
    """A round far beyond the others makes a figure unstable even if the interval does not show it."""
    figure = judged(reports, [*steady(1.0), 3.0])

    assert figure.reasons == ("1 of 11 rounds is an outlier.",)


def test_a_machine_that_changes_its_speed_is_noticed(reports: Any) -> None:
    """A piece of work that never changes shows that the machine was slower in some rounds."""
    rounds = [
        reports.round(number, load_seconds=1.0 + number % 2, yardstick_seconds=0.001 * (1 + number % 2))
        for number in range(9)
    ]
    figure = drawn(reports, [], rounds)["load"]

    assert "The machine itself was up to 100 % slower in some rounds." in figure.reasons


def test_nothing_at_all_is_not_unstable(reports: Any) -> None:
    """A device that is idle in every round is idle for certain."""
    rounds = [reports.round(number, gpu_utilization=0.0) for number in range(8)]

    assert drawn(reports, [], rounds)["gpu-utilization"].stable
