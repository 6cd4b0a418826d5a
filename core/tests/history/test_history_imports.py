"""What migrations bring into the history: marked as such, kept apart, and taken away again."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelplug.errors import ModelplugError
from modelplug.history import HistoryStore, KnownModel, RunRecord


def run(**rest: object) -> RunRecord:
    """A run of 100 tokens in 10 seconds."""
    values: dict[str, object] = {"completion_tokens": 100, "generate_seconds": 10.0, **rest}
    return RunRecord(fingerprint="f", backend="engine", **values)  # type: ignore[arg-type]


def names(store: HistoryStore) -> dict[str, str]:
    """Every name and its path."""
    return {model.name: str(model.path) for model in store.models()}


def test_imported_runs_are_kept_apart_from_measured_ones(store: HistoryStore) -> None:
    """Figures of another program do not count as measured here, and can be asked for as what they are."""
    store.record_run(run())
    store.add_imported("m1", runs=[run(generate_seconds=1.0, details='{"counted": "words"}')])

    assert [run.tokens_per_second for run in store.measurements("engine", "cpu")] == [10.0]
    assert [entry.origin for entry in store.runs()] == [""]
    (imported,) = store.runs(imported=True)
    assert (imported.origin, imported.details) == ("m1", '{"counted": "words"}')


def test_importing_twice_changes_nothing(store: HistoryStore, tmp_path: Path) -> None:
    """A migration that was interrupted can be repeated."""
    models = [KnownModel(name="a", path=tmp_path / "a.gguf")]
    store.add_imported("m1", models=models, runs=[run()])
    store.add_imported("m1", models=models, runs=[run()])

    assert len(store.runs(imported=True)) == 1
    assert list(names(store)) == ["a"]


def test_a_run_that_another_migration_brought_is_not_kept_twice(store: HistoryStore) -> None:
    """Bringing the same installation over again finds nothing new."""
    same = run(details="{}")
    store.add_imported("m1", runs=[same])
    store.add_imported("m2", runs=[same, run(details='{"other": 1}')])

    assert sorted(entry.origin for entry in store.runs(imported=True)) == ["m1", "m2"]


def test_a_name_that_is_taken_gets_a_number(store: HistoryStore, tmp_path: Path) -> None:
    """What the user has named is never renamed or replaced, and reserved names are not given."""
    store.add_model("a", tmp_path / "mine.gguf")
    models = [KnownModel(name=name, path=tmp_path / f"{name}.gguf") for name in ("a", "demo", "b")]
    store.add_imported("m1", models=models)

    assert names(store) == {
        "a": str(tmp_path / "mine.gguf"),
        "a-2": str(tmp_path / "a.gguf"),
        "b": str(tmp_path / "b.gguf"),
        "demo-2": str(tmp_path / "demo.gguf"),
    }


def test_a_model_that_has_a_name_already_gets_no_second_one(store: HistoryStore, tmp_path: Path) -> None:
    """A path that is known is left alone."""
    store.add_model("mine", tmp_path / "a.gguf")
    store.add_imported("m1", models=[KnownModel(name="a", path=tmp_path / "a.gguf")])

    assert list(names(store)) == ["mine"]


def test_removing_takes_away_what_that_migration_brought_and_nothing_else(
    store: HistoryStore, tmp_path: Path
) -> None:
    """Names and runs of the user, and of other migrations, stay; so does a name the user has set anew."""
    store.add_model("mine", tmp_path / "mine.gguf")
    store.record_run(run())
    for origin in ("m1", "m2"):
        models = [KnownModel(name=f"{origin}-{n}", path=tmp_path / f"{origin}-{n}.gguf") for n in (1, 2)]
        store.add_imported(origin, models=models, runs=[run(details=origin)])
    store.add_model("m1-2", tmp_path / "moved.gguf")
    store.remove_imported("m1")
    store.remove_imported("m1")

    assert set(names(store)) == {"mine", "m2-1", "m2-2", "m1-2"}
    assert [entry.origin for entry in store.runs(imported=True)] == ["m2"]
    assert len(store.runs()) == 1


def test_a_failure_keeps_nothing_and_says_why(store: HistoryStore, tmp_path: Path) -> None:
    """All rows are kept or none, and unlike a record of a run it is an error if they can't be."""
    broken = run(generate_seconds=object())
    with pytest.raises(ModelplugError, match="can't be kept"):
        store.add_imported("m1", models=[KnownModel(name="a", path=tmp_path / "a.gguf")], runs=[broken])

    assert store.models() == []
    (tmp_path / "file-in-the-way").mkdir()
    blocked = HistoryStore(tmp_path / "file-in-the-way")
    with pytest.raises(ModelplugError) as caught:
        blocked.remove_imported("m1")
    assert "MODELPLUG_HOME" in caught.value.advice
