"""What earlier versions do not have, for the way back to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelplug.config.structure import shorten
from modelplug.migration.account import spell
from modelplug_migrators.resnet_bk.configs.derived import as_flag
from modelplug_migrators.resnet_bk.configs.entries import find, find_setting

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath
    from modelplug.migration.versions import Version

__all__ = ["refuse_flags", "refuse_length", "refuse_quantization", "rename_back", "warn_of_dense"]

_LONGEST_IN_0_5 = 2048


def refuse_flags(editor: ConfigEditor, root: KeyPath, names: tuple[str, ...], version: Version) -> None:
    """Refuse a configuration that asks for something with a flag that a version does not have.

    Args:
        editor: The configuration.
        root: Where in the file it begins.
        names: The flags.
        version: The version that has none of them.
    """
    for name in names:
        path = find(editor, root, name)
        if path is not None and as_flag(editor.get(path)) is True:
            _refuse(editor, path, version)


def refuse_quantization(editor: ConfigEditor, root: KeyPath, version: Version) -> None:
    """Refuse a configuration with a section `quantization`."""
    path = (*root, "quantization")
    if editor.has(path):
        _refuse(editor, path, version)


def refuse_length(editor: ConfigEditor, root: KeyPath, version: Version) -> None:
    """Refuse sequences that are longer than a version can take."""
    path = find_setting(editor, root, "n_seq")
    length: Any = None if path is None else editor.get(path)
    if path is not None and type(length) is int and length > _LONGEST_IN_0_5:
        message = f"{spell(path)} = {length}: {version} takes {_LONGEST_IN_0_5} at most"
        editor.error(message, path, advice=f"Set it to {_LONGEST_IN_0_5} or less first.")


def rename_back(editor: ConfigEditor, root: KeyPath, name: str, older: str) -> None:
    """Give a setting the name it had, where it stands."""
    path = find(editor, root, name)
    if path is not None and not editor.has((*path[:-1], older)):
        editor.rename(path, older)


def warn_of_dense(editor: ConfigEditor, root: KeyPath) -> None:
    """Say of a configuration that asks for dense matrices that these go with 1.0."""
    path = find(editor, root, "use_semiseparable")
    if path is not None and as_flag(editor.get(path)) is False:
        editor.warn(f"{spell(path)} = false asks for dense matrices, which go with 1.0", path)


def _refuse(editor: ConfigEditor, path: KeyPath, version: Version) -> None:
    editor.error(
        f"{spell(path)} = {shorten(editor.get(path))}: {version} has nothing of the kind",
        path,
        advice="Take it out first, if you can do without.",
    )
