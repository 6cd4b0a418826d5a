"""Rolling back: the bytes that were there before, once everything is verified, and a way back from that."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from core.tests.migration.transactions import tripwire
from core.tests.migration.transactions.scene import Scene, sha256

from modelplug.errors import BackupDamagedError, StaleFileError, TransactionError
from modelplug.migration.transactions import FileChange, TransactionStore

posix = pytest.mark.skipif(os.name == "nt", reason="permission bits and links of POSIX")


def stored(scene: Scene, name: str) -> Path:
    """The copy of a file of the tree in the newest set."""
    folder: Path = scene.store().history()[0].folder
    return folder.joinpath("files", *(scene.tree / name).resolve().parts[1:])


@pytest.fixture
def applied(scene: Scene) -> Scene:
    """A scene on which the transaction has been applied."""
    scene.apply()
    scene.after = scene.snapshot()
    return scene


def test_everything_is_as_it_was_down_to_the_times(applied: Scene) -> None:
    """Content, names, permissions and times; folders that were made are gone, and so is the effect."""
    [record] = applied.store().history()
    report = applied.store().rollback(record.id)

    assert applied.snapshot() == applied.before
    assert applied.times() == applied.times_before
    assert report.outcome == "rolled-back"
    assert report.files == record.files
    own, first = applied.store().history()
    assert (first.state, first.rolled_back_by) == ("rolled-back", own.id)
    assert (own.state, own.rolls_back, own.id) == ("committed", record.id, report.transaction_id)


def test_a_rollback_can_be_rolled_back_and_that_again(applied: Scene) -> None:
    """Nothing is ever thrown away, so there is always a way back."""
    store = applied.store()
    first = store.history()[0].id
    second = store.rollback(first).transaction_id
    third = store.rollback(second).transaction_id
    assert applied.snapshot() == applied.after
    assert [record.state for record in store.history()] == ["committed", "rolled-back", "committed"]
    store.rollback(third)
    assert applied.snapshot() == applied.before
    store.rollback(store.history()[0].id)
    assert applied.snapshot() == applied.after
    assert store.get(first).state == "committed"
    store.rollback(first)
    assert applied.snapshot() == applied.before


@pytest.mark.parametrize("named", [True, False])
def test_the_second_time_it_says_so_and_touches_nothing(applied: Scene, named: bool) -> None:
    """With its name or without one: an older transaction is never rolled back by repeating a command."""
    store = applied.store()
    identity = store.history()[0].id if named else None
    first = store.rollback(identity)
    sets = sorted(path.name for path in applied.root.iterdir())
    again = store.rollback(identity)

    assert again.outcome == "already-rolled-back"
    assert again.transaction_id == first.transaction_id
    assert applied.snapshot() == applied.before
    assert sorted(path.name for path in applied.root.iterdir()) == sets


def test_an_edited_file_is_not_overwritten(applied: Scene) -> None:
    """Nothing at all is touched, and the error names the file with both hashes."""
    (applied.tree / "old.json").write_bytes(b"edited")
    edited = applied.snapshot()
    with pytest.raises(StaleFileError, match="was edited since") as caught:
        applied.store().rollback()

    assert list(caught.value.stale) == [applied.tree / "old.json"]
    assert "--discard-edits" in caught.value.advice
    assert applied.snapshot() == edited
    assert len(applied.store().history()) == 1


def test_a_file_made_where_one_was_deleted_is_an_edit_too(applied: Scene) -> None:
    """A deleted file does not come back over a new one of the same name."""
    (applied.tree / "gone.txt").write_bytes(b"a new one")
    with pytest.raises(StaleFileError):
        applied.store().rollback()
    assert (applied.tree / "gone.txt").read_bytes() == b"a new one"


def test_edits_may_be_discarded_and_can_be_had_back(applied: Scene) -> None:
    """The rollback's own set holds the edited file."""
    (applied.tree / "old.json").write_bytes(b"edited")
    (applied.tree / "new/one.json").unlink()
    edited = applied.snapshot()
    report = applied.store().rollback(discard_edits=True)

    assert applied.snapshot() == applied.before
    # The file that was removed is what it should become: there is nothing to discard.
    assert report.discarded == (applied.tree / "old.json",)
    applied.store().rollback(report.transaction_id)
    assert applied.snapshot() == edited


def test_a_file_that_was_put_back_by_hand_is_no_edit(applied: Scene) -> None:
    """It is what it should become."""
    (applied.tree / "gone.txt").write_bytes(b"farewell\n")
    (applied.tree / "gone.txt").chmod(0o444)
    applied.store().rollback()
    assert applied.snapshot() == applied.before


def test_a_folder_that_was_made_stays_if_somebody_uses_it(applied: Scene) -> None:
    """Only the transaction's own files leave it."""
    (applied.tree / "new" / "theirs.txt").write_bytes(b"theirs")
    applied.store().rollback()

    assert [path.name for path in (applied.tree / "new").iterdir()] == ["theirs.txt"]


def damage_content(path: Path) -> None:
    """Change one byte."""
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def damage_size(path: Path) -> None:
    """Leave nothing."""
    path.chmod(0o600)
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [damage_content, damage_size, Path.unlink])
@pytest.mark.parametrize("name", ["old.json", "logs/app.log"])
def test_a_damaged_copy_stops_it_before_anything_is_touched(
    applied: Scene, damage: Callable[[Path], None], name: str
) -> None:
    """Every copy is read first, also of files that the transaction did not change."""
    path = stored(applied, name)
    damage(path)
    for scratch in (None, applied.folder / "scratch"):
        with pytest.raises(BackupDamagedError, match="nothing was touched") as caught:
            applied.store().rollback(rehearse=scratch)
        assert any(str(path) in problem for problem in caught.value.damage)
        assert str(caught.value.advice)
    assert applied.snapshot() == applied.after
    assert len(applied.store().history()) == 1


@pytest.mark.parametrize("name", ["manifest.json", "journal.jsonl"])
def test_a_damaged_manifest_or_journal_stops_it_too(applied: Scene, name: str) -> None:
    """One changed letter is enough."""
    record = applied.store().history()[0]
    path = record.folder / name
    text = path.read_text()
    path.write_text(text.replace("old.json", "odd.json", 1))
    with pytest.raises(BackupDamagedError):
        applied.store().rollback(record.id)
    assert applied.snapshot() == applied.after
    assert applied.store().history()[0].state == "damaged"


def test_a_rehearsal_restores_into_a_folder_and_touches_nothing_else(applied: Scene) -> None:
    """Everything in the set arrives there with its permissions and times: changed files, copies and notes."""
    scratch = applied.folder / "scratch"
    sets = sorted(path.name for path in applied.root.rglob("*"))
    report = applied.store().rollback(rehearse=scratch)

    assert report.outcome == "rehearsed"
    assert report.folder == scratch
    assert applied.snapshot() == applied.after
    assert sorted(path.name for path in applied.root.rglob("*")) == sets
    arrived = scratch.joinpath("files", *applied.tree.parts[1:])
    assert (arrived / "old.json").read_bytes() == b"[]\n"
    assert (arrived / "old.json").stat().st_mtime_ns == applied.times_before["old.json"]
    assert (arrived / "logs/app.log").read_bytes() == b"a line\n"
    assert (scratch / "notes/report.txt").read_bytes() == b"what was decided"
    if os.name != "nt":
        assert stat.S_IMODE((arrived / "secret.json").stat().st_mode) == 0o600
    with pytest.raises(TransactionError, match="not empty"):
        applied.store().rollback(rehearse=scratch)


def test_references_that_changed_are_told_and_left_alone(applied: Scene) -> None:
    """A model is recorded, not copied: it can't be brought back, but it is said that it is another one."""
    (applied.tree / "model.gguf").write_bytes(b"another model")
    report = applied.store().rollback()

    assert report.references_changed == (applied.tree / "model.gguf",)
    assert (applied.tree / "model.gguf").read_bytes() == b"another model"


def test_the_latest_transaction_is_taken_if_none_is_named(tmp_path: Path) -> None:
    """Rollbacks and aborted ones do not count; an older one must be named, and waits for later ones."""
    store = TransactionStore(tmp_path / "migrations")
    file = tmp_path / "file"
    with pytest.raises(TransactionError, match="nothing to roll back"):
        store.rollback()
    first = store.apply([FileChange(file, None, b"1")])
    second = store.apply([FileChange(file, sha256(b"1"), b"2")])
    assert first is not None
    assert second is not None
    with pytest.raises(StaleFileError, match="was edited since") as caught:
        store.rollback(first.id)
    assert "roll back later transactions first" in caught.value.advice
    assert store.rollback().id == second.id
    assert file.read_bytes() == b"1"
    assert store.rollback(first.id).id == first.id
    assert not file.exists()


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    """Unknown names, and names that are paths."""
    store = TransactionStore(tmp_path / "migrations")
    for name in ("nonsense", "../migrations", "20200101T000000Z-0000"):
        with pytest.raises(TransactionError, match="no transaction"):
            store.rollback(name)
        with pytest.raises(TransactionError, match="no transaction"):
            store.get(name)
        with pytest.raises(TransactionError, match="no transaction"):
            store.verify(name)
        with pytest.raises(TransactionError, match="no transaction"):
            store.recover(name)


@pytest.mark.parametrize(("call", "times"), [("mkdir", 3), ("replace", 1)])
def test_what_was_undone_can_not_be_rolled_back(tmp_path: Path, call: str, times: int) -> None:
    """It never was in force, whether it failed before its backup was complete or after."""
    file = tmp_path / "file"
    file.write_bytes(b"old")
    seen: list[str] = []

    def chosen(number: int, name: str) -> bool:
        seen.append(name)
        return name == call and seen.count(name) == times

    filesystem = tripwire.Tripwire(chosen, tripwire.failing(errno.ENOSPC))
    store = TransactionStore(tmp_path / "migrations", filesystem=filesystem)
    with pytest.raises(TransactionError, match="No space left") as caught:
        store.apply([FileChange(file, sha256(b"old"), b"new")])
    assert "free some space" in caught.value.advice
    [record] = store.history()
    assert record.state == "aborted"
    with pytest.raises(TransactionError, match="nothing to roll back"):
        store.rollback()
    with pytest.raises(TransactionError, match=r"can't be rolled back|nothing to bring back"):
        store.rollback(record.id)
    assert file.read_bytes() == b"old"


def test_a_rollback_counts_even_if_its_own_set_is_damaged(applied: Scene) -> None:
    """What it did was done, so the first transaction stays rolled back."""
    first = applied.store().history()[0].id
    own = applied.store().rollback().transaction_id
    assert own is not None
    applied.store().get(own).folder.joinpath("manifest.json").unlink()

    assert [record.state for record in applied.store().history()] == ["damaged", "rolled-back"]
    assert applied.store().rollback(first).outcome == "already-rolled-back"


@posix
def test_folders_come_back_with_their_permissions(tmp_path: Path) -> None:
    """A rollback removes the folder it finds; rolling that back makes it again as it was."""
    store = TransactionStore(tmp_path / "migrations")
    file = tmp_path / "private" / "deep" / "file"
    store.apply([FileChange(file, None, b"x")])
    file.parent.chmod(0o711)
    file.parent.parent.chmod(0o700)
    rollback = store.rollback()
    assert not file.parent.parent.exists()
    store.rollback(rollback.transaction_id)
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o711
    assert stat.S_IMODE(file.parent.parent.stat().st_mode) == 0o700


def test_a_whole_tree_that_is_lost_comes_back(applied: Scene) -> None:
    """After `rm -rf`, every file that the set holds is there again; the set does not need the tree."""
    shutil.rmtree(applied.tree)
    applied.tree.mkdir()
    applied.store().rollback(discard_edits=True)

    for name in ("config.json", "secret.json", "old.json", "gone.txt"):
        assert applied.snapshot()[name] == applied.before[name]
