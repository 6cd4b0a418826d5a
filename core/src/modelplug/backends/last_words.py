"""What a worker writes to standard error, of which only the end is kept."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
from collections import deque
from typing import IO, Final

__all__ = ["LastWords"]

LINES: Final = 200
LINE_LENGTH: Final = 2000
PIECE: Final = 65536
# More than a pipe holds: an engine that writes without end is not listened to for ever.
SETTLED_PIECES: Final = 64
# Where no pipe can be asked whether it holds something, so many seconds of silence have to do.
SETTLED_SECONDS: Final = 0.04
PATIENCE_SECONDS: Final = 0.25


class LastWords:
    """A ring of the last lines, in bounded memory however much is written and whether or not lines end.

    Args:
        stream: Where the worker's standard error arrives.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lines: deque[str] = deque(maxlen=LINES)
        self._unfinished = b""
        self._lock = threading.Lock()
        self._last = time.monotonic()

    def drain(self) -> None:
        """Read until the stream ends, so that the worker never waits for a reader."""
        with contextlib.suppress(OSError):
            while self._readable(None) and self._read() != b"":
                pass
        with self._lock:
            self._stream.close()
            if self._unfinished:
                self._lines.append(_line(self._unfinished))

    def settle(self) -> None:
        """Take in what the worker wrote before its answer, which comes another way and may be here first."""
        if sys.platform == "win32":
            self._settle_by_waiting()
            return
        # It is in the pipe; only the thread that drains the pipe may not have had its turn yet.
        with contextlib.suppress(OSError):
            for _ in range(SETTLED_PIECES):
                if not self._read():
                    return

    def _settle_by_waiting(self) -> None:
        asked = time.monotonic()
        while time.monotonic() < asked + PATIENCE_SECONDS:
            time.sleep(0.01)
            if time.monotonic() - max(self._last, asked) > SETTLED_SECONDS:
                return

    def _read(self) -> bytes | None:
        """Take in the next piece and give it: empty at the end of the stream, None if there is nothing."""
        with self._lock:
            # Of the two threads that read, the other one may have been faster.
            if self._stream.closed or not self._readable(0.0):
                return None
            data = os.read(self._stream.fileno(), PIECE)
            self._last = time.monotonic()
            *lines, rest = (self._unfinished + data).split(b"\n")
            for line in lines[-LINES:]:
                self._lines.extend(map(_line, _pieces(line)))
            *full, self._unfinished = _pieces(rest)
            self._lines.extend(map(_line, full))
            return data

    def _readable(self, seconds: float | None) -> bool:
        """Whether there is something to read, or the end, within some seconds; None waits for ever."""
        if sys.platform == "win32":
            return True  # reading is what waits there
        poll = select.poll()
        poll.register(self._stream.fileno(), select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def tail(self, lines: int = 60) -> str:
        """The last lines, as they would look on a terminal and without control characters."""
        return "\n".join(_printable(line) for line in list(self._lines)[-lines:])


def _pieces(line: bytes) -> list[bytes]:
    """A line cut to the length that is kept in one."""
    return [line[start : start + LINE_LENGTH] for start in range(0, len(line), LINE_LENGTH)] or [b""]


def _line(data: bytes) -> str:
    return data.decode("utf-8", "replace").rstrip("\r")


def _printable(line: str) -> str:
    # Of a line that was overwritten, as progress bars are, only the last state is worth keeping.
    visible = line.rpartition("\r")[2]
    return "".join(char if char.isprintable() or char == "\t" else "\ufffd" for char in visible)
