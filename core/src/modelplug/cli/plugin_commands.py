"""Commands that plugins bring to the command line."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

    from modelplug.cli.context import App

__all__ = ["plugin_commands"]


def plugin_commands(app: App, *, taken: Collection[str]) -> dict[str, click.Command]:
    """Every command of every healthy plugin, by name.

    Args:
        app: The invocation; its plugins are asked.
        taken: Names of built-in verbs. A plugin's command of such a name is reported and left out.
    """
    found: dict[str, click.Command] = {}
    for result in app.runtime.plugins.call("modelplug_commands"):
        for command in result.value:
            name = command.name or ""
            if name in taken or name in found:
                app.runtime.plugins.report_problem(
                    result.plugin,
                    f"its command {name!r} has the name of one that exists already, and was left out",
                    "rename the command in the plugin",
                )
            else:
                found[name] = command
    return found
