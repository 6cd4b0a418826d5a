"""`modelplug migrate`: bring configurations, source and whole installations to a later version, and back."""

from __future__ import annotations

import click

from modelplug.cli.lazy import LazyGroup

__all__ = ["command"]

VERBS = {
    "plan": ("modelplug.cli.migrate.plan:command", "Show what would change, and write nothing."),
    "apply": ("modelplug.cli.migrate.apply:command", "Do what the plan shows, all of it or nothing."),
    "rollback": ("modelplug.cli.migrate.rollback:command", "Bring back the bytes that were there before."),
    "history": ("modelplug.cli.migrate.history:command", "List what was done, newest first."),
    "status": ("modelplug.cli.migrate.status:command", "Show families, old installations, unfinished work."),
    "recover": ("modelplug.cli.migrate.recover:command", "Finish or undo what was cut off."),
    "explain": ("modelplug.cli.migrate.explain:command", "Say what changes between two versions."),
    "check-config": (
        "modelplug.cli.migrate.check_config:command",
        "Say what is wrong with a configuration, line by line.",
    ),
    "check": ("modelplug.cli.migrate.check:command", "Go through the checklist after a migration."),
    "report": ("modelplug.cli.migrate.report:command", "Print a report to attach to a question or a bug."),
}


@click.group("migrate", cls=LazyGroup, lazy=VERBS)
def command() -> None:
    """Bring configurations and installations of older programs to today's form, and back.

    Every change is planned, shown, backed up and journaled. What was there before can always be restored.
    """
