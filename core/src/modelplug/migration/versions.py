"""Versions of what is migrated: two numbers that are compared, and the name a family's users know them by."""

from __future__ import annotations

import re

import attrs

__all__ = ["Version"]

_NUMBERS = re.compile(r"v?(\d{1,6})(?:\.(\d{1,6}))?")


@attrs.frozen(order=True)
class Version:
    """A version of a family's files.

    Attributes:
        major: Raised when an older program can't read the files any more.
        minor: Raised by any other change.
    """

    major: int
    minor: int = 0

    @classmethod
    def parse(cls, text: str) -> Version:
        """The version that `text` spells: `1`, `1.2` or `v1.2`.

        Raises:
            ValueError: It spells none.
        """
        found = _NUMBERS.fullmatch(text.strip())
        if found is None:
            msg = f"{text!r} is not a version such as 1 or 1.2"
            raise ValueError(msg)
        return cls(int(found[1]), int(found[2] or 0))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"
