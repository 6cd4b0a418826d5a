"""Keeps among the extras what 1.0 has no place for: with the reason, or as unknown, with the nearest name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.config.structure import nearest, shorten
from modelplug.migration.account import spell
from modelplug_migrators.resnet_bk.configs.places import SECTION_NAMES
from modelplug_migrators.resnet_bk.configs.reasons import REASONS, Reason, known_names, reason_for
from modelplug_migrators.resnet_bk.configs.schema import BASE, MARK, SECTIONS
from modelplug_migrators.resnet_bk.configs.settings import BY_NAME, field_names
from modelplug_migrators.resnet_bk.configs.shelving import shelve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath

__all__ = ["shelve_leftovers"]


def shelve_leftovers(editor: ConfigEditor, root: KeyPath) -> None:
    """Keep every entry among the extras that is no setting of 1.0.

    Args:
        editor: The configuration.
        root: Where in the file it begins.
    """
    missed: dict[int, list[KeyPath]] = {}
    for path in list(_leftovers(editor, root)):
        if path[-1] in SECTION_NAMES and editor.is_mapping(path):
            editor.drop(path, why="there is nothing in it")
            continue
        reason = reason_for(str(path[-1]))
        asks = editor.get(path) is True
        kept = shelve(editor, path, reason.why if reason else "no such setting is known")
        if reason is None:
            _unknown(editor, path, kept)
        elif reason.matters and asks:
            missed.setdefault(REASONS.index(reason), []).append(kept)
    for index, places in missed.items():
        _missed(editor, REASONS[index], places)


def _leftovers(editor: ConfigEditor, root: KeyPath) -> Iterator[KeyPath]:
    """The entries that are no settings of 1.0, in the order of the file."""
    kept = {MARK, BASE} if not root else {MARK}
    for name in editor.names(root):
        path = (*root, name)
        if name in kept or path == editor.extras:
            continue
        if name in SECTIONS and editor.is_mapping(path):
            known = field_names(name)
            yield from ((*path, inner) for inner in editor.names(path) if inner not in known)
        elif name in SECTION_NAMES and editor.names(path):
            yield from ((*path, inner) for inner in editor.names(path))
        else:
            yield path


def _unknown(editor: ConfigEditor, path: KeyPath, kept: KeyPath) -> None:
    name = str(path[-1])
    near = nearest(name, [*BY_NAME, *known_names()], cutoff=0.75)
    meant = f" (did you mean {near}?)" if near else ""
    editor.warn(
        f"{spell(path)} = {shorten(editor.get(kept))}: no such setting is known{meant}; it is kept "
        f"as {spell(kept)}",
        kept,
        nearest=near,
        advice=f"Call it {near} if you meant that." if near else "Take it out if nothing of yours reads it.",
    )


def _missed(editor: ConfigEditor, reason: Reason, places: list[KeyPath]) -> None:
    names = ", ".join(str(path[-1]) for path in places)
    verb = "asks" if len(places) == 1 else "ask"
    editor.warn(f"{names} {verb} for what 1.0 does not do: {reason.why}", places[0])
