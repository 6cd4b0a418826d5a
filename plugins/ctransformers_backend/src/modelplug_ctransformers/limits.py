"""What ctransformers 0.2.27 can run: found by experiment with its bundled llama.cpp of September 2023.

Some models it refuses by itself, some end its process, and some it runs wrongly without a word, because it
does not know a key that was invented later. The last kind matters most here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.errors import BackendError

if TYPE_CHECKING:
    from modelplug.formats.model_info import ModelInfo

__all__ = [
    "ARCHITECTURES",
    "FORMATS",
    "LEGACY_FORMATS",
    "LEGACY_TYPES",
    "REJECTS",
    "STATED_ARCHITECTURES",
    "TENSOR_TYPES",
    "check_model",
    "refusal",
]

LEGACY_FORMATS = ("ggml", "ggmf", "ggjt")
FORMATS = ("gguf", *LEGACY_FORMATS)

ARCHITECTURES = frozenset({"llama", "falcon"})
"""What GGUF files may hold."""

LEGACY_TYPES: dict[str, str] = {
    "gpt2": "gpt2",
    "gptj": "gptj",
    "gptneox": "gpt-neox",
    "llama": "llama",
    "starcoder": "starcoder",
}
"""What inspection may find in files of older formats -> the engine's name for it."""

STATED_ARCHITECTURES = ARCHITECTURES | {f"ggml:{name}" for name in LEGACY_TYPES}

TENSOR_TYPES = frozenset(
    {"F32", "F16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"}
)

_EXPERTS = "its engine is older than mixture-of-experts models"

REJECTS: tuple[tuple[str, str, str], ...] = (
    ("byte_order", "big", "its engine reads little-endian files only"),
    ("kind", "adapter", "an adapter is no model by itself: load the base model"),
    ("kind", "projector", "a projector is no model by itself: load the language model"),
    ("kind", "vocabulary", "the file holds a vocabulary and no weights"),
    *(("experts", str(count), _EXPERTS) for count in (2, 4, 6, 8, 16, 32, 64, 128)),
)
"""The limits that selection can see by itself; `refusal` knows the rest."""


def refusal(info: ModelInfo) -> tuple[str, str] | None:
    """Say why the engine can't run a model, or would run it wrongly.

    Args:
        info: What inspection found.

    Returns:
        The cause and the advice, or None if nothing speaks against it.
    """
    for attribute, value, reason in REJECTS:
        if str(getattr(info, attribute)) == value:
            return reason, "Use the llamacpp backend."
    if info.format not in FORMATS:
        return (
            f"it loads {', '.join(FORMATS)}, not {info.format}",
            "Use the transformers or llamacpp backend.",
        )
    if len(info.files) > 1:
        return "its engine reads a single file, and this model has several", "Merge the files into one."
    unknown = sorted(set(info.tensor_types) - TENSOR_TYPES)
    if unknown:
        return f"its engine does not know the tensor types {', '.join(unknown)}", "Use the llamacpp backend."
    limit = _gguf_refusal(info) if info.format == "gguf" else None
    return None if limit is None else (limit, "Use the llamacpp backend.")


def _gguf_refusal(info: ModelInfo) -> str | None:
    architecture = info.architecture or ""
    if architecture not in ARCHITECTURES:
        return (
            f"of GGUF files its engine runs llama and falcon, not {architecture or 'unnamed architectures'}"
        )
    if (info.experts or 0) > 0:
        return _EXPERTS
    wanted = "llama" if architecture == "llama" else "gpt2"
    if info.tokenizer is not None and info.tokenizer != wanted:
        return (
            f"its engine runs {architecture} models with the tokenizer {wanted} only, "
            f"and this one has {info.tokenizer} (as Llama 3 and later models do)"
        )
    if architecture == "llama" and info.weights.tied_embedding:
        return "its engine needs an output matrix, and this model uses its token embedding for that"
    return _fatal_values(info, architecture) or _unknown_keys(info.metadata, architecture)


def _fatal_values(info: ModelInfo, architecture: str) -> str | None:
    """Find values on which the engine divides by zero or reads memory that is not its own."""
    for name in ("head_count", "head_count_kv"):
        if info.metadata.get(f"{architecture}.attention.{name}") == 0:
            return f"the file states a {name} of 0"
    for name in ("bos", "eos"):
        token = info.metadata.get(f"tokenizer.ggml.{name}_token_id")
        size = info.vocabulary_size
        if isinstance(token, int) and size is not None and not 0 <= token < size:
            return f"the file names {token} as its {name} token, and its vocabulary has {size} tokens"
    return None


def _unknown_keys(metadata: dict[str, object], architecture: str) -> str | None:
    """Find keys that change what the model computes and that the engine passes over in silence."""
    scaling = metadata.get(f"{architecture}.rope.scaling.type", "none")
    if scaling not in ("", "none"):
        return f"its engine does not know the {scaling} scaling of positions and would compute wrong results"
    if metadata.get("tokenizer.ggml.add_space_prefix") is False:
        return "its engine always puts a space before the text, and this model's tokenizer does not"
    return None


def check_model(info: ModelInfo, model_type: str | None, backend: str) -> str:
    """Refuse a model the engine can't run, before the engine sees it, and name its type.

    Args:
        info: What inspection found.
        model_type: The setting of that name.
        backend: This backend's name, for the error.

    Returns:
        The type in the engine's words. The setting decides for older formats, because inspection can only
        tell it from the layout; GGUF files state it.

    Raises:
        BackendError: With the cause `unsupported`.
    """
    found = refusal(info)
    if info.format == "gguf":
        wanted: str | None = "gguf"
    else:
        wanted = model_type or LEGACY_TYPES.get(info.architecture or "")
    if found is None and wanted is None:
        found = (
            f"files in the format {info.format} do not say which kind of model they hold",
            (
                f"Say it: modelplug config set backends.{backend}.model_type llama   (or falcon, gpt2, "
                "gptj, gpt-neox, mpt, replit, starcoder, dolly-v2)"
            ),
        )
    if found is not None:
        why, advice = found
        raise BackendError(
            f"ctransformers can't run {info.path.name}",
            backend=backend,
            phase="load",
            cause="unsupported",
            why=why,
            advice=advice,
        )
    assert wanted is not None
    return wanted
