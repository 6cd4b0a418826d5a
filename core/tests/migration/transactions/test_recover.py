"""Recovery: an unfinished transaction is finished or undone, and edits made since are not overwritten."""

from __future__ import annotations

import errno
import itertools
from pathlib import Path
from typing import Any

import pytest
from core.tests.migration.transactions import tripwire
from core.tests.migration.transactions.scene import Scene, sha256

from modelplug.errors import (
    BackupDamagedError,
    RecoveryConflictError,
    RecoveryNeededError,
    TransactionError,
)
from modelplug.migration.transactions import Effect, FileChange, TransactionRecord, TransactionStore


def crash_at(scene: Scene, call: str, times: int = 1) -> TransactionRecord:
    """Break an apply off at the nth call of a name; gives what is left."""
    probe = tripwire.counting()
    scene.apply(probe)
    numbers = [number for number, name in enumerate(probe.names, 1) if name == call]
    scene.build()
    with pytest.raises(RecoveryNeededError, match="could not be undone") as caught:
        scene.apply(tripwire.crashing(numbers[times - 1]))
    [record] = scene.store().unfinished()
    assert isinstance(record, TransactionRecord)
    assert caught.value.transaction_ids == (record.id,)
    assert record.state == "unfinished"
    return record


@pytest.fixture
def half_done(scene: Scene) -> Scene:
    """A scene in which one file is replaced, one is ready to be, and so on: everything is staged."""
    crash_at(scene, "replace", 2)
    assert (scene.tree / "config.json").read_bytes() == b'{"version": 2, "new": true}\n'
    assert (scene.tree / "secret.json").read_bytes() == b'{"token": "t"}\n'
    return scene


def temporary_files(scene: Scene) -> list[str]:
    """What waits in the tree to be renamed."""
    return sorted(path.name for path in scene.tree.rglob(".modelplug-*"))


def test_nothing_to_recover_is_nothing_done(scene: Scene) -> None:
    """An empty store is not even made; a finished transaction is said to be so."""
    assert scene.store().recover() == []
    assert not scene.root.exists()
    scene.apply()
    assert scene.store().recover() == []
    [report] = scene.store().recover(scene.store().history()[0].id)
    assert report.outcome == "nothing"


def test_what_is_staged_is_finished(half_done: Scene) -> None:
    """The new content is there already, so the transaction goes forward."""
    assert temporary_files(half_done)
    [report] = half_done.store().recover()

    assert report.outcome == "finished"
    assert len(report.files) == 6
    assert temporary_files(half_done) == []
    assert (half_done.tree / "secret.json").read_bytes() == b'{"secret": "t"}\n'
    assert (half_done.tree / "effect.txt").read_text() == "made"
    assert [record.state for record in half_done.store().history()] == ["committed"]
    half_done.store().rollback()
    assert half_done.snapshot() == half_done.before


def test_what_is_not_staged_is_undone(scene: Scene) -> None:
    """Before the first file was replaced there is nothing to bring back, only temporary files to remove."""
    before = scene.snapshot()
    crash_at(scene, "sync_file", 8)
    assert temporary_files(scene)
    [report] = scene.store().recover()

    assert report.outcome == "undone"
    assert scene.snapshot() == before
    assert [record.state for record in scene.store().history()] == ["aborted"]


def test_lost_new_content_means_going_back(half_done: Scene) -> None:
    """If what should be put in place is not what it was, the old files come back from the backup."""
    temporary = next(half_done.tree.glob(".modelplug-*-1.new"))
    temporary.write_bytes(b"half")
    [report] = half_done.store().recover()

    assert report.outcome == "undone"
    assert half_done.snapshot() == half_done.before


@pytest.mark.parametrize("name", ["config.json", "secret.json", "gone.txt", "new/one.json"])
def test_an_edit_made_since_stops_recovery(half_done: Scene, name: str) -> None:
    """Whether the file was replaced already or not: nothing is touched, and the error lists it."""
    path = half_done.tree / name
    path.unlink(missing_ok=True)
    path.write_bytes(b"edited")
    edited = half_done.snapshot()
    with pytest.raises(RecoveryConflictError, match="edits made since") as caught:
        half_done.store().recover()

    expected = half_done.tree / ("alias.json" if name == "config.json" else name)
    assert caught.value.conflicts == (expected,)
    assert "--keep-edits" in caught.value.advice
    assert half_done.snapshot() == edited
    assert len(half_done.store().unfinished()) == 1


def test_edits_can_be_kept_and_everything_else_finished(half_done: Scene) -> None:
    """The edited file is left alone then, and by a later rollback as well."""
    path = half_done.tree / "secret.json"
    path.write_bytes(b"edited")
    [report] = half_done.store().recover(keep_edits=True)

    assert report.outcome == "finished"
    assert report.left_alone == (path,)
    assert path.read_bytes() == b"edited"
    assert (half_done.tree / "old.json").read_bytes() == b"[1]\n"
    assert temporary_files(half_done) == []
    [record] = half_done.store().history()
    assert (record.state, record.left_alone) == ("committed", (path,))
    rollback = half_done.store().rollback()
    assert rollback.left_alone == (path,)
    assert path.read_bytes() == b"edited"
    assert (half_done.tree / "old.json").read_bytes() == b"[]\n"


def test_edits_can_be_kept_and_everything_else_undone(half_done: Scene) -> None:
    """Also on the way back."""
    next(half_done.tree.glob(".modelplug-*-2.new")).unlink()
    path = half_done.tree / "secret.json"
    path.write_bytes(b"edited")
    [report] = half_done.store().recover(keep_edits=True)

    assert report.outcome == "undone"
    assert path.read_bytes() == b"edited"
    path.write_bytes(b'{"token": "t"}\n')
    assert half_done.snapshot() == half_done.before


def test_an_edit_before_anything_was_replaced_is_no_conflict(scene: Scene) -> None:
    """The transaction had not touched the file, so it is simply left as it is."""
    crash_at(scene, "sync_file", 8)
    (scene.tree / "old.json").write_bytes(b"edited")
    [report] = scene.store().recover()

    assert report.outcome == "undone"
    assert (scene.tree / "old.json").read_bytes() == b"edited"


def test_a_damaged_copy_keeps_one_file_back_and_no_other(half_done: Scene) -> None:
    """All other files are brought back; when the file has its content again, recovery ends."""
    [record] = half_done.store().unfinished()
    copy = record.folder.joinpath("files", *half_done.tree.parts[1:], "config.json")
    copy.write_bytes(b"rot")
    next(half_done.tree.glob(".modelplug-*-2.new")).unlink()
    with pytest.raises(BackupDamagedError, match="only in part") as caught:
        half_done.store().recover()

    assert any("config.json" in problem or "alias.json" in problem for problem in caught.value.damage)
    assert temporary_files(half_done) == []
    found = half_done.snapshot()
    assert {name for name in found if found[name] != half_done.before.get(name)} == {"config.json"}
    (half_done.tree / "config.json").write_bytes(b'{"version": 1}\n')
    assert half_done.store().recover()[0].outcome == "undone"
    assert half_done.snapshot() == half_done.before


def test_a_damaged_journal_is_not_guessed_at(half_done: Scene) -> None:
    """A line in the middle is not what was written: the error says where the copies are."""
    [record] = half_done.store().unfinished()
    journal = record.folder / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + lines[1].replace(b"secret", b"public") + b"".join(lines[2:]))
    before = half_done.snapshot()
    for name in (None, record.id):
        with pytest.raises(BackupDamagedError, match="can't be trusted") as caught:
            half_done.store().recover(name)
        assert str(record.folder) in caught.value.advice
    assert half_done.snapshot() == before
    journal.unlink()
    with pytest.raises(BackupDamagedError, match="missing or empty"):
        half_done.store().recover()


def test_a_torn_last_line_is_ignored_and_cut_off(half_done: Scene) -> None:
    """A crash while a record is being written: what it announced was never begun."""
    [record] = half_done.store().unfinished()
    with (record.folder / "journal.jsonl").open("ab") as stream:
        stream.write(b'{"n": 3, "event": "pla')
    [report] = half_done.store().recover()

    assert report.outcome == "finished"
    assert half_done.store().history()[0].problem == ""
    assert b'"pla{' not in (record.folder / "journal.jsonl").read_bytes()


# Effects ------------------------------------------------------------------------------------------------


class Switch:
    """An effect that fails for as long as it is told to."""

    def __init__(self) -> None:
        self.on = 0
        self.failing = True

    def apply(self, payload: Any, transaction_id: str) -> None:
        """Switch it on, or fail."""
        if self.failing:
            raise RuntimeError("not now")
        self.on = 1

    def undo(self, payload: Any, transaction_id: str) -> None:
        """Switch it off, or fail."""
        if self.failing:
            raise RuntimeError("not back either")
        self.on = 0


def test_when_even_undoing_fails_it_is_said_and_recovery_does_it_later(tmp_path: Path) -> None:
    """Both reasons are in the error, the first one as its cause; the journal stays for recovery."""
    file = tmp_path / "file"
    file.write_bytes(b"old")
    switch = Switch()
    store = TransactionStore(tmp_path / "migrations", handlers={"switch": switch})
    with pytest.raises(RecoveryNeededError) as caught:
        store.apply([FileChange(file, sha256(b"old"), b"new")], effects=[Effect("switch")])

    assert "not now" in caught.value.why
    assert "not back either" in caught.value.why
    assert "not now" in str(caught.value.__cause__)
    with pytest.raises(TransactionError, match="could not be undone"):
        store.recover()
    with pytest.raises(TransactionError, match="nothing here can make or undo"):
        TransactionStore(tmp_path / "migrations").recover()
    switch.failing = False
    assert store.recover()[0].outcome == "undone"
    assert file.read_bytes() == b"old"


def test_an_effect_that_fails_in_recovery_sends_everything_back(tmp_path: Path) -> None:
    """The report says why it was not finished."""
    file = tmp_path / "file"
    file.write_bytes(b"old")

    class Never(Switch):
        def undo(self, payload: Any, transaction_id: str) -> None:
            self.on = 0

    handlers = {"switch": Never()}
    count = iter(range(1000))
    gone: list[int] = []

    def chosen(number: int, name: str) -> bool:
        if name == "fsync" and next(count) == 4:
            gone.append(number)
        return bool(gone)

    filesystem = tripwire.Tripwire(chosen, tripwire.failing(5))
    with pytest.raises(RecoveryNeededError):
        TransactionStore(tmp_path / "migrations", filesystem=filesystem, handlers=handlers).apply(
            [FileChange(file, sha256(b"old"), b"new")], effects=[Effect("switch")]
        )
    assert file.read_bytes() == b"new"
    [report] = TransactionStore(tmp_path / "migrations", handlers=handlers).recover()
    assert report.outcome == "undone"
    assert "not now" in report.reason
    assert file.read_bytes() == b"old"


def test_an_effect_that_nobody_can_make_any_more_sends_everything_back(
    half_done: Scene,
) -> None:
    """The plugin is gone, and the effect was not begun: the files come back."""
    [report] = TransactionStore(half_done.root).recover()
    assert report.outcome == "undone"
    assert half_done.snapshot() == half_done.before


def test_effects_that_were_made_are_not_made_again(tmp_path: Path) -> None:
    """Of three, the second was begun when the process died: recovery makes it again, and then the third."""
    made: list[str] = []

    class Noting:
        def apply(self, payload: Any, transaction_id: str) -> None:
            made.append(payload)

        def undo(self, payload: Any, transaction_id: str) -> None:
            raise AssertionError

    handlers = {"note": Noting()}
    gone = tripwire.Tripwire(lambda *_: made == ["one", "two"], tripwire.failing(5))
    store = TransactionStore(tmp_path / "migrations", filesystem=gone, handlers=handlers)
    with pytest.raises(RecoveryNeededError):
        store.apply([], effects=[Effect("note", name) for name in ("one", "two", "three")])
    [report] = TransactionStore(tmp_path / "migrations", handlers=handlers).recover()
    assert report.outcome == "finished"
    assert made == ["one", "two", "two", "three"]


def test_what_was_going_back_goes_on_back(fast_folder: Path) -> None:
    """The last record can't be synced, so everything is undone, and that is cut off at every call in turn.

    All files may still be new then, and the effect gone: going forward would leave it out.
    """
    scene = Scene(fast_folder / "scene")
    scene.build()
    probe = tripwire.counting()
    scene.apply(probe)
    trees = {"committed": scene.snapshot(), "aborted": scene.before}
    last = max(number for number, name in enumerate(probe.names, 1) if name == "fsync")
    states = []
    for cut in itertools.count(last + 1):
        scene.build()
        with pytest.raises(TransactionError) as caught:
            scene.apply(failing_twice(last, cut))
        scene.store().recover()
        [record] = scene.store().history()
        assert scene.snapshot() == trees[record.state]
        states.append(record.state)
        if not isinstance(caught.value, RecoveryNeededError):
            break
    # Until the way back is in the journal, the record that was not synced may stand, or be written again.
    assert states[-50:] == ["aborted"] * 50
    assert set(states[:-50]) == {"committed", "aborted"}


def failing_twice(once: int, cut: int) -> tripwire.Tripwire:
    """A file system in which one call fails, and from a later one on all do."""
    return tripwire.Tripwire(lambda number, _: number == once or number >= cut, tripwire.failing(errno.EIO))
