"""Asks the plugins for their migration families and steps, and joins them into one graph."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from modelplug.errors import MigrationError
from modelplug.migration.graph import MigrationGraph
from modelplug.migration.steps import Family, Migration

if TYPE_CHECKING:
    from modelplug.plugins import PluginManager

__all__ = ["load_graph"]


def load_graph(plugins: PluginManager) -> MigrationGraph:
    """Every family and step that the installed plugins bring.

    A plugin whose part makes no sense, alone or with what others bring, is reported and left out.

    Args:
        plugins: The plugins to ask.
    """
    families: dict[str, Family] = {}
    steps: list[type[Migration]] = []
    brought: list[tuple[str, list[type[Migration]]]] = []
    for result in plugins.call("modelplug_migrations"):
        own: list[type[Migration]] = []
        for item in result.value:
            problem = _problem(item, families)
            if problem:
                plugins.report_problem(result.plugin, problem, "Report it to the plugin's authors.")
            elif isinstance(item, Family):
                families[item.name] = item
            else:
                own.append(item)
        brought.append((result.plugin, own))
    for plugin, own in brought:
        conflict = _conflict(families, [*steps, *own])
        if conflict is None:
            steps += own
        else:
            plugins.report_problem(plugin, f"its migration steps were left out: {conflict}", conflict.advice)
    return MigrationGraph(families.values(), steps)


def _conflict(families: dict[str, Family], steps: list[type[Migration]]) -> MigrationError | None:
    """Why steps make no graph; None if they do."""
    try:
        MigrationGraph(families.values(), steps)
    except MigrationError as error:
        return error
    return None


def _problem(item: object, families: dict[str, Family]) -> str:
    """Why an item that a plugin gave can't be used; empty if it can."""
    if isinstance(item, Family):
        if item.name in families:
            return f"it brings the migration family {item.name!r}, which another plugin brings already"
        return "" if item.versions else f"its migration family {item.name!r} has no versions"
    if not (inspect.isclass(item) and issubclass(item, Migration)):
        return f"modelplug_migrations gave {item!r}, which is neither a Family nor a Migration class"
    missing = [name for name in ("family", "source", "target") if not hasattr(item, name)]
    if missing:
        return f"its migration step {item.__qualname__} has no {' and no '.join(missing)}"
    if not item.source < item.target:
        return f"its migration step {item.__qualname__} does not lead to a later version"
    return "" if item.summary() else f"its migration step {item.__qualname__} has no docstring"
