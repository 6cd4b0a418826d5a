"""TOML: read into a tree, and rendered from it."""

from __future__ import annotations

import datetime
from typing import Any

from modelplug.documents.dialect import Dialect
from modelplug.documents.nodes import Path
from modelplug.documents.splices import newline_of
from modelplug.documents.toml_reader import TomlReader, parse_toml
from modelplug.documents.toml_render import TomlRenderer

__all__ = ["TomlFormat"]


class TomlFormat(Dialect):
    """One TOML text."""

    name = "TOML"
    scalars = (datetime.date, datetime.time)
    not_finite = True
    documents = 1

    def __init__(self, text: str) -> None:
        self.text = text
        self._newline = newline_of(text)
        # Every line ends with a line break in what is read and edited; the last one's is taken away again.
        self._is_open = not text.endswith("\n") and text not in ("", "\ufeff")
        self._whole = text + self._newline if self._is_open else text
        self._reader = TomlReader(self._whole)
        self.root = self._reader.root
        self.offsets = self._reader.offsets
        self.duplicates: list[Path] = []

    def render(self) -> str:
        """The text of the tree as it is now."""
        rendered = TomlRenderer(self._whole, self._reader, newline=self._newline).rendered()
        return rendered.removesuffix(self._newline) if self._is_open else rendered

    def value_of(self, text: str) -> Any:
        """What a rendered text says, read independently of the tree."""
        return parse_toml(text)
