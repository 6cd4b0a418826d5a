"""Changes to spans of a text, and taking items out of lists."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelplug_migrators.resnet_bk.source.edits import Edits, removals


def test_changes_are_applied_together() -> None:
    """Offsets are those of the text as it was."""
    edits = Edits()
    edits.replace(0, 3, "ONE")
    edits.insert(4, "<")
    edits.append(7, ">")
    edits.delete(7, 8)
    assert edits.apply("one two three") == "ONE <two>three"


def test_insertions_at_one_place_keep_their_order() -> None:
    """The first one comes first, unless ranks say otherwise."""
    edits = Edits()
    edits.insert(1, "a")
    edits.insert(1, "b")
    edits.insert(1, "c", rank=-1)
    assert edits.apply("__") == "_cab_"


def test_what_belongs_to_something_that_goes_goes_with_it() -> None:
    """Changes within a deletion, and what was put behind its end, are gone; what comes after is not."""
    edits = Edits()
    edits.replace(2, 3, "X")
    edits.append(4, "!")
    edits.insert(4, "?")
    edits.delete(1, 4)
    edits.delete(3, 4)
    assert edits.apply("abcdef") == "a?ef"


def test_contradictions_are_found() -> None:
    """Two changes of one place are a fault of a rule."""
    edits = Edits()
    edits.replace(0, 3, "x")
    edits.replace(2, 4, "y")
    with pytest.raises(ValueError, match="overlap"):
        edits.apply("abcdef")


def test_a_deletion_ends_where_a_part_ends() -> None:
    """What goes on beyond the part is the business of the next one."""
    edits = Edits()
    edits.delete(2, 6)
    edits.insert(8, "x")
    assert edits.within(0, 4, closed=False).apply("abcd") == "ab"
    assert edits.within(4, 8, closed=False).apply("efgh") == "gh"
    assert edits.within(8, 10, closed=True).apply("ij") == "xij"


VALUES = st.sampled_from(["1", "(1,\n 2)", "x[1]", '""'])
SEPARATORS = st.sampled_from([", ", ",", " , ", ",\n    ", ",  # so\n    ", "\n    , ", "  # so\n    , "])


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]], set[int]]:
    """A call, where its arguments are, and which of them go."""
    count = draw(st.integers(1, 5))
    text, spans = draw(st.sampled_from(["f(", "f(\n    ", "f(  # all\n    "])), []
    for index in range(count):
        item = f"a{index}={draw(VALUES)}"
        spans.append((len(text), len(text) + len(item)))
        text += item + (draw(SEPARATORS) if index < count - 1 else "")
    text += draw(st.sampled_from([")", ",)", "\n)", ",\n)", ",  # last\n)", "  # last\n)"]))
    return text, spans, draw(st.sets(st.integers(0, count - 1)))


@given(calls())
def test_items_go_and_comments_stay(drawn: Any) -> None:
    """What is left can be read, has the other items in their order, and every comment."""
    text, spans, gone = drawn
    edits = Edits()
    edits.extend(removals(text, spans, gone))
    after = edits.apply(text)
    (statement,) = ast.parse(after).body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Call)
    left = [keyword.arg for keyword in statement.value.keywords]
    assert left == [f"a{index}" for index in range(len(spans)) if index not in gone]
    assert re.findall("#.*", after) == re.findall("#.*", text)
