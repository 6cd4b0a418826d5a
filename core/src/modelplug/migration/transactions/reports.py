"""What a transaction store tells its callers: what happened, and what is there."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

__all__ = [
    "ItemReport",
    "RecoveryReport",
    "RollbackReport",
    "State",
    "TransactionRecord",
    "VerificationReport",
]

State = Literal["committed", "rolled-back", "aborted", "unfinished", "damaged"]


@attrs.frozen(kw_only=True)
class TransactionRecord:
    """One transaction of the history.

    Attributes:
        id: Its name; later ones sort after earlier ones.
        time: When it began; None if its set is too damaged to say.
        state: `committed` (in force), `rolled-back` (was in force), `aborted` (was undone before it came into
            force), `unfinished` (cut off, or running now) or `damaged` (its backup set can't be trusted).
        meta: What the caller said about it.
        files: The files it changed, in the caller's order.
        left_alone: Those among them that were edited meanwhile and therefore not changed.
        size: Bytes that its backup set holds.
        folder: Where its backup set lies.
        rolls_back: The transaction that this one rolled back, if it is a rollback.
        rolled_back_by: The rollback that took it out of force, if one did.
        problem: What is wrong with it, in a sentence; empty if nothing is.
    """

    id: str
    time: datetime.datetime | None
    state: State
    meta: Mapping[str, Any]
    files: tuple[Path, ...]
    left_alone: tuple[Path, ...] = ()
    size: int
    folder: Path
    rolls_back: str | None = None
    rolled_back_by: str | None = None
    problem: str = ""


@attrs.frozen(kw_only=True)
class RecoveryReport:
    """What was done about one unfinished transaction.

    Attributes:
        id: The transaction.
        outcome: `finished` (every file is new), `undone` (every file is as it was) or `nothing` (it had ended
            already).
        files: The files of the transaction.
        left_alone: Those among them that were edited since and therefore not touched.
        reason: Why it was undone where it could have been finished; empty if it was not.
    """

    id: str
    outcome: Literal["finished", "undone", "nothing"]
    files: tuple[Path, ...] = ()
    left_alone: tuple[Path, ...] = ()
    reason: str = ""


@attrs.frozen(kw_only=True)
class RollbackReport:
    """What a rollback did.

    Attributes:
        id: The transaction that was to be rolled back.
        outcome: `rolled-back`, `already-rolled-back` (nothing was touched) or `rehearsed`.
        transaction_id: The rollback's own transaction, which can be rolled back in turn; None if rehearsed.
        files: The files that have their former content again, or would have.
        discarded: Those among them that held edits made since; the rollback's own backup has them.
        left_alone: Files that the transaction had not changed, because they were edited meanwhile.
        references_changed: Referenced files whose size or time is not what it was.
        folder: Where the rehearsal was made.
    """

    id: str
    outcome: Literal["rolled-back", "already-rolled-back", "rehearsed"]
    transaction_id: str | None = None
    files: tuple[Path, ...] = ()
    discarded: tuple[Path, ...] = ()
    left_alone: tuple[Path, ...] = ()
    references_changed: tuple[Path, ...] = ()
    folder: Path | None = None


@attrs.frozen(kw_only=True)
class ItemReport:
    """The state of one item of a backup set.

    Attributes:
        path: The file that was backed up, or the note's name.
        kind: `file`, `reference`, `note`, `moved`, `absent`, `folder`, `link`, `skipped`, or `set` for the
            set as a whole.
        state: `intact`; `damaged` or `missing` for what the set holds; `changed` or `gone` for a referenced
            file, which the set does not hold.
        problem: What is wrong, in a sentence; empty if nothing is.
    """

    path: Path
    kind: str
    state: Literal["intact", "damaged", "missing", "changed", "gone"]
    problem: str = ""


@attrs.frozen(kw_only=True)
class VerificationReport:
    """Whether a backup set still is what was stored, item by item.

    Attributes:
        id: The transaction.
        items: One report for each item, and one for the set as a whole if that is damaged.
    """

    id: str
    items: tuple[ItemReport, ...]

    @property
    def intact(self) -> bool:
        """Whether everything the set holds is as it was stored; changed references do not count."""
        return not self.damage

    @property
    def damage(self) -> tuple[str, ...]:
        """What is wrong with what the set holds, one sentence for each item."""
        return tuple(item.problem for item in self.items if item.state in ("damaged", "missing"))
