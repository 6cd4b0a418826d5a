"""Turns what goes wrong underneath into errors that say what happened, why, and what to do."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from modelplug.errors import ModelplugError, TransactionError, TransactionInterruptedError

__all__ = ["describe", "history_errors", "raise_after_commit", "raise_as_ours", "recovery_errors"]


def raise_as_ours(transaction_id: str, error: BaseException) -> NoReturn:
    """Raise an error of the family for one of any kind, which becomes its cause.

    Args:
        transaction_id: The transaction that it ended.
        error: The error.

    Raises:
        ModelplugError: Always, except for a request to end the process, which is passed on.
    """
    if isinstance(error, (ModelplugError, SystemExit)):
        raise error
    if isinstance(error, KeyboardInterrupt):
        raise TransactionInterruptedError(
            "the transaction was interrupted",
            transaction_id=transaction_id,
            why="everything is as it was before",
            advice="start it again when you like",
        ) from error
    raise TransactionError(
        "the transaction failed, and everything is as it was before",
        transaction_id=transaction_id,
        path=_path(error),
        why=describe(error),
        advice=_advice(error),
    ) from error


def raise_after_commit(transaction_id: str, error: BaseException) -> NoReturn:
    """Raise what came too late to take anything back.

    Args:
        transaction_id: The transaction, which is committed.
        error: What happened then.

    Raises:
        TransactionError: Always, except for a request to stop, which is passed on.
    """
    if not isinstance(error, Exception):
        raise error
    raise TransactionError(
        "the transaction is done, but something failed afterwards",
        transaction_id=transaction_id,
        why=describe(error),
        advice="`modelplug migrate history` shows it; `modelplug migrate rollback` takes it back",
    ) from error


def describe(error: BaseException) -> str:
    """What an error says, with the file it speaks of.

    Args:
        error: The error.
    """
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {os.fsdecode(error.filename)}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _path(error: BaseException) -> Path | None:
    return Path(os.fsdecode(error.filename)) if isinstance(error, OSError) and error.filename else None


def _advice(error: BaseException) -> str:
    code = error.errno if isinstance(error, OSError) else None
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free some space on that disk, and try again"
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "make that place writable, and try again"
    return "remove the cause, and try again"


@contextlib.contextmanager
def recovery_errors(transaction_id: str) -> Iterator[None]:
    """Turn system errors that cut a recovery short into ours.

    Args:
        transaction_id: The transaction; empty for all of them.
    """
    try:
        yield
    except OSError as error:
        raise TransactionError(
            "the recovery could not be completed",
            transaction_id=transaction_id,
            path=_path(error),
            why=describe(error),
            advice="remove the cause, and run `modelplug migrate recover` again",
        ) from error


@contextlib.contextmanager
def history_errors() -> Iterator[None]:
    """Turn system errors that hide the history into ours."""
    try:
        yield
    except OSError as error:
        raise TransactionError(
            "the history of transactions can't be read",
            path=_path(error),
            why=describe(error),
            advice="make that place readable, and try again",
        ) from error
