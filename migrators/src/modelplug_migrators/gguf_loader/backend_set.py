"""Carries what a `BackendConfigSet` holds into the multi-backend layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.account import spell
from modelplug_migrators.gguf_loader.carrying import carry, equal, make_room, shelve
from modelplug_migrators.gguf_loader.engines import engine_named
from modelplug_migrators.gguf_loader.values import Setting, flag, texts

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath

__all__ = ["join", "merge_sections", "translate_backend_set"]

_AS_MANY = "-1 left the number of layers to the program, which null says: as many as fit"
_GPU = Setting(
    kind="text",
    choices=("auto", "gpu", "cpu"),
    meanings={"gpu": (True, "means that a GPU may be used"), "cpu": (False, "means that no GPU is used")},
)


def translate_backend_set(editor: ConfigEditor) -> None:
    """Carry the sections, the order and the preferences, as far as the multi-backend layout has them."""
    if editor.is_mapping("backend_configs"):
        for name in editor.names("backend_configs"):
            _read_entry(editor, ("backend_configs", name))
        merge_sections(editor, ("backend_configs",), ("backends",))
    elif editor.has("backend_configs"):
        shelve(editor, ("backend_configs",), "an object belongs here", warn=True)
    order = ("custom_fallback_order",)
    if editor.has(order) and editor.get(order) is None:
        editor.drop(order, why="null takes the usual order, as leaving fallback_order out does")
    elif editor.has(order):
        carry(editor, order, ("fallback_order",), texts())
    enabled = ("preferences", "auto_fallback_enabled")
    if editor.has(enabled):
        carry(editor, enabled, ("fallback_enabled",), flag(), under=("preferences",))
    gpu = ("preferences", "gpu_preference")
    if equal(editor.get(gpu), "auto"):
        editor.drop(gpu, why="auto leaves the choice to the program, as leaving gpu_enabled out does")
    elif editor.has(gpu):
        carry(editor, gpu, ("gpu_enabled",), _GPU, under=("preferences",))


def _read_entry(editor: ConfigEditor, entry: KeyPath) -> None:
    """Bring one backend's entry to the meaning that the same names have in a section."""
    name = (*entry, "name")
    engine = engine_named(editor.get(name))
    if editor.get(name) == entry[-1] or (engine and engine == engine_named(entry[-1])):
        editor.drop(name, why="the section's own name says it")
    layers = (*entry, "gpu_layers")
    if equal(editor.get(layers), -1):
        editor.note(f"{spell(layers)}: {_AS_MANY}", layers)
        editor.set(layers, None, why=_AS_MANY)
    threads = (*entry, "threads")
    if editor.get(threads) in (-1, 0) and not isinstance(editor.get(threads), bool):
        editor.set(threads, None, why="the program chooses the number of threads, which null says")


def merge_sections(editor: ConfigEditor, source: KeyPath, target: KeyPath) -> None:
    """Join an object of sections into another one; what is there already counts."""
    make_room(editor, target[:-1])
    if editor.has(target) and not editor.is_mapping(target):
        shelve(editor, target, "an object belongs here", warn=True)
    if not editor.has(target):
        editor.move(source, target)
        return
    for name in editor.names(source):
        join(editor, (*source, name), (*target, name))
    editor.prune(source)
    if editor.has(source):
        editor.drop(source, why=f"it is empty, and {spell(target)} has its place", into=target)


def join(editor: ConfigEditor, source: KeyPath, target: KeyPath) -> None:
    """Move a section to a place where there may be one; of two values for one key, the one there counts."""
    if editor.has(target) and not editor.is_mapping(target):
        shelve(editor, target, "an object belongs here", under=("backends",), warn=True)
    if not editor.has(target):
        editor.move(source, target)
    elif not editor.is_mapping(source):
        shelve(editor, source, "an object belongs here", under=("backends",), warn=True)
    else:
        for name in editor.names(source):
            place = (*target, name)
            if not editor.has(place):
                editor.move((*source, name), place)
            elif equal(editor.get(place), editor.get((*source, name))):
                editor.drop((*source, name), why=f"{spell(place)} says the same", into=place)
            else:
                shelve(
                    editor,
                    (*source, name),
                    f"{spell(place)} says otherwise, and counts",
                    under=("backends", str(source[-1])),
                    warn=True,
                )
        editor.prune(source)
        if editor.has(source):
            editor.drop(source, why="it is empty", into=target)
