"""Known models and earlier runs in SQLite: shared, damaged, read-only."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from modelplug.errors import ModelplugError, UsageError
from modelplug.formats.model_info import ModelInfo
from modelplug.history import HistoryStore, RunRecord, database
from modelplug.paths import Paths


def record(fingerprint: str = "f", backend: str = "engine", **rest: object) -> RunRecord:
    """A run at ten tokens per second, unless something else is said."""
    values: dict[str, object] = {"completion_tokens": 100, "generate_seconds": 10.0, **rest}
    return RunRecord(fingerprint=fingerprint, backend=backend, **values)  # type: ignore[arg-type]


def test_asking_an_empty_history_finds_nothing(store: HistoryStore) -> None:
    """A new store has no runs and no models, and says so without fuss."""
    assert store.runs() == []
    assert store.models() == []
    assert store.measurements("engine", "cpu") == []
    assert store.find_model("x") is None
    assert store.trouble == ""


def test_a_run_comes_back_as_it_went_in(store: HistoryStore, paths: Paths) -> None:
    """Every field survives, also in another store on the same file."""
    run = record(
        engine_version="1.2",
        device="cuda:0",
        gpu_layers=-1,
        context_size=2048,
        threads=4,
        load_seconds=1.5,
        resident_bytes=2**40,
        device_bytes=None,
        prompt_tokens=12,
        prompt_seconds=0.25,
        first_token_seconds=0.5,
        success=False,
        error="it broke",
        estimated_bytes=3,
    )
    assert store.record_run(run)
    store.close()
    assert HistoryStore(paths.history_file).runs() == [run]


def test_runs_are_filtered_and_newest_first(store: HistoryStore) -> None:
    """Each filter narrows, and the limit counts from the newest."""
    for device in ("cpu", "cuda:0"):
        for number in range(3):
            store.record_run(record(device=device, gpu_layers=number))
    store.record_run(record("other"))
    assert [run.gpu_layers for run in store.runs(fingerprint="f", device="cpu")] == [2, 1, 0]
    assert len(store.runs(limit=4)) == 4
    assert len(store.runs(limit=None)) == 7
    assert store.runs()[0].fingerprint == "other"
    assert len(store.runs(backend="engine", gpu_layers=1)) == 2
    assert store.runs(backend="nobody") == []


def test_measurements_leave_out_what_says_nothing_about_speed(store: HistoryStore) -> None:
    """Short runs, failed runs and runs without a time are no samples, and of each model the newest count."""
    store.record_run(record(completion_tokens=15))
    store.record_run(record(success=False))
    store.record_run(record(generate_seconds=0.0))
    store.record_run(record(generate_seconds=None))
    store.record_run(record(completion_tokens=16, generate_seconds=1.0))
    store.record_run(record(completion_tokens=100, generate_seconds=4.0, device="cuda:0", gpu_layers=9))
    for seconds in (1.0, 2.0, 4.0):
        store.record_run(record("other", generate_seconds=seconds))

    def speeds(*arguments: str, **rest: Any) -> list[float | None]:
        return [run.tokens_per_second for run in store.measurements(*arguments, **rest)]

    assert speeds("engine", "cpu") == [25.0, 50.0, 100.0, 16.0]
    assert speeds("engine", "cpu", fingerprint="f") == [16.0]
    assert speeds("engine", "cuda:0") == [25.0]
    assert speeds("engine", "cpu", each=1) == [25.0, 16.0]
    assert speeds("another", "cpu") == []


def test_the_records_own_speed_follows_the_same_rule() -> None:
    """`RunRecord.tokens_per_second` is None exactly where `measurements` leaves the run out."""
    assert record().tokens_per_second == 10.0
    assert record(completion_tokens=15).tokens_per_second is None
    assert record(success=False).tokens_per_second is None
    assert record(generate_seconds=0.0).tokens_per_second is None


def test_models_are_added_found_replaced_and_removed(store: HistoryStore, tmp_path: Path) -> None:
    """A name leads to a path and what inspection said of it."""
    info = ModelInfo(
        path=tmp_path / "a.gguf",
        format="gguf",
        architecture="llama",
        quantization="Q8_0",
        size=7,
        parameters=9,
        fingerprint="f",
    )
    added = store.add_model("tiny", tmp_path / "a.gguf", info)
    assert (added.path, added.format, added.size, added.fingerprint) == (tmp_path / "a.gguf", "gguf", 7, "f")
    again = store.add_model("tiny", tmp_path / "b.gguf")
    assert (again.path, again.format, again.added) == (tmp_path / "b.gguf", "", added.added)
    store.add_model("Another", tmp_path / "c.gguf")
    assert [model.name for model in store.models()] == ["Another", "tiny"]
    assert store.nearest_names("tinny") == ["tiny"]
    assert store.remove_model("tiny")
    assert not store.remove_model("tiny")
    assert store.find_model("tiny") is None


def test_relative_and_home_paths_are_kept_absolute(
    store: HistoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name works from any folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert store.add_model("a", Path("a.gguf")).path == tmp_path / "a.gguf"
    assert store.add_model("b", Path("~/b.gguf")).path == tmp_path / "b.gguf"


@pytest.mark.parametrize("name", ["demo", "-", "", " x", "a/b", "a\\b", "-x", "a\nb"])
def test_names_that_mean_something_else_are_refused(store: HistoryStore, name: str) -> None:
    """A name that could be taken for an option, a path or the demo model is no name."""
    with pytest.raises(UsageError):
        store.add_model(name, Path("x"))
    assert store.models() == []


def test_processes_that_begin_and_write_at_once_lose_nothing(paths: Paths) -> None:
    """Four processes make the same database and write into it together."""
    program = """
        import sys
        from pathlib import Path
        from modelplug.history import HistoryStore, RunRecord
        store = HistoryStore(Path(sys.argv[1]))
        print(sum(store.record_run(RunRecord(fingerprint="f", backend=sys.argv[2])) for _ in range(25)))
        print(store.trouble)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(paths.history_file)]
    writers = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True) for number in range(4)
    ]
    for writer in writers:
        with writer:
            output, _ = writer.communicate(timeout=60)
            assert output.splitlines() == ["25", ""]
    assert len(HistoryStore(paths.history_file).runs(limit=None)) == 100


def test_threads_share_one_store(store: HistoryStore) -> None:
    """A store may be used from several threads at once."""
    threads = [
        threading.Thread(target=lambda: [store.record_run(record()) for _ in range(20)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.runs(limit=None)) == 80


DAMAGE = [b"this is no database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000]


@pytest.mark.parametrize("content", DAMAGE)
def test_a_damaged_database_is_kept_and_a_new_one_begun(
    store: HistoryStore, paths: Paths, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """The damaged bytes survive under a name of their own, that is said, and recording goes on."""
    paths.data.mkdir(parents=True)
    paths.history_file.write_bytes(content)
    assert store.record_run(record())
    assert len(store.runs()) == 1
    (kept,) = paths.data.glob("history.sqlite3.broken-*")
    assert kept.read_bytes() == content
    assert str(kept) in capsys.readouterr().err


def test_damage_found_while_in_use_is_survived(store: HistoryStore, paths: Paths) -> None:
    """Pages that turn out damaged after opening are handled like a damaged file."""
    for _ in range(200):
        store.record_run(record(error="x" * 200))
    store.close()
    size = paths.history_file.stat().st_size
    with paths.history_file.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"\xff" * (size - 4096))
    fresh = HistoryStore(paths.history_file, paths=paths)
    fresh.runs()
    assert fresh.record_run(record())
    assert list(paths.data.glob("history.sqlite3.broken-*"))


def test_where_nothing_can_be_written_recording_does_nothing(
    tmp_path: Path, paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where the folder should be: no exception, one sentence; only naming a model fails."""
    (tmp_path / "data").write_text("in the way")
    store = HistoryStore(tmp_path / "data" / "history.sqlite3", paths=paths)
    assert not store.record_run(record())
    assert not store.record_run(record())
    assert store.runs() == []
    assert store.measurements("engine", "cpu") == []
    assert capsys.readouterr().err.count("no history is kept") == 1
    with pytest.raises(ModelplugError, match="can't be kept"):
        store.add_model("x", Path("x"))


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_a_full_disk_does_not_break_the_program(paths: Paths) -> None:
    """When the database can't grow, recording says no and asking still works."""
    HistoryStore(paths.history_file).record_run(record())
    program = """
        import resource, sys
        from pathlib import Path
        from modelplug.history import HistoryStore, RunRecord
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        store = HistoryStore(Path(sys.argv[1]))
        run = RunRecord(fingerprint="f", backend="b", error="x" * 900)
        results = [store.record_run(run) for _ in range(300)]
        print(results[-1], bool(store.trouble), len(store.runs(limit=None)) >= 1)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(paths.history_file)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == ["False", "True", "True"]
    assert HistoryStore(paths.history_file).runs(limit=None)


def test_a_database_of_a_later_program_is_left_alone(store: HistoryStore, paths: Paths) -> None:
    """A layout that this program does not know is neither read nor changed."""
    paths.data.mkdir(parents=True)
    with sqlite3.connect(paths.history_file) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = paths.history_file.read_bytes()
    assert not store.record_run(record())
    assert "99" in store.trouble
    store.close()
    assert paths.history_file.read_bytes()[:18] == before[:18]
    assert not list(paths.data.glob("*.broken-*"))


def test_an_older_layout_is_brought_up_to_date(
    store: HistoryStore, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later layout's steps run once, on the data that is there."""
    store.record_run(record())
    store.close()
    later = (*database.MIGRATIONS, "ALTER TABLE runs ADD COLUMN note TEXT NOT NULL DEFAULT 'none'")
    monkeypatch.setattr(database, "MIGRATIONS", later)
    assert len(store.runs()) == 1
    assert store.record_run(record())
    store.close()
    connection = sqlite3.connect(paths.history_file)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(later),)
    assert connection.execute("SELECT note FROM runs").fetchall() == [("none",), ("none",)]
    connection.close()


def test_a_step_that_fails_leaves_the_old_layout(
    store: HistoryStore, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layout steps happen wholly or not at all."""
    store.record_run(record())
    store.close()
    bad = (
        *database.MIGRATIONS,
        "ALTER TABLE runs ADD COLUMN note TEXT; ALTER TABLE nothing ADD COLUMN x TEXT",
    )
    monkeypatch.setattr(database, "MIGRATIONS", bad)
    assert store.runs() == []
    assert "nothing" in store.trouble
    monkeypatch.undo()
    assert len(HistoryStore(paths.history_file, paths=paths).runs()) == 1
