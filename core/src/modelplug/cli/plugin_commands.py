"""Commands that plugins bring to the command line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click

    from modelplug.cli.context import App

__all__ = ["plugin_commands", "plugin_help"]


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


def plugin_help(app: App, *, taken: Collection[str]) -> dict[str, str]:
    """The names of plugins' commands and their lines in help.

    Importing every plugin to find that none has a command would double the time of `--help`. So the answer is
    kept, and holds as long as nothing was installed, removed, switched on or switched off.

    Args:
        app: The invocation.
        taken: Names of built-in verbs.
    """
    if app.no_plugins:
        return {}
    cache = app.runtime.paths.cache / "commands.json"
    state = _state_of_installation(app)
    try:
        kept: Any = json.loads(cache.read_text("utf-8"))
        if kept["state"] == state:
            return dict(kept["commands"])
    except (OSError, ValueError, KeyError, TypeError):
        kept = None
    commands = plugin_commands(app, taken=taken)
    lines = {
        name: command.get_short_help_str(limit=90)
        for name, command in sorted(commands.items())
        if not command.hidden
    }
    if not app.runtime.plugins.problems:
        _keep(app, state, lines)
    return lines


def _keep(app: App, state: list[Any], lines: dict[str, str]) -> None:
    from modelplug.atomic import write_atomically

    cache = app.runtime.paths.cache / "commands.json"
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(cache, json.dumps({"state": state, "commands": lines}))
    except OSError:
        # Help is slower the next time, and nothing else.
        return


def _state_of_installation(app: App) -> list[Any]:
    """What changes when packages come or go (the directories they are in) or plugins are switched."""
    watched = [entry for entry in sys.path if entry] + [str(app.runtime.paths.config / "plugins.json")]
    times = []
    for entry in watched:
        try:
            times.append([entry, os.stat(entry).st_mtime_ns])  # noqa: PTH116  half the time of Path(entry).stat()
        except OSError:  # noqa: PERF203  each entry may be missing
            times.append([entry, 0])
    switches = [os.environ.get(name, "") for name in ("MODELPLUG_DISABLE_PLUGINS", "MODELPLUG_PLUGINS")]
    return [times, switches]
