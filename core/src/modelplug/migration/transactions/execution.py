"""Carries a transaction out, and takes it back: every step may be repeated after a crash.

The state of each file is read from the file itself: it has the old content, the new one, or somebody else's.
The journal only says which way to go, so neither direction depends on how far the other one got.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

from modelplug.errors import StaleFileError, TransactionError
from modelplug.migration.transactions import refusals
from modelplug.migration.transactions.changes import EffectHandler
from modelplug.migration.transactions.files import PRIVATE_FOLDER, Files, FileState, NotAFileError, digest_of
from modelplug.migration.transactions.journal import ABORTED, COMMITTED, Journal
from modelplug.migration.transactions.moving import Mover
from modelplug.migration.transactions.operations import EffectStep, Folder, Now, Operation, Script

__all__ = ["Content", "Execution", "Log"]

Content = bytes | Path
Log = Callable[..., object]


class Execution:
    """One transaction, being carried out or taken back.

    Args:
        files: How to read and write.
        journal: Its journal.
        transaction_id: Its name.
        script: What it does.
        handlers: What makes and undoes effects, by kind.
        log: Told of each step.
        left_alone: Files that were edited by somebody else and are not touched.
    """

    def __init__(
        self,
        files: Files,
        journal: Journal,
        transaction_id: str,
        script: Script,
        handlers: Mapping[str, EffectHandler],
        log: Log,
        left_alone: Collection[Path] = (),
    ) -> None:
        self.script = script
        self.journal = journal
        self._files = files
        self._id = transaction_id
        self._handlers = handlers
        self._log = log
        self._left_alone = frozenset(left_alone)
        self._operations = [each for each in script.operations if each.path not in self._left_alone]
        moves = [each for each in script.moves if each.path not in self._left_alone]
        self._mover = Mover(files, transaction_id, moves)
        self._never_touched: set[Path] = set()

    # Looking ------------------------------------------------------------------------------------------

    def now(self, operation: Operation) -> Now:
        """What the file of an operation is at this moment."""
        before, after = operation.before, operation.after
        try:
            found = self._files.state(operation.target)
        except NotAFileError:
            return Now.OTHER
        old = _same_content(found, before)
        new = _same_content(found, after)
        if old and new:
            # Only the permissions are changed.
            assert found is not None
            assert after is not None
            return Now.NEW if found.mode == after.mode else Now.OLD
        return Now.OLD if old else Now.NEW if new else Now.OTHER

    def conflicts(self) -> list[Path]:
        """The files that are neither old nor new, and what has neither its old name nor its new one."""
        found = [each.path for each in self._operations if self.now(each) is Now.OTHER]
        return [*self._mover.conflicts(), *found]

    def can_finish(self) -> bool:
        """Whether all new content is in place, or ready beside it."""
        return self._mover.can_finish() and all(self._is_ready(each) for each in self._operations)

    def _is_ready(self, operation: Operation) -> bool:
        if operation.after is None or self.now(operation) is Now.NEW:
            return True
        found = self._files.state(operation.temporary(self._id, "new"))
        return _same_content(found, operation.after)

    # Forward ------------------------------------------------------------------------------------------

    def stage(self, contents: Mapping[int, Content]) -> None:
        """Write all new content beside its target, and say so in the journal.

        Args:
            contents: Number of the operation -> its new content, or the file that holds it.

        Raises:
            TransactionError: Something given is not what it was when it was given.
            OSError: Something can't be written.
        """
        self._make_folders(self.script.made)
        staged = [operation for operation in self._operations if operation.after is not None]
        for operation in staged:
            self._stage(operation, contents[operation.number])
        self._files.sync_files([operation.temporary(self._id, "new") for operation in staged])
        self.journal.write("staged")

    def _stage(self, operation: Operation, content: Content) -> None:
        after = operation.after
        assert after is not None
        temporary = operation.temporary(self._id, "new")
        if operation.taken_from is not None and self._take(operation.taken_from, temporary):
            self._files.dress(temporary, after)
            digest = self._files.digest(temporary)[0]
        elif isinstance(content, Path):
            digest = self._files.copy_new(content, temporary, after)[0]
        else:
            digest = self._files.write_new(temporary, [content], after)[0]
        if digest != after.sha256:
            raise TransactionError(
                f"the new content of {operation.path} changed while it was being put in place",
                transaction_id=self._id,
                path=operation.path,
                why=f"its SHA-256 was {after.sha256} and is {digest} now",
                advice="make sure that nothing else writes to it, and try again",
            )

    def _take(self, source: Path, temporary: Path) -> bool:
        """Move a file, if it lies on the same file system."""
        try:
            self._files.calls.replace(source, temporary)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return False
        return True

    def finish(self) -> None:
        """Put everything in place that is not yet, make the effects, and say in the journal that it is done.

        Raises:
            StaleFileError: A file was changed by another program meanwhile.
            OSError: Something can't be written.
        """
        self._mover.forward()
        for operation in self._operations:
            self._place(operation)
        self._remove_temporaries(each for each in self.script.operations if each.path in self._left_alone)
        self._remove_empty(reversed(self.script.removed))
        self._sync_folders()
        self._verify(self._operations, Now.NEW)
        self.journal.write("placed")
        self._log("all files are in place", transaction=self._id, files=len(self.script.files))
        done = self.journal.reading.numbers("effect-made")
        for number, step in enumerate(self.script.effects):
            if number not in done:
                self.journal.write("effect", number=number)
                self._run(step)
                self.journal.write("effect-made", number=number)
        self.journal.write(COMMITTED, left_alone=sorted(str(path) for path in self._left_alone))
        self._log("the transaction is committed", transaction=self._id)

    def _place(self, operation: Operation) -> None:
        temporary = operation.temporary(self._id, "new")
        now = self.now(operation)
        if now is Now.NEW:
            # After a crash the temporary file may still be there, as a second name.
            if operation.after is not None:
                self._files.remove(temporary)
            return
        if now is Now.OTHER:
            raise self._changed_meanwhile(operation)
        if operation.after is None:
            self._files.calls.unlink(operation.target)
        elif operation.before is None:
            try:
                self._files.move_to_free_name(temporary, operation.target)
            except FileExistsError as error:
                raise self._changed_meanwhile(operation) from error
        else:
            self._files.calls.replace(temporary, operation.target)

    def _changed_meanwhile(self, operation: Operation) -> StaleFileError:
        self._never_touched.add(operation.path)
        found: str | None = None
        with contextlib.suppress(OSError):
            found = digest_of(self._files.state(operation.target))
        digests = (digest_of(operation.before), found)
        return refusals.changed_meanwhile(self._id, operation.path, digests)

    # Back ---------------------------------------------------------------------------------------------

    def undo(self, folder: Path) -> None:
        """Bring everything back to what it was, and say so in the journal.

        Args:
            folder: The backup set.

        Raises:
            RecoveryConflictError: Files were edited by somebody else; they are left alone, all others are as
                they were, and the transaction stays unfinished.
            BackupDamagedError: A copy in the set is not what was stored.
            OSError: Something can't be written.
        """
        reading = self.journal.reading
        if reading.last("undoing") is None or self._never_touched:
            self.journal.write("undoing", never_touched=sorted(str(path) for path in self._never_touched))
        self._log("the transaction is being undone", transaction=self._id)
        self._undo_effects()
        self._remove_temporaries(self.script.operations)
        # Before everything was staged, nothing was replaced: whatever a file is now, others made it so.
        staged = reading.last("staged") is not None
        untouched = self.never_touched()
        placed = [each for each in self._operations if staged and each.path not in untouched]
        if staged:
            self._make_folders(each for each in self.script.removed if self._files.status(each.path) is None)
        conflicts, damage = self._bring_back(placed, folder)
        if staged:
            conflicts += self._mover.back()
        self._remove_empty(reversed(self.script.made))
        self._sync_folders()
        if conflicts:
            raise refusals.conflict(self._id, conflicts)
        if damage:
            raise refusals.damaged(self._id, damage)
        self._verify(placed, Now.OLD)
        self.journal.write(ABORTED, left_alone=sorted(str(path) for path in self._left_alone))
        self._log("the transaction is undone", transaction=self._id)

    def never_touched(self) -> set[Path]:
        """Files that the transaction found edited, and had not replaced."""
        record = self.journal.reading.last("undoing") or {}
        return self._never_touched | {Path(path) for path in record.get("never_touched", ())}

    def _bring_back(self, operations: list[Operation], folder: Path) -> tuple[list[Path], list[str]]:
        """Restore the files that are new; gives those that are neither old nor new, and what is damaged."""
        conflicts = []
        damage = []
        for operation in reversed(operations):
            now = self.now(operation)
            if now is Now.OTHER:
                conflicts.append(operation.path)
            elif now is Now.NEW and not self._restore(operation, folder):
                damage.append(f"the copy of {operation.path} in {folder} is not what was stored")
        return conflicts, damage

    def _undo_effects(self) -> None:
        undone = self.journal.reading.numbers("effect-undone")
        for number in sorted(self.journal.reading.numbers("effect") - undone, reverse=True):
            self._run(self.script.effects[number].reversed())
            self.journal.write("effect-undone", number=number)

    def _remove_temporaries(self, operations: Iterable[Operation]) -> None:
        """Remove what waits to be renamed, and give back the files that were taken."""
        for operation in operations:
            self._files.remove(operation.temporary(self._id, "old"))
            temporary = operation.temporary(self._id, "new")
            if self._files.status(temporary) is None:
                continue
            if operation.taken_from is not None and self._files.status(operation.taken_from) is None:
                self._files.calls.replace(temporary, operation.taken_from)
            else:
                self._files.remove(temporary)

    def _restore(self, operation: Operation, folder: Path) -> bool:
        """Bring a file back; says whether its copy in the set could be trusted."""
        if operation.taken_from is not None and self._files.status(operation.taken_from) is None:
            with contextlib.suppress(OSError):
                self._files.calls.link(operation.target, operation.taken_from)
        if operation.before is None:
            self._files.calls.unlink(operation.target)
            return True
        assert operation.stored is not None
        stored = folder.joinpath(*PurePosixPath(operation.stored).parts)
        temporary = operation.temporary(self._id, "old")
        digest = self._files.copy_new(stored, temporary, operation.before)[0]
        if digest != operation.before.sha256:
            self._files.remove(temporary)
            return False
        self._files.sync_files([temporary])
        if operation.after is None:
            self._files.move_to_free_name(temporary, operation.target)
        else:
            self._files.calls.replace(temporary, operation.target)
        return True

    # Both ways ----------------------------------------------------------------------------------------

    def _run(self, step: EffectStep) -> None:
        handler = self._handlers[step.kind]
        call = handler.apply if step.action == "apply" else handler.undo
        try:
            call(step.payload, step.transaction_id or self._id)
        except Exception as error:
            raise TransactionError(
                f"the effect {step.kind} could not be {'made' if step.action == 'apply' else 'undone'}",
                transaction_id=self._id,
                why=str(error) or type(error).__name__,
                advice="remove the cause, and try again",
            ) from error
        self._log("an effect was made" if step.action == "apply" else "an effect was undone", kind=step.kind)

    def _make_folders(self, folders: Iterable[Folder]) -> None:
        for folder in folders:
            # Another program may have been faster.
            with contextlib.suppress(FileExistsError):
                self._files.calls.mkdir(folder.path, 0o777 if folder.mode is None else PRIVATE_FOLDER)
            if folder.mode is not None:
                self._files.calls.chmod(folder.path, folder.mode)

    def _remove_empty(self, folders: Iterable[Folder]) -> None:
        for folder in folders:
            self._files.remove_empty(folder.path)

    def _sync_folders(self) -> None:
        touched = {each.target.parent for each in self._operations} | self._mover.folders()
        touched.update(folder.path.parent for folder in (*self.script.made, *self.script.removed))
        self._files.sync_folders(path for path in touched if self._files.status(path) is not None)

    def _verify(self, operations: list[Operation], wanted: Now) -> None:
        states = [(each.path, self.now(each)) for each in operations]
        states += [(step.path, self._mover.now(step)) for step in self._mover.steps]
        for path, now in states:
            if now is not wanted:
                raise TransactionError(
                    f"{path} does not read back as it was written",
                    transaction_id=self._id,
                    path=path,
                    why="another program changed it, or the disk fails",
                    advice="look at the file, and try again",
                )


def _same_content(found: FileState | None, wanted: FileState | None) -> bool:
    return digest_of(found) == digest_of(wanted)
