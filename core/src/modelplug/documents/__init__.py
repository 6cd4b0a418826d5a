"""Edits JSON, YAML and TOML without losing anything: whatever an edit does not touch keeps every byte.

`read_document` turns bytes into a `Document`, whose `tree` is looked up and edited by path through any number
of steps. Its entries remember where they stood, so `render` writes the text once, with comments, indentation,
key order, line ends, quotes and number formats as they were. The package stands alone: it knows nothing of
settings or migrations.
"""

from __future__ import annotations

from modelplug.documents.document import FORMATS, Document, format_of, read_document
from modelplug.documents.errors import DocumentSyntaxError, RenderError, TreeError
from modelplug.documents.tree import Leaf, Tree

__all__ = [
    "FORMATS",
    "Document",
    "DocumentSyntaxError",
    "Leaf",
    "RenderError",
    "Tree",
    "TreeError",
    "format_of",
    "read_document",
]
