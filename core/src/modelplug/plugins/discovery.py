"""Finds plugins from the metadata of installed distributions. Nothing of a plugin is imported here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.plugins.installs import source_of, uninstall_command
from modelplug.plugins.records import PluginRecord, PluginState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from importlib_metadata import EntryPoint

__all__ = ["Candidate", "discover", "installed_entry_points", "normalised"]


@attrs.frozen(kw_only=True)
class Candidate:
    """A plugin as its metadata describes it.

    Attributes:
        record: What is known of it so far.
        entry_point: What to load.
        directory: The directory its distribution's metadata lies in; empty if unknown.
    """

    record: PluginRecord
    entry_point: EntryPoint
    directory: str = ""


def normalised(distribution: str) -> str:
    """A distribution's name in the form in which two spellings of it are equal."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def installed_entry_points(group: str, problems: list[str]) -> Iterator[EntryPoint]:
    """Every entry point of `group` that is installed, the first of each distribution's copies on the path.

    Args:
        group: The entry-point group.
        problems: Gets a sentence for each distribution whose metadata can't be read.
    """
    import importlib_metadata

    header = re.compile(rf"^\s*\[\s*{re.escape(group)}\s*\]", re.MULTILINE)
    seen: set[str] = set()
    for distribution in importlib_metadata.distributions():
        try:
            # Most distributions have no plugin of ours: looking for the header spares parsing the rest.
            text = distribution.read_text("entry_points.txt")
            if not text or not header.search(text):
                continue
            name = normalised(distribution.name)
            entry_points = list(distribution.entry_points.select(group=group))
        except Exception as error:  # noqa: BLE001  one broken distribution must not hide the others
            where = _directory(distribution) or "an unknown place"
            problems.append(
                f"the metadata of a distribution in {where} can't be read ({type(error).__name__}: {error}); "
                "reinstall what was installed last"
            )
            continue
        if name not in seen:
            seen.add(name)
            yield from entry_points


def discover(entry_points: Iterable[EntryPoint]) -> list[Candidate]:
    """A candidate for each entry point, by name; of two with the same name one is marked as failed."""
    by_name: dict[str, list[Candidate]] = {}
    for entry_point in entry_points:
        candidate = _candidate(entry_point)
        by_name.setdefault(candidate.record.name, []).append(candidate)
    result: list[Candidate] = []
    for name in sorted(by_name):
        same = by_name[name]
        # The rule needs the table of known backends, whose import is spared where there is nothing to decide.
        winner, *losers = sorted(same, key=_claim) if len(same) > 1 else same
        result.append(winner)
        result.extend(_left_out(loser, winner) for loser in losers)
    return result


def _candidate(entry_point: EntryPoint) -> Candidate:
    distribution = entry_point.dist
    if distribution is None:
        return Candidate(
            record=PluginRecord(name=entry_point.name, module=entry_point.value), entry_point=entry_point
        )
    return Candidate(
        record=PluginRecord(
            name=entry_point.name,
            distribution=distribution.name or "",
            version=distribution.version or "",
            module=entry_point.value,
            source=source_of(distribution.name or "", distribution.read_text("direct_url.json")),
        ),
        entry_point=entry_point,
        directory=_directory(distribution),
    )


def _directory(distribution: Any) -> str:
    try:
        return str(distribution.locate_file(""))
    except NotImplementedError:
        # Distributions in unusual places (inside an archive, made up at run time) have no directory.
        return ""


def _claim(candidate: Candidate) -> tuple[bool, str]:
    """Sorts entry points of the same name so that the one with the better claim to it comes first.

    Plugins of this project are in distributions named after them; anybody else's of that name come later.
    """
    distribution = normalised(candidate.record.distribution)
    return distribution != f"modelplug-{normalised(candidate.record.name)}", distribution


def _left_out(loser: Candidate, winner: Candidate) -> Candidate:
    record = loser.record
    return attrs.evolve(
        loser,
        record=attrs.evolve(
            record,
            name=f"{record.name}@{record.distribution or record.module}",
            state=PluginState.FAILED,
            cause=f"its entry point is named {record.name!r}, as is that of {winner.record.origin}, "
            "which has the name",
            remedy=f"Uninstall one of them: {uninstall_command(record.distribution or record.name)}",
        ),
    )
