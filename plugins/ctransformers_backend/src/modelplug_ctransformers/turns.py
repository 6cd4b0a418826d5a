"""Who may use the engine's one context now."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Turns"]


class Turns:
    """Lets one request at a time use something, without ever waiting for one that has gone quiet.

    A request takes the turn and keeps it between its steps, so that requests don't undo each other's work.
    But a caller may stop reading in the middle, and may even start the next request in the same thread: a
    plain lock would then wait for ever. Hence a turn that was not used for a while passes to whoever waits,
    and its old holder waits in its turn when it comes back.

    Args:
        patience: Seconds without a step after which a turn may be taken away.
    """

    def __init__(self, patience: float = 0.2) -> None:
        self._patience = patience
        self._condition = threading.Condition()
        self._holder: object | None = None
        self._busy = False
        self._last_step = 0.0

    @contextmanager
    def step(self, holder: object) -> Iterator[None]:
        """Wait for the turn, hold it during the block, and keep it afterwards until `finish`.

        Args:
            holder: Tells requests apart, by identity.
        """
        with self._condition:
            while self._must_wait(holder):
                self._condition.wait(self._patience / 4)
            self._holder, self._busy = holder, True
        try:
            yield
        finally:
            with self._condition:
                self._busy = False
                self._last_step = time.monotonic()
                self._condition.notify_all()

    def finish(self, holder: object) -> None:
        """Pass the turn on; of no effect for a request that does not hold it."""
        with self._condition:
            if self._holder is holder:
                self._holder = None
                self._condition.notify_all()

    def _must_wait(self, holder: object) -> bool:
        if self._busy:
            return True
        if self._holder is None or self._holder is holder:
            return False
        return time.monotonic() - self._last_step < self._patience
