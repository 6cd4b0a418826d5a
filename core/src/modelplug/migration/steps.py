"""What a migration is made of: families, their versions, and the steps between them.

A plugin brings families and steps through the hook `modelplug_migrations`. A step is a class: its docstring
is what `modelplug migrate explain` prints, its `upgrade` does the work on one artifact, and its `downgrade`,
where nothing is lost, undoes it. Steps do no input or output of their own.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from modelplug.migration.versions import Version

if TYPE_CHECKING:
    from pathlib import Path

    from modelplug.formats.model_info import ModelInfo
    from modelplug.migration.account import Finding
    from modelplug.migration.candidates import Candidate
    from modelplug.migration.checkpoints import CheckpointFormat
    from modelplug.migration.editing import ConfigEditor
    from modelplug.migration.transactions import EffectHandler

__all__ = [
    "Confidence",
    "Detection",
    "Family",
    "FamilyVersion",
    "KeyPath",
    "Kind",
    "Migration",
    "StepContext",
]

KeyPath = tuple["str | int", ...]
"""The way from the root of a configuration: names, literal even where they hold dots, positions in lists."""


class Kind(str, enum.Enum):
    """What a file or folder is to a migration."""

    CONFIG = "config"
    CHECKPOINT = "checkpoint"
    SOURCE = "source"
    HOME = "home"


class Confidence(enum.IntEnum):
    """How sure a detection is."""

    POSSIBLE = 1
    LIKELY = 2
    CERTAIN = 3


@attrs.frozen(kw_only=True)
class Detection:
    """What something is, and how that was seen.

    Attributes:
        family: The family it belongs to.
        kind: What it is.
        version: The version it has.
        confidence: How sure that is.
        evidence: What was seen in the content, one phrase each.
    """

    family: str
    kind: Kind
    version: Version
    confidence: Confidence
    evidence: tuple[str, ...]


@attrs.frozen(kw_only=True)
class FamilyVersion:
    """One version of a family's files.

    Attributes:
        version: Its numbers.
        label: What users call it, for example `legacy`; the numbers by default. Labels may be shared by
            versions that differ in layout only.
        summary: What is in it, one sentence.
    """

    version: Version
    label: str = ""
    summary: str = ""

    @property
    def name(self) -> str:
        """The label, or the numbers."""
        return self.label or str(self.version)


@attrs.frozen(kw_only=True)
class Family:
    """A line of programs whose files are migrated.

    Attributes:
        name: What it is called on the command line, for example `gguf-loader`.
        title: What it is, one sentence.
        versions: Every version it ever had, oldest first.
        current: The version that is in force now, by kind; kinds that are not named take the last version.
        detect: Tells what a candidate is; looks at the content only and returns nothing where it is not
            this family's.
        oldest: The oldest version there are steps for; an older one is refused with a reason.
        homes: Folders where installations of this family usually are; called with the user's home folder
            and the environment, and may name folders that do not exist.
        options: What a user may decide, by name, with an explanation each.
        extras: Where in a configuration that is kept which nothing uses any more.
        effects: What carries out the family's effects besides files, by the kind of effect.
        foreign: Says of a file that programs of this family have to do with, but that is nothing to migrate,
            what it is: `a list of datasets`; empty for any other.
        check: Finds what is wrong with a configuration of the current version.
        checkpoints: How its checkpoints are read; None where it has none.
    """

    name: str
    title: str
    versions: tuple[FamilyVersion, ...]
    detect: Callable[[Candidate], Iterable[Detection]]
    oldest: Version
    current: Mapping[Kind, Version] = attrs.field(factory=dict)
    homes: Callable[[Path, Mapping[str, str]], Iterable[Path]] | None = None
    options: Mapping[str, str] = attrs.field(factory=dict)
    extras: KeyPath = ("extras",)
    effects: Mapping[str, EffectHandler] = attrs.field(factory=dict)
    foreign: Callable[[Candidate], str] | None = None
    check: Callable[[Candidate], Iterable[Finding]] | None = None
    checkpoints: CheckpointFormat | None = None

    def current_version(self, kind: Kind) -> Version:
        """The version that files of this kind are brought to."""
        return self.current.get(kind, self.versions[-1].version)

    def find_versions(self, text: str) -> tuple[Version, ...]:
        """The versions that a label or a number names, oldest first; empty if there is none."""
        labelled = tuple(entry.version for entry in self.versions if entry.label == text)
        if labelled:
            return labelled
        try:
            wanted = Version.parse(text)
        except ValueError:
            return ()
        return tuple(entry.version for entry in self.versions if entry.version == wanted)

    def name_of(self, version: Version) -> str:
        """What users call a version."""
        return next((entry.name for entry in self.versions if entry.version == version), str(version))


@attrs.frozen(kw_only=True)
class StepContext:
    """What a step may know besides the artifact.

    Attributes:
        path: The file that is migrated.
        options: What the user decided, by the names in `Family.options`.
        inspect: Looks at a model file; None where there is none or it is none.
        read: Gives what another configuration holds, by its path from the folder of the file; None where
            there is none, or it can't be understood.
    """

    path: Path
    options: Mapping[str, str] = attrs.field(factory=dict)
    inspect: Callable[[str], ModelInfo | None] = lambda _path: None
    read: Callable[[str], Any] = lambda _path: None


class Migration:
    """One step of one family between two versions, for one kind of artifact.

    Subclasses set the class attributes and override `upgrade`; where the step loses nothing they override
    `downgrade` too. A step that only renames needs neither: `renames` works in both directions. The class's
    docstring is the explanation people read: its first line says what changes, the rest says how.

    Attributes:
        family: The family it belongs to.
        kind: What it works on.
        source: The version it starts from.
        target: The version it leads to.
        renames: Old place -> new place of configuration keys that only move.
        breaking: What no longer works as it did, one sentence each.
        adds: New keys or abilities, one sentence each.
        deprecates: What still works and will go, one sentence each.
    """

    family: ClassVar[str]
    kind: ClassVar[Kind] = Kind.CONFIG
    source: ClassVar[Version]
    target: ClassVar[Version]
    renames: ClassVar[Mapping[KeyPath, KeyPath]] = {}
    breaking: ClassVar[tuple[str, ...]] = ()
    adds: ClassVar[tuple[str, ...]] = ()
    deprecates: ClassVar[tuple[str, ...]] = ()

    def upgrade(self, artifact: Any, context: StepContext) -> None:  # noqa: ARG002  for subclasses
        """Bring an artifact of the source version to the target version.

        Args:
            artifact: A `ConfigEditor` for configurations, a `CheckpointEditor` for checkpoints; for others it
                depends on `kind`.
            context: What the step may know besides.
        """
        self.apply_renames(artifact)

    def downgrade(self, artifact: Any, context: StepContext) -> None:  # noqa: ARG002  for subclasses
        """Bring an artifact of the target version back; only called where `reversible` is true."""
        self.apply_renames(artifact, backward=True)

    def apply_renames(self, editor: ConfigEditor, *, backward: bool = False) -> None:
        """Move every key that `renames` names and the artifact has."""
        for old, new in self.renames.items():
            start, end = (new, old) if backward else (old, new)
            if editor.has(start):
                editor.move(start, end)

    @classmethod
    def is_reversible(cls) -> bool:
        """Whether the way back loses nothing: it has a downgrade of its own, or it only renames."""
        if cls.downgrade is not Migration.downgrade:
            return True
        return cls.upgrade is Migration.upgrade and bool(cls.renames)

    @classmethod
    def summary(cls) -> str:
        """What changes, one line."""
        return cls.explanation().partition("\n")[0].rstrip(".")

    @classmethod
    def explanation(cls) -> str:
        """The whole docstring."""
        # Its own: what the base class says explains no step.
        return inspect.cleandoc(cls.__doc__ or "")
