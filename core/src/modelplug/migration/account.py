"""The account of a migration: what became of every key of the source."""

from __future__ import annotations

import enum
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from modelplug.migration.steps import KeyPath

__all__ = ["Account", "Fate", "Finding", "KeyFate", "Severity", "counted", "spell"]


class Fate(str, enum.Enum):
    """What can become of a key."""

    KEPT = "kept"
    MAPPED = "mapped"
    EXTRAS = "extras"
    DROPPED = "dropped"


class Severity(str, enum.Enum):
    """How much a finding matters: an error stops the file, a to-do is left to a person."""

    ERROR = "error"
    WARNING = "warning"
    TODO = "todo"
    NOTE = "note"


def spell(path: KeyPath) -> str:
    """A path as people write it: `backends.llamacpp.gpu_layers`; names that hold dots in quotes."""
    steps = (f'"{step}"' if isinstance(step, str) and "." in step else str(step) for step in path)
    return ".".join(steps)


def counted(number: int, thing: str) -> str:
    """A number of things, as people say it: `1 file`, `2 files`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


@attrs.frozen(kw_only=True)
class Finding:
    """Something a person should know about a file that is migrated.

    Attributes:
        severity: How much it matters.
        message: One sentence.
        key: The key it is about, as `spell` writes it; empty if it is about the file.
        line: The line in the source, from 1; None if it has none.
        step: The step that found it, as `source -> target`; empty if none did.
        nearest: The nearest valid name or value; empty if nothing is near.
        advice: What to do about it; empty if the message says so.
    """

    severity: Severity
    message: str
    key: str = ""
    line: int | None = None
    step: str = ""
    nearest: str = ""
    advice: str = ""

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**attrs.asdict(self), "severity": self.severity.value}


@attrs.frozen(kw_only=True)
class KeyFate:
    """What became of one key of the source.

    Attributes:
        key: The key in the source, as `spell` writes it.
        fate: What became of it.
        target: Where it is now, or into which key it went; empty if it is gone.
        why: The reason; always given for a key that was dropped.
        line: The line in the source, from 1.
    """

    key: str
    fate: Fate
    target: str = ""
    why: str = ""
    line: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**attrs.asdict(self), "fate": self.fate.value}


@attrs.frozen(kw_only=True)
class Account:
    """What became of every key of the source, in the order of the source.

    Attributes:
        keys: One entry per key.
        added: Keys that are new, as `spell` writes them.
    """

    keys: tuple[KeyFate, ...] = ()
    added: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """How many keys had each fate; together they are all keys there were."""
        found = Counter(entry.fate for entry in self.keys)
        return {fate.value: found[fate] for fate in Fate}

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the counts."""
        return {
            "total": len(self.keys),
            "counts": self.counts(),
            "keys": [entry.to_dict() for entry in self.keys],
            "added": list(self.added),
        }
