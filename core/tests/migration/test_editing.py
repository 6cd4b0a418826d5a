"""The editor: every change is on record, and no key goes without a word."""

from __future__ import annotations

from typing import Any

import pytest

from modelplug.documents import TreeError, read_document
from modelplug.migration.account import KeyFate
from modelplug.migration.editing import ConfigEditor, UnaccountedKeysError

TEXT = b'{\n  "a": 1, // one\n  "s": {"x": 1, "y.z": 2},\n  "e": {},\n  "l": [1, 2]\n}\n'


@pytest.fixture
def editor() -> ConfigEditor:
    """A small configuration."""
    return ConfigEditor(read_document(TEXT, "json"))


def fates(editor: ConfigEditor) -> dict[str, tuple[str, str]]:
    """Fate and target of every key."""

    def told(key: KeyFate) -> tuple[str, str]:
        return key.fate.value, key.target

    return {key.key: told(key) for key in editor.account().keys}


def test_untouched_keys_are_kept(editor: ConfigEditor) -> None:
    """Lists and empty objects are one key each; names that hold dots are quoted."""
    assert fates(editor) == {
        "a": ("kept", "a"),
        "s.x": ("kept", "s.x"),
        's."y.z"': ("kept", 's."y.z"'),
        "e": ("kept", "e"),
        "l": ("kept", "l"),
    }


def test_every_way_of_changing_is_told(editor: ConfigEditor) -> None:
    """Renamed, moved, converted, shelved, merged and dropped keys each say where they are and why."""
    editor.rename("a", "b", why="shorter")
    editor.move(("s", "x"), ("t", "x"))
    editor.to_extras(("s", "y.z"), why="of no use", under="old")
    editor.drop("l", why="says the same", into="b")
    editor.drop("e", why="empty")
    editor.add("version", 1, first=True)

    assert fates(editor) == {
        "a": ("mapped", "b"),
        "s.x": ("mapped", "t.x"),
        's."y.z"': ("extras", 'extras.old."y.z"'),
        "e": ("dropped", ""),
        "l": ("mapped", "b"),
    }
    assert editor.account().added == ("version",)
    assert editor.document.render().startswith(b'{\n  "version": 1,\n  "b": 1, // one')
    reasons = {key.key: key.why for key in editor.account().keys}
    assert (reasons["a"], reasons["l"], reasons["e"]) == ("shorter", "says the same", "empty")


def test_what_comes_back_from_the_extras_is_no_extra_any_more(editor: ConfigEditor) -> None:
    """And what was moved there and back is kept, to the byte."""
    editor.to_extras("a", why="for now")
    editor.move(("extras", "a"), "a")
    editor.prune("extras")

    assert fates(editor)["a"] == ("kept", "a")
    assert editor.value == read_document(TEXT, "json").value


def test_a_key_that_goes_without_a_word_is_an_error(editor: ConfigEditor) -> None:
    """A step that edits the tree behind the editor's back is found out."""
    editor.document.tree.remove(("s",))
    with pytest.raises(UnaccountedKeysError) as caught:
        editor.account()

    assert caught.value.keys == ("s.x", 's."y.z"')


def test_dropping_needs_a_reason(editor: ConfigEditor) -> None:
    """An empty one is none."""
    with pytest.raises(TreeError, match="without a reason"):
        editor.drop("a", why="")


@pytest.mark.parametrize(("path", "value"), [("s", 5), ("a", {"deep": 1})])
def test_replacing_an_object_as_a_whole_accounts_for_what_was_in_it(
    editor: ConfigEditor, path: str, value: Any
) -> None:
    """Its keys went into the new value."""
    editor.set(path, value, why="simpler")
    account = editor.account()

    assert editor.get(path) == value
    assert {key.fate.value for key in account.keys if key.key.partition(".")[0] == path} == {"mapped"}
    assert sum(account.counts().values()) == 5


def test_an_empty_object_that_is_filled_is_not_lost(editor: ConfigEditor) -> None:
    """It is still there, with more in it."""
    editor.set(("e", "new"), 1)

    assert fates(editor)["e"][0] in ("kept", "mapped")


def test_findings_name_the_line_of_the_source_and_the_step(editor: ConfigEditor) -> None:
    """Also after the key has moved; the same finding is told once."""
    editor.begin_step("1 -> 2")
    editor.move(("s", "x"), ("t", "x"))
    for _ in range(2):
        editor.warn("too small", ("t", "x"))
    (finding,) = editor.findings

    assert (str(finding), finding.key, finding.step) == ("line 3: too small", "t.x", "1 -> 2")


def test_a_name_that_stands_twice_is_reported() -> None:
    """The last one counts, and the line is named."""
    editor = ConfigEditor(read_document(b'{"a": 1,\n "a": 2}', "json"))

    assert "more than once" in str(editor.findings[0])
    assert editor.get("a") == 2
