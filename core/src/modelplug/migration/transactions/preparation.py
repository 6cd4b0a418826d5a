"""Turns what a caller asks for into operations, and refuses what can't be done before anything is touched."""

from __future__ import annotations

import json
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from modelplug.errors import TransactionError
from modelplug.migration.transactions import refusals
from modelplug.migration.transactions.changes import Effect, FileChange, Move
from modelplug.migration.transactions.execution import Content
from modelplug.migration.transactions.files import Files, FileState, digest_of, sha256
from modelplug.migration.transactions.moving import prepare_moves
from modelplug.migration.transactions.operations import EffectStep, Folder, Operation, Script

__all__ = ["Preparation", "changes_nothing", "check_handlers", "missing_folders", "plain_data", "prepare"]


@attrs.frozen(kw_only=True)
class Preparation:
    """A transaction that can be carried out.

    Attributes:
        script: What it does.
        contents: Number of the operation -> its new content, or the file that holds it.
        meta: What the caller says about it, as plain data.
        rolls_back: The transaction that it rolls back, if it is a rollback.
    """

    script: Script
    contents: Mapping[int, Content]
    meta: Mapping[str, Any]
    rolls_back: str | None = None


def prepare(
    files: Files,
    changes: Sequence[FileChange],
    effects: Sequence[Effect],
    meta: Mapping[str, Any],
    moves: Sequence[Move] = (),
) -> Preparation:
    """Look at every file, leave out the changes that change nothing, and work out the rest.

    Args:
        files: How to read.
        changes: The files to change.
        effects: What to do afterwards.
        meta: What the caller says about the transaction.
        moves: What to rename.

    Raises:
        StaleFileError: Files are not what they were when the changes were planned.
        TransactionError: Something asked for can't be done.
        OSError: Something can't be read.
    """
    targets = [_target(files, change) for change in changes]
    _refuse_twice(changes, targets)
    found = [files.state(target) for target in targets]
    stale = {
        change.path: (change.before, digest_of(state))
        for change, state in zip(changes, found, strict=True)
        if change.before != digest_of(state)
    }
    if stale:
        raise refusals.stale(stale)
    operations: list[Operation] = []
    contents: dict[int, Content] = {}
    for change, target, before in zip(changes, targets, found, strict=True):
        after = _after(files, change, before)
        if not _is_change(before, after):
            continue
        number = len(operations)
        taken = change.after.absolute() if change.take and isinstance(change.after, Path) else None
        operations.append(
            Operation(
                number=number,
                path=change.path.absolute(),
                target=target,
                before=before,
                after=after,
                taken_from=taken,
            )
        )
        if change.after is not None:
            contents[number] = change.after
    steps = tuple(
        EffectStep(kind=effect.kind, payload=plain_data(effect.payload, f"the effect {effect.kind}"))
        for effect in effects
    )
    script = Script(
        operations=tuple(operations),
        moves=prepare_moves(files, moves),
        made=missing_folders(files, operations),
        effects=steps,
    )
    return Preparation(script=script, contents=contents, meta=plain_data(dict(meta), "the description"))


def changes_nothing(files: Files, changes: Sequence[FileChange]) -> bool:
    """Whether every file is as it shall be already.

    Args:
        files: How to read.
        changes: The files to change.

    Raises:
        StaleFileError: Files are not what they were when the changes were planned.
        TransactionError: Something asked for can't be done.
        OSError: Something can't be read.
    """
    # Most changes say themselves that they change something, and then no file need be read for it.
    if any(change.before != _digest_after(files, change) for change in changes):
        return False
    return not prepare(files, changes, (), {}).script.operations


def _digest_after(files: Files, change: FileChange) -> str | None:
    if isinstance(change.after, Path):
        return files.digest(change.after)[0]
    return sha256(change.after) if change.after is not None else None


def _target(files: Files, change: FileChange) -> Path:
    """The file itself, whatever links lead to it."""
    target = files.calls.resolve(change.path)
    status = files.status(target)
    if status is not None and not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise TransactionError(
            f"{change.path} can't be changed",
            path=change.path,
            why=f"it is {what}",
            advice="name a file",
        )
    return target


def _refuse_twice(changes: Sequence[FileChange], targets: Sequence[Path]) -> None:
    seen: dict[Path, Path] = {}
    for change, target in zip(changes, targets, strict=True):
        if target in seen:
            raise TransactionError(
                f"{change.path} would be changed twice in one transaction",
                path=change.path,
                why=f"{seen[target]} is the same file",
                advice="give its final content once",
            )
        seen[target] = change.path


def _after(files: Files, change: FileChange, before: FileState | None) -> FileState | None:
    if change.after is None:
        return None
    if isinstance(change.after, Path):
        digest, size = files.digest(change.after)
    else:
        digest, size = sha256(change.after), len(change.after)
    mode = change.mode if change.mode is not None or before is None else before.mode
    return FileState(sha256=digest, size=size, mode=mode, owner=before.owner if before is not None else None)


def _is_change(before: FileState | None, after: FileState | None) -> bool:
    if before is None or after is None:
        return before is not after
    return before.sha256 != after.sha256 or before.mode != after.mode


def missing_folders(
    files: Files, operations: Iterable[Operation], modes: Mapping[Path, int | None] | None = None
) -> tuple[Folder, ...]:
    """The folders that must be made for new files, the uppermost first.

    Args:
        files: How to look.
        operations: What will be done.
        modes: Permission bits that are known for some of them.

    Raises:
        TransactionError: Where a folder should be there is a file.
    """
    missing: dict[Path, Folder] = {}
    for operation in operations:
        if operation.after is None:
            continue
        chain = []
        folder = operation.target.parent
        while folder not in missing and (status := files.status(folder)) is None:
            chain.append(folder)
            folder = folder.parent
        if folder not in missing and status is not None and not stat.S_ISDIR(status.st_mode):
            raise TransactionError(
                f"{operation.path} can't be made",
                path=operation.path,
                why=f"{folder} is a file, not a folder",
                advice=f"move {folder} away, and plan again",
            )
        for path in reversed(chain):
            missing[path] = Folder(path=path, mode=(modes or {}).get(path))
    return tuple(missing.values())


def check_handlers(steps: Iterable[EffectStep], handlers: Collection[str], transaction_id: str = "") -> None:
    """Make sure that every effect has a handler.

    Args:
        steps: The effects.
        handlers: The kinds there are handlers for.
        transaction_id: The transaction they belong to.

    Raises:
        TransactionError: One has none.
    """
    for step in steps:
        if step.kind not in handlers:
            raise TransactionError(
                f"nothing here can make or undo the effect {step.kind}",
                transaction_id=transaction_id,
                why=f"there are handlers for {', '.join(sorted(handlers)) or 'none'}",
                advice="install the plugin that brings it (`modelplug plugins list` shows those there are)",
            )


def plain_data(value: Any, name: str) -> Any:
    """The same data as it will be read back from JSON.

    Args:
        value: The data.
        name: What it is, for the message.

    Raises:
        TransactionError: JSON can't hold it.
    """
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TransactionError(
            f"{name} of the transaction can't be recorded",
            why=str(error),
            advice="use numbers, strings, lists and mappings with string keys only",
        ) from error
