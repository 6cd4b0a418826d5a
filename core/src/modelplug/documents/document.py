"""A document: bytes read into a tree, and rendered back with every byte that no edit touched."""

from __future__ import annotations

import codecs
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Protocol

from modelplug.documents.errors import DocumentSyntaxError, RenderError
from modelplug.documents.nodes import same
from modelplug.documents.splices import newline_of
from modelplug.documents.tree import Tree

if TYPE_CHECKING:
    import os

    from modelplug.documents.nodes import Node, Path

__all__ = ["FORMATS", "Document", "format_of", "read_document"]

FORMATS = ("json", "yaml", "toml")
"""The formats that can be read and written."""

_SUFFIXES = {".json": "json", ".jsonc": "json", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml"}
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def format_of(path: str | os.PathLike[str]) -> str | None:
    """The format that a file's name promises; None if it is none of `FORMATS`."""
    return _SUFFIXES.get(PurePath(path).suffix.lower())


def read_document(data: bytes, format: str, *, name: str = "") -> Document:  # noqa: A002  the word for it
    """The document that some bytes spell.

    Args:
        data: The content of a file: UTF-8, or UTF-16 if a byte-order mark says so (JSON and YAML only).
        format: One of `FORMATS`.
        name: What error messages call it; for example the file's path.

    Raises:
        DocumentSyntaxError: The bytes are no text, or the text is not of the format.
        ModelplugError: The library that reads the format is not installed.
        ValueError: There is no such format.
    """
    if format not in FORMATS:
        reason = f"{format!r} is none of the formats {', '.join(FORMATS)}"
        raise ValueError(reason)
    text, encoding = _decoded(data, format, name)
    try:
        return Document(_parsed(text, format), data=data, format=format, encoding=encoding, name=name)
    except DocumentSyntaxError as error:
        if error.name or not name:
            raise
        raise DocumentSyntaxError(error.reason, line=error.line, column=error.column, name=name) from error


class _Format(Protocol):
    """A parsed text of some format."""

    text: str
    root: Node
    offsets: dict[Path, int]
    duplicates: list[Path]
    documents: int

    def render(self) -> str: ...

    def value_of(self, text: str) -> Any: ...


class Document:
    """A text with the tree of what it says. Edit the tree, then render once.

    Attributes:
        format: One of `FORMATS`.
        text: The original text, with a byte-order mark if it has one.
        encoding: How its bytes spell the text.
        newline: How its lines end.
        name: What error messages call it.
        tree: What it says, to look up and to edit.
        duplicates: Original paths of entries whose name had occurred before in the same mapping; the last one
            counts.
        documents: How many documents the text holds; of several in YAML, the tree is the first one.
    """

    def __init__(self, parsed: Any, *, data: bytes, format: str, encoding: str, name: str) -> None:  # noqa: A002
        self._parsed: _Format = parsed
        self._data = data
        self._rendered: tuple[int, bytes] = (0, data)
        self.format = format
        self.text: str = self._parsed.text
        self.encoding = encoding
        self.newline = newline_of(self.text)
        self.name = name
        self.tree = Tree(self._parsed.root, parsed)
        self.duplicates = tuple(self._parsed.duplicates)
        self.documents = self._parsed.documents

    @property
    def value(self) -> Any:
        """The tree as it is now, as plain data."""
        return self.tree.get(())

    @property
    def changed(self) -> bool:
        """Whether the edits change the text."""
        return self.render() != self._data

    def line_of(self, source_path: Path) -> int | None:
        """The line on which an entry stood in the original text, from 1, by its original path."""
        offset = self._parsed.offsets.get(source_path)
        if offset is None:
            return None
        before = self.text[:offset].replace("\r\n", "\n").replace("\r", "\n")
        return before.count("\n") + 1

    def spelling(self, path: Path) -> str | None:
        """How the value at a path is written in the original text; None if it is new."""
        span = self.tree.span(path)
        return None if span is None else self.text[slice(*span)]

    def render(self) -> bytes:
        """The bytes of the tree as it is now. Whatever no edit touched is as it was, to the byte.

        Raises:
            RenderError: The text made does not say what the tree says; a fault in this package.
        """
        revision = self.tree.revision
        if self._rendered[0] != revision:
            self._rendered = (revision, self._verified().encode(self.encoding))
        return self._rendered[1]

    def _verified(self) -> str:
        text = self._parsed.render()
        if text == self.text:
            said = self.tree.source_value
        else:
            try:
                said = self._parsed.value_of(text)
            except ValueError as error:
                reason = f"the text made from the edited tree can't be read: {error}"
                raise RenderError(reason, name=self.name, text=text) from error
        if not same(said, self.value):
            reason = "the text made from the edited tree says something else than the tree"
            raise RenderError(reason, name=self.name, text=text)
        return text


def _decoded(data: bytes, format: str, name: str) -> tuple[str, str]:  # noqa: A002
    encoding = "utf-8"
    if format != "toml":
        encoding = next((known for mark, known in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding), encoding
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding, errors="replace")
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
        reason = f"byte {error.start} does not belong to any {encoding.upper()} character"
        raise DocumentSyntaxError(reason, line=line, column=column, name=name) from error


def _parsed(text: str, format: str) -> Any:  # noqa: A002
    if format == "json":
        from modelplug.documents.json_format import JsonFormat

        return JsonFormat(text)
    if format == "yaml":
        from modelplug.documents.yaml_format import YamlFormat

        return YamlFormat(text)
    from modelplug.documents.toml_format import TomlFormat

    return TomlFormat(text)
