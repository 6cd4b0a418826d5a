"""Runs a prepared transaction from its first journal record to its last, and takes it back if that fails."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from modelplug.errors import RecoveryNeededError
from modelplug.migration.transactions.backup import BackupSet
from modelplug.migration.transactions.changes import EffectHandler
from modelplug.migration.transactions.execution import Execution, Log
from modelplug.migration.transactions.failures import describe, raise_after_commit, raise_as_ours
from modelplug.migration.transactions.files import Files
from modelplug.migration.transactions.journal import ABORTED, COMMITTED, FORMAT, Journal
from modelplug.migration.transactions.manifest import MANIFEST_NAME, Manifest, write_manifest
from modelplug.migration.transactions.moving import choose_places
from modelplug.migration.transactions.operations import Script, dump_script
from modelplug.migration.transactions.preparation import Preparation
from modelplug.migration.transactions.sets import JOURNAL_NAME, Sets

__all__ = ["Extras", "Runner", "discard_hollow", "discard_incomplete"]


@attrs.frozen(kw_only=True)
class Extras:
    """What a backup set holds besides the files that are changed.

    Attributes:
        references: Large files that are recorded without being copied.
        copies: Further files and folders to copy.
        notes: Name -> further content.
    """

    references: Sequence[Path] = ()
    copies: Sequence[Path] = ()
    notes: Mapping[str, bytes] = attrs.field(factory=dict)


class Runner:
    """Runs one transaction; the caller holds the lock.

    Args:
        sets: Where backup sets lie.
        handlers: What makes and undoes effects, by kind.
        log: Told of each step.
    """

    def __init__(self, sets: Sets, handlers: Mapping[str, EffectHandler], log: Log) -> None:
        self._sets = sets
        self._files = sets.files
        self._handlers = handlers
        self._log = log
        self._journal: Journal | None = None

    @property
    def has_committed(self) -> bool:
        """Whether the transaction is committed, at whatever point its run was cut short."""
        return self._journal is not None and self._journal.reading.state == COMMITTED

    def run(self, preparation: Preparation, extras: Extras) -> str:
        """Make the backup, carry the transaction out, and give its name.

        Args:
            preparation: What to do.
            extras: What else to keep.

        Raises:
            ModelplugError: It failed; everything is as it was, unless the text says otherwise.
        """
        folder = self._sets.make()
        journal: Journal | None = None
        execution: Execution | None = None
        try:
            self._journal = journal = Journal.create(self._files, folder / JOURNAL_NAME)
            script = self._back_up(journal, folder, preparation, extras)
            execution = Execution(self._files, journal, folder.name, script, self._handlers, self._log)
            execution.stage(preparation.contents)
            execution.finish()
        except BaseException as error:  # noqa: BLE001  whatever it is, it is undone and raised again
            if self.has_committed:
                raise_after_commit(folder.name, error)
            self._abort(journal, folder, execution, error)
            raise_as_ours(folder.name, error)
        finally:
            if journal is not None:
                journal.close()
        return folder.name

    def _back_up(self, journal: Journal, folder: Path, preparation: Preparation, extras: Extras) -> Script:
        begin = {"format": FORMAT, "pid": os.getpid(), "meta": dict(preparation.meta)}
        if preparation.rolls_back is not None:
            begin["rolls_back"] = preparation.rolls_back
        journal.write("begin", id=folder.name, **begin)
        self._files.calls.sync_directory(folder)
        self._files.calls.sync_directory(self._sets.root)
        self._log("a transaction begins", transaction=folder.name)
        for operation in preparation.script.operations:
            if operation.before is not None and operation.before.links > 1:
                # Replacing a file by renaming gives it an inode of its own.
                self._log("other names of a file keep its old content", path=str(operation.path))
        backup = BackupSet(self._files, folder, folder.name, self._sets.root)
        operations = backup.keep_changed(preparation.script.operations)
        backup.keep_copies(extras.copies, extras.references)
        backup.keep_references(extras.references)
        backup.keep_notes(extras.notes)
        moves = choose_places(self._files, folder, preparation.script.moves)
        backup.record_moves(moves)
        manifest = Manifest(
            id=folder.name,
            created=journal.reading.records[0]["time"],
            meta=preparation.meta,
            items=tuple(backup.items),
        )
        backup.close(manifest)
        digest = write_manifest(self._files, folder, manifest)
        self._files.calls.sync_directory(folder)
        self._log("the backup is complete", transaction=folder.name, items=len(backup.items))
        script = attrs.evolve(preparation.script, operations=operations, moves=moves)
        journal.write("intend", manifest=digest, script=dump_script(script))
        return script

    def _abort(
        self, journal: Journal | None, folder: Path, execution: Execution | None, error: BaseException
    ) -> None:
        try:
            if journal is None or not journal.reading.records:
                if journal is not None:
                    # Windows removes no file that is open.
                    journal.close()
                discard_hollow(self._files, folder)
            elif execution is None:
                discard_incomplete(self._files, folder, journal)
            else:
                execution.undo(folder)
        except BaseException as second:  # noqa: BLE001  it ends in one error, with both reasons
            raise RecoveryNeededError(
                f"the transaction {folder.name} failed, and could not be undone",
                transaction_ids=[folder.name],
                transaction_id=folder.name,
                why=f"{describe(error)}; then, while undoing it: {describe(second)}",
                advice=f"`modelplug migrate recover {folder.name}`, when the cause is out of the way",
            ) from error


def discard_hollow(files: Files, folder: Path) -> None:
    """Remove the folder of a transaction that was cut off before its journal said anything.

    Args:
        files: How to remove it.
        folder: The folder.
    """
    files.remove(folder / JOURNAL_NAME)
    files.calls.rmdir(folder)


def discard_incomplete(files: Files, folder: Path, journal: Journal) -> None:
    """Remove the incomplete backup of a transaction that had touched nothing yet; its journal is kept.

    Args:
        files: How to remove it.
        folder: The set.
        journal: Its journal.
    """
    if journal.reading.last("undoing") is None:
        journal.write("undoing")
    for name in files.calls.list(folder):
        if name == MANIFEST_NAME:
            files.calls.unlink(folder / name)
        elif name != JOURNAL_NAME:
            files.remove_tree(folder / name)
    journal.write(ABORTED)
