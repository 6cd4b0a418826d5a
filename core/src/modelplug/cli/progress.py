"""Shows how far something is that takes long."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["ProgressDisplay"]


class ProgressDisplay:
    """Shows on standard error where a job is: a bar on a terminal, lines elsewhere.

    Args:
        say_line: Prints a line.
        seconds: How long nothing is printed after a line; None prints each step as it begins.
    """

    def __init__(self, say_line: Callable[[str], None], *, seconds: float | None = None) -> None:
        self._say_line = say_line
        self._seconds = seconds
        self._bar: Any = None
        self._task: Any = None
        self._last_text = ""
        self._last_line = time.monotonic()

    def __enter__(self) -> ProgressDisplay:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4)
            self._task = self._bar.add_task("starting", total=1.0)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str, done: float) -> None:
        """Show what is being done.

        Args:
            text: What it is.
            done: The part of the whole that is done, from 0 to 1.
        """
        if self._bar is not None:
            from rich.markup import escape

            self._bar.update(self._task, completed=done, description=escape(text))
        elif self._is_due(text):
            self._say_line(text)
            self._last_line = time.monotonic()
        self._last_text = text

    def _is_due(self, text: str) -> bool:
        if self._seconds is None:
            return text != self._last_text
        return time.monotonic() - self._last_line >= self._seconds
