"""Writes scalars so that YAML 1.1 and YAML 1.2 read them alike."""

from __future__ import annotations

import base64
import datetime
import json
import math
import re
from typing import Any

__all__ = ["is_plain_in_flow", "scalar_text"]

# Text that nothing takes for anything else: it begins like a word or a path, and holds nothing special.
_PLAIN = re.compile(r"(?:\.{0,2}/)?[^\W\d][\w./%+-]*(?: (?![-:#?])[\w./%+(-][\w./%+()-]*)*")
# Words that one version or the other reads as a truth value, nothing, or a number.
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_IN_FLOW = re.compile(r"[^\s,\[\]{}&*#?|<>=!%@`'\"-](?:[^,\[\]{}:#\r\n]|:(?=[^\s,\[\]{}])|(?<=\S)#)*")


def scalar_text(value: Any, quote: str = "") -> str:
    """A scalar on one line, that means the same in blocks and in brackets.

    Args:
        value: Text, a number, a truth value, None, a date, a time stamp, or bytes.
        quote: The quotation mark to use for text if it can be used; empty uses none if none is needed.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value, quote)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, bytes):
        return f'!!binary "{base64.b64encode(value).decode()}"'
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, datetime.date):
        return value.isoformat()
    return str(value)


def is_plain_in_flow(written: str) -> bool:
    """Whether text without quotes can stand between brackets as it is."""
    return _IN_FLOW.fullmatch(written) is not None and not written.endswith((":", " "))


def _text(value: str, quote: str) -> str:
    if not quote and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    if quote != '"' and value and not re.search(r"[\r\n\t]", value) and not _UNPRINTABLE.search(value):
        return "'" + value.replace("'", "''") + "'"
    quoted = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", quoted)


def _float(value: float) -> str:
    """A number with a point, and a sign in its exponent, without which YAML 1.1 takes it for text."""
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(value)
    mantissa, exponent, power = text.partition("e")
    if exponent and "." not in mantissa:
        return f"{mantissa}.0e{power}"
    return text
