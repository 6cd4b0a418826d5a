"""The migrator: effects on the history, settings that are merged, and an application that is undone."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

from modelplug import ConfigMigrator, ConfigValidator, MigrationDiagnostics, Runtime
from modelplug.errors import MigrationError, StepFailedError, UnknownArtifactError
from modelplug.history import RunRecord
from modelplug.migration.account import Account
from modelplug.migration.migrator import Migrator
from modelplug.migration.plan import EffectPlan, FilePlan, Plan, PlannedChange
from modelplug.migration.settings_target import merge_settings

OLD = '{\n  "lamp": "desk", // mine\n  "brightness": 80\n}\n'


@pytest.fixture
def migrator(lamp_plugin: Path) -> Migrator:
    """The migrator of a fresh home, with the lamp family installed."""
    return Migrator(Runtime())


def a_plan(path: Path, **rest: Any) -> Plan:
    """A plan that creates one file, and more if the test says so."""
    change = PlannedChange(path=path, before=None, after=b"{}\n")
    file = FilePlan(path=path, given_as=path, status="migrate", **{"changes": (change,), **rest})
    return Plan(files=(file,), created="2026-01-01T00:00:00+00:00", program="0")


def test_effects_on_the_history_are_made_and_undone_as_a_whole(migrator: Migrator, tmp_path: Path) -> None:
    """Models and runs of several effects enter together, marked; a rollback takes just these away."""
    history = migrator.runtime.history
    history.record_run(RunRecord(fingerprint="f", backend="b"))
    model = {"name": "llama", "path": str(tmp_path / "llama.gguf"), "format": "gguf"}
    run = {"fingerprint": "f", "backend": "b", "load_seconds": 1.5, "counted": "words"}
    effects = (
        EffectPlan(kind="history.models", payload={"models": [model]}, summary="one model"),
        EffectPlan(kind="history.runs", payload={"runs": [run]}, summary="one run"),
    )
    applied = migrator.apply(a_plan(tmp_path / "new.json", effects=effects))

    assert applied.transaction is not None
    assert [(m.name, m.origin) for m in history.models()] == [("llama", applied.transaction.id)]
    (imported,) = history.runs(imported=True)
    assert (imported.load_seconds, json.loads(imported.details)) == (1.5, {"counted": "words"})
    migrator.rollback()
    assert (history.models(), history.runs(imported=True), len(history.runs())) == ([], [], 1)
    assert not (tmp_path / "new.json").exists()


def test_an_effect_that_fails_undoes_everything(migrator: Migrator, tmp_path: Path) -> None:
    """The file is gone again, and the error says why."""
    bad = EffectPlan(kind="history.runs", payload={"runs": [{"backend": "b"}]}, summary="a run of nothing")
    with pytest.raises(MigrationError):
        migrator.apply(a_plan(tmp_path / "new.json", effects=(bad,)))

    assert not (tmp_path / "new.json").exists()
    assert migrator.runtime.history.runs(imported=True) == []


def test_an_effect_that_nobody_carries_out_is_refused_first(migrator: Migrator, tmp_path: Path) -> None:
    """For example when the plugin that brought it is gone; nothing is written."""
    unknown = EffectPlan(kind="registry", payload={}, summary="?", family="lamp")
    with pytest.raises(MigrationError, match="lamp:registry"):
        migrator.apply(a_plan(tmp_path / "new.json", effects=(unknown,)))

    assert not (tmp_path / "new.json").exists()


def test_two_parts_that_write_the_same_file_differently_are_refused(
    migrator: Migrator, tmp_path: Path
) -> None:
    """Which of them should win is not for the program to say."""
    plan = a_plan(tmp_path / "new.json")
    other = attrs.evolve(plan.files[0].changes[0], after=b"[]\n")
    second = attrs.evolve(plan.files[0], changes=(other,))
    with pytest.raises(MigrationError, match="each in its own way"):
        migrator.apply(attrs.evolve(plan, files=(*plan.files, second)))


def test_a_result_that_is_not_recognised_on_disk_is_put_back(migrator: Migrator, tmp_path: Path) -> None:
    """Applying reads again what it wrote, as a second run would."""
    path = tmp_path / "lamp.json"
    path.write_text(OLD)
    plan = migrator.plan([path])
    (file,) = plan.files
    wrong = attrs.evolve(file.changes[0], after=b'{"lamp": 1, "format": 2}')
    with pytest.raises(StepFailedError, match="not what it should be"):
        migrator.apply(attrs.evolve(plan, files=(attrs.evolve(file, changes=(wrong,)),)))

    assert path.read_text() == OLD
    assert [record.state for record in migrator.history()] == ["committed", "rolled-back"]


def test_merging_into_no_settings_takes_the_text_as_it_is() -> None:
    """With its comments."""
    assert merge_settings(None, OLD.encode(), source=Path("old")).data == OLD.encode()


def test_merging_changes_only_what_the_configuration_says() -> None:
    """Every other byte of the settings stays, and what gave way is told."""
    settings = b'{\n  // mine\n  "a": 1, // one\n  "s": {"x": 1, "y": [1]},\n  "b": 1.0e-8\n}\n'
    new = b'{"a": 2, "s": {"x": 1, "z": null}, "b": {"deep": true}, "new": "text"}'
    merged = merge_settings(settings, new, source=Path("old.json"))
    text = merged.data.decode()

    assert "  // mine\n" in text
    assert '"a": 2, // one' in text
    assert '"s": {"x": 1, "y": [1], "z": null}' in text
    assert '"new": "text"' in text
    assert [finding.key for finding in merged.findings] == ["a", "b"]
    assert "was 1 and becomes 2, as in old.json" in merged.findings[0].message


def test_the_guides_migrator_carries_a_configuration_into_the_settings(
    lamp_plugin: Path, tmp_path: Path
) -> None:
    """The old file stays, what the settings said besides stays, and it can be undone."""
    old = tmp_path / "old" / "lamp.json"
    old.parent.mkdir()
    old.write_text(OLD)
    settings = lamp_plugin / "config.json"
    settings.write_text('{\n  "version": 1,\n  "isolation": "inline" // mine\n}\n')
    before = settings.read_text()
    report = ConfigMigrator().migrate_from_legacy(str(old))

    assert (report.success, report.detected) == (True, "config of lamp, old")
    assert old.read_text() == OLD
    assert '"isolation": "inline", // mine' in settings.read_text()
    assert '"level": 0.8' in settings.read_text()
    assert report.account.counts() == {"kept": 1, "mapped": 1, "extras": 0, "dropped": 0}
    assert f"modelplug migrate rollback {report.transaction}" in str(report)
    Migrator(Runtime()).rollback(report.transaction)
    assert settings.read_text() == before


def test_carrying_over_twice_changes_nothing(lamp_plugin: Path, tmp_path: Path) -> None:
    """The second time there is nothing to write, and no transaction."""
    old = tmp_path / "lamp.json"
    old.write_text(OLD)
    first = ConfigMigrator().migrate_from_legacy(old)
    content = (lamp_plugin / "config.json").read_bytes()
    second = ConfigMigrator().migrate_from_legacy(old)

    assert (bool(first.transaction), second.transaction) == (True, "")
    assert (lamp_plugin / "config.json").read_bytes() == content


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "there is no file"),
        ('{"a": 1}', "no configuration that any installed plugin knows"),
        ('{"lamp": 1, "format": 9}', "newer than any"),
        ('{"lamp": 1, "brightness": "much"}', "can't be migrated as it is"),
    ],
)
def test_what_cannot_be_carried_over_is_an_error_and_writes_nothing(
    lamp_plugin: Path, tmp_path: Path, text: str | None, words: str
) -> None:
    """With what to type next."""
    old = tmp_path / "lamp.json"
    if text is not None:
        old.write_text(text)
    with pytest.raises(MigrationError, match=words) as caught:
        ConfigMigrator().migrate_from_legacy(old)

    assert isinstance(caught.value, UnknownArtifactError) or caught.value.why
    assert not (lamp_plugin / "config.json").exists()


def test_broken_settings_are_not_written_over(lamp_plugin: Path, tmp_path: Path) -> None:
    """They are the user's; the error says how to set them aside."""
    old = tmp_path / "lamp.json"
    old.write_text(OLD)
    (lamp_plugin / "config.json").write_text("{ broken")
    with pytest.raises(MigrationError, match="can't be understood") as caught:
        ConfigMigrator().migrate_from_legacy(old)

    assert "config reset" in caught.value.advice
    assert (lamp_plugin / "config.json").read_text() == "{ broken"


def test_the_diagnostic_report_prints_and_has_data(lamp_plugin: Path, tmp_path: Path) -> None:
    """Also before anything was done."""
    report = MigrationDiagnostics().generate_report()

    assert "modelplug-lamp 1.0" in str(report)
    assert report.data["transactions"] == []
    assert report.data["families"][0]["versions"] == ["old", "2.0", "3.0"]


def test_an_account_that_adds_up_counts_nothing_twice() -> None:
    """An empty one has no keys of any fate."""
    assert Account().counts() == {"kept": 0, "mapped": 0, "extras": 0, "dropped": 0}


def test_extras_are_settings_that_nobody_complains_about(own_home: Path, lamp: ModuleType) -> None:
    """What a migration shelves is valid where it lies."""
    own_home.mkdir(exist_ok=True)
    path = own_home / "config.json"
    path.write_text('{"version": 1, "extras": {"llama-cpp-python": {"n_gqa": 8}}}')

    assert ConfigValidator({}).validate_config(path).issues == ()
