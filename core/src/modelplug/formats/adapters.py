"""LoRA adapters in the form of a directory: `adapter_config.json` and the adapter's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelplug.errors import NotAModelError
from modelplug.formats.fingerprint import FingerprintBuilder
from modelplug.formats.huggingface import read_json
from modelplug.formats.model_info import ModelInfo
from modelplug.formats.pytorch import read_pytorch
from modelplug.formats.safetensors import read_safetensors
from modelplug.formats.source import exists, file_size
from modelplug.formats.weights import count_parameters, dominant_type, layer_sizes, type_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from modelplug.formats.weights import Tensor

__all__ = ["inspect_adapter"]


def inspect_adapter(path: Path, directory: Path) -> ModelInfo:
    """Inspect a LoRA adapter's directory.

    Args:
        path: What the user gave, for the record.
        directory: The directory with `adapter_config.json`.

    Returns:
        What its files say, `kind` being `adapter`; the model it belongs to is in the metadata.

    Raises:
        NotAModelError: There are no weights.
        ModelFileError: A file is damaged or cut off.
    """
    builder = FingerprintBuilder()
    config = read_json(directory / "adapter_config.json", builder)
    weights = directory / "adapter_model.safetensors"
    pickled = directory / "adapter_model.bin"
    tensors: tuple[Tensor, ...]
    warnings: tuple[str, ...] = ()
    if exists(weights):
        tensors = read_safetensors(weights, builder).tensors
    elif exists(pickled):
        weights = pickled
        checkpoint = read_pytorch(pickled)
        tensors, warnings = checkpoint.tensors, checkpoint.warnings
        builder.add_bytes(checkpoint.fingerprint.encode())
    else:
        raise NotAModelError(
            f"{directory.name} describes an adapter but holds no weights",
            path=path,
            why="there is neither adapter_model.safetensors nor adapter_model.bin",
            advice="Download the adapter's weight file into this directory.",
        )
    return ModelInfo(
        path=path,
        format="huggingface",
        format_version="safetensors" if weights.suffix == ".safetensors" else "pytorch",
        kind="adapter",
        parameters=count_parameters(tensors),
        quantization=dominant_type(tensors),
        tensor_types=type_bytes(tensors),
        size=file_size(weights),
        files=(weights,),
        weights=layer_sizes(tensors),
        fingerprint=builder.result(),
        warnings=warnings,
        metadata=_facts(config),
    )


def _facts(config: dict[str, Any]) -> dict[str, Any]:
    kept = ("base_model_name_or_path", "peft_type", "r", "lora_alpha", "task_type")
    return {
        f"adapter.{key}": config[key]
        for key in kept
        if isinstance(config.get(key), (str, int)) and len(str(config[key])) <= 1024
    }
