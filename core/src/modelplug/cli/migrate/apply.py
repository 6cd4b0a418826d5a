"""`modelplug migrate apply`: do what the plan shows, all of it or nothing."""

from __future__ import annotations

import sys
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
from modelplug.errors import EXIT_FAILED, MigrationError, UsageError

if TYPE_CHECKING:
    from modelplug.cli.context import App
    from modelplug.migration.migrator import Applied, Migrator
    from modelplug.migration.plan import Plan

__all__ = ["command"]


@click.command("apply")
@paths_argument
@wish_options
@click.option(
    "--plan", "saved", type=click.Path(path_type=Path), help="Apply a plan that `migrate plan --save` wrote."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--skip-refused", is_flag=True, help="Migrate the rest although some files can't be.")
@click.option("--no-diff", is_flag=True, help="Leave the differences out.")
@click.option(
    "--verify", is_flag=True, help="Compare migrated checkpoints with the old ones, tensor by tensor."
)
@click.option(
    "--reference",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Inputs and outputs that the migrated checkpoint must reproduce; implies --verify.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    paths: tuple[Path, ...],
    saved: Path | None,
    yes: bool,
    skip_refused: bool,
    no_diff: bool,
    verify: bool,
    reference: Path | None,
    as_json: bool,
    **wished: Any,
) -> None:
    """Migrate PATHs: back up, replace, and verify, all files together.

    Shows the plan first and asks, unless --yes. Files that have changed since the plan was made are refused.
    `modelplug migrate rollback` undoes it.
    """
    from modelplug.migration.migrator import Migrator

    app: App = ctx.obj
    migrator = Migrator(app.runtime)
    plan = _plan(migrator, paths, saved, wished)
    if not as_json:
        echo_plan(app, plan, with_diff=not no_diff and not yes, verbose=False)
        echo_summary(plan)
    refused = plan.with_status("refused")
    if refused and not skip_refused:
        raise MigrationError(
            f"{len(refused)} of the files can't be migrated, so nothing was",
            why="; ".join(f"{file.given_as}: {file.error['what']}" for file in refused if file.error),
            advice="Correct or leave out these files, or add --skip-refused to migrate the others.",
        )
    if plan.with_status("migrate") and not yes:
        _ask()
    applied = migrator.apply(plan, verify=verify or reference is not None, reference=reference)
    if as_json:
        app.echo_json(_as_plain(plan, applied))
    else:
        _echo_applied(app, applied)
    if refused:
        ctx.exit(EXIT_FAILED)


def _plan(migrator: Migrator, paths: tuple[Path, ...], saved: Path | None, wished: dict[str, Any]) -> Plan:
    if saved is None:
        return migrator.plan(given_or_found(migrator, paths), wishes_from(migrator, **wished))
    if paths or any(wished.values()):
        raise UsageError(
            "a saved plan says everything itself",
            why="--plan was given together with paths or with options that make a plan",
            advice=f"`modelplug migrate apply --plan {saved}`",
        )
    from modelplug.migration.migrator import read_plan

    return read_plan(saved)


def _ask() -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            "nobody is there to be asked",
            why="the input is no terminal",
            advice="Add --yes to apply the plan without asking.",
        )
    click.confirm("Apply this plan?", default=False, abort=True, err=True)


def _as_plain(plan: Plan, applied: Applied) -> dict[str, Any]:
    record = applied.transaction
    return {
        "transaction": record.id if record else None,
        "backup": str(record.folder) if record else None,
        "migrated": [str(file.path) for file in applied.files],
        "made": [str(file.build.path) for file in applied.files if file.build is not None],
        "assured": list(applied.assured),
        "plan": plan.to_dict(),
    }


def _echo_applied(app: App, applied: Applied) -> None:
    from modelplug.migration.account import counted

    record = applied.transaction
    if record is None:
        click.echo("nothing to do")
        return
    click.echo(f"done: transaction {record.id}, {counted(len(record.files), 'file')} written and verified")
    for sentence in applied.assured:
        click.echo(f"verified: {sentence}")
    for file in applied.files:
        for finding in file.findings:
            if finding.severity.value == "todo":
                click.echo(click.style("to do: ", fg="magenta") + f"{file.given_as}: {finding}")
    app.note(f"the backup is in {record.folder}; `modelplug migrate rollback {record.id}` restores it")
