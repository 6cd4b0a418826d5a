"""What a worker writes to standard error, of which only the end is kept."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from typing import IO, Final

__all__ = ["LastWords"]

LINES: Final = 200
LINE_LENGTH: Final = 2000
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
        self._last = time.monotonic()

    def drain(self) -> None:
        """Read until the stream ends, so that the worker never waits for a reader."""
        with contextlib.suppress(OSError), self._stream:
            while line := self._stream.readline(LINE_LENGTH):
                self._lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
                self._last = time.monotonic()

    def settle(self) -> None:
        """Give what the worker wrote before its answer, which takes another way, a moment to arrive."""
        asked = time.monotonic()
        while time.monotonic() < asked + PATIENCE_SECONDS:
            time.sleep(0.01)
            if time.monotonic() - max(self._last, asked) > SETTLED_SECONDS:
                return

    def tail(self, lines: int = 60) -> str:
        """The last lines, as they would look on a terminal and without control characters."""
        return "\n".join(_printable(line) for line in list(self._lines)[-lines:])


def _printable(line: str) -> str:
    # Of a line that was overwritten, as progress bars are, only the last state is worth keeping.
    visible = line.rpartition("\r")[2]
    return "".join(char if char.isprintable() or char == "\t" else "\ufffd" for char in visible)
