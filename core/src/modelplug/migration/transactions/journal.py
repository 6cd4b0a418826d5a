"""The write-ahead journal: says what is about to be done before it is done, and is on the disk before.

A journal is a file of JSON lines. Each record has a number and ends in a checksum. One record announces a
whole phase, so that a thousand files cost no more waiting for the disk than one. Only the last line can be
torn by a crash; it announced something that was never begun, and is ignored.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

import attrs

from modelplug.migration.transactions.files import PRIVATE_FILE, Files

__all__ = [
    "ABORTED",
    "COMMITTED",
    "FINAL",
    "FORMAT",
    "Journal",
    "Reading",
    "final_event",
    "read_journal",
]

FORMAT = 1
"""The version of the layout of backup sets and journals."""
COMMITTED = "committed"
ABORTED = "aborted"
FINAL = frozenset({COMMITTED, ABORTED})
"""The events after which a transaction has ended."""

_SUM = ', "sum": "'
_SUM_DIGITS = 32
_SUM_LENGTH = len(_SUM) + _SUM_DIGITS + len('"}')
_TAIL = 1 << 16


@attrs.frozen(kw_only=True)
class Reading:
    """What a journal says.

    Attributes:
        records: Its records, in order.
        size: The bytes they take; anything behind them is a torn line.
        problem: Why it can't be trusted, in a sentence; empty if it can.
    """

    records: tuple[dict[str, Any], ...]
    size: int
    problem: str = ""

    @property
    def state(self) -> str:
        """The name of the last event; empty if there is none."""
        return str(self.records[-1]["event"]) if self.records else ""

    def last(self, event: str) -> dict[str, Any] | None:
        """The latest record of an event; None if it never happened.

        Args:
            event: Its name.
        """
        return next((record for record in reversed(self.records) if record["event"] == event), None)

    def numbers(self, event: str) -> set[int]:
        """The numbers that records of an event speak of.

        Args:
            event: Its name.
        """
        return {record["number"] for record in self.records if record["event"] == event}


class Journal:
    """An open journal, to which records are added.

    Args:
        files: How to write.
        path: The file.
        descriptor: It, open for writing.
        reading: What it says so far.
    """

    def __init__(self, files: Files, path: Path, descriptor: int, reading: Reading) -> None:
        self.path = path
        self._files = files
        self._descriptor = descriptor
        self._torn = False
        self.reading = reading

    @classmethod
    def create(cls, files: Files, path: Path) -> Journal:
        """Begin a journal in a file that did not exist.

        Args:
            files: How to write.
            path: The file.
        """
        return cls(files, path, files.calls.open_new(path, PRIVATE_FILE), Reading(records=(), size=0))

    @classmethod
    def resume(cls, files: Files, path: Path, reading: Reading) -> Journal:
        """Go on with a journal; a torn last line is cut off.

        Args:
            files: How to write.
            path: The file.
            reading: What it says.
        """
        journal = cls(files, path, files.calls.open_append(path), reading)
        journal._torn = True
        return journal

    def write(self, event: str, **fields: Any) -> None:
        """Add a record, and return when it is on the disk.

        Args:
            event: Its name.
            **fields: What it says; plain data.

        Raises:
            OSError: It could not be written; the journal ends where it ended before, or will when the next
                record is written.
        """
        record = {"n": len(self.reading.records), "time": _now(), "event": event, **fields}
        line = _line(record)
        if self._torn:
            self._files.calls.truncate(self._descriptor, self.reading.size)
            self._files.calls.seek(self._descriptor, self.reading.size)
        # Until the record is known to be on the disk it counts as never written, whatever cuts this short.
        self._torn = True
        self._files.write_all(self._descriptor, line)
        self._files.calls.fsync(self._descriptor)
        self.reading = Reading(records=(*self.reading.records, record), size=self.reading.size + len(line))
        self._torn = False

    def close(self) -> None:
        """Close the file, if it is open; every record is on the disk already."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                self._files.calls.close(descriptor)


def read_journal(files: Files, path: Path) -> Reading:
    """Read a journal as far as it can be trusted.

    Args:
        files: How to read.
        path: The file; none is the same as an empty one.

    Raises:
        OSError: It can't be read.
    """
    if files.status(path) is None:
        return Reading(records=(), size=0)
    lines = files.read(path).split(b"\n")
    records: list[dict[str, Any]] = []
    size = 0
    for number, line in enumerate(lines):
        record = _record(line)
        if record is None:
            # Behind the last line end there is nothing, or a torn line; which may even have its own end.
            problem = f"line {number + 1} of {path.name} is damaged" if any(lines[number + 1 :]) else ""
            return Reading(records=tuple(records), size=size, problem=problem)
        if record["n"] != number:
            problem = f"line {number + 1} of {path.name} is missing"
            return Reading(records=tuple(records), size=size, problem=problem)
        if number == len(lines) - 1:
            # The record is whole but its line end is not there: it was never acknowledged.
            break
        records.append(record)
        size += len(line) + 1
    return Reading(records=tuple(records), size=size)


def final_event(files: Files, path: Path) -> str | None:
    """How a transaction ended, from the last line of its journal alone; None if that does not say.

    Args:
        files: How to read.
        path: The journal.

    Raises:
        OSError: It can't be read.
    """
    if files.status(path) is None:
        return None
    lines = files.tail(path, _TAIL).split(b"\n")
    record = _record(lines[-2]) if len(lines) > 1 and not lines[-1] else None
    return record["event"] if record is not None and record["event"] in FINAL else None


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")


def _line(record: dict[str, Any]) -> bytes:
    # Escapes for everything beyond ASCII: file names need not be valid UTF-8.
    body = json.dumps(record, ensure_ascii=True, allow_nan=False)
    return f'{body[:-1]}{_SUM}{_checksum(body)}"}}\n'.encode("ascii")


def _record(line: bytes) -> dict[str, Any] | None:
    """The record in a line, or None if the line is not as it was written."""
    try:
        text = line.decode("ascii")
        body = text[:-_SUM_LENGTH] + "}"
        digits = text[-_SUM_LENGTH + len(_SUM) : -2]
        if text != f'{body[:-1]}{_SUM}{digits}"}}' or digits != _checksum(body):
            return None
        record = json.loads(body)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode("ascii")).hexdigest()[:_SUM_DIGITS]
