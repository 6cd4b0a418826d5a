"""The kind and range of every setting, and what to say about one that is out of it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping

import attrs

from resnet_bk.configuration.errors import ConfigurationError, UnknownSettingError

__all__ = ["Check", "check_values", "choice", "flag", "number", "numbers", "refuse_unknown", "whole"]

# Names that earlier versions had for a setting.
RENAMED: Mapping[str, str] = {
    "act_threshold": "act_halt_threshold",
    "cpu_offload": "use_cpu_offload",
    "dropout_p": "dropout",
    "enable_gradient_checkpointing": "gradient_checkpointing",
    "halt_threshold_low": "act_halt_threshold",
    "lr": "learning_rate",
    "max_seq_len": "n_seq",
    "max_seq_length": "n_seq",
    "n_layer": "n_layers",
    "num_layers": "n_layers",
    "prime_bump_init": "use_prime_bump",
    "semiseparable_rank": "low_rank",
    "seq_len": "n_seq",
    "seq_length": "n_seq",
    "use_adaptive_computation": "use_act",
    "use_gradient_checkpointing": "gradient_checkpointing",
    "use_mixed_precision": "mixed_precision",
}


@attrs.frozen
class Check:
    """What a setting may be.

    Attributes:
        holds: Whether a value is allowed.
        meaning: What is allowed, in words that follow "it must be".
    """

    holds: Callable[[object], bool]
    meaning: str

    def or_none(self) -> Check:
        """The same, or None for what follows from other settings."""
        return Check(lambda value: value is None or self.holds(value), f"{self.meaning}, or None")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def whole(least: int = 0) -> Check:
    """A whole number."""
    return Check(
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least,
        f"a whole number of at least {least}",
    )


def number(least: float = -math.inf, most: float = math.inf, *, above: float = -math.inf) -> Check:
    """A finite number."""
    limits = []
    if above > -math.inf:
        limits.append(f"above {above:g}")
    if least > -math.inf:
        limits.append(f"at least {least:g}")
    if most < math.inf:
        limits.append(f"at most {most:g}")
    return Check(
        lambda value: _is_number(value) and least <= value <= most and value > above,  # type: ignore[operator]
        "a number" + (f", {' and '.join(limits)}" if limits else ""),
    )


def flag() -> Check:
    """True or False."""
    return Check(lambda value: isinstance(value, bool), "True or False")


def choice(names: Iterable[str]) -> Check:
    """One of some words."""
    allowed = tuple(names)
    return Check(lambda value: value in allowed, "one of " + ", ".join(allowed))


def numbers() -> Check:
    """A list of numbers."""
    return Check(
        lambda value: isinstance(value, (list, tuple)) and all(_is_number(item) for item in value),
        "a list of numbers",
    )


def check_values(values: Mapping[str, object], checks: Mapping[str, Check]) -> None:
    """Make sure that every value is what its setting may be.

    Raises:
        ConfigurationError: One is not; it is named.
    """
    for key, check in checks.items():
        value = values[key]
        if not check.holds(value):
            raise ConfigurationError(
                f"{key} is {value!r}, and must be {check.meaning}",
                key=key,
                value=value,
                why="it is a text"
                if isinstance(value, str) and not check.meaning.startswith("one of")
                else "",
                advice=f"Give {check.meaning} for {key}.",
            )


def refuse_unknown(given: Iterable[str], known: Iterable[str]) -> None:
    """Make sure that every name is that of a setting.

    Raises:
        UnknownSettingError: One is not; the nearest that is stands in the advice.
    """
    names = sorted(known)
    for key in given:
        if key in names:
            continue
        close = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
        nearest = RENAMED.get(key, close[0] if close else "")
        raise UnknownSettingError(
            f"there is no setting {key!r}",
            key=key,
            nearest=nearest,
            why=f"{key!r} is what earlier versions called it" if key in RENAMED else "",
            advice=f"Did you mean {nearest!r}?"
            if nearest
            else "`help(MambaKillerConfig)` lists the settings.",
        )
