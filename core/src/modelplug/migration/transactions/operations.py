"""What a transaction does, in the exact terms in which it is journaled, finished and undone."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from modelplug.migration.transactions.files import FileState

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = [
    "EffectStep",
    "Folder",
    "MoveStep",
    "Now",
    "Operation",
    "Script",
    "converter",
    "dump_script",
    "load_script",
]


class Now(enum.Enum):
    """What a file is at this moment: as before the transaction, as after it, or as somebody else made it."""

    OLD = "old"
    NEW = "new"
    OTHER = "other"


@attrs.frozen(kw_only=True)
class Operation:
    """One file and its two states.

    Attributes:
        number: Its place in the transaction.
        path: The file as the caller named it.
        target: The file itself, symbolic links resolved.
        before: Its state before; None if there was no such file.
        after: Its state after; None if it is deleted.
        stored: Where its former content lies in the backup set, relative to it.
        taken_from: The caller's file that is moved into place, and back if the transaction is undone.
    """

    number: int
    path: Path
    target: Path
    before: FileState | None
    after: FileState | None
    stored: str | None = None
    taken_from: Path | None = None

    def temporary(self, transaction_id: str, which: Literal["new", "old"]) -> Path:
        """The file beside the target in which content waits to be renamed into place.

        Args:
            transaction_id: The transaction.
            which: Whether it holds the new content, or the old one on its way back.
        """
        return self.target.with_name(f".modelplug-{transaction_id}-{self.number}.{which}")


@attrs.frozen(kw_only=True)
class Folder:
    """A folder that the transaction makes or removes.

    Attributes:
        path: The folder.
        mode: Its permission bits; None leaves them to the umask.
    """

    path: Path
    mode: int | None = None


@attrs.frozen(kw_only=True)
class MoveStep:
    """A file or folder that is renamed.

    Attributes:
        number: Its place among the moves.
        source: Where it was.
        target: Where it goes; None only until the place in the backup set is known.
        identity: The numbers of its device and of itself there, by which it is known under either name.
        away: Whether it goes out of its owner's sight, into the backup.
        from_backup: Whether it comes from there.
        sha256: The SHA-256 of a file that is put away, where it is known.
    """

    number: int
    source: Path
    target: Path | None = None
    identity: tuple[int, int]
    away: bool = False
    from_backup: bool = False
    sha256: str | None = None

    @property
    def path(self) -> Path:
        """Where its owner sees it appear, or go."""
        return self.source if self.away or self.target is None else self.target


@attrs.frozen(kw_only=True)
class EffectStep:
    """An effect to make, or one of a former transaction to undo.

    Attributes:
        kind: The name of its handler.
        payload: What the handler needs to know.
        action: Which of the handler's methods brings the transaction forward.
        transaction_id: The transaction in which the effect was first made; empty if it is this one.
    """

    kind: str
    payload: Any
    action: Literal["apply", "undo"] = "apply"
    transaction_id: str = ""

    def reversed(self) -> EffectStep:
        """The step that takes this one back."""
        return attrs.evolve(self, action="undo" if self.action == "apply" else "apply")


@attrs.frozen(kw_only=True)
class Script:
    """Everything a transaction will do, and all that is needed to take it back.

    Attributes:
        operations: The files, in the caller's order.
        moves: What is renamed before them, in the caller's order.
        made: Folders that are made for them, the uppermost first.
        removed: Folders that are removed afterwards if they are empty, the uppermost first.
        effects: The effects, in order.
    """

    operations: tuple[Operation, ...] = ()
    moves: tuple[MoveStep, ...] = ()
    made: tuple[Folder, ...] = ()
    removed: tuple[Folder, ...] = ()
    effects: tuple[EffectStep, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files and what is renamed, as the caller named them."""
        return (*(step.path for step in self.moves), *(operation.path for operation in self.operations))


def dump_script(script: Script) -> dict[str, Any]:
    """A script as plain data that JSON can hold.

    Args:
        script: The script.
    """
    plain: dict[str, Any] = converter().unstructure(script)
    return plain


def load_script(plain: Mapping[str, Any]) -> Script:
    """The script that was dumped.

    Args:
        plain: What `dump_script` gave.
    """
    return converter().structure(plain, Script)


@cache
def converter() -> Converter:
    """What turns the records of this package into plain data and back."""
    # cattrs takes as long to import as all the rest of this package.
    import cattrs

    converter = cattrs.Converter(omit_if_default=True, detailed_validation=False)
    converter.register_unstructure_hook(Path, str)
    converter.register_structure_hook(Path, lambda value, _: Path(value))
    return converter
