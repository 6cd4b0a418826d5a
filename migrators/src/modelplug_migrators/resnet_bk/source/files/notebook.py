"""Python in the code cells of a notebook. Every byte outside of changed cells stays."""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING

from modelplug import jsonspans
from modelplug_migrators.resnet_bk.source.files.parts import Part, PartedFile
from modelplug_migrators.resnet_bk.source.parsing import Unreadable, is_python

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Notebook"]

# Lines that IPython understands and Python does not: `%magic`, `!command`, `?help`, `files = !ls`.
_COMMAND = re.compile(r"[ \t]*(?:[%!?]|[\w.\[\]'\", ]+=[ \t]*[%!]|[\w.]+\?{1,2}[ \t]*$)")
# Cell commands after which the cell goes on in Python.
_TRANSPARENT = re.compile(r"%%(?:capture|prun|time|timeit)\b")


class Notebook(PartedFile):
    """A notebook: its code cells are read as one program, in their order.

    A cell with commands of IPython is read for what it defines, and stays as it is.

    Args:
        text: The whole file.

    Raises:
        Unreadable: It is no JSON.
    """

    def __init__(self, text: str) -> None:
        self._sources: dict[Part, jsonspans.Node] = {}
        self._ascii = text.isascii()
        parts, unread = [], []
        for source in _code_cells(text):
            part = _part_of(source)
            self._sources[part] = source
            if is_python(part.text):
                parts.append(part)
            else:
                reason = "this cell is not read: it has a command of IPython, or is no Python"
                unread.append((part, reason))
        super().__init__(text, parts, unread)

    def line_in(self, part: Part, offset: int) -> int:
        """The line of the file that a place in a cell stands on."""
        source = self._sources[part]
        start, wanted = source.start, part.text.count("\n", 0, offset)
        for member in source.members:
            start = member.start
            lines = str(member.value.scalar).count("\n")
            if lines > wanted:
                break
            wanted -= lines
        return jsonspans.line_and_column(self.text, start)[0]

    def written(self, part: Part, changed: str) -> str:
        """How a changed cell stands in the file: unchanged lines as they were spelled."""
        source = self._sources[part]
        if source.kind == "string":
            return self._spelled(changed)
        old = [str(member.value.scalar) for member in source.members]
        new = changed.splitlines(keepends=True)
        spelled: list[str] = []
        for tag, first, last, begin, end in difflib.SequenceMatcher(None, old, new, False).get_opcodes():
            if tag == "equal":
                spelled += [self.text[m.start : m.end] for m in source.members[first:last]]
            else:
                spelled += [self._spelled(line) for line in new[begin:end]]
        lead = self.text[source.start + 1 : source.members[0].start]
        tail = self.text[source.members[-1].end : source.end]
        between = f",{lead}" if "\n" in lead else ", "
        return f"[{lead}{between.join(spelled)}{tail}"

    def _spelled(self, text: str) -> str:
        return json.dumps(text, ensure_ascii=self._ascii)


def _code_cells(text: str) -> Iterator[jsonspans.Node]:
    """The source of each code cell: a text, or an array of texts."""
    try:
        root = jsonspans.parse(text)
    except jsonspans.JsonSyntaxError as error:
        raise Unreadable(f"the notebook is no JSON: {error.reason}", error.line) from error
    language = root.find(("metadata", "language_info", "name"))
    if language is not None and language.value not in ("python", "python3"):
        return
    cells = root.find(("cells",))
    for member in cells.members if cells is not None else ():
        kind, source = member.value.find(("cell_type",)), member.value.find(("source",))
        if kind is None or kind.value != "code" or source is None:
            continue
        texts = [inner.value for inner in source.members] if source.kind == "array" else [source]
        if texts and all(each.kind == "string" for each in texts):
            yield source


def _part_of(source: jsonspans.Node) -> Part:
    value = source.value
    text = value if isinstance(value, str) else "".join(value)
    lines = text.splitlines(keepends=True)
    kept = any(_COMMAND.match(line) for line in lines)
    if kept and not is_python(text):
        text = _without_commands(lines)
    elif kept:
        kept = False  # a line of a text in quotes, or a remainder that goes on on the next line
    return Part(source.start, source.end, text, kept)


def _without_commands(lines: list[str]) -> str:
    """A cell with statements that do nothing in the place of commands, and as many lines."""
    if lines[0].startswith("%%") and not _TRANSPARENT.match(lines[0]):
        return "".join(lines)
    result, goes_on = [], False
    for line in lines:
        body = line.rstrip("\r\n")
        end = line[len(body) :]
        if goes_on or _COMMAND.match(line):
            indent = body[: len(body) - len(body.lstrip())]
            result.append(end if goes_on else f"{indent}pass{end}")
            goes_on = body.endswith("\\")
        else:
            result.append(line)
    return "".join(result)
