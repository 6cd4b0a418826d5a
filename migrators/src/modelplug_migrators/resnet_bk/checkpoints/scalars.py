"""Small tensors of numbers, and the one conversion that the width of the resolvent needs."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Final

from modelplug.migration.checkpoints import MadeTensor

if TYPE_CHECKING:
    from modelplug.migration.checkpoints import TensorData

__all__ = [
    "ETA_FLOOR",
    "complex_tensor",
    "eta_of_rho",
    "float_tensor",
    "numbers_of",
    "repeated",
    "rho_of_eta",
]

ETA_FLOOR: Final = 1e-6
"""What 1.0 adds to the width, so that it is never 0."""

_FORMATS: Final = {
    "F64": "d",
    "F32": "f",
    "F16": "e",
    "I64": "q",
    "I32": "i",
    "I16": "h",
    "I8": "b",
    "U8": "B",
}


def float_tensor(values: list[float], shape: tuple[int, ...]) -> MadeTensor:
    """A tensor of 32-bit floats."""
    return MadeTensor("F32", shape, struct.pack(f"<{len(values)}f", *values))


def complex_tensor(value: complex) -> MadeTensor:
    """One complex number of 8 bytes."""
    return MadeTensor("C64", (), struct.pack("<2f", value.real, value.imag))


def numbers_of(tensor: TensorData) -> list[complex]:
    """The values of a small tensor.

    Raises:
        ValueError: They are of a type that is not known here.
    """
    data = b"".join(tensor.chunks())
    if tensor.dtype in ("C64", "C128"):
        kind = "f" if tensor.dtype == "C64" else "d"
        parts = struct.unpack(f"<{len(data) // struct.calcsize(kind)}{kind}", data)
        return [complex(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)]
    if tensor.dtype == "BF16":
        data = b"".join(b"\0\0" + data[at : at + 2] for at in range(0, len(data), 2))
    kind = _FORMATS.get("F32" if tensor.dtype == "BF16" else tensor.dtype, "")
    if not kind:
        raise ValueError(f"numbers of the type {tensor.dtype} are not expected here")
    return [complex(value) for value in struct.unpack(f"<{len(data) // struct.calcsize(kind)}{kind}", data)]


def repeated(tensor: TensorData, count: int) -> MadeTensor:
    """One number, as a tensor that holds it so often."""
    return MadeTensor(tensor.dtype, (count,), b"".join(tensor.chunks()) * count)


def softplus(value: float) -> float:
    """log(1 + exp(value)), without overflow."""
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))


def rho_of_eta(eta: float) -> float:
    """What the model has to hold for a width.

    Args:
        eta: The width; more than `ETA_FLOOR`.
    """
    above = eta - ETA_FLOOR
    return above + math.log(-math.expm1(-above))


def eta_of_rho(rho: float) -> float:
    """The width that a model has."""
    return softplus(rho) + ETA_FLOOR
