"""`modelplug migrate check-config`: say what is wrong with a configuration, line by line."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from modelplug.cli.migrate.options import json_option
from modelplug.errors import EXIT_FAILED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.cli.context import App
    from modelplug.migration.account import Finding
    from modelplug.migration.graph import MigrationGraph
    from modelplug.migration.plan import FilePlan

__all__ = ["command"]

_COLOURS = {"error": "red", "warning": "yellow", "todo": "magenta"}


@attrs.frozen(kw_only=True)
class _Checked:
    """What was found in one file.

    Attributes:
        file: The file, and what would become of it.
        issues: What is wrong with it, and what is worth knowing, in the order of the file.
    """

    file: FilePlan
    issues: tuple[Finding, ...]

    @property
    def valid(self) -> bool:
        """Whether there is nothing but notes."""
        return all(issue.severity.value == "note" for issue in self.issues)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "path": str(self.file.given_as),
            "family": self.file.family,
            "version": self.file.source,
            "valid": self.valid,
            "issues": [issue.to_dict() for issue in self.issues],
        }


@click.command("check-config")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--family", metavar="NAME", default="", help="The family, in place of what is detected.")
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, paths: tuple[Path, ...], family: str, as_json: bool) -> None:
    """Check the configurations in PATHs: unknown and deprecated keys, values out of range, contradictions.

    Each issue has its line, the nearest name there is, and what to do. A configuration of an earlier version
    is checked for what its migration would find. Nothing is written. Exits with 1 if something is wrong.
    """
    from modelplug.migration.detection import Wishes
    from modelplug.migration.migrator import Migrator
    from modelplug.migration.planning import Planner
    from modelplug.migration.steps import Kind

    app: App = ctx.obj
    migrator = Migrator(app.runtime)
    planner = Planner(migrator.graph, app.runtime.paths, inspect=migrator.inspect)
    plan = planner.plan(paths, Wishes(family=family, kind=Kind.CONFIG if family else None))
    checked = [
        _Checked(file=file, issues=tuple(_issues(file, migrator.graph)))
        for file in plan.files
        if file.kind in ("", "config")
    ]
    if as_json:
        app.echo_json({"files": [one.to_dict() for one in checked]})
    else:
        for one in checked:
            _echo(one)
    if not all(one.valid for one in checked):
        ctx.exit(EXIT_FAILED)


def _issues(file: FilePlan, graph: MigrationGraph) -> Iterator[Finding]:
    from modelplug.migration.account import Finding, Severity
    from modelplug.migration.candidates import Candidate

    if file.status == "current":
        check = graph.family(file.family).check
        yield from check(Candidate(file.path, given_as=file.given_as)) if check else ()
        return
    found = [*file.findings, *(_moved(file) if file.status == "migrate" else ())]
    if file.error is not None and not any(one.severity is Severity.ERROR for one in found):
        why = f": {file.error['why']}" if file.error["why"] else ""
        yield Finding(
            severity=Severity.ERROR, message=f"{file.error['what']}{why}", advice=str(file.error["advice"])
        )
    elif file.status == "unknown":
        yield Finding(
            severity=Severity.ERROR, message="it is no configuration of any family that is installed"
        )
    if file.status == "migrate":
        yield Finding(
            severity=Severity.WARNING,
            message=f"it is of {file.source}, and the current version is {file.target}",
            advice=f"`modelplug migrate plan {shlex.quote(str(file.given_as))}`",
        )
    yield from sorted(found, key=lambda finding: finding.line or 0)


def _moved(file: FilePlan) -> Iterator[Finding]:
    """The keys that are called otherwise in the current version, or have no place in it."""
    from modelplug.migration.account import Fate, Finding, Severity

    for key in file.account.keys:
        why = f" ({key.why})" if key.why else ""
        if key.fate is Fate.MAPPED and key.target != key.key:
            message = f"{key.key} is {key.target} in {file.target}{why}"
        elif key.fate in (Fate.EXTRAS, Fate.DROPPED):
            message = f"{key.key} has no place in {file.target}{why}"
        else:
            continue
        yield Finding(severity=Severity.NOTE, message=message, key=key.key, line=key.line)


def _echo(checked: _Checked) -> None:
    from modelplug.migration.account import counted

    file = checked.file
    what = f": {file.kind} of {file.family}, {file.source}" if file.family else ""
    click.echo(click.style(f"{file.given_as}", bold=True) + what)
    for issue in checked.issues:
        severity = issue.severity.value
        label = click.style("to do" if severity == "todo" else severity, fg=_COLOURS.get(severity))
        click.echo(f"  {label}: {issue}")
        if issue.advice:
            click.echo(f"    try: {issue.advice}")
    counts = Counter(issue.severity.value for issue in checked.issues)
    names = [counted(count, "thing to do" if name == "todo" else name) for name, count in counts.items()]
    click.echo(f"  {', '.join(names).replace('thing to dos', 'things to do') or 'nothing is wrong'}")
