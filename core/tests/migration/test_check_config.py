"""`modelplug migrate check-config`, and what families say of files that they do not migrate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from modelplug.cli.main import main
from modelplug.documents import read_document
from modelplug.migration.account import Finding, Severity
from modelplug.migration.candidates import Candidate
from modelplug.migration.editing import ConfigEditor
from modelplug.migration.graph import MigrationGraph
from modelplug.migration.plan import Plan
from modelplug.migration.planning import Planner
from modelplug.migration.steps import Migration
from modelplug.migration.versions import Version
from modelplug.paths import Paths


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """Exit status and output of the verb."""
    with pytest.raises(SystemExit) as ended:
        main(["migrate", "check-config", *map(str, arguments)])
    return int(ended.value.code or 0), capsys.readouterr().out


def dark(candidate: Candidate) -> Iterator[Finding]:
    """The lamp family's check for these tests: a lamp of the current version must have a light."""
    if "light" not in candidate.mapping:
        yield Finding(
            severity=Severity.ERROR,
            message="it is dark",
            key="lamp",
            line=2,
            nearest="light",
            advice="Add one.",
        )
    yield Finding(severity=Severity.NOTE, message="it is a lamp")


@pytest.fixture
def checked(lamp: Any, lamp_plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed lamp family, with a check."""
    import modelplug_lamp  # type: ignore[import-not-found]

    monkeypatch.setattr(modelplug_lamp, "LAMP", attrs.evolve(modelplug_lamp.LAMP, check=dark))


def test_an_older_version_is_checked_for_what_its_migration_finds(
    lamp_plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Older names have their line and their new name; that the version is an older one is a warning."""
    path = tmp_path / "lamp.json"
    path.write_text('{\n  "brightness": 80,\n  "lamp": "desk"\n}\n')
    status, out = run(capsys, path)
    assert status == 1
    assert "warning: it is of old, and the current version is" in out
    assert f"try: `modelplug migrate plan {path}`" in out
    assert "note: line 2: brightness is light.level in" in out


def test_the_familys_check_decides_on_the_current_version(
    checked: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Errors make it fail, notes do not; line, advice and nearest name are there."""
    path = tmp_path / "lamp.json"
    path.write_text('{"lamp": "desk", "light": {"level": 0.8}, "format": 3}')
    assert run(capsys, path) == (0, f"{path}: config of lamp, 3.0\n  note: it is a lamp\n  1 note\n")
    path.write_text('{"lamp": "desk", "format": 3}')
    status, out = run(capsys, path)
    assert status == 1
    assert "  error: line 2: it is dark\n    try: Add one.\n" in out
    status, out = run(capsys, "--json", path)
    (file,) = json.loads(out)["files"]
    assert not file["valid"]
    assert [issue["nearest"] for issue in file["issues"]] == ["light", ""]


def test_a_family_without_a_check_has_nothing_to_say(
    lamp_plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A configuration of the current version is then in order."""
    path = tmp_path / "lamp.json"
    path.write_text('{"lamp": "desk", "format": 3}')
    status, out = run(capsys, path)
    assert status == 0
    assert "nothing is wrong" in out


@pytest.mark.parametrize(
    ("text", "part"), [("{}", "no configuration of any family"), ('{"brightness": ', "no configuration")]
)
def test_what_no_family_knows_is_an_error(
    lamp_plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, part: str
) -> None:
    """Somebody who asks for a check wants to hear that there is nothing to check."""
    path = tmp_path / "other.json"
    path.write_text(text)
    status, out = run(capsys, path)
    assert status == 1
    assert part in out


# What families say of other files ------------------------------------------------------------------------


def plan_with(lamp: Any, folder: Path, given: Path, *steps: type[Migration], **changes: Any) -> Plan:
    """The plan of a path by a lamp family with some changes."""
    graph = MigrationGraph([attrs.evolve(lamp.LAMP, **changes)], steps or (lamp.OneToTwo, lamp.TwoToThree))
    return Planner(graph, Paths.from_environment({"MODELPLUG_HOME": str(folder / "home")})).plan([given])


def test_a_file_that_is_nothing_to_migrate_is_refused_with_what_it_is(lamp: Any, tmp_path: Path) -> None:
    """If its owner names it; below a folder it is passed over."""
    path = tmp_path / "work" / "bulbs.json"
    path.parent.mkdir()
    path.write_text('{"bulbs": []}')

    def foreign(candidate: Candidate) -> str:
        return "a list of bulbs" if "bulbs" in candidate.mapping else ""

    (file,) = plan_with(lamp, tmp_path, path, foreign=foreign).files
    assert file.status == "refused"
    assert file.error is not None
    assert file.error["what"] == f"{path} is a list of bulbs"
    assert plan_with(lamp, tmp_path, path.parent, foreign=foreign).files == ()
    path.write_text("{}")
    (file,) = plan_with(lamp, tmp_path, path, foreign=foreign).files
    assert file.status == "unknown"


def test_a_step_can_read_what_another_configuration_holds(lamp: Any, tmp_path: Path) -> None:
    """By its path from the folder of the file; what is not there, or no configuration, is nothing."""
    found = []

    class Reads(Migration):
        """Reads."""

        family = "lamp"
        source = Version(1)
        target = Version(2)

        def upgrade(self, artifact: ConfigEditor, context: Any) -> None:
            names = ("deep/other.yaml", "nowhere.json", "broken.json", "lamp.txt", "nul\0.json", "deep")
            found.extend(context.read(name) for name in names)
            artifact.set("format", 2)

    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "other.yaml").write_text("a: 1\n")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "lamp.txt").write_text("a: 1\n")
    (tmp_path / "lamp.json").write_text('{"lamp": "desk"}')
    plan_with(lamp, tmp_path, tmp_path / "lamp.json", Reads, lamp.TwoToThree)
    assert found == [{"a": 1}, None, None, None, None, None]


# The editor ----------------------------------------------------------------------------------------------


def test_findings_carry_the_nearest_name_and_advice() -> None:
    """They survive as plain data."""
    editor = ConfigEditor(read_document(b'{"a": 1,\n "b": 2}', "json"))
    editor.warn("odd", "b", nearest="c", advice="Call it c.")
    editor.error("worse", line=7, advice="Mend it.")
    first, second = editor.findings
    assert (first.line, first.nearest, first.advice) == (2, "c", "Call it c.")
    assert (second.line, second.nearest, second.advice) == (7, "", "Mend it.")
    assert second.to_dict()["advice"] == "Mend it."


def test_a_value_written_anew_is_mapped_with_the_reason() -> None:
    """Its bytes change, so that it is not kept."""
    editor = ConfigEditor(read_document(b"a: 1e6\nb: [1e6]\nc: 1\n", "yaml"))
    editor.respell("a", why="for others")
    editor.respell(("b", 0), why="for others, too")
    fates = {key.key: (key.fate.value, key.target, key.why) for key in editor.account().keys}
    assert fates == {
        "a": ("mapped", "a", "for others"), "b": ("mapped", "b", "for others, too"), "c": ("kept", "c", ""),
    }  # fmt: skip


def test_what_says_the_same_is_told_where_it_is_in_the_end() -> None:
    """A key that was dropped in favour of another one follows it."""
    editor = ConfigEditor(read_document(b'{"a": 1, "b": 1}', "json"))
    editor.drop("a", why="b says the same", into="b")
    editor.move("b", ("s", "c"))
    assert [key.target for key in editor.account().keys] == ["s.c", "s.c"]
