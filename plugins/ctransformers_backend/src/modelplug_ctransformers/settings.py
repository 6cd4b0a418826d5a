"""The settings of this backend."""

from __future__ import annotations

from typing import Literal

import attrs

from modelplug.backends.types import BackendSettings

__all__ = ["CtransformersSettings", "LegacyType"]

LegacyType = Literal["dolly-v2", "falcon", "gpt2", "gptj", "gpt-neox", "llama", "mpt", "replit", "starcoder"]

MAX_BATCH = 512
"""The engine sizes its buffers for this many tokens and aborts the process beyond it."""


@attrs.frozen(kw_only=True)
class CtransformersSettings(BackendSettings):
    """The settings of ctransformers.

    Attributes:
        batch_size: Prompt tokens evaluated at once, at most 512; null takes 512.
        use_mmap: Whether the file is mapped instead of read.
        use_mlock: Whether the weights are kept from being swapped out.
        model_type: What a file in a format before GGUF holds, because such files do not say it. GGUF files
            say it themselves, and this setting is not used for them.
        library: Which of the bundled builds to use; null takes the best that this processor can run.
    """

    batch_size: int | None = attrs.field(
        default=None,
        validator=attrs.validators.optional([attrs.validators.ge(1), attrs.validators.le(MAX_BATCH)]),
    )
    use_mmap: bool = True
    use_mlock: bool = False
    model_type: LegacyType | None = None
    library: Literal["avx2", "avx", "basic"] | None = None
