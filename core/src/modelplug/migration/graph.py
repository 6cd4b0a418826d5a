"""Which steps lead from one version to another: pure, without any input or output."""

from __future__ import annotations

import difflib
from collections import deque
from typing import TYPE_CHECKING

import attrs

from modelplug.errors import (
    AmbiguousKindError,
    FutureVersionError,
    MigrationLoopError,
    NoMigrationPathError,
    UnknownFamilyError,
)
from modelplug.migration.steps import Family, Kind, Migration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modelplug.migration.versions import Version

__all__ = ["MigrationGraph", "Step"]


@attrs.frozen(kw_only=True)
class Step:
    """A migration in the direction a path takes it.

    Attributes:
        migration: The migration.
        backward: Whether it is a downgrade.
    """

    migration: type[Migration]
    backward: bool = False

    @property
    def source(self) -> Version:
        """The version before."""
        return self.migration.target if self.backward else self.migration.source

    @property
    def target(self) -> Version:
        """The version after."""
        return self.migration.source if self.backward else self.migration.target


class MigrationGraph:
    """The families and steps of all plugins, joined.

    Args:
        families: One entry per family.
        steps: The steps, in any order.

    Raises:
        MigrationLoopError: Upgrades lead in a circle.
        UnknownFamilyError: A step names a family that nobody brings.
    """

    def __init__(self, families: Iterable[Family], steps: Iterable[type[Migration]]) -> None:
        self._families = {family.name: family for family in families}
        self._steps: dict[tuple[str, Kind], list[type[Migration]]] = {}
        for step in steps:
            self.family(step.family)
            self._steps.setdefault((step.family, step.kind), []).append(step)
        for (family, kind), found in self._steps.items():
            _refuse_loops(family, kind, found)

    @property
    def families(self) -> tuple[Family, ...]:
        """Every family, by name."""
        return tuple(self._families[name] for name in sorted(self._families))

    def family(self, name: str) -> Family:
        """The family of that name.

        Raises:
            UnknownFamilyError: There is none; the error names the nearest.
        """
        if name not in self._families:
            near = difflib.get_close_matches(name, self._families, n=1)
            raise UnknownFamilyError(
                f"there is no migration family {name!r}", family=name, known=sorted(self._families), near=near
            )
        return self._families[name]

    def kinds(self, family: str) -> tuple[Kind, ...]:
        """The kinds a family has steps for."""
        self.family(family)
        return tuple(kind for kind in Kind if (family, kind) in self._steps)

    def only_kind(self, family: str) -> Kind:
        """The kind of a family that has steps for one kind only.

        Raises:
            AmbiguousKindError: It has several, or none.
        """
        kinds = self.kinds(family)
        if len(kinds) != 1:
            raise AmbiguousKindError(
                f"the family {family} has steps for {' and '.join(kinds) or 'nothing'}",
                family=family,
                kinds=tuple(kind.value for kind in kinds),
            )
        return kinds[0]

    def steps(self, family: str, kind: Kind | None = None) -> Iterator[type[Migration]]:
        """The steps of a family, by version; of one kind, or of all."""
        self.family(family)
        kinds = list(Kind) if kind is None else [kind]
        found = [step for entry in kinds for step in self._steps.get((family, entry), [])]
        yield from sorted(found, key=lambda step: (step.source, step.target, list(Kind).index(step.kind)))

    def path(self, family: str, kind: Kind, source: Version, target: Version) -> tuple[Step, ...]:
        """The steps from one version to another; the fewest, and of equally many those with larger strides.

        Args:
            family: The family.
            kind: What is migrated.
            source: The version there is.
            target: The version wanted.

        Raises:
            FutureVersionError: The source is newer than anything known.
            NoMigrationPathError: Nothing leads there.
        """
        entry = self.family(family)
        newest = max(entry.versions[-1].version, *(version.version for version in entry.versions))
        if source > newest:
            raise FutureVersionError(
                f"version {source} of {family} is newer than any this program knows",
                family=family,
                version=str(source),
                newest=str(newest),
            )
        if source == target:
            return ()
        if source < entry.oldest:
            raise self._no_path(entry, kind, source, target, f"the oldest with a way on is {entry.oldest}")
        found = self._search(family, kind, source, target)
        if found is None:
            raise self._no_path(entry, kind, source, target, self._hint(family, kind, source, target))
        return found

    def _search(self, family: str, kind: Kind, source: Version, target: Version) -> tuple[Step, ...] | None:
        backward = target < source
        queue: deque[tuple[Version, tuple[Step, ...]]] = deque([(source, ())])
        seen = {source}
        while queue:
            version, path = queue.popleft()
            if version == target:
                return path
            for step in self._onward(family, kind, version, backward=backward):
                # A step past the target only leads away from it.
                passes = step.target < target if backward else step.target > target
                if step.target not in seen and not passes:
                    seen.add(step.target)
                    queue.append((step.target, (*path, step)))
        return None

    def _onward(self, family: str, kind: Kind, version: Version, *, backward: bool) -> list[Step]:
        steps = [
            Step(migration=step, backward=backward)
            for step in self._steps.get((family, kind), [])
            if not backward or step.is_reversible()
        ]
        found = [step for step in steps if step.source == version]
        return sorted(found, key=lambda step: step.target, reverse=not backward)

    def _hint(self, family: str, kind: Kind, source: Version, target: Version) -> str:
        if target < source:
            lossy = [
                step
                for step in self._steps.get((family, kind), [])
                if target < step.target <= source and not step.is_reversible()
            ]
            if lossy:
                return f"the way back from {lossy[0].target} would lose something ({lossy[0].summary()})"
        return "no step leads there"

    def _no_path(
        self, family: Family, kind: Kind, source: Version, target: Version, why: str
    ) -> NoMigrationPathError:
        return NoMigrationPathError(
            f"there is no way from {family.name_of(source)} to {family.name_of(target)} "
            f"for a {kind.value} of {family.name}",
            family=family.name,
            kind=kind.value,
            source=str(source),
            target=str(target),
            why=why,
        )


def _refuse_loops(family: str, kind: Kind, steps: list[type[Migration]]) -> None:
    """Make sure that upgrading comes to an end."""
    onward: dict[Version, list[Version]] = {}
    for step in steps:
        onward.setdefault(step.source, []).append(step.target)
    done: set[Version] = set()

    def visit(version: Version, trail: tuple[Version, ...]) -> None:
        if version in trail:
            circle = [*trail[trail.index(version) :], version]
            raise MigrationLoopError(
                f"the {kind.value} steps of {family} lead in a circle",
                family=family,
                kind=kind.value,
                versions=[str(entry) for entry in circle],
            )
        if version not in done:
            for target in onward.get(version, []):
                visit(target, (*trail, version))
            done.add(version)

    for version in list(onward):
        visit(version, ())
