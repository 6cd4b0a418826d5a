"""Tables on terminals of several widths, and where there is no terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from modelplug.cli.tables import echo_table

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = ("NAME", "STATE", "SIZE", "FORMATS")
ROWS = [
    ("ctransformers", "works on CPU only", "1,024", "gguf, ggml, ggmf, ggjt"),
    ("llamacpp", "works on GPU", None, "gguf"),
]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[int], str]:
    """Prints the table on a terminal of some width."""

    def at(width: int) -> str:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "dumb")
        echo_table(COLUMNS, ROWS, numbers=["SIZE"])
        return capsys.readouterr().out

    return at


def test_without_a_terminal_columns_are_aligned_and_nothing_is_wrapped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Other programs read one row per line; numbers end at the same place."""
    echo_table(COLUMNS, ROWS, numbers=["SIZE"])

    assert capsys.readouterr().out.splitlines() == [
        "NAME           STATE               SIZE  FORMATS",
        "ctransformers  works on CPU only  1,024  gguf, ggml, ggmf, ggjt",
        "llamacpp       works on GPU              gguf",
    ]


@pytest.mark.parametrize("width", [62, 70, 80, 200])
def test_a_drawn_table_fits_and_cuts_no_name(printed: Callable[[int], str], width: int) -> None:
    """Only the widest column is wrapped, between words."""
    text = printed(width)

    assert "─" in text
    assert max(map(len, text.splitlines())) < width
    for word in ("ctransformers", "works on CPU only", "1,024", "ggjt"):
        assert word in text


def test_on_a_narrow_terminal_each_row_is_a_block(printed: Callable[[int], str]) -> None:
    """Columns of three letters help nobody."""
    lines = printed(40).splitlines()

    assert "ctransformers" in lines[0]
    assert "  state    works on CPU only" in lines
    assert lines[-1] == "  formats  gguf"


def test_line_ends_and_escape_sequences_in_a_cell_are_spelt_out(capsys: pytest.CaptureFixture[str]) -> None:
    """The name of a file may hold anything; a table shows it in one line, and never obeys it."""
    echo_table(("PATH",), [("new\nline\x1b[31m.gguf",)])

    assert capsys.readouterr().out.splitlines() == ["PATH", "new\\nline\\x1b[31m.gguf"]
