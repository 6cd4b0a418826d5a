"""Values written anew: the value stays, its spelling is that of new values, everything else is as it was."""

from __future__ import annotations

import pytest

from modelplug.documents import TreeError, read_document
from modelplug.documents.nodes import Path


@pytest.mark.parametrize(
    ("format", "before", "path", "after"),
    [
        ("yaml", "a: 1.0e6  # big\nb: 1\n", ("a",), "a: 1000000.0  # big\nb: 1\n"),
        ("yaml", "a:\n  b: 1e-4\n", ("a", "b"), "a:\n  b: 0.0001\n"),
        ("yaml", "a: [1e0, 2.50, 3e20] # list\n", ("a", 0), "a: [1.0, 2.50, 3e20] # list\n"),
        ("yaml", "a:\n- 1e20\n- 2\n", ("a", 0), "a:\n- 1.0e+20\n- 2\n"),
        ("yaml", "a: {b: 0x10}", ("a", "b"), "a: {b: 16}"),
        ("yaml", "a: &x 1e1\nb: 2\n", ("a",), "a: &x 10.0\nb: 2\n"),
        ("json", '{"a": 1E2, "b": 1.50}', ("a",), '{"a": 100.0, "b": 1.50}'),
        ("toml", "a = 1_000 # many\n", ("a",), "a = 1000 # many\n"),
    ],
)
def test_a_scalar_is_written_anew(format: str, before: str, path: Path, after: str) -> None:  # noqa: A002
    """In every format, in blocks, brackets and lists."""
    document = read_document(before.encode(), format)
    value = document.value
    assert document.spelling(path) in before
    document.tree.respell(path)
    assert document.render().decode() == after
    assert document.value == value
    assert document.spelling(path) is None
    (leaf,) = [leaf for leaf in document.tree.leaves() if path[: len(leaf.path)] == leaf.path]
    assert leaf.changed
    assert leaf.origin is not None


def test_another_value_brings_the_old_spelling_back() -> None:
    """As for any change: a value that is the original one again is written as it was."""
    document = read_document(b"a: 1.0e6\n", "yaml")
    document.tree.respell(("a",))
    document.tree.set(("a",), 2.0)
    document.tree.set(("a",), 1e6)
    assert document.render() == b"a: 1.0e6\n"


@pytest.mark.parametrize("path", [("a",), ("b",), ("nothing",), ()])
def test_what_is_no_scalar_is_refused(path: Path) -> None:
    """Objects, lists and what is not there can't be spelled; nothing is changed then."""
    document = read_document(b"a: {x: 1}\nb: [1]\n", "yaml")
    with pytest.raises(TreeError):
        document.tree.respell(path)
    assert not document.changed


def test_what_others_refer_to_is_refused() -> None:
    """An anchor that is in use keeps its value as it is written."""
    document = read_document(b"a: &x 1e6\nb: *x\n", "yaml")
    with pytest.raises(TreeError, match="anchor"):
        document.tree.respell(("a",))
    assert document.spelling(("a",)) == "&x 1e6"
