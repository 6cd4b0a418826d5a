"""Finishes or undoes transactions that were cut off."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from modelplug.errors import ModelplugError
from modelplug.migration.transactions import refusals
from modelplug.migration.transactions.changes import EffectHandler
from modelplug.migration.transactions.execution import Execution, Log
from modelplug.migration.transactions.journal import FINAL, Journal, Reading
from modelplug.migration.transactions.operations import Script
from modelplug.migration.transactions.preparation import check_handlers
from modelplug.migration.transactions.reports import RecoveryReport
from modelplug.migration.transactions.running import discard_hollow, discard_incomplete
from modelplug.migration.transactions.sets import JOURNAL_NAME, Sets, script_of

__all__ = ["Recoverer"]


class Recoverer:
    """Finishes or undoes transactions; the caller holds the lock.

    A transaction is finished if all its new content is in place or ready, and undone otherwise. Either may be
    cut off in turn, and is then taken up again.

    Args:
        sets: Where backup sets lie.
        handlers: What makes and undoes effects, by kind.
        log: Told of each decision.
    """

    def __init__(self, sets: Sets, handlers: Mapping[str, EffectHandler], log: Log) -> None:
        self._sets = sets
        self._files = sets.files
        self._handlers = handlers
        self._log = log

    def recover(self, transaction_id: str, *, keep_edits: bool) -> RecoveryReport:
        """Finish or undo one transaction.

        Args:
            transaction_id: Its name.
            keep_edits: Whether to leave files alone that were edited since, instead of giving up.

        Raises:
            RecoveryConflictError: Files were edited since; nothing was touched.
            ModelplugError: It can be neither finished nor undone now.
            OSError: Something can't be read or written.
        """
        folder = self._sets.folder(transaction_id)
        reading = self._sets.trusted(transaction_id)
        if reading.state in FINAL:
            return RecoveryReport(id=transaction_id, outcome="nothing", files=script_of(reading).files)
        if not reading.records:
            discard_hollow(self._files, folder)
            return RecoveryReport(id=transaction_id, outcome="undone")
        journal = Journal.resume(self._files, folder / JOURNAL_NAME, reading)
        try:
            if reading.last("intend") is None:
                discard_incomplete(self._files, folder, journal)
                return RecoveryReport(id=transaction_id, outcome="undone")
            return self._recover(transaction_id, journal, keep_edits=keep_edits)
        finally:
            journal.close()

    def _recover(self, transaction_id: str, journal: Journal, *, keep_edits: bool) -> RecoveryReport:
        reading = journal.reading
        script = script_of(reading)
        execution = self._execution(journal, transaction_id, script)
        # Before everything was staged, nothing was replaced, and any edit stands beside the transaction.
        conflicts = execution.conflicts() if reading.last("staged") is not None else []
        conflicts = [path for path in conflicts if path not in execution.never_touched()]
        if conflicts and not keep_edits:
            raise refusals.conflict(transaction_id, conflicts)
        execution = self._execution(journal, transaction_id, script, conflicts)
        reason = ""
        forward = self._goes_forward(reading, execution)
        self._log("an unfinished transaction was found", transaction=transaction_id, finish=forward)
        if forward:
            journal.write("finishing")
            try:
                execution.finish()
            except (ModelplugError, OSError) as error:
                reason = str(error)
                self._log("it can't be finished", transaction=transaction_id, why=reason)
                forward = False
        if not forward:
            begun = sorted(journal.reading.numbers("effect") - journal.reading.numbers("effect-undone"))
            check_handlers([script.effects[number] for number in begun], self._handlers, transaction_id)
            execution.undo(self._sets.folder(transaction_id))
        return RecoveryReport(
            id=transaction_id,
            outcome="finished" if forward else "undone",
            files=script.files,
            left_alone=tuple(conflicts),
            reason=reason,
        )

    def _execution(
        self, journal: Journal, transaction_id: str, script: Script, left_alone: Collection[Path] = ()
    ) -> Execution:
        return Execution(self._files, journal, transaction_id, script, self._handlers, self._log, left_alone)

    def _goes_forward(self, reading: Reading, execution: Execution) -> bool:
        """Whether a transaction is finished rather than undone."""
        if reading.last("undoing") is not None or reading.last("staged") is None:
            return False
        known: Collection[str] = self._handlers
        return all(step.kind in known for step in execution.script.effects) and execution.can_finish()
