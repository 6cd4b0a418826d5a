"""Files and folders that are renamed in a transaction: nothing is copied, and everything comes back."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from core.tests.migration.transactions import tripwire
from core.tests.migration.transactions.scene import Scene, Unsynced, sha256, snapshot

from modelplug.errors import (
    BackupDamagedError,
    RecoveryConflictError,
    RecoveryNeededError,
    StaleFileError,
    TransactionError,
)
from modelplug.migration.transactions import Move, TransactionStore

LARGE = b"P" * 5000


@pytest.fixture
def moving(scene: Scene) -> Scene:
    """A scene in which folders take the places of a large file and of another folder."""
    scene.build(moves=True)
    return scene


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system, where there is one."""
    place = Path("/dev/shm")
    if not place.is_dir() or place.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev:
        pytest.skip("there is no second file system here")
    folder = Path(tempfile.mkdtemp(prefix="modelplug-test-", dir=place))
    yield folder
    shutil.rmtree(folder)


def inode(path: Path) -> int:
    """The number of a file or folder on its disk."""
    return path.stat().st_ino


def test_things_change_places_without_being_copied(moving: Scene) -> None:
    """The numbers on the disk stay what they were, and what is put away lies in the set."""
    made, large = inode(moving.staging / "made"), inode(moving.tree / "large.pt")
    moving.apply()
    [record] = moving.store().history()

    assert inode(moving.tree / "large") == made
    assert not (moving.tree / "large.pt").exists()
    assert inode(record.folder / "moved/1/large.pt") == large
    assert (moving.tree / "weights/config.json").read_text() == str(moving.staging)
    assert (record.folder / "moved/2/weights/config.json").read_text() == str(moving.tree)
    assert {path.name for path in record.files} >= {"large", "large.pt", "weights"}
    assert record.size >= len(LARGE)


def test_a_rollback_and_its_rollback(moving: Scene) -> None:
    """To and fro as often as one likes; every set stays intact."""
    large = inode(moving.tree / "large.pt")
    moving.apply()
    after = moving.snapshot()
    store = moving.store()
    for _ in range(2):
        first = store.rollback(store.history()[-1].id)
        assert moving.snapshot() == moving.before
        assert inode(moving.tree / "large.pt") == large
        store.rollback(first.transaction_id)
        assert moving.snapshot() == after

    assert all(store.verify(record.id).intact for record in store.history())


def test_a_failure_brings_everything_back(moving: Scene) -> None:
    """Also what was to be put in place lies again where it was made."""
    staged = snapshot(moving.staging)
    moving.abort()

    assert moving.snapshot() == moving.before
    assert snapshot(moving.staging) == staged


def test_what_is_put_away_stays_on_its_file_system(elsewhere: Path, tmp_path: Path) -> None:
    """Where the sets are on another one, it is kept beside itself under a hidden name, and comes back."""
    path = elsewhere / "large.pt"
    path.write_bytes(LARGE)
    number = inode(path)
    store = TransactionStore(tmp_path / "migrations", filesystem=Unsynced())
    record = store.apply([], moves=[Move(path)])
    assert record is not None
    (kept,) = elsewhere.iterdir()

    assert kept.name == f".modelplug-{record.id}-0.away"
    assert inode(kept) == number
    store.rollback()
    assert [entry.name for entry in elsewhere.iterdir()] == ["large.pt"]
    assert inode(path) == number


def test_what_can_not_be_moved_is_refused_first(moving: Scene) -> None:
    """Something gone, a name that is taken, another file system, a link: nothing is touched."""
    (moving.tree / "link").symlink_to("large.pt")
    before = moving.snapshot()
    refused: list[tuple[Move, type[TransactionError], str]] = [
        (Move(moving.tree / "nothing"), StaleFileError, "is gone"),
        (Move(moving.staging / "made", moving.tree / "large.pt"), StaleFileError, "exists already"),
        (Move(moving.staging / "made", moving.tree / "no/such"), TransactionError, "can't be moved to"),
        (Move(moving.tree / "link"), TransactionError, "can't be moved"),
    ]
    for move, kind, text in refused:
        with pytest.raises(kind, match=text):
            moving.store().apply([], moves=[move])

    assert moving.snapshot() == before
    assert moving.store().history() == []


def crashed(scene: Scene, call: str, times: int = 1) -> None:
    """Break an apply off at the nth call of a name, after everything was staged."""
    probe = tripwire.counting()
    scene.apply(probe)
    numbers = [number for number, name in enumerate(probe.names, 1) if name == call]
    scene.build(moves=True)
    with pytest.raises(RecoveryNeededError):
        scene.apply(tripwire.crashing(numbers[times - 1]))


def test_recovery_takes_up_renames(moving: Scene) -> None:
    """What is ready is put in place, and what was moved already stays."""
    crashed(moving, "replace", 2)
    [report] = moving.store().recover()

    assert report.outcome == "finished"
    assert (moving.tree / "large/deep/large.bin").exists()
    assert not (moving.tree / "large.pt").exists()


def test_recovery_goes_back_where_the_new_is_gone(moving: Scene) -> None:
    """As when somebody removed what had been written aside."""
    crashed(moving, "replace", 1)
    shutil.rmtree(moving.staging / "weights")
    with pytest.raises(RecoveryConflictError):
        moving.store().recover()
    [report] = moving.store().recover(keep_edits=True)

    assert report.left_alone == (moving.tree / "weights",)


Change = Callable[[Scene], None]


def _remove_from_set(scene: Scene) -> None:
    (kept,) = scene.root.glob("*/moved/1/large.pt")
    kept.unlink()


def _shorten_in_set(scene: Scene) -> None:
    (kept,) = scene.root.glob("*/moved/1/large.pt")
    kept.write_bytes(b"short")


@pytest.mark.parametrize("change", [_remove_from_set, _shorten_in_set])
def test_damage_to_what_was_put_away_stops_a_rollback(moving: Scene, change: Change) -> None:
    """It is seen before anything is touched."""
    moving.apply()
    after = moving.snapshot()
    change(moving)
    with pytest.raises(BackupDamagedError):
        moving.store().rollback()

    assert moving.snapshot() == after
    [record] = moving.store().history()
    assert not moving.store().verify(record.id).intact


def test_verifying_reads_what_was_put_away(moving: Scene) -> None:
    """The same size and time are not enough."""
    moving.apply()
    (kept,) = moving.root.glob("*/moved/1/large.pt")
    kept.write_bytes(b"Q" * 5000)
    [record] = moving.store().history()

    assert [item.path.name for item in moving.store().verify(record.id).items if item.state == "damaged"] == [
        "large.pt"
    ]


def test_something_in_the_way_of_a_rollback(moving: Scene) -> None:
    """It is not touched, unless the edits are discarded: then it goes into the backup."""
    moving.apply()
    (moving.tree / "large.pt").write_bytes(b"mine")
    with pytest.raises(StaleFileError, match=r"large\.pt is not what the transaction"):
        moving.store().rollback()
    report = moving.store().rollback(discard_edits=True)

    assert moving.snapshot() == moving.before
    assert report.transaction_id is not None
    moved = moving.store().get(report.transaction_id).folder / "moved"
    assert [path.read_bytes() for path in moved.rglob("large.pt")] == [b"mine"]


def test_a_result_that_is_gone_is_no_obstacle(moving: Scene) -> None:
    """The old comes back."""
    moving.apply()
    shutil.rmtree(moving.tree / "large")
    moving.store().rollback()

    assert moving.snapshot() == moving.before
    assert sha256((moving.tree / "large.pt").read_bytes()) == sha256(LARGE)
