"""The way into this package: changes several files together, and brings them back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from modelplug.errors import BackupDamagedError, TransactionError
from modelplug.migration.transactions.backup import check_note_names
from modelplug.migration.transactions.changes import Effect, EffectHandler, FileChange, Move
from modelplug.migration.transactions.execution import Log
from modelplug.migration.transactions.failures import (
    history_errors,
    raise_after_commit,
    raise_as_ours,
    recovery_errors,
)
from modelplug.migration.transactions.files import Files
from modelplug.migration.transactions.filesystem import FileSystem
from modelplug.migration.transactions.locking import locked
from modelplug.migration.transactions.manifest import verify_items
from modelplug.migration.transactions.preparation import changes_nothing, check_handlers, prepare
from modelplug.migration.transactions.recovery import Recoverer
from modelplug.migration.transactions.reports import (
    ItemReport,
    RecoveryReport,
    RollbackReport,
    TransactionRecord,
    VerificationReport,
)
from modelplug.migration.transactions.rollback import load_intact_set, plan_rollback, rehearse
from modelplug.migration.transactions.running import Extras, Runner
from modelplug.migration.transactions.sets import Sets, script_of
from modelplug.paths import Paths

__all__ = ["TransactionStore"]

LOCK_SECONDS = 10.0


class InfoLogger(Protocol):
    """A logger such as `modelplug.logs.Logger`."""

    def info(self, event: str, **fields: object) -> None:
        """Record an event."""


class TransactionStore:
    """Changes several files so that all of them succeed or none, and brings them back on request.

    Every transaction journals before it acts and keeps a backup set, in a folder of its own that is never
    overwritten. It can be killed at any instant: `recover` then finishes it or undoes it. One transaction
    runs at a time.

    Args:
        root: The folder for the backup sets, made when the first one is; None is `migrations` in the folder
            for data of this user.
        filesystem: The calls to read and write with; None takes the operating system's.
        handlers: What makes and undoes effects, by kind.
        log: Told of each decision: a callable that takes an event and fields, or a logger; None tells nobody.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        filesystem: FileSystem | None = None,
        handlers: Mapping[str, EffectHandler] | None = None,
        log: Log | InfoLogger | None = None,
    ) -> None:
        self._files = Files(filesystem or FileSystem())
        self._handlers = dict(handlers or {})
        if root is None:
            root = Paths.from_environment().data / "migrations"
        self._sets = Sets(self._files, self._files.calls.resolve(root))
        self._log = _log_function(log)
        self._recoverer = Recoverer(self._sets, self._handlers, self._log)

    @property
    def root(self) -> Path:
        """The folder that holds the backup sets."""
        return self._sets.root

    def apply(
        self,
        changes: Sequence[FileChange],
        *,
        moves: Sequence[Move] = (),
        references: Sequence[Path] = (),
        copies: Sequence[Path] = (),
        notes: Mapping[str, bytes] | None = None,
        effects: Sequence[Effect] = (),
        meta: Mapping[str, Any] | None = None,
        lock_seconds: float = LOCK_SECONDS,
        recover: bool = False,
    ) -> TransactionRecord | None:
        """Change files, all or none.

        Args:
            changes: The files to create, replace and delete. Those that are as they shall be are left out.
            moves: Files and folders to rename, before the files are changed.
            references: Large files whose state is recorded in the backup set without copying them.
            copies: Further files, and folders with all they hold, to copy into the backup set.
            notes: Name -> further content to store in the backup set.
            effects: What to do when the files are in place.
            meta: What this is about, for the history; anything JSON can hold.
            lock_seconds: How long to wait for another process's transaction.
            recover: Whether to finish or undo an unfinished transaction first, instead of giving up.

        Returns:
            The transaction; None if there was nothing to do, and nothing was written.

        Raises:
            StaleFileError: A file is not what it was when the change was planned; nothing was touched.
            RecoveryNeededError: An earlier transaction is unfinished; or this one failed and could not be
                undone.
            LockedError: Another process's transaction did not end in time.
            TransactionError: It failed; everything is as it was.
        """
        extras = Extras(references=references, copies=copies, notes=notes or {})
        check_note_names(list(extras.notes))
        with self._our_errors() as runner:
            # A transaction that does nothing does not even take the lock.
            if not effects and not moves and changes_nothing(self._files, changes):
                return None
            with self._locked(lock_seconds):
                if recover:
                    self._recover_all(keep_edits=False)
                self._sets.refuse_unfinished()
                preparation = prepare(self._files, changes, effects, meta or {}, moves)
                script = preparation.script
                check_handlers(script.effects, self._handlers)
                if not script.files and not script.effects:
                    return None
                done = runner.run(preparation, extras)
        return self._sets.newest(done)

    def recover(
        self,
        id: str | None = None,  # noqa: A002
        *,
        keep_edits: bool = False,
        lock_seconds: float = LOCK_SECONDS,
    ) -> list[RecoveryReport]:
        """Finish or undo transactions that were cut off, so that every file is wholly old or wholly new.

        Args:
            id: The transaction; None recovers all unfinished ones.
            keep_edits: Whether to leave files alone that were edited since, instead of giving up.
            lock_seconds: How long to wait for another process's transaction.

        Raises:
            RecoveryConflictError: Files were edited since; nothing was touched.
            BackupDamagedError: The journal can't be trusted.
            LockedError: Another process's transaction did not end in time.
            TransactionError: It can be neither finished nor undone now; it may be tried again.
        """
        with recovery_errors(id or ""):
            if id is not None:
                self._sets.folder(id)
            elif not self._sets.unfinished():
                return []
            with self._locked(lock_seconds):
                if id is None:
                    return self._recover_all(keep_edits=keep_edits)
                return [self._recoverer.recover(id, keep_edits=keep_edits)]

    def rollback(
        self,
        id: str | None = None,  # noqa: A002
        *,
        rehearse: Path | None = None,
        discard_edits: bool = False,
        lock_seconds: float = LOCK_SECONDS,
    ) -> RollbackReport:
        """Bring back what was there before a transaction, after its whole backup set was verified.

        A rollback is a transaction with a backup set of its own, and can be rolled back in turn.

        Args:
            id: The transaction; None takes the latest one that is not itself a rollback.
            rehearse: A folder, empty or new, into which everything is restored instead; nothing else is
                touched.
            discard_edits: Whether files that were edited since are brought back as well, instead of giving
                up.
            lock_seconds: How long to wait for another process's transaction.

        Raises:
            BackupDamagedError: The backup set can't be trusted; nothing was touched.
            StaleFileError: Files were edited since; nothing was touched.
            RecoveryNeededError: A transaction is unfinished; or this one failed and could not be undone.
            LockedError: Another process's transaction did not end in time.
            TransactionError: There is no such transaction, or it failed; everything is as it was.
        """
        with self._our_errors() as runner:
            if rehearse is not None:
                return self._rehearse(self._choose(id), rehearse)
            if id is not None:
                self._sets.folder(id)
            with self._locked(lock_seconds):
                self._sets.refuse_unfinished()
                return self._rollback(runner, self._choose(id), discard_edits=discard_edits)

    def refuse_unfinished(self) -> None:
        """Make sure that every transaction has ended, as `apply` does.

        Raises:
            RecoveryNeededError: One has not.
        """
        with history_errors():
            self._sets.refuse_unfinished()

    def history(self) -> list[TransactionRecord]:
        """All transactions, newest first; damaged ones are among them and say what is wrong."""
        with history_errors():
            return self._sets.history()

    def get(self, id: str) -> TransactionRecord:  # noqa: A002
        """One transaction.

        Args:
            id: Its name.

        Raises:
            TransactionError: There is no such transaction.
        """
        with history_errors():
            return self._sets.record(id)

    def unfinished(self) -> list[TransactionRecord]:
        """The transactions that were cut off, or are running now, newest first."""
        with history_errors():
            ids = set(self._sets.unfinished())
            return [record for record in self._sets.history() if record.id in ids] if ids else []

    def verify(self, id: str) -> VerificationReport:  # noqa: A002
        """Read everything that a backup set holds or refers to, and compare it with what was stored.

        Args:
            id: The transaction.

        Raises:
            TransactionError: There is no such transaction.
        """
        with history_errors():
            folder = self._sets.folder(id)
        try:
            manifest = self._sets.manifest(id, self._sets.trusted(id))
        except BackupDamagedError as error:
            return VerificationReport(id=id, items=(_of_set(folder, error.damage[0]),))
        except OSError as error:
            return VerificationReport(id=id, items=(_of_set(folder, error.strerror or str(error)),))
        if manifest is None:
            return VerificationReport(id=id, items=())
        with history_errors():
            in_force = self._sets.record(id).state != "rolled-back"
        items = verify_items(self._files, folder, manifest, in_force=in_force)
        return VerificationReport(id=id, items=tuple(items))

    def before(self, id: str, path: Path) -> bytes | None:  # noqa: A002
        """What a file held before a transaction changed it, from the verified backup; None if there was none.

        Args:
            id: The transaction.
            path: The file.

        Raises:
            BackupDamagedError: The backup is not what was stored.
            TransactionError: There is no such transaction, or it did not change this file.
        """
        with self._our_errors():
            _reading, manifest, _reports = load_intact_set(self._sets, id)
            for item in manifest.items:
                if item.path == path and item.role == "changed":
                    stored = item.stored
                    return None if stored is None else self._sets.folder(id).joinpath(stored).read_bytes()
        raise TransactionError(
            f"the transaction {id} did not change {path}",
            transaction_id=id,
            path=path,
            why="its backup set has no such file among those it changed",
            advice="`modelplug migrate history --json` lists the files of each transaction",
        )

    # Around the lock ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _our_errors(self) -> Iterator[Runner]:
        """Give what runs a transaction, and turn what goes wrong before and after it into our errors."""
        runner = Runner(self._sets, self._handlers, self._log)
        try:
            yield runner
        except (OSError, KeyboardInterrupt) as error:
            if runner.has_committed:
                raise_after_commit("", error)
            raise_as_ours("", error)

    @contextlib.contextmanager
    def _locked(self, seconds: float) -> Iterator[None]:
        with locked(self._files, self._sets.root, seconds):
            yield

    # Inside the lock ----------------------------------------------------------------------------------

    def _recover_all(self, *, keep_edits: bool) -> list[RecoveryReport]:
        return [self._recoverer.recover(each, keep_edits=keep_edits) for each in self._sets.unfinished()]

    def _choose(self, transaction_id: str | None) -> TransactionRecord:
        if transaction_id is not None:
            return self._sets.record(transaction_id)
        for record in self._sets.history():
            if record.rolls_back is None and record.state != "aborted":
                return record
        raise TransactionError(
            "there is nothing to roll back",
            why="no transaction is in force",
            advice="`modelplug migrate history` lists the transactions",
        )

    def _rollback(self, runner: Runner, record: TransactionRecord, *, discard_edits: bool) -> RollbackReport:
        if record.state == "rolled-back":
            return RollbackReport(
                id=record.id, outcome="already-rolled-back", transaction_id=record.rolled_back_by
            )
        reading, _manifest, reports = load_intact_set(self._sets, record.id)
        if record.state != "committed":
            raise TransactionError(
                f"the transaction {record.id} can't be rolled back",
                transaction_id=record.id,
                why=record.problem or f"it is {record.state}",
                advice="`modelplug migrate history` shows which ones can",
            )
        plan = plan_rollback(self._sets, record, reading, discard_edits=discard_edits)
        check_handlers(plan.preparation.script.effects, self._handlers, record.id)
        done = runner.run(plan.preparation, Extras())
        self._log("a transaction was rolled back", transaction=record.id, by=done)
        return RollbackReport(
            id=record.id,
            outcome="rolled-back",
            transaction_id=done,
            files=tuple(path for path in script_of(reading).files if path not in record.left_alone),
            discarded=plan.discarded,
            left_alone=record.left_alone,
            references_changed=tuple(each.path for each in reports if each.state in ("changed", "gone")),
        )

    def _rehearse(self, record: TransactionRecord, scratch: Path) -> RollbackReport:
        _reading, manifest, reports = load_intact_set(self._sets, record.id)
        restored = rehearse(self._sets, record.id, manifest, scratch)
        return RollbackReport(
            id=record.id,
            outcome="rehearsed",
            files=restored,
            left_alone=record.left_alone,
            references_changed=tuple(each.path for each in reports if each.state in ("changed", "gone")),
            folder=scratch,
        )


def _of_set(folder: Path, problem: str) -> ItemReport:
    return ItemReport(path=folder, kind="set", state="damaged", problem=problem)


def _log_function(log: Log | InfoLogger | None) -> Log:
    if log is None:
        return _tell_nobody
    return log if callable(log) else log.info


def _tell_nobody(event: str, **fields: object) -> None:
    """Take an event, and do nothing."""
