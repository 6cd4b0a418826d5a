"""Opens safetensors files, one or several, and keeps the place of every tensor."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import attrs

from modelplug.errors import ModelFileError
from modelplug.formats.safetensors import read_safetensors
from modelplug.formats.source import ByteSource
from modelplug_migrators.resnet_bk.checkpoints.reading.stored import StoredTensor, row_major

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PAIRS", "SafetensorsContent", "open_safetensors"]

PAIRS: Final = "complex128"
"""In a file's header: the names of tensors whose complex numbers of 16 bytes are stored as pairs."""


@attrs.frozen(kw_only=True)
class SafetensorsContent:
    """What one file holds.

    Attributes:
        tensors: Its tensors by name, in order.
        metadata: The texts of its header.
    """

    tensors: dict[str, StoredTensor]
    metadata: dict[str, str]


def open_safetensors(path: Path) -> SafetensorsContent:
    """Read the header of a file.

    Args:
        path: The file.

    Raises:
        ModelFileError: It is damaged, or is something else.
    """
    checked = read_safetensors(path)
    with ByteSource(path) as source:
        header: dict[str, Any] = json.loads(source.read_at(8, checked.header_bytes - 8))
    pairs = _pairs(path, checked.metadata)
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype, shape = entry["dtype"], tuple(entry["shape"])
        if name in pairs:
            dtype, shape = "C128", shape[:-1]
        tensors[name] = StoredTensor(
            path=path,
            start=checked.header_bytes + entry["data_offsets"][0],
            dtype=dtype,
            shape=shape,
            stride=row_major(shape),
        )
    return SafetensorsContent(tensors=tensors, metadata=checked.metadata)


def _pairs(path: Path, metadata: dict[str, str]) -> frozenset[str]:
    try:
        return frozenset(json.loads(metadata.get(PAIRS, "[]")))
    except (ValueError, TypeError) as error:
        raise ModelFileError(
            f"{path.name} is damaged: its header does not say which numbers are complex",
            path=path,
            offset=8,
            advice="Copy the file again.",
        ) from error
