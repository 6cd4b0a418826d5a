"""Brings what a configuration says of quantization into one section: bits for the whole, or by part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelplug.migration.account import spell
from modelplug_migrators.resnet_bk.configs.entries import find
from modelplug_migrators.resnet_bk.configs.settings import field_names
from modelplug_migrators.resnet_bk.configs.shelving import shelve
from modelplug_migrators.resnet_bk.configs.values import read

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath

__all__ = ["gather_quantization"]

_SECTION = "quantization"
_PARTS = {
    "moe_experts": "experts",
    "experts": "experts",
    "bk_core": "bk_core",
    "output_layers": "output",
    "output": "output",
}
_LEFT = "a model is quantized when it is trained, by the bits of each part"


def gather_quantization(editor: ConfigEditor, root: KeyPath) -> None:
    """Bring the bits into the section `quantization`; what else was said goes to the extras.

    Args:
        editor: The configuration.
        root: Where in the file it begins.
    """
    section = (*root, _SECTION)
    if editor.has(section) and not editor.is_mapping(section):
        shelve(editor, section, "a section of that name belongs here")
    for mode in ("qat", "ptq"):
        tree = (*section, mode)
        if editor.is_mapping(tree) and editor.get((*tree, "enabled")) is not False:
            _take_parts(editor, section, (*tree, "mixed_precision"))
            _take(editor, (*tree, "bit_width"), (*section, "bits"))
    _take_flags(editor, root, section)
    for name in editor.names(section):
        path = (*section, name)
        if name not in field_names(_SECTION):
            shelve(editor, path, _LEFT)
        elif (refused := read(editor.get(path), _SECTION, name).refused) and editor.has(path):
            kept = shelve(editor, path, refused)
            editor.warn(f"{spell(path)}: {refused}; it is kept as {spell(kept)}", kept)


def _take_parts(editor: ConfigEditor, section: KeyPath, tree: KeyPath) -> None:
    """Take the bits of each part, unless they are switched off."""
    if not editor.is_mapping(tree) or editor.get((*tree, "enabled")) is False:
        return
    for name in editor.names(tree):
        if name in _PARTS:
            _take(editor, (*tree, name), (*section, _PARTS[name]))


def _take_flags(editor: ConfigEditor, root: KeyPath, section: KeyPath) -> None:
    """`use_quantization` with `quantization_bits`."""
    switch = find(editor, root, "use_quantization") or find(editor, root, "enable_quantization")
    bits = find(editor, root, "quantization_bits")
    is_on = switch is not None and _flag(editor.get(switch)) is True
    if bits is None or not is_on or switch is None:
        return
    if _take(editor, bits, (*section, "bits")):
        editor.drop(switch, why="a section quantization says it", into=(*section, "bits"))


def _flag(value: Any) -> Any:
    return read(value, "model", "use_cache").value


def _take(editor: ConfigEditor, path: KeyPath, to: KeyPath) -> bool:
    """Move a number of bits to its place, if it is one and the place is free."""
    if not editor.has(path) or path == to:
        return False
    reading = read(editor.get(path), _SECTION, str(to[-1]))
    if reading.refused or reading.value is None or editor.has(to):
        return False
    editor.move(path, to)
    if reading.note:
        editor.set(to, reading.value, why=reading.note)
    return True
