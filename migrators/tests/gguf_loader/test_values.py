"""How values are read: what is converted, with a note, and what is refused, with a reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelplug_migrators.gguf_loader.values import Setting, flag, number, one_of, text, texts, whole

DEVICES = Setting(kind="devices", nullable=True)


@pytest.mark.parametrize(
    ("setting", "value", "read"),
    [
        (whole(0), "35", 35),
        (whole(0), " 35 ", 35),
        (whole(0), 35.0, 35),
        (whole(-1), "-1", -1),
        (flag(), "true", True),
        (flag(), "Off", False),
        (flag(), 1, True),
        (flag(), 0.0, False),
        (number(0), "0.5", 0.5),
        (texts(), "###", ["###"]),
    ],
)
def test_what_is_clear_is_converted_and_said(setting: Setting, value: object, read: object) -> None:
    """A number in quotes is that number; the note shows what was there."""
    reading = setting.read(value)
    assert (reading.value, reading.refused) == (read, "")
    assert type(reading.value) is type(read)
    assert reading.note


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        (whole(0), 35),
        (number(0), 1),
        (number(0), 0.5),
        (flag(), False),
        (text(), ""),
        (texts(), ["a", "b"]),
        (texts(), []),
        (one_of("a", "b"), "a"),
        (whole(0), None),
        (DEVICES, "auto"),
        (DEVICES, {"layer.0": 0, "layer.1": "cpu"}),
    ],
)
def test_what_fits_is_taken_as_it_is(setting: Setting, value: object) -> None:
    """Nothing is said about a value that needs no change."""
    reading = setting.read(value)
    assert (reading.value, reading.note, reading.refused) == (value, "", "")
    assert type(reading.value) is type(value)


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        (whole(0), True, "true stands where a whole number belongs"),
        (number(0), False, "false stands where a number belongs"),
        (whole(0), 35.5, "no whole number"),
        (whole(0), "many", "no whole number"),
        (whole(0), "٣", "no whole number"),
        (whole(0), float("inf"), "no whole number"),
        (whole(0), [35], "a list is no whole number"),
        (whole(0), {"n": 35}, "an object is no whole number"),
        (whole(1), 0, "less than 1"),
        (whole(1, 512), 1024, "more than 512"),
        (whole(1), 10**40, "more than 2147483647"),
        (number(0, 1), 1.5, "more than 1"),
        (number(0), "nan", "no number"),
        (number(0), float("nan"), "no number"),
        (flag(), 2, "neither true nor false"),
        (flag(), "perhaps", "neither true nor false"),
        (flag(), None, "null says nothing"),
        (text(), 5, "no text"),
        (texts(), ["a", ""], "an empty one"),
        (texts(), ["a", 5], "something else than texts"),
        (texts(), "", "an empty one"),
        (one_of("a", "b"), "c", "there are a, b"),
        (DEVICES, ["auto"], "neither a text nor an object"),
        (DEVICES, {"layer.0": None}, "neither a text nor an object"),
        (DEVICES, {"layer.0": True}, "neither a text nor an object"),
    ],
)
def test_what_is_not_clear_is_refused(setting: Setting, value: object, words: str) -> None:
    """Nothing is guessed: true is not 1, and a number outside the limits is not cut."""
    assert words in setting.read(value).refused


def test_a_value_may_stand_for_another() -> None:
    """A meaning is looked up by value and type: 0 may mean automatic, and false does not."""
    setting = whole(1).meaning({0: (None, "is automatic")})
    assert setting.read(0).value is None
    assert setting.read("0").note == 'the text "0" is read as 0, and 0 is automatic'
    assert setting.read(False).refused


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ),
    setting=st.sampled_from(
        [flag(), whole(0), number(0, 1), text(), texts(), one_of("a"), DEVICES, Setting(kind="any")]
    ),
)
def test_reading_never_fails(setting: Setting, value: Any) -> None:
    """Whatever stands in a file is either a value or refused, and what was read is read as itself again."""
    reading = setting.read(value)
    if not reading.refused:
        again = setting.read(reading.value)
        assert (again.value, again.note, again.refused) == (reading.value, "", "")
