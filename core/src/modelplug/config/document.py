"""A settings file as text: read with comments and all, and described precisely when it can't be read."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any

import attrs

from modelplug import jsonspans
from modelplug.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Document", "KeyPath", "dotted", "split_key"]

KeyPath = tuple[str, ...]

_BYTE_ORDER_MARKS = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def split_key(key: str | KeyPath) -> KeyPath:
    """`backends.llamacpp.gpu_layers` as a tuple; a tuple stays as it is, for names that hold dots."""
    path = tuple(key.split(".")) if isinstance(key, str) else tuple(key)
    if not path or not all(path):
        raise ConfigError(
            f"{key!r} is not the name of a setting",
            key=key if isinstance(key, str) else ".".join(key),
            why="a name between the dots is empty",
            advice="`modelplug config show` lists the settings",
        )
    return path


def dotted(path: KeyPath) -> str:
    """The opposite of `split_key`."""
    return ".".join(path)


@attrs.frozen(kw_only=True)
class Document:
    """The text of a settings file, parsed.

    Attributes:
        path: The file.
        text: Its text, with a byte-order mark if it has one.
        encoding: How its bytes spell the text.
        root: The parsed text, with the place of everything.
    """

    path: Path
    text: str
    encoding: str = "utf-8"
    root: jsonspans.Node

    @classmethod
    def from_text(cls, path: Path, text: str, encoding: str = "utf-8") -> Document:
        """Parse a text.

        Raises:
            ConfigError: It is not a JSON object; the message says where it fails.
        """
        try:
            root = jsonspans.parse(text)
        except jsonspans.JsonSyntaxError as error:
            raise _broken(path, f"{error}") from error
        if root.kind != "object":
            line, column = jsonspans.line_and_column(text, root.start)
            raise _broken(path, f"line {line}, column {column}: the settings must be one object, in braces")
        return cls(path=path, text=text, encoding=encoding, root=root)

    @classmethod
    def from_bytes(cls, path: Path, data: bytes) -> Document:
        """Parse the bytes of a file: UTF-8, or UTF-16 if a byte-order mark says so.

        Raises:
            ConfigError: They are not text, or the text is not a JSON object.
        """
        encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            why = f"line {line}: byte {error.start} does not belong to any {encoding.upper()} character"
            raise _broken(path, why) from error
        return cls.from_text(path, text, encoding)

    @property
    def value(self) -> dict[str, Any]:
        """The settings as plain data."""
        value: dict[str, Any] = self.root.value
        return value

    def to_bytes(self) -> bytes:
        """The bytes to write."""
        return self.text.encode(self.encoding)

    def line_of(self, path: KeyPath) -> int | None:
        """The line on which a setting stands, from 1; None if it is not in the file."""
        parent = self.root.find(path[:-1]) if path else None
        member = parent.member(path[-1]) if parent else None
        return jsonspans.line_and_column(self.text, member.start)[0] if member else None

    def with_value(self, path: KeyPath, value: Any) -> Document:
        """The document with one value changed or added, and every other byte as it was.

        Raises:
            ConfigError: The path leads into a value that holds no others, or JSON can't hold the value.
        """
        try:
            text = jsonspans.set_value(self.text, path, value)
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"the setting {dotted(path)} can't be written",
                key=dotted(path),
                value=value,
                path=self.path,
                why=str(error),
                advice="`modelplug config show` shows the settings as they are",
            ) from error
        return Document.from_text(self.path, text, self.encoding)

    def without(self, path: KeyPath) -> Document:
        """The document without one entry, and every other byte as it was."""
        return Document.from_text(self.path, jsonspans.remove(self.text, path), self.encoding)


def _broken(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"the settings file {path} can't be understood",
        path=path,
        why=why,
        advice="correct it with `modelplug config edit`, or start afresh with `modelplug config reset`, "
        "which keeps the old file",
    )
