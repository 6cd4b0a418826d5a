"""What can go wrong with a document: its text, an edit of it, and, never hoped for, the text made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelplug.documents.nodes import Path

__all__ = ["DocumentSyntaxError", "RenderError", "TreeError", "shown"]


def shown(path: Path) -> str:
    """A path as people write it: `model.layers[0].size`; a name that holds a dot stands in quotes."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = repr(step) if "." in step or not step else step
            text += f".{name}" if text else name
    return text or "the whole document"


class DocumentSyntaxError(ValueError):
    """The bytes are no document of the format they are said to be.

    Attributes:
        reason: What is wrong, without the place.
        line: The line, from 1.
        column: The column, from 1.
        name: Which document, as the caller named it; empty if it did not.
    """

    def __init__(self, reason: str, *, line: int, column: int, name: str = "") -> None:
        self.reason = reason
        self.line = line
        self.column = column
        self.name = name
        place = f"line {line}, column {column}: {reason}"
        super().__init__(f"{name}: {place}" if name else place)


class TreeError(ValueError):
    """The edit is impossible, and nothing was changed.

    Attributes:
        reason: Why.
        path: The entry that was to be edited.
    """

    def __init__(self, reason: str, path: Path) -> None:
        self.reason = reason
        self.path = path
        super().__init__(reason)


class RenderError(RuntimeError):
    """The text made from an edited tree does not say what the tree says; it was thrown away.

    This is a fault in this package and not in the document or the edits.

    Attributes:
        name: Which document, as the caller named it.
        text: The text that was made.
    """

    def __init__(self, reason: str, *, name: str, text: str) -> None:
        self.name = name
        self.text = text
        super().__init__(f"{name or 'the document'}: {reason}")
