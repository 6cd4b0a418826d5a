# ruff: noqa: ARG002  a protocol gives its implementations more than each of them needs
"""How artifacts of each kind are opened for steps, and what comes of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from modelplug.documents import DocumentSyntaxError
from modelplug.errors import MigrationError
from modelplug.migration.account import Account, Finding
from modelplug.migration.checkpoints.kind import build_of, open_checkpoint
from modelplug.migration.editing import ConfigEditor
from modelplug.migration.homes import HomeEditor
from modelplug.migration.sources import SourceEditor
from modelplug.migration.steps import Kind

if TYPE_CHECKING:
    from modelplug.migration.candidates import Candidate
    from modelplug.migration.checkpoints import CheckpointEditor
    from modelplug.migration.checkpoints.build import BuildPlan
    from modelplug.migration.plan import EffectPlan
    from modelplug.migration.planning import Planner
    from modelplug.migration.steps import Family

__all__ = ["KINDS", "ArtifactKind", "Outcome"]


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of an artifact.

    Attributes:
        writes: File -> its new content; None where the file goes.
        account: What became of every key.
        findings: What a person should know.
        copies: Files and folders that go into the backup besides those that change.
        references: Large files that the backup records without copying them.
        notes: Further content of the backup, by name.
        effects: What is done besides writing files.
        build: The large files that are written when the plan is applied; None if there are none.
    """

    writes: dict[Path, bytes | None] = attrs.field(factory=dict)
    account: Account = attrs.field(factory=Account)
    findings: tuple[Finding, ...] = ()
    copies: tuple[Path, ...] = ()
    references: tuple[Path, ...] = ()
    notes: dict[str, bytes] = attrs.field(factory=dict)
    effects: tuple[EffectPlan, ...] = ()
    build: BuildPlan | None = None


class ArtifactKind(Protocol):
    """Opens artifacts of one kind for steps, and says what came of them."""

    def begin(self, candidate: Candidate, family: Family, planner: Planner) -> Any:
        """What steps work on; it has a method `begin_step(name)`."""

    def finish(self, artifact: Any, candidate: Candidate) -> Outcome:
        """What came of it."""


class _Config:
    def begin(self, candidate: Candidate, family: Family, planner: Planner) -> ConfigEditor:
        try:
            document = candidate.document
        except DocumentSyntaxError as error:
            raise MigrationError(
                f"{candidate.given_as} can't be understood",
                why=str(error),
                advice="Correct it, then plan again; nothing was written.",
            ) from error
        return ConfigEditor(document, extras=family.extras)

    def finish(self, artifact: ConfigEditor, candidate: Candidate) -> Outcome:
        return Outcome(
            writes={candidate.path: artifact.document.render()},
            account=artifact.account(),
            findings=artifact.findings,
        )


class _Source:
    def begin(self, candidate: Candidate, family: Family, planner: Planner) -> SourceEditor:
        return SourceEditor(candidate.data, declared=candidate.suffix in (".py", ".pyi"))

    def finish(self, artifact: SourceEditor, candidate: Candidate) -> Outcome:
        return Outcome(writes={candidate.path: artifact.render()}, findings=artifact.findings)


class _Home:
    def begin(self, candidate: Candidate, family: Family, planner: Planner) -> HomeEditor:
        return HomeEditor(candidate.path, family, planner)

    def finish(self, artifact: HomeEditor, candidate: Candidate) -> Outcome:
        return Outcome(
            writes=dict(artifact.writes),
            account=artifact.account(),
            findings=artifact.findings,
            copies=tuple(artifact.copies),
            references=tuple(artifact.references),
            notes=dict(artifact.notes),
            effects=tuple(artifact.effects),
        )


class _Checkpoint:
    def begin(self, candidate: Candidate, family: Family, planner: Planner) -> CheckpointEditor:
        return open_checkpoint(candidate, family)

    def finish(self, artifact: CheckpointEditor, candidate: Candidate) -> Outcome:
        if artifact.is_refused:
            return Outcome(findings=artifact.findings)
        return Outcome(account=artifact.account(), findings=artifact.findings, build=build_of(artifact))


KINDS: dict[Kind, ArtifactKind] = {
    Kind.CONFIG: _Config(),
    Kind.CHECKPOINT: _Checkpoint(),
    Kind.SOURCE: _Source(),
    Kind.HOME: _Home(),
}
"""How each kind is handled."""
