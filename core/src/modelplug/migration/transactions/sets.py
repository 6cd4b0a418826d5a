"""The folder with all backup sets: their names, which of them have ended, and what is known of each."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import attrs

from modelplug.errors import BackupDamagedError, RecoveryNeededError, TransactionError
from modelplug.migration.transactions.files import PRIVATE_FOLDER, Files
from modelplug.migration.transactions.journal import (
    ABORTED,
    COMMITTED,
    FINAL,
    FORMAT,
    Reading,
    final_event,
    read_journal,
)
from modelplug.migration.transactions.manifest import Manifest, load_manifest
from modelplug.migration.transactions.operations import Script, load_script
from modelplug.migration.transactions.reports import State, TransactionRecord

__all__ = ["JOURNAL_NAME", "Sets", "script_of"]

JOURNAL_NAME = "journal.jsonl"
_ID = re.compile(r"(\d{8}T\d{6})Z-([0-9a-f]{4})")
_STAMP = "%Y%m%dT%H%M%S"
_NUMBERS = 1 << 16
_STATES: Mapping[str, State] = {COMMITTED: "committed", ABORTED: "aborted"}


class Sets:
    """All backup sets of a store.

    Args:
        files: How to read and write.
        root: The folder they lie in.
    """

    def __init__(self, files: Files, root: Path) -> None:
        self.files = files
        self.root = root

    # Names --------------------------------------------------------------------------------------------

    def ids(self) -> list[str]:
        """The names of all transactions, newest first."""
        try:
            names = self.files.calls.list(self.root)
        except (FileNotFoundError, NotADirectoryError):
            return []
        found = [name for name in names if _ID.fullmatch(name) and self._is_folder(self.root / name)]
        return sorted(found, reverse=True)

    def _is_folder(self, path: Path) -> bool:
        status = self.files.status(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def folder(self, transaction_id: str) -> Path:
        """Where the set of a transaction lies.

        Args:
            transaction_id: Its name.

        Raises:
            TransactionError: There is no such transaction.
        """
        folder = self.root / transaction_id
        if not _ID.fullmatch(transaction_id) or not self._is_folder(folder):
            raise TransactionError(
                f"there is no transaction {transaction_id}",
                transaction_id=transaction_id,
                why=f"{self.root} holds no set of that name",
                advice="`modelplug migrate history` lists them all",
            )
        return folder

    def make(self) -> Path:
        """A folder for a new transaction, whose name sorts after all others."""
        ids = self.ids()
        while True:
            folder = self.root / _next_id(ids[0] if ids else "")
            try:
                self.files.calls.mkdir(folder, PRIVATE_FOLDER)
            except FileExistsError:
                ids = [folder.name]
                continue
            except BaseException:
                # Cut short after it was made, it would look like a transaction that was.
                with contextlib.suppress(OSError):
                    self.files.calls.rmdir(folder)
                raise
            return folder

    # States -------------------------------------------------------------------------------------------

    def reading(self, transaction_id: str) -> Reading:
        """What the journal of a transaction says."""
        return read_journal(self.files, self.folder(transaction_id) / JOURNAL_NAME)

    def trusted(self, transaction_id: str) -> Reading:
        """What the journal of a transaction says, if it can be trusted.

        Args:
            transaction_id: Its name.

        Raises:
            BackupDamagedError: It can't be.
            TransactionError: There is no such transaction.
        """
        reading = self.reading(transaction_id)
        problem = reading.problem or self._mistrust(transaction_id, reading)
        if problem:
            folder = self.folder(transaction_id)
            raise BackupDamagedError(
                f"the journal of the transaction {transaction_id} can't be trusted",
                transaction_id=transaction_id,
                path=folder / JOURNAL_NAME,
                damage=[problem],
                why=problem,
                advice=f"restore by hand what you need from {folder}, then move that folder away",
            )
        return reading

    def _mistrust(self, transaction_id: str, reading: Reading) -> str:
        """Why a journal that reads well says too little; empty if it does not."""
        if not reading.records:
            return "" if self.is_hollow(transaction_id) else "its journal is missing or empty"
        known = reading.records[0].get("format") == FORMAT
        return "" if known else "it was written by a later version of this program"

    def unfinished(self) -> list[str]:
        """The transactions that have not ended, newest first."""
        return [each for each in self.ids() if not self._has_ended(each)]

    def _has_ended(self, transaction_id: str) -> bool:
        return final_event(self.files, self.root / transaction_id / JOURNAL_NAME) is not None

    def _has_committed(self, transaction_id: str) -> bool:
        return final_event(self.files, self.root / transaction_id / JOURNAL_NAME) == COMMITTED

    def refuse_unfinished(self) -> None:
        """Make sure that every transaction has ended.

        Raises:
            RecoveryNeededError: One has not.
        """
        unfinished = self.unfinished()
        if unfinished:
            raise RecoveryNeededError(
                f"the transaction {unfinished[0]} was cut off and is unfinished",
                transaction_ids=unfinished,
                transaction_id=unfinished[0],
                why="some of its files may be old and some new",
                advice="`modelplug migrate recover` finishes it or undoes it",
            )

    # History ------------------------------------------------------------------------------------------

    def history(self, since: str = "") -> list[TransactionRecord]:
        """Everything that is known of every transaction, newest first.

        Args:
            since: The oldest transaction that is wanted.
        """
        records: list[TransactionRecord] = []
        rolled_back: dict[str, str] = {}
        # A rollback can be rolled back in turn. Newest first, it is known whether each is in force.
        for transaction_id in itertools.takewhile(lambda each: each >= since, self.ids()):
            record = self.newest(transaction_id)
            by = rolled_back.get(transaction_id)
            if by is not None:
                state: State = "rolled-back" if record.state == "committed" else record.state
                record = attrs.evolve(record, state=state, rolled_back_by=by)
            elif record.rolls_back is not None and self._has_committed(transaction_id):
                # Even if its own set was damaged since: what it did was done.
                rolled_back.setdefault(record.rolls_back, transaction_id)
            records.append(record)
        return records

    def record(self, transaction_id: str) -> TransactionRecord:
        """Everything that is known of one transaction.

        Args:
            transaction_id: Its name.

        Raises:
            TransactionError: There is no such transaction.
        """
        self.folder(transaction_id)
        return self.history(since=transaction_id)[-1]

    def manifest(self, transaction_id: str, reading: Reading) -> Manifest | None:
        """What the set of a transaction holds; None if it was not completed.

        Args:
            transaction_id: Its name.
            reading: What its journal says.

        Raises:
            BackupDamagedError: It can't be trusted.
        """
        intend = reading.last("intend")
        if intend is None:
            return None
        return load_manifest(self.files, self.folder(transaction_id), intend["manifest"])

    def newest(self, transaction_id: str) -> TransactionRecord:
        """Everything that is known of a transaction after which there was no other.

        Args:
            transaction_id: Its name.
        """
        folder = self.root / transaction_id
        try:
            reading = read_journal(self.files, folder / JOURNAL_NAME)
            size, problem = self._check(transaction_id, reading)
        except OSError as error:
            reading, size = Reading(records=(), size=0), 0
            problem = f"its set can't be read: {error.strerror or error}"
        begin: dict[str, Any] = reading.records[0] if reading.records else {}
        known = begin.get("format") == FORMAT
        final = reading.records[-1] if reading.state in FINAL else {}
        return TransactionRecord(
            id=transaction_id,
            time=datetime.datetime.fromisoformat(begin["time"]) if begin else None,
            state="damaged" if problem else _STATES.get(reading.state, "unfinished"),
            meta=begin.get("meta", {}),
            files=script_of(reading).files if known else (),
            left_alone=tuple(Path(name) for name in final.get("left_alone", ())),
            size=size,
            folder=folder,
            rolls_back=begin.get("rolls_back"),
            problem=problem,
        )

    def is_hollow(self, transaction_id: str) -> bool:
        """Whether a transaction was cut off before its journal said anything, and so before it did any."""
        return set(self.files.calls.list(self.root / transaction_id)) <= {JOURNAL_NAME}

    def _check(self, transaction_id: str, reading: Reading) -> tuple[int, str]:
        """The size of a set and what is wrong with it, as far as that is seen without reading the copies."""
        problem = reading.problem or self._mistrust(transaction_id, reading)
        if problem:
            return 0, problem
        try:
            manifest = self.manifest(transaction_id, reading)
        except BackupDamagedError as error:
            return 0, error.damage[0]
        size = 0
        for item in manifest.items if manifest is not None else ():
            if item.moved_to is not None and self.files.status(item.moved_to) is not None:
                size += item.size or 0
            if item.stored is None or item.size is None:
                continue
            path = self.root.joinpath(transaction_id, *PurePosixPath(item.stored).parts)
            status = self.files.status(path)
            if status is None or status.st_size != item.size:
                return size, f"the copy {path} is {'missing' if status is None else 'not of the stored size'}"
            size += item.size
        return size, ""


def script_of(reading: Reading) -> Script:
    """What a transaction does, as far as its journal says.

    Args:
        reading: What the journal says.
    """
    intend = reading.last("intend")
    return load_script(intend["script"]) if intend is not None else Script()


def _next_id(newest: str) -> str:
    """A name that sorts after the newest one, even where the clock went back."""
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, microsecond=0)
    match = _ID.fullmatch(newest)
    lowest = 0
    if match is not None:
        last = datetime.datetime.strptime(match[1], _STAMP)  # noqa: DTZ007  always UTC
        if last >= now:
            now, lowest = last, int(match[2], 16) + 1
        if lowest >= _NUMBERS:
            now, lowest = now + datetime.timedelta(seconds=1), 0
    # From the lower half of what is left, so that many more fit into the same second.
    number = lowest + secrets.randbelow((_NUMBERS - lowest + 1) // 2)
    return f"{now.strftime(_STAMP)}Z-{number:04x}"
