"""How large a model's key/value cache is, layer by layer: exact where the header says enough, else bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from modelplug.errors import UsageError
from modelplug.formats.ggml_types import GGML_TYPES

if TYPE_CHECKING:
    from modelplug.formats.model_info import ModelInfo

__all__ = ["KV_TYPES", "LayerCache", "kv_cache", "kv_types"]

KV_TYPES: Final[tuple[str, ...]] = (
    "f32",
    "f16",
    "bf16",
    "q8_0",
    "q4_0",
    "q4_1",
    "iq4_nl",
    "q5_0",
    "q5_1",
)
"""The types an engine can store keys and values in."""

_BYTES: Final = {
    known.name.lower(): known.block_bytes / known.block_size
    for known in GGML_TYPES.values()
    if known.name.lower() in KV_TYPES
}

# Every n-th layer attends to everything, the others to a window, in the engines that know the architecture.
_WINDOW_PATTERNS: Final = {
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gemma-embedding": 6,
    "cohere2": 4,
    "exaone4": 4,
    "gpt-oss": 2,
    "olmo2": 4,
}
# These carry the entry, but the engines give every layer a full cache.
_WINDOW_IGNORED: Final = frozenset({"llama", "mistral", "qwen2", "qwen2moe", "qwen3", "phi3", "starcoder2"})
_WITHOUT_CACHE: Final = frozenset(
    {"bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "modern-bert", "t5encoder", "clip"}
)
_RECURRENT_KEYS: Final = (".ssm.", ".wkv.", ".shortconv.", ".rwkv.")
_STATE_ELEMENT: Final = 4  # recurrent states are kept in 32 bits


@attrs.frozen(kw_only=True)
class LayerCache:
    """Bytes of the cache of each layer.

    Attributes:
        low: The least it can be.
        high: The most it can be; equal to `low` where the size is exact.
        exact: Whether it is.
        notes: Why it is not.
    """

    low: tuple[int, ...]
    high: tuple[int, ...]
    exact: bool
    notes: tuple[str, ...] = ()


def kv_types(kv_type: str | tuple[str, str]) -> tuple[str, str]:
    """Split and check a KV type: one name for keys and values, or one for each.

    Raises:
        UsageError: A name is not one of `KV_TYPES`.
    """
    pair = (kv_type, kv_type) if isinstance(kv_type, str) else (kv_type[0], kv_type[1])
    for name in pair:
        if name.lower() not in KV_TYPES:
            raise UsageError(
                f"{name!r} is not a type for the KV cache", advice=f"Choose one of {', '.join(KV_TYPES)}."
            )
    return pair[0].lower(), pair[1].lower()


def kv_cache(
    info: ModelInfo,
    *,
    context_size: int,
    kv_type: str | tuple[str, str] = "f16",
    ubatch: int = 512,
    parallel: int = 1,
) -> LayerCache:
    """Bytes of each layer's key/value cache.

    Args:
        info: The model.
        context_size: Tokens in the context (of all sequences together).
        kv_type: One of `KV_TYPES`, or a pair of them for keys and values.
        ubatch: Tokens processed at once; layers with a window hold that many more.
        parallel: Sequences at once.

    Returns:
        The bytes, with bounds where the header does not determine them.
    """
    layers = info.layers or len(info.weights.layers)
    if info.architecture in _WITHOUT_CACHE:
        return LayerCache(low=(0,) * layers, high=(0,) * layers, exact=True)
    if info.state_bytes is not None:
        stated = _spread(info.state_bytes * parallel, layers)
        return LayerCache(low=stated, high=stated, exact=True)
    per_token, note = _bytes_per_token(info, layers, kv_types(kv_type))
    notes = [note] if note else []
    high = [context_size * size for size in per_token]
    low = [0] * layers if note else list(high)
    window_note = _apply_window(info, low, high, context_size, ubatch, parallel)
    notes += [window_note] if window_note else []
    if _key(info, "attention.kv_lora_rank"):
        notes.append(
            "latent attention (MLA): how much an engine stores differs, so the size is an upper bound"
        )
        low = [min(size, _latent_bytes(info, context_size, kv_types(kv_type)[0])) for size in low]
    if _is_recurrent(info):
        notes.append("recurrent or hybrid layers: the cache's size is an upper bound")
        recurrent = _state_bytes(info) * parallel
        # with one number for all layers the header does not say which of them keep a cache at all
        told_apart = 0 in info.heads_kv and any(info.heads_kv)
        low = [size if told_apart else 0 for size in low]
        high = [size + recurrent for size in high]
    return LayerCache(low=tuple(low), high=tuple(high), exact=not notes, notes=tuple(notes))


def _spread(size: int, layers: int) -> tuple[int, ...]:
    """So many bytes over all layers, as evenly as whole bytes allow."""
    return tuple(size * (layer + 1) // layers - size * layer // layers for layer in range(layers))


def _bytes_per_token(info: ModelInfo, layers: int, types: tuple[str, str]) -> tuple[list[int], str | None]:
    bytes_k, bytes_v = _BYTES[types[0]], _BYTES[types[1]]
    if info.heads_kv and info.key_length is not None and info.value_length is not None:
        heads = list(info.heads_kv[:layers]) + [max(info.heads_kv)] * (layers - len(info.heads_kv))
        return [
            round(count * info.key_length * bytes_k + count * info.value_length * bytes_v) for count in heads
        ], None
    if _is_recurrent(info) and not any(info.heads_kv):
        return [0] * layers, None
    if info.embedding_length is not None:
        width = info.embedding_length * (bytes_k + bytes_v)
        return [round(width)] * layers, (
            "the header does not state heads or head sizes: the cache's size is an upper bound from the width"
        )
    return [0] * layers, "the header does not state what determines the cache's size: it is not counted"


def _apply_window(
    info: ModelInfo, low: list[int], high: list[int], context_size: int, ubatch: int, parallel: int
) -> str | None:
    window = info.sliding_window
    if not window or info.architecture in _WINDOW_IGNORED or not context_size:
        return None
    held = min(context_size, window * parallel + ubatch)
    windowed = _windowed_layers(info, len(high))
    for layer in range(len(high)):
        if windowed is None or windowed[layer]:
            low[layer] = low[layer] * held // context_size
            if windowed is not None:
                high[layer] = high[layer] * held // context_size
    if windowed is None and held < context_size:
        return "which layers attend to a window only is not known: the cache's size is an upper bound"
    return None


def _windowed_layers(info: ModelInfo, layers: int) -> list[bool] | None:
    stated = _key(info, "attention.sliding_window_pattern")
    if isinstance(stated, dict):
        values = stated.get("values")
        return [bool(value) for value in values] if values and len(values) == layers else None
    pattern = stated if isinstance(stated, int) else _WINDOW_PATTERNS.get(info.architecture or "")
    if pattern is None:
        return None
    return [pattern == 0 or layer % pattern < pattern - 1 for layer in range(layers)]


def _key(info: ModelInfo, suffix: str) -> Any:
    return info.metadata.get(f"{info.architecture}.{suffix}")


def _number(info: ModelInfo, suffix: str) -> int:
    value = _key(info, suffix)
    return value if isinstance(value, int) and value > 0 else 0


def _is_recurrent(info: ModelInfo) -> bool:
    return any(part in key for key in info.metadata for part in _RECURRENT_KEYS)


def _state_bytes(info: ModelInfo) -> int:
    inner, state = _number(info, "ssm.inner_size"), _number(info, "ssm.state_size")
    kernel, groups = _number(info, "ssm.conv_kernel"), _number(info, "ssm.group_count")
    selective = max(0, kernel - 1) * (inner + 2 * groups * state) + inner * state
    width = info.embedding_length or 0
    linear = width * (2 + _number(info, "wkv.head_size")) if _number(info, "wkv.head_size") else 0
    convolution = width * max(0, _number(info, "shortconv.l_cache") - 1)
    return _STATE_ELEMENT * (selective + linear + convolution)


def _latent_bytes(info: ModelInfo, context_size: int, type_k: str) -> int:
    width = _number(info, "attention.kv_lora_rank") + _number(info, "rope.dimension_count")
    return round(context_size * width * _BYTES[type_k])
