"""Which devices `CUDA_VISIBLE_DEVICES` and its relatives leave visible."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["select_devices"]

_LEADING_NUMBER = re.compile(r"\s*[+-]?\d+")


def select_devices(value: str | None, uuids: Sequence[str | None], *, prefixes: Sequence[str]) -> list[int]:
    """The positions of the devices that a variable such as `CUDA_VISIBLE_DEVICES` selects, in its order.

    The rules are those of the CUDA runtime: not set selects all, empty selects none; the first entry that is
    negative, out of range, unknown or ambiguous ends the list; an entry given twice selects nothing at all.

    Args:
        value: The variable's value; None if it isn't set.
        uuids: The devices' UUIDs in the order of their numbers; None for one that is not known.
        prefixes: What a UUID starts with, for example `GPU-`.
    """
    if value is None:
        return list(range(len(uuids)))
    chosen: list[int] = []
    for entry in value.split(","):
        position = _position(entry.strip(), uuids, prefixes)
        if position is None:
            break
        if position in chosen:
            return []
        chosen.append(position)
    return chosen


def _position(entry: str, uuids: Sequence[str | None], prefixes: Sequence[str]) -> int | None:
    if entry.upper().startswith(tuple(prefix.upper() for prefix in prefixes)):
        matches = [
            position
            for position, uuid in enumerate(uuids)
            if uuid is not None and uuid.lower().startswith(entry.lower())
        ]
        return matches[0] if len(matches) == 1 else None
    # The runtime reads leading digits as C's strtol does: "1abc" is 1.
    number = _LEADING_NUMBER.match(entry)
    if number is None:
        return None
    position = int(number.group())
    return position if 0 <= position < len(uuids) else None
