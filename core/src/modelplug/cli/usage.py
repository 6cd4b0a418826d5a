"""Mistakes on the command line, told like every other error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelplug.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["usage_error"]


def usage_error(error: click.UsageError, arguments: Sequence[str]) -> UsageError:
    """What click found wrong, as an error of our own.

    Args:
        error: What click raised.
        arguments: The command line it was raised for.
    """
    command = error.ctx.command_path if error.ctx else _command_in(arguments)
    what, question = _without_question(error.format_message())
    why = _usage_of(error)
    if type(error) is click.BadParameter:
        what, _, why = what.partition(": ")
    hints = [question] if question else []
    if isinstance(error, click.NoSuchOption):
        hints += _hints_about_hyphens(error.option_name, arguments, command)
    group = error.ctx is not None and isinstance(error.ctx.command, click.Group)
    hints.append(f"`{command} --help` shows {'the verbs' if group else 'its arguments and options'}.")
    return UsageError(f"{what[:1].lower()}{what[1:]}", why=why, advice=" ".join(hints))


def _command_in(arguments: Sequence[str]) -> str:
    """The command that was called, where click does not say: an option at the end that lacks its value."""
    verb = next((argument for argument in arguments if not argument.startswith("-")), "")
    return f"modelplug {verb}".strip()


def _without_question(message: str) -> tuple[str, str]:
    """The message without its end, and the suggestion that click or we put there."""
    lines = " ".join(message.split())
    for opening in (" Did you mean", " (Possible options:"):
        what, found, rest = lines.partition(opening)
        if found:
            return what.rstrip("."), f"{found.strip()}{rest}"
    return lines.rstrip("."), ""


def _usage_of(error: click.UsageError) -> str:
    """How the command is written, where an argument is missing or too much."""
    if error.ctx is None or isinstance(error, click.NoSuchOption):
        return ""
    if type(error) is click.BadParameter or isinstance(error.ctx.command, click.Group):
        return ""
    return " ".join(error.ctx.get_usage().split()).replace("Usage:", "the usage is", 1)


def _hints_about_hyphens(option: str, arguments: Sequence[str], command: str) -> list[str]:
    """What to type instead, if an argument was meant as a value and read as an option."""
    for argument in arguments:
        if argument == "--":
            break
        if not argument.startswith(option):
            continue
        name = argument.partition("=")[0]
        if _is_file(argument) or (Path(name).suffix and " " not in name):
            shown = argument if argument.isprintable() else repr(argument)
            return [f"For a file whose name begins with a hyphen write ./{shown}."]
        # No option has blanks in it, and one of a single letter is not read from a longer word.
        if " " in name or (argument != option and not argument.startswith("--")):
            return [f"For a prompt that begins with a hyphen write `{command} -- MODEL PROMPT`."]
    return []


def _is_file(argument: str) -> bool:
    try:
        return Path(argument).is_file()
    except (OSError, ValueError):
        return False
