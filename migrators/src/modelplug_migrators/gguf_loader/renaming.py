"""Calls engines by the names that a layout has for them, wherever they are named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug_migrators.gguf_loader.backend_set import join
from modelplug_migrators.gguf_loader.engines import engine_named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath

__all__ = ["called", "rename_order", "rename_sections"]


def called(name: object, names: Mapping[str, str]) -> object:
    """What a layout calls the engine that a name means; the name itself if it means none."""
    engine = engine_named(name)
    return names.get(engine, engine) if engine else name


def rename_sections(editor: ConfigEditor, names: Mapping[str, str]) -> None:
    """Rename every section of an engine; two that turn out to be one are joined.

    Args:
        editor: The configuration.
        names: What engines are called where that is not their name in modelplug.
    """
    for name in editor.names("backends"):
        new = str(called(name, names))
        if new != name:
            join(editor, ("backends", name), ("backends", new))


def rename_order(editor: ConfigEditor, path: KeyPath, names: Mapping[str, str]) -> None:
    """Rename the engines in a list of them, if there is one."""
    order = editor.get(path)
    if isinstance(order, list):
        new = [called(name, names) for name in order]
        if new != order:
            editor.set(path, new, why="backends have other names")
