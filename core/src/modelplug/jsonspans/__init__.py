"""Reads JSON as people write it, and changes single values in it without touching any other byte.

Comments (`//` and `/* */`), trailing commas and a byte-order mark are accepted. `set_value` and `remove` edit
the text itself, so that comments, key order, indentation and line endings survive. The package stands alone:
it knows nothing of settings.
"""

from __future__ import annotations

from modelplug.jsonspans.editor import EditError, remove, set_value
from modelplug.jsonspans.nodes import JsonSyntaxError, Member, Node, line_and_column
from modelplug.jsonspans.parser import parse

__all__ = [
    "EditError",
    "JsonSyntaxError",
    "Member",
    "Node",
    "line_and_column",
    "parse",
    "remove",
    "set_value",
]
