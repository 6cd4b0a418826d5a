"""Asks the installed transformers and torch themselves, in a child process, what they can do."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["causal_architectures", "gguf_architectures", "probe"]

# How GGUF spells architectures that transformers' table has under the name of its own model type.
_GGUF_SPELLINGS = {
    "qwen2_moe": "qwen2moe",
    "qwen3_moe": "qwen3moe",
    "gpt_oss": "gpt-oss",
    "minimax_m2": "minimax-m2",
}
# Sections of the same table that are no architectures, and models that are no language models.
_NOT_CAUSAL = frozenset({"general", "tokenizer", "t5", "umt5"})


def gguf_architectures() -> frozenset[str]:
    """Give the values of `general.architecture` that the installed transformers can load."""
    table = importlib.import_module("transformers.modeling_gguf_pytorch_utils").GGUF_SUPPORTED_ARCHITECTURES
    return frozenset(_GGUF_SPELLINGS.get(str(name), str(name)) for name in table if name not in _NOT_CAUSAL)


def causal_architectures() -> frozenset[str]:
    """Give the values of `model_type` for which the installed transformers has a causal language model."""
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    return frozenset(str(name) for name in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def probe() -> dict[str, Any]:
    """Import the engine and ask it.

    Returns:
        Fields of `BackendReport` to update.
    """
    torch = importlib.import_module("torch")
    importlib.import_module("transformers")
    fields: dict[str, Any] = {"architectures": sorted(gguf_architectures() | causal_architectures())}
    api = "rocm" if getattr(torch.version, "hip", None) else "cuda"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count:
        fields["devices"] = [f"{api}:{index}" for index in range(count)]
    elif getattr(torch.backends, "mps", None) is not None and torch.backends.mps.is_available():
        fields["devices"] = ["metal:0"]
    else:
        fields["devices"] = []
    gpu = bool(fields["devices"])
    fields["state"] = "gpu" if gpu else "cpu"
    fields["gpu_offload"] = "whole" if gpu else "none"
    if not gpu and torch.version.cuda is not None:
        fields["cause"] = f"torch {torch.__version__} finds no CUDA device it can use"
    return fields
