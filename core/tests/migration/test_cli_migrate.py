"""`modelplug migrate`, as typed."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelplug.cli.main import main

Run = Callable[..., tuple[int, str, str]]

OLD = '{\n  // how bright\n  "brightness": 80, // percent\n  "lamp": "desk"\n}\n'
NEW_VALUE = {"lamp": "desk", "light": {"level": 0.8}, "format": 3}


@pytest.fixture
def run(lamp_plugin: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """The program, with the lamp family installed and nothing else."""

    def run_program(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["migrate", *map(str, arguments)])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run_program


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A configuration of the oldest version, with a mode of its own."""
    path = tmp_path / "work/lamp.json"
    path.parent.mkdir()
    path.write_text(OLD)
    path.chmod(0o640)
    return path


def as_json(run: Run, *arguments: str | Path) -> Any:
    """What the program prints as JSON; it must succeed."""
    status, out, err = run(*arguments, "--json")
    assert status == 0, err
    return json.loads(out)


def value(path: Path) -> Any:
    """What a configuration with comments says."""
    lines = (line.partition("//")[0] for line in path.read_text().splitlines())
    return json.loads("\n".join(lines))


def test_plan_shows_what_would_change_and_writes_nothing(run: Run, old: Path) -> None:
    """What it is, the steps, every key, the diff; and what to type next."""
    status, out, err = run("plan", old)

    assert status == 0
    assert old.read_text() == OLD
    for words in (
        "config of lamp, old, certain",
        "there is no format",
        "old -> 2.0: The brightness moves into a section of its own",
        "2: 1 kept, 1 mapped; 1 added",
        "brightness -> light.level  (counts from 0 to 1)",
        '-  "brightness": 80, // percent',
        "1 to migrate",
    ):
        assert words in out
    assert f"modelplug migrate apply {old}" in err


def test_apply_does_what_the_plan_shows_and_rollback_undoes_it(run: Run, old: Path) -> None:
    """Content, mode and time come back to the byte; each run is listed."""
    before = old.stat()
    plan = as_json(run, "plan", old)
    applied = as_json(run, "apply", old, "--yes")

    assert value(old) == NEW_VALUE
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert applied["plan"]["files"][0]["changes"] == plan["files"][0]["changes"]
    (record,) = as_json(run, "history")
    assert (record["id"], record["state"]) == (applied["transaction"], "committed")

    report = as_json(run, "rollback", "--yes")
    assert (report["id"], report["outcome"]) == (applied["transaction"], "rolled-back")
    assert old.read_text() == OLD
    assert (old.stat().st_mtime_ns, old.stat().st_mode) == (before.st_mtime_ns, before.st_mode)
    assert [entry["state"] for entry in as_json(run, "history")] == ["committed", "rolled-back"]


def test_applying_twice_changes_nothing(run: Run, old: Path) -> None:
    """The second run finds nothing to do, and makes no transaction."""
    run("apply", old, "--yes")
    before = (old.read_bytes(), old.stat().st_mtime_ns)
    status, out, _ = run("apply", old, "--yes")

    assert status == 0
    assert "nothing to do" in out
    assert (old.read_bytes(), old.stat().st_mtime_ns) == before
    assert len(as_json(run, "history")) == 1


def test_a_saved_plan_is_applied_as_it_was_made(run: Run, old: Path, tmp_path: Path) -> None:
    """Also later, and by another process; it is private, and never written over a file."""
    saved = tmp_path / "plan.json"
    assert run("plan", old, "--save", saved)[0] == 0
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    status, _, err = run("plan", old, "--save", saved)
    assert (status, "exists already" in err) == (2, True)

    assert run("apply", "--plan", saved, "--yes")[0] == 0
    assert value(old) == NEW_VALUE


def test_a_file_that_changed_since_the_plan_is_refused(run: Run, old: Path, tmp_path: Path) -> None:
    """Nothing is written, and the file is named."""
    other = old.with_name("other.json")
    other.write_text(OLD)
    saved = tmp_path / "plan.json"
    run("plan", old.parent, "--save", saved)
    other.write_text(OLD.replace("80", "81"))
    status, _, err = run("apply", "--plan", saved, "--yes")

    assert status == 1
    assert "other.json" in err
    assert old.read_text() == OLD


@pytest.mark.parametrize("text", ["nonsense", '{"plan": 7}', "[]", "{}"])
def test_what_is_no_plan_is_refused(run: Run, tmp_path: Path, text: str) -> None:
    """With what is wrong, and how to make one."""
    saved = tmp_path / "plan.json"
    saved.write_text(text)
    status, _, err = run("apply", "--plan", saved, "--yes")

    assert status == 1
    assert "can't be used as a plan" in err
    assert "migrate plan PATH --save" in err


def test_nobody_is_asked_where_nobody_can_answer(run: Run, old: Path) -> None:
    """Without a terminal, consent has to be given on the command line."""
    for verb in (("apply", old), ("rollback",)):
        status, _, err = run(*verb)
        assert (status, "--yes" in err) == (2, True)
    assert old.read_text() == OLD


def test_refused_files_keep_the_others_from_being_migrated(run: Run, old: Path) -> None:
    """Unless the user says that they shall be left out."""
    bad = old.with_name("bad.json")
    bad.write_text('{"lamp": 1, "format": 9}')
    status, _, err = run("apply", old.parent, "--yes")
    assert (status, "--skip-refused" in err, old.read_text()) == (1, True, OLD)

    status, _, _ = run("apply", old.parent, "--yes", "--skip-refused")
    assert (status, value(old)) == (1, NEW_VALUE)


def test_plan_fails_if_something_is_refused(run: Run, old: Path) -> None:
    """The reason and the advice are printed with the file."""
    old.write_text('{"lamp": 1, "format": 9}')
    status, out, _ = run("plan", old)

    assert status == 1
    assert "refused: version 9.0 of lamp is newer" in out
    assert "try: Upgrade modelplug" in out


def test_rollback_can_be_rehearsed(run: Run, old: Path, tmp_path: Path) -> None:
    """The old content lies in the folder, and nothing else has changed."""
    run("apply", old, "--yes")
    after = old.read_bytes()
    report = as_json(run, "rollback", "--rehearse", tmp_path / "scratch")

    assert report["outcome"] == "rehearsed"
    assert old.read_bytes() == after
    restored = [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()]
    assert [path.read_text() for path in restored] == [OLD]


def test_rollback_refuses_to_lose_an_edit(run: Run, old: Path) -> None:
    """An edit made since the migration stays, unless the user says otherwise; then the backup has it."""
    run("apply", old, "--yes")
    old.write_text('{"lamp": "mine"}')
    status, _, err = run("rollback", "--yes")
    assert (status, old.read_text()) == (1, '{"lamp": "mine"}')
    assert "--discard-edits" in err

    report = as_json(run, "rollback", "--yes", "--discard-edits")
    assert old.read_text() == OLD
    run("rollback", report["transaction_id"], "--yes")
    assert old.read_text() == '{"lamp": "mine"}'


def test_explain_tells_the_steps_between_versions(run: Run) -> None:
    """The docstrings of the steps, what breaks, and whether there is a way back."""
    status, out, _ = run("explain", "lamp", "old", "2")

    assert status == 0
    assert "## old (1.0) -> 2.0 (config)" in out
    assert "`brightness` becomes `light.level`" in out
    assert "- `brightness` is not read any more." in out
    assert "The way back exists" in out
    assert "counts from 0 to 1" not in out
    assert "The whole installation moves" not in out
    everything = as_json(run, "explain", "lamp")
    assert [step["reversible"] for step in everything["steps"]] == [True, False, False]


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (("explain", "lmap"), "Name lamp", 2),
        (("explain", "lamp", "77"), "there are old, 2.0, 3.0", 1),
        (("explain", "lamp", "3", "old"), "would lose something", 1),
        (("plan", "nowhere.json"), "there is no nowhere.json", 1),
        (("plan", "--family", "lmap", "."), "Name lamp", 2),
        (("plan", "--option", "tnit=red", "."), "tint", 2),
        (("plan",), "migrate plan PATH", 2),
        (("rollback", "20200101T000000Z-abcd", "--yes"), "20200101T000000Z-abcd", 1),
        (("plna",), "plan", 2),
    ],
)
def test_mistakes_are_answered_with_what_to_type(
    run: Run, arguments: tuple[str, ...], words: str, status: int
) -> None:
    """Each with the status that says whose mistake it is."""
    ended, _, err = run(*arguments)

    assert words in err
    assert ended == status


def test_status_shows_families_and_unfinished_work(run: Run, old: Path) -> None:
    """Also where nothing was done yet."""
    status, out, _ = run("status")
    assert status == 0
    assert "Configurations of a lamp" in out
    assert "--option tint=" in out
    run("apply", old, "--yes")
    found = as_json(run, "status")
    assert (found["transactions"], found["unfinished"], found["homes"]) == (1, [], [])


def test_recover_has_nothing_to_do_where_nothing_was_cut_off(run: Run) -> None:
    """It says so."""
    assert run("recover")[:2] == (0, "nothing was cut off\n")


def test_the_report_has_what_was_done_and_no_home_paths(run: Run, old: Path, tmp_path: Path) -> None:
    """It can be shown to others."""
    run("apply", old, "--yes")
    status, out, _ = run("report", "--save")

    assert status == 0
    assert "lamp: old, 2.0, 3.0" in out
    assert "committed, old -> 3.0, 1 file, backup intact" in out
    assert "applied" in out.partition("End of the log")[2]
    home = str(Path.home())
    assert home == "/" or home not in out
    assert as_json(run, "report")["transactions"][0]["state"] == "committed"


def test_every_decision_is_in_the_log(run: Run, old: Path, lamp_plugin: Path) -> None:
    """As JSON lines: what was planned, what was written, and the transaction's own steps."""
    run("apply", old, "--yes")
    lines = (lamp_plugin / "logs/migration.log").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    by_event = {entry["event"]: entry for entry in events}

    assert by_event["planned"]["family"] == "lamp"
    assert by_event["applied"]["counts"] == {"kept": 1, "mapped": 1, "extras": 0, "dropped": 0}
    assert len(events) > 3


def test_check_goes_through_the_list(run: Run, old: Path) -> None:
    """Each item with its evidence; nothing passes by default."""
    before = {item["title"]: item for item in as_json_any(run, "check")}
    assert before["Backup created successfully"]["state"] == "unknown"
    run("apply", old, "--yes")
    run("report", "--save")
    after = {item["title"]: item for item in as_json_any(run, "check")}

    assert len(after) == 10
    assert after["Backup created successfully"]["state"] == "pass"
    assert after["Rollback procedure tested (optional)"]["state"] == "pass"
    assert after["Documentation updated"]["state"] == "pass"
    assert after["At least one backend available"]["state"] == "fail"
    assert after["Error handling improved"]["state"] == "unknown"
    assert all(item["evidence"] for item in after.values())
    status, out, _ = run("check")
    assert (status, "pass    Backup created successfully" in out) == (1, True)


def as_json_any(run: Run, *arguments: str) -> Any:
    """What the program prints as JSON, whatever its status."""
    return json.loads(run(*arguments, "--json")[1])


def test_a_damaged_backup_fails_the_check_and_stops_the_rollback(
    run: Run, old: Path, lamp_plugin: Path
) -> None:
    """Nothing is restored from what is not what was stored."""
    applied = as_json(run, "apply", old, "--yes")
    (copy,) = [path for path in (Path(applied["backup"]) / "files").rglob("*") if path.is_file()]
    copy.chmod(0o600)
    copy.write_text("tampered")
    after = old.read_bytes()
    items = {item["title"]: item for item in as_json_any(run, "check")}
    assert items["Backup created successfully"]["state"] == "fail"
    assert items["Rollback procedure tested (optional)"]["state"] == "fail"
    assert run("rollback", "--yes")[0] == 1
    assert old.read_bytes() == after


def test_what_to_type_next_says_what_was_wanted(run: Run, old: Path) -> None:
    """The version asked for is part of it, or something else would be applied."""
    _, _, err = run("plan", old, "--to", "2", "--kind", "config")

    assert f"modelplug migrate apply {old} --kind config --to 2" in err
