"""Joins the names that say the same thing, and reports those that do not agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.config.structure import shorten
from modelplug.migration.account import spell
from modelplug_migrators.resnet_bk.configs.places import entries_in, settings_in
from modelplug_migrators.resnet_bk.configs.reasons import SYNONYMS
from modelplug_migrators.resnet_bk.configs.shelving import shelve
from modelplug_migrators.resnet_bk.configs.values import agree
from modelplug_migrators.resnet_bk.versions import V1_0

if TYPE_CHECKING:
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath
    from modelplug.migration.versions import Version
    from modelplug_migrators.resnet_bk.configs.settings import Setting

__all__ = ["join_names", "report_disagreements"]


def join_names(editor: ConfigEditor, root: KeyPath, version: Version) -> None:
    """Leave one name for each setting that a version has one name for.

    Where several are there and agree, one stays. Where they do not, the one that counts stays, the others go
    to the extras, and a warning says so. Before 1.0 the one that stays is called as the version calls it.

    Args:
        editor: The configuration.
        root: Where in the file it begins.
        version: The version that is the target.
    """
    entries: dict[Setting, list[KeyPath]] = {}
    for path, setting in settings_in(editor.value, root):
        if version in (setting.joined, V1_0):
            entries.setdefault(setting, []).append(path)
    for setting, found in entries.items():
        best = min(found, key=lambda path: setting.names.index(str(path[-1])))
        for path in found:
            if path != best:
                _give_way(editor, path, best, setting)
        if version != V1_0 and best[-1] != setting.name:
            editor.rename(best, setting.name)


def report_disagreements(editor: ConfigEditor, root: KeyPath) -> None:
    """Warn of two names of one thing that disagree, where 1.0 has no place for either.

    Args:
        editor: The configuration.
        root: Where in the file it begins.
    """
    found = {str(path[-1]): path for path in entries_in(editor.value, root)}
    for names in SYNONYMS:
        there = [found[name] for name in names if name in found]
        for path in there[1:]:
            value, first = editor.get(path), editor.get(there[0])
            if not agree(value, first):
                editor.warn(
                    f"{spell(path)} = {shorten(value)} and {spell(there[0])} = {shorten(first)} are two "
                    "names of one thing, and disagree",
                    path,
                )


def _give_way(editor: ConfigEditor, path: KeyPath, best: KeyPath, setting: Setting) -> None:
    value, counts = editor.get(path), editor.get(best)
    if agree(value, counts):
        editor.drop(path, why=f"{spell(best)} says the same", into=best)
        return
    message = (
        f"{spell(path)} = {shorten(value)} and {spell(best)} = {shorten(counts)} are two names of "
        f"{'.'.join(setting.place)}, and disagree; {best[-1]} counts"
    )
    editor.warn(message, path, advice=f"Leave one of them: {best[-1]} = {shorten(counts)} is used.")
    shelve(editor, path, f"{spell(best)} says otherwise, and counts")
