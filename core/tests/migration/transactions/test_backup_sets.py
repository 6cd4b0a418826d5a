"""Backup sets: complete, verifiable, private, and never overwritten."""

from __future__ import annotations

import datetime
import itertools
import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from core.tests.migration.transactions import tripwire
from core.tests.migration.transactions.scene import OLD_TIME, Scene, Unsynced, sha256

from modelplug.errors import BackupDamagedError, TransactionError
from modelplug.migration.transactions import FileChange, FileSystem, TransactionRecord, TransactionStore

posix = pytest.mark.skipif(os.name == "nt", reason="permission bits, links and pipes of POSIX")


@pytest.fixture
def record(scene: Scene) -> TransactionRecord:
    """The transaction of the scene, applied."""
    scene.apply()
    return scene.store().history()[0]


def place(record: TransactionRecord, path: Path) -> Path:
    """Where the copy of a file lies."""
    return record.folder.joinpath("files", *path.parts[1:])


def mode(path: Path) -> int:
    """The permission bits of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


# What is in it ------------------------------------------------------------------------------------------


def test_a_set_holds_copies_references_and_notes(scene: Scene, record: TransactionRecord) -> None:
    """Copies lie as in the file system, so that a person finds them without any program."""
    assert place(record, scene.tree / "old.json").read_bytes() == b"[]\n"
    assert place(record, scene.tree / "gone.txt").read_bytes() == b"farewell\n"
    assert place(record, scene.tree / "logs/app.log").read_bytes() == b"a line\n"
    assert (record.folder / "notes/report.txt").read_bytes() == b"what was decided"
    assert not place(record, scene.tree / "model.gguf").exists()
    manifest = json.loads((record.folder / "manifest.json").read_bytes())
    items = {item["path"]: item for item in manifest["items"]}
    model = items[str(scene.tree / "model.gguf")]
    assert (model["kind"], model["size"], model["mtime_ns"]) == ("reference", 5000, OLD_TIME)
    assert model["sha256"] == sha256(b"G" * 5000)
    assert items[str(scene.tree / "new/one.json")]["kind"] == "absent"
    assert items[str(scene.tree / "old.json")]["sha256"] == sha256(b"[]\n")
    assert record.size == sum(item["size"] for item in manifest["items"] if "stored" in item)


@posix
def test_copies_keep_permissions_and_times_in_a_private_folder(
    scene: Scene, record: TransactionRecord
) -> None:
    """Nobody else can enter a set, whatever the files in it allow."""
    assert mode(record.folder) == 0o700
    assert mode(record.folder / "manifest.json") == 0o600
    assert mode(record.folder / "journal.jsonl") == 0o600
    copy = place(record, scene.tree / "old.json")
    assert (mode(copy), copy.stat().st_mtime_ns) == (0o640, OLD_TIME)
    assert mode(copy.parent) == 0o700
    assert mode(place(record, scene.tree / "secret.json")) == 0o600


@posix
def test_copies_of_secrets_are_for_their_owner_only(scene: Scene) -> None:
    """Even where the original was readable to others; restoring gives the original permissions."""
    secrets = scene.tree / "secure"
    secrets.mkdir(0o755)
    key = secrets / "storage.key"
    key.write_bytes(b"key")
    key.chmod(0o644)
    store = scene.store()
    record = store.apply(scene.changes(), copies=[secrets])
    assert record is not None
    assert mode(place(record, key)) == 0o600
    assert mode(place(record, secrets)) == 0o700
    scratch = scene.folder / "scratch"
    store.rollback(rehearse=scratch)
    assert mode(scratch.joinpath("files", *key.parts[1:])) == 0o644
    assert mode(scratch.joinpath("files", *secrets.parts[1:])) == 0o755


@posix
def test_folders_are_copied_with_all_that_can_be(scene: Scene) -> None:
    """Links are noted, pipes and sockets skipped; neither models nor the store itself are copied."""
    home = scene.folder
    (scene.tree / "empty").mkdir()
    (scene.tree / "loop").symlink_to("..")
    os.mkfifo(scene.tree / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        directory = os.open(scene.tree, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{directory}/socket")
        os.close(directory)
        scene.store().apply([FileChange(scene.tree / "made", None, b"x")])
        record = scene.store().apply(
            [FileChange(scene.tree / "more", None, b"x")],
            copies=[home, home / "tree/logs", home / "none"],
            references=[scene.tree / "model.gguf", scene.tree / "no-model"],
        )
    assert record is not None
    manifest = json.loads((record.folder / "manifest.json").read_bytes())
    kinds = {item["path"]: item["kind"] for item in manifest["items"]}
    tree = str(scene.tree)
    assert len(kinds) == len(manifest["items"])
    assert not any(path.startswith(str(scene.root)) for path in kinds)
    assert kinds[str(home / "none")] == "absent"
    assert {path.removeprefix(tree): kind for path, kind in kinds.items() if path.startswith(tree)} == {
        "": "folder",
        "/alias.json": "link",
        "/bystander.txt": "file",
        "/config.json": "file",
        "/empty": "folder",
        "/gone.txt": "file",
        "/logs": "folder",
        "/logs/app.log": "file",
        "/loop": "link",
        "/made": "file",
        "/model.gguf": "reference",
        "/more": "absent",
        "/no-model": "absent",
        "/old.json": "file",
        "/pipe": "skipped",
        "/secret.json": "file",
        "/socket": "skipped",
    }
    scratch = scene.folder.with_name("scratch")
    scene.store().rollback(rehearse=scratch)
    arrived = scratch.joinpath("files", *scene.tree.parts[1:])
    assert os.readlink(arrived / "loop") == ".."  # noqa: PTH115  the text itself
    assert (arrived / "empty").is_dir()


@posix
def test_a_folder_of_models_is_referred_to_file_by_file(scene: Scene) -> None:
    """Links to files are followed, as caches of models are made of them; those to folders are not."""
    models = scene.tree / "models"
    (models / "snapshot").mkdir(parents=True)
    (models / "blob").write_bytes(b"weights")
    (models / "snapshot" / "model.bin").symlink_to("../blob")
    (models / "snapshot" / "round").symlink_to("..")
    (models / "snapshot" / "config.json").write_bytes(b"{}")
    record = scene.store().apply(
        [FileChange(scene.tree / "made", None, b"x")],
        references=[models / "snapshot"],
        copies=[models / "snapshot", scene.tree / "logs"],
    )
    assert record is not None
    manifest = json.loads((record.folder / "manifest.json").read_bytes())
    kinds = {item["path"].removeprefix(str(scene.tree)): item["kind"] for item in manifest["items"]}
    assert kinds == {
        "/made": "absent",
        "/logs": "folder",
        "/logs/app.log": "file",
        "/models/blob": "reference",
        "/models/snapshot/config.json": "reference",
    }


def test_a_log_that_is_rotated_away_meanwhile_is_noted_as_absent(scene: Scene) -> None:
    """It was there when the folder was listed, and is no reason to give up."""

    class Rotating(FileSystem):
        def open_read(self, path: Path) -> int:
            if path.name == "app.log":
                path.unlink(missing_ok=True)
            return super().open_read(path)

    scene.apply(Rotating())
    manifest = json.loads((scene.store().history()[0].folder / "manifest.json").read_bytes())
    kinds = {Path(item["path"]).name: item["kind"] for item in manifest["items"]}
    assert kinds["app.log"] == "absent"


def test_a_copy_that_does_not_read_back_stops_everything(scene: Scene) -> None:
    """A disk that stores something else than it was given is found out before the first file is touched."""

    class Lying(FileSystem):
        def sync_file(self, path: Path) -> None:
            if "files" in path.parts and path.name == "old.json":
                path.chmod(0o600)
                path.write_bytes(b"{}\n")
            super().sync_file(path)

    with pytest.raises(BackupDamagedError, match="could not be made"):
        scene.apply(Lying())
    assert scene.snapshot() == scene.before
    assert [record.state for record in scene.store().history()] == ["aborted"]


def test_paths_too_long_for_a_mirror_get_a_number(tmp_path: Path) -> None:
    """A path that fits its own place may not fit below another folder."""
    folder = tmp_path
    while len(str(folder)) < 3700:
        folder = folder / ("d" * 200)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"such a long path can't be made here: {error}")
    file = folder / "file"
    file.write_bytes(b"old")
    store = TransactionStore(tmp_path / ("m" * 100))
    record = store.apply([FileChange(file, sha256(b"old"), b"new")])
    assert record is not None
    assert (record.folder / "long" / "0").read_bytes() == b"old"
    store.rollback()
    assert file.read_bytes() == b"old"


def test_a_failed_backup_takes_no_space(scene: Scene) -> None:
    """What was copied before the disk was full is removed again; nothing had been touched yet."""
    count = itertools.count()

    def chosen(number: int, name: str) -> bool:
        return name == "write" and next(count) == 5

    with pytest.raises(TransactionError, match="No space left"):
        scene.apply(tripwire.Tripwire(chosen, tripwire.failing(28)))
    [record] = scene.store().history()
    assert [path.name for path in record.folder.iterdir()] == ["journal.jsonl"]


class Past(datetime.datetime):
    """A clock that stands in the year 2001."""

    @classmethod
    def now(cls, _zone: object = None) -> Past:
        """The first moment of that year."""
        return cls(2001, 1, 1, tzinfo=datetime.timezone.utc)


# Names --------------------------------------------------------------------------------------------------


def test_sets_are_never_overwritten_and_sort_by_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many in one second, and a clock that goes back: each gets its own folder, later ones sort later."""
    store = TransactionStore(tmp_path / "migrations", filesystem=Unsynced())
    made = []
    for number in range(30):
        if number == 15:
            monkeypatch.setattr("modelplug.migration.transactions.sets.datetime.datetime", Past)
        record = store.apply([FileChange(tmp_path / f"file{number}", None, b"x")])
        assert record is not None
        made.append(record.id)
    assert made == sorted(set(made))
    assert [record.id for record in store.history()] == made[::-1]


def test_when_a_second_is_full_the_next_one_is_taken(tmp_path: Path) -> None:
    """The last number of a second that lies ahead: the name after it belongs to the second after it."""
    store = TransactionStore(tmp_path / "migrations")
    first = store.apply([FileChange(tmp_path / "first", None, b"x")])
    assert first is not None
    first.folder.rename(first.folder.with_name("29991231T235958Z-ffff"))
    second = store.apply([FileChange(tmp_path / "second", None, b"x")])
    assert second is not None
    assert second.id.startswith("29991231T235959Z-")


# Verification -------------------------------------------------------------------------------------------


def test_an_intact_set_verifies(scene: Scene, record: TransactionRecord) -> None:
    """Every item is reported, and nothing is wrong."""
    report = scene.store().verify(record.id)
    assert report.intact
    assert {item.state for item in report.items} == {"intact"}
    assert {item.kind for item in report.items} == {"file", "absent", "reference", "note", "folder"}


def rewrite(path: Path) -> None:
    """Change the content and nothing else."""
    status = path.stat()
    path.chmod(0o600)
    path.write_bytes(b"?" * status.st_size)
    path.chmod(stat.S_IMODE(status.st_mode))
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(("tamper", "state"), [(rewrite, "damaged"), (Path.unlink, "missing")])
@pytest.mark.parametrize("name", ["old.json", "logs/app.log", "report.txt"])
def test_tampering_with_a_copy_is_found(
    scene: Scene, record: TransactionRecord, tamper: Callable[[Path], None], state: str, name: str
) -> None:
    """Even if size, time and permissions are as they were."""
    path = record.folder / "notes" / name if name == "report.txt" else place(record, scene.tree / name)
    tamper(path)
    report = scene.store().verify(record.id)

    assert not report.intact
    [bad] = [item for item in report.items if item.state != "intact"]
    assert bad.state == state
    assert bad.path.name == Path(name).name
    assert str(path) in bad.problem


@pytest.mark.parametrize(("tamper", "state"), [(rewrite, "changed"), (Path.unlink, "gone")])
def test_a_reference_that_changed_is_told_but_is_no_damage(
    scene: Scene, record: TransactionRecord, tamper: Callable[[Path], None], state: str
) -> None:
    """The set never held it."""
    tamper(scene.tree / "model.gguf")
    report = scene.store().verify(record.id)

    assert report.intact
    assert [item.state for item in report.items if item.kind == "reference"] == [state]


@pytest.mark.parametrize("name", ["manifest.json", "journal.jsonl"])
def test_a_set_without_its_records_is_damaged_as_a_whole(
    scene: Scene, record: TransactionRecord, name: str
) -> None:
    """The report says what is wrong; the history lists it all the same."""
    (record.folder / name).write_bytes(b"{}")
    report = scene.store().verify(record.id)

    assert not report.intact
    assert [item.kind for item in report.items] == ["set"]
    [listed] = scene.store().history()
    assert listed.state == "damaged"
    assert listed.problem


# History ------------------------------------------------------------------------------------------------


def test_the_history_tolerates_whatever_lies_in_the_store(scene: Scene, record: TransactionRecord) -> None:
    """Foreign files, empty folders, half a journal, a journal of the future."""
    (scene.root / "notes.txt").write_text("mine")
    (scene.root / "20200101T000000Z-0000").write_text("a file with the name of a set")
    (scene.root / "20200101T000000Z-0001").mkdir()
    torn = scene.root / "20200101T000000Z-0002"
    torn.mkdir()
    (torn / "journal.jsonl").write_bytes(b'{"n": 0, "ti')
    lost = scene.root / "20200101T000000Z-0003"
    (lost / "files").mkdir(parents=True)
    later = scene.root / "20200101T000000Z-0004"
    later.mkdir()
    from modelplug.migration.transactions import journal

    (later / "journal.jsonl").write_bytes(
        journal._line({"n": 0, "time": "2030-01-01T00:00:00+00:00", "event": "begin", "format": 2})
    )
    records = scene.store().history()

    assert [(each.id[-1:], each.state) for each in records[1:]] == [
        ("4", "damaged"),
        ("3", "damaged"),
        ("2", "unfinished"),
        ("1", "unfinished"),
    ]
    assert records[0] == record
    assert "later version" in records[1].problem
    assert "missing or empty" in records[2].problem
    assert {each.id for each in scene.store().unfinished()} == {each.id for each in records[1:]}
    with pytest.raises(BackupDamagedError, match="can't be trusted"):
        scene.store().recover(records[1].id)
    for each in records[3:]:
        assert scene.store().recover(each.id)[0].outcome == "undone"
        assert not each.folder.exists()
