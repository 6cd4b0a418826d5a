"""Writes keys and scalars as TOML does."""

from __future__ import annotations

import datetime
import json
import math
import re
from typing import Any

__all__ = ["key_text", "scalar_text"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LITERAL = re.compile(r"[^'\x00-\x1f\x7f]*")


def key_text(key: str) -> str:
    """A name as a key."""
    return key if _BARE.fullmatch(key) else _quoted(key)


def scalar_text(value: Any, quote: str = "") -> str:
    """A scalar on one line.

    Args:
        value: Text, a number, a truth value, a date, a time, or both.
        quote: `'` for text without escapes, if it can be written so.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}'" if quote == "'" and _LITERAL.fullmatch(value) else _quoted(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return str(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
