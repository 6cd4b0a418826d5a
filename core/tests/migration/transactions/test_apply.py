"""Applying: all files or none, and nobody's edits overwritten."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from core.tests.migration.transactions import tripwire
from core.tests.migration.transactions.scene import Scene, sha256

from modelplug.errors import (
    RecoveryNeededError,
    StaleFileError,
    TransactionError,
    TransactionInterruptedError,
)
from modelplug.migration.transactions import Effect, FileChange, FileSystem, TransactionStore

posix = pytest.mark.skipif(os.name == "nt", reason="permission bits, links and owners of POSIX")


def mode(path: Path) -> int:
    """The permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def store(tmp_path: Path) -> TransactionStore:
    """An empty store."""
    return TransactionStore(tmp_path / "migrations")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that holds `old`."""
    file = tmp_path / "config.json"
    file.write_bytes(b"old")
    return file


# What it does -------------------------------------------------------------------------------------------


def test_files_are_created_replaced_and_deleted_together(scene: Scene) -> None:
    """One call, one transaction, every file in its new state, and the effect made."""
    scene.apply()

    assert (scene.tree / "config.json").read_bytes() == b'{"version": 2, "new": true}\n'
    assert (scene.tree / "new/one.json").read_bytes() == b"1\n"
    assert (scene.tree / "new/deep/empty.json").read_bytes() == b""
    assert not (scene.tree / "gone.txt").exists()
    assert (scene.tree / "effect.txt").read_text() == "made"
    [record] = scene.store().history()
    assert record.state == "committed"
    assert record.meta == {"title": "a test"}
    assert len(record.files) == 6


@posix
def test_permissions_are_kept_given_or_left_to_the_umask(scene: Scene) -> None:
    """A private file stays private; a mode that is asked for wins; a new file is as any other new file."""
    plain = scene.tree / "plain"
    plain.write_text("")
    scene.apply()

    assert mode(scene.tree / "secret.json") == 0o600
    assert mode(scene.tree / "old.json") == 0o600
    assert mode(scene.tree / "new/one.json") == 0o640
    assert mode(scene.tree / "new/deep/empty.json") == mode(plain)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_is_kept(store: TransactionStore, file: Path) -> None:
    """A file of another user still belongs to them when root has replaced it, and when it is brought back."""
    os.chown(file, 1234, 2345)
    store.apply([FileChange(file, sha256(b"old"), b"new")])
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 2345)
    store.rollback()
    assert (file.read_bytes(), file.stat().st_uid, file.stat().st_gid) == (b"old", 1234, 2345)


@posix
def test_permissions_alone_can_be_changed_and_brought_back(store: TransactionStore, file: Path) -> None:
    """A change that leaves the content as it is, and makes the file private."""
    file.chmod(0o644)
    store.apply([FileChange(file, sha256(b"old"), b"old", 0o600)])
    assert mode(file) == 0o600
    store.rollback()
    assert mode(file) == 0o644


@posix
def test_a_link_stays_a_link_and_its_target_is_changed(store: TransactionStore, file: Path) -> None:
    """People keep settings elsewhere and link to them; a link to nothing leads to where the file is made."""
    link = file.with_name("link.json")
    link.symlink_to(file.name)
    dangling = file.with_name("dangling.json")
    dangling.symlink_to("elsewhere/made.json")
    store.apply([FileChange(link, sha256(b"old"), b"new"), FileChange(dangling, None, b"made")])

    assert link.is_symlink()
    assert dangling.is_symlink()
    assert file.read_bytes() == b"new"
    assert file.with_name("elsewhere").joinpath("made.json").read_bytes() == b"made"
    store.rollback()
    assert file.read_bytes() == b"old"
    assert dangling.is_symlink()
    assert not file.with_name("elsewhere").exists()


@posix
def test_other_names_of_a_file_keep_their_content_and_that_is_said(tmp_path: Path, file: Path) -> None:
    """A hard link is a second name; only the name that was given gets the new content."""
    other = file.with_name("other.json")
    other.hardlink_to(file)
    events: list[str] = []
    store = TransactionStore(tmp_path / "migrations", log=lambda event, **_: events.append(event))
    store.apply([FileChange(file, sha256(b"old"), b"new")])

    assert file.read_bytes() == b"new"
    assert other.read_bytes() == b"old"
    assert "other names of a file keep its old content" in events
    store.rollback()
    assert file.read_bytes() == b"old"


def test_a_logger_is_told_each_decision(tmp_path: Path, file: Path) -> None:
    """A logger does as well as a callable."""

    class Memory:
        events: list[tuple[str, dict[str, object]]] = []  # noqa: RUF012  one instance, one test

        def info(self, event: str, **fields: object) -> None:
            self.events.append((event, fields))

    store = TransactionStore(tmp_path / "migrations", log=Memory())
    record = store.apply([FileChange(file, sha256(b"old"), b"new")])

    assert record is not None
    assert [event for event, _ in Memory.events] == [
        "a transaction begins",
        "the backup is complete",
        "all files are in place",
        "the transaction is committed",
    ]
    assert all(fields["transaction"] == record.id for _, fields in Memory.events)


def test_a_large_file_is_given_as_a_file_and_left_alone(store: TransactionStore, file: Path) -> None:
    """What a caller staged stays where it is, unless it may be taken."""
    staged = file.with_name("staged")
    staged.write_bytes(b"large" * 1000)
    store.apply([FileChange(file, sha256(b"old"), staged)])

    assert file.read_bytes() == staged.read_bytes() == b"large" * 1000


def test_a_large_file_may_be_taken_and_is_given_back_if_it_is_not_used(tmp_path: Path, file: Path) -> None:
    """Hours of work are not lost because a later effect failed."""
    staged = file.with_name("staged")
    staged.write_bytes(b"large" * 1000)

    class Failing:
        def apply(self, payload: Any, transaction_id: str) -> None:
            raise RuntimeError("no")

        def undo(self, payload: Any, transaction_id: str) -> None:
            pass

    store = TransactionStore(tmp_path / "migrations", handlers={"fail": Failing()})
    change = FileChange(file, sha256(b"old"), staged, take=True)
    with pytest.raises(TransactionError):
        store.apply([change], effects=[Effect("fail")])
    assert file.read_bytes() == b"old"
    assert staged.read_bytes() == b"large" * 1000
    store.apply([change])
    assert file.read_bytes() == b"large" * 1000
    assert not staged.exists()


def test_a_thousand_files_cost_a_handful_of_journal_syncs(tmp_path: Path) -> None:
    """A record announces a whole phase, and each folder is synced once."""
    filesystem = tripwire.counting()
    store = TransactionStore(tmp_path / "migrations", filesystem=filesystem)
    folder = tmp_path / "files"
    folder.mkdir()
    changes = []
    for number in range(1000):
        path = folder / f"{number}.json"
        path.write_bytes(b"old")
        changes.append(FileChange(path, sha256(b"old"), b"new %d" % number))
    store.apply(changes)

    assert [path.read_bytes() for path in (folder / "0.json", folder / "999.json")] == [b"new 0", b"new 999"]
    # The journal: begin, intend, staged, placed, committed. The files: a copy and a new content each.
    assert filesystem.names.count("fsync") == 5
    assert filesystem.names.count("sync_file") == 2001
    assert filesystem.names.count("sync_directory") < 20


# Nothing to do ------------------------------------------------------------------------------------------


def test_what_changes_nothing_writes_nothing(tmp_path: Path, file: Path) -> None:
    """Applying the same content again makes no transaction, no lock, not even the store's folder."""
    filesystem = tripwire.counting()
    store = TransactionStore(tmp_path / "migrations", filesystem=filesystem)
    unchanged = [FileChange(file, sha256(b"old"), b"old"), FileChange(tmp_path / "none", None, None)]
    before = file.stat()

    assert store.apply(unchanged) is None
    assert store.apply([]) is None
    assert not tripwire.CHANGING.intersection(filesystem.names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json"]
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert file.stat().st_ino == before.st_ino


def test_only_what_changes_is_touched(store: TransactionStore, file: Path) -> None:
    """A file whose content is the same stays the very same file."""
    other = file.with_name("other")
    inode = file.stat().st_ino
    record = store.apply([FileChange(file, sha256(b"old"), b"old"), FileChange(other, None, b"new")])

    assert record is not None
    assert record.files == (other,)
    assert file.stat().st_ino == inode


# Refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [b"new", b"planned"])
def test_a_file_that_changed_since_the_plan_is_not_touched(
    store: TransactionStore, file: Path, after: bytes
) -> None:
    """The error names the file, the hash expected and the hash found; even if nothing else would be done."""
    bystander = file.with_name("bystander")
    with pytest.raises(StaleFileError, match="has changed since the plan") as caught:
        store.apply([FileChange(bystander, None, b"x"), FileChange(file, sha256(b"planned"), after)])

    assert caught.value.stale == {file: (sha256(b"planned"), sha256(b"old"))}
    assert sha256(b"planned") in str(caught.value)
    assert sha256(b"old") in str(caught.value)
    assert file.read_bytes() == b"old"
    assert not bystander.exists()
    assert store.history() == []


def test_a_file_that_should_not_exist_or_is_gone_is_a_refusal(store: TransactionStore, file: Path) -> None:
    """New files overwrite nothing, and a deleted file is not made again."""
    with pytest.raises(StaleFileError, match="exists already"):
        store.apply([FileChange(file, None, b"new")])
    gone = file.with_name("gone")
    with pytest.raises(StaleFileError, match="is gone") as caught:
        store.apply([FileChange(gone, sha256(b"x"), b"new")])
    assert caught.value.stale == {gone: (sha256(b"x"), None)}
    assert file.read_bytes() == b"old"


def test_what_can_not_be_done_is_refused_before_anything_is_touched(
    store: TransactionStore, file: Path
) -> None:
    """Folders, files below files, the same file twice, unknown effects, odd notes, data JSON can't hold."""
    change = FileChange(file, sha256(b"old"), b"new")
    refused: list[tuple[str, dict[str, Any]]] = [
        ("it is a folder", {"changes": [FileChange(file.parent, None, b"x")]}),
        ("is a file, not a folder", {"changes": [FileChange(file / "below", None, b"x")]}),
        ("the same file", {"changes": [change, change]}),
        ("handlers for none", {"changes": [change], "effects": [Effect("unknown")]}),
        ("relative path", {"changes": [change], "notes": {"../escape": b""}}),
        ("relative path", {"changes": [change], "notes": {"/root": b""}}),
        ("relative path", {"changes": [change], "notes": {"": b""}}),
        ("not JSON serializable", {"changes": [change], "meta": {"when": object()}}),
        ("Out of range float", {"changes": [change], "effects": [Effect("x", float("nan"))]}),
    ]
    for why, arguments in refused:
        with pytest.raises(TransactionError, match=why) as caught:
            store.apply(**arguments)
        assert caught.value.advice
    assert file.read_bytes() == b"old"
    assert store.history() == []
    with pytest.raises(ValueError, match="SHA-256"):
        FileChange(file, "ABC", b"")


@posix
def test_what_is_no_regular_file_is_left_alone(store: TransactionStore, tmp_path: Path) -> None:
    """A pipe would be waited for, and a device is none of ours."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(TransactionError, match="no regular file"):
        store.apply([FileChange(pipe, None, b"x")])


# Other people's edits -----------------------------------------------------------------------------------


def editing_before(name: str, times: int, edit: Callable[[], object]) -> FileSystem:
    """A file system in which somebody edits a file just before the nth call of a name."""
    seen: list[str] = []

    def chosen(number: int, called: str) -> bool:
        seen.append(called)
        return called == name and seen.count(name) == times

    def trip(called: str, call: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        edit()
        return call()

    filesystem: FileSystem = tripwire.Tripwire(chosen, trip)
    return filesystem


def test_an_edit_between_check_and_replacement_survives(tmp_path: Path, file: Path) -> None:
    """The first file is put back, the edited one stays as its editor left it, and nothing is unfinished."""
    second = file.with_name("second")
    second.write_bytes(b"old")
    filesystem = editing_before("replace", 1, lambda: second.write_bytes(b"edited"))
    store = TransactionStore(tmp_path / "migrations", filesystem=filesystem)
    with pytest.raises(StaleFileError, match="changed by another program meanwhile") as caught:
        store.apply([FileChange(path, sha256(b"old"), b"new") for path in (file, second)])

    assert caught.value.stale == {second: (sha256(b"old"), sha256(b"edited"))}
    assert (file.read_bytes(), second.read_bytes()) == (b"old", b"edited")
    assert [record.state for record in store.history()] == ["aborted"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "migrations", "second"]


def test_an_edit_between_check_and_backup_survives(tmp_path: Path, file: Path) -> None:
    """The copy would not be what the plan was made from, so nothing is begun."""
    # It is read once to be checked, and then to be copied.
    filesystem = editing_before("open_read", 2, lambda: file.write_bytes(b"edited"))
    store = TransactionStore(tmp_path / "migrations", filesystem=filesystem)
    with pytest.raises(StaleFileError, match="changed by another program meanwhile") as caught:
        store.apply([FileChange(file, sha256(b"old"), b"new")])

    assert caught.value.stale == {file: (sha256(b"old"), sha256(b"edited"))}
    assert file.read_bytes() == b"edited"
    assert [record.state for record in store.history()] == ["aborted"]


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path, file: Path) -> None:
    """Between the last look and the act there is no moment in which somebody's new file could be lost."""
    made = file.with_name("made")
    filesystem = editing_before("link", 1, lambda: made.write_bytes(b"theirs"))
    store = TransactionStore(tmp_path / "migrations", filesystem=filesystem)
    with pytest.raises(StaleFileError):
        store.apply([FileChange(file, sha256(b"old"), b"new"), FileChange(made, None, b"ours")])

    assert (file.read_bytes(), made.read_bytes()) == (b"old", b"theirs")
    assert store.unfinished() == []


def test_files_are_made_where_the_file_system_knows_no_second_names(tmp_path: Path, file: Path) -> None:
    """FAT has no hard links; a file is then made by renaming, and still overwrites nothing."""

    class Fat(FileSystem):
        def link(self, existing: Path, new: Path) -> None:
            raise PermissionError(1, "Operation not permitted")

    store = TransactionStore(tmp_path / "migrations", filesystem=Fat())
    store.apply([FileChange(file.with_name("made"), None, b"ours")])
    assert file.with_name("made").read_bytes() == b"ours"
    store.rollback()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "migrations"]


# Effects ------------------------------------------------------------------------------------------------


class Recorder:
    """Effects that only remember; one payload fails, as it is told to."""

    def __init__(self, failing: BaseException | None = None) -> None:
        self.calls: list[tuple[str, Any, str]] = []
        self.failing = failing

    def apply(self, payload: Any, transaction_id: str) -> None:
        """Remember it, and perhaps fail."""
        self.calls.append(("apply", payload, transaction_id))
        if self.failing is not None and payload == "bad":
            raise self.failing

    def undo(self, payload: Any, transaction_id: str) -> None:
        """Remember it."""
        self.calls.append(("undo", payload, transaction_id))


def test_effects_are_made_in_order_and_undone_in_reverse(tmp_path: Path, file: Path) -> None:
    """Each is told the transaction in which it was made, also when a rollback undoes it, and back."""
    recorder = Recorder()
    store = TransactionStore(tmp_path / "migrations", handlers={"note": recorder})
    effects = [Effect("note", {"number": 1}), Effect("note", [2])]
    record = store.apply([FileChange(file, sha256(b"old"), b"new")], effects=effects)
    assert record is not None
    rollback = store.rollback(record.id)
    assert rollback.transaction_id is not None
    store.rollback(rollback.transaction_id)

    assert recorder.calls == [
        ("apply", {"number": 1}, record.id),
        ("apply", [2], record.id),
        ("undo", [2], record.id),
        ("undo", {"number": 1}, record.id),
        ("apply", {"number": 1}, record.id),
        ("apply", [2], record.id),
    ]


def test_effects_alone_make_a_transaction(tmp_path: Path) -> None:
    """There need be no file."""
    recorder = Recorder()
    store = TransactionStore(tmp_path / "migrations", handlers={"note": recorder})
    record = store.apply([], effects=[Effect("note", 1)])

    assert record is not None
    assert (record.state, record.files) == ("committed", ())


def test_an_effect_that_fails_undoes_everything(tmp_path: Path, file: Path) -> None:
    """Files and earlier effects are as they were, and the error keeps its cause."""
    cause = RuntimeError("the database is locked")
    recorder = Recorder(cause)
    store = TransactionStore(tmp_path / "migrations", handlers={"note": recorder})
    with pytest.raises(TransactionError, match="the database is locked") as caught:
        store.apply(
            [FileChange(file, sha256(b"old"), b"new")],
            effects=[Effect("note", "good"), Effect("note", "bad")],
        )

    assert caught.value.__cause__ is cause
    assert file.read_bytes() == b"old"
    assert [call[:2] for call in recorder.calls] == [
        ("apply", "good"),
        ("apply", "bad"),
        ("undo", "bad"),
        ("undo", "good"),
    ]
    assert [record.state for record in store.history()] == ["aborted"]


def test_ctrl_c_undoes_everything(tmp_path: Path, file: Path) -> None:
    """The exit code says that a person stopped it."""
    store = TransactionStore(tmp_path / "migrations", handlers={"note": Recorder(KeyboardInterrupt())})
    with pytest.raises(TransactionInterruptedError) as caught:
        store.apply([FileChange(file, sha256(b"old"), b"new")], effects=[Effect("note", "bad")])

    assert caught.value.exit_code == 130
    assert isinstance(caught.value.__cause__, KeyboardInterrupt)
    assert file.read_bytes() == b"old"


def test_a_request_to_end_the_process_undoes_everything_and_is_passed_on(tmp_path: Path, file: Path) -> None:
    """A signal handler that raises SystemExit ends the process, after the files are back."""
    store = TransactionStore(tmp_path / "migrations", handlers={"note": Recorder(SystemExit(3))})
    with pytest.raises(SystemExit):
        store.apply([FileChange(file, sha256(b"old"), b"new")], effects=[Effect("note", "bad")])
    assert file.read_bytes() == b"old"
    assert store.unfinished() == []


# Unfinished ones ----------------------------------------------------------------------------------------


def test_an_unfinished_transaction_must_be_recovered_first(scene: Scene) -> None:
    """The error says which and what to type; asked to, applying recovers it itself."""
    with pytest.raises(RecoveryNeededError, match="could not be undone"):
        scene.apply(tripwire.crashing(200))
    made = FileChange(scene.tree / "made.txt", None, b"x")
    with pytest.raises(RecoveryNeededError, match="cut off") as caught:
        scene.store().apply([made])

    [unfinished] = scene.store().unfinished()
    assert caught.value.transaction_ids == (unfinished.id,)
    assert "modelplug migrate recover" in caught.value.advice
    with pytest.raises(RecoveryNeededError):
        scene.store().rollback()
    record = scene.store().apply([made], recover=True)
    assert record is not None
    assert record.state == "committed"
    assert scene.store().unfinished() == []
