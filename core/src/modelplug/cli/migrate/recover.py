"""`modelplug migrate recover`: finish or undo what was cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import click

from modelplug.cli.migrate.options import json_option

if TYPE_CHECKING:
    from modelplug.cli.context import App

__all__ = ["command"]


@click.command("recover")
@click.argument("transaction", metavar="[ID]", required=False)
@click.option("--keep-edits", is_flag=True, help="Leave files alone that were edited since, and do the rest.")
@json_option
@click.pass_obj
def command(app: App, *, transaction: str | None, keep_edits: bool, as_json: bool) -> None:
    """Bring a migration that was cut off to its end, or undo it: all files new, or all as they were.

    Never writes over an edit that was made since.
    """
    from modelplug.migration.account import counted
    from modelplug.migration.migrator import Migrator

    reports = Migrator(app.runtime).recover(transaction, keep_edits=keep_edits)
    if as_json:
        app.echo_json([attrs.asdict(report) for report in reports])
        return
    if not reports:
        click.echo("nothing was cut off")
    for report in reports:
        words = {"finished": "finished", "undone": "undone", "nothing": "had ended already"}
        click.echo(f"{report.id}: {words[report.outcome]}, {counted(len(report.files), 'file')}")
        for path in report.left_alone:
            app.warn(f"{path} was edited since, and left alone")
