"""Reading documents: formats, encodings, faults with their places, and the check of what is rendered."""

from __future__ import annotations

import codecs
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from modelplug.documents import FORMATS, DocumentSyntaxError, RenderError, format_of, read_document
from modelplug.documents.json_format import JsonFormat
from modelplug.errors import ModelplugError

SUFFIXES = [
    ("config.json", "json"),
    ("a/b.JSON", "json"),
    ("x.jsonc", "json"),
    ("x.json5", None),
    ("x.yaml", "yaml"),
    (Path("x.yml"), "yaml"),
    ("pyproject.toml", "toml"),
    ("x.txt", None),
    ("json", None),
    (".yaml", None),
]


@pytest.mark.parametrize(("path", "expected"), SUFFIXES)
def test_a_name_tells_the_format(path: str | Path, expected: str | None) -> None:
    """The suffix decides; what can't be read and written has none."""
    assert format_of(path) == expected
    assert expected is None or expected in FORMATS


def test_unknown_formats_are_refused() -> None:
    """Nothing is guessed from the content."""
    with pytest.raises(ValueError, match="'ini' is none of the formats json, yaml, toml"):
        read_document(b"", "ini")


FAULTS = [
    ("json", '{"a": 1,\n "b": NaN}', 2, 7, "NaN"),
    ("json", "", 1, 1, "ends"),
    ("json", '\ufeff{"a": oops}', 1, 7, "oops"),
    ("json", "[" * 300, 1, 202, "nested"),
    ("yaml", "a: 1\nb: [1,\n", 3, 1, "flow"),
    ("yaml", "a: 1\na: 2\n", 2, 1, "'a' occurs twice"),
    ("yaml", "b:\n  1: x\n  1.0: y\n", 3, 3, "occurs twice"),
    ("yaml", "a: \x01\n", 1, 4, "U\\+0001"),
    ("yaml", "a: 2001-99-99\n", 1, 4, "timestamp"),
    ("yaml", "\ta: 1\n", 1, 1, "tab|\\\\t"),
    ("yaml", "a: " + "[" * 150 + "]" * 150, 1, 104, "nested"),
    ("toml", "a = 1\nb = \n", 2, 5, "invalid value"),
    ("toml", "a = 1\na = 2\n", 2, 6, "overwrite"),
    ("toml", "[a", 1, 3, "expected"),
    ("toml", "a = " + "[" * 150 + "]" * 150, 1, 106, "nested"),
    ("toml", ".".join("a" * 150) + " = 1\n", 1, 1, "nested"),
]


@pytest.mark.parametrize(("kind", "text", "line", "column", "reason"), FAULTS)
def test_faults_are_reported_with_line_and_column(
    kind: str,
    text: str,
    line: int,
    column: int,
    reason: str,
) -> None:
    """Every format's faults name their place, what is wrong, and the document."""
    with pytest.raises(DocumentSyntaxError, match=reason) as caught:
        read_document(text.encode(), kind, name="my file")
    assert (caught.value.line, caught.value.column) == (line, column), str(caught.value)
    assert caught.value.name == "my file"
    assert str(caught.value) == f"my file: line {line}, column {column}: {caught.value.reason}"
    assert isinstance(caught.value, ValueError)


def test_values_that_nest_beyond_all_bounds_are_faults() -> None:
    """No depth makes a reader crash."""
    for format_, text in (("json", "[" * 100_000), ("toml", "a = " + "[" * 100_000), ("yaml", "[" * 5_000)):
        with pytest.raises(DocumentSyntaxError):
            read_document(text.encode(), format_)


@pytest.mark.parametrize("kind", FORMATS)
def test_bytes_that_are_no_text_are_faults(kind: str) -> None:
    """The first byte that belongs to no character is named."""
    with pytest.raises(DocumentSyntaxError, match="byte 8 does not belong to any UTF-8 character") as caught:
        read_document(b"# a\n# b \xff\n", kind)
    assert (caught.value.line, caught.value.column) == (2, 5)


MARKED = [
    ("json", '{"a": "é"}', '{"b": "é"}'),
    ("yaml", "a: é\n", "b: é\n"),
    ("toml", 'a = "é"\n', 'b = "é"\n'),
]


@pytest.mark.parametrize(("kind", "before", "after"), MARKED)
def test_byte_order_marks_stay(kind: str, before: str, after: str) -> None:
    """The mark of UTF-8 is kept, and counts in no column."""
    document = read_document(codecs.BOM_UTF8 + before.encode(), kind)
    assert document.line_of(("a",)) == 1
    document.tree.rename(("a",), "b")
    assert document.render() == codecs.BOM_UTF8 + after.encode()


@pytest.mark.parametrize(
    ("mark", "encoding"), [(codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")]
)
@pytest.mark.parametrize(("kind", "before", "after"), MARKED[:2])
def test_utf_16_is_read_and_written_where_a_mark_says_so(
    kind: str,
    before: str,
    after: str,
    mark: bytes,
    encoding: str,
) -> None:
    """JSON and YAML may be in UTF-16, and stay so."""
    document = read_document(mark + before.encode(encoding), kind)
    assert document.encoding == encoding
    document.tree.rename(("a",), "b")
    assert document.render() == mark + after.encode(encoding)


def test_toml_is_utf_8() -> None:
    """A mark of UTF-16 makes TOML no text."""
    with pytest.raises(DocumentSyntaxError, match="UTF-8"):
        read_document(codecs.BOM_UTF16_LE + "a = 1".encode("utf-16-le"), "toml")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_are_told_by_original_path(newline: str) -> None:
    """An entry's line is that of the original text, whatever happened to the entry."""
    document = read_document(newline.join(["{", '"a": {', '"b": 1', "}}"]).encode(), "json")
    document.tree.move(("a", "b"), ("c", "d"))
    assert document.newline == newline
    assert [document.line_of(path) for path in ((), ("a",), ("a", "b"))] == [1, 2, 3]
    assert document.line_of(("c", "d")) is None


def test_lines_of_tables_are_those_of_their_headers() -> None:
    """A TOML table stands where its own header stands, or else where it is first named."""
    document = read_document(b"x.y = 1\n[a.b]\nz = 2\n[a]\n[[l]]\n[[l]]\nq = [1,\n2]\n", "toml")
    places = {
        (): 1, ("x",): 1, ("x", "y"): 1, ("a",): 4, ("a", "b"): 2, ("a", "b", "z"): 3, ("l",): 5, ("l", 1): 6,
        ("l", 1, "q", 1): 8,
    }  # fmt: skip
    assert {path: document.line_of(path) for path in places} == places


def test_duplicate_names_in_json_are_listed() -> None:
    """The last one counts, and the original paths of the later ones are told."""
    document = read_document(b'{"a": 1, "b": [{"c": 1, "c": 2}], "a": 3}', "json")
    assert document.value == {"a": 3, "b": [{"c": 2}]}
    assert document.duplicates == (("b", 0, "c"), ("a",))


def test_later_yaml_documents_keep_their_bytes() -> None:
    """The tree is that of the first document; the others are no part of it."""
    document = read_document(b"a: 1\n---\n  b:   2\n...\n", "yaml")
    assert document.value == {"a": 1}
    assert document.documents == 2
    document.tree.set(("a",), 2)
    assert document.render() == b"a: 2\n---\n  b:   2\n...\n"


def test_rendering_is_repeated_only_after_edits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without edits nothing is rendered at all, and after edits once."""
    calls: list[int] = []
    original = JsonFormat.render

    def counted(self: JsonFormat) -> str:
        calls.append(1)
        return original(self)

    monkeypatch.setattr(JsonFormat, "render", counted)
    document = read_document(b'{"a": 1}', "json")
    assert document.render() == b'{"a": 1}'
    assert calls == []
    document.tree.set(("a",), 2)
    assert document.render() == document.render() == b'{"a": 2}'
    assert document.changed
    assert calls == [1]


@pytest.mark.parametrize("wrong", ['{"a": 1}', '{"a": 2', '{"a": 2.0}', '{"a": 2, "b": 3}'])
def test_a_wrong_text_is_never_handed_out(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not say exactly what the tree says is an error, with the text for whoever repairs it."""
    monkeypatch.setattr(JsonFormat, "render", lambda _: wrong)
    document = read_document(b'{"a": 1 }', "json", name="my file")
    document.tree.set(("a",), 2)
    with pytest.raises(RenderError, match="my file") as caught:
        document.render()
    assert caught.value.text == wrong
    assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize(
    ("kind", "library", "extra"),
    [
        ("yaml", "ruamel.yaml", "yaml"),
        ("toml", "tomllib" if sys.version_info >= (3, 11) else "tomli", "toml"),
    ],
)
def test_a_missing_library_is_named(
    kind: str,
    library: str,
    extra: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the library that reads a format, the error says what to install."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModelplugError) as caught:
        read_document(b"", kind)
    assert caught.value.why
    assert f"modelplug[{extra}]" in caught.value.advice


def test_json_needs_no_library() -> None:
    """Reading JSON imports neither YAML nor TOML."""
    import subprocess

    script = (
        "import sys; from modelplug.documents import read_document; read_document(b'{}', 'json');"
        "print([name for name in sys.modules if 'yaml' in name or 'toml' in name])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_value_of_a_rendered_document_is_that_of_any_reader() -> None:
    """Numbers keep their spelling, and so what others read."""
    document = read_document(
        b'{"a": 1E400000000000000000000}'.replace(b"E400000000000000000000", b"e-8"), "json"
    )
    document.tree.set(("b",), [1e-8, 10**30, -0.0])
    value: Any = json.loads(document.render())
    assert value == {"a": 1e-8, "b": [1e-8, 10**30, -0.0]}
