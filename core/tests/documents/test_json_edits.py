"""Each edit of a JSON text, with the exact text that comes out."""

from __future__ import annotations

import pytest
from core.tests.documents.edit_steps import FRONT, Step, edited

CONFIG = """{
\t// the rate
\t"lr": 1.0e-8, // small
\t"model": {
\t\t"size": 1e3 /* big */
\t}
}
"""

RENAMES = [
    ('{"a" : 1}', ("a",), "b", '{"b" : 1}'),
    ('{ "\\u0061": [1,  2] /* x */ }', ("a",), "b", '{ "b": [1,  2] /* x */ }'),
    ('{"a": {"b.c": 1}}', ("a", "b.c"), "d", '{"a": {"d": 1}}'),
    ('[{"a": 1}, {"a": 2}]', (1, "a"), "b", '[{"a": 1}, {"b": 2}]'),
    ('{"a": 1, "b": 2, "a": 3}', ("a",), "c", '{"c": 1, "b": 2, "c": 3}'),
    ('{"a": 1}', ("a",), 'q"é\n', '{"q\\"é\\n": 1}'),
]


@pytest.mark.parametrize(("before", "path", "name", "after"), RENAMES)
def test_renaming_changes_the_key_alone(
    before: str, path: tuple[str | int, ...], name: str, after: str
) -> None:
    """A renamed entry keeps its place and every byte but its key's; duplicates of the name follow."""
    assert edited(before, "json", ("rename", path, name)) == after


MOVES = [
    (  # into a mapping that is there: at its end, with its comments, indented as it is
        CONFIG,
        ("lr",),
        ("model", "rate"),
        '{\n\t"model": {\n\t\t"size": 1e3, /* big */\n\t\t// the rate\n\t\t"rate": 1.0e-8 // small\n\t}\n}\n',
    ),
    (  # out of it, which stays as an empty one
        CONFIG,
        ("model", "size"),
        ("size",),
        '{\n\t// the rate\n\t"lr": 1.0e-8, // small\n\t"model": {},\n\t"size": 1e3 /* big */\n}\n',
    ),
    (  # a whole section, through mappings that are made
        CONFIG,
        ("model",),
        ("a", "b", "m"),
        (
            '{\n\t// the rate\n\t"lr": 1.0e-8, // small\n\t"a": {\n\t\t"b": {\n\t\t\t"m": {\n'
            '\t\t\t\t"size": 1e3 /* big */\n\t\t\t}\n\t\t}\n\t}\n}\n'
        ),
    ),
    (  # within a mapping it only gets another name
        CONFIG,
        ("lr",),
        ("rate",),
        CONFIG.replace('"lr"', '"rate"'),
    ),
    ('{"a": 1, "b": {"c": 2}}', ("a",), ("b", "a"), '{"b": {"c": 2, "a": 1}}'),
    ('{"a": 1, "b": {"c": 2}}', ("b", "c"), ("c",), '{"a": 1, "b": {}, "c": 2}'),
    ('{"a":1,"b":{}}', ("a",), ("b", "a"), '{"b":{"a":1}}'),
    ('{"a": 1, // one\n "b": {"c": 2}}', ("a",), ("b", "a"), '{\n "b": {"c": 2, "a": 1 // one\n}}'),
    ('{"a": 1, "b": 2, "a": 3}', ("a",), ("n", "a"), '{"b": 2, "n": {"a": 1, "a": 3}}'),
    (  # a blank line parts a comment from the entry
        '{\n  // head\n\n  // of a\n  "a": 1,\n  "b": {}\n}',
        ("a",),
        ("b", "a"),
        '{\n  // head\n\n  "b": {\n    // of a\n    "a": 1\n  }\n}',
    ),
    (  # commas as the text has them
        '{\n  "a": 1,\n  "b": {\n    "c": 2,\n  },\n}',
        ("a",),
        ("b", "a"),
        '{\n  "b": {\n    "c": 2,\n    "a": 1,\n  },\n}',
    ),
    (  # comma first
        '{\n  "a": 1 // one\n, "b": {\n    "c": 2\n  }\n}',
        ("a",),
        ("b", "a"),
        '{\n  "b": {\n    "c": 2,\n    "a": 1 // one\n  }\n}',
    ),
]


@pytest.mark.parametrize(("before", "path", "to", "after"), MOVES)
def test_moving_carries_value_and_comments(
    before: str, path: tuple[str | int, ...], to: tuple[str | int, ...], after: str
) -> None:
    """A moved entry keeps its bytes and takes the comments about it along; the rest stays as it was."""
    assert edited(before, "json", ("move", path, to)) == after


SETS: list[tuple[str, list[Step], str]] = [
    (CONFIG, [("set", ("lr",), 2)], CONFIG.replace("1.0e-8", "2")),
    (CONFIG, [("set", ("lr",), 2), ("set", ("lr",), 1.0e-8)], CONFIG),
    (CONFIG, [("set", ("lr",), 1e-8), ("set", ("model",), {"size": 1000.0})], CONFIG),
    ('{"a": 1}', [("set", ("a",), 1.0)], '{"a": 1.0}'),
    ('{"a": 1}', [("set", ("a",), True)], '{"a": true}'),
    ('{"a": [1, 2, /* x */ 3,]}', [("set", ("a",), [1, 5, 3, 4])], '{"a": [1, 5, /* x */ 3, 4,]}'),
    ('{"a": [1, 2, 3]}', [("set", ("a",), [1])], '{"a": [1]}'),
    ('{"a": [\n  1, // one\n  2\n]}', [("set", ("a", 2), 3)], '{"a": [\n  1, // one\n  2,\n  3\n]}'),
    ('{"a": {"b": 1, "c": 2}}', [("set", ("a",), {"c": 3, "d": 4})], '{"a": {"c": 3, "d": 4}}'),
    ('{"a": {"b": 1 /* x */}}', [("set", ("a",), None)], '{"a": null}'),
    ("{}", [("set", ("a", "b"), 1)], '{\n  "a": {\n    "b": 1\n  }\n}'),
    ('{"a":1}', [("set", ("b",), [{"c": 1}])], '{"a":1, "b": [{"c": 1}]}'),
    (
        '{\r\n    "a": 1\r\n}\r\n',
        [("set", ("b", "c"), "é")],
        '{\r\n    "a": 1,\r\n    "b": {\r\n        "c": "é"\r\n    }\r\n}\r\n',
    ),
    ('{\n  // nothing yet\n}', [("set", ("a",), 1)], '{\n  // nothing yet\n  "a": 1\n}'),
    ('\ufeff{"a": 1}', [("insert", ("b",), 2, FRONT)], '\ufeff{"b": 2, "a": 1}'),
    (CONFIG, [("insert", ("v",), 2, FRONT)], CONFIG.replace("{\n", '{\n\t"v": 2,\n', 1)),
    ('{\n  // head\n\n  "a": 1\n}', [("insert", ("v",), 2, FRONT)], '{\n  // head\n\n  "v": 2,\n  "a": 1\n}'),
]  # fmt: skip


@pytest.mark.parametrize(("before", "steps", "after"), SETS)
def test_setting_touches_only_what_differs(before: str, steps: list[Step], after: str) -> None:
    """Values change in place, new entries follow the layout, and original values come back as written."""
    assert edited(before, "json", *steps) == after


REMOVALS = [
    (CONFIG, [("model",)], '{\n\t// the rate\n\t"lr": 1.0e-8 // small\n\t/* big */\n}\n'),
    (CONFIG, [("lr",)], '{\n\t// the rate\n\t// small\n\t"model": {\n\t\t"size": 1e3 /* big */\n\t}\n}\n'),
    (CONFIG, [("model", "size")], CONFIG.replace('"size": 1e3 /* big */', "/* big */")),
    ('{"a": 1, "b": 2 /* two */, "c": 3}', [("b",)], '{"a": 1, /* two */ "c": 3}'),
    ('{"a": 1, "b": 2, "c": 3}', [("a",)], '{"b": 2, "c": 3}'),
    ('{"a": 1, "b": 2, "c": 3}', [("c",)], '{"a": 1, "b": 2}'),
    ('{ "a": 1 }', [("a",)], "{}"),
    ('{\n  "a": 1\n}', [("a",)], "{}"),
    ('{"a": 1, "b": 2, "a": 3}', [("a",)], '{"b": 2}'),
    ('{"a": [1, 2, 3]}', [("a", 1)], '{"a": [1, 3]}'),
    ('{\n  "a": 1, "b": 2,\n  "c": 3\n}', [("b",)], '{\n  "a": 1,\n  "c": 3\n}'),
    ('{\n  "a": 1, "b": 2,\n  "c": 3\n}', [("a",)], '{\n  "b": 2,\n  "c": 3\n}'),
    ('{\n  "a": 1\n, "b": 2 // two\n, "c": 3\n}', [("b",)], '{\n  "a": 1\n, // two\n"c": 3\n}'),
    ('{"a": {"b": 1, // in\n "c": 2}}', [("a",)], "{// in\n}"),
    ('{"a": {"b": 1 /* b */}, "n": 1}', [("a", "b"), ("a",)], '{/* b */ "n": 1}'),
]


@pytest.mark.parametrize(("before", "paths", "after"), REMOVALS)
def test_removing_keeps_every_comment(before: str, paths: list[tuple[str | int, ...]], after: str) -> None:
    """An entry goes with its line and comma, and the comments about it and in it stay."""
    assert edited(before, "json", *(("remove", path) for path in paths)) == after


CHAINS: list[tuple[str, list[Step], str]] = [
    (  # there and back again
        CONFIG,
        [
            ("rename", ("lr",), "rate"),
            ("move", ("rate",), ("x", "y")),
            ("move", ("x", "y"), ("lr",)),
            ("remove", ("x",)),
        ],
        CONFIG,
    ),
    (  # out of a section that goes, with its value changed on the way
        CONFIG,
        [("move", ("model", "size"), ("size",)), ("remove", ("model",)), ("set", ("size",), 7)],
        '{\n\t// the rate\n\t"lr": 1.0e-8, // small\n\t"size": 7 /* big */\n}\n',
    ),
    (  # an entry inside a section that moves
        CONFIG,
        [("move", ("model",), ("m",)), ("rename", ("m", "size"), "d"), ("move", ("m",), ("lr2", "m"))],
        (
            '{\n\t// the rate\n\t"lr": 1.0e-8, // small\n\t"lr2": {\n\t\t"m": {\n'
            '\t\t\t"d": 1e3 /* big */\n\t\t}\n\t}\n}\n'
        ),
    ),
    (  # removed where it was moved to: its comments are where they were
        CONFIG,
        [("move", ("lr",), ("model", "lr")), ("remove", ("model", "lr"))],
        '{\n\t// the rate\n\t// small\n\t"model": {\n\t\t"size": 1e3 /* big */\n\t}\n}\n',
    ),
    (  # two names swapped
        '{"a": 1, "b": 2}',
        [("rename", ("a",), "t"), ("rename", ("b",), "a"), ("rename", ("t",), "b")],
        '{"b": 1, "a": 2}',
    ),
    (  # a value replaced, and something moved into what replaced it
        '{"a": 1, "b": 2 /* two */}',
        [("set", ("a",), {}), ("move", ("b",), ("a", "b"))],
        '{"a": {"b": 2 /* two */}}',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("before", "steps", "after"), CHAINS)
def test_entries_keep_their_places_through_chains_of_edits(
    before: str, steps: list[Step], after: str
) -> None:
    """Only where an entry is in the end counts, and not the way it took."""
    assert edited(before, "json", *steps) == after
