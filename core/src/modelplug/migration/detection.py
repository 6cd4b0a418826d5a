"""What a candidate is: every family looks at its content, and the surest answer counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from modelplug.errors import AmbiguousKindError, FutureVersionError, UnknownArtifactError
from modelplug.migration.steps import Confidence, Detection, Family, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelplug.migration.candidates import Candidate
    from modelplug.migration.graph import MigrationGraph
    from modelplug.migration.versions import Version

__all__ = ["Wishes", "detect"]


@attrs.frozen(kw_only=True)
class Wishes:
    """What a user says in place of what detection would find.

    Attributes:
        family: The family's name; empty lets detection find it.
        kind: The kind; None lets detection find it.
        source: The version or label it is of; empty lets detection find it.
        target: The version or label wanted; empty takes the family's current one.
        options: What else the user decided, by the names in `Family.options`.
    """

    family: str = ""
    kind: Kind | None = None
    source: str = ""
    target: str = ""
    options: dict[str, str] = attrs.field(factory=dict)


def detect(candidate: Candidate, graph: MigrationGraph, wishes: Wishes) -> Detection | None:
    """What a candidate is; None if it is nothing that any family knows.

    Args:
        candidate: The file or folder.
        graph: The families there are.
        wishes: What the user said; goes before anything that is found.

    Raises:
        AmbiguousKindError: Several answers are equally good.
        FutureVersionError: It was written by a later program.
        UnknownArtifactError: The user said what it is, but not all of it, and the rest can't be seen.
    """
    families = [graph.family(wishes.family)] if wishes.family else list(graph.families)
    found = [
        detection
        for family in families
        for detection in family.detect(candidate)
        if wishes.kind is None or detection.kind is wishes.kind
    ]
    if wishes.source:
        return _as_told(candidate, graph, wishes, found)
    best = _best(candidate, found)
    if best is None:
        if wishes.family and wishes.kind is not None:
            raise _unseen(candidate, wishes)
        return None
    return best


def _best(candidate: Candidate, found: Sequence[Detection]) -> Detection | None:
    if not found:
        return None
    surest = max(detection.confidence for detection in found)
    best = {(d.family, d.kind, d.version): d for d in found if d.confidence is surest}
    if len(best) > 1:
        readings = [
            f"{d.kind.value} of {d.family} {d.version} ({', '.join(d.evidence)})" for d in best.values()
        ]
        families = {d.family for d in best.values()}
        raise AmbiguousKindError(
            f"it is not clear what {candidate.given_as} is",
            family=families.pop() if len(families) == 1 else "",
            kinds=readings,
            why="it could be " + ", or ".join(readings),
        )
    return next(iter(best.values()))


def _as_told(
    candidate: Candidate, graph: MigrationGraph, wishes: Wishes, found: Sequence[Detection]
) -> Detection:
    """What the user says it is; detection fills in what was not said."""
    family = _family_told(candidate, graph, wishes, found)
    versions = family.find_versions(wishes.source)
    if not versions:
        raise UnknownArtifactError(
            f"{family.name} has no version {wishes.source!r}",
            path=candidate.path,
            why=f"there are {', '.join(dict.fromkeys(entry.name for entry in family.versions))}",
            advice=f"`modelplug migrate explain {family.name}` shows them.",
        )
    seen = [d for d in found if d.family == family.name and d.version in versions]
    if seen:
        return _best(candidate, seen) or seen[0]
    kind = wishes.kind or _kind_told(candidate, graph, family)
    if len(versions) > 1:
        names = [str(version) for version in versions]
        raise AmbiguousKindError(
            f"{wishes.source} is the name of several versions of {family.name}",
            family=family.name,
            kinds=names,
            why=f"{candidate.given_as} looks like none of {', '.join(names)}",
            advice=f"Say which, for example --from {names[0]}.",
        )
    return Detection(
        family=family.name,
        kind=kind,
        version=versions[0],
        confidence=Confidence.CERTAIN,
        evidence=("you said so",),
    )


def _kind_told(candidate: Candidate, graph: MigrationGraph, family: Family) -> Kind:
    """A folder is a home or a checkpoint; a file is of the one other kind, if there is just one."""
    if candidate.is_folder:
        return Kind.HOME if Kind.HOME in graph.kinds(family.name) else Kind.CHECKPOINT
    others = [kind for kind in graph.kinds(family.name) if kind is not Kind.HOME]
    return others[0] if len(others) == 1 else graph.only_kind(family.name)


def _family_told(
    candidate: Candidate, graph: MigrationGraph, wishes: Wishes, found: Sequence[Detection]
) -> Family:
    if wishes.family:
        return graph.family(wishes.family)
    names = sorted({d.family for d in found}) or [family.name for family in graph.families]
    if len(names) == 1:
        return graph.family(names[0])
    raise AmbiguousKindError(
        f"it is not clear which family {candidate.given_as} belongs to",
        kinds=names,
        why=f"a version was given without a family, and there are {', '.join(names)}",
        advice=f"Say which, for example --family {names[0]}.",
    )


def _unseen(candidate: Candidate, wishes: Wishes) -> UnknownArtifactError:
    kind = wishes.kind.value if wishes.kind else "file"
    return UnknownArtifactError(
        f"{candidate.given_as} can't be recognised as a {kind} of {wishes.family}",
        path=candidate.path,
        why="nothing in its content says which version it is",
        advice="Say which with --from.",
    )


def refuse_future(family: Family, version: Version) -> None:
    """Make sure that a version is one the family knows.

    Raises:
        FutureVersionError: It is newer.
    """
    newest = max(entry.version for entry in family.versions)
    if version > newest:
        raise FutureVersionError(
            f"version {version} of {family.name} is newer than any this program knows",
            family=family.name,
            version=str(version),
            newest=str(newest),
        )
