"""Keeps among the extras what nothing reads any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug_migrators.resnet_bk.configs.schema import SECTIONS
from modelplug_migrators.resnet_bk.configs.settings import field_names
from modelplug_migrators.resnet_bk.configs.values import read

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath

__all__ = ["prune", "shelve", "unshelve"]


def shelve(editor: ConfigEditor, path: KeyPath, why: str) -> KeyPath:
    """Keep an entry among the extras, under the sections it stood in.

    Args:
        editor: The configuration.
        path: The entry.
        why: The reason, for the account.

    Returns:
        Where it is now.
    """
    section = (*editor.extras, *path[:-1])
    name, number = str(path[-1]), 1
    while editor.has((*section, name)) or (number > 1 and editor.has((*path[:-1], name))):
        number += 1
        name = f"{path[-1]}_{number}"
    if number > 1:
        editor.rename(path, name)
    editor.to_extras((*path[:-1], name), why=why, under=path[:-1])
    prune(editor, path[:-1])
    return (*section, name)


def unshelve(editor: ConfigEditor, root: KeyPath) -> None:
    """Bring back from the extras what 1.0 has a place for, as a way back to 0.9 has put it there.

    Args:
        editor: The configuration.
        root: Where in the file it begins.
    """
    for section in SECTIONS:
        for name in editor.names((*editor.extras, *root, section)):
            path, place = (*editor.extras, *root, section, name), (*root, section, name)
            fits = name in field_names(section) and not read(editor.get(path), section, name).refused
            if fits and editor.is_mapping((*root, section)) and not editor.has(place):
                editor.move(path, place)
        prune(editor, (*editor.extras, *root, section))
    for depth in range(len(root), -1, -1):
        prune(editor, (*editor.extras, *root[:depth]))


def prune(editor: ConfigEditor, path: KeyPath) -> None:
    """Take out a section that has nothing in it any more."""
    if path:
        editor.prune(path)
