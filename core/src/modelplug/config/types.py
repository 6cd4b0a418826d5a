"""Strict types: which JSON values an annotation admits, and how to say so in words."""

from __future__ import annotations

import contextlib
import enum
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union

__all__ = ["Mismatch", "admit", "choices", "describe", "is_mapping"]

_SEQUENCES = (list, tuple, set, frozenset, Sequence)
_PLAIN_NAMES: dict[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    type(None): "null",
    Any: "any value",
    object: "any value",
}

_PLURALS: dict[object, str] = {int: "whole numbers", float: "numbers", str: "texts", Path: "paths"}


class Mismatch(ValueError):  # noqa: N818  it never leaves this package
    """A value that its annotation does not admit."""


def describe(annotation: Any) -> str:
    """What values an annotation admits, in words: `a whole number or null`."""
    if annotation in _PLAIN_NAMES:
        return _PLAIN_NAMES[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(argument) for argument in arguments)
    options = choices(annotation)
    if options:
        return "one of " + ", ".join(str(option) for option in options)
    if origin is typing.Annotated:
        return describe(arguments[0])
    if origin in _SEQUENCES or annotation in _SEQUENCES:
        items = [argument for argument in arguments if argument is not Ellipsis]
        plain = len(items) != 1 or items[0] in (Any, object)
        return "a list" if plain else f"a list of {_PLURALS.get(items[0], describe(items[0]))}"
    if is_mapping(annotation):
        inner = arguments[1] if len(arguments) == 2 else Any
        if inner in (Any, object):
            return "an object"
        return f"an object whose values are {_PLURALS.get(inner, describe(inner))}"
    return f"a {getattr(annotation, '__name__', str(annotation))}"


def choices(annotation: Any) -> tuple[object, ...]:
    """The values a `Literal` or an enumeration lists; empty for anything else."""
    if typing.get_origin(annotation) is Literal:
        return typing.get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return tuple(member.value for member in annotation)
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return tuple(option for arm in typing.get_args(annotation) for option in choices(arm))
    return ()


def admit(value: Any, annotation: Any) -> Any:
    """`value` as the annotation wants it, without guessing: true is not 1 and "35" is not 35.

    Raises:
        Mismatch: The annotation does not admit the value.
    """
    if annotation in (Any, object):
        return value
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return admit(value, arguments[0])
    if origin in (Union, types.UnionType):
        return _admit_union(value, arguments, annotation)
    if origin in _SEQUENCES or annotation in _SEQUENCES:
        return _admit_sequence(value, annotation, origin or annotation, arguments)
    if is_mapping(annotation):
        if not isinstance(value, Mapping):
            raise Mismatch(describe(annotation))
        inner = arguments[1] if len(arguments) == 2 else Any
        return {str(key): admit(item, inner) for key, item in value.items()}
    return _admit_plain(value, annotation)


def _admit_plain(value: Any, annotation: Any) -> Any:
    if annotation is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if annotation in (bool, int, str, type(None)) and type(value) is annotation:
        return value
    if annotation is Path and isinstance(value, (str, Path)):
        return Path(value).expanduser()
    for option in choices(annotation):
        if type(option) is type(value) and option == value:
            return annotation(value) if isinstance(annotation, type) else value
    if isinstance(annotation, type) and annotation not in _PLAIN_NAMES and isinstance(value, annotation):
        return value
    raise Mismatch(describe(annotation))


def _admit_union(value: Any, arms: tuple[Any, ...], annotation: Any) -> Any:
    for arm in arms:
        with contextlib.suppress(Mismatch):
            return admit(value, arm)
    raise Mismatch(describe(annotation))


def _admit_sequence(value: Any, annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> Any:
    if not isinstance(value, (list, tuple)):
        raise Mismatch(describe(annotation))
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(arguments) != len(value):
            raise Mismatch(f"a list of {len(arguments)} items")
        return tuple(admit(item, inner) for item, inner in zip(value, arguments, strict=True))
    inner = arguments[0] if arguments else Any
    items = [admit(item, inner) for item in value]
    return items if origin in (list, Sequence) else origin(items)


def is_mapping(annotation: Any) -> bool:
    """Whether the annotation wants an object: names and values."""
    origin = typing.get_origin(annotation) or annotation
    return isinstance(origin, type) and issubclass(origin, Mapping)
