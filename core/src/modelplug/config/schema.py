"""What the settings file may hold at its top level."""

from __future__ import annotations

from typing import Any, Literal

import attrs
from attrs import validators

__all__ = ["VERSION", "DeadlineSettings", "GenerationSettings", "Settings"]

VERSION = 1
"""The version of the settings file that this program writes."""


def _number(*, low: float, high: float | None = None) -> Any:
    """A validator for a number between limits, or null."""
    at_least = validators.ge(low)
    return validators.optional(at_least if high is None else validators.and_(at_least, validators.le(high)))


_SECONDS: Any = validators.optional(validators.gt(0))


@attrs.frozen(kw_only=True)
class DeadlineSettings:
    """How long each phase of a request may take, in seconds; null waits for ever.

    Attributes:
        start: From starting the worker to its first word.
        load: Loading the model.
        first_token: From a request to its first token.
        close: Closing, before the worker is killed.
    """

    start: float | None = attrs.field(default=30.0, validator=_SECONDS)
    load: float | None = attrs.field(default=600.0, validator=_SECONDS)
    first_token: float | None = attrs.field(default=300.0, validator=_SECONDS)
    close: float | None = attrs.field(default=5.0, validator=_SECONDS)


@attrs.frozen(kw_only=True)
class GenerationSettings:
    """How to generate unless the request says otherwise; null takes the program's default.

    Attributes:
        max_tokens: Tokens to generate at most.
        temperature: 0 is greedy decoding.
        top_k: Keep the k most probable tokens; 0 keeps all.
        top_p: Keep the smallest set of tokens with this total probability; 1 keeps all.
        min_p: Keep tokens at least this fraction as probable as the most probable one.
        repeat_penalty: 1 is none.
        seed: Same seed, same engine, same settings: same text.
        stop: Generation ends before the first of these strings.
    """

    max_tokens: int | None = attrs.field(default=None, validator=_number(low=1))
    temperature: float | None = attrs.field(default=None, validator=_number(low=0, high=100))
    top_k: int | None = attrs.field(default=None, validator=_number(low=0))
    top_p: float | None = attrs.field(default=None, validator=_number(low=0, high=1))
    min_p: float | None = attrs.field(default=None, validator=_number(low=0, high=1))
    repeat_penalty: float | None = attrs.field(default=None, validator=_number(low=0.01, high=10))
    seed: int | None = attrs.field(default=None, validator=_number(low=0, high=2**32 - 1))
    stop: list[str] | None = None

    def given(self) -> dict[str, Any]:
        """Only what was set, as keyword arguments for `GenerateParams`."""
        return {name: value for name, value in attrs.asdict(self).items() if value is not None}


@attrs.frozen(kw_only=True)
class Settings:
    """Everything in the settings file, or its default.

    Attributes:
        version: The version of the file's layout.
        preferred_backend: The backend to try first; null lets selection decide.
        fallback_enabled: Whether the next plan is tried when one fails.
        fallback: `never`, `ask` or `auto`; refines `fallback_enabled`, which alone means `auto` or `never`.
        fallback_order: The order in which backends are tried; those not named come after.
        fallback_order_by_format: The same for one model format, for example `{"gguf": ["llamacpp"]}`.
        model_path: The model to use when none is named.
        isolation: `process` runs engines in a child process, `inline` in this one.
        monitoring: Whether runs are recorded and shown to `modelplug monitor`; what they say never is.
        deadlines: How long each phase may take.
        generation: How to generate unless the request says otherwise.
        backends: One section per backend, by its name.
        extras: What was brought over from another program and has no effect here; kept for a way back.
    """

    version: int = attrs.field(default=VERSION, validator=[validators.ge(1), validators.le(VERSION)])
    preferred_backend: str | None = None
    fallback_enabled: bool = True
    fallback: Literal["never", "ask", "auto"] | None = None
    fallback_order: list[str] = attrs.field(factory=list)
    fallback_order_by_format: dict[str, list[str]] = attrs.field(factory=dict)
    model_path: str | None = None
    isolation: Literal["process", "inline"] = "process"
    monitoring: bool = True
    deadlines: DeadlineSettings = attrs.field(factory=DeadlineSettings)
    generation: GenerationSettings = attrs.field(factory=GenerationSettings)
    backends: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    extras: dict[str, Any] = attrs.field(factory=dict)
