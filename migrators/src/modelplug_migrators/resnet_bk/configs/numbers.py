"""Numbers that YAML 1.1 takes for text, spelled so that every program reads them as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.migration.account import spell
from modelplug_migrators.resnet_bk.configs.values import is_text_in_yaml_1_1

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.documents import Document
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.steps import KeyPath

__all__ = ["misread_numbers", "respell_numbers"]


def misread_numbers(document: Document) -> Iterator[tuple[KeyPath, str]]:
    """The numbers of a YAML document that YAML 1.1 takes for text, with their spelling.

    Args:
        document: The document.
    """
    if document.format != "yaml":
        return
    for leaf in document.tree.leaves():
        items = enumerate(leaf.value) if isinstance(leaf.value, list) else [(None, leaf.value)]
        for position, value in items:
            path = leaf.path if position is None else (*leaf.path, position)
            if isinstance(value, float):
                written = document.spelling(path)
                if written is not None and is_text_in_yaml_1_1(written):
                    yield path, written


def respell_numbers(editor: ConfigEditor) -> None:
    """Spell such numbers anew; their values stay."""
    for path, written in list(misread_numbers(editor.document)):
        why = f"{written} is text for programs that read YAML 1.1"
        editor.warn(
            f"{spell(path)} = {written} is a number here, and text for programs that read YAML 1.1: "
            "those could not use it; it is spelled anew",
            path,
        )
        editor.respell(path, why=why)
