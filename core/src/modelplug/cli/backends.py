"""`modelplug backends`: every engine, and how usable it is on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modelplug.cli.rendering import wrapped
from modelplug.cli.tables import echo_table

if TYPE_CHECKING:
    from modelplug.backends.types import BackendReport
    from modelplug.cli.context import App

__all__ = ["command"]

MEANINGS = {
    "gpu": "works on GPU",
    "cpu": "works on CPU only",
    "broken": "installed but broken",
    "not-installed": "not installed",
}


@click.command("backends")
@click.option("--deep", is_flag=True, help="Import each engine, in a process of its own, to make sure.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(app: App, *, deep: bool, as_json: bool) -> None:
    """List the engines, how usable each is on this machine, and how to get the others.

    Without --deep no engine is imported: what an earlier deep look found is remembered until an engine, the
    driver or this Python changes.
    """
    reports = list(app.runtime.backends.reports(deep=deep).values())
    problems = app.runtime.plugins.problems
    if as_json:
        from modelplug.backends.plain import report_to_dict

        app.echo_json(
            {"backends": [report_to_dict(report) for report in reports], "problems": list(problems)}
        )
        return
    echo_table(["BACKEND", "STATE", "VERSION", "FORMATS", "DEVICES"], [_row(report) for report in reports])
    for report in reports:
        _explain(report)
    for problem in problems:
        app.warn(problem)


def _row(report: BackendReport) -> list[str]:
    devices = ", ".join(report.devices) if report.devices else "cpu" if report.usable else ""
    state = MEANINGS[report.state.value]
    return [report.name, state, report.version, ", ".join(report.formats), devices]


def _explain(report: BackendReport) -> None:
    """Say why a backend is not what it could be, and what to type."""
    if not report.cause:
        return
    click.echo()
    engine = "" if report.engine.lower() == report.name else f" ({report.engine})"
    click.echo(wrapped(f"{report.name}{engine}: {report.cause}", indent=""))
    if report.install and not report.usable:
        # A command to copy is never wrapped.
        for line in report.install.splitlines():
            click.echo(f"  {line}")
