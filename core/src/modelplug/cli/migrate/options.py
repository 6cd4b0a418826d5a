"""The options that several verbs of `modelplug migrate` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from modelplug.errors import UsageError

if TYPE_CHECKING:
    from modelplug.migration.detection import Wishes
    from modelplug.migration.migrator import Migrator

__all__ = ["given_or_found", "json_option", "paths_argument", "wish_options", "wishes_from"]

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
paths_argument = click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))

_WISHES = (
    click.option("--family", metavar="NAME", default="", help="The family, in place of what is detected."),
    click.option(
        "--kind",
        type=click.Choice(["config", "checkpoint", "source", "home"]),
        help="What the files are, in place of what is detected.",
    ),
    click.option("--from", "source", metavar="VERSION", default="", help="The version they have."),
    click.option("--to", "target", metavar="VERSION", default="", help="The version wanted."),
    click.option(
        "--option",
        "options",
        metavar="NAME=VALUE",
        multiple=True,
        help="A choice that the family offers; `migrate status` lists them.",
    ),
)


def wish_options(function: F) -> F:
    """Add the options that say what files are and what is wanted."""
    for option in reversed(_WISHES):
        function = option(function)
    return function


def wishes_from(
    migrator: Migrator, *, family: str, kind: str | None, source: str, target: str, options: tuple[str, ...]
) -> Wishes:
    """What the options say.

    Raises:
        UsageError: An option of a family is misspelt, or no family has it.
    """
    from modelplug.migration.detection import Wishes
    from modelplug.migration.steps import Kind

    known = {name for entry in migrator.graph.families for name in entry.options}
    chosen: dict[str, str] = {}
    for text in options:
        name, sign, value = text.partition("=")
        if not sign or name not in known:
            raise UsageError(
                f"--option {text} is not understood",
                why=f"it is written NAME=VALUE, and the names are {', '.join(sorted(known)) or 'none'}",
                advice="`modelplug migrate status` says what they mean.",
            )
        chosen[name] = value
    return Wishes(
        family=family, kind=Kind(kind) if kind else None, source=source, target=target, options=chosen
    )


def given_or_found(migrator: Migrator, paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """The paths given, or else the old installations there are.

    Raises:
        UsageError: There are neither.
    """
    found = paths or migrator.homes()
    if not found:
        raise UsageError(
            "there is nothing to migrate",
            why="no path was given, and no older installation was found in the usual places",
            advice="`modelplug migrate plan PATH`",
        )
    return found
