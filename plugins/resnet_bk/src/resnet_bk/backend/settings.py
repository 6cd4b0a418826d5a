"""The settings of this backend."""

from __future__ import annotations

from typing import Literal

import attrs

from modelplug.backends.types import BackendSettings

__all__ = ["DEFAULT_BATCH", "ResNetBKSettings"]

DEFAULT_BATCH = 512


@attrs.frozen(kw_only=True)
class ResNetBKSettings(BackendSettings):
    """The settings of ResNet-BK models.

    Attributes:
        batch_size: Prompt tokens evaluated at once; null takes 512.
        dtype: In what precision matrices are held; `auto` takes the model's own. Null takes float32 on the
            CPU and the model's own on a GPU. Gates and states are always in float32.
    """

    batch_size: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.ge(1))
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] | None = None
