"""The settings of `backends.markov`."""

from __future__ import annotations

import attrs

from modelplug.backends.types import BackendSettings

__all__ = ["MarkovSettings"]

MAX_ORDER = 8


@attrs.frozen(kw_only=True)
class MarkovSettings(BackendSettings):
    """How to run n-gram models.

    Attributes:
        order: Tokens of context to look at; None takes as many as the model was trained with.
    """

    order: int | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(
            attrs.validators.and_(attrs.validators.ge(0), attrs.validators.le(MAX_ORDER))
        ),
    )
