"""What values a setting takes, and how values that older programs spelled otherwise are read as such."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import attrs

from modelplug.config.structure import shorten

__all__ = ["Reading", "Setting", "flag", "number", "one_of", "text", "texts", "whole"]

LARGEST = 2**31 - 1
"""Engines hold counts in 32 bits; a larger one is a mistake."""

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@attrs.frozen(kw_only=True)
class Reading:
    """What came of reading a value.

    Attributes:
        value: The value as the setting takes it; meaningless if it was refused.
        note: What was changed about it, for people; empty if nothing was.
        refused: Why the setting can't take it; empty if it can.
    """

    value: Any = None
    note: str = ""
    refused: str = ""


@attrs.frozen(kw_only=True)
class Setting:
    """What values a setting takes.

    Attributes:
        kind: `flag`, `whole`, `number`, `text`, `texts`, `devices` (a text, or an object of names and
            devices), or `any`.
        low: The least number.
        high: The greatest number.
        choices: The texts or values there are; empty if any will do.
        nullable: Whether null, which leaves the choice to the program, is a value.
        meanings: Values that stand for another one, and the words for that: `{0: (None, "...")}`.
    """

    kind: str
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    nullable: bool = False
    meanings: Mapping[Any, tuple[Any, str]] = attrs.field(factory=dict)

    def meaning(self, values: Mapping[Any, tuple[Any, str]]) -> Setting:
        """The same setting, with values that stand for others."""
        return attrs.evolve(self, meanings={**self.meanings, **values})

    def read(self, value: Any) -> Reading:
        """The value as this setting takes it, or the reason why it can't."""
        if value is None:
            return Reading() if self.nullable else Reading(refused="null says nothing here")
        typed = _READERS[self.kind](value, self)
        if typed.refused:
            return typed
        found = self._meant(typed.value)
        if found is not None:
            return Reading(value=found[0], note=_joined(typed.note, f"{shorten(typed.value)} {found[1]}"))
        refused = self._out_of_range(typed.value)
        return Reading(refused=refused) if refused else typed

    def _meant(self, value: Any) -> tuple[Any, str] | None:
        # Looked up by type too: true equals 1, and is another value.
        return next(
            (m for key, m in self.meanings.items() if type(key) is type(value) and key == value), None
        )

    def _out_of_range(self, value: Any) -> str:
        if self.choices and value not in self.choices:
            return f"it is {shorten(value)}, and there are {', '.join(map(str, self.choices))}"
        if self.low is not None and value < self.low:
            return f"{shorten(value)} is less than {self.low:g}, the least there can be"
        if self.high is not None and value > self.high:
            return f"{shorten(value)} is more than {int(self.high)}, the most there can be"
        return ""


def _joined(*notes: str) -> str:
    return ", and ".join(filter(None, notes))


# Reading ------------------------------------------------------------------------------------------------


def _read_flag(value: Any, _setting: Setting) -> Reading:
    if isinstance(value, bool):
        return Reading(value=value)
    if isinstance(value, (int, float)) and value in (0, 1):
        return Reading(value=bool(value), note=f"{shorten(value)} is read as {shorten(bool(value))}")
    if isinstance(value, str) and value.strip().lower() in _WORDS:
        found = _WORDS[value.strip().lower()]
        return Reading(value=found, note=f"the text {shorten(value)} is read as {shorten(found)}")
    return Reading(refused=f"{_named(value)} is neither true nor false")


def _read_whole(value: Any, _setting: Setting) -> Reading:
    if isinstance(value, bool):
        return Reading(refused=f"{shorten(value)} stands where a whole number belongs")
    if isinstance(value, int):
        return Reading(value=value)
    if isinstance(value, float) and value.is_integer():
        return Reading(value=int(value), note=f"{shorten(value)} is read as {int(value)}")
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return Reading(value=int(value), note=f"the text {shorten(value)} is read as {int(value)}")
    return Reading(refused=f"{_named(value)} is no whole number")


def _read_number(value: Any, _setting: Setting) -> Reading:
    if isinstance(value, bool):
        return Reading(refused=f"{shorten(value)} stands where a number belongs")
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return Reading(value=value)
    if isinstance(value, str):
        try:
            found = float(value)
        except ValueError:
            found = math.nan
        if math.isfinite(found):
            return Reading(value=found, note=f"the text {shorten(value)} is read as {found:g}")
    return Reading(refused=f"{_named(value)} is no number")


def _read_text(value: Any, _setting: Setting) -> Reading:
    return Reading(value=value) if isinstance(value, str) else Reading(refused=f"{_named(value)} is no text")


def _read_texts(value: Any, _setting: Setting) -> Reading:
    if isinstance(value, str) and value:
        return Reading(value=[value], note="one text becomes a list of one")
    if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
        return Reading(value=value)
    if isinstance(value, (str, list)):
        return Reading(refused="there is something else than texts in it, or an empty one")
    return Reading(refused=f"{_named(value)} is no list of texts")


def _read_devices(value: Any, _setting: Setting) -> Reading:
    places = value.values() if isinstance(value, dict) else [value if isinstance(value, str) else None]
    if all(isinstance(place, (int, str)) and not isinstance(place, bool) for place in places):
        return Reading(value=value)
    return Reading(refused=f"{_named(value)} is neither a text nor an object of names and devices")


def _read_any(value: Any, _setting: Setting) -> Reading:
    return Reading(value=value)


_READERS = {
    "flag": _read_flag,
    "whole": _read_whole,
    "number": _read_number,
    "text": _read_text,
    "texts": _read_texts,
    "devices": _read_devices,
    "any": _read_any,
}


def _named(value: Any) -> str:
    """A value in a message: spelled if it is short, and by its kind if it is an object or list."""
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else shorten(value)


# Settings -----------------------------------------------------------------------------------------------


def flag(*, nullable: bool = False) -> Setting:
    """True or false."""
    return Setting(kind="flag", nullable=nullable)


def whole(low: int, high: int = LARGEST, *, nullable: bool = True) -> Setting:
    """A whole number between limits."""
    return Setting(kind="whole", low=low, high=high, nullable=nullable)


def number(low: float, high: float | None = None) -> Setting:
    """A number between limits, or null."""
    return Setting(kind="number", low=low, high=high, nullable=True)


def text(*, nullable: bool = True) -> Setting:
    """Any text."""
    return Setting(kind="text", nullable=nullable)


def texts(*, nullable: bool = False) -> Setting:
    """A list of texts, none of them empty."""
    return Setting(kind="texts", nullable=nullable)


def one_of(*choices: Any, nullable: bool = False) -> Setting:
    """One of a few texts."""
    return Setting(kind="text", choices=choices, nullable=nullable)
