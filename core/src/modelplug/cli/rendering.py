"""Lines of text that several verbs print."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["echo_heading", "echo_pairs", "pairs_as_lines", "wrapped"]


def echo_heading(text: str) -> None:
    """Print the heading of a section, with an empty line before it."""
    click.echo()
    click.echo(click.style(text, bold=True))


def pairs_as_lines(pairs: Iterable[tuple[str, object]]) -> list[str]:
    """Lay out labelled values in two columns; values that are None or empty text are left out."""
    rows = [(label, str(value)) for label, value in pairs if value is not None and value != ""]
    width = max((len(label) for label, _ in rows), default=0)
    return [f"{label.ljust(width)}  {line}" for label, line in _split(rows)]


def _split(rows: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    for label, value in rows:
        for number, line in enumerate(value.splitlines()):
            yield label if number == 0 else "", line


def echo_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Print labelled values in two columns; values that are None or empty text are left out."""
    for line in pairs_as_lines(pairs):
        click.echo(line)


def wrapped(text: str, *, indent: str = "    ") -> str:
    """Break a long text into lines that fit the terminal, each indented."""
    import shutil
    import textwrap

    width = max(60, min(shutil.get_terminal_size().columns, 110))
    return "\n".join(
        textwrap.fill(
            line,
            width,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in text.splitlines()
    )
