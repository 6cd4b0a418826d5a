"""Finds what makes it unsafe to edit a file: tags that name code, swallowed lines, several documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelplug.migration.account import Severity
from modelplug_migrators.resnet_bk.configs.settings import BY_NAME
from modelplug_migrators.resnet_bk.configs.words import BROUGHT

if TYPE_CHECKING:
    from modelplug.documents import Document
    from modelplug.migration.editing import ConfigEditor

__all__ = ["is_garbled", "refuse_damage", "swallowed_settings", "tags_of_code"]

_TAG = re.compile(
    r"(?:^|[-:,\[{?]\s+|[-:,\[{?]\s+&\w+\s+|^\s+)(!!python/\S+|!<tag:yaml\.org,2002:python/[^>]*>)"
)
# Text that was read in the wrong encoding: replacement and control characters, and what UTF-8 looks like in
# cp1252 and in cp932.
_GARBLED = re.compile("[\ufffd\x80-\x9f]|[ÃÂâã][\u0080-\u00bf\u2018-\u2026€]|[縺繧繝荳譁蜿螟][^\\s\x00-\x7f]")
_NAMES = {*BY_NAME, *(name for names in BROUGHT.values() for name in names)}
_SETTING = re.compile(r"(?<![\w.-])([A-Za-z_]\w{2,}): +[^\s#]")


def refuse_damage(editor: ConfigEditor) -> bool:
    """Make sure that a file can be edited; what keeps it from that becomes an error of the file, once.

    Args:
        editor: The configuration.

    Returns:
        Whether it can.
    """
    if any(finding.severity is Severity.ERROR for finding in editor.findings):
        return False
    document = editor.document
    if document.documents > 1:
        editor.error(
            f"the file holds {document.documents} YAML documents, and a configuration is one",
            advice="Divide it into files of one document each.",
        )
    for line, tag in tags_of_code(document):
        editor.error(
            f"the tag {tag} asks for a Python object to be made; nothing was executed",
            line=line,
            advice="Write the value out as plain YAML.",
        )
    for line, name in swallowed_settings(document):
        editor.error(
            f"{name} stands in a comment behind garbled text: the end of a line was lost there, and the "
            "setting with it",
            line=line,
            advice="Restore the file from before its encoding was changed.",
        )
    return not any(finding.severity is Severity.ERROR for finding in editor.findings)


def tags_of_code(document: Document) -> Iterator[tuple[int, str]]:
    """The tags in a YAML text that name Python code, with their lines; nothing is executed."""
    if document.format != "yaml" or "python/" not in document.text:
        return
    for number, line in enumerate(document.text.splitlines(), start=1):
        code, _, _ = line.partition(" #")
        if not code.lstrip().startswith("#"):
            for found in _TAG.finditer(code):
                yield number, found[1]


def swallowed_settings(document: Document) -> Iterator[tuple[int, str]]:
    """Settings that stand in comments because garbling took the end of a line with it, with their lines."""
    if document.format == "json":
        return
    for number, line in enumerate(document.text.splitlines(), start=1):
        start = 0 if line.lstrip().startswith("#") else line.find(" #")
        if start < 0 or not is_garbled(line[start:]):
            continue
        comment = line[start:]
        for found in _SETTING.finditer(comment):
            if found[1] in _NAMES and is_garbled(comment[: found.start()]):
                yield number, found[1]


def is_garbled(text: str) -> bool:
    """Whether a text was read in the wrong encoding."""
    return _GARBLED.search(text) is not None
