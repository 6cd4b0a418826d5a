"""Writes a settings file to start from, with a comment on every line that needs one."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.config.checking import SettingsClasses, default_settings
from modelplug.config.presets import PRESETS
from modelplug.config.schema import DeadlineSettings, GenerationSettings, Settings
from modelplug.config.structure import nearest
from modelplug.errors import UsageError
from modelplug.jsonspans.style import dumps

if TYPE_CHECKING:
    from modelplug.config.document import KeyPath

__all__ = ["field_comments", "template"]

_WIDTH = 96
_HEAD = (
    "Settings of modelplug. Lines that begin with // are comments.",
    "Every line may be left out; what stands here are the defaults.",
)


def template(preset: str | None = None, classes: SettingsClasses | None = None) -> str:
    """A commented settings file as text.

    Args:
        preset: `nvidia`, `amd`, `cpu` or `apple`; None writes every setting with its default.
        classes: The settings class of each installed backend; without a preset, they get a section each.

    Raises:
        UsageError: There is no such preset.
    """
    if preset is None:
        values = default_settings()
        values["backends"] = {name: _defaults(kind) for name, kind in (classes or {}).items()}
        return _write(_HEAD, values, _default_comments(classes or {}))
    found = PRESETS.get(preset)
    if found is None:
        near = nearest(preset, PRESETS)
        raise UsageError(
            f"there is no preset {preset!r}",
            why=f"there are {', '.join(PRESETS)}",
            advice=f"`modelplug config template --preset {near or next(iter(PRESETS))}`",
        )
    head = (f"Settings for {found.title}.", *found.explanation)
    return _write(head, found.settings, {tuple(key.split(".")): text for key, text in found.comments.items()})


def _write(head: tuple[str, ...], values: Mapping[str, Any], comments: Mapping[KeyPath, str]) -> str:
    lines = ["{", *(line for sentence in head for line in _comment(sentence, "  "))]
    lines += _entries(values, (), comments, "  ")
    return "\n".join([*lines, "}"]) + "\n"


def _entries(
    values: Mapping[str, Any], above: KeyPath, comments: Mapping[KeyPath, str], indent: str
) -> list[str]:
    lines: list[str] = []
    for position, (name, value) in enumerate(values.items()):
        path = (*above, name)
        comma = "," if position < len(values) - 1 else ""
        lines += _comment(comments.get(path, ""), indent)
        if isinstance(value, Mapping) and value:
            lines.append(f"{indent}{dumps(name)}: {{")
            lines += _entries(value, path, comments, indent + "  ")
            lines.append(f"{indent}}}{comma}")
        else:
            lines.append(f"{indent}{dumps(name)}: {dumps(value)}{comma}")
    return lines


def _comment(text: str, indent: str) -> list[str]:
    return [f"{indent}// {line}" for line in textwrap.wrap(text, _WIDTH - len(indent))]


def _defaults(kind: type[Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in attrs.fields(kind):
        default = field.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # a class at run time
            default = default.factory()
        if default is not attrs.NOTHING:
            values[field.name] = _plain(default)
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return getattr(value, "value", value)
    return str(value)


def _default_comments(classes: SettingsClasses) -> dict[KeyPath, str]:
    kinds: list[tuple[KeyPath, type[Any]]] = [
        ((), Settings),
        (("deadlines",), DeadlineSettings),
        (("generation",), GenerationSettings),
        *(((("backends", name)), kind) for name, kind in classes.items()),
    ]
    return {(*path, name): text for path, kind in kinds for name, text in field_comments(kind).items()}


def field_comments(kind: type[Any]) -> dict[str, str]:
    """What the docstring of a settings class, or of the classes it derives from, says of each field.

    Args:
        kind: A class whose docstring has a section `Attributes:`.
    """
    comments: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        section = inspect.cleandoc(base.__doc__ or "").partition("Attributes:")[2]
        for name, text in re.findall(r"^ {4}(\w+): (.*(?:\n {8,}.*)*)", section, re.MULTILINE):
            # The comment stands in JSON, where Python's None has another name.
            comments[name] = re.sub(r"\bNone\b", "null", " ".join(text.split()))
    return comments
