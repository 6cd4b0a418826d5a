"""Writes safetensors files tensor by tensor, so that none need be in memory."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from modelplug.formats.safetensors import DTYPE_BITS
from modelplug.migration.checkpoints.build import NewFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelplug.migration.checkpoints.build import Sink
    from modelplug.migration.checkpoints.source import TensorData

__all__ = ["safetensors_file"]

_ALIGNMENT = 8


def safetensors_file(
    name: str, tensors: Mapping[str, tuple[str, TensorData]], metadata: Mapping[str, str] | None = None
) -> NewFile:
    """A safetensors file to write.

    Args:
        name: Its name in the new folder.
        tensors: Name in the file -> the tensor's name in the account, and the tensor.
        metadata: Texts for the header.

    Raises:
        ValueError: A tensor is of a type that the format does not know, or of an impossible size.
    """
    # Larger types first, so that every tensor is aligned without gaps, as the format wants it.
    order = sorted(tensors, key=lambda key: (-DTYPE_BITS.get(tensors[key][1].dtype, 0), key))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for key in order:
        tensor = tensors[key][1]
        if tensor.dtype not in DTYPE_BITS:
            raise ValueError(f"{key} is of the type {tensor.dtype}, which safetensors files can't hold")
        header[key] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [position, position + tensor.size],
        }
        position += tensor.size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    beginning = struct.pack("<Q", len(text)) + text

    def write(sink: Sink) -> None:
        sink.write(beginning)
        for key in order:
            sink.tensor(*tensors[key])

    return NewFile(name=name, size=len(beginning) + position, write=write)
