"""What every verb of the command line shares."""

from __future__ import annotations

import json
import sys
from functools import cached_property
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from modelplug.errors import ModelplugError
    from modelplug.runtime import Runtime

__all__ = ["App", "telling_lines"]

_OPENINGS = frozenset({"A", "An", "It", "Its", "No", "Some", "The", "There", "This"})
_STACKS = ("Fatal Python error", "Traceback (most recent call last)")


class App:
    """One invocation of the program.

    Args:
        debug: Whether unexpected and expected errors show their traceback.
        strict_plugins: Whether a failing plugin fails the command.
        no_plugins: Whether plugins are left out altogether.
    """

    # Not an attrs class: importing attrs would be an eighth of the time that `--version` takes.
    def __init__(
        self, *, debug: bool = False, strict_plugins: bool = False, no_plugins: bool = False
    ) -> None:
        self.debug = debug
        self.strict_plugins = strict_plugins
        self.no_plugins = no_plugins

    @cached_property
    def runtime(self) -> Runtime:
        """Settings, plugins, history and system, each made when first used."""
        from modelplug.runtime import Runtime

        return Runtime(strict_plugins=self.strict_plugins, no_plugins=self.no_plugins)

    def echo_json(self, value: object) -> None:
        """Print `value` as JSON: indented for a terminal, on one line otherwise."""
        indent = 2 if sys.stdout.isatty() else None
        click.echo(json.dumps(value, indent=indent, ensure_ascii=False, default=str))

    def echo_line(self, value: object) -> None:
        """Print `value` as JSON on one line and pass it on at once, for programs that read a stream."""
        click.echo(json.dumps(value, ensure_ascii=False, default=str))

    def note(self, text: str) -> None:
        """Tell the user something beside the result, on standard error."""
        click.echo(click.style(text, dim=True), err=True)

    def warn(self, text: str) -> None:
        """Warn the user, on standard error."""
        # Warnings in records are whole sentences; what follows a colon begins like any other word.
        first, space, rest = text.partition(" ")
        if first in _OPENINGS:
            text = first.lower() + space + rest
        click.echo(click.style("warning: ", fg="yellow") + text, err=True)

    def show_error(self, error: ModelplugError) -> None:
        """Print an expected error the way all of them look."""
        click.echo(click.style("error: ", fg="red", bold=True) + error.what, err=True)
        if error.why:
            click.echo(f"  why: {error.why}", err=True)
        tail = str(error.data.get("stderr_tail") or "").strip()
        words = tail.splitlines() if self.debug else telling_lines(tail)
        if words:
            click.echo("  the engine's last words:", err=True)
            for line in words:
                click.echo(f"    {line}", err=True)
        if error.advice:
            click.echo(f"  try: {error.advice}", err=True)


def telling_lines(tail: str) -> list[str]:
    """The lines of an engine's last words that say most of its end."""
    lines = tail.splitlines()
    # The interpreter's stacks follow what the engine said of its end, and say less.
    stack = next((number for number, line in enumerate(lines) if line.startswith(_STACKS)), len(lines))
    return lines[:stack][-8:]
