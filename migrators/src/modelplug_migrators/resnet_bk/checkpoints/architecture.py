"""What model a set of old tensors makes, in the terms of 1.0's configuration."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelplug_migrators.resnet_bk.checkpoints.reading.plain import Ref

__all__ = ["Architecture", "NotAModelOf10Error", "infer"]

MIXER: Final = "diagonal-bidirectional"
"""How models before 1.0 mix tokens, as 1.0 calls it."""

_LAYER: Final = re.compile(r"blocks\.(\d+)\.")
_EXPERT: Final = re.compile(r"blocks\.0\.bk_layer\.(?:moe_)?ffn\.experts\.(\d+)\.0\.weight")
_TYPES: Final = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
# The limit of the potential in the versions that are reproduced; a configuration may say another.
_POTENTIAL_LIMIT: Final = 3.0
_DROPOUT: Final = 0.1


class NotAModelOf10Error(Exception):
    """The tensors do not make a model that 1.0 has."""


@attrs.frozen(kw_only=True)
class Architecture:
    """A model of 1.0 that does what an old one did.

    Attributes:
        settings: The content of `config.json`.
        shapes: The shape of every tensor, by name, in the order of the model's parameters.
    """

    settings: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]


def infer(model: Mapping[str, Ref], config: Mapping[str, Any], top_k: int) -> Architecture:
    """What model old tensors make.

    Args:
        model: The tensors by name.
        config: What is known of the model besides, under any of its old names.
        top_k: Experts that a token goes through.

    Raises:
        NotAModelOf10Error: They make none that 1.0 has.
    """
    vocab_size, d_model = _shape(model, "token_embedding.weight", 2)
    n_seq, _ = _shape(model, "position_embedding.weight", 2)
    n_layers = _count([int(found[1]) for name in model if (found := _LAYER.match(name))], "layers")
    n_experts = _count([int(found[1]) for name in model if (found := _EXPERT.fullmatch(name))], "experts")
    inner = next(
        ref.tensor.shape[0] for name, ref in model.items() if _EXPERT.fullmatch(name) and ref.tensor.shape
    )
    if not 1 <= top_k <= n_experts:
        raise NotAModelOf10Error(f"each token would go through {top_k} of {n_experts} experts")
    settings: dict[str, Any] = {
        "architectures": ["ResNetBKForCausalLM"],
        "model_type": "resnet_bk",
        "dtype": _TYPES.get(model["token_embedding.weight"].tensor.dtype, "float32"),
        "mixer": MIXER,
        "vocab_size": vocab_size,
        "d_model": d_model,
        "n_layers": n_layers,
        "n_seq": n_seq,
        "diagonal_heads": 1,
        "potential_limit": _number(config, ("v_max",), _POTENTIAL_LIMIT, least=1e-6),
        "feed_forward": "experts",
        "intermediate_size": inner,
        "num_experts": n_experts,
        "top_k": top_k,
        "use_scattering_router": False,
        "parallel_feed_forward": True,
        "norm": "layer",
        "norm_eps": 1e-5,
        "position_embeddings": True,
        "head_bias": "lm_head.bias" in model,
        "tie_word_embeddings": False,
        "use_prime_bump": False,
        "dropout": _number(config, ("dropout_p", "dropout"), _DROPOUT, least=0, most=1),
        "grad_blend": _number(config, ("grad_blend",), 0.0, least=0, most=1),
        "epsilon": _number(config, ("epsilon",), 1.0, least=1e-9),
    }
    return Architecture(settings=settings, shapes=expected_shapes(settings))


def expected_shapes(settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a model, in the order in which 1.0 counts its parameters.

    Args:
        settings: Its configuration.
    """
    width, inner = settings["d_model"], settings["intermediate_size"]
    experts, chains = settings["num_experts"], settings["diagonal_heads"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.embeddings.weight": (settings["vocab_size"], width),
        "model.position_embeddings.weight": (settings["n_seq"], width),
    }
    for layer in range(settings["n_layers"]):
        parts: dict[str, tuple[int, ...]] = {
            "norm.weight": (width,),
            "norm.bias": (width,),
            "mixer.energy": (chains,),
            "mixer.rho": (chains,),
            "mixer.scale": (width,),
            "mixer.potential.weight": (chains, width),
            "mixer.potential.bias": (chains,),
            "mixer.out_proj.weight": (width, 2 * chains),
            "mixer.out_proj.bias": (width,),
            "feed_forward.gate.proj.weight": (experts, width),
            "feed_forward.gate.proj.bias": (experts,),
        }
        for expert in range(experts):
            parts[f"feed_forward.experts.{expert}.up_proj.weight"] = (inner, width)
            parts[f"feed_forward.experts.{expert}.up_proj.bias"] = (inner,)
            parts[f"feed_forward.experts.{expert}.down_proj.weight"] = (width, inner)
            parts[f"feed_forward.experts.{expert}.down_proj.bias"] = (width,)
        shapes.update({f"model.layers.{layer}.{name}": shape for name, shape in parts.items()})
    shapes["model.norm.weight"] = shapes["model.norm.bias"] = (width,)
    shapes["lm_head.weight"] = (settings["vocab_size"], width)
    if settings["head_bias"]:
        shapes["lm_head.bias"] = (settings["vocab_size"],)
    return shapes


def _shape(model: Mapping[str, Ref], name: str, dimensions: int) -> tuple[int, ...]:
    ref = model.get(name)
    if ref is None:
        raise NotAModelOf10Error(f"there is no {name}")
    if len(ref.tensor.shape) != dimensions:
        raise NotAModelOf10Error(f"{name} has the shape {list(ref.tensor.shape)}")
    return ref.tensor.shape


def _count(numbers: list[int], things: str) -> int:
    """How many things there are, which are numbered from 0 on."""
    found = sorted(set(numbers))
    if not found or found != list(range(len(found))):
        raise NotAModelOf10Error(f"there are no {things}" if not found else f"some {things} are missing")
    return len(found)


def _number(
    config: Mapping[str, Any], names: tuple[str, ...], default: float, *, least: float, most: float = math.inf
) -> float:
    """What a configuration says under one of several names, if that is possible."""
    for name in names:
        value = config.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most:
            return value
    return default
