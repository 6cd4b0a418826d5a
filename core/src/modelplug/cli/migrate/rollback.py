"""`modelplug migrate rollback`: bring back the bytes that were there before."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from modelplug.cli.migrate.options import json_option
from modelplug.errors import UsageError

if TYPE_CHECKING:
    from modelplug.cli.context import App
    from modelplug.migration.migrator import Migrator
    from modelplug.migration.transactions import RollbackReport

__all__ = ["command"]


@click.command("rollback")
@click.argument("transaction", metavar="[ID]", required=False)
@click.option(
    "--rehearse",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Restore into an empty folder instead, compare, and touch nothing else.",
)
@click.option("--settings-only", is_flag=True, help="Restore the settings file, and leave the rest.")
@click.option("--discard-edits", is_flag=True, help="Restore files that were edited since, too.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def command(
    app: App,
    *,
    transaction: str | None,
    rehearse: Path | None,
    settings_only: bool,
    discard_edits: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Undo a migration: ID as `migrate history` lists it, or the latest.

    The backup is verified before anything is touched, and what stands there now is backed up first, so that
    a rollback can be undone in turn.
    """
    from modelplug.migration.migrator import Migrator

    migrator = Migrator(app.runtime)
    if rehearse is None and not yes:
        _ask(transaction)
    if settings_only:
        _restore_settings(app, migrator, transaction, rehearse, as_json=as_json)
        return
    report = migrator.rollback(transaction, rehearse=rehearse, discard_edits=discard_edits)
    if as_json:
        app.echo_json(attrs.asdict(report))
    else:
        _echo(app, report)


def _restore_settings(
    app: App, migrator: Migrator, transaction: str | None, rehearse: Path | None, *, as_json: bool
) -> None:
    record = migrator.rollback_settings(transaction, rehearse=rehearse)
    target = app.runtime.paths.config_file
    if as_json:
        app.echo_json({"settings": str(target), "transaction_id": record.id if record else None})
    elif rehearse is not None:
        click.echo(f"rehearsed: the settings as they were are in {rehearse}")
    elif record is None:
        click.echo(f"{target} is as it was already")
    else:
        click.echo(f"{target} is as it was")
        app.note(f"`modelplug migrate rollback {record.id}` undoes this")


def _ask(transaction: str | None) -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            "nobody is there to be asked",
            why="the input is no terminal",
            advice="Add --yes to roll back without asking, or --rehearse FOLDER to try it.",
        )
    what = f"transaction {transaction}" if transaction else "the latest transaction"
    click.confirm(f"Roll {what} back?", default=False, abort=True, err=True)


def _echo(app: App, report: RollbackReport) -> None:
    if report.outcome == "already-rolled-back":
        click.echo(f"{report.id} was rolled back already; nothing was touched")
        return
    from modelplug.migration.account import counted

    for path in report.files:
        click.echo(f"  {path}")
    files = counted(len(report.files), "file")
    if report.outcome == "rehearsed":
        click.echo(f"rehearsed: {files} of {report.id} restored into {report.folder}")
    else:
        click.echo(f"rolled back: {report.id}, {files} as before")
    for path in report.discarded:
        app.warn(f"{path} had been edited since; the edit is in the backup of {report.transaction_id}")
    for path in report.references_changed:
        app.warn(f"{path} is not the file it was when the backup was made")
    if report.transaction_id:
        app.note(f"`modelplug migrate rollback {report.transaction_id}` undoes this")
