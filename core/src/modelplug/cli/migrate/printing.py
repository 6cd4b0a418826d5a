"""Prints plans for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modelplug.cli.rendering import echo_heading, echo_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.cli.context import App
    from modelplug.migration.account import Account, Finding
    from modelplug.migration.plan import FilePlan, Plan

__all__ = ["echo_plan", "echo_summary"]

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}
_MARKS = {"error": ("error", "red"), "warning": ("warning", "yellow"), "todo": ("to do", "magenta")}


def echo_plan(app: App, plan: Plan, *, with_diff: bool, verbose: bool) -> None:
    """Print every file of a plan.

    Args:
        app: The invocation.
        plan: The plan.
        with_diff: Whether to print the differences.
        verbose: Whether to list keys that stay as they are, too.
    """
    for file in plan.files:
        if file.status == "current" and len(plan.files) > 20:
            continue  # hundreds of files with nothing to do would hide the others
        _echo_file(file, with_diff=with_diff, verbose=verbose)
    for alias, real in plan.aliases.items():
        app.note(f"{alias} is {real}, which is listed once")


def _echo_file(file: FilePlan, *, with_diff: bool, verbose: bool) -> None:
    echo_heading(str(file.given_as))
    if file.status == "unknown":
        click.echo("  belongs to no family that is installed")
        return
    sure = f", {file.confidence}" if file.confidence else ""
    what = f"{file.kind} of {file.family}, {file.source}{sure}" if file.family else ""
    echo_pairs(
        [
            ("  what", what),
            ("  because", "\n".join(file.evidence)),
            ("  becomes", "nothing to do" if file.status == "current" else file.target),
            ("  steps", "\n".join(map(str, file.steps))),
            ("  files", "\n".join(_described(file))),
            ("  besides", "\n".join(effect.summary for effect in file.effects)),
            ("  keys", _counted(file.account)),
        ]
    )
    for line in _key_lines(file.account, verbose=verbose):
        click.echo(f"    {line}")
    for finding in file.findings:
        click.echo(_finding_line(finding))
    if file.error is not None:
        click.echo("  " + click.style("refused: ", fg="red") + str(file.error["what"]))
        for label in ("why", "advice"):
            if file.error[label]:
                click.echo(f"    {'try' if label == 'advice' else label}: {file.error[label]}")
    if with_diff and file.diff:
        click.echo()
        _echo_diff(file.diff)


def _described(file: FilePlan) -> Iterator[str]:
    """The files a plan writes, where they are not just the one it is about."""
    from modelplug.migration.account import counted

    if [change.path for change in file.changes] == [file.path]:
        return
    for change in file.changes:
        verb = "goes" if change.after is None else "is made" if change.before is None else "changes"
        yield f"{change.path} {verb}"
    yield from (f"{path} goes into the backup" for path in file.copies)
    if file.references:
        yield f"recorded by SHA-256, not copied: {counted(len(file.references), 'large file')}"


def _counted(account: Account) -> str:
    if not account.keys and not account.added:
        return ""
    names = {"kept": "kept", "mapped": "mapped", "extras": "to the extras", "dropped": "dropped"}
    parts = [f"{count} {names[fate]}" for fate, count in account.counts().items() if count]
    added = f"; {len(account.added)} added" if account.added else ""
    return f"{len(account.keys)}: {', '.join(parts) or 'none'}{added}"


def _key_lines(account: Account, *, verbose: bool) -> Iterator[str]:
    for key in account.keys:
        if key.fate.value == "kept" and not verbose:
            continue
        end = {"kept": " stays", "dropped": " is dropped"}.get(key.fate.value, f" -> {key.target}")
        why = f"  ({key.why})" if key.why else ""
        yield f"{key.key}{end}{why}"
    for name in account.added:
        yield f"{name} is new"


def _finding_line(finding: Finding) -> str:
    if finding.severity.value == "note":
        return click.style(f"  note: {finding}", dim=True)
    label, colour = _MARKS[finding.severity.value]
    return "  " + click.style(f"{label}: ", fg=colour) + str(finding)


def _echo_diff(text: str) -> None:
    for line in text.splitlines():
        header = line.startswith(("--- ", "+++ "))
        colour = None if header else _COLOURS.get(line[:1])
        click.echo(click.style(line, fg=colour, bold=header) if colour or header else line)


def echo_summary(plan: Plan) -> None:
    """Print how many files there are of each kind."""
    parts = []
    for status, words in (
        ("migrate", "to migrate"),
        ("current", "up to date"),
        ("unknown", "of no known family"),
        ("refused", "refused"),
    ):
        count = len(plan.with_status(status))
        if count or status == "migrate":
            parts.append(f"{count} {words}")
    click.echo()
    click.echo(", ".join(parts))
