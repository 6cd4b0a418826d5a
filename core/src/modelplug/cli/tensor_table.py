"""The tensors of a model file, for `modelplug inspect --tensors`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelplug.formats.model_info import ModelInfo
    from modelplug.formats.weights import Tensor

__all__ = ["list_tensors"]


def list_tensors(info: ModelInfo) -> list[Tensor] | None:
    """Every tensor in the order of the files; None for a format whose tensors can't be listed.

    Args:
        info: What inspection returned; its files were checked by that.

    Raises:
        ModelFileError: A file has changed since and is faulty now.
    """
    if info.format in ("gguf", "llamafile"):
        return _from_gguf(info)
    if all(file.name.endswith(".safetensors") for file in info.files):
        from modelplug.formats.safetensors import read_safetensors

        return [tensor for file in info.files for tensor in read_safetensors(file).tensors]
    return None


def _from_gguf(info: ModelInfo) -> list[Tensor]:
    from modelplug.formats.gguf_header import read_gguf_header
    from modelplug.formats.gguf_tensors import place_tensors
    from modelplug.formats.source import ByteSource

    tensors: list[Tensor] = []
    for file in info.files:
        with ByteSource(file, info.payload_offset) as source:
            tensors += place_tensors(source, read_gguf_header(source))[0]
    return tensors
