"""Lets a person, or whoever manages the machine, end training without losing a step."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["StopSignals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Within it, the first Ctrl-C or SIGTERM asks for an end, and the second one interrupts at once.

    Attributes:
        asked: Whether an end was asked for.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        # Python lets only the main thread handle signals.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  Python passes them
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        # Printing as usual might interrupt itself.
        os.write(2, b"\nstopping after this step; once more stops at once\n")

    def __call__(self) -> bool:
        """Whether an end was asked for."""
        return self.asked
