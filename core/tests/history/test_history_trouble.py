"""Bad luck: a history that is locked, damaged or full, a clock that is set back, a program that forks."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from modelplug.errors import ModelplugError
from modelplug.history import FailureRecord, HistoryStore, RunRecord, database, file
from modelplug.history.insights import find_insights
from modelplug.history.salvage import salvage
from modelplug.paths import Paths


def run(number: int = 0, **rest: Any) -> RunRecord:
    """A run that is told from others by its number of threads."""
    values = {"completion_tokens": 100, "generate_seconds": 10.0, "threads": number, **rest}
    return RunRecord(**{"fingerprint": "f", "backend": "engine", **values})


# Locked ---------------------------------------------------------------------------------------------------


@pytest.fixture
def lock(store: HistoryStore, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Holds the database as another process would, until it is released."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    monkeypatch.setattr(file, "IMPATIENT_SECONDS", 0.05)
    store.record_run(run(1))
    store.close()
    holder = sqlite3.connect(paths.history_file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    yield holder
    holder.close()


def test_a_locked_history_costs_its_record_and_nothing_else(
    store: HistoryStore, lock: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Recording says no, once aloud; what is there can still be read; naming a model is a clear error."""
    assert not store.record_run(run(2))
    assert not store.record_run(run(3))
    assert [found.threads for found in store.runs()] == [1]
    assert "locked" in store.trouble
    assert capsys.readouterr().err.count("no history is kept") == 1
    with pytest.raises(ModelplugError) as caught:
        store.add_model("x", Path("x.gguf"))
    assert "end the program that holds the database" in caught.value.advice


def test_once_released_the_history_works_again(store: HistoryStore, lock: sqlite3.Connection) -> None:
    """The same store records again, and has no trouble any more."""
    assert not store.record_run(run(2))
    lock.execute("ROLLBACK")

    assert store.record_run(run(3))
    assert store.trouble == ""
    assert [found.threads for found in store.runs()] == [3, 1]


def test_who_has_waited_once_does_not_wait_as_long_again(
    store: HistoryStore, lock: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first refusal, the patience of every further try is the short one."""
    asked: list[float] = []
    connect = database.connect

    def asking(path: Path, *, patience: float) -> sqlite3.Connection:
        asked.append(patience)
        return connect(path, patience=patience)

    monkeypatch.setattr(database, "connect", asking)
    for _ in range(3):
        store.record_run(run())

    assert asked == [0.2, 0.05]


def test_a_lock_that_is_released_in_time_is_waited_for(
    store: HistoryStore, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program that writes for a moment costs that moment."""
    store.record_run(run(1))
    holder = sqlite3.connect(paths.history_file, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, lambda: holder.execute("ROLLBACK"))
    release.start()

    assert store.record_run(run(2))
    release.join()
    holder.close()


# Damaged --------------------------------------------------------------------------------------------------


def damage(path: Path, first: int, last: int) -> None:
    """Overwrite pages of a database, the first one of the file being 0."""
    with path.open("r+b") as stream:
        stream.seek(first * 4096)
        stream.write(b"\xff" * ((last - first) * 4096))


def pages_of(path: Path, table: str) -> list[int]:
    """The numbers of the leaf pages that hold a table's rows, from 0."""
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute(
            "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path", (table,)
        ).fetchall()
    except sqlite3.OperationalError:
        pytest.skip("this SQLite does not tell which pages belong to which table")
    finally:
        connection.close()
    return [row[0] - 1 for row in rows]


def test_what_can_be_read_of_a_damaged_history_is_saved(
    store: HistoryStore, paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    """One damaged page costs the rows on it; names and the other runs are in the new database."""
    store.add_model("mine", Path("/models/a.gguf"))
    store.record_runs([run(number, error="x" * 400) for number in range(200)])
    store.record_failure(FailureRecord(fingerprint="f", backend="engine", cause="crash"))
    store.close()
    pages = pages_of(paths.history_file, "runs")
    damage(paths.history_file, pages[len(pages) // 2], pages[len(pages) // 2] + 1)
    copy = database.set_aside(paths.history_file)
    assert copy is not None
    connection = database.connect(paths.history_file)
    saved = salvage(copy, connection)
    connection.close()

    threads = [found.threads for found in store.runs(limit=None)]
    assert 150 < len(threads) < 200
    assert threads == sorted(threads, reverse=True)  # type: ignore[type-var]
    assert [model.name for model in store.models()] == ["mine"]
    assert [failure.cause for failure in store.failures()] == ["crash"]
    assert saved == len(threads) + 2


def test_saving_happens_by_itself_and_is_said(
    store: HistoryStore, paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever meets the damage gets a new database with the old names, and a sentence about it."""
    store.add_model("mine", Path("/models/a.gguf"))
    store.record_runs([run(number, error="x" * 400) for number in range(100)])
    store.close()
    pages = pages_of(paths.history_file, "runs")
    damage(paths.history_file, pages[1], pages[1] + 1)

    assert len(store.runs(limit=None)) > 50
    assert store.find_model("mine") is not None
    assert store.record_run(run())
    message = capsys.readouterr().err
    assert "the history was damaged" in message
    assert "entries could be saved" in message


def test_a_file_that_is_no_database_saves_nothing_and_says_so(
    store: HistoryStore, paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing can be read, a new history is begun all the same."""
    paths.data.mkdir(parents=True)
    paths.history_file.write_bytes(b"no database" * 1000)

    assert store.record_run(run())
    assert "none of its entries could be saved" in capsys.readouterr().err


def test_values_of_the_wrong_kind_are_not_saved(tmp_path: Path) -> None:
    """Damage that looks like data does not get into the new database."""
    broken = tmp_path / "broken.sqlite3"
    connection = database.connect(broken)
    columns = "time, fingerprint, backend, success, generate_seconds"
    insert = f"INSERT INTO runs ({columns}) VALUES ('t', 'f', 'b', 1, ?)"
    connection.execute(insert, (2.5,))
    connection.execute(insert, (b"\x00\xff",))
    connection.close()
    fresh = database.connect(tmp_path / "fresh.sqlite3")

    assert salvage(broken, fresh) == 1
    assert fresh.execute("SELECT generate_seconds FROM runs").fetchall()[0][0] == 2.5
    fresh.close()


# A full disk ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_on_a_full_disk_a_benchmark_is_not_kept_and_that_is_said(paths: Paths) -> None:
    """Its number is None, the reason is on standard error, and nothing of it is left half-written."""
    HistoryStore(paths.history_file).record_run(run())
    program = """
        import resource, sys
        from pathlib import Path
        from modelplug.history import HistoryStore
        store = HistoryStore(Path(sys.argv[1]))
        small = {"candidates": [{"backend": "b", "model": {"fingerprint": "f"}}]}
        first = store.record_benchmark(small)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        number = store.record_benchmark({**small, "text": "x" * 200_000})
        print(first, number, bool(store.trouble), len(store.benchmarks()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(paths.history_file)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == ["1", "None", "True", "1"]
    assert done.stderr.count("no history is kept") == 1
    assert len(HistoryStore(paths.history_file).benchmarks()) == 1


# The clock ------------------------------------------------------------------------------------------------


def test_a_clock_that_goes_backwards_does_not_change_the_order(store: HistoryStore) -> None:
    """Runs come in the order they were recorded, whatever time they bear."""
    for number in range(5):
        store.record_run(run(number, time=f"2026-05-0{9 - number}T00:00:00.000+00:00"))

    assert [found.threads for found in store.runs()] == [4, 3, 2, 1, 0]
    assert store.extent() == (5, "2026-05-09T00:00:00.000+00:00")


def test_suggestions_do_not_trust_the_clock(store: HistoryStore) -> None:
    """An engine that has recovered since is not blamed, although its failures bear later times."""
    failure = FailureRecord(
        fingerprint="f", backend="engine", cause="crash", time="2030-01-01T00:00:00.000+00:00"
    )
    store.record_runs([], [failure] * 5)
    assert [one.kind for one in find_insights(store).suggestions] == ["failing"]
    store.record_runs([run(time="2020-01-01T00:00:00.000+00:00")] * 10)

    assert find_insights(store).suggestions == ()


# Programs that fork ---------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="forks of POSIX")
def test_a_forked_copy_uses_a_connection_of_its_own(paths: Paths) -> None:
    """Parent and copy both record, and the copy's end does not close what the parent uses."""
    program = """
        import os, sys
        from pathlib import Path
        from modelplug.history import HistoryStore, RunRecord
        store = HistoryStore(Path(sys.argv[1]))
        store.record_run(RunRecord(fingerprint="f", backend="parent"))
        if os.fork() == 0:
            store.record_run(RunRecord(fingerprint="f", backend="copy"))
            store.close()
            sys.exit(0)
        os.wait()
        store.record_run(RunRecord(fingerprint="f", backend="parent"))
        print(*sorted(run.backend for run in store.runs()), store.trouble)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(paths.history_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.split() == ["copy", "parent", "parent"]


def test_readers_do_not_wait_for_a_writer(store: HistoryStore, paths: Paths) -> None:
    """While another process is in the middle of writing, what was there before is read at once."""
    store.record_run(run(1))
    writer = sqlite3.connect(paths.history_file, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM runs")
    began = time.monotonic()

    assert [found.threads for found in HistoryStore(paths.history_file).runs()] == [1]
    assert time.monotonic() - began < database.BUSY_SECONDS
    writer.close()
