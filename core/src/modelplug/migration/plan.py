"""What a migration would do: plain records that can be shown, saved, and applied later."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import attrs

from modelplug.migration.account import Account, Fate, Finding, KeyFate, Severity
from modelplug.migration.checkpoints.build import BuildPlan
from modelplug.migration.left_alone import LeftAlone

__all__ = ["EffectPlan", "FilePlan", "Plan", "PlannedChange", "StepUse", "sha256"]

STATUSES = ("migrate", "current", "unknown", "refused")
"""What can become of a file."""

PLAN_FORMAT = 1
"""The version of a saved plan."""


def sha256(data: bytes) -> str:
    """The SHA-256 of some bytes, as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


@attrs.frozen(kw_only=True)
class PlannedChange:
    """One file's new content.

    Attributes:
        path: The file.
        before: The SHA-256 of what stands there; None where there is no file.
        after: The new content; None where the file goes.
        diff: The unified diff; empty for content that is no text.
    """

    path: Path
    before: str | None
    after: bytes | None
    diff: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with everything needed to apply it."""
        return {
            "path": str(self.path),
            "before": self.before,
            "after": None if self.after is None else base64.b64encode(self.after).decode(),
            "after_sha256": None if self.after is None else sha256(self.after),
            "diff": self.diff,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PlannedChange:
        """The change that `to_dict` wrote.

        Raises:
            ValueError: The content is not what its SHA-256 says.
        """
        after = None if data["after"] is None else base64.b64decode(data["after"], validate=True)
        if after is not None and sha256(after) != data["after_sha256"]:
            msg = f"the new content of {data['path']} does not have the SHA-256 it should have"
            raise ValueError(msg)
        return cls(path=Path(data["path"]), before=data["before"], after=after, diff=data["diff"])


@attrs.frozen(kw_only=True)
class EffectPlan:
    """Something done besides writing files.

    Attributes:
        kind: What carries it out, by name.
        payload: What to do, as plain data.
        summary: The same for people, one sentence.
        family: The family whose effect it is; empty for those of the core.
    """

    kind: str
    payload: dict[str, Any]
    summary: str
    family: str = ""


@attrs.frozen(kw_only=True)
class StepUse:
    """One step of a plan.

    Attributes:
        source: The version before, as users call it.
        target: The version after.
        summary: What changes, one line.
        plugin: The module that brings it.
        backward: Whether it is a downgrade.
    """

    source: str
    target: str
    summary: str
    plugin: str = ""
    backward: bool = False

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}: {self.summary}"


@attrs.frozen(kw_only=True)
class FilePlan:
    """What would become of one file or folder.

    Attributes:
        path: The file, links resolved.
        status: `migrate`, `current` (nothing to do), `unknown` (of no family) or `refused`.
        given_as: How the user named it.
        family: The family it belongs to; empty if unknown.
        kind: What it is; empty if unknown.
        source: The version it has, as users call it.
        target: The version it would have.
        confidence: How sure the detection is: `certain`, `likely` or `possible`.
        evidence: What was seen in the content.
        steps: The steps, in order.
        changes: The files that would change; one for a file, any number for a folder.
        account: What becomes of every key.
        findings: What a person should know.
        copies: Files and folders that go into the backup besides those that change.
        references: Large files that the backup records without copying them.
        notes: Further content of the backup, by name.
        effects: What is done besides writing files.
        build: The large files that are written when the plan is applied; None if there are none.
        error: Why it was refused, as `ModelplugError.to_dict` says it.
    """

    path: Path
    status: str
    given_as: Path
    family: str = ""
    kind: str = ""
    source: str = ""
    target: str = ""
    confidence: str = ""
    evidence: tuple[str, ...] = ()
    steps: tuple[StepUse, ...] = ()
    changes: tuple[PlannedChange, ...] = ()
    account: Account = attrs.field(factory=Account)
    findings: tuple[Finding, ...] = ()
    copies: tuple[Path, ...] = ()
    references: tuple[Path, ...] = ()
    notes: dict[str, bytes] = attrs.field(factory=dict)
    effects: tuple[EffectPlan, ...] = ()
    build: BuildPlan | None = None
    error: dict[str, Any] | None = None

    @property
    def diff(self) -> str:
        """The unified diff of everything that would change."""
        return "".join(change.diff for change in self.changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with everything needed to apply it."""
        return {
            "path": str(self.path),
            "status": self.status,
            "given_as": str(self.given_as),
            "family": self.family,
            "kind": self.kind,
            "source": self.source,
            "target": self.target,
            "confidence": self.confidence,
            "evidence": list(self.evidence),
            "steps": [attrs.asdict(step) for step in self.steps],
            "changes": [change.to_dict() for change in self.changes],
            "account": self.account.to_dict(),
            "findings": [finding.to_dict() for finding in self.findings],
            "copies": [str(path) for path in self.copies],
            "references": [str(path) for path in self.references],
            "notes": {name: base64.b64encode(data).decode() for name, data in self.notes.items()},
            "effects": [attrs.asdict(effect) for effect in self.effects],
            "build": None if self.build is None else self.build.to_dict(),
            "error": self.error,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> FilePlan:
        """The plan of one file that `to_dict` wrote.

        Raises:
            ValueError: It is not one.
            KeyError: Something is missing.
        """
        keys = tuple(KeyFate(**{**key, "fate": Fate(key["fate"])}) for key in data["account"]["keys"])
        findings = (Finding(**{**one, "severity": Severity(one["severity"])}) for one in data["findings"])
        plain = ("status", "family", "kind", "source", "target", "confidence", "error")
        return cls(
            **{name: data[name] for name in plain},
            path=Path(data["path"]),
            given_as=Path(data["given_as"]),
            evidence=tuple(data["evidence"]),
            steps=tuple(StepUse(**step) for step in data["steps"]),
            changes=tuple(PlannedChange.from_dict(change) for change in data["changes"]),
            account=Account(keys=keys, added=tuple(data["account"]["added"])),
            findings=tuple(findings),
            copies=tuple(Path(path) for path in data["copies"]),
            references=tuple(Path(path) for path in data["references"]),
            notes={name: base64.b64decode(text) for name, text in data["notes"].items()},
            effects=tuple(EffectPlan(**effect) for effect in data["effects"]),
            build=BuildPlan.from_dict(data["build"]) if data.get("build") else None,
        )


@attrs.frozen(kw_only=True)
class Plan:
    """What a migration would do.

    Attributes:
        files: One entry per file or folder.
        created: When it was made, in UTC, as ISO 8601 spells it.
        program: The version of modelplug that made it.
        options: What the user decided.
        aliases: Further names of the files: links, and files named twice.
        left_alone: Files below a folder that are called like checkpoints, and that no step takes.
    """

    files: tuple[FilePlan, ...]
    created: str
    program: str
    options: dict[str, str] = attrs.field(factory=dict)
    aliases: dict[str, str] = attrs.field(factory=dict)
    left_alone: tuple[LeftAlone, ...] = ()

    def with_status(self, status: str) -> tuple[FilePlan, ...]:
        """The files of one status."""
        return tuple(file for file in self.files if file.status == status)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, which `from_dict` reads again."""
        counts = {status: len(self.with_status(status)) for status in STATUSES}
        return {
            "plan": PLAN_FORMAT,
            "created": self.created,
            "program": self.program,
            "options": self.options,
            "aliases": self.aliases,
            "counts": counts,
            "files": [file.to_dict() for file in self.files],
            "left_alone": [file.to_dict() for file in self.left_alone],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Plan:
        """The plan that `to_dict` wrote.

        Raises:
            ValueError: It is no plan, or one of a later program.
        """
        if "plan" not in data:
            msg = "this is no saved plan"
            raise ValueError(msg)
        if data["plan"] != PLAN_FORMAT:
            msg = f"it is a plan of format {data['plan']}, and this program reads format {PLAN_FORMAT}"
            raise ValueError(msg)
        try:
            files = tuple(FilePlan.from_dict(file) for file in data["files"])
            left_alone = tuple(LeftAlone.from_dict(file) for file in data.get("left_alone", ()))
            return cls(
                files=files,
                created=data["created"],
                program=data["program"],
                options=dict(data["options"]),
                aliases=dict(data["aliases"]),
                left_alone=left_alone,
            )
        except (KeyError, TypeError, AttributeError) as error:
            msg = f"it is damaged: {error}"
            raise ValueError(msg) from error
