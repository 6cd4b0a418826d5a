"""Whole installations: found, planned, brought over as one transaction, and taken back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from modelplug import Runtime
from modelplug.cli.main import main
from modelplug.migration.migrator import Migrator

Run = Callable[..., tuple[int, str, str]]
CONFIG = '{\n  // mine\n  "lamp": "desk",\n  "brightness": 80\n}\n'


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home folder, empty."""
    home = tmp_path / "user"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    return home


@pytest.fixture
def old_home(user: Path) -> Path:
    """An old installation in its usual place."""
    folder = user / ".lamp"
    folder.mkdir()
    (folder / "LAMP").touch()
    (folder / "lamp.json").write_text(CONFIG)
    (folder / "llama.gguf").write_bytes(b"GGUF" + bytes(100))
    return folder


@pytest.fixture
def run(lamp_plugin: Path, user: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """The program, with the lamp family installed and nothing else."""

    def run_program(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run_program


def test_old_installations_are_found_where_they_usually_are(
    run: Run, old_home: Path, user: Path, lamp: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each real folder once; a place that does not exist is none."""
    assert Migrator(Runtime()).homes() == (old_home.resolve(),)
    (user / ".another-lamp").symlink_to(old_home)
    monkeypatch.setenv("LAMP_HOME", str(user / ".lamp"))
    assert Migrator(Runtime()).homes() == (old_home.resolve(),)


def test_a_plan_without_a_path_is_about_what_was_found(run: Run, old_home: Path, lamp_plugin: Path) -> None:
    """It shows what goes where, and writes nothing."""
    status, out, _ = run("migrate", "plan")

    assert status == 0
    assert f"{lamp_plugin / 'config.json'} is made" in out
    assert "1 models get names" in out
    assert "not copied: 1 large file" in out
    assert "to do: remove the old folder" in out
    assert "lamp.json: brightness -> light.level" in out
    assert not (lamp_plugin / "config.json").exists()


def test_a_home_is_brought_over_and_taken_back_as_a_whole(
    run: Run, old_home: Path, lamp_plugin: Path
) -> None:
    """Settings, names of models and backup; the old folder is never touched."""
    before = {path: path.read_bytes() for path in old_home.iterdir()}
    status, out, _ = run("migrate", "apply", "--yes", "--json")
    assert status == 0
    applied = json.loads(out)
    backup = Path(applied["backup"])

    settings = lamp_plugin / "config.json"
    assert "// mine" in settings.read_text()
    assert [model.name for model in Runtime().history.models()] == ["llama"]
    manifest = json.loads((backup / "manifest.json").read_bytes())
    assert str(old_home.resolve() / "llama.gguf") in json.dumps(manifest)
    assert any(path.read_bytes() == b"1 models\n" for path in backup.rglob("*setup.txt*"))
    assert any(path.read_text() == CONFIG for path in (backup / "files").rglob("*") if path.is_file())
    assert {path: path.read_bytes() for path in old_home.iterdir()} == before

    assert run("migrate", "rollback", "--yes")[0] == 0
    assert not settings.exists()
    assert Runtime().history.models() == []


def test_bringing_a_home_over_twice_changes_nothing(run: Run, old_home: Path, lamp_plugin: Path) -> None:
    """Neither files nor history; once it was rolled back, there is something to do again."""
    run("migrate", "apply", "--yes")
    status, out, _ = run("migrate", "apply", "--yes", "--json")
    assert (status, json.loads(out)["transaction"]) == (0, None)
    assert json.loads(out)["plan"]["counts"]["current"] == 1

    run("migrate", "rollback", "--yes")
    assert json.loads(run("migrate", "plan", "--json")[1])["counts"]["migrate"] == 1


def test_the_settings_alone_can_be_brought_back(
    run: Run, old_home: Path, lamp_plugin: Path, tmp_path: Path
) -> None:
    """Names of models stay; it can be rehearsed, and undone in turn."""
    lamp_plugin.mkdir(exist_ok=True)
    settings = lamp_plugin / "config.json"
    settings.write_text('{"version": 1}\n')
    run("migrate", "apply", "--yes")
    after = settings.read_text()
    assert run("migrate", "rollback", "--settings-only", "--rehearse", tmp_path / "try")[0] == 0
    assert (tmp_path / "try/config.json").read_text() == '{"version": 1}\n'
    assert settings.read_text() == after

    status, out, _ = run("migrate", "rollback", "--settings-only", "--yes", "--json")
    assert status == 0
    assert settings.read_text() == '{"version": 1}\n'
    assert [model.name for model in Runtime().history.models()] == ["llama"]
    assert run("migrate", "rollback", "--settings-only", "--yes")[1] == f"{settings} is as it was already\n"
    assert run("migrate", "rollback", json.loads(out)["transaction_id"], "--yes")[0] == 0
    assert settings.read_text() == after


def test_settings_that_no_migration_changed_cannot_be_brought_back(run: Run) -> None:
    """It says so."""
    status, _, err = run("migrate", "rollback", "--settings-only", "--yes")

    assert (status, "has changed the settings" in err) == (1, True)


def test_existing_settings_are_merged_and_what_gave_way_is_said(
    run: Run, old_home: Path, lamp_plugin: Path
) -> None:
    """Everything that the old configuration says nothing of stays to the byte."""
    lamp_plugin.mkdir(exist_ok=True)
    settings = lamp_plugin / "config.json"
    settings.write_text('{\n  "version": 1, // ours\n  "lamp": "ceiling"\n}\n')
    status, out, _ = run("migrate", "apply", "--yes")

    assert status == 0
    assert "note: lamp.json: lamp in the settings was 'ceiling' and becomes 'desk'" in out
    text = settings.read_text()
    assert '"version": 1, // ours' in text
    assert '"lamp": "desk"' in text


def test_a_configuration_that_cannot_be_migrated_is_left_out_and_said(
    run: Run, old_home: Path, lamp_plugin: Path
) -> None:
    """The rest is brought over."""
    (old_home / "bad.json").write_text('{"lamp": 1, "format": 9}')
    (old_home / "worse.json").write_text('{"lamp": 1, "brightness": "much"}')
    status, out, _ = run("migrate", "apply", "--yes")

    assert status == 0
    assert "warning: bad.json was left out: version 9.0" in out
    assert "warning: worse.json was left out: " in out
    assert (lamp_plugin / "config.json").exists()


def test_a_home_that_a_step_refuses_is_left_alone(run: Run, old_home: Path, lamp_plugin: Path) -> None:
    """An error of the step stops all of it."""
    (old_home / "lamp.json").write_text('{"lamp": 1, "format": 9}')
    status, _, err = run("migrate", "apply", "--yes")

    assert status == 1
    assert "can't be migrated" in err
    assert not (lamp_plugin / "config.json").exists()


def test_the_files_of_a_home_can_be_migrated_one_by_one(run: Run, old_home: Path) -> None:
    """Where the user says that these are what is meant."""
    status, out, _ = run("migrate", "plan", old_home, "--kind", "config", "--json")

    assert status == 0
    (file,) = json.loads(out)["files"]
    assert (file["kind"], Path(file["path"]).name) == ("config", "lamp.json")


@pytest.mark.parametrize("verb", [("config", "show"), ("models", "list")])
def test_the_first_start_says_that_there_is_an_older_installation(
    run: Run, old_home: Path, lamp_plugin: Path, verb: tuple[str, ...]
) -> None:
    """On standard error, with what to type; nothing happens by itself, and later it is not said again."""
    _, out, err = run(*verb)
    assert f"{old_home.resolve()} is an older installation" in err
    assert "modelplug migrate plan" in err
    assert "older" not in out
    assert not (lamp_plugin / "config.json").exists()

    run("migrate", "apply", "--yes")
    assert "older installation" not in run(*verb)[2]


def test_nothing_is_said_where_there_is_nothing_older(run: Run) -> None:
    """Somebody new is not bothered."""
    assert "older" not in run("config", "show")[2]


def test_doctor_knows_of_older_installations_and_of_what_was_cut_off(
    run: Run, old_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a note with what to type."""
    from modelplug.cli import doctor_report

    report = doctor_report.Report()
    found: dict[str, Any] = doctor_report._migrations(Runtime(), report)

    assert found == {"older_installations": [str(old_home.resolve())], "cut_off": []}
    assert [(finding.severity, finding.advice) for finding in report.findings] == [
        ("note", "modelplug migrate plan")
    ]
