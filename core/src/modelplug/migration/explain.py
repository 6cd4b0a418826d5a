"""Explains the steps between two versions, from what the steps say of themselves."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from modelplug.migration.steps import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.migration.graph import MigrationGraph, Step
    from modelplug.migration.steps import Family, Migration

__all__ = ["as_markdown", "as_plain", "explained_steps"]

_LISTS = (("breaking", "What breaks"), ("adds", "What is new"), ("deprecates", "What will go"))


def explained_steps(
    graph: MigrationGraph, family: str, source: str = "", target: str = "", kind: Kind | None = None
) -> list[tuple[Kind, Step]]:
    """The steps from one version to another, kind by kind; all steps where no versions are given.

    Args:
        graph: The families and steps.
        family: The family.
        source: The version or label to start from; empty for the oldest.
        target: The version or label to arrive at; empty for the current one.
        kind: Only this kind.

    Raises:
        UnknownFamilyError: There is no such family.
        UnknownArtifactError: It has no such version.
        NoMigrationPathError: No kind has a way from one to the other.
    """
    from modelplug.errors import NoMigrationPathError
    from modelplug.migration.graph import Step

    entry = graph.family(family)
    kinds = [kind] if kind else list(graph.kinds(family))
    if not source and not target:
        return [(k, Step(migration=step)) for k in kinds for step in graph.steps(family, k)]
    found: list[tuple[Kind, Step]] = []
    failure: NoMigrationPathError | None = None
    for one in kinds:
        sources = _named(entry, source) if source else tuple(v.version for v in entry.versions)
        targets = _named(entry, target) if target else (entry.current_version(one),)
        for start in sources:
            try:
                path = graph.path(family, one, start, targets[-1])
            except NoMigrationPathError as error:
                failure = failure or error
                continue
            found += [(one, step) for step in path if (one, step) not in found]
    if not found and failure is not None:
        raise failure
    return found


def _named(family: Family, text: str) -> tuple[Any, ...]:
    from pathlib import Path

    from modelplug.errors import UnknownArtifactError

    versions = family.find_versions(text)
    if not versions:
        raise UnknownArtifactError(
            f"{family.name} has no version {text!r}",
            path=Path(),
            why=f"there are {', '.join(dict.fromkeys(entry.name for entry in family.versions))}",
            advice=f"`modelplug migrate explain {family.name}` shows every step.",
        )
    return versions


def as_plain(family: Family, steps: list[tuple[Kind, Step]]) -> list[dict[str, Any]]:
    """The steps as plain data."""
    return [
        {
            "kind": kind.value,
            "source": family.name_of(step.source),
            "target": family.name_of(step.target),
            "source_version": str(step.source),
            "target_version": str(step.target),
            "backward": step.backward,
            "reversible": step.migration.is_reversible(),
            "summary": step.migration.summary(),
            "explanation": step.migration.explanation(),
            **{name: list(getattr(step.migration, name)) for name, _ in _LISTS},
        }
        for kind, step in steps
    ]


def as_markdown(family: Family, steps: list[tuple[Kind, Step]], *, level: int = 2) -> str:
    """The steps as Markdown, for the terminal and for the documentation.

    Args:
        family: The family.
        steps: What `explained_steps` gave.
        level: The level of the headings.
    """
    return "\n".join(line for kind, step in steps for line in _step_lines(family, kind, step, "#" * level))


def _step_lines(family: Family, kind: Kind, step: Step, marks: str) -> Iterator[str]:
    arrow = f"{_full_name(family, step.source)} -> {_full_name(family, step.target)}"
    yield f"{marks} {arrow} ({kind.value})"
    yield ""
    yield from step.migration.explanation().splitlines()
    yield ""
    for name, title in _LISTS:
        entries = getattr(step.migration, name)
        if entries:
            yield f"{title}:"
            yield ""
            for entry in entries:
                yield textwrap.fill(entry, 100, initial_indent="- ", subsequent_indent="  ")
            yield ""
    yield _way_back(step.migration)
    yield ""


def _full_name(family: Family, version: Any) -> str:
    name = family.name_of(version)
    return name if name == str(version) else f"{name} ({version})"


def _way_back(migration: type[Migration]) -> str:
    if migration.is_reversible():
        return "The way back exists, and loses nothing."
    return (
        "There is no step back: use `modelplug migrate rollback`, which restores the bytes from the backup."
    )
