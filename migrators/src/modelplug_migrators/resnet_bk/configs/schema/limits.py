"""Validators for numbers with limits."""

from __future__ import annotations

from typing import Any

from attrs import validators

__all__ = ["not_empty", "token_ids", "within"]


def within(least: float | None = None, most: float | None = None, *, above: float | None = None) -> Any:
    """A validator for a number between limits; null passes where the type allows it.

    Args:
        least: The least it may be.
        most: The most it may be.
        above: What it must be more than.
    """
    parts: list[Any] = []
    if above is not None:
        parts.append(validators.gt(above))
    if least is not None:
        parts.append(validators.ge(least))
    if most is not None:
        parts.append(validators.le(most))
    return validators.optional(validators.and_(*parts))


def token_ids(_instance: object, _field: object, value: Any) -> None:
    """Refuse a negative token, alone or in a list; null passes."""
    if any(token < 0 for token in (value if isinstance(value, list) else [value]) if token is not None):
        msg = "a token is at least 0"
        raise ValueError(msg)


def not_empty(_instance: object, _field: object, value: Any) -> None:
    """Refuse a list with nothing in it."""
    if value == []:
        msg = "a list has one for each layer"
        raise ValueError(msg)
