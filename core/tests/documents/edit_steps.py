"""Short names for edits, so that tests show a text, the steps, and the text that must come out."""

from __future__ import annotations

from typing import Any

from modelplug.documents import Document, read_document

Step = tuple[Any, ...]


def edited(text: str, kind: str, *steps: Step) -> str:
    """A text after some edits, each a method's name and its arguments."""
    return apply(read_document(text.encode(), kind), *steps).render().decode()


def apply(document: Document, *steps: Step) -> Document:
    """A document after some edits."""
    for name, *arguments in steps:
        options = arguments.pop() if name == "insert" and len(arguments) == 3 else {}
        getattr(document.tree, name)(*arguments, **options)
    return document


FRONT = {"first": True}
"""The option that puts an inserted entry first."""
