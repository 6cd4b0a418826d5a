"""Carries one old configuration into this program's settings, by the name the migration guide uses."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug._version import __version__
from modelplug.documents import DocumentSyntaxError
from modelplug.errors import MigrationError, UnknownArtifactError
from modelplug.migration.account import Account, Finding
from modelplug.migration.candidates import Candidate
from modelplug.migration.detection import Wishes
from modelplug.migration.migrator import Migrator
from modelplug.migration.plan import FilePlan, Plan, PlannedChange, sha256
from modelplug.migration.planning import unified_diff
from modelplug.migration.settings_target import merge_settings

if TYPE_CHECKING:
    from modelplug.runtime import Runtime

__all__ = ["ConfigMigrator", "MigrationReport"]


@attrs.frozen(kw_only=True)
class MigrationReport:
    """What migrating one configuration did; prints as a short report.

    Attributes:
        success: Whether the settings now hold what the configuration said.
        source: The old configuration; it is left as it was.
        target: The settings file.
        transaction: What `modelplug migrate rollback` takes; empty if nothing had to be written.
        detected: What the old configuration was.
        evidence: What was seen in it.
        account: What became of every key.
        findings: What a person should know.
        diff: The change to the settings file.
    """

    success: bool
    source: Path
    target: Path
    transaction: str
    detected: str
    evidence: tuple[str, ...]
    account: Account
    findings: tuple[Finding, ...]
    diff: str

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {fate}" for fate, count in self.account.counts().items() if count)
        lines = [
            f"{self.source}: {self.detected}",
            f"  into {self.target}" + ("" if self.transaction else " (nothing had to be changed)"),
            f"  {len(self.account.keys)} keys: {counts or 'none'}",
        ]
        for key in self.account.keys:
            why = f" ({key.why})" if key.why else ""
            lines.append(f"  {key.key}: {key.fate.value}{f' -> {key.target}' if key.target else ''}{why}")
        lines += [f"  {finding.severity.value}: {finding}" for finding in self.findings]
        if self.transaction:
            lines.append(f"  undo: modelplug migrate rollback {self.transaction}")
        return "\n".join(lines)


class ConfigMigrator:
    """Brings the settings of an older program into this one's.

    Args:
        runtime: Directories and plugins; None makes a runtime of its own.

    Example:
        >>> report = ConfigMigrator().migrate_from_legacy("~/.gguf-loader-backup/config.json")
        >>> print(report)
    """

    def __init__(self, runtime: Runtime | None = None) -> None:
        if runtime is None:
            from modelplug.runtime import Runtime

            runtime = Runtime()
        self._migrator = Migrator(runtime)

    def migrate_from_legacy(self, path: str | os.PathLike[str], **options: str) -> MigrationReport:
        """Carry an old configuration into the settings; the old file is left as it was.

        The settings are backed up first, and keep everything that the old configuration says nothing of.

        Args:
            path: The old configuration; `~` is expanded.
            options: What the family lets one decide, for example `backend="llamacpp"`.

        Raises:
            MigrationError: The file does not exist, is of no known family, or can't be migrated; nothing was
                written.
        """
        given = Path(path).expanduser()
        if not given.is_file():
            raise UnknownArtifactError(
                f"there is no file {given}", path=given, advice="Check the spelling of the path."
            )
        candidate = Candidate(Path(os.path.realpath(given)), given_as=given)
        from modelplug.migration.planning import Planner

        runtime = self._migrator.runtime
        planner = Planner(self._migrator.graph, runtime.paths, inspect=self._migrator.inspect)
        file = planner.plan_candidate(candidate, Wishes(options=dict(options)))
        new = _new_settings(candidate, file)
        target = runtime.paths.config_file
        existing = target.read_bytes() if target.exists() else None
        try:
            merged = merge_settings(existing, new, source=given)
        except DocumentSyntaxError as error:
            raise MigrationError(
                f"the settings file {target} can't be understood",
                why=str(error),
                advice="`modelplug config reset` sets it aside and starts afresh.",
            ) from error
        plan = _plan(file, target, existing, merged.data)
        applied = self._migrator.apply(plan)
        return MigrationReport(
            success=True,
            source=given,
            target=target,
            transaction=applied.transaction.id if applied.transaction else "",
            detected=f"{file.kind} of {file.family}, {file.source}",
            evidence=file.evidence,
            account=file.account,
            findings=(*file.findings, *merged.findings),
            diff=plan.files[0].diff if plan.files else "",
        )


def _new_settings(candidate: Candidate, file: FilePlan) -> bytes:
    """The migrated text of a configuration.

    Raises:
        MigrationError: It can't be migrated.
    """
    if file.status == "unknown":
        raise UnknownArtifactError(
            f"{candidate.given_as} is no configuration that any installed plugin knows",
            path=candidate.path,
            why="nothing in its content says what wrote it",
            advice="`modelplug migrate plan PATH --family NAME --from VERSION` says it in its place.",
        )
    if file.error is not None:
        error: dict[str, Any] = file.error
        raise MigrationError(str(error["what"]), why=str(error["why"]), advice=str(error["advice"]))
    if file.kind != "config":
        raise MigrationError(
            f"{candidate.given_as} is no configuration, but a {file.kind}",
            advice=f"`modelplug migrate apply {candidate.given_as}`",
        )
    return next((c.after for c in file.changes if c.after is not None), candidate.data)


def _plan(file: FilePlan, target: Path, existing: bytes | None, data: bytes) -> Plan:
    changes: tuple[PlannedChange, ...] = ()
    if data != existing:
        change = PlannedChange(
            path=Path(os.path.realpath(target)),
            before=None if existing is None else sha256(existing),
            after=data,
            diff=unified_diff(target, existing, data),
        )
        changes = (change,)
    # The source goes into the backup too: what was carried over stays provable.
    into = attrs.evolve(
        file, path=Path(os.path.realpath(target)), status="migrate", changes=changes, copies=(file.path,)
    )
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return Plan(files=(into,) if changes else (), created=now, program=__version__)
