"""`modelplug migrate plan`: show what would change, and write nothing."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelplug.cli.migrate.options import (
    given_or_found,
    json_option,
    paths_argument,
    wish_options,
    wishes_from,
)
from modelplug.cli.migrate.printing import echo_plan, echo_summary
from modelplug.errors import EXIT_FAILED, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modelplug.cli.context import App
    from modelplug.migration.plan import Plan

__all__ = ["command"]


@click.command("plan")
@paths_argument
@wish_options
@click.option("--save", type=click.Path(path_type=Path), help="Keep the plan in a file, to apply it later.")
@click.option("--no-diff", is_flag=True, help="Leave the differences out.")
@click.option("-v", "--verbose", is_flag=True, help="List the keys that stay as they are, too.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    paths: tuple[Path, ...],
    save: Path | None,
    no_diff: bool,
    verbose: bool,
    as_json: bool,
    **wished: Any,
) -> None:
    """Show what would become of PATHs, and write nothing.

    A PATH is a file, a folder of files, or a whole installation of an older program. Without one, the usual
    places are looked at. Exits with 1 if something can't be migrated.
    """
    from modelplug.migration.migrator import Migrator

    app: App = ctx.obj
    migrator = Migrator(app.runtime)
    wishes = wishes_from(migrator, **wished)
    plan = migrator.plan(given_or_found(migrator, paths), wishes)
    if save is not None:
        _save(save, plan)
    if as_json:
        app.echo_json(plan.to_dict())
    else:
        echo_plan(app, plan, with_diff=not no_diff, verbose=verbose)
        echo_summary(plan)
        _echo_next(app, plan, paths, save, wished)
    if plan.with_status("refused"):
        ctx.exit(EXIT_FAILED)


def _save(path: Path, plan: Plan) -> None:
    from modelplug.atomic import write_atomically

    if path.exists():
        raise UsageError(
            f"{path} exists already",
            why="a plan never takes the place of another file",
            advice="Choose another name, or remove the file.",
        )
    # It holds the new text of the files, which may be as private as these.
    write_atomically(path, json.dumps(plan.to_dict(), indent=1) + "\n", mode=0o600)


def _echo_next(
    app: App, plan: Plan, paths: tuple[Path, ...], save: Path | None, wished: Mapping[str, Any]
) -> None:
    if plan.with_status("migrate"):
        what = ["--plan", str(save)] if save else [*map(str, paths), *_as_typed(wished)]
        again = shlex.join(["modelplug", "migrate", "apply", *what])
        app.note(f"nothing was written; `{again}` does this")


def _as_typed(wished: Mapping[str, Any]) -> Iterator[str]:
    """The options that said what the files are and what is wanted."""
    for name, option in (("family", "family"), ("kind", "kind"), ("source", "from"), ("target", "to")):
        if wished[name]:
            yield from (f"--{option}", wished[name])
    for choice in wished["options"]:
        yield from ("--option", choice)
