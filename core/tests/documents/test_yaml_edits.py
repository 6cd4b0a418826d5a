"""Each edit of a YAML text, with the exact text that comes out."""

from __future__ import annotations

import pytest
from core.tests.documents.edit_steps import FRONT, Step, edited

CONFIG = """\
# header

# the rate
lr: 1.0e-8  # small
model:   # the model
    size: 0x1F
    # layers
    depth: 035

    opts: {a: ~, b: [1_000, 2]}
    # end of the model

seq:
- a
- x: 1   # one
  y: 2
text: |
  two
    lines
"""

RENAMES = [
    ("a : 1\n", ("a",), "b", "b : 1\n"),
    ("'a': 1\n", ("a",), "yes", "'yes': 1\n"),
    ("? a\n: 1\n", ("a",), "b", "? b\n: 1\n"),
    ("0.25: x\n", ("0.25",), "0.5", "'0.5': x\n"),
    ("a: {b: 1, ? c : 2, d}\n", ("a", "c"), "e", "a: {b: 1, ? e : 2, d}\n"),
    ("a: {b: 1, d}\n", ("a", "d"), "e f", "a: {b: 1, e f}\n"),
    ("- a: 1\n  b: 2\n", (0, "a"), "c", "- c: 1\n  b: 2\n"),
    ("a: [b: 1]\n", ("a", 0, "b"), "c", "a: [c: 1]\n"),
    (CONFIG, ("model", "depth"), "n_layers", CONFIG.replace("depth:", "n_layers:")),
    ("a: 1\r\nb: 2", ("b",), "c", "a: 1\r\nc: 2"),
]


@pytest.mark.parametrize(("before", "path", "name", "after"), RENAMES)
def test_renaming_changes_the_key_alone(
    before: str, path: tuple[str | int, ...], name: str, after: str
) -> None:
    """A renamed entry keeps its place and every byte but its key's."""
    assert edited(before, "yaml", ("rename", path, name)) == after


MOVES: list[tuple[str, list[tuple[tuple[str | int, ...], tuple[str | int, ...]]], str]] = [
    (  # to the end of a section, above the comment that ends it
        CONFIG,
        [(("lr",), ("model", "rate"))],
        CONFIG.replace("# the rate\nlr: 1.0e-8  # small\n", "").replace(
            "    # end of", "    # the rate\n    rate: 1.0e-8  # small\n    # end of"
        ),
    ),
    (  # a section with everything in it, indented anew
        CONFIG,
        [(("model",), ("a", "model"))],
        (
            "# header\n\n# the rate\nlr: 1.0e-8  # small\n\nseq:\n- a\n- x: 1   # one\n  y: 2\n"
            "text: |\n  two\n    lines\na:\n    model:   # the model\n        size: 0x1F\n"
            "        # layers\n        depth: 035\n\n        opts: {a: ~, b: [1_000, 2]}\n"
            "        # end of the model\n"
        ),
    ),
    (  # text in lines of its own keeps its shape
        "text: |2-\n    two\n  lines\n\nx:\n  y: 1\n",
        [(("text",), ("x", "text"))],
        "\nx:\n  y: 1\n  text: |2-\n      two\n    lines\n",
    ),
    ("a:\n  - b: 1\n    c: 2\n", [(("a", 0, "b"), ("b",))], "a:\n  - c: 2\nb: 1\n"),
    (
        "a:\n  - b: 1\n    # of c\n    c: 2\n",
        [(("a", 0, "b"), ("b",))],
        "a:\n  -\n    # of c\n    c: 2\nb: 1\n",
    ),
    (
        "a:\n  - b: 1\n    c: 2\n",
        [(("a", 0, "b"), ("b",)), (("a", 0, "c"), ("c",))],
        "a:\n  - {}\nb: 1\nc: 2\n",
    ),
    ("a: 1\nb:\n  - c: 2\n", [(("a",), ("b", 0, "a"))], "b:\n  - c: 2\n    a: 1\n"),
    ("a: {b: 1, c: 2}\nd: {}  # d\n", [(("a", "b"), ("d", "b"))], "a: {c: 2}\nd:  # d\n  b: 1\n"),
    ("a: {b: 1, c: 2}\nd: {e: 3}\n", [(("a", "b"), ("d", "b"))], "a: {c: 2}\nd: {e: 3, b: 1}\n"),
    ('a: {"b":1, c}\n', [(("a", "b"), ("b",)), (("a", "c"), ("c",))], 'a: {}\n"b": 1\nc:\n'),
    (  # from a block into brackets: lines become brackets, comments go above
        "a: {b: 1}\n# sec\nsec:  # behind\n  c: 0x1F # c\n  d: 'q'\nt: |\n  x\n",
        [(("sec",), ("a", "sec")), (("t",), ("a", "t"))],
        "a: {b: 1,\n  # sec\n  # behind\n  # c\n  sec: {c: 0x1F, d: 'q'}, t: \"x\\n\"}\n",
    ),
    (  # from brackets over several lines into a block
        "a: {\n  # of b\n  b: [1,\n  2], # b\n  c: 3\n}\n",
        [(("a", "b"), ("x", "z", "b"))],
        "a: {\n  c: 3\n}\nx:\n  z:\n    # of b\n    b: [1,\n      2] # b\n",
    ),
    ("a: 1\nb:\n  c: 2", [(("a",), ("b", "a"))], "b:\n  c: 2\n  a: 1"),
    ("a: 1\r\nb:\r\n  c: 2\r\n", [(("a",), ("b", "a"))], "b:\r\n  c: 2\r\n  a: 1\r\n"),
    ("\ufeff# a\na: 1\nb:\n  c: 2\n", [(("a",), ("b", "a"))], "\ufeffb:\n  c: 2\n  # a\n  a: 1\n"),
    (  # a comment indented deeper belongs to what stands above it, one that is not to what stands below
        "a:\n  b: 1\n  # deeper\n# of c\nc: 2\nd:\n  e: 3\n",
        [(("c",), ("d", "c"))],
        "a:\n  b: 1\n  # deeper\nd:\n  e: 3\n  # of c\n  c: 2\n",
    ),
    (
        "a:\n  b: 1\n  # deeper\n# of c\nc: 2\nd:\n  e: 3\n",
        [(("a",), ("d", "a"))],
        "# of c\nc: 2\nd:\n  e: 3\n  a:\n    b: 1\n    # deeper\n",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("before", "moves", "after"), MOVES)
def test_moving_carries_value_and_comments(
    before: str, moves: list[tuple[tuple[str | int, ...], tuple[str | int, ...]]], after: str
) -> None:
    """A moved entry keeps its bytes, indented anew, and takes the comments about it along."""
    assert edited(before, "yaml", *(("move", path, to) for path, to in moves)) == after


SETS: list[tuple[str, list[Step], str]] = [
    (CONFIG, [("set", ("lr",), 2)], CONFIG.replace("1.0e-8", "2")),
    (CONFIG, [("set", ("lr",), 2), ("set", ("lr",), 1.0e-8)], CONFIG),
    (CONFIG, [("set", ("model", "depth"), 35), ("set", ("text",), "two\n  lines\n")], CONFIG),
    (
        "a: 'x'\nb: \"y\"\nc: z\n",
        [("set", ("a",), "p"), ("set", ("b",), "q"), ("set", ("c",), "r")],
        "a: 'p'\nb: \"q\"\nc: r\n",
    ),
    ("a: 1 # one\n", [("set", ("a",), {"b": 1e-8})], "a: # one\n  b: 1.0e-08\n"),
    ("a: # one\n  b: 1 # b\n  c: 2\n", [("set", ("a",), 5)], "a: 5 # one\n"),
    ("a: # one\n  b: 1 # b\n  c: 2\n", [("set", ("a",), {"c": 3})], "a: # one\n  # b\n  c: 3\n"),
    ("a: | # why\n  x\nb: 1\n", [("set", ("a",), 5)], "a: 5 # why\nb: 1\n"),
    ("a:\nb: # b\n", [("set", ("a",), 5), ("set", ("b",), [1, "two"])], "a: 5\nb: [1, two] # b\n"),
    ("a: &x 1\nb: !!str 2\n", [("set", ("a",), 5), ("set", ("b",), 6)], "a: &x 5\nb: 6\n"),
    ("a: [1, 2]\n", [("set", ("a",), [1, 3, 4])], "a: [1, 3, 4]\n"),
    ("a:\n- 1\n- 2 # two\n", [("set", ("a", 2), 3)], "a:\n- 1\n- 2 # two\n- 3\n"),
    ("a:\n- 1\n", [("set", ("a", 1), {"x": 1, "u": [{"z": 2}]})], "a:\n- 1\n- x: 1\n  u:\n    - z: 2\n"),
    ("a:\n- 1\n- 2\n", [("set", ("a",), [])], "a: []\n"),
    ("a:\n- x: 1\n", [("set", ("a", 0), 7)], "a:\n- 7\n"),
    ("a: {b: 1}\n", [("set", ("a", "c"), {"d": [1]})], "a: {b: 1, c: {d: [1]}}\n"),
    ("a: {b, c: }\n", [("set", ("a", "b"), 1), ("set", ("a", "c"), 2)], "a: {b: 1, c: 2 }\n"),
    ("", [("set", ("a", "b"), 1)], "a:\n  b: 1\n"),
    ("# only\n", [("set", ("a",), 1)], "# only\na: 1\n"),
    ("# only", [("set", ("a",), 1)], "# only\na: 1"),
    ("---\n...\n", [("set", ("a",), 1)], "---\na: 1\n...\n"),
    ("---\na: 1\n...\n---\nb: 2\n", [("set", ("c",), None)], "---\na: 1\nc: null\n...\n---\nb: 2\n"),
    (CONFIG, [("insert", ("v",), 2, FRONT)], CONFIG.replace("# the rate", "v: 2\n# the rate")),
    ("- a: 1\n", [("insert", (0, "v"), 2, FRONT)], "- v: 2\n  a: 1\n"),
    ("a: {b: 1}\n", [("insert", ("a", "v"), 2, FRONT)], "a: {v: 2, b: 1}\n"),
    (
        "a: 1\n",
        [("set", ("b",), "on"), ("set", ("c",), "1e3"), ("set", ("d",), "x y"), ("set", ("e",), "a\tb")],
        "a: 1\nb: 'on'\nc: '1e3'\nd: x y\ne: \"a\\tb\"\n",
    ),
    (
        "a: 1\n",
        [("set", ("b",), 1e-8), ("set", ("c",), 1e22), ("set", ("d",), float("-inf"))],
        "a: 1\nb: 1.0e-08\nc: 1.0e+22\nd: -.inf\n",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("before", "steps", "after"), SETS)
def test_setting_touches_only_what_differs(before: str, steps: list[Step], after: str) -> None:
    """Values change in place, new entries follow the layout, and original values come back as written."""
    assert edited(before, "yaml", *steps) == after


REMOVALS = [
    (CONFIG, [("lr",)], CONFIG.replace("lr: 1.0e-8  # small", "# small")),
    (CONFIG, [("seq", 0)], CONFIG.replace("- a\n", "")),
    (CONFIG, [("seq", 1, "x")], CONFIG.replace("- x: 1   # one", "-\n  # one")),
    (CONFIG, [("seq", 1, "y"), ("seq", 1, "x")], CONFIG.replace("- x: 1   # one\n  y: 2", "- {}\n  # one")),
    (CONFIG, [("model", "opts", "a")], CONFIG.replace("a: ~, ", "")),
    (
        CONFIG,
        [("model",)],
        (
            "# header\n\n# the rate\nlr: 1.0e-8  # small\n# the model\n# layers\n"
            "# end of the model\n\nseq:\n- a\n- x: 1   # one\n  y: 2\ntext: |\n  two\n"
            "    lines\n"
        ),
    ),
    ("a:  # a\n  b: 1  # b\n", [("a", "b")], "a: {}  # a\n  # b\n"),
    ("a:\n- 1\n- 2 # two\n", [("a", 1), ("a", 0)], "a: []\n# two\n"),
    ("- - 1\n  - 2\n", [(0, 0)], "- - 2\n"),
    ("a: 1\n", [("a",)], ""),
    ("# head\n\na: 1 # one\n---\nb: 2\n", [("a",)], "# head\n\n{}\n# one\n---\nb: 2\n"),
    ("a: {b: 1, # one\n c: 2}\n", [("a", "b")], "a: { # one\n c: 2}\n"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "paths", "after"), REMOVALS)
def test_removing_keeps_every_comment(before: str, paths: list[tuple[str | int, ...]], after: str) -> None:
    """An entry goes with its lines, and the comments about it and in it stay."""
    assert edited(before, "yaml", *(("remove", path) for path in paths)) == after


CHAINS: list[tuple[str, list[Step], str]] = [
    (
        CONFIG,
        [
            ("rename", ("lr",), "rate"),
            ("move", ("rate",), ("x", "y")),
            ("move", ("x", "y"), ("lr",)),
            ("remove", ("x",)),
            ("move", ("seq", 1, "x"), ("model", "opts", "x")),
            ("move", ("model",), ("text2", "m")),
            ("move", ("text2", "m", "opts", "x"), ("seq", 1, "x")),
            ("move", ("text2", "m"), ("model",)),
            ("remove", ("text2",)),
        ],
        CONFIG,
    ),
    (  # what stands below a text must not get into it
        "a: |+\n  x\nb: 1\n\nc: 2\n",
        [("move", ("b",), ("m", "b"))],
        "a: |\n  x\n\nc: 2\nm:\n  b: 1\n",
    ),
    ("a: 1\nb: |\n  x", [("move", ("a",), ("m", "a"))], "b: |-\n  x\nm:\n  a: 1\n"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "steps", "after"), CHAINS)
def test_entries_keep_their_places_through_chains_of_edits(
    before: str, steps: list[Step], after: str
) -> None:
    """Only where an entry is in the end counts, and not the way it took."""
    assert edited(before, "yaml", *steps) == after
