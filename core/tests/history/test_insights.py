"""Suggestions: each rule on runs that call for it, and on runs that do not."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from modelplug.history import FailureRecord, HistoryStore, RunRecord, SeenModel
from modelplug.history.insights import Insights, find_insights
from modelplug.history.insights.evidence import numbers
from modelplug.history.models import keep_seen


def run(speed: float = 10.0, **rest: Any) -> RunRecord:
    """A run at some speed; everything else as usual."""
    values = {
        "fingerprint": "f",
        "backend": "engine",
        "threads": 2,
        "context_size": 2048,
        "prompt_tokens": 20,
        "completion_tokens": 100,
        "generate_seconds": 100 / speed,
        "total_seconds": 100 / speed,
        "finish_reason": "stop",
        **rest,
    }
    return RunRecord(**values)


def failure(**rest: Any) -> FailureRecord:
    """A crash while loading."""
    values = {"fingerprint": "f", "backend": "engine", "cause": "crash", "error": "it crashed", **rest}
    return FailureRecord(**values)


def saw(store: HistoryStore, seen: SeenModel) -> None:
    """Let a store have seen a model that has no file."""

    def keep(connection: sqlite3.Connection) -> None:
        keep_seen(connection, seen)

    store.do(keep, otherwise=None)


@pytest.fixture
def known(store: HistoryStore) -> HistoryStore:
    """A store that has seen a GGUF model, which it calls `mine`."""
    store.add_model("mine", Path("/m.gguf"))
    seen = SeenModel(fingerprint="f", path=Path("/m.gguf"), format="gguf", metadata={"context_length": 8192})
    saw(store, seen)
    store.do(lambda c: c.execute("UPDATE models SET fingerprint = 'f'"), otherwise=None)
    return store


def kinds(store: HistoryStore) -> list[str]:
    """What the suggestions are about."""
    return [one.kind for one in find_insights(store).suggestions]


def only(store: HistoryStore) -> Any:
    """The one suggestion there is."""
    (suggestion,) = find_insights(store).suggestions
    return suggestion


def test_an_empty_history_suggests_nothing(store: HistoryStore) -> None:
    """Nothing is known, so nothing is said."""
    assert find_insights(store) == Insights(suggestions=(), runs=0, failures=0, since="")


def test_ordinary_runs_suggest_nothing(known: HistoryStore) -> None:
    """Runs that go well and are alike give no reason to change anything."""
    known.record_runs([run(10 + number / 10) for number in range(30)])

    assert kinds(known) == []


def test_a_faster_engine_is_suggested_with_its_runs(known: HistoryStore) -> None:
    """It must be clearly faster; the suggestion prints as a sentence with the numbers of the runs."""
    known.record_runs([run(20, backend="fast") for _ in range(3)])
    known.record_runs([run(10) for _ in range(5)])
    found = only(known)

    assert found.kind == "engine"
    assert found.changes == {"fallback_order_by_format.gguf": ["fast", "engine"]}
    assert sorted(found.runs) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert str(found).startswith("mine runs at 20 tokens/s on fast, and at 10 tokens/s on engine")
    assert str(found).endswith("(runs 1-8)")


@pytest.mark.parametrize("other", [[20, 20], [10.5, 9.5, 10], [20, 8, 9]])
def test_an_engine_that_may_be_no_faster_is_not_suggested(known: HistoryStore, other: list[float]) -> None:
    """Too few runs, about the same speed, or one that varies too much."""
    known.record_runs([run(speed, backend="fast") for speed in other])
    known.record_runs([run(10) for _ in range(5)])

    assert kinds(known) == []


def test_where_models_disagree_no_order_is_proposed(known: HistoryStore) -> None:
    """An engine that is better for one model and worse for another can't come first for the format."""
    other = SeenModel(fingerprint="g", path=Path("/g.gguf"), format="gguf")
    saw(known, other)
    for fingerprint, good, bad in (("f", "fast", "engine"), ("g", "engine", "fast")):
        known.record_runs([run(20, backend=good, fingerprint=fingerprint) for _ in range(3)])
        known.record_runs([run(10, backend=bad, fingerprint=fingerprint) for _ in range(10)])
    found = find_insights(known).suggestions

    assert [one.kind for one in found] == ["engine", "engine"]
    assert [one.changes for one in found] == [{}, {}]


def test_runs_on_another_machine_are_not_compared(known: HistoryStore) -> None:
    """A home that moved to a faster computer says nothing about engines."""
    known.record_runs([run(20, backend="fast", machine="new") for _ in range(3)])
    known.record_runs([run(10, machine="old") for _ in range(5)])

    assert kinds(known) == []


def test_a_better_number_of_threads_is_suggested(known: HistoryStore) -> None:
    """For the engine, from the runs with either number; a benchmark's runs count as measurements."""
    known.record_runs([run(18, threads=4, purpose="benchmark") for _ in range(3)])
    known.record_runs([run(10, threads=8) for _ in range(5)])
    found = only(known)

    assert found.kind == "threads"
    assert found.changes == {"backends.engine.threads": 4}
    assert len(found.runs) == 8


def test_what_has_become_slower_is_told_with_the_change_of_version(known: HistoryStore) -> None:
    """Six runs before and six after, clearly apart; the versions are named where they differ."""
    known.record_runs([run(20 + number / 100, engine_version="1") for number in range(8)])
    known.record_runs([run(10 + number / 100, engine_version="2") for number in range(6)])
    found = only(known)

    assert found.kind == "slower"
    assert "was 1 before, and is 2 now" in found.text
    assert set(range(9, 15)) <= set(found.runs)
    assert found.changes == {}


def test_a_little_slower_is_no_news(known: HistoryStore) -> None:
    """Less than a tenth is not worth a word."""
    known.record_runs([run(20 + number / 100) for number in range(8)])
    known.record_runs([run(19 + number / 100) for number in range(6)])

    assert kinds(known) == []


def test_a_context_that_is_far_too_large_is_told_with_what_it_costs(known: HistoryStore) -> None:
    """Several times what was ever needed, and memory worth saving."""
    known.record_runs([run(context_size=32768, cache_bytes=16384.0) for _ in range(12)])
    found = only(known)

    assert found.kind == "context"
    assert found.changes == {"backends.engine.context_size": 2048}
    assert "480 MiB" in found.advice


@pytest.mark.parametrize(
    "rest",
    [
        {"context_size": 32768, "cache_bytes": 16.0},
        {"context_size": 4096, "cache_bytes": 16384.0},
        {"context_size": 32768, "cache_bytes": 16384.0, "prompt_tokens": 9000},
        {"context_size": 32768, "cache_bytes": 16384.0, "purpose": "benchmark"},
    ],
)
def test_a_context_is_left_alone_where_nothing_is_won(known: HistoryStore, rest: dict[str, Any]) -> None:
    """Little memory, a context of a usual size, one that is needed, or runs that only measured."""
    known.record_runs([run(**rest) for _ in range(12)])

    assert kinds(known) == []


def test_a_context_that_was_full_is_suggested_larger(known: HistoryStore) -> None:
    """As far as the model was trained for."""
    full: dict[str, Any] = {"prompt_tokens": 1948, "completion_tokens": 100, "finish_reason": "length"}
    known.record_runs([run(**full), run(**full), run()])
    found = only(known)

    assert found.changes == {"backends.engine.context_size": 4096}
    assert sorted(found.runs) == [1, 2]
    known.record_runs([run(**{**full, "context_size": 8192, "prompt_tokens": 8092}) for _ in range(100)])
    assert kinds(known) == ["length"]


def test_answers_that_are_all_cut_at_the_same_length_are_told(known: HistoryStore) -> None:
    """A limit that most answers run into may be too low."""
    known.record_runs([run(completion_tokens=256, finish_reason="length") for _ in range(9)])
    known.record_runs([run() for _ in range(3)])
    found = only(known)

    assert found.changes == {"generation.max_tokens": 512}
    assert len(found.runs) == 9


def test_answers_of_different_lengths_are_no_sign(known: HistoryStore) -> None:
    """Who asks for a different length each time has chosen it."""
    known.record_runs([run(completion_tokens=100 + n, finish_reason="length") for n in range(12)])

    assert kinds(known) == []


def test_a_model_that_is_loaded_for_every_request_is_told(known: HistoryStore) -> None:
    """Where loading takes most of the time, and each load serves one request."""
    known.record_runs([run(100, session=f"s{n}", load_seconds=9.0) for n in range(6)])
    found = only(known)

    assert found.kind == "loading"
    assert "loaded 6 times" in found.text
    assert "90 %" in found.text


def test_a_model_that_serves_many_requests_is_not(known: HistoryStore) -> None:
    """One session with many requests is how it should be."""
    known.record_runs([run(100, session="s", load_seconds=9.0) for _ in range(20)])

    assert kinds(known) == []


def test_an_engine_that_keeps_failing_is_told_with_another_that_works(known: HistoryStore) -> None:
    """What never went well is proposed to be switched off; the failures are named."""
    known.record_runs([run(backend="other")], [failure() for _ in range(3)])
    found = only(known)

    assert found.kind == "failing"
    assert found.changes == {"backends.engine.enabled": False}
    assert "other can run the model" in found.advice
    assert found.failures == (3, 2, 1)
    assert str(found).endswith("(failures 1-3)")


def test_an_engine_that_fails_with_one_model_only_is_not_switched_off(known: HistoryStore) -> None:
    """Another engine is named for this model."""
    known.record_runs([run(fingerprint="g"), run(backend="other")], [failure() for _ in range(3)])

    assert only(known).changes == {}
    assert "--backend other" in only(known).advice


def test_too_little_memory_suggests_a_smaller_context(known: HistoryStore) -> None:
    """Half of what was tried."""
    known.record_runs([], [failure(cause="out-of-memory", context_size=8192) for _ in range(4)])

    assert only(known).changes == {"backends.engine.context_size": 4096}


def test_two_failures_are_no_pattern(known: HistoryStore) -> None:
    """Nor are some among many runs that went well."""
    known.record_runs([], [failure(), failure()])
    assert kinds(known) == []
    known.record_runs([run() for _ in range(9)], [failure() for _ in range(3)])
    assert kinds(known) == []


@pytest.mark.parametrize(("given", "shown"), [([], ""), ([3], "3"), ([3, 1, 2, 7, 7, 9, 10], "1-3, 7, 9-10")])
def test_numbers_are_joined(given: list[int], shown: str) -> None:
    """Neighbours become a span."""
    assert numbers(given) == shown
