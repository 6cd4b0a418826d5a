"""A whole installation as migration steps see it: its folder, and what goes into this program's own home."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.documents import DocumentSyntaxError, read_document
from modelplug.errors import MigrationError
from modelplug.migration.account import Account, Finding, KeyFate, Severity
from modelplug.migration.candidates import Candidate
from modelplug.migration.detection import Wishes, detect
from modelplug.migration.plan import EffectPlan
from modelplug.migration.settings_target import merge_settings
from modelplug.migration.steps import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modelplug.migration.planning import Planner
    from modelplug.migration.steps import Detection, Family

__all__ = ["HomeEditor", "MigratedConfig"]


@attrs.frozen(kw_only=True)
class MigratedConfig:
    """A configuration of the home, brought to the family's current version in memory.

    Attributes:
        path: The file.
        detection: What it was.
        data: Its new text.
        value: What that holds.
        account: What became of every key.
        findings: What a person should know.
    """

    path: Path
    detection: Detection
    data: bytes
    value: dict[str, Any]
    account: Account
    findings: tuple[Finding, ...]


class HomeEditor:
    """Plans the migration of one installation; nothing is written before the plan is applied.

    The old folder stays as it is. What is worth keeping of it goes into the backup set, and what this program
    can use goes into its own home.

    Args:
        folder: The old installation.
        family: The family it belongs to.
        planner: Migrates the configurations in it.

    Attributes:
        folder: The old installation.
        writes: File -> its new content, so far.
        copies: Files and folders for the backup.
        references: Large files that the backup records without copying them.
        notes: Further content of the backup, by name.
        effects: What is done besides writing files.
    """

    def __init__(self, folder: Path, family: Family, planner: Planner) -> None:
        self.folder = folder
        self.writes: dict[Path, bytes | None] = {}
        self.copies: list[Path] = []
        self.references: list[Path] = []
        self.notes: dict[str, bytes] = {}
        self.effects: list[EffectPlan] = []
        self._family = family
        self._planner = planner
        self._step = ""
        self._keys: list[KeyFate] = []
        self._added: list[str] = []
        self._findings: list[Finding] = []

    def begin_step(self, name: str) -> None:
        """Say which step the following changes belong to."""
        self._step = name

    # The old side -------------------------------------------------------------------------------------

    def files(self, pattern: str = "**/*") -> Iterator[Path]:
        """The files of the old folder that match a pattern, in order."""
        yield from sorted(path for path in self.folder.glob(pattern) if path.is_file())

    def migrate_config(self, path: Path, options: Mapping[str, str] | None = None) -> MigratedConfig | None:
        """Bring a configuration of the home to the current version, in memory.

        What cannot be understood or migrated becomes a finding, and does not keep the rest from it.

        Args:
            path: The file.
            options: What the user decided.

        Returns:
            The result; None if it is no configuration of this family, or can't be migrated.
        """
        candidate = Candidate(path)
        wishes = Wishes(family=self._family.name, kind=None, options=dict(options or {}))
        try:
            detection = detect(candidate, self._planner.graph, wishes)
            if detection is None or detection.kind is not Kind.CONFIG:
                return None
            target = self._family.current_version(Kind.CONFIG)
            _, outcome = self._planner.run_steps(candidate, detection, target, wishes.options)
        except MigrationError as error:
            self.warn(f"{path.name} was left out: {error}")
            return None
        data = outcome.writes[path]
        assert data is not None
        errors = [finding for finding in outcome.findings if finding.severity is Severity.ERROR]
        if errors:
            self.warn(f"{path.name} was left out: {'; '.join(map(str, errors))}")
            return None
        document = read_document(data, candidate.format or "json", name=str(path))
        return MigratedConfig(
            path=path,
            detection=detection,
            data=data,
            value=document.value,
            account=outcome.account,
            findings=outcome.findings,
        )

    # The new side -------------------------------------------------------------------------------------

    def merge_settings(self, config: MigratedConfig) -> None:
        """Carry a migrated configuration into this program's settings.

        Values that came before in this plan, and those the settings file has already, give way; each such
        case becomes a finding.
        """
        target = self._planner.paths.config_file
        existing = self.writes.get(target) or _read(target)
        try:
            merged = merge_settings(existing, config.data, source=config.path)
        except DocumentSyntaxError as error:
            self.error(f"the settings file {target} can't be understood: {error}")
            return
        self.writes[target] = merged.data
        name = config.path.name
        for finding in (*config.findings, *merged.findings):
            self._findings.append(attrs.evolve(finding, message=f"{name}: {finding.message}"))
        self._keys += [attrs.evolve(key, key=f"{name}: {key.key}") for key in config.account.keys]
        self._added += [key for key in config.account.added if key not in self._added]

    def write(self, path: Path, data: bytes) -> None:
        """Plan a file of this program's home."""
        self.writes[path] = data

    def account_for(self, key: KeyFate) -> None:
        """Say what becomes of something in the home that is no key of a configuration."""
        self._keys.append(key)

    def effect(self, kind: str, payload: dict[str, Any], summary: str, *, of_family: bool = False) -> None:
        """Plan something besides writing files.

        Args:
            kind: What carries it out.
            payload: What to do, as plain data.
            summary: The same for people, one sentence.
            of_family: Whether the family carries it out, and not the core.
        """
        family = self._family.name if of_family else ""
        self.effects.append(EffectPlan(kind=kind, payload=payload, summary=summary, family=family))

    def account(self) -> Account:
        """What becomes of every key of the configurations, and of everything else that was accounted for."""
        return Account(keys=tuple(self._keys), added=tuple(self._added))

    # Telling ------------------------------------------------------------------------------------------

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that was told, in order."""
        return tuple(self._findings)

    def error(self, message: str) -> None:
        """Say what makes it impossible to migrate this home; nothing will be written."""
        self._find(Severity.ERROR, message)

    def warn(self, message: str) -> None:
        """Say what is probably not as its owner thinks."""
        self._find(Severity.WARNING, message)

    def todo(self, message: str) -> None:
        """Say what a person must still do."""
        self._find(Severity.TODO, message)

    def note(self, message: str) -> None:
        """Say what is worth knowing."""
        self._find(Severity.NOTE, message)

    def _find(self, severity: Severity, message: str) -> None:
        self._findings.append(Finding(severity=severity, message=message, step=self._step))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
