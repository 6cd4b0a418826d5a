"""YAML whose parts are tied together: anchors, aliases, merge keys, tags."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from core.tests.documents.edit_steps import FRONT, Step, apply, edited
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from modelplug.documents import DocumentSyntaxError, TreeError, read_document

TIED = """\
base: &base  # shared
  lr: 1.0e-3
  betas: &betas [0.9, 0.99]
small:
  <<: *base
  lr: 1.0e-4
other:
  betas: *betas
  tag: !!str 3
  free: &free {x: 1}
tail: 1
"""


def test_aliases_and_merge_keys_mean_what_they_refer_to() -> None:
    """What is taken over counts in values and names, and is told apart from what stands in place."""
    tree = read_document(TIED.encode(), "yaml").tree
    assert tree.get(("small",)) == {"lr": 1.0e-4, "betas": [0.9, 0.99]}
    assert tree.get(("small", "betas", 1)) == 0.99
    assert tree.get(("other", "betas")) == [0.9, 0.99]
    assert tree.has(("small", "betas"))
    assert tree.names(("small",)) == ("lr", "betas")
    assert ("small", "betas") not in dict(tree.source_leaves())
    assert tree.get(()) == YAML(typ="safe", pure=True).load(TIED)


REFUSED: list[Step] = [
    ("set", ("base", "lr"), 2),
    ("set", ("base", "new"), 2),
    ("set", ("base", "betas", 0), 2),
    ("set", ("base", "betas"), 2),
    ("set", ("base",), 2),
    ("rename", ("base", "lr"), "rate"),
    ("remove", ("base", "lr")),
    ("remove", ("base",)),
    ("move", ("base",), ("x", "base")),
    ("move", ("base", "betas"), ("betas",)),
    ("move", ("tail",), ("base", "tail")),
    ("move", ("small",), ("base2", "small")),
    ("move", ("small", "betas"), ("betas",)),
    ("rename", ("small", "betas"), "b"),
    ("remove", ("small", "betas")),
    ("rename", ("small", "lr"), "betas"),
    ("set", ("small", "betas", 0), 1),
    ("set", ("other", "betas", 0), 1),
    ("move", ("tail",), ("small", "betas", "x")),
    ("set", ("small",), {"lr": 1}),
]


@pytest.mark.parametrize("step", REFUSED)
def test_edits_that_would_show_elsewhere_are_refused(step: Step) -> None:
    """What other parts refer to can't be changed, moved or removed; nor can what is only referred to."""
    text = "base2: {}\n" + TIED
    document = read_document(text.encode(), "yaml")
    with pytest.raises(TreeError) as caught:
        apply(document, step)
    assert caught.value.path
    assert document.render() == text.encode()


ALLOWED: list[tuple[list[Step], str, str]] = [
    ([("rename", ("base",), "defaults")], "base: &base", "defaults: &base"),
    ([("set", ("small", "lr"), 2)], "lr: 1.0e-4", "lr: 2"),
    ([("set", ("small", "betas"), [1])], "  lr: 1.0e-4\n", "  lr: 1.0e-4\n  betas: [1]\n"),
    ([("set", ("small", "betas"), [0.9, 0.99])], "", ""),
    ([("set", ("other", "betas"), 5)], "*betas", "5"),
    ([("set", ("other", "betas"), 5), ("set", ("other", "betas"), [0.9, 0.99])], "", ""),
    ([("set", ("other", "tag"), 5)], "!!str 3", "5"),
    ([("set", ("other", "free"), 5)], "&free {x: 1}", "&free 5"),
    ([("remove", ("other", "betas"))], "  betas: *betas\n", ""),
    ([("rename", ("other", "betas"), "b")], "betas: *betas", "b: *betas"),
    ([("move", ("other", "betas"), ("b",))], "tail: 1\n", "tail: 1\nb: *betas\n"),
    (
        [("move", ("small",), ("x", "small"))],
        "tail: 1\n",
        "tail: 1\nx:\n  small:\n    <<: *base\n    lr: 1.0e-4\n",
    ),
    ([("insert", ("small", "v"), 1, FRONT)], "small:\n", "small:\n  v: 1\n"),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "old", "new"), ALLOWED)
def test_edits_that_leave_the_ties_alone_are_made(steps: list[Step], old: str, new: str) -> None:
    """Whatever does not change what an alias means is edited as anything else."""
    expected = TIED.replace(old, new) if old else TIED
    for path, lines in {
        ("other", "betas"): "  betas: *betas\n",
        ("small",): "small:\n  <<: *base\n  lr: 1.0e-4\n",
    }.items():
        if steps[0][0] == "move" and steps[0][1] == path:
            expected = expected.replace(lines, "", 1)
    assert edited(TIED, "yaml", *steps) == expected


def test_parts_tied_to_each_other_move_together() -> None:
    """An anchor and its alias can move if they move as one."""
    text = "a:\n  x: &x 1\n  y: *x\nb: {}\n"
    assert edited(text, "yaml", ("move", ("a",), ("b", "a"))) == "b:\n  a:\n    x: &x 1\n    y: *x\n"


def test_an_alias_must_stay_below_its_anchor() -> None:
    """Moving an alias above what it refers to is refused."""
    document = read_document(b"top:\n  z: 1\na: &x 1\nb: *x\n", "yaml")
    with pytest.raises(TreeError, match="stay below"):
        document.tree.move(("b",), ("top", "b"))


def test_an_anchor_defined_twice_pins_its_aliases() -> None:
    """Where a name means different things in different places, what uses it is not moved."""
    document = read_document(b"a: &x 1\nb: *x\nc: &x 2\nd: *x\n", "yaml")
    assert document.value == {"a": 1, "b": 1, "c": 2, "d": 2}
    with pytest.raises(TreeError, match="more than once"):
        document.tree.move(("b",), ("n", "b"))


def test_a_key_with_an_anchor_stays() -> None:
    """A key to which something refers can be renamed by nobody."""
    document = read_document(b"&k key: 1\nother: *k\n", "yaml")
    assert document.value == {"key": 1, "other": "key"}
    with pytest.raises(TreeError):
        document.tree.rename(("key",), "name")
    with pytest.raises(TreeError):
        document.tree.remove(("key",))


def test_unknown_tags_keep_their_bytes_and_show_what_is_inside() -> None:
    """A tag of another program does not get in the way of edits beside it."""
    text = "a: !!python/object/apply:x.y\n- &i !custom {k: 1}\n- *i\nb: !!binary aGk=\nc: 1\n"
    document = read_document(text.encode(), "yaml")
    assert document.value == {"a": [{"k": 1}, {"k": 1}], "b": b"hi", "c": 1}
    document.tree.move(("a",), ("m", "a"))
    assert (
        document.render()
        .decode()
        .endswith("m:\n  a: !!python/object/apply:x.y\n  - &i !custom {k: 1}\n  - *i\n")
    )


BAD = [
    ("a: *nothing\n", "no anchor", 1, 4),
    ("a: &a [*a]\n", "inside the value", 1, 8),
    ("<<: 1\n", "merge key", 1, 1),
    ("a: &a {}\nb:\n  <<: *a\n  <<: *a\n", "twice", 4, 3),
    (
        "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 1}]\n" for n in range(9)),
        "with its aliases",
        6,
        40,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason", "line", "column"), BAD)
def test_ties_that_lead_nowhere_are_reported(text: str, reason: str, line: int, column: int) -> None:
    """Missing anchors, circles, and aliases that unfold without bound are errors with a place."""
    with pytest.raises(DocumentSyntaxError, match=reason) as caught:
        read_document(text.encode(), "yaml")
    assert (caught.value.line, caught.value.column) == (line, column)


def tied_document(random: Random) -> str:
    """A document with anchors, aliases and merge keys in random places."""
    lines: list[str] = []
    names: list[str] = []
    for number in range(random.randint(2, 6)):
        anchor = f" &n{number}" if random.randrange(2) else ""
        kind = random.choice(("scalar", "section", "alias", "merge", "flow"))
        if kind == "alias" and names:
            lines.append(f"k{number}: *{random.choice(names)}")
            continue
        if kind == "merge" and names:
            lines += [f"k{number}:{anchor}", f"  <<: *{random.choice(names)}", f"  own: {number}  # own"]
        elif kind == "section":
            inner = f" *{random.choice(names)}" if names and random.randrange(2) else " 1"
            lines += [f"k{number}:{anchor}", f"  x:{inner}", "  y: [1, 2]"]
        else:
            lines.append(f"k{number}:{anchor} {{x: 1, y: 2}}")
        if anchor:
            names.append(anchor[2:])
    return "\n".join(lines) + "\n"


@given(st.randoms(use_true_random=True))
@settings(max_examples=150)
def test_no_edit_changes_what_another_part_means(random: Random) -> None:
    """Every edit is refused, or happens in its own place only, by another reader."""
    text = tied_document(random)
    document = read_document(text.encode(), "yaml")
    tree = document.tree
    for _ in range(4):
        before: dict[str, Any] = document.value
        tops = sorted(before)
        if not tops:
            break
        top = random.choice(tops)
        path: tuple[str, ...] = (top, random.choice(("x", "y", "own"))) if random.randrange(2) else (top,)
        kind = random.choice(("rename", "move", "set", "remove"))
        step: Step = {
            "rename": ("rename", path, "renamed"),
            "move": ("move", path, (random.choice([*tops, "made"]), "moved")),
            "set": ("set", path, 7),
            "remove": ("remove", path),
        }[kind]
        try:
            apply(document, step)
        except TreeError:
            assert document.value == before
            continue
        touched = {top, step[2][0] if kind == "move" else top, "renamed"}
        after = YAML(typ="safe", pure=True).load(document.render().decode()) or {}
        assert {key: after[key] for key in after if key not in touched} == {
            key: before[key] for key in before if key not in touched
        }
        assert after == tree.get(())
