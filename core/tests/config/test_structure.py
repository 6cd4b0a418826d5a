"""Strict structuring of plain values into settings classes."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from attrs import validators

from modelplug.backends.types import BackendSettings
from modelplug.config.structure import find_problems, nearest, structure_settings
from modelplug.errors import ConfigError


class Colour(enum.Enum):
    """For the tests."""

    RED = "red"
    BLUE = "blue"


def _even(_instance: object, attribute: Any, value: int) -> None:
    if value % 2:
        msg = f"{attribute.name} must be even"
        raise ValueError(msg)


_POSITIVE: Any = validators.optional(validators.gt(0))


@attrs.frozen(kw_only=True)
class Inner:
    """For the tests."""

    seconds: float | None = attrs.field(default=1.0, validator=_POSITIVE)


@attrs.frozen(kw_only=True)
class Sample(BackendSettings):
    """Every kind of field."""

    flag: bool = True
    count: int = attrs.field(default=1, validator=[validators.ge(1), validators.le(9)])
    even: int = attrs.field(default=2, validator=_even)
    ratio: float = 0.5
    word: str = attrs.field(default="auto", validator=validators.in_(("auto", "never")))
    kind: Literal["f16", "q8_0"] | None = None
    colour: Colour = Colour.RED
    place: Path | None = None
    ratios: list[float] = attrs.field(factory=list)
    arguments: tuple[str, ...] = ()
    either: str | dict[str, int] = "auto"
    inner: Inner = attrs.field(factory=Inner)
    anything: Any = None


def test_values_of_the_right_types_become_an_instance() -> None:
    """Every kind of value that JSON can hold arrives in its field."""
    sample = structure_settings(
        "x",
        {
            "flag": False,
            "gpu_layers": -1,
            "ratio": 2,
            "kind": "q8_0",
            "colour": "blue",
            "place": "/tmp/x",
            "ratios": [1, 2.5],
            "arguments": ["a", "b"],
            "either": {"cpu": 1},
            "inner": {"seconds": None},
            "anything": [1, {"a": None}],
        },
        Sample,
    )
    assert sample.gpu_layers == -1
    assert (sample.ratio, type(sample.ratio)) == (2.0, float)
    assert sample.colour is Colour.BLUE
    assert sample.place == Path("/tmp/x")
    assert sample.arguments == ("a", "b")
    assert sample.either == {"cpu": 1}
    assert sample.inner.seconds is None
    assert sample.anything == [1, {"a": None}]


WRONG = [
    ("gpu_layers", "35", "a whole number or null, at least -1", "35 (without quotes)"),
    ("gpu_layers", True, "a whole number or null, at least -1", ""),
    ("gpu_layers", 35.0, "a whole number or null, at least -1", ""),
    ("flag", 1, "true or false", ""),
    ("flag", "true", "true or false", "true (without quotes)"),
    ("count", 0, "a whole number, at least 1, at most 9", ""),
    ("count", None, "a whole number, at least 1, at most 9", ""),
    ("even", 3, "a whole number (even must be even)", ""),
    ("ratio", float("nan"), "a number", ""),
    ("ratio", "x", "a number", ""),
    ("word", "nevr", "one of auto, never", ""),
    ("kind", "q8", "one of f16, q8_0 or null", '"q8_0"'),
    ("colour", "rad", "one of red, blue", '"red"'),
    ("ratios", "abc", "a list of numbers", ""),
    ("ratios", [1, "2"], "a list of numbers", ""),
    ("arguments", "abc", "a list of texts", ""),
    ("either", 3, "text or an object whose values are whole numbers", ""),
    ("place", 3, "a path or null", ""),
    ("inner", 3, "a Inner", ""),
]


@pytest.mark.parametrize(("name", "value", "allowed", "near"), WRONG)
def test_wrong_values_are_named_with_what_is_allowed(
    name: str, value: object, allowed: str, near: str
) -> None:
    """Nothing is converted by guessing, and the message says what would be right."""
    (problem,) = find_problems({name: value}, Sample, prefix="backends.x")
    assert problem.key == f"backends.x.{name}"
    assert problem.kind == "invalid"
    if name != "inner":
        assert problem.allowed == allowed
    assert problem.nearest == near
    assert f"backends.x.{name} = " in str(problem)


def test_nested_settings_are_named_by_their_whole_key() -> None:
    """A fault inside an inner object carries the path that leads to it."""
    (problem,) = find_problems({"inner": {"seconds": 0}}, Sample, prefix="backends.x")
    assert problem.key == "backends.x.inner.seconds"
    assert problem.allowed == "a number or null, more than 0"
    (problem,) = find_problems({"inner": {"second": 1}}, Sample)
    assert (problem.key, problem.kind, problem.nearest) == ("inner.second", "unknown", "seconds")


def test_entries_of_an_object_are_named_one_by_one() -> None:
    """Of many entries, the one at fault is named."""

    @attrs.frozen(kw_only=True)
    class Orders:
        by_format: dict[str, list[str]] = attrs.field(factory=dict)

    attrs.resolve_types(Orders, None, {"dict": dict, "list": list})
    (problem,) = find_problems({"by_format": {"gguf": ["a"], "onnx": "b"}}, Orders)
    assert (problem.key, problem.allowed) == ("by_format.onnx", "a list of texts")


def test_the_error_names_key_value_and_the_nearest_name() -> None:
    """A misspelt name is an error that says what was probably meant, and what to type."""
    with pytest.raises(ConfigError) as caught:
        structure_settings("llamacpp", {"gpu_layer": 35, "threads": "4"}, BackendSettings)
    error = caught.value
    assert error.key == "backends.llamacpp.gpu_layer"
    assert error.value == 35
    assert "did you mean gpu_layers?" in error.why
    assert "backends.llamacpp.threads" in error.why
    assert error.advice == "`modelplug config set backends.llamacpp.gpu_layers VALUE`"


def test_a_required_setting_that_is_missing_is_named() -> None:
    """A settings class may demand a value, and its absence is told like any other fault."""

    @attrs.frozen(kw_only=True)
    class Needs:
        path: str
        other: int = 1

    assert [p.key for p in find_problems({"other": 2}, Needs, prefix="backends.x")] == ["backends.x.path"]
    assert find_problems({"path": "a", "other": 2}, Needs) == []


def test_nearest_ignores_case_and_hyphens() -> None:
    """`GPU-Layers` is recognised as `gpu_layers`, and nonsense as nothing."""
    assert nearest("GPU-Layers", ["gpu_layers", "threads"]) == "gpu_layers"
    assert nearest("zzz", ["gpu_layers", "threads"]) == ""
