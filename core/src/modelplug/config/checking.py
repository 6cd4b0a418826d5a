"""Checks single settings against the schema, and reads values that arrive as text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.config.schema import Settings
from modelplug.config.structure import Problem, find_problems

if TYPE_CHECKING:
    from modelplug.config.document import KeyPath

__all__ = ["SettingsClasses", "default_settings", "interpret", "problems_at", "same_name"]

SettingsClasses = Mapping[str, type[Any]]
"""The settings class of each backend whose plugin is installed, by backend name."""

_WORDS = {"yes": True, "on": True, "1": True, "no": False, "off": False, "0": False}


def default_settings() -> dict[str, Any]:
    """Every default, as plain data."""
    return attrs.asdict(Settings())


def same_name(left: str, right: str) -> bool:
    """Whether two spellings mean the same backend: an environment variable can't hold a hyphen or dot."""
    return _folded(left) == _folded(right)


def _folded(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name.lower())


def problems_at(path: KeyPath, value: Any, classes: SettingsClasses) -> list[Problem]:
    """What is wrong with `value` as the setting at `path`; nothing if no schema covers it.

    Args:
        path: The setting.
        value: The value it would have.
        classes: The settings class of each backend that is installed.
    """
    if path[0] == "backends" and len(path) > 1 and (len(path) > 2 or isinstance(value, Mapping)):
        kind = classes.get(path[1])
        section = _nested(path[2:], value)
        return find_problems(section, kind, prefix=f"backends.{path[1]}") if kind else []
    whole = _nested(path, value)
    problems = find_problems(whole, Settings)
    if path[0] == "backends" and not problems and isinstance(value, Mapping):
        for name, section in value.items():
            problems += problems_at(("backends", name), section, classes)
    return problems


def _nested(path: KeyPath, value: Any) -> Any:
    for step in reversed(path):
        value = {step: value}
    return value


def interpret(text: str, path: KeyPath, classes: SettingsClasses) -> Any:
    """What a text from the environment or the command line means as the setting at `path`.

    JSON is read as JSON. Where the setting wants it, `yes` and `no` are true and false, `a,b` is a list, and
    35 is text. Anything else is text.

    Args:
        text: What was typed.
        path: The setting it is for.
        classes: The settings class of each backend that is installed.
    """
    candidates: list[Any] = []
    try:
        candidates.append(json.loads(text, parse_constant=_refuse))
    except (ValueError, RecursionError):
        candidates.append(text)
    first = candidates[0]
    if text.strip().lower() in _WORDS:
        candidates.append(_WORDS[text.strip().lower()])
    candidates.append(text)
    if text.strip() and not isinstance(first, (list, dict)):
        candidates.append([item.strip() for item in text.split(",") if item.strip()])
    if path[0] == "backends" and (len(path) < 2 or path[1] not in classes):
        return first
    for candidate in candidates:
        if not problems_at(path, candidate, classes):
            return candidate
    return first


def _refuse(word: str) -> Any:
    msg = f"{word} is not JSON"
    raise ValueError(msg)
