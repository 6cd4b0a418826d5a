"""The settings of llama.cpp."""

from __future__ import annotations

import attrs

from modelplug.backends.types import BackendSettings

__all__ = ["KV_TYPES", "LlamaCppSettings"]

KV_TYPES = ("f16", "f32", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")


@attrs.frozen(kw_only=True)
class LlamaCppSettings(BackendSettings):
    """What llama.cpp can be told.

    Attributes:
        ubatch_size: Prompt tokens per pass through the graph; None takes the engine's 512.
        use_mmap: Whether to map the file instead of reading it.
        use_mlock: Whether to keep the weights from being swapped out.
        kv_type: Type of the key/value cache.
        flash_attention: None lets the engine decide.
        parallel: Requests worked on at the same time; the context is shared between them.
        warmup: Whether to run an empty pass while loading.
    """

    ubatch_size: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.ge(1))
    )
    use_mmap: bool = True
    use_mlock: bool = False
    kv_type: str = attrs.field(default="f16", validator=attrs.validators.in_(KV_TYPES))
    flash_attention: bool | None = None
    parallel: int = attrs.field(default=1, validator=(attrs.validators.ge(1), attrs.validators.le(64)))
    warmup: bool = False
