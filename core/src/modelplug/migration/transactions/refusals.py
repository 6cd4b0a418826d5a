"""The errors for files that somebody else changed: before, during and after a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from modelplug.errors import BackupDamagedError, RecoveryConflictError, StaleFileError

__all__ = [
    "Digests",
    "changed_meanwhile",
    "conflict",
    "damaged",
    "edited_since",
    "exchanged",
    "gone",
    "stale",
    "taken",
]

Digests = tuple["str | None", "str | None"]
"""The SHA-256 expected and the one found; None stands for "no file"."""


def stale(files: Mapping[Path, Digests]) -> StaleFileError:
    """Files are not what they were when the change was planned.

    Args:
        files: The files, at least one.
    """
    path, (expected, found) = next(iter(files.items()))
    if expected is None:
        what = f"{path} exists already"
    elif found is None:
        what = f"{path} is gone"
    else:
        what = f"{path} has changed since the plan was made"
    return StaleFileError(
        what + _more(files),
        stale=files,
        why=f"{_expected(expected, found)}; nothing was touched",
        advice="plan again, and apply the new plan",
    )


def changed_meanwhile(transaction_id: str, path: Path, digests: Digests) -> StaleFileError:
    """A file was changed between two steps of a transaction.

    Args:
        transaction_id: The transaction.
        path: The file.
        digests: The SHA-256 expected and the one found.
    """
    return StaleFileError(
        f"{path} was changed by another program meanwhile",
        stale={path: digests},
        transaction_id=transaction_id,
        why=f"{_expected(*digests)}; that change is kept, and everything else is as it was before",
        advice="plan again, and apply the new plan",
    )


def edited_since(transaction_id: str, files: Mapping[Path, Digests]) -> StaleFileError:
    """Files that are to be rolled back were edited after the transaction.

    Args:
        transaction_id: The transaction.
        files: The files, at least one.
    """
    path, digests = next(iter(files.items()))
    return StaleFileError(
        f"{path} was edited since the transaction {transaction_id}{_more(files)}",
        stale=files,
        transaction_id=transaction_id,
        why=f"{_expected(*digests)}; nothing was touched",
        advice="roll back later transactions first, or add --discard-edits, which backs the edits up before",
    )


def conflict(transaction_id: str, paths: Sequence[Path]) -> RecoveryConflictError:
    """Files were edited while a transaction was unfinished.

    Args:
        transaction_id: The transaction.
        paths: The files, at least one.
    """
    return RecoveryConflictError(
        f"the transaction {transaction_id} can't be recovered without touching edits made since",
        conflicts=paths,
        transaction_id=transaction_id,
        path=paths[0],
        why=f"neither the old nor the new version: {', '.join(str(path) for path in paths)}",
        advice=f"`modelplug migrate recover {transaction_id} --keep-edits` leaves these files as they are",
    )


def damaged(transaction_id: str, damage: Sequence[str]) -> BackupDamagedError:
    """Some files can't be brought back, because their copies are damaged; all others were.

    Args:
        transaction_id: The transaction.
        damage: What is wrong, one sentence for each copy, at least one.
    """
    return BackupDamagedError(
        f"the transaction {transaction_id} could be undone only in part",
        transaction_id=transaction_id,
        damage=damage,
        why="; ".join(damage),
        advice=(
            "give these files the content that they should have, and run "
            f"`modelplug migrate recover {transaction_id} --keep-edits`"
        ),
    )


def exchanged(transaction_id: str, path: Path) -> StaleFileError:
    """Where a transaction has put or taken something, there is another thing now.

    Args:
        transaction_id: The transaction.
        path: The place.
    """
    return StaleFileError(
        f"{path} is not what the transaction {transaction_id} left there",
        stale={path: (None, None)},
        transaction_id=transaction_id,
        why="another file or folder has taken its place; nothing was touched",
        advice="move it away, or add --discard-edits, which puts it into the backup before",
    )


def gone(path: Path, transaction_id: str = "") -> StaleFileError:
    """What is to be renamed is not there.

    Args:
        path: The file or folder.
        transaction_id: The transaction; empty if none was begun.
    """
    return StaleFileError(
        f"{path} is gone",
        stale={path: (None, None)},
        transaction_id=transaction_id,
        why="it was there when the change was planned; everything else is as it was before",
        advice="plan again, and apply the new plan",
    )


def taken(path: Path, transaction_id: str = "") -> StaleFileError:
    """There is something already where something is to be put.

    Args:
        path: The place.
        transaction_id: The transaction; empty if none was begun.
    """
    return StaleFileError(
        f"{path} exists already",
        stale={path: (None, None)},
        transaction_id=transaction_id,
        why="nothing is ever put over another file or folder; everything is as it was before",
        advice="move it away, and try again",
    )


def _more(files: Mapping[Path, Digests]) -> str:
    return f" (and {len(files) - 1} more)" if len(files) > 1 else ""


def _expected(expected: str | None, found: str | None) -> str:
    return f"expected SHA-256 {expected or '(no file)'}, found {found or '(no file)'}"
