"""Says in a configuration which version it is of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug_migrators.resnet_bk.configs.detection import recognise
from modelplug_migrators.resnet_bk.configs.places import value_at
from modelplug_migrators.resnet_bk.configs.schema import MARK
from modelplug_migrators.resnet_bk.versions import V1_0

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath
    from modelplug.migration.versions import Version

__all__ = ["mark"]


def mark(editor: ConfigEditor, root: KeyPath, version: Version) -> None:
    """Make sure that a configuration is recognised as what it is.

    One of 1.0 says its version. An older one does where its content does not show it: its programs pass over
    what they do not know.

    Args:
        editor: The configuration.
        root: Where in the file it begins.
        version: The version it is of.
    """
    path = (*root, MARK)
    if version != V1_0 and _shows(editor, root, version):
        if editor.has(path):
            editor.drop(path, why=f"{version} does not say its version")
    elif editor.has(path):
        editor.set(path, str(version))
    else:
        editor.add(path, str(version), first=True)


def _shows(editor: ConfigEditor, root: KeyPath, version: Version) -> bool:
    """Whether a configuration shows its version without saying it."""
    values = editor.value
    value_at(values, root).pop(MARK, None)
    found = recognise(values)
    return found is not None and found.version == version
