"""Source files: their bytes stay where nothing changes, and what is no text is told."""

from __future__ import annotations

import codecs

import pytest

from modelplug.migration.account import Severity
from modelplug.migration.sources import SourceEditor


@pytest.mark.parametrize(
    ("data", "after"),
    [
        (b"x = 1\n", b"x = 2\n"),
        (b"x = 1\r\n", b"x = 2\r\n"),
        (codecs.BOM_UTF8 + b"x = 1", codecs.BOM_UTF8 + b"x = 2"),
        (b"# coding: latin-1\nx = 1  # \xe9\n", b"# coding: latin-1\nx = 2  # \xe9\n"),
        ("x = 1  # ü\n".encode(), "x = 2  # ü\n".encode()),
    ],
)
def test_the_rest_of_a_file_stays(data: bytes, after: bytes) -> None:
    """Encoding, byte-order mark and line ends are those the file had."""
    editor = SourceEditor(data)
    assert editor.render() == data
    editor.text = editor.text.replace("x = 1", "x = 2")
    assert editor.render() == after


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        ("x = 1\n".encode("utf-16"), 1, "it is UTF-16; save it as UTF-8"),
        (b"x = 1\ny = '\xe9'\n", 2, "byte 11 belongs to no UTF-8 character"),
        (b"x = 1\n\n\ny = '\xe9'\n", 4, "byte 13 belongs to no UTF-8 character"),
        (b"# coding: nothing\n", 1, "unknown encoding: nothing"),
    ],
)
def test_what_is_no_text_is_told_and_stays(data: bytes, line: int, reason: str) -> None:
    """Its text is empty, and whatever steps make of that, the file keeps its bytes."""
    editor = SourceEditor(data)
    assert editor.text == ""
    editor.text = "something"
    assert editor.render() == data
    (told,) = editor.findings
    assert (told.severity, told.line) == (Severity.TODO, line)
    assert told.message == f"this is no source text, and stays as it is: {reason}"


def test_only_programs_declare_an_encoding() -> None:
    """In other texts a line that looks like a declaration is a line."""
    text = "# encoding: what it is\n\n…"
    editor = SourceEditor(text.encode(), declared=False)
    assert editor.text == text
    assert editor.findings == ()


def test_findings_say_which_step_made_them() -> None:
    """Each has the step that was under way."""
    editor = SourceEditor(b"x = 1\n")
    editor.begin_step("1 -> 2")
    editor.warn("one", 1)
    editor.begin_step("2 -> 3")
    editor.note("two")
    assert [(told.step, told.line) for told in editor.findings] == [("1 -> 2", 1), ("2 -> 3", None)]
