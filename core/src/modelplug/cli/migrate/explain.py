"""`modelplug migrate explain`: say what changes between two versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modelplug.cli.migrate.options import json_option

if TYPE_CHECKING:
    from modelplug.cli.context import App

__all__ = ["command"]


@click.command("explain")
@click.argument("family")
@click.argument("source", metavar="[FROM]", default="")
@click.argument("target", metavar="[TO]", default="")
@click.option("--kind", type=click.Choice(["config", "checkpoint", "source", "home"]), help="Only this kind.")
@json_option
@click.pass_obj
def command(app: App, *, family: str, source: str, target: str, kind: str | None, as_json: bool) -> None:
    """Explain the steps of FAMILY between FROM and TO, or all of them."""
    from modelplug.migration.explain import as_markdown, as_plain, explained_steps
    from modelplug.migration.migrator import Migrator
    from modelplug.migration.steps import Kind

    graph = Migrator(app.runtime).graph
    steps = explained_steps(graph, family, source, target, Kind(kind) if kind else None)
    entry = graph.family(family)
    if as_json:
        app.echo_json(
            {
                "family": entry.name,
                "title": entry.title,
                "versions": [
                    {"version": str(v.version), "name": v.name, "summary": v.summary} for v in entry.versions
                ],
                "steps": as_plain(entry, steps),
            }
        )
        return
    click.echo(f"# {entry.name}: {entry.title}\n")
    click.echo(as_markdown(entry, steps), nl=False)
