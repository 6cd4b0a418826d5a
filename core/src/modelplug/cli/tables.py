"""Tables: drawn on a terminal they fit into, a block per row on a narrower one, plain columns elsewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence

import click

from modelplug.cli.rendering import echo_pairs

__all__ = ["echo_table"]

GAP = 3
LEAST_WRAPPED = (16, 24)
"""The narrowest columns, in characters, in which wrapped words, and words cut in two, can still be read."""


def echo_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[str] = ()
) -> None:
    """Print a table for people, or plain aligned columns where the output is not a terminal.

    On a terminal only the widest column is wrapped, and no name is ever cut in two where it can be avoided.

    Args:
        columns: The headings.
        rows: The cells; None prints as nothing.
        numbers: The headings of the columns that are aligned to the right.
    """
    cells = [["" if cell is None else _on_one_line(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    if not sys.stdout.isatty():
        _echo_plain(columns, cells, widths, numbers)
        return
    room = shutil.get_terminal_size().columns - 1
    widest = max(range(len(widths)), key=widths.__getitem__)
    others = sum(widths) - widths[widest] + GAP * (len(widths) - 1)
    words, cut = LEAST_WRAPPED
    longest = max((len(word) for row in cells for word in row[widest].split()), default=0)
    if others + min(widths[widest], max(words, min(longest, cut))) <= room:
        _echo_drawn(columns, cells, min(widths[widest], room - others), widest, numbers)
    else:
        _echo_blocks(columns, cells)


def _on_one_line(text: str) -> str:
    """The text with its control characters spelt out: a file's name may hold line ends and worse."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _echo_plain(
    columns: Sequence[str], rows: list[list[str]], widths: list[int], numbers: Sequence[str]
) -> None:
    for row in [list(columns), *rows]:
        cells = zip(columns, row, widths, strict=True)
        line = "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width) for column, cell, width in cells
        )
        click.echo(line.rstrip())


def _echo_drawn(
    columns: Sequence[str], rows: list[list[str]], width: int, widest: int, numbers: Sequence[str]
) -> None:
    # rich takes longer to import than most verbs take to run, so only a terminal pays for it.
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, column in enumerate(columns):
        table.add_column(
            column,
            justify="right" if column in numbers else "left",
            no_wrap=number != widest,
            overflow="fold",
            max_width=width if number == widest else None,
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def _echo_blocks(columns: Sequence[str], rows: list[list[str]]) -> None:
    for number, row in enumerate(rows):
        if number:
            click.echo()
        click.echo(click.style(row[0], bold=True))
        echo_pairs((f"  {column.lower()}", cell) for column, cell in zip(columns[1:], row[1:], strict=True))
