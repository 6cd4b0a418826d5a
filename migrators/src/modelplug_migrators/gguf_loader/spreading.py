"""The sections of all engines: each fitted to its engine, and the switch for the GPU spread over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.account import spell
from modelplug_migrators.gguf_loader.carrying import shelve
from modelplug_migrators.gguf_loader.engines import ENGINES, engine_named
from modelplug_migrators.gguf_loader.sections import fit_section
from modelplug_migrators.gguf_loader.values import flag

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor

__all__ = ["fit_sections", "spread_gpu"]

_SWITCH = ("gpu_enabled",)


def fit_sections(editor: ConfigEditor) -> None:
    """Bring every section to what its engine's settings hold."""
    for name in editor.names("backends"):
        section = ("backends", name)
        if not editor.is_mapping(section):
            shelve(editor, section, "an object belongs here", under=("backends",), warn=True)
        elif name in ENGINES:
            fit_section(editor, section, name)
        else:
            there = ", ".join(sorted(ENGINES))
            editor.warn(f"{spell(section)}: no backend of this name is known here (known: {there})", section)


def spread_gpu(editor: ConfigEditor) -> None:
    """Put the switch for the GPU that stands at the top into the sections.

    True is what every backend takes by default, so that one section that says it is enough. False has to
    stand in every section, or the next backend would use the GPU after all.
    """
    if not editor.has(_SWITCH):
        return
    reading = flag().read(editor.get(_SWITCH))
    if reading.refused:
        shelve(editor, _SWITCH, reading.refused, warn=True)
        return
    if reading.value:
        _allow(editor)
        return
    _forbid(editor)


def _forbid(editor: ConfigEditor) -> None:
    """False goes into every section, also where the section says true: the switch was for all of them."""
    first, *others = _engines(editor)
    place = ("backends", first, "gpu_enabled")
    _say_false(editor, first)
    if editor.has(place):
        editor.drop(_SWITCH, why="every section says it", into=place)
    else:
        editor.move(_SWITCH, place, why="every section says it")
        editor.set(place, False)
    for name in others:
        _say_false(editor, name)
        if not editor.has(("backends", name, "gpu_enabled")):
            editor.add(("backends", name, "gpu_enabled"), False)


def _say_false(editor: ConfigEditor, name: str) -> None:
    place = ("backends", name, "gpu_enabled")
    if editor.get(place) is True:
        why = "no backend was to use the GPU, whatever its section says"
        editor.warn(f"{spell(place)} was true, and becomes false: {why}", place)
        editor.set(place, False, why=why)


def _allow(editor: ConfigEditor) -> None:
    """True goes into the first section that is there and does not say it itself."""
    for name in _engines(editor):
        place = ("backends", name, "gpu_enabled")
        if editor.has(("backends", name)) and not editor.has(place):
            editor.move(_SWITCH, place, why="each section says it for its backend")
            editor.set(place, True)
            return
    editor.drop(_SWITCH, why="it is what every backend takes by default")


def _engines(editor: ConfigEditor) -> list[str]:
    """The engines there are: the preferred one first, then those with a section."""
    preferred = engine_named(editor.get("preferred_backend"))
    present = [name for name in editor.names("backends") if name in ENGINES]
    return list(dict.fromkeys([*([preferred] if preferred else []), *present, *ENGINES]))
