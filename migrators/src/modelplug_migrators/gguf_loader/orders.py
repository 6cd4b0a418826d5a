"""In which order backends are tried: from priorities, by format, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.account import spell
from modelplug_migrators.gguf_loader.carrying import shelve
from modelplug_migrators.gguf_loader.engines import ENGINES, NAMES_IN_2, engine_named
from modelplug_migrators.gguf_loader.renaming import rename_order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelplug.migration.editing import ConfigEditor

__all__ = ["order_by_format", "order_by_priority", "priorities_by_format"]

_BY_FORMAT = "fallback_order_by_format"
_PRIORITIES = "backend_priorities"
_FORMATS = {"pytorch_bin": "pytorch"}


def order_by_priority(editor: ConfigEditor) -> None:
    """Derive the fallback order from the priorities in the sections, if there is no order."""
    order = _derived(editor)
    if order and not editor.has("fallback_order"):
        editor.add("fallback_order", order)
        editor.note(f"fallback_order is {', '.join(order)}, as the priorities of the backends had it")
    _warn_of_unknown(editor, editor.get("fallback_order"), "fallback_order")


def _derived(editor: ConfigEditor) -> list[str]:
    """The engines by priority, least first; none unless every priority is a number of its own."""
    found = {name: editor.get(("backends", name, "priority")) for name in editor.names("backends")}
    numbers = {name: value for name, value in found.items() if type(value) is int}
    if len(numbers) < 2 or len(set(numbers.values())) < len(numbers):
        return []
    return sorted(numbers, key=lambda name: numbers[name])


def order_by_format(editor: ConfigEditor) -> None:
    """Bring `backend_priorities` to modelplug's names for backends and formats."""
    priorities = editor.get(_PRIORITIES)
    if editor.has(_PRIORITIES):
        sound = isinstance(priorities, dict) and all(
            isinstance(order, list) and all(isinstance(name, str) for name in order)
            for order in priorities.values()
        )
        if not sound:
            shelve(editor, (_PRIORITIES,), "lists of backends by format belong here", warn=True)
        elif editor.has(_BY_FORMAT):
            shelve(editor, (_PRIORITIES,), f"{_BY_FORMAT} counts", warn=True)
        else:
            editor.rename(_PRIORITIES, _BY_FORMAT)
    _rename_formats(editor, _BY_FORMAT, _FORMATS, {})


def priorities_by_format(editor: ConfigEditor) -> None:
    """The opposite of `order_by_format`."""
    if editor.has(_BY_FORMAT) and not editor.has(_PRIORITIES):
        editor.rename(_BY_FORMAT, _PRIORITIES)
        _rename_formats(editor, _PRIORITIES, {new: old for old, new in _FORMATS.items()}, NAMES_IN_2)


def _rename_formats(
    editor: ConfigEditor, place: str, formats: Mapping[str, str], names: Mapping[str, str]
) -> None:
    for name in editor.names(place):
        new = formats.get(name, name)
        if new != name and editor.has((place, new)):
            shelve(editor, (place, name), f"{spell((place, new))} counts", under=(place,), warn=True)
            continue
        editor.move((place, name), (place, new))
        rename_order(editor, (place, new), names)
        _warn_of_unknown(editor, editor.get((place, new)), spell((place, new)))


def _warn_of_unknown(editor: ConfigEditor, order: object, key: str) -> None:
    for name in order if isinstance(order, list) else []:
        if isinstance(name, str) and not engine_named(name):
            there = ", ".join(sorted(ENGINES))
            editor.warn(f"{key} names {name!r}, which is no backend known here (known: {there}); it stays")
