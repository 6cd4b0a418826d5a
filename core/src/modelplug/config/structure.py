"""Turns plain values into settings classes, strictly, and says in words what does not fit."""

from __future__ import annotations

import difflib
import functools
import json
import typing
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

from modelplug.config.types import Mismatch, admit, choices, describe, is_mapping
from modelplug.errors import ConfigError

if TYPE_CHECKING:
    import cattrs

__all__ = [
    "Problem",
    "allowed_values",
    "field_types",
    "find_problems",
    "known_only",
    "nearest",
    "problem_error",
    "shorten",
    "structure",
    "structure_settings",
]

S = TypeVar("S")


@attrs.frozen(kw_only=True)
class Problem:
    """One thing that is wrong with a value.

    Attributes:
        key: Its dotted key.
        value: The value found.
        allowed: What is allowed there, in words.
        nearest: The nearest valid name or value; empty if nothing is near.
        kind: `unknown` (no such key) or `invalid` (wrong type or out of range).
    """

    key: str
    value: Any
    allowed: str
    nearest: str = ""
    kind: Literal["unknown", "invalid"] = "invalid"

    def __str__(self) -> str:
        found = f"{self.key} = {shorten(self.value)}"
        if self.kind == "unknown":
            hint = f" (did you mean {self.nearest}?)" if self.nearest else ""
            return f"{found}: there is no such setting{hint}; there are {self.allowed}"
        return f"{found}: must be {self.allowed}" + (
            f"; did you mean {self.nearest}?" if self.nearest else ""
        )


def structure_settings(backend: str, values: Mapping[str, Any], kind: type[S]) -> S:
    """The values of one backend's section as an instance of its settings class.

    Args:
        backend: The backend's name, for messages.
        values: Its section, with every override applied.
        kind: The attrs class the backend's plugin gives.

    Raises:
        ConfigError: A name is unknown, or a value has the wrong type or is out of range.
    """
    return structure(values, kind, prefix=f"backends.{backend}")


def structure(values: Mapping[str, Any], kind: type[S], *, prefix: str = "") -> S:
    """The values as an instance of `kind`.

    Args:
        values: Plain values by name.
        kind: An attrs class.
        prefix: The dotted key the values stand under, for messages.

    Raises:
        ConfigError: A name is unknown, or a value has the wrong type or is out of range.
    """
    problems = find_problems(values, kind, prefix=prefix)
    if problems:
        raise problem_error(problems)
    result: S = _converter().structure(dict(values), kind)
    return result


def known_only(values: Mapping[str, Any], kind: type[Any]) -> dict[str, Any]:
    """The values without the names that `kind`, or a class inside it, does not have.

    Args:
        values: Plain values by name.
        kind: An attrs class.
    """
    types = field_types(kind)
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if name in types:
            inner = _attrs_class(types[name])
            kept[name] = known_only(value, inner) if inner and isinstance(value, Mapping) else value
    return kept


def problem_error(problems: list[Problem]) -> ConfigError:
    """The error that reports these problems; the first one fills its attributes."""
    first = problems[0]
    others = "".join(f"; also {problem}" for problem in problems[1:])
    advice = f"`modelplug config set {first.key} VALUE` with a value that is allowed"
    if first.kind == "unknown":
        right = ".".join([*first.key.split(".")[:-1], first.nearest])
        advice = f"`modelplug config set {right} VALUE`" if first.nearest else "`modelplug config show`"
    return ConfigError(
        f"the setting {first.key} can't be used",
        key=first.key,
        value=first.value,
        why=f"{first}{others}",
        advice=advice,
    )


def find_problems(values: Mapping[str, Any], kind: type[Any], *, prefix: str = "") -> list[Problem]:
    """Everything that is wrong with `values` as an instance of `kind`, in the order of the values.

    Args:
        values: Plain values by name.
        kind: An attrs class.
        prefix: The dotted key the values stand under.
    """
    types = field_types(kind)
    required = {a.name for a in attrs.fields(kind) if a.init and a.default is attrs.NOTHING}
    missing = sorted(required - values.keys())
    needed = {name: values[name] for name in values if name in required}
    problems: list[Problem] = []
    for name, value in values.items():
        key = f"{prefix}.{name}" if prefix else name
        if name not in types:
            known = ", ".join(types)
            problems.append(
                Problem(key=key, value=value, allowed=known, nearest=nearest(name, types), kind="unknown")
            )
            continue
        if not missing:  # without them, no instance can be made to try the value on
            problems += _value_problems(key, value, name, kind, needed)
    for name in missing:
        key = f"{prefix}.{name}" if prefix else name
        problems.append(Problem(key=key, value=None, allowed=allowed_values(kind, name)))
    if not problems:
        # Each value is fine by itself; a validator of the class may still object to the combination.
        problems += _attempt(prefix or "settings", dict(values), dict(values), kind, allowed="consistent")
    return problems


def _value_problems(
    key: str, value: Any, name: str, kind: type[Any], required: dict[str, Any]
) -> list[Problem]:
    inner = _attrs_class(field_types(kind)[name])
    if inner is not None and isinstance(value, Mapping):
        return find_problems(value, inner, prefix=key)
    if inner is not None and value is not None:
        return [Problem(key=key, value=value, allowed=allowed_values(kind, name))]
    inside = _item_problems(key, value, field_types(kind)[name])
    if inside:
        return inside
    return _attempt(key, value, {**required, name: value}, kind, allowed=allowed_values(kind, name))


def _item_problems(key: str, value: Any, annotation: Any) -> list[Problem]:
    """What is wrong with single entries of an object, each named by its own key."""
    arguments = typing.get_args(annotation)
    if not isinstance(value, Mapping) or not is_mapping(annotation) or len(arguments) != 2:
        return []
    problems = []
    for name, item in value.items():
        if not _admits(item, arguments[1]):
            words = describe(arguments[1])
            problems.append(Problem(key=f"{key}.{name}", value=item, allowed=words))
    return problems


def _attempt(key: str, value: Any, values: dict[str, Any], kind: type[Any], *, allowed: str) -> list[Problem]:
    try:
        _converter().structure(values, kind)
    except Mismatch:
        detail = allowed
    except (ValueError, TypeError, KeyError) as error:
        # A validator of the plugin's own says what it wants only in the message of its objection.
        told = any(word in allowed for word in ("at least", "at most", "than", "one of"))
        detail = allowed if told else f"{allowed} ({error.args[0] if error.args else error})"
    else:
        return []
    types = field_types(kind)
    name = key.rpartition(".")[2]
    near = _near_value(value, types[name]) if name in types else ""
    return [Problem(key=key, value=value, allowed=detail, nearest=near)]


def _near_value(value: Any, annotation: Any) -> str:
    """The value probably meant: the nearest of the listed ones, or the number inside the quotes."""
    if not isinstance(value, str):
        return ""
    listed = nearest(value, [str(option) for option in choices(annotation)])
    if listed:
        return json.dumps(listed)
    try:
        admit(json.loads(value), annotation)
    except ValueError:
        return ""
    return f"{value} (without quotes)"


def allowed_values(kind: type[Any], name: str) -> str:
    """What the field admits, in words: its type and what its validators demand."""
    attribute = next(a for a in attrs.fields(kind) if a.name == name)
    annotation = field_types(kind)[name]
    limits = _limits(attribute.validator)
    if any(limit.startswith("one of") for limit in limits):
        words = next(limit for limit in limits if limit.startswith("one of"))
        return f"{words} or null" if _admits(None, annotation) else words
    return ", ".join([describe(annotation), *limits])


def _admits(value: Any, annotation: Any) -> bool:
    try:
        admit(value, annotation)
    except Mismatch:
        return False
    return True


def _limits(validator: Any) -> list[str]:
    """The demands of attrs's own validators in words; others speak only when they object."""
    if validator is None:
        return []
    name = type(validator).__name__
    if name == "_AndValidator":
        return [limit for part in validator._validators for limit in _limits(part)]
    if name == "_OptionalValidator":
        return _limits(validator.validator)
    if name == "_InValidator":
        return ["one of " + ", ".join(str(getattr(option, "value", option)) for option in validator.options)]
    if name == "_NumberValidator":
        words = {">=": "at least", ">": "more than", "<=": "at most", "<": "less than"}
        return [f"{words[validator.compare_op]} {validator.bound}"]
    return []


def field_types(kind: type[Any]) -> dict[str, Any]:
    """The resolved annotation of every field of an attrs class, by name."""
    attrs.resolve_types(kind)  # does its work once per class
    return {attribute.name: attribute.type for attribute in attrs.fields(kind) if attribute.init}


def nearest(name: str, names: Iterable[object], *, cutoff: float = 0.6) -> str:
    """The one of `names` most like `name`; empty if none is close.

    Args:
        name: What was written.
        names: What there is.
        cutoff: How alike they must be, from 0 to 1.
    """
    folded = {str(candidate).lower().replace("-", "_"): str(candidate) for candidate in names}
    found = difflib.get_close_matches(name.lower().replace("-", "_"), folded, n=1, cutoff=cutoff)
    return folded[found[0]] if found else ""


def shorten(value: object, limit: int = 60) -> str:
    """The value as JSON would spell it, cut to a length fit for a message."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _attrs_class(annotation: Any) -> type[Any] | None:
    """The attrs class that the annotation names, by itself or beside None."""
    arms = getattr(annotation, "__args__", (annotation,))
    for arm in arms:
        if isinstance(arm, type) and attrs.has(arm):
            return arm
    return None


@functools.cache
def _converter() -> cattrs.Converter:
    # cattrs takes as long to import as all of click, and reading one setting does not need it.
    import cattrs

    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)
    for plain in (bool, int, float, str):  # cattrs has hooks of its own for these, which convert
        converter.register_structure_hook(plain, admit)
    converter.register_structure_hook_func(lambda annotation: _attrs_class(annotation) is None, admit)
    return converter
