"""The time that one file may take."""

from __future__ import annotations

import math
import time

__all__ = ["SECONDS", "Deadline", "TooSlow"]

SECONDS = 30.0
"""What a file may take by default: a thousand times what most take."""

# Lines of a syntax tree with places and scopes that can be made in a second by a slow machine.
_LINES_PER_SECOND = 300


class TooSlow(Exception):  # noqa: N818  what it says of the program, not of us
    """A program takes longer than a file may."""


class Deadline:
    """A time to give up at. What can't be interrupted is not begun if there is too little time left for it.

    Args:
        seconds: From now on.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @classmethod
    def none(cls) -> Deadline:
        """All the time in the world."""
        return cls(math.inf)

    def check(self, *, work_ahead: int = 0) -> None:
        """Make sure that there is time left.

        Args:
            work_ahead: Lines of which a syntax tree is about to be made.

        Raises:
            TooSlow: There is not.
        """
        if time.monotonic() + work_ahead / _LINES_PER_SECOND > self._end:
            reason = (
                f"{work_ahead} of its lines would have to be looked at" if work_ahead else "it is intricate"
            )
            msg = f"looking at the program would take more than {self.seconds:g} seconds: {reason}"
            raise TooSlow(msg)
