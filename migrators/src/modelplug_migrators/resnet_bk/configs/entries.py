"""Finds single entries of a configuration while it is changed, and carries them to their places in 1.0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelplug.config.structure import shorten
from modelplug.migration.account import spell
from modelplug_migrators.resnet_bk.configs.places import SECTION_NAMES, settings_in
from modelplug_migrators.resnet_bk.configs.settings import BY_NAME
from modelplug_migrators.resnet_bk.configs.shelving import prune, shelve
from modelplug_migrators.resnet_bk.configs.values import agree, read

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath
    from modelplug_migrators.resnet_bk.configs.settings import Setting

__all__ = ["carry", "find", "find_setting", "make_section", "put"]


def find(editor: ConfigEditor, root: KeyPath, name: str) -> KeyPath | None:
    """Where a name stands: at the top, or in a section that holds settings; None if nowhere."""
    for section in ((), *((each,) for each in editor.names(root) if each in SECTION_NAMES)):
        path = (*root, *section, name)
        if editor.has(path) and not editor.is_mapping(path):
            return path
    return None


def find_setting(editor: ConfigEditor, root: KeyPath, name: str) -> KeyPath | None:
    """Where a setting stands, by any of its names; None if nowhere."""
    wanted = BY_NAME[name]
    return next((path for path, setting in settings_in(editor.value, root) if setting is wanted), None)


def carry(editor: ConfigEditor, root: KeyPath, path: KeyPath, setting: Setting) -> None:
    """Move a setting to its place in 1.0, as that place takes it.

    A value that a model can't have is an error of the file; another one that can't be used is kept among the
    extras, with a warning.

    Args:
        editor: The configuration.
        root: Where in the file it begins.
        path: The entry.
        setting: The setting it is.
    """
    section, name = setting.place
    value = editor.get(path)
    reading = read(value, section, name)
    if reading.refused:
        _refuse(editor, path, section, reading.refused, reading.nearest)
        return
    if reading.note:
        editor.note(f"{spell(path)}: {reading.note}", path)
    put(editor, root, path, (section, name), reading.value, why=reading.note)


def _refuse(editor: ConfigEditor, path: KeyPath, section: str, refused: str, nearest: str) -> None:
    value = editor.get(path)
    if value is None:
        shelve(editor, path, "null leaves it to the program, and so does leaving it out")
        return
    message = f"{spell(path)} = {shorten(value)}: {refused}"
    if section == "model":
        editor.error(message, path, advice=f"Did you mean {nearest}?" if nearest else "Correct the value.")
        return
    kept = shelve(editor, path, refused)
    editor.warn(f"{message}; it is kept as {spell(kept)}", kept, nearest=nearest)


def put(
    editor: ConfigEditor, root: KeyPath, path: KeyPath, place: tuple[str, str], value: Any, *, why: str = ""
) -> None:
    """Bring an entry to a place with a value; where the place is taken, its value counts.

    Args:
        editor: The configuration.
        root: Where in the file it begins.
        path: The entry.
        place: Section and name.
        value: The value it has there.
        why: What the account says.
    """
    to = (*root, *place)
    if path != to and editor.has(to):
        if agree(editor.get(to), value):
            editor.drop(path, why=f"{spell(to)} says the same", into=to)
        else:
            kept = shelve(editor, path, f"{spell(to)} says otherwise, and counts")
            editor.warn(
                f"{spell(path)} and {spell(to)} disagree; {spell(to)} = {shorten(editor.get(to))} counts",
                kept,
            )
        prune(editor, path[:-1] if len(path) > len(root) + 1 else ())
        return
    make_section(editor, (*root, place[0]))
    editor.move(path, to, why=why)
    if not _same(editor.get(to), value):
        editor.set(to, value, why=why)
    if len(path) > len(root) + 1:
        prune(editor, path[:-1])


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def make_section(editor: ConfigEditor, section: KeyPath) -> None:
    """Make a section where there is none; what stands there and is no object goes to the extras."""
    if editor.has(section) and editor.get(section) is None:
        editor.drop(section, why="there is nothing in it")
    if editor.has(section) and not editor.is_mapping(section):
        value = editor.get(section)
        kept = shelve(editor, section, "a section of that name belongs here")
        editor.warn(
            f"{spell(section)} = {shorten(value)}: a section of that name belongs here; it is kept as "
            f"{spell(kept)}",
            kept,
        )
    if not editor.has(section):
        editor.add(section, {})
