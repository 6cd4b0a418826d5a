"""Changes of the database's layout: a copy from before, all or nothing, and killed at every step."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from modelplug.history import HistoryStore, RunRecord
from modelplug.history.layouts import MIGRATIONS
from modelplug.paths import Paths

# Kills itself before the N-th statement that bringing the layout up to date executes, in a copy for each N.
KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
from modelplug.history import database

path = Path(sys.argv[1])
original = path.read_bytes()
connect = sqlite3.connect

def dying(count):
    left = [count]
    def trace(_statement):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    def connecting(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.set_trace_callback(trace)
        return connection
    return connecting

count = 0
while True:
    count += 1
    case = path.with_name(f"case-{count}") / path.name
    case.parent.mkdir()
    case.write_bytes(original)
    pid = os.fork()
    if pid == 0:
        sqlite3.connect = dying(count)
        database.connect(case).close()
        os._exit(0)
    if os.waitstatus_to_exitcode(os.wait()[1]) == 0:
        break
print(count)
"""


def make_old(path: Path, layout: int = 2) -> None:
    """A database of an earlier layout with one run and one name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    for script in MIGRATIONS[:layout]:
        connection.executescript(script)
    connection.execute(f"PRAGMA user_version = {layout}")
    connection.execute("INSERT INTO runs (time, fingerprint, backend, success) VALUES ('t', 'f', 'old', 1)")
    connection.execute(
        "INSERT INTO models (name, path, added, last_seen) VALUES ('mine', '/m.gguf', 't', 't')"
    )
    connection.close()


def layout_of(path: Path) -> int:
    """The number of a database's layout."""
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


@pytest.mark.parametrize("layout", [1, 2])
def test_earlier_layouts_keep_what_they_hold(paths: Paths, store: HistoryStore, layout: int) -> None:
    """Runs and names of every earlier version are read, and new ones written beside them."""
    make_old(paths.history_file, layout)

    assert [run.backend for run in store.runs()] == ["old"]
    assert [model.name for model in store.models()] == ["mine"]
    assert store.record_run(RunRecord(fingerprint="f", backend="new", purpose="benchmark"))
    assert [run.purpose for run in store.runs()] == ["benchmark", "use"]


def test_the_database_as_it_was_is_kept(paths: Paths, store: HistoryStore) -> None:
    """The copy has the old layout and every row, and a second one does not take its place."""
    make_old(paths.history_file)
    store.runs()
    store.close()
    copy = paths.data / "history.sqlite3.layout-2.backup"
    kept = copy.read_bytes()

    assert layout_of(copy) == 2
    for leftover in paths.data.glob("history.sqlite3*"):
        if leftover != copy:
            leftover.unlink()
    make_old(paths.history_file)
    store.runs()
    assert copy.read_bytes() == kept
    assert (paths.data / "history.sqlite3.layout-2-2.backup").exists()


def test_what_another_program_has_just_written_is_in_the_copy(paths: Paths) -> None:
    """Rows that are still in the write-ahead log of an older program are copied too."""
    make_old(paths.history_file)
    older = sqlite3.connect(paths.history_file, isolation_level=None)
    older.execute("PRAGMA journal_mode = WAL")
    older.execute("INSERT INTO runs (time, fingerprint, backend, success) VALUES ('t', 'f', 'late', 1)")
    store = HistoryStore(paths.history_file, paths=paths)
    assert sorted(run.backend for run in store.runs()) == ["late", "old"]
    copy = sqlite3.connect(paths.data / "history.sqlite3.layout-2.backup")

    assert copy.execute("SELECT count(*) FROM runs").fetchone() == (2,)
    copy.close()
    older.close()


def test_a_new_database_needs_no_copy(paths: Paths, store: HistoryStore) -> None:
    """There is nothing from before."""
    store.record_run(RunRecord(fingerprint="f", backend="b"))

    assert not list(paths.data.glob("*.backup"))


@pytest.mark.skipif(os.name == "nt", reason="forks and signals of POSIX")
def test_killed_at_any_moment_it_is_the_old_layout_or_the_new(tmp_path: Path) -> None:
    """Before every single statement the process is killed for real; the next start finishes the work."""
    path = tmp_path / "history.sqlite3"
    make_old(path)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=110,
    )
    cases = int(done.stdout)
    assert cases > 25
    for number in range(1, cases + 1):
        case = tmp_path / f"case-{number}" / path.name
        store = HistoryStore(case)
        assert [run.backend for run in store.runs()] == ["old"]
        assert [model.name for model in store.models()] == ["mine"]
        assert store.trouble == ""
        store.close()
        assert layout_of(case) == len(MIGRATIONS)
        for copy in case.parent.glob("*.backup"):
            assert layout_of(copy) == 2
        assert not list(case.parent.glob(".*copying*"))


def test_a_copy_that_can_not_be_written_stops_the_change(
    paths: Paths, store: HistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the copy nothing is changed, and the reason is told."""
    make_old(paths.history_file)

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("modelplug.history.upgrade.back_up", full)
    assert store.runs() == []
    assert "No space left" in store.trouble
    assert layout_of(paths.history_file) == 2


def test_processes_that_meet_an_old_layout_at_once_change_it_once(paths: Paths) -> None:
    """Four programs start together on an old database: one copy, and no run is lost."""
    make_old(paths.history_file)
    program = """
        import sys
        from pathlib import Path
        from modelplug.history import HistoryStore, RunRecord
        store = HistoryStore(Path(sys.argv[1]))
        print(store.record_run(RunRecord(fingerprint="f", backend="new")), store.trouble)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(paths.history_file)]
    starters = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for starter in starters:
        with starter:
            assert starter.communicate(timeout=60)[0].split() == ["True"]

    assert len(HistoryStore(paths.history_file).runs()) == 5
    assert len(list(paths.data.glob("*.backup"))) == 1
