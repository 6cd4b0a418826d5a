"""One round: warming up, repeating, workloads that do not fit, and answers that end early."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from modelplug.benchmark import session
from modelplug.benchmark.candidates import BenchmarkCandidate
from modelplug.benchmark.collecting import Collected, Instruments
from modelplug.benchmark.energy import EnergyMeter
from modelplug.benchmark.session import _repetitions, _Round
from modelplug.benchmark.workload import Benchmark
from modelplug.errors import BackendError
from modelplug.runtime import Runtime
from modelplug.system import Host

PROMPT = Benchmark(name="prompt-32", prompt_tokens=32)
GENERATE = Benchmark(name="generate-16", prompt_tokens=16, generate_tokens=16)


@pytest.fixture
def round_of(tmp_path: Path) -> Callable[..., Any]:
    """Measures one round of a model that is loaded already; gives what was collected."""

    def measure(
        model: Any, *workloads: Benchmark, collected: Collected | None = None, number: int = 0
    ) -> Collected:
        candidate = BenchmarkCandidate(label="a", name="a", info=model.info, backend="scripted")
        collected = collected or Collected(candidate=candidate)
        instruments = Instruments(
            runtime=Runtime(),
            accelerators=None,
            energy=EnergyMeter(Host(root=tmp_path)),
            began=time.perf_counter(),
            deadline=None,
            longest_request=0.5,
            on_step=lambda _step: None,
        )
        _Round(collected, number, model, instruments).measure(workloads)
        return collected

    return measure


def test_prompts_of_exact_size_are_measured_after_warming_up(
    round_of: Callable[..., Any], modelplug_scripted: Callable[..., Any]
) -> None:
    """The first requests warm up and are marked; the others have the size that the workload states."""
    collected = round_of(modelplug_scripted("x" * 100), PROMPT)
    counted = [request for request in collected.requests if not request.warm_up]

    assert collected.requests[0].warm_up
    assert 3 <= len(counted) <= 10
    assert {request.prompt_tokens for request in collected.requests} == {32}
    assert {request.completion_tokens for request in collected.requests} == {1}
    assert [request.at for request in collected.requests] == sorted(r.at for r in collected.requests)


def test_workloads_take_turns(round_of: Callable[..., Any], modelplug_scripted: Callable[..., Any]) -> None:
    """After warming up, the workloads are measured in turn and not one after the other."""
    collected = round_of(modelplug_scripted("x" * 100), PROMPT, GENERATE)
    names = [request.workload for request in collected.requests if not request.warm_up]

    assert names[:4] == ["prompt-32", "generate-16", "prompt-32", "generate-16"]


def test_a_prompt_is_looked_for_that_is_answered_at_length(
    round_of: Callable[..., Any], modelplug_scripted: Callable[..., Any]
) -> None:
    """A prompt whose answer ends early is replaced by another one, which all rounds then use."""
    answers = iter(["short", "also", *["x" * 50] * 100])
    model = modelplug_scripted(lambda _prompt: next(answers))
    collected = round_of(model, GENERATE)
    counted = [request for request in collected.requests if not request.warm_up]
    again = round_of(model, GENERATE, collected=collected, number=1)
    prompts = {request.prompt for request in model.received[3:]}

    assert [r.completion_tokens for r in collected.requests[:3]] == [5, 4, 16]
    assert {request.completion_tokens for request in counted} == {16}
    assert {request.round for request in again.requests} == {0, 1}
    assert len(prompts) == 1


def test_a_model_that_always_ends_early_keeps_its_longest_answer(
    round_of: Callable[..., Any], modelplug_scripted: Callable[..., Any]
) -> None:
    """After some tries the prompt with the longest answer is taken as it is."""
    lengths = iter([3, 9, 5, 2, 4, *[9] * 100])
    collected = round_of(modelplug_scripted(lambda _prompt: "x" * next(lengths)), GENERATE)

    assert {r.completion_tokens for r in collected.requests if not r.warm_up} == {9}


def test_a_workload_larger_than_the_context_is_left_out(
    round_of: Callable[..., Any], modelplug_scripted: Callable[..., Any]
) -> None:
    """It is not tried, and the reason gives both numbers; the others are measured."""
    collected = round_of(modelplug_scripted("x" * 100, context_size=32), PROMPT, GENERATE)

    assert collected.skipped == {"prompt-32": "it needs 33 tokens of context, and there are 32"}
    assert {request.workload for request in collected.requests} == {"generate-16"}


def test_a_request_without_end_is_given_up(
    round_of: Callable[..., Any], modelplug_scripted: Callable[..., Any]
) -> None:
    """A request that takes longer than allowed is cancelled, and its workload is left out from then on."""
    slow = Benchmark(name="slow", prompt_tokens=4, generate_tokens=1000)
    collected = round_of(modelplug_scripted("x" * 2000, delay=0.05), slow, PROMPT)

    assert collected.skipped == {"slow": "a request took longer than 0.5 s and was given up"}
    assert [r.finish_reason for r in collected.requests if r.workload == "slow"] == ["cancelled"]
    assert any(request.workload == "prompt-32" for request in collected.requests)


def test_a_long_request_counts_at_once(
    round_of: Callable[..., Any], modelplug_scripted: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes long needs no warming up: the first request is measured, and none is wasted."""
    monkeypatch.setattr(session, "LONG_SECONDS", 0.05)
    collected = round_of(modelplug_scripted("x" * 100, delay=0.02), GENERATE)

    assert [request.warm_up for request in collected.requests] == [False]


def test_an_engine_without_statistics_is_an_error(
    round_of: Callable[..., Any], modelplug_scripted: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that breaks the contract is told so, instead of counting nothing."""
    model = modelplug_scripted("x" * 100)
    plain = model.generate
    monkeypatch.setattr(
        model, "generate", lambda *a, **k: (attrs.evolve(chunk, stats=None) for chunk in plain(*a, **k))
    )

    with pytest.raises(BackendError, match="without statistics"):
        round_of(model, PROMPT)


def test_short_requests_are_repeated_more_often() -> None:
    """Between one and ten repetitions: more of what takes milliseconds, one of what takes seconds."""
    assert [_repetitions(seconds) for seconds in (0.001, 0.05, 0.5, 2.0, 60.0)] == [10, 5, 3, 2, 1]
