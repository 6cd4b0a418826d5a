"""`modelplug migrate status`: families, old installations, and what is unfinished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modelplug.cli.migrate.history import as_plain
from modelplug.cli.migrate.options import json_option
from modelplug.cli.rendering import echo_heading, echo_pairs

if TYPE_CHECKING:
    from modelplug.cli.context import App
    from modelplug.migration.migrator import Migrator
    from modelplug.migration.steps import Family

__all__ = ["command"]


@click.command("status")
@json_option
@click.pass_obj
def command(app: App, *, as_json: bool) -> None:
    """Show which families are installed, which older installations are here, and what was cut off."""
    from modelplug.migration.migrator import Migrator

    migrator = Migrator(app.runtime)
    unfinished = migrator.store.unfinished()
    if as_json:
        app.echo_json(
            {
                "families": [_plain_family(migrator, family) for family in migrator.graph.families],
                "homes": [str(path) for path in migrator.homes()],
                "unfinished": [as_plain(record) for record in unfinished],
                "store": str(migrator.store.root),
                "transactions": len(migrator.history()),
            }
        )
        return
    for family in migrator.graph.families:
        _echo_family(migrator, family)
    if not migrator.graph.families:
        app.note("no installed plugin brings migrations: `pip install ./migrators` in a checkout")
    echo_heading("On this machine")
    homes = "\n".join(str(path) for path in migrator.homes())
    echo_pairs(
        [
            ("  older installations", homes or "none in the usual places"),
            ("  migrations done", len(migrator.history())),
            ("  backups", migrator.store.root),
            ("  cut off", "\n".join(record.id for record in unfinished) or "none"),
        ]
    )
    if unfinished:
        app.warn("a migration was cut off; `modelplug migrate recover` finishes or undoes it")
    elif homes:
        app.note("`modelplug migrate plan` shows what would be brought over")


def _plain_family(migrator: Migrator, family: Family) -> dict[str, Any]:
    return {
        "name": family.name,
        "title": family.title,
        "versions": [entry.name for entry in family.versions],
        "current": {
            kind.value: str(family.current_version(kind)) for kind in migrator.graph.kinds(family.name)
        },
        "options": dict(family.options),
    }


def _echo_family(migrator: Migrator, family: Family) -> None:
    echo_heading(family.name)
    kinds = migrator.graph.kinds(family.name)
    echo_pairs(
        [
            ("  what", family.title),
            ("  versions", ", ".join(dict.fromkeys(entry.name for entry in family.versions))),
            ("  kinds", ", ".join(kind.value for kind in kinds)),
            *((f"  --option {name}=", text) for name, text in family.options.items()),
        ]
    )
