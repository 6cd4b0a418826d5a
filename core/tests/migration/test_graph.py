"""The graph: paths both ways, and clear refusals that carry data."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelplug.errors import (
    AmbiguousKindError,
    FutureVersionError,
    MigrationLoopError,
    NoMigrationPathError,
    UnknownFamilyError,
)
from modelplug.migration.graph import MigrationGraph
from modelplug.migration.steps import Family, FamilyVersion, Kind, Migration
from modelplug.migration.versions import Version


def step(source: int, target: int, *, kind: Kind = Kind.CONFIG, reversible: bool = False) -> type[Migration]:
    """A step of the family `line`."""
    names: dict[str, Any] = {
        "__doc__": f"From {source} to {target}.",
        "family": "line",
        "kind": kind,
        "source": Version(source),
        "target": Version(target),
    }
    if reversible:
        names["renames"] = {("a",): ("b",)}
    return type(f"Step{source}To{target}", (Migration,), names)


def family(newest: int, **rest: Any) -> Family:
    """The family `line` with versions from 1 to `newest`."""
    versions = tuple(FamilyVersion(version=Version(number)) for number in range(1, newest + 1))
    values: dict[str, Any] = {"oldest": Version(1), "detect": lambda _candidate: (), **rest}
    return Family(name="line", title="A line", versions=versions, **values)


def spelled(path: tuple[Any, ...]) -> list[str]:
    """A path as `1>2`, oldest first."""
    return [f"{entry.source.major}>{entry.target.major}" for entry in path]


def test_a_path_takes_every_step_in_order() -> None:
    """Steps given in any order are walked from the source to the target."""
    graph = MigrationGraph([family(4)], [step(3, 4), step(1, 2), step(2, 3)])

    assert spelled(graph.path("line", Kind.CONFIG, Version(1), Version(4))) == ["1>2", "2>3", "3>4"]
    assert spelled(graph.path("line", Kind.CONFIG, Version(2), Version(3))) == ["2>3"]
    assert graph.path("line", Kind.CONFIG, Version(2), Version(2)) == ()


def test_the_path_with_the_fewest_steps_is_taken() -> None:
    """A direct step goes before a way round; it never overshoots the target."""
    steps = [step(1, 2), step(2, 3), step(3, 4), step(1, 3), step(3, 5)]
    graph = MigrationGraph([family(5)], steps)

    assert spelled(graph.path("line", Kind.CONFIG, Version(1), Version(4))) == ["1>3", "3>4"]


def test_the_way_back_takes_only_steps_that_lose_nothing() -> None:
    """A downgrade walks reversible steps backward; one that is not is named in the refusal."""
    graph = MigrationGraph([family(3)], [step(1, 2), step(2, 3, reversible=True)])

    (back,) = graph.path("line", Kind.CONFIG, Version(3), Version(2))
    assert (back.backward, back.source, back.target) == (True, Version(3), Version(2))
    with pytest.raises(NoMigrationPathError, match="would lose something") as caught:
        graph.path("line", Kind.CONFIG, Version(3), Version(1))
    assert (caught.value.source, caught.value.target) == ("3.0", "1.0")


def test_no_path_is_an_error_with_data() -> None:
    """It says from where to where, of what, and why not."""
    graph = MigrationGraph([family(3)], [step(1, 2)])
    with pytest.raises(NoMigrationPathError) as caught:
        graph.path("line", Kind.CONFIG, Version(1), Version(3))

    error = caught.value
    assert (error.family, error.kind, error.source, error.target) == ("line", "config", "1.0", "3.0")
    assert "no step leads there" in error.why
    assert "explain line" in error.advice


def test_kinds_have_steps_of_their_own() -> None:
    """A step for source files is no way for a configuration."""
    graph = MigrationGraph([family(2)], [step(1, 2, kind=Kind.SOURCE)])

    assert graph.kinds("line") == (Kind.SOURCE,)
    assert graph.only_kind("line") is Kind.SOURCE
    with pytest.raises(NoMigrationPathError):
        graph.path("line", Kind.CONFIG, Version(1), Version(2))


def test_the_kind_must_be_said_where_there_are_several() -> None:
    """The error lists them."""
    graph = MigrationGraph([family(2)], [step(1, 2), step(1, 2, kind=Kind.CHECKPOINT)])
    with pytest.raises(AmbiguousKindError) as caught:
        graph.only_kind("line")

    assert caught.value.kinds == ("config", "checkpoint")


def test_a_circle_is_refused_when_the_graph_is_made() -> None:
    """The error shows the way round."""
    backward = step(3, 4)
    backward.target = Version(1)
    with pytest.raises(MigrationLoopError) as caught:
        MigrationGraph([family(3)], [step(1, 2), step(2, 3), backward])

    assert caught.value.versions == ("1.0", "2.0", "3.0", "1.0")


def test_a_version_from_the_future_is_refused_in_both_directions() -> None:
    """It is never silently taken for an older one."""
    graph = MigrationGraph([family(2)], [step(1, 2, reversible=True)])
    for target in (1, 2, 9):
        with pytest.raises(FutureVersionError) as caught:
            graph.path("line", Kind.CONFIG, Version(9), Version(target))
        assert (caught.value.version, caught.value.newest) == ("9.0", "2.0")


def test_a_version_older_than_the_oldest_supported_is_refused() -> None:
    """Even if a step starts there, the family says that it is not supported any more."""
    entry = family(3, oldest=Version(2))
    graph = MigrationGraph([entry], [step(1, 2), step(2, 3)])
    with pytest.raises(NoMigrationPathError, match=r"oldest with a way on is 2\.0"):
        graph.path("line", Kind.CONFIG, Version(1), Version(3))


def test_an_unknown_family_is_answered_with_the_nearest() -> None:
    """Both for a question and for a step that names it."""
    graph = MigrationGraph([family(2)], [])
    with pytest.raises(UnknownFamilyError) as caught:
        graph.family("lien")
    assert (caught.value.known, caught.value.exit_code) == (("line",), 2)
    assert "line" in caught.value.advice
    with pytest.raises(UnknownFamilyError):
        MigrationGraph([], [step(1, 2)])


def test_labels_name_versions() -> None:
    """A label may stand for several versions; numbers work beside it."""
    versions = (
        FamilyVersion(version=Version(0, 1), label="legacy"),
        FamilyVersion(version=Version(0, 2), label="legacy"),
        FamilyVersion(version=Version(1)),
    )
    entry = attrs.evolve(family(1), versions=versions)

    assert entry.find_versions("legacy") == (Version(0, 1), Version(0, 2))
    assert entry.find_versions("v0.2") == (Version(0, 2),)
    assert entry.find_versions("7") == entry.find_versions("nonsense") == ()
    assert (entry.name_of(Version(0, 1)), entry.name_of(Version(1))) == ("legacy", "1.0")


@pytest.mark.parametrize("text", ["", "x", "1.", "1.2.3", "-1", "1e3", "٣"])
def test_what_is_no_version_is_no_version(text: str) -> None:
    """Parsing refuses rather than guesses."""
    if text == "٣":  # a digit, but not one that versions are written with
        assert Version.parse(text) == Version(3)
        return
    with pytest.raises(ValueError, match="is not a version"):
        Version.parse(text)


@given(st.integers(1, 12), st.sets(st.tuples(st.integers(1, 12), st.integers(1, 12)), max_size=30))
def test_every_path_found_is_a_way(newest: int, pairs: set[tuple[int, int]]) -> None:
    """Its steps join from the source to the target and climb; none is found only if there is none."""
    steps = [step(low, high) for low, high in pairs if low < high <= newest]
    graph = MigrationGraph([family(newest)], steps)
    reach = {1}
    for low, high in sorted((s.source.major, s.target.major) for s in steps):
        if low in reach:
            reach.add(high)
    for target in range(2, newest + 1):
        try:
            path = graph.path("line", Kind.CONFIG, Version(1), Version(target))
        except NoMigrationPathError:
            assert target not in reach
            continue
        assert target in reach
        assert path[0].source == Version(1)
        assert path[-1].target == Version(target)
        assert all(a.target == b.source for a, b in itertools.pairwise(path))
        assert all(entry.source < entry.target for entry in path)
