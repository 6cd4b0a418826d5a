"""Reads the baseline that a user recorded before migrating, whatever program recorded it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["find_baselines"]

NAME = "baseline_performance.json"
# What programs call the speed of generating, in tokens per second; the surest name first.
_SPEEDS = (
    "overall_tokens_per_sec",
    "inference_speed",
    "tokens_per_second",
    "average_tokens_per_sec",
    "tokens_per_sec",
)


def find_baselines(folders: Iterable[Path]) -> dict[Path, float | None]:
    """The baselines in some folders, and the tokens per second that each claims; None if it claims none.

    Args:
        folders: Backup sets and old installations.
    """
    found: dict[Path, float | None] = {}
    for folder in folders:
        for path in sorted(folder.rglob(f"*{NAME}")):
            if path.is_file():
                found[path] = _speed(path)
    return found


def _speed(path: Path) -> float | None:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    pairs = list(_numbers(data))
    return next((number for name in _SPEEDS for key, number in pairs if key == name), None)


def _numbers(data: Any) -> Iterator[tuple[str, float]]:
    """Every positive number in the data with the name it has; the outermost first."""
    waiting = [data]
    while waiting:
        entry = waiting.pop(0)
        if isinstance(entry, dict):
            for name, value in entry.items():
                if type(value) in (int, float) and value > 0:
                    yield name, float(value)
                else:
                    waiting.append(value)
        elif isinstance(entry, list):
            waiting += entry
