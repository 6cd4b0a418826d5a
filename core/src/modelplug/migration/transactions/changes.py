"""What a transaction is asked to do: files to change, and effects that are no files."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any, Protocol

import attrs

__all__ = ["Effect", "EffectHandler", "FileChange", "Move"]

_DIGITS = frozenset(string.hexdigits.lower())


def _is_sha256(_instance: object, _attribute: object, value: str | None) -> None:
    if value is not None and (len(value) != 64 or not _DIGITS.issuperset(value)):
        raise ValueError(f"a SHA-256 in lower-case hexadecimal was expected, not {value!r}")


@attrs.frozen
class FileChange:
    """One file to create, replace or delete.

    Attributes:
        path: The file. Where it is a symbolic link, the link stays and its target is changed.
        before: The SHA-256 of the content it must have now, in hexadecimal; None: there must be no such file.
        after: Its new content, or a file that holds it (for large ones); None deletes the file.
        mode: Permission bits; None keeps those of the existing file, or gives 0o666 less the umask.
        take: Whether a file given as `after` may be moved into place, where it lies on the same file system,
            instead of being copied. It is moved back if the transaction is undone.
    """

    path: Path
    before: str | None = attrs.field(validator=_is_sha256)
    after: bytes | Path | None = attrs.field(repr=False)
    mode: int | None = None
    take: bool = attrs.field(default=False, kw_only=True)


@attrs.frozen
class Move:
    """A file or folder that is renamed, however large: nothing of it is read or copied.

    Attributes:
        source: What is moved.
        target: Where to, on the same file system; the name must be free. None puts it away: into the backup
            set, or beside itself where the set is on another file system.
        sha256: The SHA-256 of a file that is put away, where it is known; the backup set records it.
    """

    source: Path
    target: Path | None = None
    sha256: str | None = attrs.field(default=None, validator=_is_sha256, kw_only=True)


@attrs.frozen
class Effect:
    """A change that is no file, made by a registered handler after all files are in place.

    Attributes:
        kind: The name of its handler.
        payload: What the handler needs to know; anything JSON can hold.
    """

    kind: str
    payload: Any = None


class EffectHandler(Protocol):
    """Makes and undoes the effects of one kind.

    Both methods must be idempotent: after a crash they are called again, for effects that were made, half
    made or never made.
    """

    def apply(self, payload: Any, transaction_id: str) -> None:
        """Make the effect.

        Args:
            payload: The effect's payload.
            transaction_id: The transaction it belongs to.
        """

    def undo(self, payload: Any, transaction_id: str) -> None:
        """Bring back what was there before the effect was made, if it was.

        Args:
            payload: The effect's payload.
            transaction_id: The transaction in which it was made.
        """
