"""A click group that imports a verb's module only when that verb is used."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

import click

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """A group whose commands are named as `module:attribute` and imported on use.

    Args:
        lazy: Verb -> (`module:attribute`, the line shown in help). The line stands here, and not in the
            verb's module, so that `--help` imports none of them.
    """

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb, in the order of the table, then those added at run time."""
        return [*self.lazy, *(name for name in super().list_commands(ctx) if name not in self.lazy)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now if need be."""
        if cmd_name in self.lazy:
            module, _, attribute = self.lazy[cmd_name][0].partition(":")
            command: click.Command = getattr(importlib.import_module(module), attribute)
            return command
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing them."""
        lines = {name: self.help_line(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, line in lines.items() if line is not None])

    def help_line(self, ctx: click.Context, cmd_name: str) -> str | None:
        """The line that help shows beside a verb; None leaves the verb out."""
        if cmd_name in self.lazy:
            return self.lazy[cmd_name][1]
        command = self.get_command(ctx, cmd_name)
        return None if command is None or command.hidden else command.get_short_help_str(limit=90)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but a mistyped verb is answered with the nearest ones."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=3)
            if not near:
                raise
            question = f"Did you mean {' or '.join(repr(name) for name in near)}?"
            raise click.UsageError(f"{error.message} {question}", ctx) from error
