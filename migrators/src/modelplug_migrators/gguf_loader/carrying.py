"""Carries single values to their new places; what a place can't take is kept, and said to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelplug.migration.account import spell

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath
    from modelplug_migrators.gguf_loader.values import Setting

__all__ = ["carry", "equal", "free_extras", "is_new", "make_room", "put_first", "shelve"]


def equal(one: Any, other: Any) -> bool:
    """Whether two values are equal and of one type: 1 and true are two values."""
    return type(one) is type(other) and bool(one == other)


def carry(
    editor: ConfigEditor, path: KeyPath, to: KeyPath, *settings: Setting, under: KeyPath = (), why: str = ""
) -> bool:
    """Move a value to its new place, as that place takes it.

    Args:
        editor: The configuration.
        path: Where the value is.
        to: Where it goes.
        settings: What it must be, one after the other: what the old place took, and what the new one takes.
        under: The section of the extras for a value that can't go there.
        why: What the account says of a value that moves.

    Returns:
        Whether the place holds this value now.
    """
    value = editor.get(path)
    new, notes = value, []
    for setting in settings:
        reading = setting.read(new)
        if reading.refused:
            shelve(editor, path, reading.refused, under=under, warn=True)
            return False
        new = reading.value
        notes += [reading.note] if reading.note else []
    if path != to:
        make_room(editor, to[:-1])
        if editor.has(to):
            return _give_way(editor, path, to, new, under)
    note = "; ".join(notes)
    if note:
        editor.note(f"{spell(path)}: {note}", path)
    editor.move(path, to, why=note or why)
    if not equal(value, new):
        editor.set(to, new, why=note)
    return True


def _give_way(editor: ConfigEditor, path: KeyPath, to: KeyPath, value: Any, under: KeyPath) -> bool:
    """What becomes of a value whose place is taken."""
    if equal(editor.get(to), value):
        editor.drop(path, why=f"{spell(to)} says the same", into=to)
        return True
    shelve(editor, path, f"{spell(to)} says otherwise, and counts", under=under, warn=True)
    return False


def shelve(
    editor: ConfigEditor,
    path: KeyPath,
    why: str,
    *,
    under: KeyPath = (),
    warn: bool = False,
    quiet: bool = False,
) -> KeyPath:
    """Keep an entry among the extras, wherever there is room for it, and say why.

    Args:
        editor: The configuration.
        path: The entry.
        why: The reason.
        under: The section of the extras it belongs to.
        warn: Whether its owner probably did not expect that.
        quiet: Whether the account alone says so.

    Returns:
        Where it is now.
    """
    free_extras(editor)
    section = _free_section(editor, under)
    name = _free_name(editor, path, (*editor.extras, *section))
    place = (*editor.extras, *section, name)
    if not quiet:
        tell = editor.warn if warn else editor.note
        tell(f"{spell(path)}: {why}; it is kept as {spell(place)}", path)
    if name != path[-1]:
        editor.rename(path, name)
        path = (*path[:-1], name)
    editor.to_extras(path, why=why, under=section)
    return place


def make_room(editor: ConfigEditor, path: KeyPath) -> None:
    """Make sure that nothing but objects stands on the way to, and at, a place that is to hold others."""
    for length in range(1, len(path) + 1):
        above = path[:length]
        if editor.has(above) and not editor.is_mapping(above):
            shelve(editor, above, "an object belongs here", under=_section_of(above), warn=True)


def put_first(editor: ConfigEditor, path: KeyPath, value: Any) -> None:
    """Give an entry a value; a new one goes to the front of its object."""
    if editor.has(path):
        editor.set(path, value)
    else:
        editor.add(path, value, first=True)


def is_new(editor: ConfigEditor, path: KeyPath) -> bool:
    """Whether nothing of the source is at a place."""
    return not any(leaf.origin for leaf in editor.document.tree.leaves() if leaf.path[: len(path)] == path)


def _section_of(path: KeyPath) -> KeyPath:
    return path[:-1] if path[:1] == ("backends",) else ()


def free_extras(editor: ConfigEditor) -> None:
    """Make sure that the extras are an object."""
    extras = editor.extras
    if editor.has(extras) and not editor.is_mapping(extras):
        aside = _free_name(editor, extras, (), numbered=True)
        editor.rename(extras, aside)
        editor.to_extras((*extras[:-1], aside), why="the extras are an object")


def _free_section(editor: ConfigEditor, under: KeyPath) -> KeyPath:
    """The section, or one named after it where something else has its name."""
    found: KeyPath = ()
    for name in under:
        number, candidate = 1, str(name)
        while editor.has((*editor.extras, *found, candidate)) and not editor.is_mapping(
            (*editor.extras, *found, candidate)
        ):
            number += 1
            candidate = f"{name}_{number}"
        found = (*found, candidate)
    return found


def _free_name(editor: ConfigEditor, path: KeyPath, section: KeyPath, *, numbered: bool = False) -> str:
    """The entry's own name, or one after it that is free both where the entry is and where it goes."""
    name, number = str(path[-1]), 1
    candidate = name
    while (
        (numbered and number == 1)
        or editor.has((*section, candidate))
        or (candidate != name and editor.has((*path[:-1], candidate)))
    ):
        number += 1
        candidate = f"{name}_{number}"
    return candidate
