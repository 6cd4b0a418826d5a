"""The tree of a document: looking things up, the rules of edits, and what leaves remember."""

from __future__ import annotations

import datetime
import enum
from typing import Any

import pytest
from core.tests.documents.edit_steps import Step, apply

from modelplug.documents import Document, Leaf, TreeError, read_document

TEXTS = {
    "json": '{"a.b": 1, "sec": {"x": 1.0, "list": [1, {"y": true}], "empty": {}}, "none": {"z": "q"}}',
    "yaml": "a.b: 1\nsec:\n  x: 1.0\n  list:\n  - 1\n  - y: true\n  empty: {}\nnone:\n  z: q\n",
    "toml": '"a.b" = 1\n[sec]\nx = 1.0\nlist = [1, {y = true}]\nempty = {}\n[none]\nz = "q"\n',
}
VALUE = {"a.b": 1, "sec": {"x": 1.0, "list": [1, {"y": True}], "empty": {}}, "none": {"z": "q"}}


@pytest.fixture(params=sorted(TEXTS))
def document(request: pytest.FixtureRequest) -> Document:
    """The same content in each format."""
    return read_document(TEXTS[request.param].encode(), request.param)


def test_values_are_found_by_path(document: Document) -> None:
    """Names are taken literally, positions count from 0, and what is not there gives the default."""
    tree = document.tree
    assert document.value == tree.get(()) == VALUE
    assert tree.get(("a.b",)) == 1
    assert tree.get(("sec", "list", 1, "y")) is True
    assert tree.get(("sec", "list", -1), "default") == "default"
    assert tree.get(("a", "b")) is None
    assert tree.get(("a.b", "c"), 7) == 7
    assert tree.has(("sec", "list", 0))
    assert not tree.has(("sec", "list", 2))
    assert not tree.has(("sec", 0))
    assert tree.names() == ("a.b", "sec", "none")
    assert tree.names(("sec",)) == ("x", "list", "empty")
    assert tree.names(("sec", "list")) == tree.names(("nowhere",)) == ()
    assert tree.is_mapping(())
    assert tree.is_mapping(("sec", "empty"))
    assert not tree.is_mapping(("sec", "list"))
    assert not tree.is_mapping(("nowhere",))


def test_values_share_nothing_with_the_tree(document: Document) -> None:
    """Changing what was handed out changes nothing in the document."""
    document.tree.get(("sec",))["list"].append(2)
    document.value["sec"].clear()
    dict(document.tree.source_leaves())["sec", "list"].append(2)
    assert document.value == VALUE
    assert not document.changed


def test_leaves_know_where_they_were(document: Document) -> None:
    """A leaf tells its path, its original path, and whether its value changed."""
    tree = document.tree
    assert tree.source_leaves() == (
        (("a.b",), 1),
        (("sec", "x"), 1.0),
        (("sec", "list"), [1, {"y": True}]),
        (("sec", "empty"), {}),
        (("none", "z"), "q"),
    )
    tree.rename(("sec",), "model")
    tree.move(("a.b",), ("model", "count"))
    tree.set(("model", "x"), 1)
    tree.set(("model", "list", 1, "y"), False)
    tree.set(("new", "deep"), "n")
    tree.remove(("none", "z"))
    assert {leaf.path: leaf for leaf in tree.leaves()} == {
        leaf.path: leaf
        for leaf in [
            Leaf(("model", "x"), 1, ("sec", "x"), changed=True),
            Leaf(("model", "list"), [1, {"y": False}], ("sec", "list"), changed=True),
            Leaf(("model", "empty"), {}, ("sec", "empty"), changed=False),
            Leaf(("model", "count"), 1, ("a.b",), changed=False),
            Leaf(("none",), {}, ("none",), changed=True),
            Leaf(("new", "deep"), "n", None, changed=True),
        ]
    }
    assert len(tree.source_leaves()) == 5


def test_a_value_set_back_is_no_change(document: Document) -> None:
    """Only the value in the end counts, and its type."""
    tree = document.tree
    tree.set(("sec", "x"), 1)
    assert document.render() != TEXTS[document.format].encode()
    assert [leaf.path for leaf in tree.leaves() if leaf.changed] == [("sec", "x")]
    tree.set(("sec", "x"), 1.0)
    assert not document.changed
    assert not any(leaf.changed for leaf in tree.leaves())


IMPOSSIBLE: list[tuple[Step, str]] = [
    (("rename", ("nowhere",), "b"), "there is no nowhere"),
    (("rename", ("sec", "list", 0), "b"), "no name"),
    (("rename", ("sec",), "none"), "there is a none already"),
    (("rename", ("sec",), 1), "not a name"),
    (("rename", (), "b"), "whole document"),
    (("move", ("nowhere",), ("b",)), "there is no nowhere"),
    (("move", ("sec", "list", 0), ("b",)), "no name"),
    (("move", ("sec",), ("sec", "x", "y")), "into itself"),
    (("move", ("sec",), ()), "whole document"),
    (("move", ("none",), ("sec", "x")), r"sec\.x already"),
    (("move", ("none",), ("sec", "x", "y")), r"sec\.x is not a mapping"),
    (("move", ("none",), ("sec", "list", "y")), r"sec\.list is not a mapping"),
    (("move", ("none",), ("sec", "list", 5, "y")), r"sec\.list is not a mapping"),
    (("move", ("none",), ("sec", 0)), "not a name"),
    (("move", ("none",), ("new", 0, "y")), "not a name"),
    (("set", (), {}), "whole document"),
    (("set", ("a.b", "c"), 1), r"'a\.b' is not a mapping"),
    (("set", ("sec", "list", 3), 1), "no place"),
    (("set", ("sec", 0), 1), "no place"),
    (("set", ("new", 0), 1), "not a name"),
    (("set", ("a.b",), object()), "type object"),
    (("set", ("new",), {"x": {1, 2}}), "type set"),
    (("insert", ("sec", "x"), 1), r"sec\.x already"),
    (("remove", ("nowhere", "x")), r"there is no nowhere\.x"),
    (("remove", ("sec", "list", 2)), r"there is no sec\.list\[2\]"),
    (("remove", ()), "whole document"),
]


@pytest.mark.parametrize(("step", "reason"), IMPOSSIBLE)
def test_impossible_edits_change_nothing(document: Document, step: Step, reason: str) -> None:
    """What can't be done is refused with its path, and the document is as it was."""
    with pytest.raises(TreeError, match=reason) as caught:
        apply(document, step)
    assert isinstance(caught.value.path, tuple)
    assert isinstance(caught.value, ValueError)
    assert document.value == VALUE
    assert not document.changed
    assert document.tree.revision == 0


def test_edits_that_do_nothing_are_no_edits(document: Document) -> None:
    """Renaming to the same name, moving to the same place, and setting the same value are silent."""
    steps: list[Step] = [
        ("rename", ("sec",), "sec"),
        ("move", ("sec", "x"), ("sec", "x")),
        ("set", ("sec",), VALUE["sec"]),
        ("set", ("sec", "list"), (1, {"y": True})),
    ]
    assert not apply(document, *steps).changed
    assert document.tree.revision == 0


class Kind(str, enum.Enum):
    """A text with a name."""

    SMALL = "small"


def test_values_of_derived_types_are_written_as_what_they_are(document: Document) -> None:
    """Tuples, and texts and numbers with more to them, become plain values."""
    document.tree.set(("t",), (Kind.SMALL, 2))
    assert document.value["t"] == ["small", 2]
    assert type(document.value["t"][0]) is str
    reread = read_document(document.render(), document.format)
    assert reread.value == document.value


UNWRITABLE = [
    ("json", float("nan")),
    ("json", float("inf")),
    ("json", datetime.date(2020, 1, 2)),
    ("json", b"x"),
    ("json", {1: 2}),
    ("toml", None),
    ("toml", [None]),
    ("toml", b"x"),
    ("toml", "\ud800"),
    ("toml", {None: 2}),
    ("yaml", "\ud800"),
    ("yaml", {"k" * 2000: 1}),
    ("yaml", {(1, 2): 1}),
    ("yaml", datetime.time(1, 2)),
]


@pytest.mark.parametrize(("kind", "value"), UNWRITABLE)
def test_what_a_format_cannot_hold_is_refused(kind: str, value: Any) -> None:
    """Each format takes the values it has a spelling for."""
    document = read_document(TEXTS[kind].encode(), kind)
    with pytest.raises(TreeError, match="can't hold"):
        document.tree.set(("new",), value)
    assert not document.changed


WRITABLE = [
    ("json", None),
    ("json", "\ud800"),
    ("json", "\u2028\x00"),
    ("toml", float("inf")),
    ("toml", datetime.datetime(2020, 1, 2, 3, 4, 5, 6000)),  # noqa: DTZ001  local on purpose
    ("toml", datetime.datetime(2020, 1, 2, 3, 4, tzinfo=datetime.timezone.utc)),
    ("toml", datetime.time(1, 2, 3)),
    ("toml", "\x00\x7f\u2028"),
    ("yaml", datetime.date(2020, 1, 2)),
    ("yaml", datetime.datetime(2020, 1, 2, 3, 4, 5, 6000)),  # noqa: DTZ001  local on purpose
    ("yaml", b"\x00\xff"),
    ("yaml", "\x00\x85\x7f\ufeff\u2028\uffff"),
    ("yaml", "\U0001f600"),
    ("yaml", {1: "a", None: "c", 0.5: "d", "1": "e"}),
    ("yaml", ["", " ", "a ", "-", "?x", "a:", "a: b", "#", "a #b", "é", "null", "0x1", "1:30", "=", "<<"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), WRITABLE)
def test_what_a_format_can_hold_is_read_back_as_it_was(kind: str, value: Any) -> None:
    """Values of every type come back equal, in blocks and in lists."""
    document = read_document(TEXTS[kind].encode(), kind)
    document.tree.set(("new",), value)
    document.tree.set(("sec", "list", 0), value)
    reread = read_document(document.render(), kind)
    assert reread.value["new"] == value
    assert reread.value["sec"]["list"][0] == value


def test_a_document_may_be_a_list() -> None:
    """Entries in the items of a list are edited in place; there are no names at the top."""
    for text, format_ in (('[{"a": 1}, 2]', "json"), ("- a: 1\n- 2\n", "yaml")):
        document = read_document(text.encode(), format_)
        assert document.tree.names() == ()
        assert document.tree.source_leaves() == (((), [{"a": 1}, 2]),)
        document.tree.set((0, "a"), 3)
        document.tree.set((2,), 4)
        assert document.tree.leaves() == [Leaf((), [{"a": 3}, 2, 4], (), changed=True)]
        assert read_document(document.render(), format_).value == [{"a": 3}, 2, 4]
        with pytest.raises(TreeError):
            document.tree.set(("a",), 1)
