"""Runs, failures and benchmarks: what was measured here, and how it ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from modelplug.history.benchmarks import read_benchmark
from modelplug.history.file import HistoryFile
from modelplug.history.records import MINIMUM_TOKENS, BenchmarkRecord, FailureRecord, RunRecord
from modelplug.history.table import Table

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["EvidenceStore"]

R = TypeVar("R")
T = TypeVar("T")

RUNS = Table("runs", RunRecord)
FAILURES = Table("failures", FailureRecord)
BENCHMARKS = Table("benchmarks", BenchmarkRecord)
NEWEST_FIRST = "id DESC"


class EvidenceStore(HistoryFile):
    """The part of the history that was measured."""

    # Runs ---------------------------------------------------------------------------------------------

    def record_run(self, record: RunRecord) -> bool:
        """Keep one run.

        Returns:
            Whether it is on disk.
        """
        return self.record_runs([record])

    def record_runs(self, runs: Sequence[RunRecord], failures: Sequence[FailureRecord] = ()) -> bool:
        """Keep runs and failures, all of them or none.

        Returns:
            Whether they are on disk.
        """

        def write(connection: sqlite3.Connection) -> bool:
            for run in runs:
                RUNS.insert(connection, run)
            last = connection.execute("SELECT coalesce(max(id), 0) FROM runs").fetchone()[0]
            for failure in failures:
                FAILURES.insert(connection, attrs.evolve(failure, after_run=last))
            return True

        return self.do(in_transaction(write), otherwise=False, writes=True)

    def runs(
        self,
        *,
        fingerprint: str | None = None,
        backend: str | None = None,
        device: str | None = None,
        gpu_layers: int | None = None,
        since: str | None = None,
        limit: int | None = 100,
        imported: bool = False,
    ) -> list[RunRecord]:
        """Earlier runs on this machine, newest first: in the order they were recorded, not by the clock.

        Args:
            fingerprint: Only of this model.
            backend: Only with this backend.
            device: Only on this device.
            gpu_layers: Only with this many layers on it.
            since: Only from this moment on, as ISO 8601 in UTC.
            limit: At most this many; None gives all.
            imported: Whether to give those brought over from other programs instead, whose figures nobody
                here has measured.
        """
        where = {"fingerprint": fingerprint, "backend": backend, "device": device, "gpu_layers": gpu_layers}
        origin = "origin <> ''" if imported else "origin = ''"
        return self._newest(RUNS, where, since, limit, origin)

    def extent(self) -> tuple[int, str]:
        """How many runs were measured here, and when the first was recorded; empty if there is none."""
        statement = (
            "SELECT count(*), coalesce((SELECT time FROM runs WHERE origin = '' ORDER BY id LIMIT 1), '') "
            "FROM runs WHERE origin = ''"
        )
        row = self.do(lambda c: c.execute(statement).fetchone(), otherwise=(0, ""))
        return int(row[0]), str(row[1])

    def measurements(
        self, backend: str, device: str, *, fingerprint: str | None = None, each: int = 50
    ) -> list[RunRecord]:
        """Successful runs of at least 16 tokens that say how long generating took, newest first.

        Args:
            backend: The backend.
            device: The device.
            fingerprint: Only of this model; None means every model.
            each: At most this many of each model, the newest.
        """
        where = {"backend": backend, "device": device, "fingerprint": fingerprint}
        telling = (
            "backend = :backend AND device = :device AND origin = '' AND success "
            f"AND completion_tokens >= {MINIMUM_TOKENS} AND generate_seconds > 0"
        )
        if fingerprint is not None:
            telling += " AND fingerprint = :fingerprint"
        place = "row_number() OVER (PARTITION BY fingerprint ORDER BY id DESC) AS place"
        newest = f"SELECT id FROM (SELECT id, {place} FROM runs WHERE {telling}) WHERE place <= {each:d}"  # noqa: S608  our own text
        return self._newest(RUNS, where, None, None, f"id IN ({newest})")

    # Failures -----------------------------------------------------------------------------------------

    def record_failure(self, record: FailureRecord) -> bool:
        """Keep one failure.

        Returns:
            Whether it is on disk.
        """
        return self.record_runs([], [record])

    def failures(
        self,
        *,
        fingerprint: str | None = None,
        backend: str | None = None,
        since: str | None = None,
        limit: int | None = 100,
    ) -> list[FailureRecord]:
        """Earlier failures of engines, newest first.

        Args:
            fingerprint: Only of this model.
            backend: Only of this backend.
            since: Only from this moment on, as ISO 8601 in UTC.
            limit: At most this many; None gives all.
        """
        return self._newest(FAILURES, {"fingerprint": fingerprint, "backend": backend}, since, limit)

    # Benchmarks ---------------------------------------------------------------------------------------

    def record_benchmark(self, result: Mapping[str, Any]) -> int | None:
        """Keep the result of a benchmark: the whole of it, and a row of figures for each model and engine.

        Args:
            result: What `modelplug bench --json` prints; plain data.

        Returns:
            The number under which `benchmark_document` gives it back; None if it can't be kept, which has
            been said.

        Raises:
            ValueError: It holds something that is no JSON.
        """
        document = read_benchmark(result)

        def write(connection: sqlite3.Connection) -> int | None:
            number = connection.execute(
                "INSERT INTO benchmark_documents (time, machine, document) VALUES (?, ?, ?)",
                (document.time, document.machine, document.text),
            ).lastrowid
            assert number is not None
            for row in document.rows:
                BENCHMARKS.insert(connection, attrs.evolve(row, document=number))
            return number

        return self.do(in_transaction(write), otherwise=None, writes=True)

    def benchmarks(
        self,
        *,
        fingerprint: str | None = None,
        backend: str | None = None,
        since: str | None = None,
        limit: int | None = 100,
    ) -> list[BenchmarkRecord]:
        """The figures of earlier benchmarks, newest first.

        Args:
            fingerprint: Only of this model.
            backend: Only with this backend.
            since: Only from this moment on, as ISO 8601 in UTC.
            limit: At most this many; None gives all.
        """
        return self._newest(BENCHMARKS, {"fingerprint": fingerprint, "backend": backend}, since, limit)

    def benchmark_document(self, number: int) -> dict[str, Any] | None:
        """The whole result of one benchmark, or None if there is none of that number."""
        statement = "SELECT document FROM benchmark_documents WHERE id = ?"
        row = self.do(lambda c: c.execute(statement, (number,)).fetchone(), otherwise=None)
        if row is None:
            return None
        found: dict[str, Any] = json.loads(row[0])
        return found

    def _newest(
        self, table: Table[R], where: Mapping[str, Any], since: str | None, limit: int | None, *more: str
    ) -> list[R]:
        conditions = [*more, *(["time >= :_since"] if since is not None else [])]
        values = {"_since": since} if since is not None else {}
        none: list[R] = []
        return self.do(
            lambda c: table.select(
                c, where, conditions=conditions, order=NEWEST_FIRST, limit=limit, **values
            ),
            otherwise=none,
        )

    # Forgetting ---------------------------------------------------------------------------------------

    def forget_evidence(self, fingerprint: str | None = None, *, before: str | None = None) -> int:
        """Remove runs, failures and benchmarks for good.

        Args:
            fingerprint: Only of this model; None means every model.
            before: Only from before this moment, as ISO 8601 in UTC.

        Returns:
            How many entries there were.

        Raises:
            ModelplugError: They can't be removed.
        """
        removed = 0

        def remove(connection: sqlite3.Connection) -> None:
            nonlocal removed
            conditions = ["time < :_before"] if before is not None else []
            values = {"_before": before} if before is not None else {}
            removed = sum(
                table.delete(connection, {"fingerprint": fingerprint}, conditions=conditions, **values)
                for table in (RUNS, FAILURES, BENCHMARKS)
            )
            # The whole result of a benchmark goes with the last of its rows.
            orphans = "id NOT IN (SELECT document FROM benchmarks)"
            connection.execute(f"DELETE FROM benchmark_documents WHERE {orphans}")  # noqa: S608  our own text

        self.must(in_transaction(remove), "the history can't be changed")
        return removed


def in_transaction(action: Callable[[sqlite3.Connection], T]) -> Callable[[sqlite3.Connection], T]:
    """The same action, of which all happens or nothing."""

    def act(connection: sqlite3.Connection) -> T:
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = action(connection)
            connection.execute("COMMIT")
        except BaseException:
            # A full disk makes SQLite roll back by itself.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    return act
