"""What the tensors of models before 1.0 are called now, and what becomes of those that have no place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Place", "is_own_name", "place_of", "strip_prefixes"]

PREFIXES: Final = ("_orig_mod.", "module.", "model.")
"""What wrappers put before every name: `torch.compile`, data parallelism, and a class around the model."""

Action = Literal["move", "scale", "z", "epsilon", "gamma", "drop", "low_rank", "unknown"]


@attrs.frozen
class Place:
    """What becomes of a tensor.

    Attributes:
        action: `move` (the same values under another name), `scale` (one number becomes one for each
            channel), `z`, `epsilon` and `gamma` (they become energy and width), `drop`, `low_rank` (1.0 has
            nothing for it, and a model without it is near it), or `unknown`.
        name: The name in 1.0; empty if there is none.
        why: The reason where it is not only renamed.
    """

    action: Action
    name: str = ""
    why: str = ""


_LAYER: Final = r"blocks\.(?P<layer>\d+)\."
_MIXER: Final = _LAYER + r"bk_layer\."
_CHAIN: Final = "the chain is rebuilt from the configuration: its stored values have meant different things"
_RULES: Final[tuple[tuple[str, Place], ...]] = (
    (r"token_embedding\.weight", Place("move", "model.embeddings.weight")),
    (r"position_embedding\.weight", Place("move", "model.position_embeddings.weight")),
    (r"layer_norm_final\.(?P<part>weight|bias)", Place("move", "model.norm.{part}")),
    (r"lm_head\.(?P<part>weight|bias)", Place("move", "lm_head.{part}")),
    (_LAYER + r"layer_norm\.(?P<part>weight|bias)", Place("move", "model.layers.{layer}.norm.{part}")),
    (_MIXER + r"v_proj\.(?P<part>weight|bias)", Place("move", "model.layers.{layer}.mixer.potential.{part}")),
    (
        _MIXER + r"output_proj\.(?P<part>weight|bias)",
        Place("move", "model.layers.{layer}.mixer.out_proj.{part}"),
    ),
    (
        _MIXER + r"(?:moe_)?ffn\.gating_network\.(?P<part>weight|bias)",
        Place("move", "model.layers.{layer}.feed_forward.gate.proj.{part}"),
    ),
    (
        _MIXER + r"(?:moe_)?ffn\.experts\.(?P<expert>\d+)\.0\.(?P<part>weight|bias)",
        Place("move", "model.layers.{layer}.feed_forward.experts.{expert}.up_proj.{part}"),
    ),
    (
        _MIXER + r"(?:moe_)?ffn\.experts\.(?P<expert>\d+)\.3\.(?P<part>weight|bias)",
        Place("move", "model.layers.{layer}.feed_forward.experts.{expert}.down_proj.{part}"),
    ),
    (_MIXER + r"bk_scale", Place("scale", "model.layers.{layer}.mixer.scale")),
    (_MIXER + r"z", Place("z", "model.layers.{layer}.mixer.energy")),
    (_MIXER + r"epsilon_param", Place("epsilon", "model.layers.{layer}.mixer.rho")),
    (_MIXER + r"gamma", Place("gamma")),
    (_MIXER + r"h0_(?:diag|sub|super)_base", Place("drop", why=_CHAIN)),
    (
        _MIXER + r"(?:moe_)?ffn\.scattering_step_counter",
        Place("drop", why="it counted steps for a setting that changed nothing"),
    ),
    (
        _MIXER + r"birman_schwinger_core\.(?:positions|semiseparable\.(?:main|super|sub)_diag)",
        Place("drop", why="it follows from the length"),
    ),
    (
        _MIXER + r"birman_schwinger_core\.semiseparable\.[UV]",
        Place("low_rank", why="1.0 has no low-rank term beside the chain"),
    ),
    (
        r"prime_bump_potential\.(?:prime_positions|positions)",
        Place("drop", why="the bumps are in the position embedding already"),
    ),
)
_COMPILED: Final = tuple((re.compile(pattern), place) for pattern, place in _RULES)
_OWN: Final = re.compile(r"(?:^|\.)blocks\.\d+\.(?:bk_layer|force_field)\.")


def place_of(name: str) -> Place:
    """What becomes of a tensor.

    Args:
        name: Its name, without what wrappers put before it.
    """
    for pattern, place in _COMPILED:
        found = pattern.fullmatch(name)
        if found is not None:
            return attrs.evolve(place, name=place.name.format(**found.groupdict()))
    return Place("unknown")


def is_own_name(name: str) -> bool:
    """Whether a tensor can only be one of this family's, whatever stands before its name."""
    return _OWN.search(name) is not None


def strip_prefixes(names: Iterable[str]) -> str:
    """What wrappers put before all names, such as `module._orig_mod.`; empty if nothing.

    Args:
        names: The names of a model's tensors.
    """
    names = list(names)
    prefix = ""
    while names:
        found = next(
            (each for each in PREFIXES if all(name[len(prefix) :].startswith(each) for name in names)), None
        )
        if found is None:
            return prefix
        prefix += found
    return prefix
