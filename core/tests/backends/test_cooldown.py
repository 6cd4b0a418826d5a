"""Remembering which engine keeps dying on which model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelplug.backends.cooldown import CRASHES, FIRST_PAUSE, LONGEST_PAUSE, MEMORY_SECONDS, Cooldown


@pytest.fixture
def cooldown(tmp_path: Path) -> Cooldown:
    """A cool-down with an empty memory."""
    return Cooldown(tmp_path / "cache" / "cooldown.json")


def test_two_deaths_are_forgiven_and_the_third_is_not(cooldown: Cooldown) -> None:
    """The pause begins with the third death."""
    for number in range(CRASHES):
        assert cooldown.remaining("a", "model", now=100.0 + number) == 0.0
        cooldown.crashed("a", "model", now=100.0 + number)
    assert cooldown.remaining("a", "model", now=102.0) == FIRST_PAUSE
    assert cooldown.remaining("a", "model", now=102.0 + FIRST_PAUSE) == 0.0


@pytest.mark.parametrize("deaths", [3, 4, 5, 8, 20])
def test_the_pause_doubles_up_to_a_limit(cooldown: Cooldown, deaths: int) -> None:
    """Each further death doubles the pause, which never exceeds five minutes."""
    for _ in range(deaths):
        cooldown.crashed("a", "model", now=1000.0)
    expected = min(FIRST_PAUSE * 2.0 ** (deaths - CRASHES), LONGEST_PAUSE)
    assert cooldown.remaining("a", "model", now=1000.0) == expected


def test_success_wipes_the_slate(cooldown: Cooldown) -> None:
    """A request that succeeded ends the pause and the count."""
    for _ in range(5):
        cooldown.crashed("a", "model", now=100.0)
        cooldown.crashed("b", "model", now=100.0)
    cooldown.worked("a", "model")
    assert cooldown.remaining("a", "model", now=100.0) == 0.0
    assert cooldown.remaining("b", "model", now=100.0) > 0.0


def test_old_deaths_are_forgotten(cooldown: Cooldown, tmp_path: Path) -> None:
    """What was more than an hour ago does not count, and is not kept."""
    for _ in range(5):
        cooldown.crashed("a", "model", now=100.0)
    later = 101.0 + MEMORY_SECONDS
    assert cooldown.remaining("a", "model", now=later) == 0.0
    cooldown.crashed("b", "model", now=later)
    assert list(json.loads((tmp_path / "cache" / "cooldown.json").read_text())) == ["b model"]


def test_another_process_knows_too(cooldown: Cooldown, tmp_path: Path) -> None:
    """What one process has written, another one reads."""
    for _ in range(CRASHES):
        cooldown.crashed("a", "model", now=100.0)
    assert Cooldown(tmp_path / "cache" / "cooldown.json").remaining("a", "model", now=100.0) == FIRST_PAUSE


def test_a_clock_set_back_does_not_lock_an_engine_out(cooldown: Cooldown) -> None:
    """Deaths from the future are ignored."""
    for _ in range(5):
        cooldown.crashed("a", "model", now=10_000.0)
    assert cooldown.remaining("a", "model", now=100.0) == 0.0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b'{"a model": 3}',
        b'{"a model": ["x"]}',
        b'{"a model": []}',
        b"\xff",
        b"[" * 99999,
    ],
    ids=repr,
)
def test_a_damaged_memory_is_an_empty_one(cooldown: Cooldown, tmp_path: Path, content: bytes) -> None:
    """Whatever the file holds, nothing raises, and it is made good by the next death."""
    file = tmp_path / "cache" / "cooldown.json"
    file.parent.mkdir()
    file.write_bytes(content)
    assert cooldown.remaining("a", "model", now=100.0) == 0.0
    for _ in range(CRASHES):
        cooldown.crashed("a", "model", now=100.0)
    assert cooldown.remaining("a", "model", now=100.0) == FIRST_PAUSE


def test_a_cache_that_can_not_be_written_is_no_error(tmp_path: Path) -> None:
    """Without a place to write, nothing is remembered and nothing raises."""
    (tmp_path / "file").write_text("in the way")
    cooldown = Cooldown(tmp_path / "file" / "cooldown.json")
    for _ in range(CRASHES):
        cooldown.crashed("a", "model", now=100.0)
    cooldown.worked("a", "model")
    assert cooldown.remaining("a", "model", now=100.0) == 0.0
