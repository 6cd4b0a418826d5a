"""Checkpoints are planned, written aside, verified, put in place, and brought back."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from modelplug import Runtime
from modelplug.errors import MigrationError, StaleFileError, StepFailedError
from modelplug.migration.checkpoints import building, hashing, writing
from modelplug.migration.migrator import Migrator
from modelplug.migration.plan import FilePlan, Plan

TENSORS = {
    "layers.0": b"abcd" * 100_000,
    "layers.1": b"efgh" * 10,
    "flip": b"12345",
    "junk": b"--",
    "empty": b"",
}


@pytest.fixture
def migrator(crate_plugin: Path) -> Migrator:
    """The migrator of a fresh home, with the crate family installed."""
    return Migrator(Runtime())


@pytest.fixture
def crate(migrator: Migrator, tmp_path: Path) -> Callable[..., Path]:
    """Writes a checkpoint of version 1."""
    import modelplug_crate

    folder = tmp_path / "models"
    folder.mkdir()

    def write(name: str = "old.bin", **values: Any) -> Path:
        modelplug_crate.write_crate(folder / name, TENSORS, **values)
        return folder / name

    return write


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden or not."""
    return sorted(entry.name for entry in folder.iterdir())


def only(plan: Plan) -> FilePlan:
    """The one file of a plan."""
    (file,) = plan.files
    return file


# Planning -------------------------------------------------------------------------------------------------


def test_a_plan_says_what_would_be_made_and_writes_nothing(
    migrator: Migrator, crate: Callable[..., Path]
) -> None:
    """The folder, its files, what goes away, and the fate of every tensor."""
    path = crate(note="x")
    file = only(migrator.plan([path]))

    assert file.status == "migrate"
    assert file.build is not None
    assert file.build.path == path.with_suffix("")
    assert file.build.replaces == (path,)
    assert file.build.files.keys() == {"data.safetensors"}
    assert file.account.counts() == {"kept": 0, "mapped": 4, "extras": 1, "dropped": 1}
    assert file.account.added == ("counter",)
    assert names(path.parent) == ["old.bin"]


def test_a_plan_survives_being_saved(migrator: Migrator, crate: Callable[..., Path]) -> None:
    """Applied from a file, it does the same."""
    path = crate()
    plan = Plan.from_dict(json.loads(json.dumps(migrator.plan([path]).to_dict())))
    migrator.apply(plan)

    assert names(path.parent) == ["old"]


def test_a_tensor_without_a_fate_is_an_error_of_the_step(
    migrator: Migrator, crate: Callable[..., Path]
) -> None:
    """It is named, and nothing is planned."""
    file = only(migrator.plan([crate(fault="forget")]))

    assert file.status == "refused"
    assert file.error is not None
    assert "layers.0" in file.error["why"]


def test_what_a_step_refuses_is_refused(migrator: Migrator, crate: Callable[..., Path]) -> None:
    """With its reason."""
    file = only(migrator.plan([crate(fault="error")]))

    assert file.status == "refused"
    assert file.error is not None
    assert file.error["why"] == "this crate can't be migrated"


def test_a_name_that_is_taken_is_refused(migrator: Migrator, crate: Callable[..., Path]) -> None:
    """Nothing is ever overwritten, be it a folder or a broken link."""
    path = crate()
    path.with_suffix("").symlink_to("nowhere")
    file = only(migrator.plan([path]))

    assert file.status == "refused"
    assert file.error is not None
    assert "there is already" in file.error["what"]


def test_a_folder_that_is_a_checkpoint_is_one_artifact(
    migrator: Migrator, crate: Callable[..., Path]
) -> None:
    """Also below the folder that was named; what is in it is not looked at by itself."""
    path = crate()
    migrator.apply(migrator.plan([path]))
    plan = migrator.plan([path.parent.parent / "models"])

    assert [(file.path.name, file.status) for file in plan.files] == [("old", "current")]


# Applying -------------------------------------------------------------------------------------------------


def test_the_folder_takes_the_place_of_the_file(migrator: Migrator, crate: Callable[..., Path]) -> None:
    """Complete, with the hash of what was read; the old file is in the backup."""
    import modelplug_crate

    path = crate(note="x")
    data = path.read_bytes()
    applied = migrator.apply(migrator.plan([path]))
    made = json.loads((path.with_suffix("") / "crate.json").read_text())
    tensors = modelplug_crate.CrateFormat().open(path.with_suffix("")).tensors

    assert names(path.parent) == ["old"]
    assert b"".join(tensors["new.layers.0"].chunks()) == TENSORS["layers.0"]
    assert b"".join(tensors["flipped"].chunks()) == b"54321"
    assert made["chain"] == ["1.0 -> 2.0"]
    assert made["sources"] == {"old.bin": modelplug_crate.sha256(data)}
    assert made["before"] == made["after"] == {}
    assert applied.transaction is not None
    (kept,) = (applied.transaction.folder / "moved").rglob("old.bin")
    assert kept.read_bytes() == data
    assert migrator.store.verify(applied.transaction.id).intact


@pytest.mark.parametrize("how", ["missing", "refused", "cut off", "ended"])
def test_tensors_are_written_where_the_system_does_not_copy_them(
    migrator: Migrator, crate: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Not at all, or only the beginning."""
    asked = []

    def copy(source: int, target: int, count: int, offset: int) -> int:
        asked.append(count)
        if how == "refused" or offset % 2:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return 0 if how == "ended" else os.write(target, os.pread(source, 1, offset))

    monkeypatch.setattr(os, "copy_file_range", copy, raising=False)
    if how == "missing":
        monkeypatch.delattr(os, "copy_file_range")
    path = crate()
    migrator.apply(migrator.plan([path]), verify=True)

    assert bool(asked) == (how != "missing")


def test_if_wished_every_tensor_is_hashed(migrator: Migrator, crate: Callable[..., Path]) -> None:
    """As it was, and as it is."""
    import modelplug_crate

    path = crate(note="x")
    migrator.apply(migrator.plan([path]), verify=True)
    made = json.loads((path.with_suffix("") / "crate.json").read_text())

    assert made["before"] == {name: modelplug_crate.sha256(each) for name, each in TENSORS.items()}
    assert made["after"]["new.layers.1"] == made["before"]["layers.1"]
    assert made["after"]["flipped"] == modelplug_crate.sha256(b"54321")


def test_a_rollback_brings_back_the_file_itself(migrator: Migrator, crate: Callable[..., Path]) -> None:
    """It is the same file, not a copy; and that can be taken back, and again."""
    path = crate()
    number, data = path.stat().st_ino, path.read_bytes()
    applied = migrator.apply(migrator.plan([path]))
    assert applied.transaction is not None
    first = migrator.rollback()

    assert names(path.parent) == ["old.bin"]
    assert (path.stat().st_ino, path.read_bytes()) == (number, data)
    second = migrator.rollback(first.transaction_id)
    assert names(path.parent) == ["old"]
    migrator.rollback(applied.transaction.id)
    assert names(path.parent) == ["old.bin"]
    assert second.outcome == "rolled-back"
    assert all(migrator.store.verify(record.id).intact for record in migrator.history())


def test_permissions_that_keep_others_out_are_kept(migrator: Migrator, crate: Callable[..., Path]) -> None:
    """What came of a private file is private."""
    path = crate()
    path.chmod(0o600)
    migrator.apply(migrator.plan([path]))
    made = path.with_suffix("")

    assert made.stat().st_mode & 0o077 == 0
    assert all(entry.stat().st_mode & 0o077 == 0 for entry in made.iterdir())


def test_verifying_reads_both_sides_again(migrator: Migrator, crate: Callable[..., Path]) -> None:
    """The sums of the account are told."""
    applied = migrator.apply(migrator.plan([crate()]), verify=True)

    (told,) = applied.assured
    assert told == (
        "5 tensors before: 3 moved, 1 transformed, 0 written as text, 1 dropped; 5 after, 1 of them new; "
        "every hash is as it should be"
    )


def test_a_wrong_account_does_not_pass_verification(migrator: Migrator, crate: Callable[..., Path]) -> None:
    """A step that writes something else than it says is found out, and nothing is put in place."""
    path = crate(fault="lie")
    with pytest.raises(MigrationError, match=r"account of .* is wrong") as caught:
        migrator.apply(migrator.plan([path]), verify=True)

    assert "new.layers.0" in caught.value.why
    assert names(path.parent) == ["old.bin"]


def test_a_reference_must_be_reproduced(
    migrator: Migrator, crate: Callable[..., Path], tmp_path: Path
) -> None:
    """A result that gives something else is not put in place."""
    path = crate()
    reference = tmp_path / "sum.txt"
    reference.write_text("7")
    with pytest.raises(MigrationError, match="and not 7"):
        migrator.apply(migrator.plan([path]), reference=reference)
    assert names(path.parent) == ["old.bin"]
    kept = sum(sum(TENSORS[name]) for name in ("layers.0", "layers.1", "flip"))
    reference.write_text(str(kept))

    assert migrator.apply(migrator.plan([path]), reference=reference).assured == (f"the sum is {kept}",)


def test_a_reference_is_for_one_checkpoint(migrator: Migrator, crate: Callable[..., Path]) -> None:
    """With several it is not clear which is meant."""
    paths = [crate("a.bin"), crate("b.bin")]
    with pytest.raises(MigrationError, match="belongs to one checkpoint"):
        migrator.apply(migrator.plan(paths), reference=paths[0])


def test_several_checkpoints_and_all_or_none(migrator: Migrator, crate: Callable[..., Path]) -> None:
    """One that goes wrong keeps all others where they are."""
    good, bad = crate("good.bin"), crate("worse.bin", fault="version")
    with pytest.raises(StepFailedError, match="not recognised as version 2"):
        migrator.apply(migrator.plan([good, bad]))
    assert names(good.parent) == ["good.bin", "worse.bin"]
    bad.unlink()
    other = crate("other.bin")
    migrator.apply(migrator.plan([good, other]))

    assert names(good.parent) == ["good", "other"]


def test_two_that_would_get_one_name_are_refused(migrator: Migrator, crate: Callable[..., Path]) -> None:
    """Before anything is put in place."""
    paths = [crate("same.bin"), crate("same.pt")]
    with pytest.raises(MigrationError, match="two checkpoints would become"):
        migrator.apply(migrator.plan(paths))

    assert names(paths[0].parent) == ["same.bin", "same.pt"]


# What goes wrong ------------------------------------------------------------------------------------------


def test_a_file_that_changed_since_the_plan_is_refused(
    migrator: Migrator, crate: Callable[..., Path]
) -> None:
    """By its time, its size, or its content; gone is refused, too."""
    path = crate()
    plan = migrator.plan([path])
    os.utime(path, ns=(1, 1))
    with pytest.raises(StaleFileError, match="has changed since"):
        migrator.apply(plan)
    plan = migrator.plan([path])
    data = path.read_bytes()
    path.write_bytes(data.replace(b"12345", b"12346"))
    os.utime(path, ns=(1, 1))
    with pytest.raises(StaleFileError, match="has changed since"):
        migrator.apply(plan)
    path.unlink()
    with pytest.raises(StaleFileError, match="is gone"):
        migrator.apply(plan)


def test_a_file_that_changes_while_it_is_read_is_refused(
    migrator: Migrator, crate: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written of it goes away again."""
    path = crate()
    plan = migrator.plan([path])
    monkeypatch.setattr(hashing, "hash_tensor", _touching(path, hashing.hash_tensor))
    with pytest.raises(StaleFileError, match="has changed since"):
        migrator.apply(plan, verify=True)

    assert names(path.parent) == ["old.bin"]


def _touching(path: Path, function: Callable[[Any], str]) -> Callable[[Any], str]:
    def call(tensor: Any) -> str:
        os.utime(path, ns=(1, 1))
        return function(tensor)

    return call


def test_what_does_not_read_back_is_an_error(
    migrator: Migrator, crate: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that fails; the old file stays, and nothing else."""
    path = crate()
    original = writing._write

    def write(target: Path, mode: int, file: Any) -> None:
        original(target, mode, file)
        if target.suffix == ".safetensors":
            target.write_bytes(target.read_bytes().replace(b"abcd", b"abce"))

    monkeypatch.setattr(writing, "_write", write)
    with pytest.raises(MigrationError, match="could not be written") as caught:
        migrator.apply(migrator.plan([path]))

    assert "what was read back is not what was written" in caught.value.why
    assert names(path.parent) == ["old.bin"]


def test_a_tensor_that_gives_too_little_is_an_error(migrator: Migrator, crate: Callable[..., Path]) -> None:
    """And nothing is left of it."""
    path = crate(fault="short")
    with pytest.raises(MigrationError, match="could not be written") as caught:
        migrator.apply(migrator.plan([path]))

    assert "4 bytes instead of 8" in caught.value.why
    assert names(path.parent) == ["old.bin"]


def test_a_full_disk_is_said_before_anything_is_written(
    migrator: Migrator, crate: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With how much it would take."""
    path = crate()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 0))
    with pytest.raises(MigrationError, match="no room"):
        migrator.apply(migrator.plan([path]))

    assert names(path.parent) == ["old.bin"]


def test_what_a_killed_process_left_is_removed(migrator: Migrator, crate: Callable[..., Path]) -> None:
    """And not what one that is alive is writing."""
    path = crate()
    left = path.parent / f"{building._STAGING}{building._host()}-{{}}-{'0' * 32}"
    dead, alive = Path(str(left).format(2**22 + 1)), Path(str(left).format(os.getppid()))
    for folder in (dead, alive):
        (folder / "old").mkdir(parents=True)
    plan = migrator.plan([path.parent])
    assert [file.path for file in plan.files] == [path]
    migrator.apply(plan)

    assert names(path.parent) == [alive.name, "old"]


def test_a_plugin_that_changed_since_the_plan_is_noticed(
    migrator: Migrator, crate: Callable[..., Path]
) -> None:
    """What would come out now is not what was shown."""
    path = crate()
    plan = migrator.plan([path])
    file = only(plan)
    other = attrs.evolve(file, account=attrs.evolve(file.account, added=("another",)))
    with pytest.raises(StaleFileError, match="would not become what was planned"):
        migrator.apply(attrs.evolve(plan, files=(other,)))


# As typed -------------------------------------------------------------------------------------------------


def test_the_program_shows_an_account_that_can_be_read(
    crate: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Plan, apply with verification, and rollback say what they do."""
    from modelplug.cli.main import main

    path = crate()

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["migrate", *arguments])
        assert not ended.value.code
        return capsys.readouterr().out

    plan = run("plan", str(path))
    assert f"{path.with_suffix('')} is made" in plan
    assert f"{path} goes into the backup; it is moved, not copied" in plan
    assert "flip -> flipped  (turned round)" in plan
    assert "junk is dropped  (nobody wants it)" in plan
    assert "counter is new" in plan
    applied = run("apply", str(path), "--yes", "--verify")
    assert "verified: 5 tensors before" in applied
    assert "nothing to do" in run("plan", str(path.with_suffix("")))
    assert str(path) in run("rollback", "--yes")
    assert names(path.parent) == ["old.bin"]


def test_many_tensors_are_shown_as_few(
    migrator: Migrator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that differ only in the number of a layer are one line, with how many there are."""
    import modelplug_crate

    from modelplug.cli.main import main

    path = tmp_path / "many.bin"
    modelplug_crate.write_crate(path, {f"layers.{number}.weight": b"x" for number in range(100)})
    with pytest.raises(SystemExit):
        main(["migrate", "plan", str(path)])
    text = capsys.readouterr().out

    assert "layers.*.weight -> new.layers.*.weight  [100]" in text
    assert "layers.7.weight" not in text
