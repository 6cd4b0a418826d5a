"""The log: JSON lines, bounded, redacted, and never in the way."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelplug import logs
from modelplug.logs import LOG_NAME, get_logger
from modelplug.paths import Paths

if TYPE_CHECKING:
    import pytest


def lines(paths: Paths) -> list[dict[str, Any]]:
    """The events in the log."""
    return [json.loads(line) for line in (paths.logs / LOG_NAME).read_text("utf-8").splitlines()]


def test_events_are_json_lines_with_time_level_and_fields(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each event is one line that a program can read; warnings are also told to people."""
    log = get_logger("part", paths=paths)
    log.info("it began", seconds=1.5)
    log.warning("it was slow", file=Path("x"))
    log.error("it broke\nbadly")
    first, second, third = lines(paths)
    assert (first["event"], first["level"], first["logger"], first["seconds"]) == (
        "it began",
        "info",
        "part",
        1.5,
    )
    assert first["timestamp"].endswith("Z")
    assert second["file"] == "x"
    assert third["event"] == "it broke\nbadly"
    told = capsys.readouterr().err
    assert "it began" not in told
    assert "modelplug: warning: it was slow (file=x)" in told
    assert "modelplug: error: it broke" in told


def test_a_quiet_logger_tells_people_nothing(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    """What a program says in its own way need not be said twice."""
    get_logger("part", paths=paths, quiet=True).warning("hush")
    assert capsys.readouterr().err == ""
    assert lines(paths)[0]["event"] == "hush"


def test_secrets_do_not_reach_the_log(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    """Events pass the redaction of bug reports, on both ways out."""
    get_logger("part", paths=paths).warning("asked with hf_abcdefghijklmnopqrstuvwxyz", token="hunter2secret")
    text = (paths.logs / LOG_NAME).read_text() + capsys.readouterr().err
    assert "abcdefghijklmnop" not in text
    assert "hunter2secret" not in text


def test_a_log_that_cannot_be_written_is_mentioned_once_and_breaks_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where the folder should be: one sentence, and the program goes on."""
    (tmp_path / "logs").write_text("in the way")
    paths = Paths(config=tmp_path, data=tmp_path, cache=tmp_path, logs=tmp_path / "logs")
    for _ in range(3):
        get_logger("part", paths=paths).info("something")
    told = capsys.readouterr().err
    assert told.count("no log is kept") == 1
    assert "logs" in told


def test_the_log_stays_bounded(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old events make room; the files kept are few, and each ends with a whole line."""
    monkeypatch.setattr(logs, "MAX_BYTES", 2000)
    log = get_logger("part", paths=paths)
    for number in range(100):
        log.info("event", number=number)
    files = sorted(paths.logs.glob(f"{LOG_NAME}*"))
    kept = [file for file in files if file.suffix != ".lock"]
    assert len(kept) == logs.KEPT_FILES
    assert all(file.stat().st_size < 3000 for file in kept)
    assert lines(paths)[-1]["number"] == 99
    numbers = [
        json.loads(line)["number"] for file in reversed(kept) for line in file.read_text().splitlines()
    ]
    assert numbers == list(range(numbers[0], 100))


def test_lines_of_several_processes_do_not_mix(paths: Paths) -> None:
    """Processes that log at once leave whole lines, and all of them."""
    program = """
        from modelplug.logs import get_logger
        log = get_logger("part")
        for number in range(200):
            log.info("x" * 300, number=number)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    writers = [subprocess.Popen(command) for _ in range(3)]
    for writer in writers:
        with writer:
            assert writer.wait(60) == 0
    assert sorted(event["number"] for event in lines(paths)) == sorted(list(range(200)) * 3)


def test_nothing_is_set_up_before_the_first_event(home: Path) -> None:
    """Getting a logger imports no logging library and makes no folder."""
    program = """
        import sys
        from modelplug.logs import get_logger
        get_logger("part")
        print("structlog" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "False"
    assert not home.exists()
