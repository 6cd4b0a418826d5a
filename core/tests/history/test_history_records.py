"""What the history keeps beside runs: models by content, failures, benchmarks; and odd names."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import attrs
import pytest

from modelplug.formats import inspect
from modelplug.history import FailureRecord, HistoryStore, RunRecord
from modelplug.history.evidence import BENCHMARKS, FAILURES, RUNS
from modelplug.history.models import MODELS, SEEN
from modelplug.paths import Paths

RESULT: dict[str, Any] = {
    "schema": "modelplug-benchmark",
    "version": 1,
    "created": "2026-05-01T10:00:00+00:00",
    "environment": {"cpu": "Fast CPU", "usable_cores": 4},
    "candidates": [
        {
            "label": "engine",
            "model": {"name": "tiny", "fingerprint": "f", "path": "/m.gguf"},
            "backend": "engine",
            "engine_version": "1.0",
            "effective": {"device": "cuda:0", "gpu_layers": 9, "context_size": 2048, "threads": 4},
            "status": "measured",
            "rounds": [
                {"load_seconds": 1.0, "peak_bytes": 100, "peak_device_bytes": 50, "gpu_utilization": 80.0},
                {"load_seconds": 3.0, "peak_bytes": 200, "peak_device_bytes": 60, "gpu_utilization": 90.0},
                {"load_seconds": 2.0, "peak_bytes": 150, "peak_device_bytes": None, "gpu_utilization": None},
            ],
            "metrics": [
                {"name": "prompt-32", "unit": "tokens/s", "median": 100.0, "stable": True},
                {"name": "prompt-512", "unit": "tokens/s", "median": 900.0, "stable": True},
                {"name": "generate-32", "unit": "tokens/s", "median": 50.0, "stable": True},
                {"name": "generate-128", "unit": "tokens/s", "median": 45.0, "stable": False},
                {"name": "first-token-32", "unit": "s", "median": 0.25, "stable": True},
                {"name": "first-token-512", "unit": "s", "median": 0.75, "stable": True},
            ],
        },
        {
            "model": {"name": "tiny", "fingerprint": "f"},
            "backend": "broken",
            "status": "failed",
            "error": {"what": "broken was killed by SIGSEGV"},
        },
    ],
}


# Benchmarks -----------------------------------------------------------------------------------------------


def test_a_benchmark_comes_back_whole_and_as_figures(store: HistoryStore) -> None:
    """The document is as it was given, and every engine of it has a row to search by."""
    number = store.record_benchmark(RESULT)
    assert number is not None
    assert store.benchmark_document(number) == RESULT
    failed, good = store.benchmarks()

    assert (good.document, good.model, good.fingerprint) == (number, "tiny", "f")
    assert (good.device, good.gpu_layers, good.context_size, good.threads) == ("cuda:0", 9, 2048, 4)
    assert (good.prompt_speed, good.generate_speed, good.first_token_seconds) == (900.0, 45.0, 0.25)
    assert (good.load_seconds, good.resident_bytes, good.device_bytes) == (2.0, 200, 60)
    assert (good.gpu_utilization, good.stable, good.success) == (85.0, False, True)
    assert (good.machine, good.time) == ("Fast CPU | 4 cores", "2026-05-01T10:00:00+00:00")
    assert (failed.success, failed.error, failed.stable) == (False, "broken was killed by SIGSEGV", None)


def test_benchmarks_are_filtered(store: HistoryStore) -> None:
    """By model, engine, time and number."""
    store.record_benchmark(RESULT)
    store.record_benchmark({**RESULT, "created": "2026-06-01T10:00:00+00:00"})

    assert len(store.benchmarks()) == 4
    assert [one.time[:7] for one in store.benchmarks(backend="engine")] == ["2026-06", "2026-05"]
    assert len(store.benchmarks(since="2026-05-15")) == 2
    assert len(store.benchmarks(fingerprint="other")) == 0
    assert len(store.benchmarks(limit=1)) == 1


def test_a_result_of_another_kind_is_kept_as_it_is(store: HistoryStore) -> None:
    """What today's rows can't be made from is still there as a document."""
    number = store.record_benchmark({"candidates": [3, {"metrics": "none"}], "environment": None})

    assert number is not None
    assert store.benchmark_document(number) is not None
    assert store.benchmark_document(number + 1) is None


@pytest.mark.parametrize("value", [float("nan"), object(), b"bytes"])
def test_what_is_no_json_is_refused(store: HistoryStore, value: object) -> None:
    """A document that could not be read back is not kept."""
    with pytest.raises(ValueError):
        store.record_benchmark({"value": value})
    assert store.benchmarks() == []


# Models by content ----------------------------------------------------------------------------------------


def test_a_model_that_was_seen_is_known_by_its_content(
    store: HistoryStore, tmp_path: Path, gguf: Any
) -> None:
    """Path, size, shape and what its header says are kept, and the first time it was seen."""
    path = gguf(tmp_path / "a.gguf", name="the model")
    info = inspect(path)
    store.saw(info)
    first = store.seen()[info.fingerprint]
    store.saw(info)
    again = store.seen()[info.fingerprint]

    assert (again.path, again.format, again.architecture, again.size) == (path, "gguf", "llama", info.size)
    assert again.metadata["header"]["general.name"] == "the model"
    assert again.metadata["weights"]["token_embedding"] == 128
    assert again.first_seen == first.first_seen
    assert len(store.seen()) == 1


def test_running_a_moved_model_gives_its_name_the_new_path(
    store: HistoryStore, tmp_path: Path, gguf: Any
) -> None:
    """The name that leads nowhere any more is the moved model's; one that leads somewhere stays."""
    path = gguf(tmp_path / "a.gguf", name="x")
    store.add_model("mine", path, inspect(path))
    other = gguf(tmp_path / "copy.gguf", name="x")
    assert store.saw(inspect(other)) == []
    path.unlink()
    ((model, before),) = store.saw(inspect(other))

    assert (model.name, model.path, before) == ("mine", other, path)
    assert store.find_model("mine") == model


def test_forgetting_a_models_history_forgets_all_of_it(store: HistoryStore) -> None:
    """Runs, failures and benchmarks of the model are gone, those of others stay."""
    store.record_benchmark(RESULT)
    store.record_benchmark({"candidates": [{"backend": "b", "model": {"fingerprint": "other"}}]})
    store.record_runs(
        [RunRecord(fingerprint=one, backend="b") for one in ("f", "other")],
        [FailureRecord(fingerprint=one, backend="b") for one in ("f", "other")],
    )

    assert store.forget_evidence("f") == 4
    left = [one.fingerprint for one in store.runs()]
    left += [one.fingerprint for one in store.failures()]
    left += [one.fingerprint for one in store.benchmarks()]
    assert left == ["other"] * 3
    assert store.benchmark_document(1) is None
    assert store.benchmark_document(2) is not None


def test_what_lies_before_a_moment_can_be_forgotten(store: HistoryStore) -> None:
    """Of every model, or of one."""
    for day in (1, 2, 3):
        store.record_run(RunRecord(fingerprint="f", backend="b", time=f"2026-05-0{day}T00:00:00.000+00:00"))

    assert store.forget_evidence(before="2026-05-03") == 2
    assert [run.time[:10] for run in store.runs()] == ["2026-05-03"]


# Names that are no text -----------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="file names are text there")
def test_paths_that_are_no_text_survive(store: HistoryStore, tmp_path: Path, gguf: Any) -> None:
    """A file name may hold any bytes."""
    path = gguf(Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xff.gguf")))
    store.add_model("odd", path, inspect(path))
    store.saw(inspect(path))

    assert store.find_model("odd").path == path  # type: ignore[union-attr]
    assert [model.path for model in store.seen().values()] == [path]


def test_errors_that_are_no_text_survive(store: HistoryStore) -> None:
    """What an engine said in bytes is kept readable."""
    assert store.record_failure(FailureRecord(fingerprint="f", backend="b", error="can't open m\udcff"))
    assert store.failures()[0].error == "can't open m\\udcff"


# The typed layer ------------------------------------------------------------------------------------------


def test_every_table_has_a_column_for_every_attribute(store: HistoryStore, paths: Paths) -> None:
    """Record classes and layout agree, column by column."""
    store.runs()
    connection = sqlite3.connect(paths.history_file)
    for table in (RUNS, FAILURES, BENCHMARKS, MODELS, SEEN):
        columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table.name})")}
        assert columns == {field.name for field in attrs.fields(table.kind)}
    connection.close()


def test_records_come_back_as_they_went_in(store: HistoryStore) -> None:
    """Every attribute of a run and of a failure, whole numbers, fractions, texts and truth."""
    run = RunRecord(
        fingerprint="f",
        backend="b",
        finish_reason="stop",
        batch_size=512,
        cached_tokens=3,
        total_seconds=1.5,
        weight_bytes=1e9,
        weight_count=2e9,
        cache_bytes=1024.5,
        layers=32,
        session="s",
        purpose="benchmark",
        machine="m",
        estimated_speed=12.5,
    )
    failure = FailureRecord(fingerprint="f", backend="b", phase="load", cause="crash", gpu_layers=-1)
    assert store.record_runs([run], [failure])

    assert store.runs() == [run]
    assert store.failures() == [failure]
    assert store.failures()[0].after_run == store.runs()[0].id == 1
