"""Families and steps from plugins: what makes no sense is reported against the plugin, and the rest works."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import attrs
import pytest

from modelplug.migration.registry import load_graph
from modelplug.migration.steps import Kind, Migration
from modelplug.migration.versions import Version


@attrs.frozen
class Result:
    """What one plugin answered."""

    plugin: str
    value: tuple[Any, ...]


class Plugins:
    """Plugins that answer what the test wants."""

    def __init__(self, **answers: tuple[Any, ...]) -> None:
        self.answers = answers
        self.reported: list[tuple[str, str]] = []

    def call(self, hook: str) -> list[Result]:
        """Every answer."""
        assert hook == "modelplug_migrations"
        return [Result(plugin, value) for plugin, value in self.answers.items()]

    def report_problem(self, plugin: str, cause: str, remedy: str = "") -> None:
        """Remember what was reported."""
        assert remedy
        self.reported.append((plugin, cause))


def step(lamp: ModuleType, source: int, target: int, doc: str | None = "A step.") -> type[Migration]:
    """A step of the lamp family."""
    names = {"__doc__": doc, "family": "lamp", "source": Version(source), "target": Version(target)}
    return type("Step", (Migration,), names)


def test_plugins_are_joined_into_one_graph(lamp: ModuleType) -> None:
    """A plugin may bring steps for a family that another one brings, whichever comes first."""
    plugins: Any = Plugins(first=(lamp.TwoToThree,), second=(lamp.LAMP, lamp.OneToTwo))
    graph = load_graph(plugins)

    assert plugins.reported == []
    assert len(graph.path("lamp", Kind.CONFIG, Version(1), Version(3))) == 2


@pytest.mark.parametrize(
    "case", ["twice", "nonsense", "no source", "downward", "undocumented", "no versions"]
)
def test_what_makes_no_sense_is_reported_and_left_out(lamp: ModuleType, case: str) -> None:
    """The plugin is named with what is wrong; other plugins' steps work."""
    incomplete = type("Incomplete", (Migration,), {"__doc__": "A step.", "family": "lamp"})
    bad, words = {
        "twice": (lamp.LAMP, "which another plugin brings already"),
        "nonsense": (object(), "neither a Family nor a Migration"),
        "no source": (incomplete, "has no source and no target"),
        "downward": (step(lamp, 3, 2), "does not lead to a later version"),
        "undocumented": (step(lamp, 1, 2, doc=None), "has no docstring"),
        "no versions": (attrs.evolve(lamp.LAMP, name="other", versions=()), "has no versions"),
    }[case]
    plugins: Any = Plugins(good=(lamp.LAMP, lamp.OneToTwo, lamp.TwoToThree), bad=(bad,))
    graph = load_graph(plugins)

    ((plugin, cause),) = plugins.reported
    assert plugin == "bad"
    assert words in cause
    assert len(graph.path("lamp", Kind.CONFIG, Version(1), Version(3))) == 2


def test_steps_of_an_unknown_family_are_reported(lamp: ModuleType) -> None:
    """The plugin that would bring the family may not be installed."""
    plugins: Any = Plugins(orphan=(lamp.OneToTwo,))
    graph = load_graph(plugins)

    assert graph.families == ()
    ((plugin, cause),) = plugins.reported
    assert (plugin, "no migration family 'lamp'" in cause) == ("orphan", True)
