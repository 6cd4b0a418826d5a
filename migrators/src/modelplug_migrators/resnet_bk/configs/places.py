"""Where settings stand in a file: at its top, in sections, or inside a log that holds a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from modelplug_migrators.resnet_bk.configs.schema import BASE, MARK, SECTIONS
from modelplug_migrators.resnet_bk.configs.settings import BY_NAME, Setting
from modelplug_migrators.resnet_bk.configs.words import SHAPE

if TYPE_CHECKING:
    from modelplug.migration.steps import KeyPath

__all__ = [
    "HOLDERS",
    "SECTION_NAMES",
    "entries_in",
    "look_up",
    "root_of",
    "settings_in",
    "value_at",
]

HOLDERS = ("config", "model_config")
"""Keys under which logs and measurements hold the configuration they were made with."""

_OLDER_SECTIONS = {
    "architecture", "train", "optimization", "optimizer", "memory", "hardware", "dataset", "checkpointing",
    "logging",
}  # fmt: skip

SECTION_NAMES = frozenset(_OLDER_SECTIONS | (SECTIONS.keys() - {"quantization"}))
"""The names of sections that hold settings, of all versions."""


def root_of(values: Mapping[str, Any]) -> KeyPath:
    """Where in a file the configuration begins: at its top, or under the key that holds it.

    Args:
        values: What the file holds.
    """
    if MARK in values or _is_configuration(values):
        return ()
    for name in HOLDERS:
        inner = values.get(name)
        if isinstance(inner, Mapping) and (MARK in inner or _is_configuration(inner)):
            return (name,)
    return ()


def _is_configuration(values: Mapping[str, Any]) -> bool:
    """Whether an object says what a model is like, itself or in a section, or names another that does."""
    sections = [
        inner for name, inner in values.items() if name in SECTION_NAMES and isinstance(inner, Mapping)
    ]
    return BASE in values or any(SHAPE.intersection(inner) for inner in (values, *sections))


def entries_in(values: Mapping[str, Any], root: KeyPath = ()) -> Iterator[KeyPath]:
    """Every entry where settings stand, in the order of the file: at the top, and in sections.

    Args:
        values: What the file holds.
        root: Where the configuration begins.
    """
    top = value_at(values, root)
    for name, value in top.items() if isinstance(top, Mapping) else ():
        if name in SECTION_NAMES and isinstance(value, Mapping):
            yield from ((*root, str(name), str(inner)) for inner in value)
        else:
            yield (*root, str(name))


def settings_in(values: Mapping[str, Any], root: KeyPath = ()) -> Iterator[tuple[KeyPath, Setting]]:
    """Every entry that is a setting, in the order of the file, with the setting.

    Args:
        values: What the file holds.
        root: Where the configuration begins.
    """
    for path in entries_in(values, root):
        setting = BY_NAME.get(str(path[-1]))
        # Of settings, only this one is an object; others of such a name are blocks of other programs.
        if setting is not None and (
            path[-1] == "recovery" or not isinstance(value_at(values, path), Mapping)
        ):
            yield path, setting


def value_at(values: Any, path: KeyPath, default: Any = None) -> Any:
    """The value at a path of plain data."""
    for step in path:
        if not isinstance(values, Mapping) or step not in values:
            return default
        values = values[step]
    return values


def look_up(values: Mapping[str, Any], name: str, root: KeyPath = ()) -> Any:
    """What a configuration of any version says of a setting, by one of its names; None if nothing.

    Args:
        values: What the file holds.
        name: One of the setting's names.
        root: Where the configuration begins.
    """
    wanted = BY_NAME[name]
    found = {
        path[-1]: path for path, setting in reversed(list(settings_in(values, root))) if setting is wanted
    }
    best = next((found[each] for each in wanted.names if each in found), None)
    return None if best is None else value_at(values, best)
