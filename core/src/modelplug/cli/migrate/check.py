"""`modelplug migrate check`: go through the checklist after a migration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modelplug.cli.migrate.options import json_option
from modelplug.cli.rendering import wrapped
from modelplug.errors import EXIT_FAILED

if TYPE_CHECKING:
    from modelplug.cli.context import App

__all__ = ["command"]

_COLOURS = {"pass": "green", "fail": "red", "unknown": "yellow"}


@click.command("check")
@click.option("--load-models", is_flag=True, help="Load every known model; otherwise earlier runs count.")
@json_option
@click.pass_context
def command(ctx: click.Context, *, load_models: bool, as_json: bool) -> None:
    """Say of each item of the migration checklist whether it is true, and on what evidence.

    Nothing passes by default. Exits with 1 if an item fails.
    """
    from modelplug.migration.checklist import Checklist, as_plain

    app: App = ctx.obj
    items = Checklist(app.runtime, load_models=load_models).run()
    if as_json:
        app.echo_json(as_plain(items))
    else:
        for item in items:
            state = item.state.value
            click.echo(click.style(f"{state:8}", fg=_COLOURS[state]) + item.title)
            click.echo(wrapped(item.evidence, indent=" " * 10))
            if item.advice:
                click.echo(wrapped(f"try: {item.advice}", indent=" " * 10))
    if any(item.state.value == "fail" for item in items):
        ctx.exit(EXIT_FAILED)
