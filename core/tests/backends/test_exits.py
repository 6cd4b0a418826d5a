"""What the death of an engine's process means, in words."""

from __future__ import annotations

import signal
import sys

import pytest

from modelplug.backends.exits import explain_exit

NAMES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL", "SIGKILL", "SIGTERM")


@pytest.mark.skipif(sys.platform == "win32", reason="statuses are other numbers there")
@pytest.mark.parametrize("name", NAMES)
def test_a_signal_is_named(name: str) -> None:
    """A signal is named, whether subprocess or a shell in between reports it, with advice."""
    number = signal.Signals[name]
    for status in (-number, 128 + number):
        meaning = explain_exit(status)
        assert meaning.signal_name == name
        assert name in meaning.what
        assert meaning.advice


@pytest.mark.skipif(sys.platform == "win32", reason="statuses are other numbers there")
@pytest.mark.parametrize(
    ("status", "name"), [(-signal.SIGPIPE, "SIGPIPE"), (-62, "signal 62"), (-signal.SIGUSR1, "SIGUSR1")]
)
def test_an_unusual_signal_is_a_crash_with_its_name(status: int, name: str) -> None:
    """Other signals, even nameless ones, are told apart from an exit."""
    meaning = explain_exit(status)
    assert (meaning.signal_name, meaning.cause) == (name, "crash")


@pytest.mark.parametrize("status", [0, 1, 3, 127])
def test_an_exit_is_told_with_its_status(status: int) -> None:
    """A process that ended by itself is no crash."""
    meaning = explain_exit(status)
    assert (meaning.signal_name, meaning.cause) == (None, "exit")
    assert f"exit status {status}" in meaning.what


def test_an_unknown_status_is_a_process_that_stopped_answering() -> None:
    """Without a status there is still a sentence and an advice."""
    assert explain_exit(None).what == "stopped answering"


@pytest.mark.parametrize(
    ("status", "name"),
    [(0xC0000005, "SIGSEGV"), (-1073741819, "SIGSEGV"), (0xC000001D, "SIGILL"), (0xC0000017, "SIGKILL")],
)
def test_windows_statuses_are_understood(status: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit codes that Windows gives for the same faults get the same names."""
    monkeypatch.setattr(sys, "platform", "win32")
    assert explain_exit(status).signal_name == name
