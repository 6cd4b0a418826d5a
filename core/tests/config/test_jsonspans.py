"""Reading JSON with comments, and editing it in place."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelplug.jsonspans import EditError, JsonSyntaxError, parse, remove, set_value

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\r\n]*|/\*.*?\*/|[^"/]+', re.DOTALL)

trivia = st.sampled_from(
    ["", "", " ", "\n  ", "\r\n\t", "\n\n", "/* c */", ' // it\'s "so"\n', "/* a,\n b: } */ ", "//,\r\n  "]
)
keys = st.sampled_from(["a", "b", "c d", "", "é", "\\", '"', "//", "x.y"])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=8,
)
flags = st.booleans()
objects = st.dictionaries(keys, values, max_size=4)


def comments_of(text: str) -> list[str]:
    """The comments of a text, in order; quotes inside them and they inside quotes are told apart."""
    return [token for token in _TOKEN.findall(text) if token.startswith(("//", "/*"))]


def is_subsequence(short: str, long: str) -> bool:
    """Whether `short` results from deleting characters of `long`."""
    rest = iter(long)
    return all(character in rest for character in short)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """An object, and a text that spells it with comments, odd layout and trailing commas."""

    def spell(value: Any) -> str:
        if isinstance(value, dict):
            parts = [
                f"{draw(trivia)}{json.dumps(key)}{draw(trivia)}:{draw(trivia)}{spell(item)}{draw(trivia)}"
                for key, item in value.items()
            ]
            return "{" + joined(parts) + "}"
        if isinstance(value, list):
            return "[" + joined([draw(trivia) + spell(item) + draw(trivia) for item in value]) + "]"
        return json.dumps(value, ensure_ascii=draw(flags))

    def joined(parts: list[str]) -> str:
        has_trailing = draw(flags)
        trailing = "," + draw(trivia) if parts and has_trailing else ""
        return ",".join(parts) + trailing if parts else draw(trivia)

    value = draw(objects)
    mark = draw(st.sampled_from(["", "\ufeff"]))
    return mark + draw(trivia) + spell(value) + draw(trivia), value


def all_paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value below the root."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for step, item in pairs for p in [(*path, step), *all_paths(item, (*path, step))]]


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    """The value at a path."""
    for step in path:
        value = value[step]
    return value


@given(documents())
@settings(deadline=None)
def test_documents_with_comments_mean_what_the_plain_json_means(document: tuple[str, dict[str, Any]]) -> None:
    """Comments, trailing commas and layout change nothing of a text's meaning."""
    text, value = document
    assert parse(text).value == value
    assert json.dumps(parse(text).value) == json.dumps(value)


@given(documents(), st.data())
@settings(max_examples=200, deadline=None)
def test_replacing_a_value_changes_only_its_own_characters(
    document: tuple[str, dict[str, Any]], data: st.DataObject
) -> None:
    """Everything before and after a replaced value stays as it was, to the byte."""
    text, value = document
    paths = all_paths(value)
    if not paths:
        return
    path = data.draw(st.sampled_from(paths))
    new = data.draw(values)
    node = parse(text).find(path)
    assert node is not None
    result = set_value(text, path, new)
    assert result.startswith(text[: node.start])
    assert result.endswith(text[node.end :])
    expected = copy.deepcopy(value)
    at(expected, path[:-1])[path[-1]] = new
    assert json.dumps(parse(result).value) == json.dumps(expected)


@given(documents(), st.data())
@settings(max_examples=200, deadline=None)
def test_inserting_a_value_deletes_nothing(document: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    """A new entry only adds characters, and every comment stays where it was."""
    text, value = document
    holders = [p for p in [(), *all_paths(value)] if isinstance(at(value, p), dict)]
    holder = data.draw(st.sampled_from(holders))
    new = data.draw(values)
    below = data.draw(st.sampled_from([(), ("inner",), ("inner", "deeper")]))
    result = set_value(text, (*holder, "a new key", *below), new)
    assert is_subsequence(text, result)
    assert comments_of(result) == comments_of(text)
    expected = copy.deepcopy(value)
    for step in reversed(below):
        new = {step: new}
    at(expected, holder)["a new key"] = new
    assert json.dumps(parse(result).value) == json.dumps(expected)


@given(documents(), st.data())
@settings(max_examples=200, deadline=None)
def test_removing_an_entry_keeps_every_comment_outside_it(
    document: tuple[str, dict[str, Any]], data: st.DataObject
) -> None:
    """Removing only deletes: the entry, one comma, white space; nothing else."""
    text, value = document
    paths = all_paths(value)
    if not paths:
        return
    path = data.draw(st.sampled_from(paths))
    parent = parse(text).find(path[:-1])
    assert parent is not None
    member = parent.member(path[-1])
    assert member is not None
    result = remove(text, path)
    assert is_subsequence(result, text)
    assert comments_of(result) == comments_of(text[: member.start]) + comments_of(text[member.end :])
    outside = text[: member.start] + text[member.end :]
    solid = re.compile(r"[ \t\r\n,]")
    assert solid.sub("", result) == solid.sub("", outside)
    expected = copy.deepcopy(value)
    del at(expected, path[:-1])[path[-1]]
    assert json.dumps(parse(result).value) == json.dumps(expected)


@given(documents(), st.data())
@settings(deadline=None)
def test_setting_the_value_that_is_there_changes_nothing(
    document: tuple[str, dict[str, Any]], data: st.DataObject
) -> None:
    """Setting what is set leaves the text identical, so that a second run of an edit does nothing."""
    text, value = document
    paths = all_paths(value)
    if paths:
        path = data.draw(st.sampled_from(paths))
        assert set_value(text, path, at(value, path)) == text


@given(st.text(max_size=40))
@settings(deadline=None)
def test_any_text_is_parsed_or_refused_with_a_place(text: str) -> None:
    """No text makes the parser fail in any other way than by naming line and column."""
    fault: JsonSyntaxError | None = None
    try:
        parse(text)
    except JsonSyntaxError as error:
        fault = error
    assert fault is None or (fault.line >= 1 and fault.column >= 1)


@given(st.text(alphabet='{}[]",:/*\\\n \ufeff0123456789.eE+-truefalsn', max_size=30))
@settings(max_examples=500, deadline=None)
def test_what_is_accepted_as_plain_json_agrees_with_the_standard_library(text: str) -> None:
    """Whatever Python's own reader accepts is accepted and means the same."""
    try:
        expected = json.loads(text, parse_constant=lambda word: pytest.fail(word))
    except ValueError:
        return
    if json.dumps(expected).find("Infinity") == -1:
        assert parse(text).value == expected


BAD = [
    ('{"a": 1 "b": 2}', 1, 9, "comma"),
    ('{"a": 1,\n "b": NaN}', 2, 7, "NaN"),
    ('{"a": -Infinity}', 1, 7, "number"),
    ('{"a": Infinity}', 1, 7, "Infinity"),
    ('{\r\n\r\n"a": True}', 3, 6, "lower case"),
    ("{a: 1}", 1, 2, "double quotes"),
    ("{'a': 1}", 1, 2, "double quotes"),
    ('{"a": "x\ny"}', 1, 7, "not closed"),
    ('{"a": 01}', 1, 7, "number"),
    ('{"a": 1e999}', 1, 7, "too large"),
    ('{"a": "\\q"}', 1, 8, "backslash"),
    ("/* never", 1, 1, "never closed"),
    ("", 1, 1, "ends"),
    ('\ufeff{"a": oops}', 1, 7, "oops"),
    ('{"a": {"b": 1', 1, 14, "ends inside"),
    ("[1,,2]", 1, 4, "value"),
    ("{} {}", 1, 4, "after the end"),
    ("[" * 300, 1, 202, "nested"),
    ('{"a": ' + "9" * 5000 + "}", 1, 7, "digits"),
]


@pytest.mark.parametrize(("text", "line", "column", "word"), BAD)
def test_faults_are_reported_with_their_line_and_column(text: str, line: int, column: int, word: str) -> None:
    """Every kind of fault names its place and itself."""
    with pytest.raises(JsonSyntaxError) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line, column), str(caught.value)
    assert word in caught.value.reason


def test_duplicate_names_are_found_with_their_paths() -> None:
    """Names that stand twice in one object are listed, also below others; the last one counts."""
    root = parse('{"a": 1, "b": [{"c": 1, "c": 2}], "a": 3}')
    assert [path for path, _ in root.duplicates()] == [("b", 0, "c"), ("a",)]
    assert root.value == {"a": 3, "b": [{"c": 2}]}


def test_removing_a_name_that_stands_twice_removes_both() -> None:
    """A removed name does not come back in its earlier spelling."""
    assert parse(remove('{"a": 1, "b": 2, "a": 3}', ("a",))).value == {"b": 2}


LAYOUTS = [
    ('{\n\t"a": 1\n}\n', ("b", "c"), 2, '{\n\t"a": 1,\n\t"b": {\n\t\t"c": 2\n\t}\n}\n'),
    ('{"a":1}', ("b",), 2, '{"a":1, "b":2}'),
    ('{"a":1,"b":2}', ("c",), 3, '{"a":1,"b":2,"c":3}'),
    ("{}", ("a",), 1, '{\n  "a": 1\n}'),
    ('{\r\n    "a": 1, // one\r\n}', ("b",), 2, '{\r\n    "a": 1, // one\r\n    "b": 2,\r\n}'),
    ('{\n  "a": 1 // one\n}', ("b",), [1, 2], '{\n  "a": 1, // one\n  "b": [1, 2]\n}'),
    ("{\n  // nothing yet\n}", ("a",), True, '{\n  // nothing yet\n  "a": true\n}'),
    ('{"a": {}}', ("a", "b"), 1, '{"a": {"b": 1}}'),
    ('{"a": [1]}', ("a", 1), 2, '{"a": [1, 2]}'),
    ('{"a": "x"}', ("a",), "y", '{"a": "y"}'),
]


@pytest.mark.parametrize(("before", "path", "value", "after"), LAYOUTS)
def test_new_entries_follow_the_layout_around_them(
    before: str, path: tuple[str | int, ...], value: object, after: str
) -> None:
    """Indentation, line ends, spacing and trailing commas of the text are imitated."""
    assert set_value(before, path, value) == after


REMOVALS = [
    ('{\n  "a": 1,\n  "b": 2\n}', ("b",), '{\n  "a": 1\n}'),
    ('{\n  "a": 1,\n  "b": 2\n}', ("a",), '{\n  "b": 2\n}'),
    ('{"a": 1, "b": 2}', ("a",), '{"b": 2}'),
    ('{"a": 1, "b": 2}', ("b",), '{"a": 1}'),
    ('{\n  "a": 1, // one\n  "b": 2,\n}', ("b",), '{\n  "a": 1, // one\n}'),
    ('{"a": [1, 2, 3]}', ("a", 1), '{"a": [1, 3]}'),
    ('{"a": 1}', ("b",), '{"a": 1}'),
]


@pytest.mark.parametrize(("before", "path", "after"), REMOVALS)
def test_removed_entries_take_their_line_along(before: str, path: tuple[str | int, ...], after: str) -> None:
    """An entry with a line of its own leaves no empty line, and no comma too many."""
    assert remove(before, path) == after


@pytest.mark.parametrize(
    ("path", "value"),
    [(("a", "b"), 1), (("list", "b"), 1), (("list", 5), 1), (("a",), float("nan")), (("new", 3), 1)],
)
def test_edits_that_make_no_sense_are_refused(path: tuple[str | int, ...], value: object) -> None:
    """Leading into a number, past a list's end, or writing NaN is an error and not a damaged file."""
    with pytest.raises(ValueError):
        set_value('{"a": 1, "list": []}', path, value)


def test_the_root_cannot_be_removed() -> None:
    """An empty path is no entry."""
    with pytest.raises(EditError):
        remove("{}", ())


def test_half_a_surrogate_pair_can_be_written() -> None:
    """A string that no encoding can spell is written with an escape."""
    result = set_value("{}", ("a",), "\ud800")
    assert parse(result.encode().decode()).value == {"a": "\ud800"}
