"""Models that transformers would refuse late, or run wrongly without a word, and how they are told."""

from __future__ import annotations

import importlib.util
import mmap
from typing import TYPE_CHECKING

from modelplug.errors import BackendError

if TYPE_CHECKING:
    from pathlib import Path

    from modelplug.formats.model_info import ModelInfo

__all__ = ["NAME", "check_model", "model_directory", "not_finite", "refuse", "weights_file"]

NAME = "transformers"

# Each method of quantising needs a package of its own; any one of those listed will do.
_QUANTISERS: dict[str, tuple[str, ...]] = {
    "gptq": ("gptqmodel", "auto_gptq"),
    "awq": ("gptqmodel", "awq"),
    "bitsandbytes": ("bitsandbytes",),
    "compressed-tensors": ("compressed_tensors",),
    "aqlm": ("aqlm",),
    "hqq": ("hqq",),
    "quanto": ("optimum",),
    "eetq": ("eetq",),
    "torchao": ("torchao",),
}

_HEADER_LIMIT = 64 * 1024 * 1024
_ROPE_FREQUENCIES = b"\x11\x00\x00\x00\x00\x00\x00\x00rope_freqs.weight"


def refuse(info: ModelInfo, why: str, advice: str, *, cause: str = "unsupported") -> BackendError:
    """Make the error for a model that can't be run here.

    Args:
        info: The model.
        why: The reason.
        advice: What to do instead.
        cause: The short machine-readable cause.
    """
    return BackendError(
        f"transformers can't run {info.path.name}",
        backend=NAME,
        phase="load",
        cause=cause,
        why=why,
        advice=advice,
    )


def not_finite() -> BackendError:
    """Make the error for a model that computes no numbers."""
    return BackendError(
        "the model computes no numbers (NaN or infinity)",
        backend=NAME,
        phase="generate",
        cause="not-finite",
        why="its weights or settings are damaged, or the data type is too narrow for it",
        advice=f"Set backends.{NAME}.dtype to float32 or bfloat16; or get the file again.",
    )


def weights_file(info: ModelInfo) -> Path:
    """Give the one weight file of a model that has only one."""
    return info.files[0] if info.files else info.path


def model_directory(info: ModelInfo) -> Path:
    """Give the directory that holds `config.json`, the weights and the tokenizer.

    Raises:
        BackendError: There is no `config.json` beside the weights.
    """
    for place in (info.path, weights_file(info).parent):
        if (place / "config.json").is_file():
            return place
    raise refuse(
        info,
        "transformers needs the model's config.json and tokenizer beside the weights, and they are not there",
        "Put the whole model directory on this machine, not the weights alone.",
    )


def check_model(info: ModelInfo, *, trust_remote_code: bool) -> None:
    """Refuse what can be told from the files alone, before the engine is imported.

    Args:
        info: What inspection found.
        trust_remote_code: The setting of that name.

    Raises:
        BackendError: With the cause `unsupported`, `missing-package` or `remote-code`.
    """
    if info.format == "gguf":
        _check_gguf(info)
        return
    if info.format not in ("huggingface", "safetensors", "pytorch"):
        raise refuse(info, f"it does not load the format {info.format}", "Use another backend.")
    directory = model_directory(info)
    _check_quantiser(info)
    if not trust_remote_code and "auto_map" in _read_config(directory) and info.architecture is None:
        raise refuse(
            info,
            "the model brings its own code, which does not run unless you say that you trust it",
            f"Read the code, then: modelplug config set backends.{NAME}.trust_remote_code true",
            cause="remote-code",
        )


def _read_config(directory: Path) -> dict[str, object]:
    import json

    loaded = json.loads((directory / "config.json").read_text(encoding="utf-8-sig"))
    return loaded if isinstance(loaded, dict) else {}


def _check_gguf(info: ModelInfo) -> None:
    advice = "Use the llamacpp backend."
    if info.byte_order != "little":
        raise refuse(info, "its GGUF reader is for little-endian files only", advice)
    if len(info.files) > 1:
        raise refuse(info, "it reads GGUF files in one part only, and this model has several", advice)
    architecture = info.architecture or ""
    scaling = info.metadata.get(f"{architecture}.rope.scaling.type", "none")
    if scaling not in ("", "none") and architecture != "gpt-oss":
        raise refuse(
            info,
            f"it passes over the {scaling} scaling of positions in GGUF files, and results would be wrong",
            advice,
        )
    if architecture == "llama" and _has_rope_frequencies(weights_file(info)):
        raise refuse(
            info,
            "it passes over the table of position frequencies in this file (as Llama 3.1 and later have it) "
            "and would compute wrong results",
            advice,
        )


def _has_rope_frequencies(path: Path) -> bool:
    """Whether the tensor table names one that transformers leaves out without a word."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(_ROPE_FREQUENCIES, 0, _HEADER_LIMIT) >= 0


def _check_quantiser(info: ModelInfo) -> None:
    stated = info.metadata.get("quantization_config")
    method = str(stated.get("quant_method", "")) if isinstance(stated, dict) else ""
    needed = _QUANTISERS.get(method, ())
    if needed and not any(importlib.util.find_spec(name) for name in needed):
        raise refuse(
            info,
            f"its weights are quantised with {method}, which needs the package {' or '.join(needed)}",
            f"Install it (pip install {needed[0].replace('_', '-')}), or take an unquantised version.",
            cause="missing-package",
        )
