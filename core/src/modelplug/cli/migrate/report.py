"""`modelplug migrate report`: a report to attach to a question or a bug."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modelplug.cli.migrate.options import json_option

if TYPE_CHECKING:
    from modelplug.cli.context import App

__all__ = ["command"]


@click.command("report")
@click.option("--save", is_flag=True, help="Keep the report beside the backups, too.")
@json_option
@click.pass_obj
def command(app: App, *, save: bool, as_json: bool) -> None:
    """Print what bears on migrations: plugins, families, what was done, the end of the log.

    Secrets and home paths are left out, so that it can be shown to others.
    """
    from modelplug.migration.diagnostics import MigrationDiagnostics, report_file

    report = MigrationDiagnostics(app.runtime).generate_report()
    if save:
        from modelplug.atomic import write_atomically

        path = report_file(app.runtime.paths)
        write_atomically(path, f"{report}\n")
        app.note(f"kept as {path}")
    if as_json:
        app.echo_json(report.data)
    else:
        click.echo(str(report))
