"""Which settings of a model go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelplug_migrators.resnet_bk.configs.schema import ModelSection

__all__ = ["contradictions", "divisor", "idle_settings"]

_NEUTRAL = {
    "low_rank": None,
    "use_clark_measure": False,
    "use_cpu_offload": False,
    "use_act": False,
    "epsilon_schedule": None,
}


def contradictions(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Settings that do not go together, each with what is wrong.

    Args:
        given: The section `model`; what it does not say has its default.
    """
    usual = ModelSection()

    def setting(name: str) -> Any:
        value = given.get(name)
        return getattr(usual, name) if value is None else value

    if setting("mixer") == "green":
        yield from _of_heads(setting)
    yield from _of_experts(setting, given)


def _of_heads(setting: Any) -> Iterator[tuple[str, str]]:
    width, size, dim = setting("expand"), setting("d_model"), setting("value_dim")
    if not all(type(value) is int and value > 0 for value in (width, size, dim)):
        return
    inner = width * size
    if inner % dim:
        yield "value_dim", f"value_dim = {dim} does not divide the width of the mixer, {inner}"
        return
    for name in ("free_heads", "complex_heads"):
        heads = setting(name)
        if type(heads) is int and heads > inner // dim:
            yield name, f"{name} = {heads} is more than the {inner // dim} heads there are"
    if setting("use_prime_bump") is True and setting("free_heads") == inner // dim:
        yield "free_heads", "use_prime_bump adds to the potential of heads, and with free_heads none has one"


def _of_experts(setting: Any, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    experts, top, kinds = setting("num_experts"), setting("top_k"), given.get("feed_forward")
    if type(experts) is not int:
        return
    if experts and type(top) is int and top > experts:
        yield "top_k", f"top_k = {top} is more than the {experts} experts there are"
    if isinstance(kinds, list) and len(kinds) != setting("n_layers"):
        yield "feed_forward", f"feed_forward names {len(kinds)} layers, and there are {setting('n_layers')}"
    if kinds is not None and ("experts" in (kinds if isinstance(kinds, list) else [kinds])) != bool(experts):
        yield "num_experts", f"num_experts = {experts} does not go with feed_forward = {kinds!r}"
    named = kinds if isinstance(kinds, list) else [kinds or ("experts" if experts else "none")]
    if setting("parallel_feed_forward") and "none" in named:
        yield "parallel_feed_forward", "parallel_feed_forward = true, and some layers have no feed-forward"
    if setting("mixer") == "diagonal-bidirectional" and experts and setting("use_scattering_router"):
        yield (
            "use_scattering_router",
            "use_scattering_router = true does not go with experts and the mixer diagonal-bidirectional",
        )


def divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is not above a limit."""
    return next(candidate for candidate in range(most, 0, -1) if number % candidate == 0)


def idle_settings(given: Mapping[str, Any]) -> list[str]:
    """The settings that ask for something, and change nothing in a model of 1.0.

    Args:
        given: The section `model`.
    """
    neutral: dict[str, Any] = dict(_NEUTRAL)
    if given.get("mixer", ModelSection().mixer) == "green":
        neutral["grad_blend"] = 0
    return [name for name in given if name in neutral and given[name] != neutral[name]]
