"""Runs a tool as a child process that can neither hang, nor flood, nor outlive its deadline."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ChildResult", "run_child"]

MAX_OUTPUT = 4 * 1024 * 1024
# How long to wait for the pipes to close once the child itself has ended.
GRACE = 0.25
# And how much longer if they still hold something: on a busy machine the threads that read come late.
BUSY_GRACE = 5.0


@attrs.frozen(kw_only=True)
class ChildResult:
    """What a tool said, and how it ended.

    Attributes:
        program: Its name, for messages.
        state: `ok` (exit status 0), `exit` (another one, or a signal), `timeout`, `overflow` (it wrote more
            than allowed) or `start-failed`.
        stdout: Its output, cut at the limit.
        stderr: Its error output, cut at the limit.
        exit_status: None if we stopped it or it never started; minus the signal number if one ended it.
        seconds: How long it took.
        deadline: How long it was allowed to take, in seconds.
        reason: For `start-failed`, why.
    """

    program: str
    state: str
    stdout: str = ""
    stderr: str = ""
    exit_status: int | None = None
    seconds: float = 0.0
    deadline: float = 0.0
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether it ran to its end and reported success."""
        return self.state == "ok"

    @property
    def failure(self) -> str:
        """One line that says why it did not succeed; empty if it did."""
        if self.state == "ok":
            return ""
        if self.state == "start-failed":
            return f"{self.program} could not be started: {self.reason}"
        if self.state == "timeout":
            return f"{self.program} did not answer within {self.deadline:.1f} s and was stopped"
        if self.state == "overflow":
            return f"{self.program} wrote more than {MAX_OUTPUT // 1024} KiB and was stopped"
        said = first_line(self.stderr) or first_line(self.stdout)
        return f"{self.program} {_ending(self.exit_status)}" + (f": {said}" if said else "")


def first_line(text: str, width: int = 300) -> str:
    """The first line with something on it, cut to `width` characters."""
    for line in text.splitlines():
        stripped = "".join(char if char.isprintable() else " " for char in line).strip()
        if stripped:
            return stripped[:width]
    return ""


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        try:
            return f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            return f"was ended by signal {-status}"
    return f"exited with status {status}"


class _Reader(threading.Thread):
    """Drains one pipe up to a limit; a thread, because Windows can't poll pipes."""

    def __init__(self, stream: IO[bytes], limit: int, enough: threading.Event) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._limit = limit
        self._enough = enough
        self._chunks: list[bytes] = []
        self.overflowed = False

    def run(self) -> None:
        size = 0
        with self._stream:
            while chunk := os.read(self._stream.fileno(), 65536):
                room = self._limit - size
                self._chunks.append(chunk[:room])
                size += len(chunk)
                if size > self._limit:
                    self.overflowed = True
                    break
        # Closing the pipe makes a child that is still writing fail; the event stops the wait for it.
        self._enough.set()

    def finish(self, seconds: float) -> None:
        """Wait for the end so many seconds, and a little beyond them while there is something to read."""
        limit = time.monotonic() + seconds + BUSY_GRACE
        self.join(seconds)
        while self.is_alive() and self._unread() and time.monotonic() < limit:
            self.join(0.01)

    def _unread(self) -> bool:
        if sys.platform == "win32":
            return False
        poll = select.poll()
        try:
            poll.register(self._stream.fileno(), select.POLLIN)
        except ValueError:
            return False  # it has just been closed
        return bool(poll.poll(0))

    @property
    def text(self) -> str:
        return b"".join(self._chunks).decode("utf-8", "replace")


def run_child(
    argv: Sequence[str],
    *,
    deadline: float,
    environ: Mapping[str, str] | None = None,
    max_output: int = MAX_OUTPUT,
) -> ChildResult:
    """The result of running `argv`; never raises for what the tool does.

    The child gets its own process group, no input, and the C locale. When the deadline passes or it writes
    more than `max_output` bytes, it and everything it started are killed.

    Args:
        argv: The program and its arguments.
        deadline: Seconds it may take.
        environ: Its environment; this process's own if None.
        max_output: Bytes accepted from each of its two outputs.
    """
    program = os.path.basename(argv[0])  # noqa: PTH119  a Windows path must work as a string too
    started = time.monotonic()
    if deadline <= 0:
        return ChildResult(program=program, state="timeout", deadline=deadline)
    env = {**(os.environ if environ is None else environ), "LC_ALL": "C"}
    try:
        process = _start(argv, env)
    except (OSError, ValueError) as error:
        return ChildResult(program=program, state="start-failed", reason=str(error))
    assert process.stdout is not None
    assert process.stderr is not None
    enough = threading.Event()
    readers = [_Reader(stream, max_output, enough) for stream in (process.stdout, process.stderr)]
    for reader in readers:
        reader.start()
    state = _wait(process, readers, enough, started + deadline)
    status = process.returncode
    if state == "ok" and status != 0:
        state = "exit"
    return ChildResult(
        program=program,
        state=state,
        stdout=readers[0].text,
        stderr=readers[1].text,
        exit_status=status if state in {"ok", "exit"} else None,
        seconds=time.monotonic() - started,
        deadline=deadline,
    )


def _start(argv: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        bufsize=0,
        creationflags=flags,
        start_new_session=sys.platform != "win32",
    )


def _wait(
    process: subprocess.Popen[bytes], readers: list[_Reader], enough: threading.Event, limit: float
) -> str:
    """Waits for the end, the deadline or the flood; leaves nothing of the child alive. Returns the state."""
    state = "ok"
    while any(reader.is_alive() for reader in readers) and not any(reader.overflowed for reader in readers):
        remaining = limit - time.monotonic()
        if remaining <= 0:
            state = "timeout"
            break
        if process.poll() is not None:
            # It has ended but something it started holds a pipe: take what there is and go.
            for reader in readers:
                reader.finish(min(GRACE, remaining))
            break
        enough.wait(min(0.05, remaining))
        if enough.is_set() and any(reader.is_alive() for reader in readers):
            enough.clear()
    if any(reader.overflowed for reader in readers):
        state = "overflow"
    if state == "ok":
        try:
            process.wait(max(0.0, limit - time.monotonic()))
        except subprocess.TimeoutExpired:
            state = "timeout"
    if state != "ok" or any(reader.is_alive() for reader in readers):
        _kill_tree(process)
        # A process stuck inside a driver can't even be killed; it must not take us with it.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE * 4)
        for reader in readers:
            reader.finish(GRACE)
    return state


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kills the child, its process group, and descendants that left the group."""
    import psutil

    try:
        descendants = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        descendants = []
    if sys.platform != "win32":
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            # The group is gone already; macOS says "not permitted" for a group of zombies.
            descendants = [item for item in descendants if item.is_running()]
    if process.poll() is None:
        process.kill()
    for item in descendants:
        # Whoever is gone already needs no killing.
        with contextlib.suppress(psutil.Error):
            item.kill()
