"""The settings of this backend."""

from __future__ import annotations

from typing import Literal

import attrs

from modelplug.backends.types import BackendSettings

__all__ = ["DEFAULT_BATCH", "DtypeName", "TransformersSettings"]

DtypeName = Literal["auto", "float32", "float16", "bfloat16"]

DEFAULT_BATCH = 512


@attrs.frozen(kw_only=True)
class TransformersSettings(BackendSettings):
    """The settings of transformers.

    Attributes:
        batch_size: Prompt tokens evaluated at once; null takes 512.
        device_map: How to spread the model over devices, as transformers understands it: `auto`, `balanced`,
            `sequential`, one device, or an object of module name to device. Null puts all of it on the
            device that selection chose.
        dtype: In what precision the weights are held; `auto` takes the model's own. Null takes float32 on the
            CPU, and a 16-bit type on a GPU.
        torch_dtype: The older name of `dtype`.
        trust_remote_code: Whether code that comes with the model may run. It can do anything you can.
    """

    batch_size: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.ge(1))
    )
    device_map: str | dict[str, int | str] | None = None
    dtype: DtypeName | None = None
    torch_dtype: DtypeName | None = attrs.field(default=None)
    trust_remote_code: bool = False

    @torch_dtype.validator
    def _one_name_only(self, _attribute: object, value: str | None) -> None:
        if value is not None and self.dtype is not None and value != self.dtype:
            msg = f"dtype ({self.dtype}) and torch_dtype ({value}) contradict each other"
            raise ValueError(msg)

    @property
    def precision(self) -> DtypeName | None:
        """The data type asked for, under either name."""
        return self.dtype or self.torch_dtype
