"""Safetensors files, written one tensor at a time so that memory stays bounded by the largest."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Final

import safetensors
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

__all__ = ["UnsupportedTensorError", "read_metadata", "read_tensors", "tensor_chunks"]

_NAMES: Final[dict[torch.dtype, str]] = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.complex64: "C64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
}
# The format has no complex numbers of 16 bytes: they are stored as pairs, and named here.
_PAIRS: Final = "complex128"
_ALIGNMENT: Final = 8


class UnsupportedTensorError(TypeError):
    """A tensor is of a type that safetensors files can't hold."""


def tensor_chunks(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
) -> Iterator[bytes | memoryview]:
    """The bytes of a safetensors file, piece by piece.

    Args:
        tensors: The tensors by name, on any device.
        metadata: Texts for the header.

    Raises:
        UnsupportedTensorError: One of them is of a type the format can't hold.
    """
    pairs = sorted(name for name, tensor in tensors.items() if tensor.dtype is torch.complex128)
    texts = dict(metadata or {})
    if pairs:
        texts[_PAIRS] = json.dumps(pairs)
    # Larger types first, so that every tensor is aligned without gaps, as the format wants it.
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {"__metadata__": texts} if texts else {}
    position = 0
    for name in order:
        shape = list(tensors[name].shape)
        size = tensors[name].numel() * tensors[name].element_size()
        kind = "F64" if name in pairs else _NAMES.get(tensors[name].dtype)
        if kind is None:
            reason = f"{name} is of the type {tensors[name].dtype}, which safetensors files can't hold"
            raise UnsupportedTensorError(reason)
        header[name] = {
            "dtype": kind,
            "shape": [*shape, 2] if name in pairs else shape,
            "data_offsets": [position, position + size],
        }
        position += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    yield struct.pack("<Q", len(text)) + text
    for name in order:
        yield _bytes_of(tensors[name])


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    plain = tensor.detach().to("cpu").contiguous().reshape(-1)
    if plain.is_conj():
        plain = plain.resolve_conj()
    if plain.is_neg():
        plain = plain.resolve_neg()
    return memoryview(plain.view(torch.uint8).numpy()) if plain.numel() else memoryview(b"")


def read_tensors(path: Path, wanted: Callable[[str], bool] | None = None) -> dict[str, torch.Tensor]:
    """Every tensor of a file, in memory of its own.

    Args:
        path: The file.
        wanted: Says for a name whether it is read; None reads all.
    """
    with safetensors.safe_open(path, framework="pt", device="cpu") as file:
        pairs = set(json.loads((file.metadata() or {}).get(_PAIRS, "[]")))
        names = [name for name in file.keys() if wanted is None or wanted(name)]  # noqa: SIM118  no mapping
        # Cloned, because what the library gives is mapped from the file.
        found = {name: file.get_tensor(name).clone() for name in names}
    return {name: torch.view_as_complex(item) if name in pairs else item for name, item in found.items()}


def read_metadata(path: Path) -> dict[str, str]:
    """The texts in the header of a file."""
    with safetensors.safe_open(path, framework="pt", device="cpu") as file:
        return dict(file.metadata() or {})
