"""In what precision to compute, and why."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Final

import attrs
import torch

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["Precision", "choose_precision", "matrix_width"]


# Measured with AMX: a step takes 0.94, 0.84, 0.67 and 0.56 of the time at widths 64, 128, 256 and 512; the
# narrower the matrices, the more the casts between the types weigh.
_WORTHWHILE: Final = 128
# The launcher says "no" also where nobody asked, so that says nothing.
_LAUNCHED: Final = {"bf16": "bfloat16", "fp16": "float16"}


@attrs.frozen(kw_only=True)
class Precision:
    """The type in which the model computes; parameters stay in float32.

    Attributes:
        name: `float32`, `bfloat16` or `float16`.
        device: The kind of device, for example `cuda`.
        reason: Why.
    """

    name: str
    device: str
    reason: str

    @property
    def mixed(self) -> bool:
        """Whether it is less than float32."""
        return self.name != "float32"

    def autocast(self) -> AbstractContextManager[Any]:
        """What to compute the model in."""
        if not self.mixed:
            return contextlib.nullcontext()
        mode: AbstractContextManager[Any] = torch.autocast(self.device, dtype=getattr(torch, self.name))
        return mode

    def scaler(self) -> torch.amp.GradScaler:
        """What keeps small gradients of float16 from vanishing; it does nothing for other types."""
        return torch.amp.GradScaler(self.device, enabled=self.name == "float16")


def matrix_width(model: torch.nn.Module) -> int:
    """The smaller side of a typical matrix of a model: half of the numbers in matrices are in wider ones.

    Args:
        model: The model, its parameters not distributed.
    """
    sizes: list[tuple[int, int]] = sorted(
        (min(each.shape[0], each[0].numel()), each.numel())
        for each in model.parameters()
        if each.ndim > 1 and each.numel()
    )
    half, passed = sum(count for _, count in sizes) / 2, 0
    for side, count in sizes:
        passed += count
        if passed >= half:
            return side
    return 0


def choose_precision(wanted: str, device: torch.device, *, width: int, sharded: bool = False) -> Precision:
    """The precision for a device: mixed where the hardware gains by it, full where it does not.

    Args:
        wanted: `auto`, or the name of a type.
        device: Where the model is.
        width: What `matrix_width` says of the model.
        sharded: Whether parameters are distributed, for which float16 has no gradient scaler here.
    """
    launched = _LAUNCHED.get(os.environ.get("ACCELERATE_MIXED_PRECISION", ""))
    if wanted == "auto" and launched is not None:
        return Precision(name=launched, device=device.type, reason="`accelerate launch` was told so")
    if wanted != "auto":
        return Precision(name=wanted, device=device.type, reason="it was asked for")
    name, reason = _automatic(device, width)
    if name == "float16" and sharded:
        name, reason = "float32", "this GPU has no bfloat16, and float16 is not for sharded parameters"
    return Precision(name=name, device=device.type, reason=reason)


def _automatic(device: torch.device, width: int) -> tuple[str, str]:
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        if major >= 8 or torch.version.hip:
            return "bfloat16", f"this GPU (compute capability {major}.{minor}) has matrix units for it"
        if major >= 7:
            return "float16", f"this GPU (compute capability {major}.{minor}) has matrix units for it"
        return "float32", f"this GPU (compute capability {major}.{minor}) has no matrix units for less"
    if device.type == "cpu":
        # The name is private to torch; a version without it has nothing to tell.
        if not getattr(torch.cpu, "_is_amx_tile_supported", bool)():
            return "float32", "this processor has no matrix units for bfloat16 (AMX), which would be slower"
        if width < _WORTHWHILE:
            return "float32", f"bfloat16 gains nothing for matrices of width {width}, below {_WORTHWHILE}"
        return "bfloat16", "this processor has matrix units for it (AMX)"
    return "float32", f"nothing is known of mixed precision on {device.type}"
