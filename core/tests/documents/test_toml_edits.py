"""Each edit of a TOML text, with the exact text that comes out."""

from __future__ import annotations

import datetime

import pytest
from core.tests.documents.edit_steps import FRONT, Step, edited

CONFIG = """\
# header

title = "x"  # the title
a.b = 1_000
a.c = [1, 2,] # list

# the model
[model]  # M
size = 0x1F # width
# layers
depth = 12

[model.opts]
lr = 1e-3
t = { x = 1, "y z" = 'lit' }

[[items]]
name = "one"

[[items]]
name = "two" # second
[items.sub]
q = 1979-05-27 07:32:00

[last.deep]
z = +0.10
"""

RENAMES = [
    ("a = 1\n", ("a",), "b c", '"b c" = 1\n'),
    ("\"a\"  =  'x'", ("a",), "b", "b  =  'x'"),
    ("[a.b]\nx = 1\n[a.c]\n[ a . d ]\n", ("a",), "z", "[z.b]\nx = 1\n[z.c]\n[ z . d ]\n"),
    ("a.b = 1\na . c = 2\n[a.d]\n", ("a",), "z", "z.b = 1\nz . c = 2\n[z.d]\n"),
    ("[[a]]\n[a.b]\n[[a]]\n", ("a",), "z", "[[z]]\n[z.b]\n[[z]]\n"),
    ("[[a]]\nx = 1\n[[a]]\nx = 2\n", ("a", 1, "x"), "y", "[[a]]\nx = 1\n[[a]]\ny = 2\n"),
    ("a = {b = 1, c = 2}\n", ("a", "c"), "d", "a = {b = 1, d = 2}\n"),
    ("a = {b.c = 1, d = [1]}\n", ("a", "b"), "e", "a = { e = { c = 1 }, d = [1] }\n"),
    ("a = [{b = 1}, {b = 2}]\n", ("a", 1, "b"), "c", "a = [{b = 1}, {c = 2}]\n"),
]


@pytest.mark.parametrize(("before", "path", "name", "after"), RENAMES)
def test_renaming_changes_the_key_wherever_it_stands(
    before: str, path: tuple[str | int, ...], name: str, after: str
) -> None:
    """A renamed entry keeps its place, and every header and dotted key that names it follows."""
    assert edited(before, "toml", ("rename", path, name)) == after


MOVES: list[tuple[str, list[tuple[tuple[str | int, ...], tuple[str | int, ...]]], str]] = [
    (  # into a section, at its end
        CONFIG,
        [(("title",), ("model", "name"))],
        CONFIG.replace('title = "x"  # the title\n', "").replace(
            "depth = 12\n", 'depth = 12\nname = "x"  # the title\n'
        ),
    ),
    (  # to the beginning of the file
        CONFIG,
        [(("model", "depth"), ("depth",))],
        CONFIG.replace("# layers\ndepth = 12\n", "").replace("# list\n", "# list\n# layers\ndepth = 12\n"),
    ),
    (  # whole sections, behind those they go to
        CONFIG,
        [(("model",), ("last", "m"))],
        CONFIG[: CONFIG.index("# the model")]
        + CONFIG[CONFIG.index("[[items]]") :]
        + '\n# the model\n[last.m]  # M\nsize = 0x1F # width\n# layers\ndepth = 12\n'
        + "\n[last.m.opts]\nlr = 1e-3\nt = { x = 1, \"y z\" = 'lit' }\n",
    ),
    (  # an array of tables
        "[[a]]\nx = 1\n\n[[a]]\n[a.s]\n\n[b]\ny = 2\n",
        [(("a",), ("b", "z"))],
        "[b]\ny = 2\n\n[[b.z]]\nx = 1\n\n[[b.z]]\n\n[b.z.s]\n",
    ),
    (  # into a section that is made
        "a = 1 # one\n",
        [(("a",), ("x", "y", "a"))],
        "\n[x.y]\na = 1 # one\n",
    ),
    (  # into a table that only dotted keys define
        "x.y.z = 1\na = 2 # two\n[s]\n",
        [(("a",), ("x", "y", "a"))],
        "x.y.z = 1\nx.y.a = 2 # two\n[s]\n",
    ),
    (  # into a table that only the sections below it define
        "a = 1\n\n# of b\n[s.b]\nx = 2\n",
        [(("a",), ("s", "a"))],
        "\n[s]\na = 1\n\n# of b\n[s.b]\nx = 2\n",
    ),
    (  # dotted keys out of their table, which stays as an empty one
        "a.b = 1\na.c = 2\n",
        [(("a", "b"), ("b",)), (("a", "c"), ("c",))],
        "b = 1\nc = 2\n\n[a]\n",
    ),
    ("a.b = 1\na.c = 2\n[s]\n", [(("a",), ("s", "d"))], "[s]\nd.b = 1\nd.c = 2\n"),
    (  # into braces, where no comment can stand
        "# of a\na = 1 # one\nt = {x = 2}\n",
        [(("a",), ("t", "a"))],
        "# of a\n# one\nt = {x = 2, a = 1}\n",
    ),
    (  # a section into braces
        "t = {}\n# of s\n[s] # s\nb = 0x1F # b\n[s.u]\nc.d = 'x'\n",
        [(("s",), ("t", "s"))],
        "# of s\n# s\n# b\nt = { s = { b = 0x1F, u = { c = { d = 'x' } } } }\n",
    ),
    ("t = {x = 2, y = [1, # one\n  2]}\n", [(("t", "y"), ("y",))], "t = {x = 2}\ny = [1, # one\n  2]\n"),
    (  # into an item of an array of tables: before the next item
        "a = 1\n[[x]]\n[[x]]\n",
        [(("a",), ("x", 0, "s", "a"))],
        "[[x]]\n[x.s]\na = 1\n[[x]]\n",
    ),
    ("a = 1\r\n[b]\r\nc = 2", [(("a",), ("b", "a"))], "[b]\r\nc = 2\r\na = 1"),
    ("\ufeff# a\na = 1\n[b]\n", [(("a",), ("b", "a"))], "\ufeff[b]\n# a\na = 1\n"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "moves", "after"), MOVES)
def test_moving_carries_value_and_comments(
    before: str, moves: list[tuple[tuple[str | int, ...], tuple[str | int, ...]]], after: str
) -> None:
    """A moved entry keeps its bytes and takes the comments about it along; sections take theirs."""
    assert edited(before, "toml", *(("move", path, to) for path, to in moves)) == after


SETS: list[tuple[str, list[Step], str]] = [
    (CONFIG, [("set", ("a", "b"), 2)], CONFIG.replace("1_000", "2")),
    (CONFIG, [("set", ("a", "b"), 2), ("set", ("a", "b"), 1000)], CONFIG),
    (CONFIG, [("set", ("model", "opts"), {"lr": 1e-3, "t": {"x": 1, "y z": "lit"}})], CONFIG),
    (
        CONFIG,
        [
            ("set", ("model",), {"size": 31, "depth": 12, "opts": {}}),
            ("set", ("model", "opts"), {"lr": 1e-3, "t": {"x": 1, "y z": "it"}}),
        ],
        CONFIG.replace("lr = 1e-3\nt = { x = 1, \"y z\" = 'lit' }\n", "lr = 0.001\n").replace(
            "lr = 0.001\n", 'lr = 0.001\n\n[model.opts.t]\nx = 1\n"y z" = "it"\n'
        ),
    ),
    (CONFIG, [("set", ("a", "c"), [1, 3, 4])], CONFIG.replace("[1, 2,]", "[1, 3, 4,]")),
    (CONFIG, [("set", ("a", "d"), "q")], CONFIG.replace("# list\n", '# list\na.d = "q"\n')),
    (CONFIG, [("set", ("items", 0, "n"), 1)], CONFIG.replace('"one"\n', '"one"\nn = 1\n')),
    (
        CONFIG,
        [("set", ("items", 2), {"n": 1})],
        CONFIG.replace("\n[last.deep]", "\n[[items]]\nn = 1\n\n[last.deep]"),
    ),
    (
        CONFIG,
        [("set", ("last", "x"), 1e-8)],
        CONFIG.replace("[last.deep]", "[last]\nx = 1e-08\n\n[last.deep]"),
    ),
    (
        CONFIG,
        [("set", ("model", "opts", "t", "w"), [1, {"a": "b"}])],
        CONFIG.replace("'lit' }", "'lit', w = [1, { a = \"b\" }] }"),
    ),
    ("a = 1\n", [("set", ("b", "c"), {"d": 1, "e": {}})], "a = 1\n\n[b.c]\nd = 1\n\n[b.c.e]\n"),
    ("a = 1 # one\n", [("set", ("a",), {"b": 1})], "a = { b = 1 } # one\n"),
    ("# s\n[s] # S\nx = 1 # one\n", [("set", ("s",), 5)], "s = 5\n\n# s\n# S\n# one\n"),
    ("[[a]]\nx = 1 # one\n", [("set", ("a",), [])], "a = []\n\n# one\n"),
    ("[[a]]\nx = [1, # one\n2]\n", [("set", ("a", 1), 7)], "a = [{ x = [1, # one\n2] }, 7]\n"),
    (
        "a = 'x'\n",
        [("set", ("a",), "y"), ("set", ("b",), "it's"), ("set", ("c",), 'a\n"b"\x7f')],
        'a = \'y\'\nb = "it\'s"\nc = "a\\n\\"b\\"\\u007f"\n',
    ),
    ("a = [\n  1, # one\n  2\n]\n", [("set", ("a", 2), 3)], "a = [\n  1, # one\n  2,\n  3\n]\n"),
    ("", [("set", ("a", "b"), True)], "[a]\nb = true\n"),
    ("# only\n", [("set", ("a",), 1)], "# only\na = 1\n"),
    ("# head\n\n# of s\n[s]\n", [("set", ("a",), float("inf"))], "# head\n\na = inf\n\n# of s\n[s]\n"),
    (
        "d = 2\n",
        [("set", ("d",), datetime.date(2020, 1, 2)), ("set", ("t",), datetime.time(1, 2, 3))],
        "d = 2020-01-02\nt = 01:02:03\n",
    ),
    ("# a\na = 1\n", [("insert", ("b",), 2, FRONT)], "b = 2\n# a\na = 1\n"),
    ("[s]\n  a.c = 1\n", [("insert", ("s", "b"), 2, FRONT)], "[s]\n  b = 2\n  a.c = 1\n"),
    ("[s]\nc = 1\n", [("insert", ("v",), 2, FRONT)], "v = 2\n\n[s]\nc = 1\n"),
    ("a = {b = 1}\n", [("insert", ("a", "c"), 2, FRONT)], "a = {c = 2, b = 1}\n"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "steps", "after"), SETS)
def test_setting_touches_only_what_differs(before: str, steps: list[Step], after: str) -> None:
    """Values change in place, new entries follow the layout, and original values come back as written."""
    assert edited(before, "toml", *steps) == after


REMOVALS = [
    (CONFIG, [("title",)], CONFIG.replace('title = "x"  # the title', "# the title")),
    (CONFIG, [("a", "b")], CONFIG.replace("a.b = 1_000\n", "")),
    (CONFIG, [("model", "opts", "t", "x")], CONFIG.replace("x = 1, ", "")),
    (CONFIG, [("items", 0)], CONFIG.replace('[[items]]\nname = "one"\n\n', "")),
    (
        CONFIG,
        [("items", 1)],
        CONFIG.replace(
            '[[items]]\nname = "two" # second\n[items.sub]\nq = 1979-05-27 07:32:00\n\n', "# second\n\n"
        ),
    ),
    (CONFIG, [("last", "deep", "z")], CONFIG.replace("z = +0.10\n", "")),
    (CONFIG, [("last", "deep")], CONFIG[: CONFIG.index("[last.deep]")] + "[last]\n"),
    ("[a]\nx = 1\n\n[b]\ny = 2\n", [("b",)], "[a]\nx = 1\n"),
    ("a.b = 1 # one\n", [("a", "b")], "# one\n\n[a]\n"),
    ("t = {a = [1, # one\n2], b = 3}\n", [("t", "a")], "# one\nt = {b = 3}\n"),
    ("# s\n[s] # S\n\nx = 1 # one\n\n[t]\n", [("s",)], "# s\n# S\n# one\n\n[t]\n"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "paths", "after"), REMOVALS)
def test_removing_keeps_every_comment(before: str, paths: list[tuple[str | int, ...]], after: str) -> None:
    """An entry goes with all that defines it, and the comments about it and in it stay."""
    assert edited(before, "toml", *(("remove", path) for path in paths)) == after


def test_entries_keep_their_places_through_chains_of_edits() -> None:
    """Sections, dotted keys and values that are carried away and back again stand where they stood."""
    steps: list[Step] = [
        ("rename", ("title",), "name"),
        ("move", ("name",), ("x", "y")),
        ("move", ("model",), ("x", "z", "model")),
        ("move", ("a",), ("x", "z", "model", "a")),
        ("move", ("x", "z", "model", "a"), ("a",)),
        ("move", ("items",), ("last", "deep", "items")),
        ("rename", ("last",), "end"),
        ("move", ("x", "z", "model"), ("model",)),
        ("move", ("x", "y"), ("title",)),
        ("move", ("end", "deep", "items"), ("items",)),
        ("rename", ("end",), "last"),
        ("remove", ("x",)),
    ]
    assert edited(CONFIG, "toml", *steps) == CONFIG
