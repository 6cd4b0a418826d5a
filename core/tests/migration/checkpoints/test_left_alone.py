"""Files that are called like checkpoints, and that no step takes: plans of folders say why they stay."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import pytest

from modelplug import Runtime
from modelplug.cli.main import main
from modelplug.migration.detection import Wishes
from modelplug.migration.migrator import Migrator
from modelplug.migration.plan import Plan
from modelplug.migration.planning import Planner
from modelplug.migration.steps import Kind

FOREIGN = "of a model that no installed family knows"


def safetensors_bytes() -> bytes:
    """A safetensors file with one tensor, as another program wrote it."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4)


def torch_bytes() -> bytes:
    """A file in the form that `torch.save` writes, with a plain dictionary in it."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"epoch": 3}, protocol=2))
        archive.writestr("archive/version", "3\n")
    return data.getvalue()


@pytest.fixture
def migrator(crate_plugin: Path) -> Migrator:
    """The migrator of a fresh home, with a family of checkpoints installed."""
    return Migrator(Runtime())


@pytest.fixture
def folder(migrator: Migrator, tmp_path: Path) -> Path:
    """A folder with one checkpoint, and with files of every sort that are called like one."""
    import modelplug_crate

    folder = tmp_path / "run"
    folder.mkdir()
    modelplug_crate.write_crate(folder / "ours.bin", {"layers.0": b"abcd"})
    (folder / "another.safetensors").write_bytes(safetensors_bytes())
    (folder / "another.pt").write_bytes(torch_bytes())
    (folder / "cut.pt").write_bytes(torch_bytes()[:-30])
    (folder / "cut.safetensors").write_bytes(safetensors_bytes()[:20])
    (folder / "empty.ckpt").write_bytes(b"")
    (folder / "firmware.bin").write_bytes(bytes(range(256)))
    (folder / "notes.txt").write_text("of no interest")
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """The exit status of the program, and what it printed."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["migrate", *map(str, arguments)])
    return int(ended.value.code or 0), capsys.readouterr().out


def test_the_plan_of_a_folder_says_what_stays_and_why(migrator: Migrator, folder: Path) -> None:
    """Each by its name and what it is; what is taken is in the plan as ever."""
    plan = migrator.plan([folder])
    left = {file.path.name: (file.what, file.why) for file in plan.left_alone}

    assert [file.path.name for file in plan.with_status("migrate")] == ["ours.bin"]
    assert left.keys() == {
        "another.pt", "another.safetensors", "cut.pt", "cut.safetensors", "empty.ckpt", "firmware.bin",
    }  # fmt: skip
    assert left["another.pt"] == (f"PyTorch weights {FOREIGN}", "")
    assert left["another.safetensors"] == (f"safetensors weights {FOREIGN}", "")
    assert left["cut.pt"][0] == left["cut.safetensors"][0] == "a file that is cut off"
    assert "cut off" in left["cut.pt"][1]
    assert left["empty.ckpt"][0] == left["firmware.bin"][0] == "no checkpoint"
    assert all(why for what, why in left.values() if FOREIGN not in what)


def test_a_saved_plan_keeps_them(migrator: Migrator, folder: Path) -> None:
    """And one that was saved before there were any can be read."""
    plan = migrator.plan([folder])
    saved = json.loads(json.dumps(plan.to_dict()))

    assert Plan.from_dict(saved).left_alone == plan.left_alone
    del saved["left_alone"]
    assert Plan.from_dict(saved).left_alone == ()


def test_what_is_left_alone_keeps_nothing_from_being_migrated(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan succeeds, and applying it touches none of these files."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    status, out = run(capsys, "plan", folder)

    assert status == 0
    assert "left alone" in out
    assert f"{folder / 'cut.pt'}: " in out
    assert "1 to migrate, 6 left alone" in out
    assert run(capsys, "apply", folder, "--yes")[0] == 0
    del before["ours.bin"]
    assert all((folder / name).read_bytes() == data for name, data in before.items())


def test_many_files_of_one_sort_are_counted(
    migrator: Migrator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A thousand of them are a few lines for people, and all of them for programs; -v names each."""
    folder = tmp_path / "run"
    folder.mkdir()
    for number in range(1000):
        (folder / f"{number:04}.bin").write_bytes(bytes([number % 200]) * 64)
    status, out = run(capsys, "plan", folder)

    assert status == 0
    assert len(out.splitlines()) < 12
    assert "no checkpoint: 1000 files" in out
    assert "and 997 more" in out
    assert "0 to migrate, 1000 left alone" in out
    assert len(json.loads(run(capsys, "plan", folder, "--json")[1])["left_alone"]) == 1000
    assert "0999.bin" in run(capsys, "plan", folder, "-v")[1]


def test_a_file_that_is_named_is_answered_for_itself(migrator: Migrator, folder: Path) -> None:
    """It is unknown, and not one of many."""
    plan = migrator.plan([folder / "firmware.bin"])
    assert [file.status for file in plan.files] == ["unknown"]
    assert plan.left_alone == ()


def test_who_asks_for_something_else_hears_nothing_of_them(migrator: Migrator, folder: Path) -> None:
    """Where another kind is wanted, files called like checkpoints are not in question."""
    assert migrator.plan([folder], Wishes(kind=Kind.CONFIG)).left_alone == ()
    assert len(migrator.plan([folder], Wishes(kind=Kind.CHECKPOINT)).left_alone) == 6


def test_families_without_checkpoints_have_nothing_to_do_with_them(planner: Planner, tmp_path: Path) -> None:
    """They are passed over, as any other file is."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "firmware.bin").write_bytes(bytes(64))
    assert planner.plan([folder]).left_alone == ()
