"""A budget of seconds that ends what is under way when it is used up."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from modelplug.backends.model import CancelToken

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["TimeLimit"]

# Starting the program, closing an engine and putting the result together take some of the time too.
_RESERVE_SECONDS, _RESERVE_SHARE = 3.0, 0.05


class TimeLimit:
    """Counts from its creation; within its block, `stop` is set shortly before the seconds are used up.

    Args:
        seconds: The budget.

    Attributes:
        seconds: The budget.
        stop: Ends what is under way.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.stop = CancelToken()
        self._began = time.monotonic()
        self._timer: threading.Timer | None = None

    def __enter__(self) -> TimeLimit:
        self._timer = threading.Timer(max(0.0, self.left), self.stop.cancel)
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._timer is not None
        self._timer.cancel()
        self._timer.join()

    @property
    def used(self) -> float:
        """Seconds used so far."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds left for measuring; below 0 afterwards."""
        return self.seconds - min(_RESERVE_SECONDS, _RESERVE_SHARE * self.seconds) - self.used

    @property
    def deadline(self) -> float:
        """Seconds after which an engine has hung for certain: `stop` comes before."""
        return max(self.left, 0.0) + _RESERVE_SECONDS
