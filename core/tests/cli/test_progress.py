"""Progress where no bar can be drawn."""

from __future__ import annotations

import pytest

from modelplug.cli import progress
from modelplug.cli.progress import ProgressDisplay


def test_each_step_is_a_line_as_it_begins() -> None:
    """A step that goes on is not told again."""
    lines: list[str] = []
    with ProgressDisplay(lines.append) as display:
        for text, done in (("writing", 0.1), ("writing", 0.5), ("comparing", 0.9)):
            display.say(text, done)
    assert lines == ["writing", "comparing"]


def test_a_line_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a pause, nothing is told before it is over, and then also what goes on."""
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    lines: list[str] = []
    with ProgressDisplay(lines.append, seconds=10.0) as display:
        for now in (1.0, 9.0, 10.0, 15.0, 19.0, 20.0):
            display.say(f"at {now:.0f}", 0.5)
    assert lines == ["at 10", "at 20"]
