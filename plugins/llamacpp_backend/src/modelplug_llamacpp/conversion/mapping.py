"""Which tensor of the source becomes which tensor of the file, and in which type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from modelplug.errors import ConversionRefusedError
from modelplug_llamacpp.conversion.configuration import HF_TOOL

if TYPE_CHECKING:
    from modelplug_llamacpp.conversion.configuration import Configuration

__all__ = ["BLOCK", "QUANTIZATIONS", "Target", "map_tensors"]

QUANTIZATIONS: Final = {"F16": 1, "Q8_0": 7, "Q4_0": 2}
"""The types a model can be converted to, with the number of each in `general.file_type`."""

BLOCK: Final = 32
"""Neighbouring weights that Q8_0 and Q4_0 store together."""

_BYTES: Final = {"F32": (1, 4), "F16": (1, 2), "Q8_0": (BLOCK, 34), "Q4_0": (BLOCK, 18)}
# Computed from the configuration, or left by old versions of transformers.
_LEFT_OUT: Final = re.compile(r"rotary_emb\.inv_freq$|\.masked_bias$|\.attn\.bias$")


@attrs.frozen
class Target:
    """One tensor to write.

    Attributes:
        name: As GGUF spells it.
        source: As the source spells it.
        shape: Rows and columns, or the length of a vector.
        type: Its type in the file.
        heads: If its rows change places within each head, the number of heads; otherwise 0.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    type: str = "F32"
    heads: int = 0

    @property
    def size(self) -> int:
        """Bytes in the file."""
        block, size = _BYTES[self.type]
        elements = 1
        for length in self.shape:
            elements *= length
        return elements // block * size


def map_tensors(
    config: Configuration, found: Mapping[str, tuple[int, ...]], quantization: str, directory: Path
) -> list[Target]:
    """The tensors to write, in the order of the file.

    Args:
        config: The model's figures.
        found: Name -> shape of the source's tensors.
        quantization: One of `QUANTIZATIONS`.
        directory: For errors.

    Raises:
        ConversionRefusedError: A tensor is missing, has another shape, or is one that llama.cpp's file of
            this architecture has no place for.
    """
    wanted = [_typed(target, config, quantization) for target in _wanted(config, found)]
    sources = {target.source for target in wanted}
    missing = [target.source for target in wanted if target.source not in found]
    if missing:
        raise _refused(
            directory,
            f"{len(missing)} of its {len(wanted)} tensors are missing, {missing[0]} for example",
            why="a weight file is incomplete, or config.json belongs to another model",
            advice="Download the model again, all its files.",
        )
    for target in wanted:
        if tuple(found[target.source]) != target.shape:
            raise _refused(
                directory,
                f"{target.source} has the shape {_shown(found[target.source])} instead of "
                f"{_shown(target.shape)}",
                why="config.json and the weights contradict each other",
                advice="Download config.json and the weights of the same model.",
            )
    surplus = [
        name
        for name in sorted(set(found) - sources)
        if not _LEFT_OUT.search(name) and not (config.tied and name == "lm_head.weight")
    ]
    if surplus:
        raise _refused(
            directory,
            f"{len(surplus)} of its tensors have no place in the result, {surplus[0]} for example",
            why="the model would compute something else without them",
            tool=HF_TOOL,
            advice=f"See whether llama.cpp's {HF_TOOL} knows this model.",
        )
    return wanted


def _wanted(config: Configuration, found: Mapping[str, tuple[int, ...]]) -> list[Target]:
    width = config.width
    targets = [Target("token_embd.weight", "model.embed_tokens.weight", (config.vocabulary, width))]
    for layer in range(config.layers):
        targets += _layer(config, f"blk.{layer}.", f"model.layers.{layer}.", found)
    targets.append(Target("output_norm.weight", "model.norm.weight", (width,)))
    if not config.tied:
        targets.append(Target("output.weight", "lm_head.weight", (config.vocabulary, width)))
    return targets


def _layer(
    config: Configuration, ours: str, theirs: str, found: Mapping[str, tuple[int, ...]]
) -> list[Target]:
    width, inner, family = config.width, config.inner, config.family
    queries, keys = config.heads * config.head_width, config.kv_heads * config.head_width
    turned, turned_kv = (config.heads, config.kv_heads) if family.interleaved else (0, 0)
    rows = (
        ("attn_q", "self_attn.q_proj", queries, width, turned),
        ("attn_k", "self_attn.k_proj", keys, width, turned_kv),
        ("attn_v", "self_attn.v_proj", keys, width, 0),
        ("attn_output", "self_attn.o_proj", width, queries, 0),
        ("ffn_gate", "mlp.gate_proj", inner, width, 0),
        ("ffn_up", "mlp.up_proj", inner, width, 0),
        ("ffn_down", "mlp.down_proj", width, inner, 0),
    )
    targets = [
        Target(f"{ours}attn_norm.weight", f"{theirs}input_layernorm.weight", (width,)),
        Target(f"{ours}ffn_norm.weight", f"{theirs}post_attention_layernorm.weight", (width,)),
    ]
    for name, source, height, length, heads in rows:
        targets.append(
            Target(f"{ours}{name}.weight", f"{theirs}{source}.weight", (height, length), heads=heads)
        )
        always = family.attention_bias and name in ("attn_q", "attn_k", "attn_v")
        if always or f"{theirs}{source}.bias" in found:
            targets.append(Target(f"{ours}{name}.bias", f"{theirs}{source}.bias", (height,), heads=heads))
    if family.head_norms:
        for name in ("q", "k"):
            source = f"{theirs}self_attn.{name}_norm.weight"
            targets.append(Target(f"{ours}attn_{name}_norm.weight", source, (config.head_width,)))
    return targets


def _typed(target: Target, config: Configuration, quantization: str) -> Target:
    """Vectors stay F32; rows that no whole number of blocks fills stay F16, as in llama.cpp's own files."""
    if len(target.shape) == 1:
        return target
    head = "token_embd.weight" if config.tied else "output.weight"
    if quantization != "F16" and target.shape[-1] % BLOCK:
        quantization = "F16"
    elif quantization == "Q4_0" and target.name == head:
        # The output head suffers most from few bits: llama.cpp takes Q6_K, which gguf can't write.
        quantization = "Q8_0"
    return attrs.evolve(target, type=quantization)


def _refused(directory: Path, what: str, *, why: str, advice: str, tool: str = "") -> ConversionRefusedError:
    return ConversionRefusedError(
        f"{directory.name} can't be converted: {what}", path=directory, tool=tool, why=why, advice=advice
    )


def _shown(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "of a single number"
