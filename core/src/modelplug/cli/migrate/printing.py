"""Prints plans for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs
import click

from modelplug.cli.rendering import echo_heading, echo_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modelplug.cli.context import App
    from modelplug.migration.account import Account, Finding, KeyFate
    from modelplug.migration.checkpoints.build import BuildPlan
    from modelplug.migration.left_alone import LeftAlone
    from modelplug.migration.plan import FilePlan, Plan

__all__ = ["echo_plan", "echo_summary"]

# With more keys than this, those that differ only in numbers are shown as one.
_MANY = 60
# Of many files that are left alone for one reason, so many are named.
_SHOWN = 3
_NUMBERS = re.compile(r"(?<=\.)\d+(?=\.)")
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
    _echo_left_alone(plan, verbose=verbose)
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


def _echo_left_alone(plan: Plan, *, verbose: bool) -> None:
    """Print what is called like a checkpoint and stays, counted by what it is."""
    groups: dict[str, list[LeftAlone]] = {}
    for file in plan.left_alone:
        groups.setdefault(file.what, []).append(file)
    if groups:
        echo_heading("left alone")
    for what, files in groups.items():
        click.echo(f"  {what}" + (f": {len(files)} files" if len(files) > 1 else ""))
        shown = files if verbose else files[:_SHOWN]
        for file in shown:
            click.echo(f"    {file.given_as}" + (f": {file.why}" if file.why else ""))
        if len(shown) < len(files):
            click.echo(f"    and {len(files) - len(shown)} more")


def _described(file: FilePlan) -> Iterator[str]:
    """The files a plan writes, where they are not just the one it is about."""
    from modelplug.migration.account import counted

    if file.build is not None:
        yield from _described_build(file.build)
        return
    if [change.path for change in file.changes] == [file.path]:
        return
    for change in file.changes:
        verb = "goes" if change.after is None else "is made" if change.before is None else "changes"
        yield f"{change.path} {verb}"
    yield from (f"{path} goes into the backup" for path in file.copies)
    if file.references:
        yield f"recorded by SHA-256, not copied: {counted(len(file.references), 'large file')}"


def _described_build(build: BuildPlan) -> Iterator[str]:
    """A folder or file that is written when the plan is applied, and what it takes the place of."""
    from modelplug.system.report import format_bytes

    yield f"{build.path} is made"
    if not build.is_file:
        yield from (f"  {name}, {format_bytes(size)}" for name, size in build.files.items())
    yield from (f"{path} goes into the backup; it is moved, not copied" for path in build.replaces)


def _counted(account: Account) -> str:
    if not account.keys and not account.added:
        return ""
    names = {"kept": "kept", "mapped": "mapped", "extras": "to the extras", "dropped": "dropped"}
    parts = [f"{count} {names[fate]}" for fate, count in account.counts().items() if count]
    added = f"; {len(account.added)} added" if account.added else ""
    return f"{len(account.keys)}: {', '.join(parts) or 'none'}{added}"


def _key_lines(account: Account, *, verbose: bool) -> Iterator[str]:
    shown = [key for key in account.keys if verbose or key.fate.value != "kept"]
    if verbose or len(shown) + len(account.added) <= _MANY:
        yield from (_key_line(key) for key in shown)
        yield from (f"{name} is new" for name in account.added)
        return
    yield from _folded(_key_line(_without_name(key)) for key in shown)
    yield from _folded(f"{name} is new" for name in account.added)
    yield "-v lists every one of them"


def _without_name(key: KeyFate) -> KeyFate:
    """What is kept under the name it had, or dropped, so that all of one place is shown as one."""
    if key.fate.value == "dropped" and "/" in key.key:
        return attrs.evolve(key, key=f"{key.key.rpartition('/')[0]}/*")
    place, _, name = key.target.rpartition("/")
    if key.fate.value != "extras" or not place or not key.key.endswith(f".{name}"):
        return key
    return attrs.evolve(key, key=f"{key.key.removesuffix(name)}*", target=f"{place}/*")


def _key_line(key: KeyFate) -> str:
    end = {"kept": " stays", "dropped": " is dropped"}.get(key.fate.value, f" -> {key.target}")
    why = f"  ({key.why})" if key.why else ""
    return f"{key.key}{end}{why}"


def _folded(lines: Iterable[str]) -> Iterator[str]:
    """Lines that differ only in numbers between dots, as those on the layers of a model do, as one."""
    counts: dict[str, int] = {}
    first: dict[str, str] = {}
    for line in lines:
        pattern = _NUMBERS.sub("*", line)
        counts[pattern] = counts.get(pattern, 0) + 1
        first.setdefault(pattern, line)
    for pattern, count in counts.items():
        yield f"{pattern}  [{count}]" if count > 1 else first[pattern]


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
    if plan.left_alone:
        parts.append(f"{len(plan.left_alone)} left alone")
    click.echo()
    click.echo(", ".join(parts))
