"""Brings back what was there before a transaction, as a transaction of its own."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import attrs

from modelplug.errors import BackupDamagedError, TransactionError
from modelplug.migration.transactions import refusals
from modelplug.migration.transactions.backup import place_in_set
from modelplug.migration.transactions.execution import Content
from modelplug.migration.transactions.files import PRIVATE_FOLDER, Files, FileState, digest_of
from modelplug.migration.transactions.journal import Reading
from modelplug.migration.transactions.manifest import BackupItem, Manifest, verify_items
from modelplug.migration.transactions.moving import identity_of
from modelplug.migration.transactions.operations import Folder, MoveStep, Operation, Script
from modelplug.migration.transactions.preparation import Preparation, missing_folders
from modelplug.migration.transactions.reports import ItemReport, TransactionRecord
from modelplug.migration.transactions.sets import Sets, script_of

__all__ = ["RollbackPlan", "load_intact_set", "plan_rollback", "rehearse"]


@attrs.frozen(kw_only=True)
class RollbackPlan:
    """A rollback that can be carried out.

    Attributes:
        preparation: The transaction that it is.
        discarded: Files that hold edits, which it takes away.
    """

    preparation: Preparation
    discarded: tuple[Path, ...]


def load_intact_set(sets: Sets, transaction_id: str) -> tuple[Reading, Manifest, list[ItemReport]]:
    """A backup set, every copy of which was read and is what was stored.

    Args:
        sets: Where backup sets lie.
        transaction_id: The transaction.

    Returns:
        What the journal says, what the set holds, and a report on every item.

    Raises:
        BackupDamagedError: Something in it is not.
        TransactionError: The transaction never had a complete set.
    """
    folder = sets.folder(transaction_id)
    reading = sets.trusted(transaction_id)
    manifest = sets.manifest(transaction_id, reading)
    if manifest is None:
        raise TransactionError(
            f"the transaction {transaction_id} has nothing to bring back",
            transaction_id=transaction_id,
            why="it was undone before it changed anything",
            advice="`modelplug migrate history` lists the transactions",
        )
    reports = verify_items(sets.files, folder, manifest, references=False)
    damage = [report.problem for report in reports if report.state in ("damaged", "missing")]
    if damage:
        raise BackupDamagedError(
            f"the backup of the transaction {transaction_id} is damaged, and nothing was touched",
            transaction_id=transaction_id,
            damage=damage,
            why="; ".join(damage[:3]),
            advice=f"look at {folder} and restore by hand what you need from it",
        )
    return reading, manifest, reports


def plan_rollback(
    sets: Sets, record: TransactionRecord, reading: Reading, *, discard_edits: bool
) -> RollbackPlan:
    """Work out how to bring back what was there before a transaction.

    Args:
        sets: Where backup sets lie.
        record: The transaction.
        reading: What its journal says.
        discard_edits: Whether files that were edited since are brought back as well, instead of giving up.

    Raises:
        StaleFileError: Files were edited since.
        OSError: Something can't be read.
    """
    files = sets.files
    script = script_of(reading)
    moved = [step for step in script.moves if step.path not in record.left_alone]
    moves = _reversed_moves(files, record.id, moved, discard=discard_edits)
    done = [operation for operation in script.operations if operation.path not in record.left_alone]
    found = [files.state(operation.target) for operation in done]
    edits = {
        operation.path: (digest_of(operation.after), digest_of(state))
        for operation, state in zip(done, found, strict=True)
        if digest_of(state) not in (digest_of(operation.before), digest_of(operation.after))
    }
    if edits and not discard_edits:
        raise refusals.edited_since(record.id, edits)
    folder = sets.folder(record.id)
    operations: list[Operation] = []
    contents: dict[int, Content] = {}
    for operation, state in zip(done, found, strict=True):
        if _is_back(state, operation.before):
            continue
        number = len(operations)
        operations.append(
            Operation(
                number=number,
                path=operation.path,
                target=operation.target,
                before=state,
                after=operation.before,
            )
        )
        if operation.stored is not None:
            contents[number] = folder.joinpath(*PurePosixPath(operation.stored).parts)
    modes = {removed.path: removed.mode for removed in script.removed}
    reverse = Script(
        operations=tuple(operations),
        moves=moves,
        made=missing_folders(files, operations, modes),
        removed=_present(files, script.made),
        effects=tuple(
            attrs.evolve(step.reversed(), transaction_id=step.transaction_id or record.id)
            for step in reversed(script.effects)
        ),
    )
    return RollbackPlan(
        preparation=Preparation(script=reverse, contents=contents, meta=_meta(record), rolls_back=record.id),
        discarded=tuple(edits),
    )


def _reversed_moves(
    files: Files, transaction_id: str, steps: Sequence[MoveStep], *, discard: bool
) -> tuple[MoveStep, ...]:
    """What brings everything that was renamed back under its former name.

    Raises:
        StaleFileError: Another file or folder has the name by now, and is not to be put away.
        TransactionError: What was put away is not where it was put.
    """
    made: list[MoveStep] = []

    def occupant(path: Path) -> tuple[int, int] | None:
        return None if any(step.source == path for step in made) else identity_of(files, path)

    def add(source: Path, target: Path | None, *, away: bool = False, from_backup: bool = False) -> None:
        identity = identity_of(files, source)
        assert identity is not None
        made.append(
            MoveStep(
                number=len(made),
                source=source,
                target=target,
                identity=identity,
                away=away,
                from_backup=from_backup,
            )
        )

    for step in reversed(steps):
        assert step.target is not None
        there = occupant(step.path)
        if step.away:
            if there == step.identity:
                continue
            if there is not None and not discard:
                raise refusals.exchanged(transaction_id, step.path)
            if identity_of(files, step.target) is None:
                raise refusals.gone(step.target, transaction_id)
            if there is not None:
                add(step.path, None, away=True)
            add(step.target, step.path, from_backup=True)
        elif there is not None:
            if there != step.identity and not discard:
                raise refusals.exchanged(transaction_id, step.path)
            # What came out of an older backup goes back there, which may be asked for it again.
            back = step.source if step.from_backup and identity_of(files, step.source) is None else None
            add(step.path, back, away=True)
    return tuple(made)


def _is_back(now: FileState | None, before: FileState | None) -> bool:
    """Whether a file is what it was before already."""
    if now is None or before is None:
        return now is before
    return now.sha256 == before.sha256 and now.mode == before.mode


def _present(files: Files, folders: Sequence[Folder]) -> tuple[Folder, ...]:
    found = [(folder, files.status(folder.path)) for folder in folders]
    return tuple(
        Folder(path=folder.path, mode=stat.S_IMODE(status.st_mode))
        for folder, status in found
        if status is not None and stat.S_ISDIR(status.st_mode)
    )


def _meta(record: TransactionRecord) -> Mapping[str, Any]:
    meta = {**record.meta, "title": f"rollback of {record.id}"}
    if "from" in meta and "to" in meta:
        meta["from"], meta["to"] = meta["to"], meta["from"]
    return meta


def rehearse(sets: Sets, transaction_id: str, manifest: Manifest, scratch: Path) -> tuple[Path, ...]:
    """Restore a whole set into an empty folder, and compare what arrives there.

    Args:
        sets: Where backup sets lie.
        transaction_id: The transaction.
        manifest: What its set holds.
        scratch: The folder; it must be empty or not exist.

    Returns:
        The files that were restored, as they are named where they come from.

    Raises:
        TransactionError: The folder is not empty.
        BackupDamagedError: Something did not arrive as it was stored.
        OSError: Something can't be written.
    """
    files = sets.files
    if files.status(scratch) is not None and files.calls.list(scratch):
        raise TransactionError(
            f"the rehearsal can't be made in {scratch}",
            path=scratch,
            why="the folder is not empty",
            advice="name a folder that is empty, or one that does not exist yet",
        )
    files.make_folders(scratch, PRIVATE_FOLDER)
    folder = sets.folder(transaction_id)

    def restore(item: BackupItem) -> str:
        state = item.state
        if item.stored is None or state is None:
            return ""
        stored = folder.joinpath(*PurePosixPath(item.stored).parts)
        arrived = place_in_rehearsal(scratch, item)
        files.copy_new(stored, arrived, state)
        digest = files.digest(arrived)[0]
        return "" if digest == state.sha256 else f"{item.path} arrives as {digest}, not {state.sha256}"

    for item in manifest.items:
        arrived = place_in_rehearsal(scratch, item)
        files.make_folders(arrived if item.kind == "folder" else arrived.parent, PRIVATE_FOLDER)
        if item.kind == "link" and item.link is not None:
            files.calls.symlink(item.link, arrived)
    damage = [problem for problem in map(restore, manifest.items) if problem]
    for item in reversed(manifest.items):
        if item.kind == "folder" and item.mode is not None and item.mtime_ns is not None:
            arrived = place_in_rehearsal(scratch, item)
            files.calls.chmod(arrived, item.mode)
            files.calls.utime(arrived, item.mtime_ns)
    if damage:
        raise BackupDamagedError(
            f"the transaction {transaction_id} can't be brought back",
            transaction_id=transaction_id,
            damage=damage,
            why=damage[0],
            advice="check the disks, and try again",
        )
    return tuple(item.path for item in manifest.items if item.kind == "file")


def place_in_rehearsal(scratch: Path, item: BackupItem) -> Path:
    """Where an item arrives in a rehearsal.

    Args:
        scratch: The folder of the rehearsal.
        item: The item.
    """
    if item.kind == "note":
        return scratch.joinpath("notes", *item.path.parts)
    return scratch.joinpath(*place_in_set(item.path).parts)
