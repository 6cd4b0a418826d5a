"""Reads values as the setting they are for takes them: numbers that were written as text, and the like."""

from __future__ import annotations

import math
import re
from typing import Any

import attrs

from modelplug.config.structure import field_types, find_problems
from modelplug.config.types import choices
from modelplug_migrators.resnet_bk.configs.schema import SECTIONS

__all__ = ["Reading", "agree", "is_text_in_yaml_1_1", "read"]

_NUMBER = re.compile(r"[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][-+]?\d+)?")
_WORDS = {
    **dict.fromkeys(("yes", "on", "true"), True),
    **dict.fromkeys(("no", "off", "false"), False),
}
# What YAML 1.1 takes for a number with an exponent: it needs a point, and a sign in the exponent.
_YAML_1_1 = re.compile(r"[-+]?(?:\d[\d_]*\.[\d_]*|\.\d[\d_]*)[eE][-+]\d+")
_WITH_EXPONENT = re.compile(r"[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+")


@attrs.frozen(kw_only=True)
class Reading:
    """A value as a setting takes it.

    Attributes:
        value: The value.
        note: What was made of it; empty if it is as it was.
        refused: Why the setting can't take it; empty if it can.
        nearest: The value probably meant; empty if nothing is near.
    """

    value: Any
    note: str = ""
    refused: str = ""
    nearest: str = ""


def read(value: Any, section: str, name: str) -> Reading:
    """A value as a setting of 1.0 takes it.

    Args:
        value: What the file holds.
        section: The setting's section.
        name: Its name in 1.0.
    """
    kind = SECTIONS[section]
    reading = _repaired(value, field_types(kind)[name])
    problems = find_problems({name: reading.value}, kind)
    if problems:
        first = problems[0]
        return Reading(value=value, refused=f"it must be {first.allowed}", nearest=first.nearest)
    return reading


def _repaired(value: Any, annotation: Any) -> Reading:
    """The value in the type of the setting, where it is clear what is meant."""
    types = _types(annotation)
    if isinstance(value, str) and str not in types:
        return _from_text(value.strip(), types, value)
    if isinstance(value, float) and int in types and float not in types and value.is_integer():
        return Reading(value=int(value), note=f"{value!r} is a whole number here")
    if isinstance(value, int) and not isinstance(value, bool) and types == {bool} and value in (0, 1):
        return Reading(value=bool(value), note=f"{value} means {str(bool(value)).lower()}")
    if isinstance(value, list) and float in types:
        items = [_repaired(item, float) for item in value]
        note = next((item.note for item in items if item.note), "")
        return Reading(value=[item.value for item in items], note=note)
    return Reading(value=value)


def _from_text(text: str, types: set[Any], value: str) -> Reading:
    if bool in types and text.lower() in _WORDS:
        meant = _WORDS[text.lower()]
        return Reading(value=meant, note=f"the text {text!r} means {str(meant).lower()}")
    if {int, float} & types and _NUMBER.fullmatch(text):
        number = float(text.replace("_", ""))
        if float not in types and number.is_integer():
            return Reading(value=int(number), note=f"the text {text!r} is the number {int(number)}")
        if float in types and math.isfinite(number):
            return Reading(value=number, note=f"the text {text!r} is the number {number!r}")
    return Reading(value=value)


def _types(annotation: Any) -> set[Any]:
    """The plain types that an annotation admits, those of the items of lists included."""
    arms = getattr(annotation, "__args__", ())
    if choices(annotation) and not any(_types(arm) & {int, float, bool} for arm in arms):
        return {type(option) for option in choices(annotation)}
    found = {annotation} & {int, float, bool, str}
    for arm in arms:
        found |= _types(arm)
    return found


def agree(one: Any, other: Any) -> bool:
    """Whether two values say the same, however they are written: 1, 1.0 and the text `1` do."""
    one, other = _plain(one), _plain(other)
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text):
            return float(text.replace("_", ""))
        return _WORDS.get(text.lower(), value)
    return value


def is_text_in_yaml_1_1(written: str) -> bool:
    """Whether a spelling is a number for YAML 1.2, and text for YAML 1.1, which most programs read.

    Args:
        written: The value as it stands in the file.
    """
    return bool(_WITH_EXPONENT.fullmatch(written)) and not _YAML_1_1.fullmatch(written)
