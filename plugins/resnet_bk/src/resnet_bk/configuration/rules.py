"""What each setting may be, and which settings go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_bk.configuration.checks import Check, choice, flag, number, numbers, whole
from resnet_bk.configuration.errors import ConfigurationError

if TYPE_CHECKING:
    from resnet_bk.configuration.config import MambaKillerConfig

__all__ = ["CHECKS", "FEED_FORWARDS", "MIXERS", "check_relations"]

MIXERS = ("green", "diagonal", "diagonal-bidirectional")
FEED_FORWARDS = ("none", "swiglu", "experts")


def _feed_forward() -> Check:
    def holds(value: object) -> bool:
        kinds = value if isinstance(value, (list, tuple)) else [value]
        return bool(kinds) and all(kind in FEED_FORWARDS for kind in kinds)

    return Check(holds, f"one of {', '.join(FEED_FORWARDS)}, or a list of these")


def _token() -> Check:
    def holds(value: object) -> bool:
        return all(whole().holds(item) for item in (value if isinstance(value, (list, tuple)) else [value]))

    return Check(holds, "a token id, or a list of them").or_none()


CHECKS: dict[str, Check] = {
    "vocab_size": whole(1),
    "d_model": whole(1),
    "n_layers": whole(1),
    "n_seq": whole(1),
    "mixer": choice(MIXERS),
    "expand": whole(1),
    "value_dim": whole(1),
    "key_dim": whole(1),
    "free_heads": whole().or_none(),
    "complex_heads": whole(),
    "conv_kernel": whole(1),
    "copy_key_dim": whole().or_none(),
    "diagonal_heads": whole(1).or_none(),
    "potential_limit": number(above=0).or_none(),
    "grad_blend": number(0, 1),
    "feed_forward": _feed_forward().or_none(),
    "intermediate_size": whole(1).or_none(),
    "num_experts": whole(),
    "top_k": whole(1),
    "use_scattering_router": flag(),
    "parallel_feed_forward": flag().or_none(),
    "norm": choice(("rms", "layer")).or_none(),
    "norm_eps": number(above=0),
    "position_embeddings": flag().or_none(),
    "head_bias": flag().or_none(),
    "tie_word_embeddings": flag(),
    "dropout": number(0, 1),
    "initializer_range": number(above=0),
    "use_cache": flag(),
    "pad_token_id": _token(),
    "bos_token_id": _token(),
    "eos_token_id": _token(),
    "use_prime_bump": flag(),
    "prime_bump_scale": number(),
    "k_max": whole(1),
    "epsilon": number(above=0),
    "use_semiseparable": flag(),
    "low_rank": whole(1).or_none(),
    "use_clark_measure": flag(),
    "clark_measure_weight": number(0),
    "use_mourre": flag(),
    "use_lap": flag(),
    "schatten_threshold": number(above=0),
    "precision_upgrade_threshold": number(above=0),
    "use_cpu_offload": flag(),
    "use_act": flag(),
    "act_halt_threshold": number(0, 1),
    "learning_rate": number(above=0),
    "batch_size": whole(1),
    "gradient_checkpointing": flag(),
    "mixed_precision": flag(),
    "epsilon_schedule": numbers(),
}
"""Every setting of ours, in the order in which they are written."""


def _wrong(key: str, config: MambaKillerConfig, why: str, advice: str) -> ConfigurationError:
    value = getattr(config, key)
    return ConfigurationError(f"{key} can't be {value!r}", key=key, value=value, why=why, advice=advice)


def check_relations(config: MambaKillerConfig) -> None:
    """Make sure that the settings go together.

    Raises:
        ConfigurationError: Two do not.
    """
    if not config.use_semiseparable:
        raise _wrong(
            "use_semiseparable",
            config,
            "the dense mode was removed in 1.0: nothing here makes an N x N matrix",
            "Leave it out.",
        )
    if config.mixer == "green":
        _check_green(config)
    if config.copy_key_dim and not config.is_causal:
        raise _wrong(
            "copy_key_dim",
            config,
            "a model that sees the future would copy the answer",
            "Use 0 with the mixer diagonal-bidirectional.",
        )
    _check_feed_forward(config)


def _check_green(config: MambaKillerConfig) -> None:
    inner = config.inner_size
    if inner % config.value_dim:
        raise _wrong(
            "value_dim",
            config,
            f"the mixer is {inner} wide (expand * d_model), which is not a multiple of it",
            "Choose a divisor of that, or another d_model.",
        )
    for key in ("free_heads", "complex_heads"):
        if (getattr(config, key) or 0) > config.num_heads:
            raise _wrong(key, config, f"there are {config.num_heads} heads", "Choose that many at most.")
    if config.use_prime_bump and config.free_heads == config.num_heads:
        raise _wrong(
            "free_heads",
            config,
            "prime bumps are added to the potential, and none of the heads would have one",
            "Choose fewer, or leave it out.",
        )


def _check_feed_forward(config: MambaKillerConfig) -> None:
    kinds = config.feed_forwards
    if len(kinds) != config.n_layers:
        raise _wrong(
            "feed_forward",
            config,
            f"it names {len(kinds)} layers and there are {config.n_layers}",
            "Give one kind for all layers, or a list with one for each.",
        )
    if ("experts" in kinds) != bool(config.num_experts):
        raise _wrong(
            "num_experts",
            config,
            f"feed_forward is {config.feed_forward!r}",
            "Give the number of experts together with feed_forward='experts', and neither without the other.",
        )
    if config.num_experts and config.top_k > config.num_experts:
        raise _wrong("top_k", config, f"there are {config.num_experts} experts", "Choose that many at most.")
    if config.parallel_feed_forward and "none" in kinds:
        raise _wrong(
            "parallel_feed_forward", config, "some layers have no feed-forward", "Leave it out, or name one."
        )
    if config.use_scattering_router and config.num_experts and not config.is_causal:
        raise _wrong(
            "use_scattering_router",
            config,
            "models before 1.0 whose experts were chosen by the phase coupled the samples of a batch",
            "Use use_scattering_router=False with the mixer diagonal-bidirectional.",
        )
